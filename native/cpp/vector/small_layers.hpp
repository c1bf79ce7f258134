// What a step of a small dense network consists of, layer by layer.
//
// Rows of activations and errors are padded with zeros to whole vectors. The weights stay as they
// are, [outputs, inputs], and every pass over them reads along their rows: dot products forward,
// multiples of rows added up backward, and the update, which writes each weight once. Of layers with
// few inputs, forward reads a turned copy.
#pragma once

#include "small_costs.hpp"
#include "small_products.hpp"
#include "small_update.hpp"

namespace {

// A matrix of the scratch.
struct Rows {
  Number* first;
  int64_t row;
  Number* operator[](int64_t b) const { return first + b * row; }
};

// Hands out the scratch, a matrix after another; without any, counts what is asked for.
struct Scratch {
  Number* first;
  int64_t used = 0;
  Rows take(int64_t count, int64_t size) {
    const Rows rows{first ? first + used : nullptr, padded(size)};
    used += count * rows.row;
    return rows;
  }
};

// Where a layer has few inputs, dot products along them are short, and most of the work would be to
// add up the lanes: its weights are turned once a step, and multiples of their rows added up.
constexpr int64_t kFewInputs = 128;

bool has_few_inputs(const SmallLayer& layer) { return layer.inputs <= kFewInputs; }

// Calls body(0), ..., body(pieces - 1), by all who help.
template <typename Body>
void by_all(const SmallStep& step, int64_t pieces, const Body& body) {
  if (!step.team || pieces < 2) {
    for (int64_t k = 0; k < pieces; ++k) body(k);
    return;
  }
  const auto work = [](const void* what, int64_t k) { (*static_cast<const Body*>(what))(k); };
  step.team->each(step.team->self, pieces, work, &body);
}

template <typename T>
void scaled_row(const T* from, Number scale, int64_t size, Number* to) {
  for (int64_t i = 0; i < size; ++i) to[i] = static_cast<Number>(from[i]) * scale;
  for (int64_t i = size; i < padded(size); ++i) to[i] = 0;
}

// Reads a byte, for no other reason than to have its page at hand.
inline void visit(const char* at) { asm volatile("" : : "r"(*at)); }

// Asks for the examples of the next step, which lie anywhere in memory, while this one is worked
// on. A prefetch from a page that was not used lately is ignored: the pages are visited first.
void fetch_next(const SmallStep& step, Span rows) {
  const int64_t last = rows.last < step.following ? rows.last : step.following;
  const int64_t size = step.bytes ? 1 : sizeof(Number), row = step.layers[0].inputs * size;
  const char* x = step.bytes ? reinterpret_cast<const char*>(step.bytes)
                             : reinterpret_cast<const char*>(step.floats);
  const int32_t* next = step.index + step.batch;
  for (int64_t b = rows.first; b < last; ++b) {
    visit(x + next[b] * row);
    visit(x + next[b] * row + row - 1);
    if (step.classes) visit(reinterpret_cast<const char*>(step.classes + next[b]));
  }
  for (int64_t b = rows.first; b < last; ++b) {
    for (int64_t at = 0; at < row; at += 64) __builtin_prefetch(x + next[b] * row + at, 0, 2);
  }
}

void take_examples(const SmallStep& step, Rows x, Span rows) {
  const int64_t size = step.layers[0].inputs;
  for (int64_t b = rows.first; b < rows.last; ++b) {
    const int64_t from = step.index[b] * size;
    if (step.bytes) {
      scaled_row(step.bytes + from, step.rates.scale, size, x[b]);
    } else {
      scaled_row(step.floats + from, step.rates.scale, size, x[b]);
    }
  }
}

void clear_padding(Span batch, int64_t size, Rows y) {
  for (int64_t n = batch.first; n < batch.last; ++n) {
    for (int64_t i = size; i < y.row; ++i) y[n][i] = 0;
  }
}

// y <- f(y + b) row by row; the padding is zero.
void activate(const SmallLayer& layer, SmallFunction function, Span batch, Rows y) {
  along(layer.outputs, [&](int64_t i, auto lanes) {
    const Lanes bias = lanes.load(layer.b.value + i);
    for (int64_t n = batch.first; n < batch.last; ++n) {
      lanes.store(y[n] + i, value(function, Whole::load(y[n] + i) + bias));
    }
  });
  clear_padding(batch, layer.outputs, y);
}

// Puts f(z + b) into its rows.
struct Above {
  const SmallLayer& layer;
  SmallFunction function;
  Rows y;

