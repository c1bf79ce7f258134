// What becomes of the sums of a product: bias, activation and rounding in one pass.
#pragma once

#include "outputs.hpp"

namespace deltarule {

struct SumTable {
  // y = f(sums + bias), the bias a number for each column, or null; a row of sums begins `stride`
  // numbers after the one before.
  void (*activate)(Activation f, const float* sums, int64_t stride, const float* bias, bf16* y,
                   const Rows& at);
};

#define DELTARULE_DECLARE(isa)  \
  namespace isa {               \
  extern const SumTable sums;   \
  }
DELTARULE_ISAS(DELTARULE_DECLARE)
#undef DELTARULE_DECLARE

}  // namespace deltarule
