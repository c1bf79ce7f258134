// Dense layers: y = f(x w' + b), by oneDNN's matrix products.
//
// Weights are what there is most of, so each thread owns a share of the units (of the inputs for
// dx) and takes them a block at a time: a block is read from memory once, rounded if the
// activations are bfloat16, and is still in the core's own cache when it is multiplied. On matrix
// units bfloat16 is multiplied by our own products, dense_tiles.hpp.
#include <algorithm>

#include "dense_tiles.hpp"
#include "guard.hpp"
#include "handler.hpp"
#include "parallel.hpp"
#include "primitives.hpp"

namespace deltarule {
namespace {

namespace ffi = xla::ffi;
using Desc = dnnl::memory::desc;
using Tag = dnnl::memory::format_tag;
using Type = dnnl::memory::data_type;

constexpr int64_t kBlock = 128;  // units or inputs
constexpr int64_t kLine = 16;    // floats in a cache line: two threads do not write the same
constexpr double kProductsAnOperation = 10;

// A matrix in memory: element (i, j) lies `down` i + `across` j elements from the first.
struct Matrix {
  const void* data;
  Type type;
  int64_t rows, columns, down, across;

  Desc desc() const { return Desc({rows, columns}, type, dnnl::memory::dims{down, across}); }
  dnnl::memory memory() const { return deltarule::memory(desc(), data); }
  void describe(Key& key) const {
    key.insert(key.end(), {int64_t(type), rows, columns, down, across});
  }
  Matrix turned() const { return {data, type, columns, rows, across, down}; }

  // The block of columns, or of rows, that begins at `first`.
  Matrix columns_from(int64_t first, int64_t count) const {
    return {at(first * across), type, rows, count, down, across};
  }
  Matrix rows_from(int64_t first, int64_t count) const {
    return {at(first * down), type, count, columns, down, across};
  }
  void* at(int64_t element) const {
    return const_cast<char*>(static_cast<const char*>(data) + element * int64_t(size(type)));
  }
};

Matrix row_by_row(const void* data, Type type, int64_t rows, int64_t columns) {
  return {data, type, rows, columns, columns, 1};
}

// c = f(a b + bias), the bias a number for each column, or null.
void multiply(const Matrix& a, const Matrix& b, const Matrix& c, const float* bias = nullptr,
              Activation activation = Activation::identity) {
  Key key = {int64_t(Task::product), bias != nullptr, int64_t(activation)};
  for (const Matrix& matrix : {a, b, c}) matrix.describe(key);
  const Desc row = bias ? Desc({1, c.columns}, Type::f32, Tag::ab) : Desc();
  const auto product = kept(key, [&] {
    return made<dnnl::matmul>({engine(), a.desc(), b.desc(), row, c.desc(), attributes(activation)},
                              b.desc());
  });
  Arguments arguments = {{DNNL_ARG_SRC, a.memory()}, {DNNL_ARG_WEIGHTS, b.memory()},
                         {DNNL_ARG_DST, c.memory()}};
  if (bias) arguments.emplace(DNNL_ARG_BIAS, memory(row, bias));
  product->run(std::move(arguments));
}

// Returns w itself, or where activations are narrower a copy of it that is rounded to theirs.
Matrix rounded(const Matrix& w, Type type, const Scratch& room) {
  if (w.type == type) return w;
  const Matrix copy = row_by_row(room.data(), type, w.rows, w.columns);
  Key key = {int64_t(Task::copy)};
  w.describe(key);
  copy.describe(key);
  reorder(key, w.desc(), w.data, copy.desc(), copy.at(0));
  return copy;
}

// Calls work(first, count) for the piece's share of `total` columns, a block at a time.
template <typename Work>
void blocks(int64_t total, int piece, int parts, Work work) {
  const int64_t lines = (total + kLine - 1) / kLine;
  const Range mine = share(lines, piece, parts);
  const int64_t last = std::min(total, mine.last * kLine);
  for (int64_t first = mine.first * kLine; first < last; first += kBlock)
    work(first, std::min(kBlock, last - first));
}

template <typename T>
const T* as(const ffi::AnyBuffer& buffer) {
  return static_cast<const T*>(buffer.untyped_data());
}

struct Layer {
  Type type;
  int64_t n, inputs, units;

