// Activations on their own: numbers shared out among the threads.
#include "vector/activations.hpp"

#include <algorithm>
#include <string>

#include "guard.hpp"
#include "handler.hpp"
#include "parallel.hpp"

namespace deltarule {
namespace {

namespace ffi = xla::ffi;
using Array = ffi::AnyBuffer;
using Result = ffi::Result<Array>;

constexpr int64_t kLine = 64;  // numbers: two threads do not write the same cache line
constexpr double kOperations = 4;  // a number

Curve curve(std::string_view name) {
  if (name == "elu") return Curve::elu;
  if (name == "gelu") return Curve::gelu;
  require(name == "softplus", "elu, gelu or softplus, got " + std::string(name));
  return Curve::softplus;
}

void require_like(const Array& one, const Array& other, const char* what) {
  const bool same = one.element_type() == other.element_type();
  require(same && one.element_count() == other.element_count(), what);
}

// Calls work(kernels, number, first, count) for all numbers of such an array, a share to a thread;
// number is a float or a bf16, for its type.
template <typename Work>
void shared(Pool& pool, const Array& of, Work work) {
  const ffi::DataType type = of.element_type();
  require(type == ffi::DataType::F32 || type == ffi::DataType::BF16, "float32 or bfloat16");
  const CurveTable& table = DELTARULE_FASTEST(curves);
  const int64_t total = of.element_count(), lines = (total + kLine - 1) / kLine;
  const int cut = pieces(pool, kOperations * static_cast<double>(total), lines);
  parallel(pool, cut, [&](int piece) {
    const Range mine = share(lines, piece, cut);
    const int64_t first = mine.first * kLine, count = std::min(total, mine.last * kLine) - first;
    if (type == ffi::DataType::F32) work(table.with_float, float(), first, count);
    else work(table.with_bf16, bf16(), first, count);
  });
}

ffi::Error forward(Pool pool, Array z, std::string_view name, Result y) {
  return guarded([&] {
    require_like(z, *y, "y like z");
    const Curve f = curve(name);
    shared(pool, z, [&](const auto& kernels, auto number, int64_t first, int64_t count) {
      using T = decltype(number);
      kernels.value(f, static_cast<const T*>(z.untyped_data()) + first,
                    static_cast<T*>(y->untyped_data()) + first, count);
    });
  });
}

ffi::Error backward(Pool pool, Array z, Array g, std::string_view name, Result dz) {
  return guarded([&] {
    require_like(z, g, "a gradient like z");
    require_like(z, *dz, "dz like z");
    const Curve f = curve(name);
    shared(pool, z, [&](const auto& kernels, auto number, int64_t first, int64_t count) {
      using T = decltype(number);
      kernels.pull(f, static_cast<const T*>(z.untyped_data()) + first,
                   static_cast<const T*>(g.untyped_data()) + first,
                   static_cast<T*>(dz->untyped_data()) + first, count);
    });
  });
}

}  // namespace
}  // namespace deltarule

DELTARULE_HANDLER(deltarule_activation_forward, deltarule::forward,
                  xla::ffi::Ffi::Bind()
                      .Ctx<xla::ffi::ThreadPool>()
                      .Arg<xla::ffi::AnyBuffer>()
                      .Attr<std::string_view>("activation")
                      .Ret<xla::ffi::AnyBuffer>());

DELTARULE_HANDLER(deltarule_activation_backward, deltarule::backward,
                  xla::ffi::Ffi::Bind()
                      .Ctx<xla::ffi::ThreadPool>()
                      .Arg<xla::ffi::AnyBuffer>()
                      .Arg<xla::ffi::AnyBuffer>()
                      .Attr<std::string_view>("activation")
                      .Ret<xla::ffi::AnyBuffer>());
