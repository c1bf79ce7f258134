// One step of training a small dense network, worked out by one thread.
#pragma once

#include "isa.hpp"

namespace deltarule {

// The numbers are those of learning/small.py.
constexpr int64_t kSmallMostLayers = 16;

enum SmallFunction : int32_t { kIdentity, kSigmoid, kTanh, kRelu, kSoftmax };
enum SmallCost : int32_t { kQuadratic, kCrossEntropy };
enum SmallMethod : int32_t { kSgd, kMomentum, kNesterov, kAdam };

struct SmallRates {
  float scale, smoothing, momentum, beta1, beta2, epsilon, decay, l1, l2;
};

// One array to learn and what the method remembers of it; `first` and `second` may be absent.
struct SmallArray {
  float* value;
  float* first;   // the velocity of momentum, Adam's mean of g
  float* second;  // Adam's mean of g^2
};

// a = f(x W' + b), W [outputs, inputs].
struct SmallLayer {
  int64_t inputs, outputs;
  SmallFunction function;
  SmallArray w, b;
};

struct SmallStep {
  const SmallLayer* layers;
  int64_t depth, batch;
  const int32_t* index;  // [batch + following] of the examples, and of those of the next step
  int64_t following;
  const uint8_t* bytes;  // x [n, inputs], one of these two
  const float* floats;
  const int32_t* classes;  // y [n] or [n, outputs], one of these two
  const float* targets;
  SmallCost cost;
  SmallMethod method;
  float learning_rate;
  SmallRates rates;
  int32_t steps;       // of Adam, this one included
  float* total_cost;   // added to
  int32_t* correct;    // added to
  float* scratch;      // scratch_size numbers, aligned to 64 bytes
};

struct SmallTable {
  int64_t (*scratch_size)(const SmallLayer* layers, int64_t depth, int64_t batch);
  void (*run)(const SmallStep& step);
};

#define DELTARULE_DECLARE(isa) \
  namespace isa {              \
  extern const SmallTable small; \
  }
DELTARULE_ISAS(DELTARULE_DECLARE)
#undef DELTARULE_DECLARE

}  // namespace deltarule
