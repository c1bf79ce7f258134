// Convolutions: oneDNN's, on shares of the images, one thread each.
//
// x is [n, height, width, channels], w [filters, height, width, channels / groups]. The images of
// a share are taken in groups that fit the cache, so that what is done to the outputs, or to their
// gradient, finds them there.
#include <algorithm>
#include <optional>
#include <utility>

#include "guard.hpp"
#include "handler.hpp"
#include "parallel.hpp"
#include "primitives.hpp"

namespace deltarule {
namespace {

namespace ffi = xla::ffi;
using Desc = dnnl::memory::desc;
using Tag = dnnl::memory::format_tag;
using Dims = dnnl::memory::dims;
using Numbers = ffi::Span<const int64_t>;
using Type = dnnl::memory::data_type;

constexpr int64_t kCached = 384 << 10;  // bytes of outputs that stay in a core's own cache
constexpr double kProductsAnOperation = 10;

// What is convolved with what: images, weights, and where the kernel goes.
struct Convolution {
  Type type;
  int64_t n, height, width, channels, filters, kernel_height, kernel_width, groups;
  Dims stride, dilation, before, after;  // dilation is counted from 0, as oneDNN does

  int64_t rows() const { return extent(height, kernel_height, 0); }
  int64_t columns() const { return extent(width, kernel_width, 1); }
  int64_t pixels() const { return rows() * columns(); }
  int64_t kernel() const { return kernel_height * kernel_width * channels / groups; }
  int64_t image_bytes() const { return height * width * channels * int64_t(size(type)); }
  int64_t output_bytes() const { return pixels() * filters * int64_t(size(type)); }
  double work() const { return double(n) * pixels() * filters * kernel() / kProductsAnOperation; }

  Key key(Task task, int64_t images) const {
    return {int64_t(task), int64_t(type), images, height, width, channels, filters, kernel_height,
            kernel_width, groups, stride[0], stride[1], dilation[0], dilation[1], before[0],
            before[1], after[0], after[1]};
  }

