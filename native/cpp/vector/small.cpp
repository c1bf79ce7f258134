// One step of training a small dense network: forward, the output error, backward and update.
//
// Rows of activations and errors are padded with zeros to whole vectors. The weights stay as they
// are, [outputs, inputs], and every pass over them reads along their rows: dot products forward,
// multiples of rows added up backward, and the update, which writes each weight once. Of layers with
// few inputs, forward reads a turned copy.
#include "small.hpp"

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

// Whatever the number of threads, work is cut into the same pieces of so many rows.
constexpr int64_t kPiece = 2 * kTileRows;

int64_t pieces_of(int64_t rows) { return (rows + kPiece - 1) / kPiece; }

// Where a layer has few inputs, dot products along them are short, and most of the work would be to
// add up the lanes: its weights are turned once a step, and multiples of their rows added up.
constexpr int64_t kFewInputs = 128;

bool has_few_inputs(const SmallLayer& layer) { return layer.inputs <= kFewInputs; }

int64_t scratch_size(const SmallLayer* layers, int64_t depth, int64_t batch) {
  const int64_t last = padded(layers[depth - 1].outputs);
  int64_t row = padded(layers[0].inputs) + last, units = 0, turned = 0;
  for (int64_t l = 0; l < depth; ++l) {
    row += 2 * padded(layers[l].outputs);  // activations and errors
    units += layers[l].outputs;
    if (has_few_inputs(layers[l])) turned += layers[l].inputs * padded(layers[l].outputs);
  }
  const int64_t results = 2 * padded(batch);  // the cost of each example, and whether it is right
  return batch * row + results + pieces_of(batch) * last + units * kLanes + turned;
}

// Hands out the scratch, a matrix after another.
struct Scratch {
  Number* next;
  Rows take(int64_t count, int64_t size) {
    const Rows rows{next, padded(size)};
    next += count * rows.row;
    return rows;
  }
};

// The rows of piece number k.
Span piece_of(int64_t rows, int64_t k) {
  const int64_t count = pieces_of(rows);
  return {rows * k / count, rows * (k + 1) / count};
}

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
      turned[i][k] = layer.w.value[k * layer.inputs + i];
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
  const Dots dots{x.first, x.row, layer.w.value, layer.inputs, layer.inputs, y.first, y.row};
  products(dots, batch, layer.outputs);
  activate(layer, function, batch, y);
}

// Puts the cost of each of these examples into costs, and 1 into right if the answer is; and the
// errors, divided by the batch size, into d.
void judge(const SmallStep& step, Span batch, Rows z, Rows a, Rows d, Number* y, Number* costs,
           Number* right) {
  const int64_t outputs = step.layers[step.depth - 1].outputs;
  const Number share = Number(1) / step.batch;
  for (int64_t n = batch.first; n < batch.last; ++n) {
    target(step, n, outputs, y);
    costs[n] = cost_and_error(step, z[n], y, a[n], d[n]);
    for (int64_t k = 0; k < outputs; ++k) d[n][k] *= share;
    for (int64_t k = outputs; k < d.row; ++k) d[n][k] = 0;
    right[n] = step.classes && place_of_largest(z[n], outputs) == step.classes[step.index[n]];
  }
}

void add_up(const SmallStep& step, const Number* costs, const Number* right) {
  Number cost = 0;
  for (int64_t n = 0; n < step.batch; ++n) {
    cost += costs[n];
    *step.correct += right[n] > 0;
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
  groups_of_rows(batch, Outer<Below>{d.first, 1, d.row, layer.w.value, layer.inputs, layer.outputs,
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

// The gradients of some of a layer's weights, d' x, and at once the change they make.
template <typename Rule>
void update(const SmallStep& step, const Rule& rule, const SmallLayer& layer, Rows d, Rows x,
            Number* squares, Span outputs) {
  if (outputs.first == 0) update_biases(step, rule, layer, d);
  if (squares) {
    const int64_t size = (outputs.last - outputs.first) * kLanes;
    memset(squares + outputs.first * kLanes, 0, size * sizeof *squares);
  }
  const Price price{step.rates.l1, step.rates.l2, step.rates.decay};
  const Update<Rule> weights{rule, step.learning_rate, price, layer.w, layer.inputs, squares};
  groups_of_rows(outputs, Outer<Update<Rule>>{d.first, d.row, 1, x.first, x.row, step.batch,
                                              layer.inputs, weights});
}

// Where a step keeps what it works out: activations a (of the inputs first) and errors d of all
// layers, and what is found for each example.
struct Workplace {
  Rows a[deltarule::kSmallMostLayers + 1], d[deltarule::kSmallMostLayers];
  Rows turned[deltarule::kSmallMostLayers], outputs, targets, squares;
  Number *costs, *right;

  explicit Workplace(const SmallStep& step) {
    Scratch scratch{step.scratch};
    int64_t units = 0;
    a[0] = scratch.take(step.batch, step.layers[0].inputs);
    for (int64_t l = 0; l < step.depth; ++l) {
      a[l + 1] = scratch.take(step.batch, step.layers[l].outputs);
      d[l] = scratch.take(step.batch, step.layers[l].outputs);
      units += step.layers[l].outputs;
      const bool few = has_few_inputs(step.layers[l]);
      turned[l] = scratch.take(few ? step.layers[l].inputs : 0, step.layers[l].outputs);
    }
    const int64_t last = step.layers[step.depth - 1].outputs;
    outputs = scratch.take(step.batch, last);
    targets = scratch.take(pieces_of(step.batch), last);
    squares = scratch.take(units, kLanes);
    costs = scratch.take(1, step.batch).first;
    right = scratch.take(1, step.batch).first;
  }
};

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
  judge(step, batch, at.a[top + 1], at.outputs, at.d[top], at.targets[k], at.costs, at.right);
  for (int64_t l = top; l > 0; --l) {
    const Below below{step.layers[l - 1].function, at.a[l], at.d[l - 1]};
    backward(step.layers[l], batch, at.d[l], below);
  }
}

// Adds the squares up that were left for each unit.
void add_squares(const SmallStep& step, const Workplace& at) {
  if (!step.squares) return;
  Lanes total{};
  int64_t units = 0;
  for (int64_t l = 0; l < step.depth; ++l) units += step.layers[l].outputs;
  for (int64_t r = 0; r < units; ++r) total += Whole::load(at.squares[r]);
  *step.squares += sum(total);
}

template <typename Rule>
void run_with(const SmallStep& step) {
  const Rule rule(step);
  const Workplace at(step);
  for (int64_t l = 0; l < step.depth; ++l) {
    if (has_few_inputs(step.layers[l])) turn(step.layers[l], at.turned[l]);
  }
  by_all(step, pieces_of(step.batch), [&](int64_t k) { work_out(step, at, k); });
  add_up(step, at.costs, at.right);
  int64_t pieces = 0;
  for (int64_t l = 0; l < step.depth; ++l) pieces += pieces_of(step.layers[l].outputs);
  by_all(step, pieces, [&](int64_t k) {
    int64_t l = 0, unit = 0;
    for (; k >= pieces_of(step.layers[l].outputs); ++l) {
      k -= pieces_of(step.layers[l].outputs);
      unit += step.layers[l].outputs;
    }
    const SmallLayer& layer = step.layers[l];
    Number* squares = step.squares ? at.squares[unit] : nullptr;
    update(step, rule, layer, at.d[l], at.a[l], squares, piece_of(layer.outputs, k));
  });
  add_squares(step, at);
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
