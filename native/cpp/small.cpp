// The handler of the small dense network: one call is one step of training (vector/small.hpp).
#include "handler.hpp"
#include "small_arrays.hpp"

namespace deltarule {
namespace {

// Which examples a step takes: orders[epoch][step * stride] and the `batch` - 1 after it.
struct Order {
  ffi::Buffer<ffi::S32> orders, epoch, step;
  int64_t stride, batch;
};

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
    const Room<float> room(table.scratch_size(step));
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
