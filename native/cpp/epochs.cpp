// The handler of whole epochs of a small dense network, with the optimizer Adam, in either precision.
#include "handler.hpp"
#include "parallel.hpp"
#include "small_arrays.hpp"

namespace deltarule {
namespace {

constexpr double kWorthSharing = 2e6;  // operations of a step

template <typename Number>
double operations(const SmallStep<Number>& step) {
  double weights = 0;
  for (int64_t l = 0; l < step.depth; ++l) {
    weights += static_cast<double>(step.layers[l].inputs) * step.layers[l].outputs;
  }
  return 6 * weights * step.batch;
}

// Those who help with steps that are worth it.
class Helpers {
 public:
  Helpers(Pool& pool, bool worth_sharing)
      : helps_(worth_sharing && pool.num_threads() > 1),
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
  step.worth_sharing = operations(step) >= kWorthSharing;
  const Helpers helpers(pool, step.worth_sharing);
  step.team = helpers.team();
  const Room<Number> room(fastest_table<Number>().scratch_size(step));
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

}  // namespace deltarule
