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

// The target of an example, smoothed: its row, or of its class 1 and of all others 0.
struct Target {
  const Number* row;  // or null
  Int right;
  Number one, other;

  Target(const SmallStep& step, int64_t n, int64_t outputs)
      : row(step.targets ? step.targets + step.index[n] * outputs : nullptr),
        right(step.classes ? step.classes[step.index[n]] : -1),
        one(step.rates.smoothing / outputs + (1 - step.rates.smoothing)),
        other(step.rates.smoothing / outputs) {}

  template <typename Which>
  inline __attribute__((always_inline)) Lanes load(int64_t i, Which lanes) const {
    if (row) return lanes.load_only(row + i);
    return pick(numbered() + static_cast<Int>(i) == right, all(one), all(other));
  }
};

// Whether z[place] is the largest; NaN is larger than any number, and of equals the first is it.
bool is_largest(const Number* z, int64_t size, Int place) {
  if (place < 0 || place >= size) return false;
  const Number there = z[place];
  Lanes larger{};
  along_padded(size, [&](int64_t i, auto lanes) {
    const Lanes in = lanes.load(z + i);
    const Ints before = numbered() + static_cast<Int>(i) < place, undefined = in != in;
    const Ints beats = there != there ? undefined & before
                                      : (in > there) | undefined | ((in == there) & before);
    larger += lanes.only(pick(beats, all(1), Lanes{}));
  });
  return sum(larger) == 0;
}

// a = softmax(z); returns z's largest plus the logarithm of the sum, so that ln a = z - that.
Number softmax(const Number* z, int64_t size, Number* a) {
  Lanes tops = all(z[0]), total{};
  along_padded(size, [&](int64_t i, auto lanes) {
    const Lanes in = lanes.load(z + i);
    tops = pick((Ints)lanes.only((Lanes)(in > tops)), in, tops);
  });
  const Number most = largest(tops);
  along_padded(size, [&](int64_t i, auto lanes) {
    const Lanes power = lanes.only(exponential(lanes.load(z + i) - most));
    lanes.store(a + i, power);
    total += power;
  });
  const Number all_powers = sum(total);
  along_padded(size, [&](int64_t i, auto lanes) {
    lanes.store(a + i, lanes.load(a + i) / all_powers);
  });
  return most + static_cast<Number>(__builtin_log(all_powers));
}

// Turns a row of errors e = a - y into those of z where a = softmax(z): a (e - sum of e a).
void back_through_softmax(const Number* a, int64_t size, Number* e) {
  Lanes total{};
  along_padded(size, [&](int64_t i, auto lanes) { total += lanes.load(e + i) * lanes.load(a + i); });
  const Number mean = sum(total);
  along_padded(size, [&](int64_t i, auto lanes) {
    lanes.store(e + i, lanes.load(a + i) * (lanes.load(e + i) - mean));
  });
}

// -ln p and -ln(1 - p), as far from 0 and infinity as scikit-learn keeps them.
inline Lanes kept_inside(Lanes cost) {
  constexpr Number kMost = -kLogOfEpsilon;
  return pick(cost < kEpsilon, all(kEpsilon), pick(cost > kMost, all(kMost), cost));
}

// What an output costs, and dC/dz of it, save for softmax with the quadratic cost: there it is dC/da.
struct Judged {
  Lanes cost, wrong;

  // `offset` is what softmax returns.
  inline __attribute__((always_inline)) Judged(const SmallStep& step, SmallFunction function,
                                               Lanes in, Lanes out, Lanes wanted, Lanes offset)
      : wrong(out - wanted) {
    const bool soft = function == deltarule::kSoftmax, inside = step.cost == deltarule::kLogLoss;
    if (step.cost == deltarule::kQuadratic) {
      cost = 0.5f * (wrong * wrong);
      if (!soft) wrong *= slope(function, out);
    } else if (soft) {
      const Lanes alone = offset - in;
      cost = wanted * (inside ? kept_inside(alone) : alone);
    } else {
      const Lanes positive = pick(in > 0.0f, in, Lanes{});
      const Lanes rest = log_of_one_plus(exponential(-magnitude(in)));
      cost = inside ? wanted * kept_inside(positive - in + rest) +
                          (1.0f - wanted) * kept_inside(positive + rest)
                    : positive - in * wanted + rest;
    }
  }
};

// The cost of one example; puts its outputs into a and dC/dz times `share` into error (costs.py).
// z, a and error are padded with zeros.
Number cost_and_error(const SmallStep& step, const Number* z, const Target& y, Number share,
                      Number* a, Number* error) {
  const SmallLayer& last = step.layers[step.depth - 1];
  const bool soft = last.function == deltarule::kSoftmax;
  const Number offset = soft ? softmax(z, last.outputs, a) : 0;
  Lanes total{};
  along_padded(last.outputs, [&](int64_t i, auto lanes) {
    const Lanes in = lanes.load(z + i);
    const Lanes out = soft ? lanes.load(a + i) : value(last.function, in);
    const Judged found(step, last.function, in, out, y.load(i, lanes), all(offset));
    lanes.store(a + i, out);
    lanes.store(error + i, found.wrong * share);
    total += lanes.only(found.cost);
  });
  if (soft && step.cost == deltarule::kQuadratic) back_through_softmax(a, last.outputs, error);
  return sum(total);
}

}  // namespace