 private:
  int64_t extent(int64_t length, int64_t kernel, int axis) const {
    const int64_t reach = (kernel - 1) * (dilation[axis] + 1) + 1;
    const int64_t room = length + before[axis] + after[axis] - reach;
    return room < 0 ? 0 : room / stride[axis] + 1;
  }
};

// Whether `number` is at least `least` and an int, which is what oneDNN counts with.
bool is_int_from(int64_t number, int64_t least) { return least <= number && number < INT32_MAX; }

Convolution described(const ffi::AnyBuffer& x, const ffi::AnyBuffer& w, Numbers stride,
                      Numbers padding, Numbers dilation, int64_t groups) {
  require(x.dimensions().size() == 4, "x as [n, height, width, channels]");
  require(w.dimensions().size() == 4 && w.element_type() == ffi::DataType::F32,
          "w as float32 [filters, height, width, channels / groups]");
  require(stride.size() == 2 && dilation.size() == 2 && padding.size() == 4,
          "two strides and dilations and four numbers of padding");
  const auto in = x.dimensions();
  const auto kernel = w.dimensions();
  Convolution it{type(x.element_type()), in[0], in[1], in[2], in[3], kernel[0], kernel[1],
                 kernel[2], groups, {stride[0], stride[1]}, {dilation[0] - 1, dilation[1] - 1},
                 {padding[0], padding[2]}, {padding[1], padding[3]}};
  require(in[3] > 0 && kernel[0] > 0 && kernel[1] > 0 && kernel[2] > 0,
          "at least one channel and one filter, and kernels of at least one pixel");
  require(groups > 0 && it.channels == kernel[3] * groups && it.filters % groups == 0,
          "channels and filters that divide into the groups");
  for (int axis : {0, 1})
    require(is_int_from(it.stride[axis], 1) && is_int_from(it.dilation[axis], 0) &&
                is_int_from(it.before[axis], 0) && is_int_from(it.after[axis], 0),
            "strides and dilations of at least 1 and no negative padding, all below 2^31");
  require(it.pixels() > 0, "images that the kernel fits on");
  return it;
}

void require_outputs(const Convolution& it, const ffi::AnyBuffer& y, const char* what) {
  const auto out = y.dimensions();
  require(out.size() == 4 && out[0] == it.n && out[1] == it.rows() && out[2] == it.columns() &&
              out[3] == it.filters && type(y.element_type()) == it.type,
          what);
}

Desc images(const Convolution& it, int64_t n) {
  return Desc({n, it.channels, it.height, it.width}, it.type, Tag::nhwc);
}

Desc outputs(const Convolution& it, int64_t n) {
  return Desc({n, it.filters, it.rows(), it.columns()}, it.type, Tag::nhwc);
}

// The weights as they lie in memory if `ours`, else for oneDNN to choose a layout.
Desc weights(const Convolution& it, Type type, bool ours) {
  const int64_t depth = it.channels / it.groups, line = it.kernel_width * depth;
  Dims sizes{it.filters / it.groups, depth, it.kernel_height, it.kernel_width};
  Dims strides{it.kernel(), 1, line, depth};
  if (it.groups > 1) {
    strides.insert(strides.begin(), sizes[0] * it.kernel());
    sizes.insert(sizes.begin(), it.groups);
  }
  return ours ? Desc(sizes, type, strides) : Desc(sizes, type, Tag::any);
}

dnnl::convolution_forward::primitive_desc forward_of(const Convolution& it, int64_t n,
                                                     const Desc& w, bool biased,
                                                     const dnnl::primitive_attr& attributes) {
  const Desc b = biased ? Desc({it.filters}, Type::f32, Tag::x) : Desc();
  return {engine(), dnnl::prop_kind::forward_training, dnnl::algorithm::convolution_direct,
          images(it, n), w, b, outputs(it, n), it.stride, it.dilation, it.before, it.after,
          attributes};
}

// Makes a task over n images; `layout` is of the weights or of their gradient.
Made make(const Convolution& it, Task task, int64_t n, const Desc& layout, bool biased,
          Activation activation) {
  const auto attributes = deltarule::attributes(activation);
  if (task == Task::convolution) {
    const auto described = forward_of(it, n, layout, biased, attributes);
    return made<dnnl::convolution_forward>(described, described.weights_desc());
  }
  const auto hint = forward_of(it, n, weights(it, it.type, false), false, attributes);
  if (task == Task::convolution_data) {
    const dnnl::convolution_backward_data::primitive_desc described(
        engine(), dnnl::algorithm::convolution_direct, images(it, n), layout, outputs(it, n),
        it.stride, it.dilation, it.before, it.after, hint, attributes);
    return made<dnnl::convolution_backward_data>(described, described.weights_desc());
  }
  const dnnl::convolution_backward_weights::primitive_desc described(
      engine(), dnnl::algorithm::convolution_direct, images(it, n), layout, outputs(it, n),
      it.stride, it.dilation, it.before, it.after, hint, attributes);
  return made<dnnl::convolution_backward_weights>(described, described.diff_weights_desc());
}

// A task for any number of images, always with the layout of weights that suits `usual` images.
class Passes {
 public:
  Passes(const Convolution& it, Task task, int64_t usual, bool biased = false,
         Activation activation = Activation::identity)
      : it_(it), task_(task), usual_(usual), biased_(biased), activation_(activation) {
    const Type type = task == Task::convolution_weights ? Type::f32 : it.type;
    usually_ = get(usual, weights(it, type, false));
  }

  const Desc& layout() const { return usually_->weights; }

  std::shared_ptr<const Made> of(int64_t images) const {
    return images == usual_ ? usually_ : get(images, layout());
  }

  // Copies weights from where they lie to the layout of these passes, or their gradient back.
  void lay(const void* w, void* laid) const {
    reorder(copy_key(), weights(it_, Type::f32, true), w, layout(), laid);
  }
  void unlay(const void* laid, void* dw) const {
    reorder(copy_key(), layout(), laid, weights(it_, Type::f32, true), dw);
  }

 private:
  Key key(Task task, int64_t images, int64_t other) const {
    Key key = it_.key(task, images);
    key.insert(key.end(), {other, biased_, int64_t(activation_)});
    return key;
  }
  Key copy_key() const { return key(Task::copy, usual_, int64_t(task_)); }
  std::shared_ptr<const Made> get(int64_t images, const Desc& layout) const {
    return kept(key(task_, images, usual_),
                [&] { return make(it_, task_, images, layout, biased_, activation_); });
  }

