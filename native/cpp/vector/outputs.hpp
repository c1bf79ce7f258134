// What is done to the outputs of a product, and to their gradient, element by element.
#pragma once

#include "isa.hpp"
#include "numbers.hpp"

namespace deltarule {

// Activations whose slope follows from their output.
enum class Activation { identity, relu, sigmoid, tanh, lecun_tanh, leaky_relu, elu };

constexpr float kLecunHeight = 1.7159f;  // f(z) = height tanh(steepness z)
constexpr float kLecunSteepness = 2.0f / 3.0f;
constexpr float kLeak = 0.01f;

// A matrix in memory: one row begins `stride` elements after the one before.
struct Rows {
  int64_t rows, columns, stride;
};

struct OutputTable {
  // y = max(y, 0); NaN stays.
  void (*rectify_float)(float* y, const Rows& rows);
  void (*rectify_bf16)(bf16* y, const Rows& rows);
  // dz = g f'(y), db[column] += sum over the rows of dz; dz and db may be null, and y of identity.
  void (*pull_float)(Activation f, const float* g, const float* y, float* dz, float* db,
                     const Rows& rows);
  void (*pull_bf16)(Activation f, const bf16* g, const bf16* y, bf16* dz, float* db,
                    const Rows& rows);
};

#define DELTARULE_DECLARE(isa)       \
  namespace isa {                    \
  extern const OutputTable outputs; \
  }
DELTARULE_ISAS(DELTARULE_DECLARE)
#undef DELTARULE_DECLARE

}  // namespace deltarule
