// One way to offer a handler to XLA: DELTARULE_HANDLER(name, function, binding).
//
// It exports the symbol `name` and adds it to the list that deltarule_handlers() returns, so that
// nothing else needs to name it.
#pragma once

#include <string>

#include "xla/ffi/api/ffi.h"

namespace deltarule {

std::string& handler_names();  // one a line

struct Offered {
  explicit Offered(const char* name) { handler_names().append(name).append("\n"); }
};

}  // namespace deltarule

#define DELTARULE_HANDLER(name, function, binding)                                       \
  extern "C" __attribute__((visibility("default"))) XLA_FFI_Error* name(XLA_FFI_CallFrame*); \
  XLA_FFI_DEFINE_HANDLER_SYMBOL(name, function, binding);                                \
  static const ::deltarule::Offered name##_offered(#name)