  void prepare(int64_t, int64_t) const {}
  template <typename Which>
  inline __attribute__((always_inline)) void operator()(int64_t n, int64_t i, Lanes z,
                                                        Which lanes) const {
    lanes.store(y[n] + i, value(function, z + lanes.load(layer.b.value + i)));
  }
};

void turn(const SmallLayer& layer, Rows turned) {
  for (int64_t i = 0; i < layer.inputs; ++i) {
    for (int64_t k = 0; k < layer.outputs; ++k) {
      turned[i][k] = layer.w.value[k * layer.row + i];
    }
  }
}

// `turned` holds the layer's weights the other way round if it has few inputs.
void forward(const SmallLayer& layer, SmallFunction function, Span batch, Rows x, Rows turned,
             Rows y) {
  if (has_few_inputs(layer)) {
    const Above above{layer, function, y};
    groups_of_rows(batch, Outer<Above>{x.first, 1, x.row, turned.first, turned.row, layer.inputs,
                                       layer.outputs, above});
    clear_padding(batch, layer.outputs, y);
    return;
  }
  const Dots dots{x.first, x.row, layer.w.value, layer.row, layer.inputs, y.first, y.row};
  products(dots, batch, layer.outputs);
  activate(layer, function, batch, y);
}

// What is found for each example: the outputs z and a, the errors d, the cost, and whether the
// answer is right.
struct Answers {
  Rows z, a, d;
  Number *costs, *right;

  // Of z, a and d either the rows or the columns are the examples.
  Answers(const SmallStep& step, int64_t rows, int64_t columns, Scratch& scratch) {
    z = scratch.take(rows, columns);
    a = scratch.take(rows, columns);
    d = scratch.take(rows, columns);
    costs = scratch.take(1, step.batch).first;
    right = scratch.take(1, step.batch).first;
  }
};

// From z of these examples, all else; the errors are divided by the batch size.
void judge(const SmallStep& step, Span batch, const Answers& at) {
  const int64_t outputs = step.layers[step.depth - 1].outputs;
  const Number share = Number(1) / step.batch;
  for (int64_t n = batch.first; n < batch.last; ++n) {
    const Target y(step, n, outputs);
    at.costs[n] = cost_and_error(step, at.z[n], y, share, at.a[n], at.d[n]);
    at.right[n] = is_largest(at.z[n], outputs, y.right);
  }
}

void add_up(const SmallStep& step, const Answers& at) {
  Number cost = 0;
  for (int64_t n = 0; n < step.batch; ++n) {
    cost += at.costs[n];
    *step.correct += at.right[n] > 0;
  }
  *step.total_cost += cost;
}

// Puts errors times f'(z) of the layer below, which put out x, into its rows.
struct Below {
  SmallFunction function;
  Rows x, errors;

  void prepare(int64_t, int64_t) const {}
  template <typename Which>
  inline __attribute__((always_inline)) void operator()(int64_t n, int64_t i, Lanes error,
                                                        Which lanes) const {
    lanes.store(errors[n] + i, error * slope(function, lanes.load(x[n] + i)));
  }
};

// below [batch, inputs] = (d W) f'(z of the layer below)
void backward(const SmallLayer& layer, Span batch, Rows d, const Below& below) {
  groups_of_rows(batch, Outer<Below>{d.first, 1, d.row, layer.w.value, layer.row, layer.outputs,
                                     layer.inputs, below});
}

// The sums of d over the batch, and at once the change they make to the biases.
template <typename Rule>
void update_biases(const SmallStep& step, const Rule& rule, const SmallLayer& layer, Rows d) {
  const Update<Rule> biases{rule, step.learning_rate, Price{}, layer.b, 0};
  along(layer.outputs, [&](int64_t i, auto lanes) {
    Lanes gradient{};
    for (int64_t n = 0; n < step.batch; ++n) gradient += Whole::load(d[n] + i);
    biases(0, i, gradient, lanes);
  });
}

// The gradients of some of a layer's weights, d' x, and at once the change they make. `squares`,
// of those outputs, may be null.
template <typename Rule>
void update(const SmallStep& step, const Rule& rule, const SmallLayer& layer, Rows d, Rows x,
            Rows squares, Span outputs) {
  const int64_t size = (outputs.last - outputs.first) * kLanes;
  if (squares.first) memset(squares[outputs.first], 0, size * sizeof(Number));
  const Price price{step.rates.l1, step.rates.l2, step.rates.decay};
  const Update<Rule> weights{rule, step.learning_rate, price, layer.w, layer.row, squares.first};
  groups_of_rows(outputs, Outer<Update<Rule>>{d.first, d.row, 1, x.first, x.row, step.batch,
                                              layer.inputs, weights});
}

void add_squares(const SmallStep& step, Rows squares, int64_t rows) {
  Lanes total{};
  for (int64_t r = 0; r < rows; ++r) total += Whole::load(squares[r]);
  *step.squares += sum(total);
}

}  // namespace
