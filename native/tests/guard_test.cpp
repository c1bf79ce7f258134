// Whatever a handler throws becomes an error of XLA with a code and a sentence.
#include "guard.hpp"

#include <new>
#include <stdexcept>

#include "check.hpp"

using deltarule::guarded;
using deltarule::require;
using xla::ffi::Error;
using xla::ffi::ErrorCode;

namespace {

template <typename Thrown>
Error thrown(Thrown what) {
  return guarded([&] { throw what; });
}

void test_a_body_that_ends_is_a_success() {
  bool ran = false;
  check(guarded([&] { ran = true; }).success());
  check(ran);
}

void test_each_exception_has_its_code() {
  check(thrown(std::bad_alloc()).errc() == ErrorCode::kResourceExhausted);
  check(thrown(std::invalid_argument("a")).errc() == ErrorCode::kInvalidArgument);
  check(thrown(std::runtime_error("b")).errc() == ErrorCode::kInternal);
  check(thrown(std::runtime_error("b")).message() == "b");
}

void test_what_is_required_is_said() {
  const Error error = guarded([] {
    require(true, "nothing");
    require(false, "x of 4 dimensions, got 3");
  });
  check(error.errc() == ErrorCode::kInvalidArgument);
  check(error.message() == "deltarule-native expected x of 4 dimensions, got 3");
}

}  // namespace

int main() {
  test_a_body_that_ends_is_a_success();
  test_each_exception_has_its_code();
  test_what_is_required_is_said();
}
