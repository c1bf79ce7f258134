// Activations that no product or norm takes along: one pass over memory each way.
#pragma once

#include "isa.hpp"
#include "numbers.hpp"

namespace deltarule {

enum class Curve { elu, gelu, softplus };

template <typename T>
struct CurveKernels {
  // y = f(z).
  void (*value)(Curve f, const T* z, T* y, int64_t count);
  // dz = g f'(z).
  void (*pull)(Curve f, const T* z, const T* g, T* dz, int64_t count);
};

struct CurveTable {
  CurveKernels<float> with_float;
  CurveKernels<bf16> with_bf16;
};

#define DELTARULE_DECLARE(isa)    \
  namespace isa {                 \
  extern const CurveTable curves; \
  }
DELTARULE_ISAS(DELTARULE_DECLARE)
#undef DELTARULE_DECLARE

}  // namespace deltarule
