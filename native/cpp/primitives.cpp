#include "primitives.hpp"

#include <list>
#include <map>
#include <mutex>
#include <new>
#include <string>
#include <utility>

#include "guard.hpp"
#include "one_thread.hpp"

namespace deltarule {
namespace {

using dnnl::algorithm;
using Type = dnnl::memory::data_type;

constexpr size_t kPrimitives = 256;
constexpr size_t kKeptBytes = size_t{256} << 20;
constexpr std::align_val_t kLine{64};

// Memory that nobody uses now, by size.
struct Idle {
  std::mutex mutex;
  std::multimap<size_t, void*> blocks;
  size_t bytes = 0;

  void drop_all() {
    for (auto& [size, block] : blocks) ::operator delete(block, kLine);
    blocks.clear();
    bytes = 0;
  }
};

Idle& idle() {
  static Idle* idle = new Idle;  // never destroyed: threads may still work when the process ends
  return *idle;
}

struct KeyHash {
  size_t operator()(const Key& key) const {
    size_t hash = 1469598103934665603u;
    for (int64_t part : key) hash = (hash ^ static_cast<size_t>(part)) * 1099511628211u;
    return hash ^ hash >> 32;
  }
};

// The primitives, the most recently used first.
struct Shelf {
  using Entry = std::pair<Key, std::shared_ptr<const Made>>;
  std::mutex mutex;
  std::list<Entry> recent;
  std::unordered_map<Key, std::list<Entry>::iterator, KeyHash> by_key;
};

Shelf& shelf() {
  static Shelf* shelf = new Shelf;
  return *shelf;
}

}  // namespace

const dnnl::engine& engine() {
  static const dnnl::engine* engine = new dnnl::engine(dnnl::engine::kind::cpu, 0);
  return *engine;
}

Scratch::Scratch(size_t bytes) : bytes_((bytes + 4095) / 4096 * 4096), data_(nullptr) {
  if (bytes_ == 0) return;
  {
    std::lock_guard<std::mutex> lock(idle().mutex);
    const auto found = idle().blocks.lower_bound(bytes_);
    if (found != idle().blocks.end() && found->first <= 4 * bytes_) {
      bytes_ = found->first;
      data_ = found->second;
      idle().bytes -= bytes_;
      idle().blocks.erase(found);
      return;
    }
  }
  data_ = ::operator new(bytes_, kLine);
}

Scratch::~Scratch() {
  if (bytes_ > kKeptBytes) ::operator delete(data_, kLine);
  if (!data_ || bytes_ > kKeptBytes) return;
  std::lock_guard<std::mutex> lock(idle().mutex);
  if (idle().bytes + bytes_ > kKeptBytes) idle().drop_all();
  try {
    idle().blocks.emplace(bytes_, data_);
    idle().bytes += bytes_;
  } catch (const std::bad_alloc&) {
    ::operator delete(data_, kLine);
  }
}

std::shared_ptr<const Made> kept(const Key& key, const std::function<Made()>& make) {
  Shelf& all = shelf();
  {
    std::lock_guard<std::mutex> lock(all.mutex);
    const auto found = all.by_key.find(key);
    if (found != all.by_key.end()) {
      all.recent.splice(all.recent.begin(), all.recent, found->second);
      return found->second->second;
    }
  }
  const OneThread here;  // a primitive remembers for how many threads it was made
  auto fresh = std::make_shared<const Made>(make());  // two may make the same at once: no harm
  std::lock_guard<std::mutex> lock(all.mutex);
  if (all.by_key.count(key)) return fresh;
  all.recent.emplace_front(key, fresh);
  all.by_key.emplace(key, all.recent.begin());
  if (all.recent.size() > kPrimitives) {
    all.by_key.erase(all.recent.back().first);
    all.recent.pop_back();
  }
  return fresh;
}

void Made::run(Arguments arguments) const {
  const OneThread here;  // some primitives ask again, each time they run
  Scratch room(scratchpad.get_size());
  arguments.emplace(DNNL_ARG_SCRATCHPAD, memory(scratchpad, room.data()));
  dnnl::stream stream(engine());
  primitive.execute(stream, arguments);
  stream.wait();
}

dnnl::memory memory(const dnnl::memory::desc& desc, const void* data) {
  return dnnl::memory(desc, engine(), const_cast<void*>(data));
}

void reorder(const Key& key, const dnnl::memory::desc& from, const void* source,
             const dnnl::memory::desc& to, void* target) {
  const auto copy = kept(key, [&] {
    dnnl::primitive_attr attributes;
    attributes.set_scratchpad_mode(dnnl::scratchpad_mode::user);
    return made<dnnl::reorder>({engine(), from, engine(), to, attributes}, to);
  });
  copy->run({{DNNL_ARG_FROM, memory(from, source)}, {DNNL_ARG_TO, memory(to, target)}});
}

Activation activation(std::string_view name) {
  static const std::pair<std::string_view, Activation> all[] = {
      {"identity", Activation::identity},     {"relu", Activation::relu},
      {"sigmoid", Activation::sigmoid},       {"tanh", Activation::tanh},
      {"lecun_tanh", Activation::lecun_tanh}, {"leaky_relu", Activation::leaky_relu},
      {"elu", Activation::elu}};
  for (const auto& [known, activation] : all)
    if (name == known) return activation;
  require(false, "an activation whose slope follows from its output, got " + std::string(name));
  return Activation::identity;
}

dnnl::primitive_attr attributes(Activation activation) {
  dnnl::post_ops after;
  switch (activation) {
    case Activation::sigmoid: after.append_eltwise(algorithm::eltwise_logistic, 0, 0); break;
    case Activation::tanh: after.append_eltwise(algorithm::eltwise_tanh, 0, 0); break;
    case Activation::lecun_tanh:
      after.append_eltwise(algorithm::eltwise_linear, kLecunSteepness, 0);
      after.append_eltwise(algorithm::eltwise_tanh, 0, 0);
      after.append_eltwise(algorithm::eltwise_linear, kLecunHeight, 0);
      break;
    case Activation::leaky_relu: after.append_eltwise(algorithm::eltwise_relu, kLeak, 0); break;
    case Activation::elu: after.append_eltwise(algorithm::eltwise_elu, 1, 0); break;
    case Activation::identity:
    case Activation::relu: break;
  }
  dnnl::primitive_attr attributes;
  attributes.set_post_ops(after);
  attributes.set_scratchpad_mode(dnnl::scratchpad_mode::user);
  return attributes;
}

void finish(Activation activation, Type type, void* y, const Rows& rows) {
  if (activation != Activation::relu) return;
  const OutputTable& table = DELTARULE_FASTEST(outputs);
  if (type == Type::f32) return table.rectify_float(static_cast<float*>(y), rows);
  table.rectify_bf16(static_cast<bf16*>(y), rows);
}

void pull(Activation activation, Type type, const void* g, const void* y, void* dz, float* db,
          const Rows& rows) {
  const OutputTable& table = DELTARULE_FASTEST(outputs);
  if (type == Type::f32) {
    table.pull_float(activation, static_cast<const float*>(g), static_cast<const float*>(y),
                     static_cast<float*>(dz), db, rows);
  } else {
    table.pull_bf16(activation, static_cast<const bf16*>(g), static_cast<const bf16*>(y),
                    static_cast<bf16*>(dz), db, rows);
  }
}

void add(float* sum, const float* more, int64_t count) {
  for (int64_t i = 0; i < count; ++i) sum[i] += more[i];
}

Type type(xla::ffi::DataType of) {
  require(of == xla::ffi::DataType::F32 || of == xla::ffi::DataType::BF16,
          "float32 or bfloat16");
  return of == xla::ffi::DataType::F32 ? Type::f32 : Type::bf16;
}

}  // namespace deltarule
