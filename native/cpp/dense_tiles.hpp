// Dense layers in bfloat16 on matrix units: the products of dense.cpp, where has_matrix_units().
#pragma once

#include "parallel.hpp"
#include "tiles/tiles.hpp"

namespace deltarule {

struct DenseShape {
  int64_t n, inputs, units;
};

// y = f(x w' + bias) for x [n, inputs] and w [units, inputs]; bias may be null.
void tiled_outputs(Pool& pool, const DenseShape& it, const bf16* x, const float* w,
                   const float* bias, Activation activation, bf16* y);
// dx = dz w.
void tiled_slopes_of_inputs(Pool& pool, const DenseShape& it, const bf16* dz, const float* w,
                            bf16* dx);
// dw = dz' x.
void tiled_slopes_of_weights(Pool& pool, const DenseShape& it, const bf16* dz, const bf16* x,
                             float* dw);

}  // namespace deltarule
