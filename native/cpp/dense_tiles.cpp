// Each product has one factor that is laid out once, for all threads, and one of which each thread
// has a share. It lays out a strip of its own at a time and multiplies it with as many of the other
// strips as its cache holds. So the larger factor, the weights, is rounded as it is read, into a
// cache, by the thread that multiplies it, and no rounded copy of it passes through memory.
#include "dense_tiles.hpp"

#include <algorithm>

#include "primitives.hpp"
#include "vector/sums.hpp"

#if defined(__x86_64__)

namespace deltarule {
namespace {

using tiles::kSide;
using tiles::kStep;
using tiles::Piece;

constexpr int64_t kNear = 1 << 20;  // bytes of strips that stay in a core's own cache, of 2 MiB
constexpr int64_t kDepth = 8;       // steps: a strip's share of them stays in the first cache
constexpr int64_t kBlock = kSide * kSide;
constexpr double kProductsAnOperation = 100;

// Rows, or columns, that follow each other.
struct Part {
  int64_t first, size;
};
template <typename T>
Piece<T> rows(const T* data, const Part& part, int64_t columns) {
  return {data + part.first * columns, part.size, columns, columns};
}
template <typename T>
Piece<T> columns(const T* data, const Part& part, int64_t rows, int64_t columns) {
  return {data + part.first, rows, part.size, columns};
}

// Some strips of a factor of `size` rows, or columns.
Part part_of(int64_t size, int64_t first_strip, int64_t last_strip) {
  const int64_t first = first_strip * kSide;
  return {first, std::min(size, last_strip * kSide) - first};
}

// A factor of so many rows, or columns, laid out for all threads: lay(part, strips) does a part.
class Strips {
 public:
  template <typename Lay>
  Strips(Pool& pool, int64_t size, int64_t terms, Lay lay)
      : count(tiles::strips(size)), steps(tiles::steps(terms)), room_(2 * count * steps * kStep) {
    const int parts = pieces(pool, double(size) * terms, count);
    parallel(pool, parts, [&](int piece) {
      const Range mine = share(count, piece, parts);
      lay(part_of(size, mine.first, mine.last), at(mine.first));
    });
  }
  bf16* at(int64_t strip, int64_t step = 0) const {
    return reinterpret_cast<bf16*>(room_.data()) + (strip * steps + step) * kStep;
  }

  const int64_t count, steps;

 private:
  Scratch room_;
};

// Multiplies strips of a factor of `size` rows, or columns, laid out by lay(part, strip) one at a
// time, with all of the others. multiply(own, other, steps, add, c) adds to a block of sums, and
// done(own, other, c) takes it, given the first row or column of either strip.
template <typename Lay, typename Multiply, typename Done>
void products(Pool& pool, int64_t size, const Strips& others, Lay lay, Multiply multiply,
              Done done) {
  const int64_t count = tiles::strips(size), length = others.steps * kStep;
  const int64_t together =
      std::clamp<int64_t>(kNear / (2 * length), 1, std::max<int64_t>(others.count, 1));
  const double operations = double(count) * others.count * length * kSide;
  const int parts = pieces(pool, operations / kProductsAnOperation, count);
  parallel(pool, parts, [&](int piece) {
    const tiles::Units units;
    const Scratch room(2 * length), sums(together * kBlock * sizeof(float));
    auto* own = reinterpret_cast<bf16*>(room.data());
    const Range mine = share(count, piece, parts);
    for (int64_t from = 0; from < others.count; from += together) {
      const int64_t to = std::min(others.count, from + together);
      for (int64_t i = mine.first; i < mine.last; ++i) {
        lay(part_of(size, i, i + 1), own);
        for (int64_t step = 0; step < others.steps; step += kDepth) {
          const int64_t taken = std::min(kDepth, others.steps - step);
          for (int64_t j = from; j < to; ++j) {
            float* c = sums.floats() + (j - from) * kBlock;
            multiply(own + step * kStep, others.at(j, step), taken, step > 0, c);
            if (step + taken == others.steps) done(i * kSide, j * kSide, c);
          }
        }
      }
    }
    tiles::put_all();
  });
}

void times_own(const bf16* own, const bf16* other, int64_t steps, bool add, float* c) {
  tiles::multiply(other, own, steps, add, c);
}

}  // namespace

void tiled_outputs(Pool& pool, const DenseShape& it, const bf16* x, const float* w,
                   const float* bias, Activation activation, bf16* y) {
  const SumTable& table = DELTARULE_FASTEST(sums);
  const Strips examples(pool, it.n, it.inputs, [&](const Part& part, bf16* strips) {
    tiles::lay_a(rows(x, part, it.inputs), strips);
  });
  products(
      pool, it.units, examples,
      [&](const Part& part, bf16* strips) {
        tiles::lay_b_turned(rows(w, part, it.inputs), strips);
      },
      times_own,
      [&](int64_t unit, int64_t row, const float* z) {
        const Rows at = {std::min(kSide, it.n - row), std::min(kSide, it.units - unit), it.units};
        table.activate(activation, z, kSide, bias ? bias + unit : nullptr,
                       y + row * it.units + unit, at);
      });
}

void tiled_slopes_of_inputs(Pool& pool, const DenseShape& it, const bf16* dz, const float* w,
                            bf16* dx) {
  const SumTable& table = DELTARULE_FASTEST(sums);
  const Strips examples(pool, it.n, it.units, [&](const Part& part, bf16* strips) {
    tiles::lay_a(rows(dz, part, it.units), strips);
  });
  products(
      pool, it.inputs, examples,
      [&](const Part& part, bf16* strips) {
        tiles::lay_b(columns(w, part, it.units, it.inputs), strips);
      },
      times_own,
      [&](int64_t input, int64_t row, const float* c) {
        const Rows at = {std::min(kSide, it.n - row), std::min(kSide, it.inputs - input),
                         it.inputs};
        table.activate(Activation::identity, c, kSide, nullptr, dx + row * it.inputs + input, at);
      });
}

void tiled_slopes_of_weights(Pool& pool, const DenseShape& it, const bf16* dz, const bf16* x,
                             float* dw) {
  const Strips inputs(pool, it.inputs, it.n, [&](const Part& part, bf16* strips) {
    tiles::lay_b(columns(x, part, it.n, it.inputs), strips);
  });
  products(
      pool, it.units, inputs,
      [&](const Part& part, bf16* strips) {
        tiles::lay_a_turned(columns(dz, part, it.n, it.units), strips);
      },
      tiles::multiply,
      [&](int64_t unit, int64_t input, const float* c) {
        tiles::put(c, dw + unit * it.inputs + input,
                   {std::min(kSide, it.units - unit), std::min(kSide, it.inputs - input),
                    it.inputs});
      });
}

}  // namespace deltarule

#else

namespace deltarule {

// Never called: has_matrix_units() is false.
void tiled_outputs(Pool&, const DenseShape&, const bf16*, const float*, const float*, Activation,
                   bf16*) {}
void tiled_slopes_of_inputs(Pool&, const DenseShape&, const bf16*, const float*, bf16*) {}
void tiled_slopes_of_weights(Pool&, const DenseShape&, const bf16*, const bf16*, float*) {}

}  // namespace deltarule

#endif  // __x86_64__