  Convolution it_;
  Task task_;
  int64_t usual_;
  bool biased_;
  Activation activation_;
  std::shared_ptr<const Made> usually_;
};

// Calls work(first image, number of images) for all images of a share, a group at a time.
template <typename Work>
void grouped(const Range& share, int64_t group, Work work) {
  for (int64_t first = share.first; first < share.last; first += group)
    work(first, std::min(group, share.last - first));
}

int64_t group(const Convolution& it, int parts) {
  const int64_t fits = kCached / std::max<int64_t>(1, it.output_bytes());
  return std::max<int64_t>(1, std::min(fits, it.n / parts));
}

ffi::Error forward(ffi::ThreadPool pool, ffi::AnyBuffer x, ffi::AnyBuffer w, ffi::AnyBuffer b,
                   ffi::Result<ffi::AnyBuffer> y, Numbers stride, Numbers padding,
                   Numbers dilation, int64_t groups, std::string_view name) {
  return guarded([&] {
    const Convolution it = described(x, w, stride, padding, dilation, groups);
    require_outputs(it, *y, "y as [n, rows, columns, filters] of x's type");
    const bool biased = b.element_count() > 0;
    require(b.element_type() == ffi::DataType::F32 &&
                (!biased || int64_t(b.element_count()) == it.filters),
            "b as float32 [filters], or empty");
    const Activation activation = deltarule::activation(name);
    if (it.n == 0) return;
    const int parts = pieces(pool, it.work(), it.n);
    const Passes passes(it, Task::convolution, group(it, parts), biased, activation);
    Scratch laid(passes.layout().get_size());
    passes.lay(w.untyped_data(), laid.data());
    const auto* in = static_cast<const char*>(x.untyped_data());
    auto* out = static_cast<char*>(y->untyped_data());
    const Desc bias({it.filters}, Type::f32, Tag::x);
    parallel(pool, parts, [&](int piece) {
      grouped(share(it.n, piece, parts), group(it, parts), [&](int64_t first, int64_t n) {
        void* target = out + first * it.output_bytes();
        Arguments arguments = {
            {DNNL_ARG_SRC, memory(images(it, n), in + first * it.image_bytes())},
            {DNNL_ARG_WEIGHTS, memory(passes.layout(), laid.data())},
            {DNNL_ARG_DST, memory(outputs(it, n), target)}};
        if (biased) arguments.emplace(DNNL_ARG_BIAS, memory(bias, b.untyped_data()));
        passes.of(n)->run(std::move(arguments));
        finish(activation, it.type, target, {n * it.pixels(), it.filters, it.filters});
      });
    });
  });
}

// The weights in the layout of the data gradient, where that is wanted.
struct DataGradient {
  DataGradient(const Convolution& it, int64_t group, const void* w)
      : it(it), passes(it, Task::convolution_data, group), laid(passes.layout().get_size()) {
    passes.lay(w, laid.data());
  }

  void run(const void* dz, void* dx, int64_t n) const {
    passes.of(n)->run({{DNNL_ARG_DIFF_DST, memory(outputs(it, n), dz)},
                       {DNNL_ARG_WEIGHTS, memory(passes.layout(), laid.data())},
                       {DNNL_ARG_DIFF_SRC, memory(images(it, n), dx)}});
  }

  const Convolution& it;
  Passes passes;
  Scratch laid;
};

// The gradient of the weights: a sum for each share of the images, then their sum, in order.
struct WeightsGradient {
  WeightsGradient(const Convolution& it, int parts)
      : it(it), parts(parts),
        passes(it, Task::convolution_weights, share(it.n, 0, parts).size()),
        bytes((passes.layout().get_size() + 63) / 64 * 64), sums(bytes * parts) {}

  void run(int piece, const void* x, const void* dz, int64_t n) const {
    const dnnl::memory sum = memory(passes.layout(), sums.data() + piece * bytes);
    passes.of(n)->run({{DNNL_ARG_SRC, memory(images(it, n), x)},
                       {DNNL_ARG_DIFF_DST, memory(outputs(it, n), dz)},
                       {DNNL_ARG_DIFF_WEIGHTS, sum}});
  }

  void collect(void* dw) const {
    const size_t count = bytes / sizeof(float);
    for (int piece = 1; piece < parts; ++piece)
      add(sums.floats(), sums.floats() + piece * count, passes.layout().get_size() / sizeof(float));
    passes.unlay(sums.data(), dw);
  }

  const Convolution& it;
  const int parts;
  Passes passes;
  size_t bytes;
  Scratch sums;
};

// What one call works out. Without dx or db that gradient is not wanted.
struct Gradients {
  const Convolution& it;
  Activation activation;
  const char *x, *w, *y, *g;
  char* dx;
  float *dw, *db;

