// One step of training a small dense network: forward, the output error, backward and update.
//
// Rows of activations and errors are padded with zeros to whole vectors. The weights stay as they
// are, [outputs, inputs], and every pass over them reads along their rows: dot products forward,
// multiples of rows added up backward, and the update, which writes each weight once.
#include "small.hpp"

#include <math.h>

#include "small_products.hpp"
#include "small_update.hpp"

namespace {

using deltarule::SmallFunction;
using deltarule::SmallLayer;
using deltarule::SmallStep;

// A matrix of the scratch.
struct Rows {
  float* first;
  int64_t row;
  float* operator[](int64_t b) const { return first + b * row; }
};

int64_t widest(const SmallLayer* layers, int64_t depth) {
  int64_t most = 0;
  for (int64_t l = 0; l < depth; ++l) {
    const int64_t outputs = padded(layers[l].outputs);
    if (outputs > most) most = outputs;
  }
  return most;
}

int64_t scratch_size(const SmallLayer* layers, int64_t depth, int64_t batch) {
  int64_t row = padded(layers[0].inputs) + 2 * widest(layers, depth);
  for (int64_t l = 0; l < depth; ++l) row += padded(layers[l].outputs);
  return batch * row + padded(layers[depth - 1].outputs);
}

// Hands out the scratch, a matrix after another.
struct Scratch {
  float* next;
  int64_t batch;
  Rows take(int64_t size) {
    const Rows rows{next, padded(size)};
    next += batch * rows.row;
    return rows;
  }
};

template <typename T>
void scaled_row(const T* from, float scale, int64_t size, float* to) {
  for (int64_t i = 0; i < size; ++i) to[i] = static_cast<float>(from[i]) * scale;
  for (int64_t i = size; i < padded(size); ++i) to[i] = 0;
}

// Reads a byte, for no other reason than to have its page at hand.
inline void visit(const char* at) { asm volatile("" : : "r"(*at)); }

// Asks for the examples of the next step, which lie anywhere in memory, while this one is worked
// on. A prefetch from a page that was not used lately is ignored: the pages are visited first.
void fetch_next(const SmallStep& step) {
  const int64_t size = step.bytes ? 1 : sizeof(float), row = step.layers[0].inputs * size;
  const char* x = step.bytes ? reinterpret_cast<const char*>(step.bytes)
                             : reinterpret_cast<const char*>(step.floats);
  const int32_t* next = step.index + step.batch;
  for (int64_t b = 0; b < step.following; ++b) {
    visit(x + next[b] * row);
    visit(x + next[b] * row + row - 1);
    if (step.classes) visit(reinterpret_cast<const char*>(step.classes + next[b]));
  }
  for (int64_t b = 0; b < step.following; ++b) {
    for (int64_t at = 0; at < row; at += 64) __builtin_prefetch(x + next[b] * row + at, 0, 2);
  }
}

void take_examples(const SmallStep& step, Rows x) {
  const int64_t size = step.layers[0].inputs;
  for (int64_t b = 0; b < step.batch; ++b) {
    const int64_t from = step.index[b] * size;
    if (step.bytes) {
      scaled_row(step.bytes + from, step.rates.scale, size, x[b]);
    } else {
      scaled_row(step.floats + from, step.rates.scale, size, x[b]);
    }
  }
}

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

// y <- f(y + b) row by row; the padding is zero.
void activate(const SmallLayer& layer, SmallFunction function, int64_t batch, Rows y) {
  along(layer.outputs, [&](int64_t i, auto lanes) {
    const Lanes bias = lanes.load(layer.b.value + i);
    for (int64_t n = 0; n < batch; ++n) {
      lanes.store(y[n] + i, value(function, Whole::load(y[n] + i) + bias));
    }
  });
  for (int64_t n = 0; n < batch; ++n) {
    for (int64_t i = layer.outputs; i < y.row; ++i) y[n][i] = 0;
  }
}

void forward(const SmallLayer& layer, SmallFunction function, int64_t batch, Rows x, Rows y) {
  const Dots dots{x.first, x.row, layer.w.value, layer.inputs, layer.inputs, y.first, y.row};
  products(dots, batch, layer.outputs);
  activate(layer, function, batch, y);
}

// The target of example n, smoothed, in a row.
void target(const SmallStep& step, int64_t n, int64_t outputs, float* y) {
  if (step.targets) {
    memcpy(y, step.targets + step.index[n] * outputs, outputs * sizeof *y);
    return;
  }
  const float other = step.rates.smoothing / outputs;
  for (int64_t k = 0; k < outputs; ++k) y[k] = other;
  const int32_t right = step.classes[step.index[n]];
  if (right >= 0 && right < outputs) y[right] += 1 - step.rates.smoothing;
}

// The place of the largest; NaN is larger than any number, and the first of equals is taken.
int64_t place_of_largest(const float* z, int64_t size) {
  int64_t place = 0;
  for (int64_t k = 1; k < size; ++k) {
    if (z[place] != z[place]) break;
    if (z[k] > z[place] || z[k] != z[k]) place = k;
  }
  return place;
}

// a = softmax(z); returns z's largest plus the logarithm of the sum, so that ln a = z - that.
float softmax(const float* z, int64_t size, float* a) {
  const float most = z[place_of_largest(z, size)];
  Lanes total{};
  along(size, [&](int64_t i, auto lanes) {
    const Lanes power = exponential(lanes.load(z + i) - most);
    lanes.store(a + i, power);
    total += lanes.load(a + i);
  });
  const float all_powers = sum(total);
  for (int64_t k = 0; k < size; ++k) a[k] /= all_powers;
  return most + logf(all_powers);
}

// Turns a row of errors e = a - y into those of z where a = softmax(z): a (e - sum of e a).
void back_through_softmax(const float* a, int64_t size, float* e) {
  Lanes total{};
  along(size, [&](int64_t i, auto lanes) { total += lanes.load(e + i) * lanes.load(a + i); });
  const float mean = sum(total);
  for (int64_t k = 0; k < size; ++k) e[k] = a[k] * (e[k] - mean);
}

// The cost of one example; puts its outputs into a and dC/dz into error (costs.py).
float cost_and_error(const SmallStep& step, const float* z, const float* y, float* a,
                     float* error) {
  const SmallLayer& last = step.layers[step.depth - 1];
  const bool soft = last.function == deltarule::kSoftmax;
  const bool quadratic = step.cost == deltarule::kQuadratic;
  const float offset = soft ? softmax(z, last.outputs, a) : 0;
  Lanes total{};
  along(last.outputs, [&](int64_t i, auto lanes) {
    const Lanes in = lanes.load(z + i), wanted = lanes.load(y + i);
    const Lanes out = soft ? lanes.load(a + i) : value(last.function, in);
    Lanes cost, wrong = out - wanted;
    if (quadratic) {
      cost = 0.5f * (wrong * wrong);
      if (!soft) wrong *= slope(last.function, out);
    } else if (soft) {
      cost = wanted * (offset - in);
    } else {
      cost = pick(in > 0.0f, in, Lanes{}) - in * wanted +
             log_of_one_plus(exponential(-magnitude(in)));
    }
    lanes.store(error + i, wrong);
    lanes.store(a + i, cost);  // a is free now, save for softmax with the quadratic cost
    total += lanes.load(a + i);
    if (soft) lanes.store(a + i, out);
  });
  if (soft && quadratic) back_through_softmax(a, last.outputs, error);
  return sum(total);
}

// Adds the costs and the right answers up, and puts the errors, divided by the batch size, into d.
void judge(const SmallStep& step, Rows z, Rows a, Rows d, float* y) {
  const int64_t outputs = step.layers[step.depth - 1].outputs;
  const float share = 1.0f / step.batch;
  float cost = 0;
  for (int64_t n = 0; n < step.batch; ++n) {
    target(step, n, outputs, y);
    cost += cost_and_error(step, z[n], y, a[n], d[n]);
    for (int64_t k = 0; k < outputs; ++k) d[n][k] *= share;
    for (int64_t k = outputs; k < d.row; ++k) d[n][k] = 0;
    if (step.classes && place_of_largest(z[n], outputs) == step.classes[step.index[n]]) {
      ++*step.correct;
    }
  }
  *step.total_cost += cost;
}

// Puts errors times f'(z) of the layer below, which put out x, into its rows.
struct Below {
  SmallFunction function;
  Rows x, errors;

