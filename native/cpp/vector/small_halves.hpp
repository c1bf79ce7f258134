// A step of a network with one hidden layer, cut into two halves of its hidden units.
//
// Each half has its units' weights, from below and to above, and examples of its own to read. Two
// threads with a half each hand each other sums for the outputs and their errors, and nothing else.
// Where threads take some of the examples each, half of the activations, of the errors and of the
// weights go from one to the other in every step.
#pragma once

#include "small_layers.hpp"

namespace {

constexpr int kHalves = 2;

// Of layers with more inputs, examples of its own would be too much for a thread's cache.
bool in_halves(const SmallStep& step) {
  return step.worth_sharing && step.depth == 2 && has_few_inputs(step.layers[0]) &&
         step.layers[0].outputs >= kHalves * kLanes;
}

// Part of an array: the numbers from `first` on.
deltarule::SmallArray<Number> from(const deltarule::SmallArray<Number>& array, int64_t first) {
  const auto part = [first](Number* all) { return all ? all + first : nullptr; };
  return {part(array.value), part(array.first), part(array.second)};
}

// Hidden units from `first` on, seen as a layer, and the layer above as far as it reads them.
struct Half {
  SmallLayer hidden, output;
  Rows x, turned_hidden, turned_output, a, d, z, squares;

  void take(const SmallStep& step, Span units, Scratch& scratch) {
    const SmallLayer &low = step.layers[0], &high = step.layers[1];
    const int64_t count = units.last - units.first;
    hidden = {low.inputs, count, low.row, low.function, from(low.w, units.first * low.row),
              from(low.b, units.first)};
    output = {count, high.outputs, high.row, high.function, from(high.w, units.first), high.b};
    x = scratch.take(step.batch, low.inputs);
    turned_hidden = scratch.take(low.inputs, count);
    turned_output = scratch.take(count, high.outputs);
    a = scratch.take(step.batch, count);
    d = scratch.take(step.batch, count);
    z = scratch.take(step.batch, high.outputs);
    squares = scratch.take(rows_of_squares(), kLanes);
  }
  int64_t rows_of_squares() const { return hidden.outputs + output.outputs; }
};

struct Halves {
  Half half[kHalves];
  Answers answers;

  Halves(const SmallStep& step, Scratch& scratch) : answers(step, scratch) {
    const int64_t units = step.layers[0].outputs, cut = units / kHalves;
    half[0].take(step, {0, cut}, scratch);
    half[1].take(step, {cut, units}, scratch);
  }
};

// Puts the sums into rows.
struct Stored {
  Rows y;

  void prepare(int64_t, int64_t) const {}
  template <typename Which>
  inline __attribute__((always_inline)) void operator()(int64_t n, int64_t i, Lanes sum,
                                                        Which lanes) const {
    lanes.store(y[n] + i, sum);
  }
};

// From the examples to what this half adds to the outputs.
void rise(const SmallStep& step, const Half& at) {
  const Span batch{0, step.batch};
  take_examples(step, at.x, batch);
  fetch_next(step, batch);
  turn(at.hidden, at.turned_hidden);
  turn(at.output, at.turned_output);
  forward(at.hidden, at.hidden.function, batch, at.x, at.turned_hidden, at.a);
  const Stored stored{at.z};
  const Rows w = at.turned_output;
  groups_of_rows(batch, Outer<Stored>{at.a.first, 1, at.a.row, w.first, w.row, at.output.inputs,
                                      at.output.outputs, stored});
}

// Outputs, costs and errors of half of the examples.
void meet(const SmallStep& step, const Halves& at, int64_t k) {
  const Span batch{step.batch * k / kHalves, step.batch * (k + 1) / kHalves};
  const SmallLayer& output = step.layers[1];
  along(output.outputs, [&](int64_t i, auto lanes) {
    const Lanes bias = lanes.load(output.b.value + i);
    for (int64_t n = batch.first; n < batch.last; ++n) {
      const Lanes z = Whole::load(at.half[0].z[n] + i) + Whole::load(at.half[1].z[n] + i) + bias;
      lanes.store(at.answers.z[n] + i, z);
    }
  });
  clear_padding(batch, output.outputs, at.answers.z);
  judge(step, batch, at.answers);
}

// From the errors of the outputs to the change of this half's weights.
template <typename Rule>
void fall(const SmallStep& step, const Rule& rule, const Half& at, Rows errors) {
  backward(at.output, {0, step.batch}, errors, Below{at.hidden.function, at.a, at.d});
  Rows low{}, high{};
  if (step.squares) {
    low = at.squares;
    high = {at.squares[at.hidden.outputs], at.squares.row};
  }
  update_biases(step, rule, at.hidden, at.d);
  update(step, rule, at.hidden, at.d, at.x, low, {0, at.hidden.outputs});
  update(step, rule, at.output, errors, at.a, high, {0, at.output.outputs});
}

template <typename Rule>
void run_in_halves(const SmallStep& step) {
  const Rule rule(step);
  Scratch scratch{step.scratch};
  const Halves at(step, scratch);
  by_all(step, kHalves, [&](int64_t k) { rise(step, at.half[k]); });
  by_all(step, kHalves, [&](int64_t k) { meet(step, at, k); });
  by_all(step, kHalves, [&](int64_t k) { fall(step, rule, at.half[k], at.answers.d); });
  update_biases(step, rule, step.layers[1], at.answers.d);
  add_up(step, at.answers);
  if (!step.squares) return;
  for (const Half& half : at.half) add_squares(step, half.squares, half.rows_of_squares());
}

}  // namespace
