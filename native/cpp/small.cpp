// The handlers of the small dense network: one call is one step of training (vector/small.hpp), or
// whole epochs of them.
#include "vector/small.hpp"

#include <algorithm>
#include <cstring>
#include <type_traits>
#include <vector>

#include "guard.hpp"
#include "handler.hpp"
#include "parallel.hpp"

namespace deltarule {
namespace {

namespace ffi = xla::ffi;

constexpr int64_t kRates = sizeof(SmallRates<float>) / sizeof(float);
constexpr int64_t kAlignment = 64;  // bytes
constexpr double kWorthSharing = 2e6;  // operations of a step

template <typename T>
constexpr ffi::DataType kTypeOf = std::is_same_v<T, double>  ? ffi::F64
                                  : std::is_same_v<T, float> ? ffi::F32
                                                             : ffi::S32;

// The numbers of a buffer, which must be of type T.
template <typename T, typename Buffer>
T* numbers_of(const Buffer& buffer, const char* what) {
  require(buffer.element_type() == kTypeOf<std::remove_const_t<T>>, what);
  return static_cast<T*>(buffer.untyped_data());
}

// What is learned, in and out: XLA gives both the same memory, so that nothing is copied.
class Learned {
 public:
  Learned(ffi::RemainingArgs before, ffi::RemainingRets after) : before_(before), after_(after) {
    require(before.size() == after.size(), "as many results as arrays to learn");
  }

  // The next array, which must be of `count` numbers of type T.
  template <typename T>
  T* next(int64_t count) {
    require(place_ < before_.size(), "more arrays to learn");
    auto in = before_.get<ffi::AnyBuffer>(place_);
    auto out = after_.get<ffi::AnyBuffer>(place_);
    ++place_;
    require(in.has_value() && out.has_value(), "arrays");
    const char* types = "arrays to learn of the type of x, and int32 counts";
    const T* from = numbers_of<const T>(*in, types);
    T* to = numbers_of<T>(**out, types);
    require(static_cast<int64_t>(in->element_count()) == count &&
                static_cast<int64_t>((*out)->element_count()) == count,
            "arrays to learn that fit the layers, [outputs] and [outputs, inputs]");
    if (to != from) memcpy(to, from, count * sizeof(T));
    return to;
  }

  // The axes of the weights of layer number `layer`: its bias comes first.
  ffi::Span<const int64_t> axes(size_t at) const {
    require(at < before_.size(), "a bias and weights for each layer");
    auto in = before_.get<ffi::AnyBuffer>(at);
    require(in.has_value(), "arrays");
    return in->dimensions();
  }

  bool is_used_up() const { return place_ == before_.size(); }