  Matrix x(const void* data) const { return row_by_row(data, type, n, inputs); }
  Matrix y(const void* data) const { return row_by_row(data, type, n, units); }
  Matrix w(const void* data) const { return row_by_row(data, Type::f32, units, inputs); }
  int parts(const ffi::ThreadPool& pool, int64_t total) const {
    return pieces(pool, double(n) * inputs * units / kProductsAnOperation,
                  (total + kLine - 1) / kLine);
  }
  bool tiled() const { return type == Type::bf16 && has_matrix_units(); }
  DenseShape shape() const { return {n, inputs, units}; }
  // Room for a block of weights of so many numbers each, where they are to be rounded.
  size_t room(int64_t numbers) const {
    return type == Type::f32 ? 0 : kBlock * numbers * size(type);
  }
};

Layer described(const ffi::AnyBuffer& x, const ffi::AnyBuffer& w) {
  const auto in = x.dimensions(), out = w.dimensions();
  require(in.size() == 2, "x as [n, inputs]");
  require(out.size() == 2 && w.element_type() == ffi::DataType::F32 && out[1] == in[1],
          "w as float32 [units, inputs]");
  require(out[0] > 0 && in[1] > 0, "at least one unit and one input");
  return {type(x.element_type()), in[0], in[1], out[0]};
}

void require_outputs(const Layer& it, const ffi::AnyBuffer& y, const char* what) {
  const auto out = y.dimensions();
  require(out.size() == 2 && out[0] == it.n && out[1] == it.units &&
              type(y.element_type()) == it.type,
          what);
}

ffi::Error forward(ffi::ThreadPool pool, ffi::AnyBuffer x, ffi::AnyBuffer w, ffi::AnyBuffer b,
                   ffi::Result<ffi::AnyBuffer> y, std::string_view name) {
  return guarded([&] {
    const Layer it = described(x, w);
    require_outputs(it, *y, "y as [n, units] of x's type");
    const bool biased = b.element_count() > 0;
    require(b.element_type() == ffi::DataType::F32 &&
                (!biased || int64_t(b.element_count()) == it.units),
            "b as float32 [units], or empty");
    const Activation activation = deltarule::activation(name);
    if (it.n == 0) return;
    const auto* bias = biased ? as<float>(b) : nullptr;
    if (it.tiled()) {
      tiled_outputs(pool, it.shape(), as<bf16>(x), as<float>(w), bias, activation,
                    static_cast<bf16*>(y->untyped_data()));
      return;
    }
    const int parts = it.parts(pool, it.units);
    parallel(pool, parts, [&](int piece) {
      Scratch room(it.room(it.inputs));
      blocks(it.units, piece, parts, [&](int64_t first, int64_t count) {
        const Matrix block = it.w(w.untyped_data()).rows_from(first, count);
        const Matrix out = it.y(y->untyped_data()).columns_from(first, count);
        multiply(it.x(x.untyped_data()), rounded(block, it.type, room).turned(), out,
                 bias ? bias + first : nullptr, activation);
        finish(activation, it.type, out.at(0), {it.n, count, it.units});
      });
    });
  });
}

// What one call works out. Without dx or db that gradient is not wanted.
struct Gradients {
  const Layer& it;
  Activation activation;
  const void *x, *w, *y, *g;
  void* dx;
  float *dw, *db;

  void run(ffi::ThreadPool& pool) const {
    const bool pulls = activation != Activation::identity;
    Scratch pulled(pulls ? it.n * it.units * size(it.type) : 0);
    const Matrix dz = it.y(pulls ? pulled.data() : g);
    const int parts = it.parts(pool, it.units);
    parallel(pool, parts, [&](int piece) {
      blocks(it.units, piece, parts,
             [&](int64_t first, int64_t count) { of_units(dz, first, count); });
    });
    if (it.tiled()) of_tiles(pool, static_cast<const bf16*>(dz.data));
    else if (dx) of_inputs(pool, dz);
  }

