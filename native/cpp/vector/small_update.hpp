// How a gradient changes what is learned: the rules of learning/optimizers.py, a vector at a time.
#pragma once

#include "small_costs.hpp"

namespace {

struct Sgd {
  static constexpr int kRemembers = 0;
  explicit Sgd(const SmallStep&) {}
  Lanes change(Lanes g, Lanes, Number, Lanes&, Lanes&) const { return g; }
};

struct Momentum {
  static constexpr int kRemembers = 1;
  explicit Momentum(const SmallStep& step) : momentum(step.rates.momentum) {}
  Lanes change(Lanes g, Lanes, Number, Lanes& velocity, Lanes&) const {
    return velocity = g + momentum * velocity;
  }
  Number momentum;
};

struct Nesterov : Momentum {
  using Momentum::Momentum;
  Lanes change(Lanes g, Lanes, Number, Lanes& velocity, Lanes&) const {
    velocity = g + momentum * velocity;
    return g + momentum * velocity;
  }
};

struct Adam {
  static constexpr int kRemembers = 2;
  explicit Adam(const SmallStep& step)
      : beta1(step.rates.beta1),
        beta2(step.rates.beta2),
        rest1(step.rates.rest1),
        rest2(step.rates.rest2),
        epsilon(step.rates.epsilon),
        // the means start at 0; this takes the start out of them
        unbias1(step.steps ? 1 / (1 - __builtin_pow(beta1, step.steps)) : 1),
        unbias2(step.steps ? 1 / (1 - __builtin_pow(beta2, step.steps)) : 1) {}
  Lanes change(Lanes g, Lanes w, Number decay, Lanes& mean, Lanes& square) const {
    mean = rest1 * g + beta1 * mean;
    square = rest2 * (g * g) + beta2 * square;
    return unbias1 * mean / (root(unbias2 * square) + epsilon) + decay * w;
  }
  Number beta1, beta2, rest1, rest2, epsilon, unbias1, unbias2;
};

// What is added to the gradient of weights, and taken off them by AdamW; nothing for biases.
struct Price {
  Number l1 = 0, l2 = 0, decay = 0;
};

// w <- w - rate change(g), for numbers of `array`, rows of `row`, from `i` of one of them on.
template <typename Rule>
struct Update {
  Rule rule;
  Number rate;
  Price price;
  deltarule::SmallArray<Number> array;
  int64_t row;
  Number* squares = nullptr;  // [rows, kLanes], added to: the squares of w before the change

  // Asks for what operator() will read and write.
  inline __attribute__((always_inline)) void prepare(int64_t r, int64_t i) const {
    __builtin_prefetch(array.value + r * row + i, 1);
    if constexpr (Rule::kRemembers > 0) __builtin_prefetch(array.first + r * row + i, 1);
    if constexpr (Rule::kRemembers > 1) __builtin_prefetch(array.second + r * row + i, 1);
  }

  template <typename Which>
  inline __attribute__((always_inline)) void operator()(int64_t r, int64_t i, Lanes g,
                                                        Which lanes) const {
    const int64_t at = r * row + i;
    const Lanes w = lanes.load(array.value + at);
    if (squares) {
      Whole::store(squares + r * kLanes, Whole::load(squares + r * kLanes) + w * w);
    }
    g += price.l2 * w;
    if (price.l1 != 0) g += price.l1 * pick(w > 0.0f, all(1), pick(w < 0.0f, all(-1), w));
    Lanes first{}, second{};
    if constexpr (Rule::kRemembers > 0) first = lanes.load(array.first + at);
    if constexpr (Rule::kRemembers > 1) second = lanes.load(array.second + at);
    lanes.store(array.value + at, w - rate * rule.change(g, w, price.decay, first, second));
    if constexpr (Rule::kRemembers > 0) lanes.store(array.first + at, first);
    if constexpr (Rule::kRemembers > 1) lanes.store(array.second + at, second);
  }
};

}  // namespace