 private:
  ffi::RemainingArgs before_;
  ffi::RemainingRets after_;
  size_t place_ = 0;
};

constexpr size_t kSums = 2;  // the cost and the count come before the layers

template <typename Number>
void read_shapes(const Learned& learned, ffi::Span<const int32_t> functions, int64_t inputs,
                 std::vector<SmallLayer<Number>>& layers) {
  const int64_t depth = functions.size();
  require(depth > 0 && depth <= kSmallMostLayers, "between 1 and 16 layers");
  layers.resize(depth);
  for (int64_t l = 0; l < depth; ++l) {
    const auto axes = learned.axes(kSums + 2 * l + 1);
    require(axes.size() == 2 && axes[1] == inputs && axes[0] > 0 && axes[1] > 0,
            "weights [outputs, inputs] with the inputs that the layer below puts out");
    const int32_t function = functions.begin()[l];
    const bool last = l + 1 == depth;
    require(function >= kIdentity && function <= (last ? kSoftmax : kRelu),
            "activations that it knows");
    layers[l] = {inputs, axes[0], static_cast<SmallFunction>(function), {}, {}};
    inputs = axes[0];
  }
}

// Adam counts its steps unless the learning rates hold what it needs the count for.
template <typename Number>
void read_arrays(Learned& learned, SmallStep<Number>& step,
                 std::vector<SmallLayer<Number>>& layers, bool counts) {
  using Array = SmallArray<Number>;
  const auto fill = [&](Number* Array::*part) {
    for (SmallLayer<Number>& layer : layers) {
      layer.b.*part = learned.next<Number>(layer.outputs);
      layer.w.*part = learned.next<Number>(layer.outputs * layer.inputs);
    }
  };
  step.total_cost = learned.next<Number>(1);
  step.correct = learned.next<int32_t>(1);
  fill(&Array::value);
  if (step.method == kAdam && counts) {
    int32_t* steps = learned.next<int32_t>(1);
    if (step.batch > 0 && *steps < INT32_MAX) ++*steps;
    step.steps = *steps;
  }
  if (step.method != kSgd) fill(&Array::first);
  if (step.method == kAdam) fill(&Array::second);
  require(learned.is_used_up(), "no more arrays than the optimizer has");
}

// Which examples a step takes: orders[epoch][step * stride] and the `batch` - 1 after it.
struct Order {
  ffi::Buffer<ffi::S32> orders, epoch, step;
  int64_t stride, batch;
};

template <typename Number>
void read_examples(SmallStep<Number>& step, ffi::AnyBuffer x, ffi::AnyBuffer y, int64_t outputs) {
  const auto examples = x.dimensions();
  require(examples.size() == 2 && examples[0] > 0, "x [n, inputs]");
  const bool bytes = x.element_type() == ffi::U8;
  step.bytes = bytes ? static_cast<const uint8_t*>(x.untyped_data()) : nullptr;
  step.floats = bytes ? nullptr : numbers_of<const Number>(x, "x of bytes or of this precision");
  const auto targets = y.dimensions();
  const bool classes = targets.size() == 1 && y.element_type() == ffi::S32;
  require(classes || (targets.size() == 2 && targets[1] == outputs),
          "y [n] of int32 or [n, outputs] of this precision");
  require(targets[0] == examples[0], "a target for each example");
  step.classes = classes ? static_cast<const int32_t*>(y.untyped_data()) : nullptr;
  step.targets = classes ? nullptr : numbers_of<const Number>(y, "y of int32 or as x");
}

// The examples of this step and those of the next, if one of the same size follows.
void read_order(SmallStep<float>& step, const Order& order, int64_t examples) {
  const auto axes = order.orders.dimensions();
  require(axes.size() == 2 && order.batch >= 0 && order.stride >= 0, "orders [epochs, n]");
  require(order.epoch.element_count() == 1 && order.step.element_count() == 1,
          "the numbers of one epoch and one step");
  const int64_t epoch = order.epoch.typed_data()[0];
  const int64_t first = order.step.typed_data()[0] * order.stride, last = first + order.batch;
  require(epoch >= 0 && epoch < axes[0] && first >= 0 && last <= axes[1],
          "a step of an epoch that orders holds");
  step.batch = order.batch;
  step.following = std::min(order.batch, axes[1] - last);
  step.index = order.orders.typed_data() + epoch * axes[1] + first;
  for (int64_t b = 0; b < step.batch + step.following; ++b) {
    require(step.index[b] >= 0 && step.index[b] < examples, "places of examples that there are");
  }
}

// Room for a step. Each thread keeps what most steps need, from call to call, and no more.
template <typename Number>
class Room {
 public:
  explicit Room(int64_t numbers) {
    const size_t wanted = numbers + kAlignment / sizeof(Number);
    std::vector<Number>& room = wanted > kKept ? large_ : kept();
    if (room.size() < wanted) room.resize(wanted);
    const auto address = reinterpret_cast<uintptr_t>(room.data());
    aligned_ = reinterpret_cast<Number*>((address + kAlignment - 1) / kAlignment * kAlignment);
  }
  Number* aligned() const { return aligned_; }