  void of_tiles(Pool& pool, const bf16* dz) const {
    tiled_slopes_of_weights(pool, it.shape(), dz, static_cast<const bf16*>(x), dw);
    if (!dx) return;
    tiled_slopes_of_inputs(pool, it.shape(), dz, static_cast<const float*>(w),
                           static_cast<bf16*>(dx));
  }

  void of_inputs(Pool& pool, const Matrix& dz) const {
    const int others = it.parts(pool, it.inputs);
    parallel(pool, others, [&](int piece) {
      Scratch room(it.room(it.units));
      blocks(it.inputs, piece, others, [&](int64_t first, int64_t count) {
        const Matrix block = it.w(w).columns_from(first, count);
        multiply(dz, rounded(block, it.type, room), it.x(dx).columns_from(first, count));
      });
    });
  }

  // The gradients of some units' weighted inputs and biases, and of their weights.
  void of_units(const Matrix& dz, int64_t first, int64_t count) const {
    float* sums = db ? db + first : nullptr;
    if (db) std::fill_n(sums, count, 0.0f);
    pull(activation, it.type, it.y(g).at(first), it.y(y).at(first),
         dz.data == g ? nullptr : dz.at(first), sums, {it.n, count, it.units});
    if (it.tiled()) return;
    multiply(dz.columns_from(first, count).turned(), it.x(x), it.w(dw).rows_from(first, count));
  }
};

ffi::Error backward(ffi::ThreadPool pool, ffi::AnyBuffer x, ffi::AnyBuffer w, ffi::AnyBuffer y,
                    ffi::AnyBuffer g, ffi::Result<ffi::AnyBuffer> dx,
                    ffi::Result<ffi::AnyBuffer> dw, ffi::Result<ffi::AnyBuffer> db,
                    std::string_view name) {
  return guarded([&] {
    const Layer it = described(x, w);
    require_outputs(it, g, "g as [n, units] of x's type");
    const Activation activation = deltarule::activation(name);
    const bool plain = activation == Activation::identity;
    if (!plain) require_outputs(it, y, "y of g's shape and type");
    const bool onward = dx->dimensions().size() == 2, biased = db->element_count() > 0;
    require(!onward || (dx->element_count() == x.element_count() &&
                        type(dx->element_type()) == it.type),
            "dx of x's shape and type, or [0]");
    require(dw->element_type() == ffi::DataType::F32 && dw->element_count() == w.element_count(),
            "dw of w's shape and type");
    require(db->element_type() == ffi::DataType::F32 &&
                (!biased || int64_t(db->element_count()) == it.units),
            "db as float32 [units], or [0]");
    auto* sums = static_cast<float*>(db->untyped_data());
    auto* slopes = static_cast<float*>(dw->untyped_data());
    if (it.n == 0) {
      std::fill_n(sums, db->element_count(), 0.0f);
      std::fill_n(slopes, dw->element_count(), 0.0f);
      return;
    }
    Gradients{it, activation, x.untyped_data(), w.untyped_data(),
              plain ? g.untyped_data() : y.untyped_data(), g.untyped_data(),
              onward ? dx->untyped_data() : nullptr, slopes, biased ? sums : nullptr}.run(pool);
  });
}

DELTARULE_HANDLER(deltarule_dense_forward, forward,
                  ffi::Ffi::Bind()
                      .Ctx<ffi::ThreadPool>()
                      .Arg<ffi::AnyBuffer>()  // x
                      .Arg<ffi::AnyBuffer>()  // w
                      .Arg<ffi::AnyBuffer>()  // b
                      .Ret<ffi::AnyBuffer>()  // y
                      .Attr<std::string_view>("activation"));

DELTARULE_HANDLER(deltarule_dense_backward, backward,
                  ffi::Ffi::Bind()
                      .Ctx<ffi::ThreadPool>()
                      .Arg<ffi::AnyBuffer>()  // x
                      .Arg<ffi::AnyBuffer>()  // w
                      .Arg<ffi::AnyBuffer>()  // y
                      .Arg<ffi::AnyBuffer>()  // g
                      .Ret<ffi::AnyBuffer>()  // dx
                      .Ret<ffi::AnyBuffer>()  // dw
                      .Ret<ffi::AnyBuffer>()  // db
                      .Attr<std::string_view>("activation"));

}  // namespace
}  // namespace deltarule
