// One step of training a small dense network, worked out by one thread or by a few together, in
// numbers that are floats or doubles.
#pragma once

#include "isa.hpp"

namespace deltarule {

// The numbers are those of learning/small.py.
constexpr int64_t kSmallMostLayers = 16;

enum SmallFunction : int32_t { kIdentity, kSigmoid, kTanh, kRelu, kSoftmax };
// The last is the cross-entropy as scikit-learn reports it, of probabilities that are kept as far
// from 0 and 1 as the next number.
enum SmallCost : int32_t { kQuadratic, kCrossEntropy, kLogLoss };
enum SmallMethod : int32_t { kSgd, kMomentum, kNesterov, kAdam };

template <typename Number>
struct SmallRates {
  Number scale, smoothing, momentum, beta1, beta2, epsilon, decay, l1, l2;
  Number rest1, rest2;  // 1 - beta1 and 1 - beta2
};

// One array to learn and what the method remembers of it; `first` and `second` may be absent.
template <typename Number>
struct SmallArray {
  Number* value;
  Number* first;   // the velocity of momentum, Adam's mean of g
  Number* second;  // Adam's mean of g^2
};

// a = f(x W' + b), W [outputs, inputs]; a row of W begins `row` numbers after the one before.
template <typename Number>
struct SmallLayer {
  int64_t inputs, outputs, row;
  SmallFunction function;
  SmallArray<Number> w, b;
};

// Who helps: calls work(what, 0), ..., work(what, pieces - 1), each once, and waits for all.
struct SmallTeam {
  void (*each)(void* self, int64_t pieces, void (*work)(const void*, int64_t), const void* what);
  void* self;
};

template <typename Number>
struct SmallStep {
  const SmallLayer<Number>* layers;
  int64_t depth, batch;
  const int32_t* index;  // [batch + following] of the examples, and of those of the next step
  int64_t following;
  const uint8_t* bytes;  // x [n, inputs], one of these two
  const Number* floats;
  const int32_t* classes;  // y [n] or [n, outputs], one of these two
  const Number* targets;
  SmallCost cost;
  SmallMethod method;
  Number learning_rate;
  SmallRates<Number> rates;
  int32_t steps;       // of Adam, this one included; 0 where learning_rate holds its corrections
  Number* total_cost;   // added to
  int32_t* correct;    // added to
  Number* squares;      // added to, the sum of the squares of the weights before the step; or null
  Number* scratch;      // scratch_size numbers, aligned to 64 bytes
  bool worth_sharing;     // enough work for a few threads: it is cut so that they can share it
  const SmallTeam* team;  // null: nobody helps. The results are the same
};

template <typename Number>
struct SmallTable {
  int64_t (*scratch_size)(const SmallStep<Number>& step);  // enough for smaller batches too
  void (*run)(const SmallStep<Number>& step);
};

#define DELTARULE_DECLARE(isa) \
  namespace isa {              \
  extern const SmallTable<float> small; \
  extern const SmallTable<double> small_double; \
  }
DELTARULE_ISAS(DELTARULE_DECLARE)
#undef DELTARULE_DECLARE

}  // namespace deltarule