 private:
  static constexpr size_t kKept = size_t{1} << 21;  // numbers: 8 MiB
  static std::vector<Number>& kept() {
    thread_local std::vector<Number> kept;
    return kept;
  }
  std::vector<Number> large_;
  Number* aligned_;
};

template <typename Number>
double operations(const SmallStep<Number>& step) {
  double weights = 0;
  for (int64_t l = 0; l < step.depth; ++l) {
    weights += static_cast<double>(step.layers[l].inputs) * step.layers[l].outputs;
  }
  return 6 * weights * step.batch;
}

// Those who help with steps of so many operations, where that is worth it.
class Helpers {
 public:
  Helpers(Pool& pool, double operations)
      : helps_(operations >= kWorthSharing && pool.num_threads() > 1),
        team_(pool, helps_ ? static_cast<int>(pool.num_threads()) : 1),
        small_{[](void* self, int64_t pieces, Team::Work work, const void* what) {
                 static_cast<Team*>(self)->each(pieces, work, what);
               },
               &team_} {}

  const SmallTeam* team() const { return helps_ ? &small_ : nullptr; }

 private:
  const bool helps_;
  Team team_;
  SmallTeam small_;
};

ffi::Error train(ffi::AnyBuffer x, ffi::AnyBuffer y, ffi::Buffer<ffi::S32> orders,
                 ffi::Buffer<ffi::S32> epoch, ffi::Buffer<ffi::S32> place,
                 ffi::Buffer<ffi::F32> learning_rate, ffi::Buffer<ffi::F32> rates,
                 ffi::RemainingArgs before, ffi::RemainingRets after,
                 ffi::Span<const int32_t> functions, int32_t cost, int32_t method, int64_t stride,
                 int64_t batch) {
  return guarded([&] {
    static const SmallTable<float>& table = DELTARULE_FASTEST(small);
    require(cost >= kQuadratic && cost <= kLogLoss, "a cost that it knows");
    require(method >= kSgd && method <= kAdam, "an optimizer that it knows");
    require(static_cast<int64_t>(rates.element_count()) == kRates &&
                learning_rate.element_count() == 1,
            "a learning rate and 11 more rates");
    require(x.dimensions().size() == 2, "x [n, inputs]");
    SmallStep<float> step{};
    step.cost = static_cast<SmallCost>(cost);
    step.method = static_cast<SmallMethod>(method);
    step.learning_rate = learning_rate.typed_data()[0];
    memcpy(&step.rates, rates.typed_data(), sizeof step.rates);
    Learned learned(before, after);
    thread_local std::vector<SmallLayer<float>> layers;
    read_shapes(learned, functions, x.dimensions()[1], layers);
    read_examples(step, x, y, layers.back().outputs);
    read_order(step, {orders, epoch, place, stride, batch}, x.dimensions()[0]);
    const SmallFunction output = layers.back().function;
    require(step.cost == kQuadratic || output == kSigmoid || output == kSoftmax,
            "sigmoid or softmax outputs with the cross-entropy");
    read_arrays(learned, step, layers, true);
    if (step.batch == 0) return;
    step.layers = layers.data();
    step.depth = layers.size();
    const Room<float> room(table.scratch_size(step.layers, step.depth, step.batch));
    step.scratch = room.aligned();
    table.run(step);
  });
}

// When epochs end before all are done: after `longest` in which the cost has not fallen by tol.
template <typename Number>
struct Patience {
  Number best, tol;
  int32_t waited, longest;

  // Takes the cost of an epoch; returns whether to go on.
  bool goes_on_after(Number cost) {
    waited = cost > best - tol ? waited + 1 : 0;
    if (cost < best) best = cost;
    return waited <= longest;
  }
};

template <typename Number>
const SmallTable<Number>& fastest_table() {
  if constexpr (std::is_same_v<Number, double>) {
    static const SmallTable<double>& table = DELTARULE_FASTEST(small_double);
    return table;
  } else {
    static const SmallTable<float>& table = DELTARULE_FASTEST(small);
    return table;
  }
}

// Which examples when: orders [epochs, n or more] and learning rates [epochs, steps], corrections of
// Adam included.
template <typename Number>
struct Epochs {
  const int32_t* orders;
  const Number* rates;
  int64_t row, examples, batch;
  Number alpha;  // the penalty of a batch of m examples is alpha / (2 m) times the sum of w^2

