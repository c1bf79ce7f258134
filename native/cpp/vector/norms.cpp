#include "norms.hpp"

namespace {

using deltarule::bf16;
using deltarule::kWidest;
using deltarule::NormColumns;
using deltarule::NormKernels;
using deltarule::Rows;

constexpr int64_t kBlock = 8192;  // numbers that stay in the nearest cache between two passes

inline int64_t least(int64_t a, int64_t b) { return a < b ? a : b; }

// Blocks are gone through twice while they are in the cache, so that the mean is known before
// squares are added up: no digits are lost where the mean is large beside the spread. Blocks are
// put together by Chan's formula.
template <typename T>
void moments(const T* x, const Rows& at, float* __restrict__ mean, float* __restrict__ squares) {
  const int64_t columns = at.columns, height = kBlock / columns > 0 ? kBlock / columns : 1;
  memset(mean, 0, columns * sizeof(float));
  memset(squares, 0, columns * sizeof(float));
  float total[kWidest], spread[kWidest];
  for (int64_t first = 0; first < at.rows; first += height) {
    const int64_t rows = least(height, at.rows - first);
    const T* block = x + first * at.stride;
    memset(total, 0, columns * sizeof(float));
    memset(spread, 0, columns * sizeof(float));
    for (int64_t row = 0; row < rows; ++row) {
      const T* __restrict__ in = block + row * at.stride;
#pragma GCC ivdep
      for (int64_t i = 0; i < columns; ++i) total[i] += widen(in[i]);
    }
    const float share = 1.0f / static_cast<float>(rows);
    for (int64_t i = 0; i < columns; ++i) total[i] *= share;
    for (int64_t row = 0; row < rows; ++row) {
      const T* __restrict__ in = block + row * at.stride;
#pragma GCC ivdep
      for (int64_t i = 0; i < columns; ++i) {
        const float off = widen(in[i]) - total[i];
        spread[i] += off * off;
      }
    }
    const float weight = static_cast<float>(rows) / static_cast<float>(first + rows);
    const float before = static_cast<float>(first);
    for (int64_t i = 0; i < columns; ++i) {
      const float step = total[i] - mean[i];
      squares[i] += spread[i] + step * step * before * weight;
      mean[i] += step * weight;
    }
  }
}

template <bool rectified>
inline float shown(float z) {  // relu keeps NaN
  return rectified && z <= 0 ? 0.0f : z;
}

template <bool rectified>
inline float passed(float g, float z) {
  return rectified ? (z > 0 ? g : 0.0f) : g;
}

template <typename T, bool rectified>
void apply_as(const T* x, T* y, const Rows& at, const NormColumns& by) {
  const float* __restrict__ mean = by.mean;
  const float* __restrict__ factor = by.factor;
  const float* __restrict__ shift = by.shift;
  for (int64_t row = 0; row < at.rows; ++row) {
    const T* __restrict__ in = x + row * at.stride;
    T* __restrict__ out = y + row * at.stride;
#pragma GCC ivdep
    for (int64_t i = 0; i < at.columns; ++i) {
      out[i] = narrow<T>(shown<rectified>((widen(in[i]) - mean[i]) * factor[i] + shift[i]));
    }
  }
}

template <typename T>
void apply(const T* x, T* y, const Rows& at, const NormColumns& by, bool rectified) {
  (rectified ? apply_as<T, true> : apply_as<T, false>)(x, y, at, by);
}

template <typename T, bool rectified>
void sums_as(const T* x, const T* g, const Rows& at, const NormColumns& by,
             float* __restrict__ sum_g, float* __restrict__ sum_gx) {
  const float* __restrict__ mean = by.mean;
  const float* __restrict__ factor = by.factor;
  const float* __restrict__ shift = by.shift;
  float block_g[kWidest], block_gx[kWidest];  // of few rows each: long sums lose digits
  const int64_t height = 64;
  for (int64_t first = 0; first < at.rows; first += height) {
    memset(block_g, 0, at.columns * sizeof(float));
    memset(block_gx, 0, at.columns * sizeof(float));
    const int64_t last = least(first + height, at.rows);
    for (int64_t row = first; row < last; ++row) {
      const T* __restrict__ in = x + row * at.stride;
      const T* __restrict__ back = g + row * at.stride;
#pragma GCC ivdep
      for (int64_t i = 0; i < at.columns; ++i) {
        const float off = widen(in[i]) - mean[i];
        const float d = passed<rectified>(widen(back[i]), off * factor[i] + shift[i]);
        block_g[i] += d;
        block_gx[i] += d * off;
      }
    }
    for (int64_t i = 0; i < at.columns; ++i) sum_g[i] += block_g[i], sum_gx[i] += block_gx[i];
  }
}

template <typename T>
void sums(const T* x, const T* g, const Rows& at, const NormColumns& by, bool rectified,
          float* sum_g, float* sum_gx) {
  (rectified ? sums_as<T, true> : sums_as<T, false>)(x, g, at, by, sum_g, sum_gx);
}

template <typename T, bool rectified>
void pull_as(const T* x, const T* g, T* dx, const Rows& at, const NormColumns& by,
             const float* __restrict__ constant, const float* __restrict__ slope) {
  const float* __restrict__ mean = by.mean;
  const float* __restrict__ factor = by.factor;
  const float* __restrict__ shift = by.shift;
  for (int64_t row = 0; row < at.rows; ++row) {
    const T* __restrict__ in = x + row * at.stride;
    const T* __restrict__ back = g + row * at.stride;
    T* __restrict__ out = dx + row * at.stride;
#pragma GCC ivdep
    for (int64_t i = 0; i < at.columns; ++i) {
      const float off = widen(in[i]) - mean[i];
      const float d = passed<rectified>(widen(back[i]), off * factor[i] + shift[i]);
      out[i] = narrow<T>(factor[i] * d - constant[i] - off * slope[i]);
    }
  }
}

template <typename T>
void pull(const T* x, const T* g, T* dx, const Rows& at, const NormColumns& by, bool rectified,
          const float* constant, const float* slope) {
  (rectified ? pull_as<T, true> : pull_as<T, false>)(x, g, dx, at, by, constant, slope);
}

template <typename T>
constexpr NormKernels<T> kernels() {
  return {moments<T>, apply<T>, sums<T>, pull<T>};
}

}  // namespace

namespace deltarule::ISA {

extern const NormTable norms = {kernels<float>(), kernels<bf16>()};

}  // namespace deltarule::ISA