  void prepare(int64_t, int64_t) const {}
  template <typename Span>
  inline __attribute__((always_inline)) void operator()(int64_t n, int64_t i, Lanes error,
                                                        Span lanes) const {
    lanes.store(errors[n] + i, error * slope(function, lanes.load(x[n] + i)));
  }
};

// below [batch, inputs] = (d W) f'(z of the layer below)
void backward(const SmallLayer& layer, int64_t batch, Rows d, const Below& below) {
  groups_of_rows(batch, Outer<Below>{d.first, 1, d.row, layer.w.value, layer.inputs, layer.outputs,
                                     layer.inputs, below});
}

// The gradients of a layer, d' x and the sums of d, and at once the change they make.
template <typename Rule>
void update(const SmallStep& step, const Rule& rule, const SmallLayer& layer, Rows d, Rows x) {
  const deltarule::SmallRates& rates = step.rates;
  const Update<Rule> biases{rule, step.learning_rate, Price{}, layer.b, 0};
  along(layer.outputs, [&](int64_t i, auto lanes) {
    Lanes gradient{};
    for (int64_t n = 0; n < step.batch; ++n) gradient += Whole::load(d[n] + i);
    biases(0, i, gradient, lanes);
  });
  const Price price{rates.l1, rates.l2, rates.decay};
  const Update<Rule> weights{rule, step.learning_rate, price, layer.w, layer.inputs};
  groups_of_rows(layer.outputs, Outer<Update<Rule>>{d.first, d.row, 1, x.first, x.row, step.batch,
                                                    layer.inputs, weights});
}

template <typename Rule>
void run_with(const SmallStep& step) {
  constexpr int64_t kMostLayers = deltarule::kSmallMostLayers;
  const Rule rule(step);
  Scratch scratch{step.scratch, step.batch};
  Rows a[kMostLayers + 1];
  a[0] = scratch.take(step.layers[0].inputs);
  take_examples(step, a[0]);
  fetch_next(step);
  for (int64_t l = 0; l < step.depth; ++l) {
    const SmallLayer& layer = step.layers[l];
    a[l + 1] = scratch.take(layer.outputs);
    const bool last = l + 1 == step.depth;  // the cost starts from z
    forward(layer, last ? deltarule::kIdentity : layer.function, step.batch, a[l], a[l + 1]);
  }
  const int64_t most = widest(step.layers, step.depth);
  float* errors[2] = {scratch.take(most).first, scratch.take(most).first};
  const auto rows = [&](int64_t l) { return Rows{errors[l % 2], padded(step.layers[l].outputs)}; };
  const int64_t top = step.depth - 1;
  judge(step, a[top + 1], Rows{errors[(top + 1) % 2], rows(top).row}, rows(top), scratch.next);
  for (int64_t l = top; l >= 0; --l) {
    const SmallLayer& layer = step.layers[l];
    if (l > 0) {
      const SmallFunction function = step.layers[l - 1].function;
      backward(layer, step.batch, rows(l), Below{function, a[l], rows(l - 1)});
    }
    update(step, rule, layer, rows(l), a[l]);
  }
}

void run(const SmallStep& step) {
  switch (step.method) {
    case deltarule::kSgd: return run_with<Sgd>(step);
    case deltarule::kMomentum: return run_with<Momentum>(step);
    case deltarule::kNesterov: return run_with<Nesterov>(step);
    case deltarule::kAdam: return run_with<Adam>(step);
  }
}

}  // namespace

namespace deltarule::ISA {
const SmallTable small{scratch_size, run};
}  // namespace deltarule::ISA