  int64_t steps() const { return (examples + batch - 1) / batch; }

  // Trains for epoch number `epoch`; returns its cost.
  Number run(SmallStep<Number> step, int64_t epoch) const {
    double costs = 0, squares = 0;
    for (int64_t s = 0; s < steps(); ++s) {
      Number cost = 0, square = 0;
      const int64_t first = s * batch;
      step.batch = std::min(batch, examples - first);
      step.index = orders + epoch * row + first;
      step.following = std::min(step.batch, examples - first - step.batch);
      step.learning_rate = rates[epoch * steps() + s];
      step.rates.l2 = alpha / step.batch;
      step.total_cost = &cost;
      step.squares = &square;
      fastest_table<Number>().run(step);
      costs += cost;
      squares += square;
    }
    return static_cast<Number>((costs + 0.5 * alpha * squares) / examples);
  }
};

// What a call of epochs is given besides x, y and what is learned.
// counts: how many examples and epochs, epochs waited so far, and the most to wait.
// numbers: alpha, the lowest cost so far, tol.
struct Course {
  ffi::Buffer<ffi::S32> orders;
  ffi::AnyBuffer learning_rates, rates;
  ffi::Buffer<ffi::S32> counts;
  ffi::AnyBuffer numbers;
};

void check_course(const Course& given, int64_t batch, int64_t there) {
  require(static_cast<int64_t>(given.rates.element_count()) == kRates &&
              given.counts.element_count() == 4 && given.numbers.element_count() == 3,
          "11 rates, 4 counts and 3 numbers");
  const int64_t examples = given.counts.typed_data()[0], count = given.counts.typed_data()[1];
  require(examples > 0 && batch > 0 && examples <= there,
          "a batch size, and as many examples as there are or fewer");
  const auto orders = given.orders.dimensions(), rates = given.learning_rates.dimensions();
  require(orders.size() == 2 && rates.size() == 2 && count >= 0 && count <= orders[0] &&
              rates[0] == orders[0] && orders[1] >= examples &&
              rates[1] == (examples + batch - 1) / batch,
          "orders [epochs, n] and rates [epochs, steps]");
  for (int64_t epoch = 0; epoch < count; ++epoch) {
    const int32_t* order = given.orders.typed_data() + epoch * orders[1];
    for (int64_t n = 0; n < examples; ++n) {
      require(order[n] >= 0 && order[n] < there, "places of examples that there are");
    }
  }
}

template <typename Number>
void run_epochs(Pool& pool, ffi::AnyBuffer x, ffi::AnyBuffer y, const Course& given,
                Learned& learned, ffi::AnyBuffer losses, int32_t& done,
                ffi::Span<const int32_t> functions, int32_t cost, int64_t batch) {
  const char* types = "rates, numbers and costs of the type of x";
  const int32_t* count = given.counts.typed_data();
  const Number* number = numbers_of<const Number>(given.numbers, types);
  SmallStep<Number> step{};
  step.cost = static_cast<SmallCost>(cost);
  step.method = kAdam;
  memcpy(&step.rates, numbers_of<const Number>(given.rates, types), sizeof step.rates);
  std::vector<SmallLayer<Number>> layers;
  read_shapes(learned, functions, x.dimensions()[1], layers);
  read_examples(step, x, y, layers.back().outputs);
  const SmallFunction output = layers.back().function;
  require(step.cost == kQuadratic || output == kSigmoid || output == kSoftmax,
          "sigmoid or softmax outputs with the cross-entropy");
  read_arrays(learned, step, layers, false);
  const Epochs<Number> epochs{given.orders.typed_data(),
                              numbers_of<const Number>(given.learning_rates, types),
                              given.orders.dimensions()[1], count[0], batch, number[0]};
  step.layers = layers.data();
  step.depth = layers.size();
  step.batch = std::min(batch, epochs.examples);
  const Helpers helpers(pool, operations(step));
  step.team = helpers.team();
  const Room<Number> room(
      fastest_table<Number>().scratch_size(step.layers, step.depth, step.batch));
  step.scratch = room.aligned();
  Patience<Number> patience{number[1], number[2], count[2], count[3]};
  Number* loss = numbers_of<Number>(losses, types);
  std::fill(loss, loss + losses.element_count(), Number{});
  for (done = 0; done < count[1];) {
    loss[done] = epochs.run(step, done);
    if (!patience.goes_on_after(loss[done++])) break;
  }
}

ffi::Error train_epochs(Pool pool, ffi::AnyBuffer x, ffi::AnyBuffer y,
                        ffi::Buffer<ffi::S32> orders, ffi::AnyBuffer learning_rates,
                        ffi::AnyBuffer rates, ffi::Buffer<ffi::S32> counts,
                        ffi::AnyBuffer numbers, ffi::RemainingArgs before,
                        ffi::Result<ffi::AnyBuffer> losses, ffi::ResultBuffer<ffi::S32> ran,
                        ffi::RemainingRets after, ffi::Span<const int32_t> functions, int32_t cost,
                        int64_t batch) {
  return guarded([&] {
    require(cost == kQuadratic || cost == kLogLoss, "a cost that it knows");
    require(x.dimensions().size() == 2, "x [n, inputs]");
    const Course given{orders, learning_rates, rates, counts, numbers};
    check_course(given, batch, x.dimensions()[0]);
    require(static_cast<int64_t>(losses->element_count()) == orders.dimensions()[0] &&
                ran->element_count() == 1,
            "room for a cost of each epoch");
    Learned learned(before, after);
    const auto run = x.element_type() == ffi::F64 ? run_epochs<double> : run_epochs<float>;
    run(pool, x, y, given, learned, *losses, *ran->typed_data(), functions, cost, batch);
  });
}

}  // namespace

DELTARULE_HANDLER(deltarule_small_epochs, train_epochs,
                  ffi::Ffi::Bind()
                      .Ctx<ffi::ThreadPool>()
                      .Arg<ffi::AnyBuffer>()         // x
                      .Arg<ffi::AnyBuffer>()         // y
                      .Arg<ffi::Buffer<ffi::S32>>()  // orders
                      .Arg<ffi::AnyBuffer>()         // learning rates
                      .Arg<ffi::AnyBuffer>()         // SmallRates
                      .Arg<ffi::Buffer<ffi::S32>>()  // counts
                      .Arg<ffi::AnyBuffer>()         // numbers
                      .RemainingArgs()               // cost, correct, params, moments
                      .Ret<ffi::AnyBuffer>()         // the cost of each epoch
                      .Ret<ffi::Buffer<ffi::S32>>()  // how many epochs there were
                      .RemainingRets()               // as the remaining arguments, afterwards
                      .Attr<ffi::Span<const int32_t>>("functions")
                      .Attr<int32_t>("cost")
                      .Attr<int64_t>("batch"));

DELTARULE_HANDLER(deltarule_small_step, train,
                  ffi::Ffi::Bind()
                      .Arg<ffi::AnyBuffer>()         // x
                      .Arg<ffi::AnyBuffer>()         // y
                      .Arg<ffi::Buffer<ffi::S32>>()  // orders
                      .Arg<ffi::Buffer<ffi::S32>>()  // epoch
                      .Arg<ffi::Buffer<ffi::S32>>()  // step
                      .Arg<ffi::Buffer<ffi::F32>>()  // learning rate
                      .Arg<ffi::Buffer<ffi::F32>>()  // SmallRates
                      .RemainingArgs()               // cost, correct, params, optimizer's state
                      .RemainingRets()               // the same, after the step
                      .Attr<ffi::Span<const int32_t>>("functions")
                      .Attr<int32_t>("cost")
                      .Attr<int32_t>("method")
                      .Attr<int64_t>("stride")
                      .Attr<int64_t>("batch"));

}  // namespace deltarule
