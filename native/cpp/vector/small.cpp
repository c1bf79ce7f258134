// One step of training a small dense network: forward, the output error, backward and update.
#include "small.hpp"

#include "small_halves.hpp"
#include "small_layers.hpp"

namespace {

// Whatever the number of threads, work is cut into the same pieces of so many rows.
constexpr int64_t kPiece = 2 * kTileRows;

int64_t pieces_of(int64_t rows) { return (rows + kPiece - 1) / kPiece; }

// The rows of piece number k.
Span piece_of(int64_t rows, int64_t k) {
  const int64_t count = pieces_of(rows);
  return {rows * k / count, rows * (k + 1) / count};
}

// Where a step keeps what it works out: activations a (of the inputs first) and errors d of all
// layers.
struct Workplace {
  Answers answers;
  Rows a[deltarule::kSmallMostLayers + 1], d[deltarule::kSmallMostLayers];
  Rows turned[deltarule::kSmallMostLayers], squares;
  int64_t units = 0;

  Workplace(const SmallStep& step, Scratch& scratch)
      : answers(step, step.batch, step.layers[step.depth - 1].outputs, scratch) {
    const int64_t top = step.depth - 1;
    a[0] = scratch.take(step.batch, step.layers[0].inputs);
    for (int64_t l = 0; l <= top; ++l) {
      const SmallLayer& layer = step.layers[l];
      a[l + 1] = l == top ? answers.z : scratch.take(step.batch, layer.outputs);
      d[l] = l == top ? answers.d : scratch.take(step.batch, layer.outputs);
      turned[l] = scratch.take(has_few_inputs(layer) ? layer.inputs : 0, layer.outputs);
      units += layer.outputs;
    }
    squares = scratch.take(units, kLanes);
  }
};

int64_t scratch_size(const SmallStep& step) {
  Scratch scratch{};
  if (in_halves(step)) {
    Halves(step, scratch);
  } else {
    Workplace(step, scratch);
  }
  return scratch.used;
}

// Forward, the cost and the errors of all layers, for some of the examples: piece number k.
void work_out(const SmallStep& step, const Workplace& at, int64_t k) {
  const Span batch = piece_of(step.batch, k);
  const int64_t top = step.depth - 1;
  take_examples(step, at.a[0], batch);
  fetch_next(step, batch);
  for (int64_t l = 0; l <= top; ++l) {
    const SmallLayer& layer = step.layers[l];  // the cost starts from z
    const SmallFunction function = l == top ? deltarule::kIdentity : layer.function;
    forward(layer, function, batch, at.a[l], at.turned[l], at.a[l + 1]);
  }
  judge(step, batch, at.answers);
  for (int64_t l = top; l > 0; --l) {
    const Below below{step.layers[l - 1].function, at.a[l], at.d[l - 1]};
    backward(step.layers[l], batch, at.d[l], below);
  }
}

// Piece number k of the updates of all layers.
template <typename Rule>
void learn(const SmallStep& step, const Rule& rule, const Workplace& at, int64_t k) {
  int64_t l = 0, unit = 0;
  for (; k >= pieces_of(step.layers[l].outputs); ++l) {
    k -= pieces_of(step.layers[l].outputs);
    unit += step.layers[l].outputs;
  }
  const SmallLayer& layer = step.layers[l];
  if (k == 0) update_biases(step, rule, layer, at.d[l]);
  Rows squares{};
  if (step.squares) squares = {at.squares[unit], at.squares.row};
  update(step, rule, layer, at.d[l], at.a[l], squares, piece_of(layer.outputs, k));
}

template <typename Rule>
void run_by_examples(const SmallStep& step) {
  const Rule rule(step);
  Scratch scratch{step.scratch};
  const Workplace at(step, scratch);
  int64_t pieces = 0;
  for (int64_t l = 0; l < step.depth; ++l) {
    if (has_few_inputs(step.layers[l])) turn(step.layers[l], at.turned[l]);
    pieces += pieces_of(step.layers[l].outputs);
  }
  by_all(step, pieces_of(step.batch), [&](int64_t k) { work_out(step, at, k); });
  add_up(step, at.answers);
  by_all(step, pieces, [&](int64_t k) { learn(step, rule, at, k); });
  if (step.squares) add_squares(step, at.squares, at.units);
}

template <typename Rule>
void run_with(const SmallStep& step) {
  in_halves(step) ? run_in_halves<Rule>(step) : run_by_examples<Rule>(step);
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
#if defined(NUMBERS_ARE_DOUBLE)
const SmallTable<Number> small_double{scratch_size, run};
#else
const SmallTable<Number> small{scratch_size, run};
#endif
}  // namespace deltarule::ISA
