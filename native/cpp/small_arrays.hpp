// What the handlers of the small dense network share: how they read what they are given.
#pragma once

#include <algorithm>
#include <cstring>
#include <type_traits>
#include <vector>

#include "guard.hpp"
#include "vector/small.hpp"

namespace deltarule {

namespace ffi = xla::ffi;

constexpr int64_t kRates = sizeof(SmallRates<float>) / sizeof(float);

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
    layers[l] = {inputs, axes[0], inputs, static_cast<SmallFunction>(function), {}, {}};
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
  static constexpr int64_t kAlignment = 64;  // bytes
  static constexpr size_t kKept = size_t{1} << 21;  // numbers: 8 MiB
  static std::vector<Number>& kept() {
    thread_local std::vector<Number> kept;
    return kept;
  }
  std::vector<Number> large_;
  Number* aligned_;
};

}  // namespace deltarule
