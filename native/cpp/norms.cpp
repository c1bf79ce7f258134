// Batch normalisation: statistics of the batch, then one pass; two passes on the way back.
#include "vector/norms.hpp"

#include <algorithm>
#include <cmath>
#include <vector>

#include "guard.hpp"
#include "handler.hpp"
#include "parallel.hpp"

namespace deltarule {
namespace {

namespace ffi = xla::ffi;
using Array = ffi::AnyBuffer;
using Result = ffi::Result<Array>;

const NormTable& norms() {
  static const NormTable& table = DELTARULE_FASTEST(norms);
  return table;
}
template <typename T>
const NormKernels<T>& kernels();
template <>
const NormKernels<float>& kernels<float>() { return norms().with_float; }
template <>
const NormKernels<bf16>& kernels<bf16>() { return norms().with_bf16; }

constexpr int64_t kWide = 256;  // columns that keep vectors full

// Pixels lie one after another, so several make one long row: whole vectors however few channels.
// The last row may be shorter. Images of very many channels are cut into strips instead.
struct Layout {
  int64_t pixels, channels, tiles;

  explicit Layout(const Array& x) {
    const auto shape = x.dimensions();
    require(shape.size() >= 1 && shape.back() >= 1, "x with channels on its last axis");
    channels = shape.back();
    pixels = static_cast<int64_t>(x.element_count()) / channels;
    tiles = std::max<int64_t>(1, kWide / channels);
  }
  int64_t width() const { return tiles * channels; }
  int64_t rows() const { return (pixels + tiles - 1) / tiles; }

  // The columns of one number a channel.
  std::vector<float> tiled(const float* of) const {
    std::vector<float> columns(width());
    for (int64_t i = 0; i < width(); ++i) columns[i] = of[i % channels];
    return columns;
  }

  // Calls work(offset, rows, first column) for the strips of piece `piece` of `pieces`: numbers
  // from `offset` on, `rows` of them as a matrix, and where in the columns it begins.
  template <typename Work>
  void strips(int piece, int pieces, Work work) const {
    const Range range = share(rows(), piece, pieces);
    const int64_t whole = std::min(range.last, pixels / tiles) - range.first;
    for (int64_t first = 0; first < width(); first += kWidest) {
      const int64_t columns = std::min(kWidest, width() - first);
      const int64_t offset = range.first * width() + first;
      if (whole > 0) work(offset, Rows{whole, columns, width()}, first);
      const int64_t rest = range.size() > std::max<int64_t>(whole, 0) ? (pixels % tiles) * channels : 0;
      if (rest) work((pixels / tiles) * width(), Rows{1, rest, width()}, first);
    }
  }
};

// Mean and sum of squares of some columns of one matrix, and of how many rows.
struct Moments {
  int64_t rows, first, columns;
  std::vector<float> mean, squares;
};

// Puts the moments of all pieces and tiles together, channel by channel, in a fixed order.
void combine(const std::vector<std::vector<Moments>>& found, const Layout& at, float* mean,
             float* variance) {
  std::vector<double> count(at.channels), center(at.channels), squares(at.channels);
  for (const auto& piece : found) {
    for (const Moments& part : piece) {
      for (int64_t i = 0; i < part.columns; ++i) {
        const int64_t c = (part.first + i) % at.channels;
        const double rows = static_cast<double>(part.rows), step = part.mean[i] - center[c];
        const double all = count[c] + rows;
        squares[c] += part.squares[i] + step * step * count[c] * rows / all;
        center[c] += step * rows / all;
        count[c] = all;
      }
    }
  }
  for (int64_t c = 0; c < at.channels; ++c) {
    mean[c] = static_cast<float>(at.pixels ? center[c] : NAN);
    variance[c] = static_cast<float>(at.pixels ? squares[c] / count[c] : NAN);
  }
}

// The columns of z = (x - mean) factor + shift.
struct Columns {
  std::vector<float> mean, factor, shift;

