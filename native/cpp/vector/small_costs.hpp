// What a small dense network costs, and the errors of its outputs.
#pragma once

#include "small.hpp"
#include "small_lanes.hpp"

namespace {

using SmallStep = deltarule::SmallStep<Number>;
using SmallLayer = deltarule::SmallLayer<Number>;
using deltarule::SmallFunction;

inline Lanes value(SmallFunction function, Lanes z) {
  switch (function) {
    case deltarule::kSigmoid: return logistic(z);
    case deltarule::kTanh: return hyperbolic_tangent(z);
    case deltarule::kRelu: return pick(z < 0.0f, Lanes{}, z);
    default: return z;
  }
}

// f'(z), worked out from a = f(z).
inline Lanes slope(SmallFunction function, Lanes a) {
  switch (function) {
    case deltarule::kSigmoid: return a * (1.0f - a);
    case deltarule::kTanh: return 1.0f - a * a;
    case deltarule::kRelu: return pick(a > 0.0f, all(1), Lanes{});
    default: return all(1);
  }
}

// The target of example n, smoothed, in a row.
void target(const SmallStep& step, int64_t n, int64_t outputs, Number* y) {
  if (step.targets) {
    memcpy(y, step.targets + step.index[n] * outputs, outputs * sizeof *y);
    return;
  }
  const Number other = step.rates.smoothing / outputs;
  for (int64_t k = 0; k < outputs; ++k) y[k] = other;
  const int32_t right = step.classes[step.index[n]];
  if (right >= 0 && right < outputs) y[right] += 1 - step.rates.smoothing;
}

// The place of the largest; NaN is larger than any number, and the first of equals is taken.
int64_t place_of_largest(const Number* z, int64_t size) {
  int64_t place = 0;
  for (int64_t k = 1; k < size; ++k) {
    if (z[place] != z[place]) break;
    if (z[k] > z[place] || z[k] != z[k]) place = k;
  }
  return place;
}

// a = softmax(z); returns z's largest plus the logarithm of the sum, so that ln a = z - that.
Number softmax(const Number* z, int64_t size, Number* a) {
  const Number most = z[place_of_largest(z, size)];
  Lanes total{};
  along(size, [&](int64_t i, auto lanes) {
    const Lanes power = exponential(lanes.load(z + i) - most);
    lanes.store(a + i, power);
    total += lanes.load(a + i);
  });
  const Number all_powers = sum(total);
  for (int64_t k = 0; k < size; ++k) a[k] /= all_powers;
  return most + static_cast<Number>(__builtin_log(all_powers));
}

// Turns a row of errors e = a - y into those of z where a = softmax(z): a (e - sum of e a).
void back_through_softmax(const Number* a, int64_t size, Number* e) {
  Lanes total{};
  along(size, [&](int64_t i, auto lanes) { total += lanes.load(e + i) * lanes.load(a + i); });
  const Number mean = sum(total);
  for (int64_t k = 0; k < size; ++k) e[k] = a[k] * (e[k] - mean);
}

// -ln p and -ln(1 - p), as far from 0 and infinity as scikit-learn keeps them.
inline Lanes kept_inside(Lanes cost) {
  constexpr Number kMost = -kLogOfEpsilon;
  return pick(cost < kEpsilon, all(kEpsilon), pick(cost > kMost, all(kMost), cost));
}

// The cost of one example; puts its outputs into a and dC/dz into error (costs.py).
Number cost_and_error(const SmallStep& step, const Number* z, const Number* y, Number* a,
                      Number* error) {
  const SmallLayer& last = step.layers[step.depth - 1];
  const bool soft = last.function == deltarule::kSoftmax;
  const bool quadratic = step.cost == deltarule::kQuadratic;
  const Number offset = soft ? softmax(z, last.outputs, a) : 0;
  Lanes total{};
  along(last.outputs, [&](int64_t i, auto lanes) {
    const Lanes in = lanes.load(z + i), wanted = lanes.load(y + i);
    const Lanes out = soft ? lanes.load(a + i) : value(last.function, in);
    Lanes cost, wrong = out - wanted;
    if (quadratic) {
      cost = 0.5f * (wrong * wrong);
      if (!soft) wrong *= slope(last.function, out);
    } else if (soft) {
      const Lanes alone = offset - in;
      cost = wanted * (step.cost == deltarule::kLogLoss ? kept_inside(alone) : alone);
    } else {
      const Lanes positive = pick(in > 0.0f, in, Lanes{});
      const Lanes rest = log_of_one_plus(exponential(-magnitude(in)));
      cost = step.cost == deltarule::kLogLoss
                 ? wanted * kept_inside(positive - in + rest) +
                       (1.0f - wanted) * kept_inside(positive + rest)
                 : positive - in * wanted + rest;
    }
    lanes.store(error + i, wrong);
    lanes.store(a + i, cost);  // a is free now, save for softmax with the quadratic cost
    total += lanes.load(a + i);
    if (soft) lanes.store(a + i, out);
  });
  if (soft && quadratic) back_through_softmax(a, last.outputs, error);
  return sum(total);
}

}  // namespace
