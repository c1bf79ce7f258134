// A step of a network with one hidden layer, cut into two halves of its hidden units.
//
// Each half has its units' weights, from below and to above, and examples of its own to read. Two
// threads with a half each hand each other sums for the outputs and their errors, and nothing else.
// Where threads take some of the examples each, half of the activations, of the errors and of the
// weights go from one to the other in every step.
//
// The examples lie along the lanes: a matrix has a row for each unit and a column for each example,
// so that no lane is idle whatever the number of units. Columns behind the last example hold what
// zeros in x lead to, and no errors.
#pragma once

#include "small_layers.hpp"

namespace {

constexpr int kHalves = 2;

// Of layers with more inputs, examples of its own would be too much for a thread's cache.
bool in_halves(const SmallStep& step) {
  return step.worth_sharing && step.depth == 2 && has_few_inputs(step.layers[0]) &&
         step.layers[0].outputs >= kHalves * kTileRows;
}

// Part of an array: the numbers from `first` on.
deltarule::SmallArray<Number> from(const deltarule::SmallArray<Number>& array, int64_t first) {
  const auto part = [first](Number* all) { return all ? all + first : nullptr; };
  return {part(array.value), part(array.first), part(array.second)};
}

// Hidden units from `first` on, seen as a layer, and the layer above as far as it reads them.
struct Half {
  SmallLayer hidden, output;
  Rows x, turned, a, d, z, gradient, squares;

  void take(const SmallStep& step, Span units, Scratch& scratch) {
    const SmallLayer &low = step.layers[0], &high = step.layers[1];
    const int64_t count = units.last - units.first;
    hidden = {low.inputs, count, low.row, low.function, from(low.w, units.first * low.row),
              from(low.b, units.first)};
    output = {count, high.outputs, high.row, high.function, from(high.w, units.first), high.b};
    x = scratch.take(padded(step.batch), low.inputs);
    turned = scratch.take(padded(low.inputs), step.batch);
    a = scratch.take(count, step.batch);
    d = scratch.take(count, step.batch);
    z = scratch.take(high.outputs, step.batch);
    gradient = scratch.take(high.outputs, count);
    squares = scratch.take(rows_of_squares(), kLanes);
  }
  int64_t rows_of_squares() const { return hidden.outputs + output.outputs; }
};

struct Halves {
  Answers answers;
  Half half[kHalves];

  Halves(const SmallStep& step, Scratch& scratch)
      : answers(step, step.layers[1].outputs, step.batch, scratch) {
    const int64_t units = step.layers[0].outputs, cut = units / kHalves;
    half[0].take(step, {0, cut}, scratch);
    half[1].take(step, {cut, units}, scratch);
  }
};

// Rows of examples as columns; behind the last example there are zeros.
void turn_examples(const SmallStep& step, Rows x, Rows turned) {
  const int64_t examples = padded(step.batch);
  memset(x[step.batch], 0, (examples - step.batch) * x.row * sizeof(Number));
  for (int64_t n = 0; n < examples; n += kLanes) {
    for (int64_t i = 0; i < x.row; i += kLanes) {
      Lanes block[kLanes];
      UNROLLED for (int r = 0; r < kLanes; ++r) block[r] = Whole::load(x[n + r] + i);
      swap_blocks<kLanes / 2>(block, InOrder{});
      UNROLLED for (int r = 0; r < kLanes; ++r) Whole::store(turned[i + r] + n, block[r]);
    }
  }
}

// Puts f(z + b) of units into their rows, from column `column` on.
struct AboveColumns {
  const SmallLayer& layer;
  Rows y;
  int64_t column;

  void prepare(int64_t, int64_t) const {}
  template <typename Which>
  inline __attribute__((always_inline)) void operator()(int64_t unit, int64_t i, Lanes z,
                                                        Which lanes) const {
    lanes.store(y[unit] + column + i, value(layer.function, z + layer.b.value[unit]));
  }
};

// Puts sums into rows, from column `column` on.
struct Stored {
  Rows y;
  int64_t column;