  Columns(const Layout& at, const float* mean_, const float* variance, const float* scale,
          const float* shift_, float epsilon) {
    std::vector<float> each(at.channels);
    for (int64_t c = 0; c < at.channels; ++c) each[c] = scale[c] / std::sqrt(variance[c] + epsilon);
    mean = at.tiled(mean_), factor = at.tiled(each.data()), shift = at.tiled(shift_);
  }
  NormColumns from(int64_t first) const {
    return {mean.data() + first, factor.data() + first, shift.data() + first};
  }
};

void require_columns(const Layout& at, std::initializer_list<const Array*> arrays) {
  for (const Array* array : arrays) {
    require(array->element_type() == ffi::DataType::F32 &&
                static_cast<int64_t>(array->element_count()) == at.channels,
            "one float32 number for each channel");
  }
}

bool is_relu(std::string_view activation) {
  require(activation == "identity" || activation == "relu", "identity or relu after batch norm");
  return activation == "relu";
}

template <typename T>
void normalize(Pool& pool, const Layout& at, int pieces, const T* x, T* y, const Columns& columns,
               bool rectified) {
  parallel(pool, pieces, [&](int piece) {
    at.strips(piece, pieces, [&](int64_t offset, const Rows& rows, int64_t first) {
      kernels<T>().apply(x + offset, y + offset, rows, columns.from(first), rectified);
    });
  });
}

template <typename T>
void moments(Pool& pool, const Layout& at, int pieces, const T* x, float* mean, float* variance) {
  std::vector<std::vector<Moments>> found(pieces);
  parallel(pool, pieces, [&](int piece) {
    at.strips(piece, pieces, [&](int64_t offset, const Rows& rows, int64_t first) {
      Moments part{rows.rows, first, rows.columns, std::vector<float>(rows.columns),
                   std::vector<float>(rows.columns)};
      kernels<T>().moments(x + offset, rows, part.mean.data(), part.squares.data());
      found[piece].push_back(std::move(part));
    });
  });
  combine(found, at, mean, variance);
}

template <typename T>
void pull(Pool& pool, const Layout& at, int pieces, const T* x, const T* g, const Columns& columns,
          const float* factor, const float* variance, float epsilon, bool rectified, T* dx,
          float* dscale, float* dshift) {
  std::vector<std::vector<float>> sum_g(pieces), sum_gx(pieces);
  parallel(pool, pieces, [&](int piece) {
    sum_g[piece].assign(at.width(), 0), sum_gx[piece].assign(at.width(), 0);
    at.strips(piece, pieces, [&](int64_t offset, const Rows& rows, int64_t first) {
      kernels<T>().sums(x + offset, g + offset, rows, columns.from(first), rectified,
                        sum_g[piece].data() + first, sum_gx[piece].data() + first);
    });
  });
  std::vector<double> all_g(at.channels), all_gx(at.channels);
  for (int piece = 0; piece < pieces; ++piece) {
    for (int64_t i = 0; i < at.width(); ++i) {
      all_g[i % at.channels] += sum_g[piece][i], all_gx[i % at.channels] += sum_gx[piece][i];
    }
  }
  std::vector<float> constant(at.channels), slope(at.channels);
  const double n = static_cast<double>(std::max<int64_t>(at.pixels, 1));
  for (int64_t c = 0; c < at.channels; ++c) {
    const double spread = static_cast<double>(variance[c]) + epsilon;
    dshift[c] = static_cast<float>(all_g[c]);
    dscale[c] = static_cast<float>(all_gx[c] / std::sqrt(spread));
    constant[c] = static_cast<float>(factor[c] * all_g[c] / n);
    slope[c] = static_cast<float>(factor[c] * all_gx[c] / spread / n);
  }
  const std::vector<float> constants = at.tiled(constant.data()), slopes = at.tiled(slope.data());
  parallel(pool, pieces, [&](int piece) {
    at.strips(piece, pieces, [&](int64_t offset, const Rows& rows, int64_t first) {
      kernels<T>().pull(x + offset, g + offset, dx + offset, rows, columns.from(first), rectified,
                        constants.data() + first, slopes.data() + first);
    });
  });
}

template <typename Work>
void with_type(ffi::DataType type, Work work) {
  require(type == ffi::DataType::F32 || type == ffi::DataType::BF16, "float32 or bfloat16");
  if (type == ffi::DataType::F32) work(float());
  else work(bf16());
}

int cut(const Pool& pool, const Layout& at) {
  return pieces(pool, static_cast<double>(at.pixels * at.channels), at.rows());
}

ffi::Error forward(Pool pool, Array x, Array scale, Array shift, float epsilon,
                   std::string_view activation, Result y, Result mean, Result variance) {
  return guarded([&] {
    const Layout at(x);
    require_columns(at, {&scale, &shift, &*mean, &*variance});
    require(y->element_type() == x.element_type() && y->element_count() == x.element_count(),
            "y like x");
    const bool rectified = is_relu(activation);
    const int pieces = cut(pool, at);
    with_type(x.element_type(), [&](auto number) {
      using T = decltype(number);
      const T* in = static_cast<const T*>(x.untyped_data());
      float *m = mean->typed_data<float>(), *v = variance->typed_data<float>();
      moments<T>(pool, at, pieces, in, m, v);
      const Columns columns(at, m, v, scale.typed_data<float>(), shift.typed_data<float>(), epsilon);
      normalize<T>(pool, at, pieces, in, static_cast<T*>(y->untyped_data()), columns, rectified);
    });
  });
}

ffi::Error apply(Pool pool, Array x, Array mean, Array variance, Array scale, Array shift,
                 float epsilon, std::string_view activation, Result y) {
  return guarded([&] {
    const Layout at(x);
    require_columns(at, {&scale, &shift, &mean, &variance});
    require(y->element_type() == x.element_type() && y->element_count() == x.element_count(),
            "y like x");
    const bool rectified = is_relu(activation);
    const Columns columns(at, mean.typed_data<float>(), variance.typed_data<float>(),
                          scale.typed_data<float>(), shift.typed_data<float>(), epsilon);
    with_type(x.element_type(), [&](auto number) {
      using T = decltype(number);
      normalize<T>(pool, at, cut(pool, at), static_cast<const T*>(x.untyped_data()),
                   static_cast<T*>(y->untyped_data()), columns, rectified);
    });
  });
}

ffi::Error backward(Pool pool, Array x, Array g, Array mean, Array variance, Array scale,
                    Array shift, float epsilon, std::string_view activation, Result dx,
                    Result dscale, Result dshift) {
  return guarded([&] {
    const Layout at(x);
    require_columns(at, {&scale, &shift, &mean, &variance, &*dscale, &*dshift});
    require(g.element_type() == x.element_type() && g.element_count() == x.element_count() &&
                dx->element_type() == x.element_type() && dx->element_count() == x.element_count(),
            "gradients like x");
    const bool rectified = is_relu(activation);
    const float* v = variance.typed_data<float>();
    const Columns columns(at, mean.typed_data<float>(), v, scale.typed_data<float>(),
                          shift.typed_data<float>(), epsilon);
    with_type(x.element_type(), [&](auto number) {
      using T = decltype(number);
      pull<T>(pool, at, cut(pool, at), static_cast<const T*>(x.untyped_data()),
              static_cast<const T*>(g.untyped_data()), columns, columns.factor.data(), v, epsilon,
              rectified, static_cast<T*>(dx->untyped_data()), dscale->typed_data<float>(),
              dshift->typed_data<float>());
    });
  });
}

}  // namespace
}  // namespace deltarule

