// What goes wrong inside a handler becomes a Python exception, never the end of the process.
#pragma once

#include <new>
#include <stdexcept>
#include <string>

#include "xla/ffi/api/ffi.h"

namespace deltarule {

// Throws if a shape, a type or a number is not what the handler was written for.
inline void require(bool holds, const std::string& expected) {
  if (!holds) throw std::invalid_argument("deltarule-native expected " + expected);
}

// Runs the body of a handler and turns what it throws into XLA's error.
template <typename Body>
xla::ffi::Error guarded(Body body) {
  try {
    body();
    return xla::ffi::Error::Success();
  } catch (const std::bad_alloc&) {
    return xla::ffi::Error(xla::ffi::ErrorCode::kResourceExhausted, "out of memory");
  } catch (const std::invalid_argument& error) {
    return xla::ffi::Error(xla::ffi::ErrorCode::kInvalidArgument, error.what());
  } catch (const std::exception& error) {
    return xla::ffi::Error(xla::ffi::ErrorCode::kInternal, error.what());
  }
}

}  // namespace deltarule