  void run(ffi::ThreadPool& pool) const {
    const int parts = pieces(pool, 2 * it.work(), it.n);
    const int64_t some = group(it, parts);
    const bool pulls = activation != Activation::identity;
    Scratch pulled(pulls ? it.n * it.output_bytes() : 0);
    Scratch sums(db ? parts * it.filters * sizeof(float) : 0);
    const WeightsGradient weights(it, parts);
    std::optional<DataGradient> data;
    if (dx) data.emplace(it, some, w);
    parallel(pool, parts, [&](int piece) {
      const Range mine = share(it.n, piece, parts);
      float* sum = db ? sums.floats() + piece * it.filters : nullptr;
      if (db) std::fill(sum, sum + it.filters, 0.0f);
      grouped(mine, some, [&](int64_t first, int64_t n) {
        const int64_t at = first * it.output_bytes();
        pull(activation, it.type, g + at, y + at, pulls ? pulled.data() + at : nullptr, sum,
             {n * it.pixels(), it.filters, it.filters});
        if (dx) data->run((pulls ? pulled.data() : g) + at, dx + first * it.image_bytes(), n);
      });
      weights.run(piece, x + mine.first * it.image_bytes(),
                  (pulls ? pulled.data() : g) + mine.first * it.output_bytes(), mine.size());
    });
    weights.collect(dw);
    if (db) std::copy_n(sums.floats(), it.filters, db);
    for (int piece = 1; db && piece < parts; ++piece)
      add(db, sums.floats() + piece * it.filters, it.filters);
  }
};

ffi::Error backward(ffi::ThreadPool pool, ffi::AnyBuffer x, ffi::AnyBuffer w, ffi::AnyBuffer y,
                    ffi::AnyBuffer g, ffi::Result<ffi::AnyBuffer> dx,
                    ffi::Result<ffi::AnyBuffer> dw, ffi::Result<ffi::AnyBuffer> db, Numbers stride,
                    Numbers padding, Numbers dilation, int64_t groups, std::string_view name) {
  return guarded([&] {
    const Convolution it = described(x, w, stride, padding, dilation, groups);
    require_outputs(it, g, "g as [n, rows, columns, filters] of x's type");
    const Activation activation = deltarule::activation(name);
    const bool plain = activation == Activation::identity;
    if (!plain) require_outputs(it, y, "y of g's shape and type");
    const bool onward = dx->dimensions().size() == 4, biased = db->element_count() > 0;
    require(!onward || (dx->element_count() == x.element_count() &&
                        type(dx->element_type()) == it.type),
            "dx of x's shape and type, or [0]");
    require(dw->element_type() == ffi::DataType::F32 && dw->element_count() == w.element_count(),
            "dw of w's shape and type");
    require(db->element_type() == ffi::DataType::F32 &&
                (!biased || int64_t(db->element_count()) == it.filters),
            "db as float32 [filters], or [0]");
    auto* sums = static_cast<float*>(db->untyped_data());
    auto* slopes = static_cast<float*>(dw->untyped_data());
    if (it.n == 0) {
      std::fill_n(sums, db->element_count(), 0.0f);
      std::fill_n(slopes, dw->element_count(), 0.0f);
      return;
    }
    const auto bytes = [](const ffi::AnyBuffer& of) {
      return static_cast<const char*>(of.untyped_data());
    };
    Gradients{it, activation, bytes(x), bytes(w), bytes(plain ? g : y), bytes(g),
              onward ? static_cast<char*>(dx->untyped_data()) : nullptr, slopes,
              biased ? sums : nullptr}.run(pool);
  });
}

DELTARULE_HANDLER(deltarule_convolution_forward, forward,
                  ffi::Ffi::Bind()
                      .Ctx<ffi::ThreadPool>()
                      .Arg<ffi::AnyBuffer>()  // x
                      .Arg<ffi::AnyBuffer>()  // w
                      .Arg<ffi::AnyBuffer>()  // b
                      .Ret<ffi::AnyBuffer>()  // y
                      .Attr<Numbers>("stride")
                      .Attr<Numbers>("padding")
                      .Attr<Numbers>("dilation")
                      .Attr<int64_t>("groups")
                      .Attr<std::string_view>("activation"));

DELTARULE_HANDLER(deltarule_convolution_backward, backward,
                  ffi::Ffi::Bind()
                      .Ctx<ffi::ThreadPool>()
                      .Arg<ffi::AnyBuffer>()  // x
                      .Arg<ffi::AnyBuffer>()  // w
                      .Arg<ffi::AnyBuffer>()  // y
                      .Arg<ffi::AnyBuffer>()  // g
                      .Ret<ffi::AnyBuffer>()  // dx
                      .Ret<ffi::AnyBuffer>()  // dw
                      .Ret<ffi::AnyBuffer>()  // db
                      .Attr<Numbers>("stride")
                      .Attr<Numbers>("padding")
                      .Attr<Numbers>("dilation")
                      .Attr<int64_t>("groups")
                      .Attr<std::string_view>("activation"));

}  // namespace
}  // namespace deltarule