DELTARULE_HANDLER(deltarule_batch_norm_forward, deltarule::forward,
                  xla::ffi::Ffi::Bind()
                      .Ctx<xla::ffi::ThreadPool>()
                      .Arg<xla::ffi::AnyBuffer>()
                      .Arg<xla::ffi::AnyBuffer>()
                      .Arg<xla::ffi::AnyBuffer>()
                      .Attr<float>("epsilon")
                      .Attr<std::string_view>("activation")
                      .Ret<xla::ffi::AnyBuffer>()
                      .Ret<xla::ffi::AnyBuffer>()
                      .Ret<xla::ffi::AnyBuffer>());

DELTARULE_HANDLER(deltarule_batch_norm_apply, deltarule::apply,
                  xla::ffi::Ffi::Bind()
                      .Ctx<xla::ffi::ThreadPool>()
                      .Arg<xla::ffi::AnyBuffer>()
                      .Arg<xla::ffi::AnyBuffer>()
                      .Arg<xla::ffi::AnyBuffer>()
                      .Arg<xla::ffi::AnyBuffer>()
                      .Arg<xla::ffi::AnyBuffer>()
                      .Attr<float>("epsilon")
                      .Attr<std::string_view>("activation")
                      .Ret<xla::ffi::AnyBuffer>());

DELTARULE_HANDLER(deltarule_batch_norm_backward, deltarule::backward,
                  xla::ffi::Ffi::Bind()
                      .Ctx<xla::ffi::ThreadPool>()
                      .Arg<xla::ffi::AnyBuffer>()
                      .Arg<xla::ffi::AnyBuffer>()
                      .Arg<xla::ffi::AnyBuffer>()
                      .Arg<xla::ffi::AnyBuffer>()
                      .Arg<xla::ffi::AnyBuffer>()
                      .Arg<xla::ffi::AnyBuffer>()
                      .Attr<float>("epsilon")
                      .Attr<std::string_view>("activation")
                      .Ret<xla::ffi::AnyBuffer>()
                      .Ret<xla::ffi::AnyBuffer>()
                      .Ret<xla::ffi::AnyBuffer>());