  void prepare(int64_t, int64_t) const {}
  template <typename Which>
  inline __attribute__((always_inline)) void operator()(int64_t r, int64_t i, Lanes sum,
                                                        Which lanes) const {
    lanes.store(y[r] + column + i, sum);
  }
};

// Calls body(column, size) for blocks of columns that stay in the nearest cache, all whole vectors.
template <typename Body>
void blocks_of_columns(int64_t columns, Body body) {
  const int64_t vectors = columns / kLanes, count = (vectors + kTileVectors - 1) / kTileVectors;
  for (int64_t k = 0; k < count; ++k) {
    const int64_t first = vectors * k / count;
    body(first * kLanes, (vectors * (k + 1) / count - first) * kLanes);
  }
}

// From the examples to what this half adds to the outputs.
void rise(const SmallStep& step, const Half& at) {
  const Span batch{0, step.batch};
  take_examples(step, at.x, batch);
  fetch_next(step, batch);
  turn_examples(step, at.x, at.turned);
  const SmallLayer &low = at.hidden, &high = at.output;
  blocks_of_columns(at.a.row, [&](int64_t column, int64_t size) {
    const AboveColumns above{low, at.a, column};
    groups_of_rows({0, low.outputs},
                   Outer<AboveColumns>{low.w.value, 1, low.row, at.turned.first + column,
                                       at.turned.row, low.inputs, size, above});
    const Stored stored{at.z, column};
    groups_of_rows({0, high.outputs},
                   Outer<Stored>{high.w.value, 1, high.row, at.a.first + column, at.a.row,
                                 high.inputs, size, stored});
  });
}

// The targets of examples from `first` on, as many as there are lanes.
struct TargetColumns {
  const SmallStep& step;
  int64_t first, count;
  Ints right{};

