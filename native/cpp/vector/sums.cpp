#include "sums.hpp"

#include "number_lanes.hpp"

namespace {

using deltarule::Activation;
using deltarule::bf16;
using deltarule::Rows;

template <Activation f>
inline Lanes value(Lanes z) {
  switch (f) {
    case Activation::relu: return pick(z <= 0.0f, Lanes{}, z);  // NaN stays
    case Activation::sigmoid: return logistic(z);
    case Activation::tanh: return hyperbolic_tangent(z);
    case Activation::lecun_tanh:
      return deltarule::kLecunHeight * hyperbolic_tangent(deltarule::kLecunSteepness * z);
    case Activation::leaky_relu: return pick(z >= 0.0f, z, deltarule::kLeak * z);
    case Activation::elu: return pick(z > 0.0f, z, exponential_less_one(z));
    default: return z;
  }
}

template <Activation f>
void activate_as(const float* sums, int64_t stride, const float* bias, bf16* y, const Rows& at) {
  const int64_t whole = at.columns / kLanes * kLanes, rest = at.columns - whole;
  for (int64_t row = 0; row < at.rows; ++row, sums += stride, y += at.stride) {
    for (int64_t i = 0; i < whole; i += kLanes) {
      const Lanes z = Whole::load(sums + i);
      write(y + i, value<f>(bias ? z + Whole::load(bias + i) : z));
    }
    if (rest == 0) continue;
    const Part part(rest);
    const Lanes z = part.load(sums + whole);
    bf16 last[kLanes];
    write(last, value<f>(bias ? z + part.load(bias + whole) : z));
    memcpy(y + whole, last, rest * sizeof(bf16));
  }
}

void activate(Activation f, const float* sums, int64_t stride, const float* bias, bf16* y,
              const Rows& at) {
  switch (f) {
    case Activation::identity:
      return activate_as<Activation::identity>(sums, stride, bias, y, at);
    case Activation::relu: return activate_as<Activation::relu>(sums, stride, bias, y, at);
    case Activation::sigmoid: return activate_as<Activation::sigmoid>(sums, stride, bias, y, at);
    case Activation::tanh: return activate_as<Activation::tanh>(sums, stride, bias, y, at);
    case Activation::lecun_tanh:
      return activate_as<Activation::lecun_tanh>(sums, stride, bias, y, at);
    case Activation::leaky_relu:
      return activate_as<Activation::leaky_relu>(sums, stride, bias, y, at);
    case Activation::elu: return activate_as<Activation::elu>(sums, stride, bias, y, at);
  }
}

}  // namespace

namespace deltarule::ISA {

extern const SumTable sums = {activate};

}  // namespace deltarule::ISA
