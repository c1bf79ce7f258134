// The handler of the small dense network: one call is one step of training (vector/small.hpp).
#include "vector/small.hpp"

#include <algorithm>
#include <cstring>
#include <type_traits>
#include <vector>

#include "guard.hpp"
#include "handler.hpp"

namespace deltarule {
namespace {

namespace ffi = xla::ffi;

constexpr int64_t kRates = sizeof(SmallRates) / sizeof(float);
constexpr int64_t kAlignment = 64;  // bytes

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
    const ffi::DataType type = std::is_same_v<T, float> ? ffi::F32 : ffi::S32;
    require(in->element_type() == type && (*out)->element_type() == type,
            "float32 arrays to learn and int32 counts");
    require(static_cast<int64_t>(in->element_count()) == count &&
                static_cast<int64_t>((*out)->element_count()) == count,
            "arrays to learn that fit the layers, [outputs] and [outputs, inputs]");
    T* to = static_cast<T*>((*out)->untyped_data());
    if (to != in->untyped_data()) memcpy(to, in->untyped_data(), count * sizeof(T));
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

void read_shapes(const Learned& learned, ffi::Span<const int32_t> functions, int64_t inputs,
                 std::vector<SmallLayer>& layers) {
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

void read_arrays(Learned& learned, SmallStep& step, std::vector<SmallLayer>& layers) {
  const auto fill = [&](float* SmallArray::*part) {
    for (SmallLayer& layer : layers) {
      layer.b.*part = learned.next<float>(layer.outputs);
      layer.w.*part = learned.next<float>(layer.outputs * layer.inputs);
    }
  };
  step.total_cost = learned.next<float>(1);
  step.correct = learned.next<int32_t>(1);
  fill(&SmallArray::value);
  if (step.method == kAdam) {
    int32_t* steps = learned.next<int32_t>(1);
    if (step.batch > 0 && *steps < INT32_MAX) ++*steps;
    step.steps = *steps;
  }
  if (step.method != kSgd) fill(&SmallArray::first);
  if (step.method == kAdam) fill(&SmallArray::second);
  require(learned.is_used_up(), "no more arrays than the optimizer has");
}

// Which examples a step takes: orders[epoch][step * stride] and the `batch` - 1 after it.
struct Order {
  ffi::Buffer<ffi::S32> orders, epoch, step;
  int64_t stride, batch;
};

void read_examples(SmallStep& step, ffi::AnyBuffer x, ffi::AnyBuffer y, int64_t outputs) {
  const auto examples = x.dimensions();
  require(examples.size() == 2 && examples[0] > 0, "x [n, inputs]");
  require(x.element_type() == ffi::U8 || x.element_type() == ffi::F32, "x of bytes or float32");
  const bool bytes = x.element_type() == ffi::U8;
  step.bytes = bytes ? static_cast<const uint8_t*>(x.untyped_data()) : nullptr;
  step.floats = bytes ? nullptr : static_cast<const float*>(x.untyped_data());
  const auto targets = y.dimensions();
  const bool classes = targets.size() == 1 && y.element_type() == ffi::S32;
  require(classes || (targets.size() == 2 && y.element_type() == ffi::F32 && targets[1] == outputs),
          "y [n] of int32 or [n, outputs] of float32");
  require(targets[0] == examples[0], "a target for each example");
  step.classes = classes ? static_cast<const int32_t*>(y.untyped_data()) : nullptr;
  step.targets = classes ? nullptr : static_cast<const float*>(y.untyped_data());
}

// The examples of this step and those of the next, if one of the same size follows.
void read_order(SmallStep& step, const Order& order, int64_t examples) {
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
class Room {
 public:
  explicit Room(int64_t numbers) {
    const size_t wanted = numbers + kAlignment / sizeof(float);
    std::vector<float>& room = wanted > kKept ? large_ : kept();
    if (room.size() < wanted) room.resize(wanted);
    const auto address = reinterpret_cast<uintptr_t>(room.data());
    aligned_ = reinterpret_cast<float*>((address + kAlignment - 1) / kAlignment * kAlignment);
  }
  float* aligned() const { return aligned_; }

 private:
  static constexpr size_t kKept = size_t{1} << 21;  // numbers: 8 MiB
  static std::vector<float>& kept() {
    thread_local std::vector<float> kept;
    return kept;
  }
  std::vector<float> large_;
  float* aligned_;
};

ffi::Error train(ffi::AnyBuffer x, ffi::AnyBuffer y, ffi::Buffer<ffi::S32> orders,
                 ffi::Buffer<ffi::S32> epoch, ffi::Buffer<ffi::S32> place,
                 ffi::Buffer<ffi::F32> learning_rate, ffi::Buffer<ffi::F32> rates,
                 ffi::RemainingArgs before, ffi::RemainingRets after,
                 ffi::Span<const int32_t> functions, int32_t cost, int32_t method, int64_t stride,
                 int64_t batch) {
  return guarded([&] {
    static const SmallTable& table = DELTARULE_FASTEST(small);
    require(cost == kQuadratic || cost == kCrossEntropy, "a cost that it knows");
    require(method >= kSgd && method <= kAdam, "an optimizer that it knows");
    require(static_cast<int64_t>(rates.element_count()) == kRates &&
                learning_rate.element_count() == 1,
            "a learning rate and 9 more rates");
    require(x.dimensions().size() == 2, "x [n, inputs]");
    SmallStep step{};
    step.cost = static_cast<SmallCost>(cost);
    step.method = static_cast<SmallMethod>(method);
    step.learning_rate = learning_rate.typed_data()[0];
    memcpy(&step.rates, rates.typed_data(), sizeof step.rates);
    Learned learned(before, after);
    thread_local std::vector<SmallLayer> layers;
    read_shapes(learned, functions, x.dimensions()[1], layers);
    read_examples(step, x, y, layers.back().outputs);
    read_order(step, {orders, epoch, place, stride, batch}, x.dimensions()[0]);
    const SmallFunction output = layers.back().function;
    require(step.cost == kQuadratic || output == kSigmoid || output == kSoftmax,
            "sigmoid or softmax outputs with the cross-entropy");
    read_arrays(learned, step, layers);
    if (step.batch == 0) return;
    step.layers = layers.data();
    step.depth = layers.size();
    const Room room(table.scratch_size(step.layers, step.depth, step.batch));
    step.scratch = room.aligned();
    table.run(step);
  });
}

}  // namespace

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