  TargetColumns(const SmallStep& step, int64_t first)
      : step(step), first(first), count(step.batch - first < kLanes ? step.batch - first : kLanes) {
    for (int64_t n = 0; n < kLanes; ++n) {
      right[n] = step.classes && n < count ? step.classes[step.index[first + n]] : -1;
    }
  }
  Lanes of_output(int64_t k, int64_t outputs) const {
    Lanes found{};
    if (step.targets) {
      for (int64_t n = 0; n < count; ++n) {
        found[n] = step.targets[step.index[first + n] * outputs + k];
      }
      return found;
    }
    const Number other = step.rates.smoothing / outputs;
    return pick(right == static_cast<Int>(k), all(other + (1 - step.rates.smoothing)), all(other));
  }
};

// Softmax of columns of z, into those of a; returns what softmax() does.
Lanes softmax_of_columns(Rows z, int64_t outputs, int64_t column, Rows a) {
  Lanes most = Whole::load(z[0] + column), total{};
  for (int64_t k = 1; k < outputs; ++k) {
    const Lanes in = Whole::load(z[k] + column);
    most = pick(in > most, in, most);
  }
  for (int64_t k = 0; k < outputs; ++k) {
    const Lanes power = exponential(Whole::load(z[k] + column) - most);
    Whole::store(a[k] + column, power);
    total += power;
  }
  for (int64_t k = 0; k < outputs; ++k) {
    Whole::store(a[k] + column, Whole::load(a[k] + column) / total);
  }
  return most + logarithm(total);
}

// The place of the largest in columns of z, as is_largest() has it.
Ints place_of_largest(Rows z, int64_t outputs, int64_t column) {
  Lanes most = Whole::load(z[0] + column);
  Ints place{};
  for (int64_t k = 1; k < outputs; ++k) {
    const Lanes in = Whole::load(z[k] + column);
    const Ints larger = (in > most) | ((in != in) & (most == most));
    most = pick(larger, in, most);
    place = (larger & static_cast<Int>(k)) | (~larger & place);
  }
  return place;
}

// What judge() does, for the examples of a vector: columns from `column` on.
void judge_columns(const SmallStep& step, const Answers& at, int64_t column) {
  const SmallLayer& last = step.layers[1];
  const bool soft = last.function == deltarule::kSoftmax;
  const Number share = Number(1) / step.batch;
  const TargetColumns y(step, column);
  const Padded there(y.count);
  Lanes offset{}, cost{}, mean{};
  if (soft) offset = softmax_of_columns(at.z, last.outputs, column, at.a);
  for (int64_t k = 0; k < last.outputs; ++k) {
    const Lanes in = Whole::load(at.z[k] + column);
    const Lanes out = soft ? Whole::load(at.a[k] + column) : value(last.function, in);
    const Judged found(step, last.function, in, out, y.of_output(k, last.outputs), offset);
    there.store(at.d[k] + column, found.wrong * share);
    cost += found.cost;
    mean += Whole::load(at.d[k] + column) * out;
  }
  if (soft && step.cost == deltarule::kQuadratic) {  // back_through_softmax()
    for (int64_t k = 0; k < last.outputs; ++k) {
      Number* d = at.d[k] + column;
      there.store(d, Whole::load(at.a[k] + column) * (Whole::load(d) - mean));
    }
  }
  there.store(at.costs + column, cost);
  const Ints right = place_of_largest(at.z, last.outputs, column) == y.right;
  there.store(at.right + column, pick(right, all(1), Lanes{}));
}

// Outputs, costs and errors of half of the examples.
void meet(const SmallStep& step, const Halves& at, int64_t k) {
  const SmallLayer& output = step.layers[1];
  const int64_t vectors = at.answers.z.row / kLanes;
  for (int64_t v = vectors * k / kHalves; v < vectors * (k + 1) / kHalves; ++v) {
    const int64_t column = v * kLanes;
    for (int64_t o = 0; o < output.outputs; ++o) {
      const Lanes z = Whole::load(at.half[0].z[o] + column) + Whole::load(at.half[1].z[o] + column);
      Whole::store(at.answers.z[o] + column, z + output.b.value[o]);
    }
    judge_columns(step, at.answers, column);
  }
}

// What update_biases() does, for errors with a row for each unit.
template <typename Rule>
void update_biases_of_rows(const SmallStep& step, const Rule& rule, const SmallLayer& layer,
                           Rows d) {
  const Update<Rule> biases{rule, step.learning_rate, Price{}, layer.b, 0};
  along(layer.outputs, [&](int64_t first, auto lanes) {
    Lanes part[kLanes] = {};
    for (int64_t r = 0; r < kLanes && first + r < layer.outputs; ++r) {
      for (int64_t i = 0; i < d.row; i += kLanes) part[r] += Whole::load(d[first + r] + i);
    }
    biases(0, first, sums<kLanes>(part), lanes);
  });
}

// From the errors of the outputs to the change of this half's weights.
template <typename Rule>
void fall(const SmallStep& step, const Rule& rule, const Half& at, Rows errors) {
  const SmallLayer &low = at.hidden, &high = at.output;
  const Below below{low.function, at.a, at.d};
  groups_of_rows({0, low.outputs}, Outer<Below>{high.w.value, high.row, 1, errors.first,
                                                errors.row, high.outputs, errors.row, below});
  update_biases_of_rows(step, rule, low, at.d);
  Number* squares = step.squares ? at.squares.first : nullptr;
  if (squares) memset(squares, 0, at.rows_of_squares() * kLanes * sizeof(Number));
  const Price price{step.rates.l1, step.rates.l2, step.rates.decay};
  const Update<Rule> lower{rule, step.learning_rate, price, low.w, low.row, squares};
  groups_of_rows({0, low.outputs}, Outer<Update<Rule>>{at.d.first, 1, at.d.row, at.x.first,
                                                       at.x.row, step.batch, low.inputs, lower});
  products({errors.first, errors.row, at.a.first, at.a.row, at.a.row, at.gradient.first,
            at.gradient.row},
           {0, high.outputs}, high.inputs);
  if (squares) squares += low.outputs * kLanes;
  const Update<Rule> upper{rule, step.learning_rate, price, high.w, high.row, squares};
  for (int64_t k = 0; k < high.outputs; ++k) {
    along(high.inputs, [&](int64_t i, auto lanes) {
      upper(k, i, lanes.load(at.gradient[k] + i), lanes);
    });
  }
}

template <typename Rule>
void run_in_halves(const SmallStep& step) {
  const Rule rule(step);
  Scratch scratch{step.scratch};
  const Halves at(step, scratch);
  by_all(step, kHalves, [&](int64_t k) { rise(step, at.half[k]); });
  by_all(step, kHalves, [&](int64_t k) { meet(step, at, k); });
  by_all(step, kHalves, [&](int64_t k) { fall(step, rule, at.half[k], at.answers.d); });
  update_biases_of_rows(step, rule, step.layers[1], at.answers.d);
  add_up(step, at.answers);
  if (!step.squares) return;
  for (const Half& half : at.half) add_squares(step, half.squares, half.rows_of_squares());
}

}  // namespace
