// What every handler needs that runs oneDNN: primitives kept by shape, and memory to work in.
#pragma once

#include <dnnl.hpp>

#include <cstdint>
#include <functional>
#include <memory>
#include <unordered_map>
#include <vector>

#include "vector/outputs.hpp"
#include "xla/ffi/api/ffi.h"

namespace deltarule {

const dnnl::engine& engine();

// Memory to work in, aligned to cache lines. It is kept for the next who asks: the first touch of
// a fresh page costs more than the work on it. What is kept is bounded.
class Scratch {
 public:
  explicit Scratch(size_t bytes);
  ~Scratch();
  Scratch(const Scratch&) = delete;
  Scratch& operator=(const Scratch&) = delete;

  char* data() const { return static_cast<char*>(data_); }
  float* floats() const { return static_cast<float*>(data_); }

 private:
  size_t bytes_;
  void* data_;
};

// What a primitive does, and the numbers it was made for.
enum class Task : int64_t { convolution, convolution_data, convolution_weights, product, copy };
using Key = std::vector<int64_t>;
using Arguments = std::unordered_map<int, dnnl::memory>;

// A primitive made for one thread, and what its description knows. It may run in many threads.
struct Made {
  dnnl::primitive primitive;
  dnnl::memory::desc weights;  // the layout it chose for the weights, or for their gradient
  dnnl::memory::desc scratchpad;

  void run(Arguments arguments) const;
};

template <typename Primitive>
Made made(const typename Primitive::primitive_desc& described, const dnnl::memory::desc& weights) {
  return {Primitive(described), weights, described.scratchpad_desc()};
}

// Returns what `make` made for this key, once; the least recently used of many are dropped.
std::shared_ptr<const Made> kept(const Key& key, const std::function<Made()>& make);

// Copies from one layout or type to another; `key` stands for the two.
void reorder(const Key& key, const dnnl::memory::desc& from, const void* source,
             const dnnl::memory::desc& to, void* target);

dnnl::memory memory(const dnnl::memory::desc& desc, const void* data);

// The activation called `name`; "expected ..." if there is none.
Activation activation(std::string_view name);

// Attributes of a product whose output the activation acts on.
// oneDNN's relu makes 0 of NaN: it is left to `rectify`.
dnnl::primitive_attr attributes(Activation activation);

// Calls relu on what such a product left, if that is the activation.
void finish(Activation activation, dnnl::memory::data_type type, void* y, const Rows& rows);

// dz = g f'(y) and db += sums of dz over the rows; either may be null.
void pull(Activation activation, dnnl::memory::data_type type, const void* g, const void* y,
          void* dz, float* db, const Rows& rows);

// sum += more, element by element.
void add(float* sum, const float* more, int64_t count);

// The type of oneDNN for float32 and bfloat16; the others are refused.
dnnl::memory::data_type type(xla::ffi::DataType of);
inline size_t size(dnnl::memory::data_type type) { return dnnl::memory::data_type_size(type); }

}  // namespace deltarule
