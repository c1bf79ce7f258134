// Batch normalisation over rows of numbers: what passes through memory, and nothing else.
#pragma once

#include "isa.hpp"
#include "numbers.hpp"
#include "outputs.hpp"

namespace deltarule {

constexpr int64_t kWidest = 2048;  // columns that one call takes

// One number for each column.
struct NormColumns {
  const float *mean, *factor, *shift;  // z = (x - mean) factor + shift
};

template <typename T>
struct NormKernels {
  // mean[column] of the rows, and squares[column], the sum of (x - mean)^2.
  void (*moments)(const T* x, const Rows& at, float* mean, float* squares);
  // y = z, or max(z, 0) with `rectified`.
  void (*apply)(const T* x, T* y, const Rows& at, const NormColumns& by, bool rectified);
  // g[column] += sum of g, gx[column] += sum of g (x - mean), both over the rows.
  void (*sums)(const T* x, const T* g, const Rows& at, const NormColumns& by, bool rectified,
               float* sum_g, float* sum_gx);
  // dx = factor g - constant - (x - mean) slope.
  void (*pull)(const T* x, const T* g, T* dx, const Rows& at, const NormColumns& by,
               bool rectified, const float* constant, const float* slope);
};

struct NormTable {
  NormKernels<float> with_float;
  NormKernels<bf16> with_bf16;
};

#define DELTARULE_DECLARE(isa)  \
  namespace isa {               \
  extern const NormTable norms; \
  }
DELTARULE_ISAS(DELTARULE_DECLARE)
#undef DELTARULE_DECLARE

}  // namespace deltarule
