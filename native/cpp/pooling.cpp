// Pooling: images shared out among the threads.
#include "vector/pooling.hpp"

#include "guard.hpp"
#include "handler.hpp"
#include "parallel.hpp"

namespace deltarule {
namespace {

namespace ffi = xla::ffi;
using Array = ffi::AnyBuffer;
using Result = ffi::Result<Array>;
using Numbers = ffi::Span<const int64_t>;

constexpr double kOperations = 4;  // a number

const PoolTable& pooling() {
  static const PoolTable& table = DELTARULE_FASTEST(pooling);
  return table;
}
template <typename T>
const PoolKernels<T>& kernels();
template <>
const PoolKernels<float>& kernels<float>() { return pooling().with_float; }
template <>
const PoolKernels<bf16>& kernels<bf16>() { return pooling().with_bf16; }

struct Pooling {
  int64_t images, pixels, outputs;  // numbers of an image, before and after
  Windows at;

  Pooling(const Array& x, const Array& y, Numbers window, Numbers stride, Numbers before) {
    const auto in = x.dimensions(), out = y.dimensions();
    require(in.size() == 4 && out.size() == 4, "images with four axes");
    require(window.size() == 2 && stride.size() == 2 && before.size() == 2,
            "window, stride and padding of rows and columns");
    require(x.element_type() == y.element_type() && in[0] == out[0] && in[3] == out[3],
            "outputs of the images' number, channels and type");
    at = {in[1], in[2], in[3], out[1], out[2], {}, {}, {}};
    for (int i = 0; i < 2; ++i) {
      at.size[i] = window[i], at.stride[i] = stride[i], at.before[i] = before[i];
      const int64_t last = (out[1 + i] - 1) * stride[i] - before[i];  // where the last one begins
      require(window[i] >= 1 && stride[i] >= 1 && before[i] >= 0 && before[i] < window[i] &&
                  last < in[1 + i],
              "windows that each lie at least partly on the image");
    }
    images = in[0];
    pixels = in[1] * in[2] * in[3];
    outputs = out[1] * out[2] * out[3];
  }
};

// Calls work(number) for every image; number is a float or a bf16, for its type.
template <typename Work>
void each_image(Pool& pool, const Pooling& images, ffi::DataType type, Work work) {
  require(type == ffi::DataType::F32 || type == ffi::DataType::BF16, "float32 or bfloat16");
  const int cut = pieces(pool, kOperations * images.images * images.pixels, images.images);
  parallel(pool, cut, [&](int piece) {
    const Range range = share(images.images, piece, cut);
    for (int64_t image = range.first; image < range.last; ++image) {
      if (type == ffi::DataType::F32) work(float(), image);
      else work(bf16(), image);
    }
  });
}

template <typename T>
const T* in(const Array& array, int64_t offset) {
  return static_cast<const T*>(array.untyped_data()) + offset;
}
template <typename T>
T* out(Result& array, int64_t offset) {
  return static_cast<T*>(array->untyped_data()) + offset;
}

void require_places(const Array& place, const Array& y, const Windows& at) {
  require(place.element_type() == ffi::DataType::U8 && place.element_count() == y.element_count() &&
              at.size[0] <= 256 && at.size[1] <= 256 && at.size[0] * at.size[1] <= 256,
          "one uint8 for each output, and windows of at most 256 pixels");
}

ffi::Error max_forward(Pool pool, Array x, Numbers window, Numbers stride, Numbers before, Result y,
                       Result place) {
  return guarded([&] {
    const Pooling images(x, *y, window, stride, before);
    require_places(*place, *y, images.at);
    each_image(pool, images, x.element_type(), [&](auto number, int64_t i) {
      using T = decltype(number);
      kernels<T>().largest(in<T>(x, i * images.pixels), out<T>(y, i * images.outputs),
                           out<uint8_t>(place, i * images.outputs), images.at);
    });
  });
}

ffi::Error max_backward(Pool pool, Array g, Array place, Numbers window, Numbers stride,
                        Numbers before, Result dx) {
  return guarded([&] {
    const Pooling images(*dx, g, window, stride, before);
    require_places(place, g, images.at);
    each_image(pool, images, g.element_type(), [&](auto number, int64_t i) {
      using T = decltype(number);
      kernels<T>().spread(in<T>(g, i * images.outputs), in<uint8_t>(place, i * images.outputs),
                          out<T>(dx, i * images.pixels), images.at);
    });
  });
}

ffi::Error mean_forward(Pool pool, Array x, Numbers window, Numbers stride, Numbers before,
                        Result y) {
  return guarded([&] {
    const Pooling images(x, *y, window, stride, before);
    each_image(pool, images, x.element_type(), [&](auto number, int64_t i) {
      using T = decltype(number);
      kernels<T>().mean(in<T>(x, i * images.pixels), out<T>(y, i * images.outputs), images.at);
    });
  });
}

ffi::Error mean_backward(Pool pool, Array g, Numbers window, Numbers stride, Numbers before,
                         Result dx) {
  return guarded([&] {
    const Pooling images(*dx, g, window, stride, before);
    each_image(pool, images, g.element_type(), [&](auto number, int64_t i) {
      using T = decltype(number);
      kernels<T>().share(in<T>(g, i * images.outputs), out<T>(dx, i * images.pixels), images.at);
    });
  });
}

}  // namespace
}  // namespace deltarule

#define DELTARULE_WINDOWS                   \
  .Attr<xla::ffi::Span<const int64_t>>("window")     \
      .Attr<xla::ffi::Span<const int64_t>>("stride") \
      .Attr<xla::ffi::Span<const int64_t>>("before")

DELTARULE_HANDLER(deltarule_max_pool_forward, deltarule::max_forward,
                  xla::ffi::Ffi::Bind()
                      .Ctx<xla::ffi::ThreadPool>()
                      .Arg<xla::ffi::AnyBuffer>() DELTARULE_WINDOWS
                      .Ret<xla::ffi::AnyBuffer>()
                      .Ret<xla::ffi::AnyBuffer>());

DELTARULE_HANDLER(deltarule_max_pool_backward, deltarule::max_backward,
                  xla::ffi::Ffi::Bind()
                      .Ctx<xla::ffi::ThreadPool>()
                      .Arg<xla::ffi::AnyBuffer>()
                      .Arg<xla::ffi::AnyBuffer>() DELTARULE_WINDOWS
                      .Ret<xla::ffi::AnyBuffer>());

DELTARULE_HANDLER(deltarule_avg_pool_forward, deltarule::mean_forward,
                  xla::ffi::Ffi::Bind()
                      .Ctx<xla::ffi::ThreadPool>()
                      .Arg<xla::ffi::AnyBuffer>() DELTARULE_WINDOWS
                      .Ret<xla::ffi::AnyBuffer>());

DELTARULE_HANDLER(deltarule_avg_pool_backward, deltarule::mean_backward,
                  xla::ffi::Ffi::Bind()
                      .Ctx<xla::ffi::ThreadPool>()
                      .Arg<xla::ffi::AnyBuffer>() DELTARULE_WINDOWS
                      .Ret<xla::ffi::AnyBuffer>());
