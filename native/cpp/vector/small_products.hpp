// Products of small matrices, one thread, on tiles that stay in registers.
#pragma once

#include "small_lanes.hpp"

// Sums stay in registers only where the loops over them are unrolled.
#define UNROLLED _Pragma("GCC unroll 32")

namespace {

#if defined(__AVX512F__)
constexpr int kTileRows = 5, kTileVectors = 4;  // of 32 registers, 25 or 20 hold sums
#else
constexpr int kTileRows = 3, kTileVectors = 3;  // of 16 registers, 9 hold sums
#endif

// Calls body.rows<size>(first) for the size that is wanted, a constant to the compiler.
template <int size, typename Body>
inline void one_group(int64_t first, int64_t wanted, Body& body) {
  if constexpr (size > 0) {
    if (wanted == size) {
      body.template rows<size>(first);
    } else {
      one_group<size - 1>(first, wanted, body);
    }
  }
}

// Some of the rows of a matrix.
struct Span {
  int64_t first, last;
};

// Cuts rows into groups of much the same size, at most kTileRows.
template <typename Body>
inline void groups_of_rows(Span rows, Body body) {
  const int64_t total = rows.last - rows.first, count = (total + kTileRows - 1) / kTileRows;
  for (int64_t k = 0; k < count; ++k) {
    const int64_t first = total * k / count;
    one_group<kTileRows>(rows.first + first, total * (k + 1) / count - first, body);
  }
}

// z [m, n] = x [m, size] w' [size, n]: dot products along the rows of both.
struct Dots {
  const Number* x;
  int64_t x_row;  // a multiple of kLanes, at least size; the rest are zeros
  const Number* w;
  int64_t w_row, size;
  Number* z;
  int64_t z_row;

  template <int m, int n>
  void tile(int64_t first_x, int64_t first_w) const {
    constexpr int kSums = (m * n + kLanes - 1) / kLanes * kLanes;
    Lanes sum[kSums] = {};
    const Number* xs = x + first_x * x_row;
    const Number* ws = w + first_w * w_row;
    along(size, [&](int64_t i, auto lanes) __attribute__((always_inline)) {
      Lanes b[n];
      UNROLLED for (int c = 0; c < n; ++c) b[c] = lanes.load(ws + c * w_row + i);
      UNROLLED for (int r = 0; r < m; ++r) {
        const Lanes a = Whole::load(xs + r * x_row + i);
        UNROLLED for (int c = 0; c < n; ++c) sum[r * n + c] += a * b[c];
      }
    });
    Number found[kSums];
    UNROLLED for (int k = 0; k < kSums; k += kLanes) Whole::store(found + k, sums<kLanes>(sum + k));
    for (int r = 0; r < m; ++r) {
      for (int c = 0; c < n; ++c) z[(first_x + r) * z_row + first_w + c] = found[r * n + c];
    }
  }
};

template <int m>
struct DotsOfRows {
  const Dots& dots;
  int64_t first_x;
  template <int n>
  void rows(int64_t first_w) {
    dots.tile<m, n>(first_x, first_w);
  }
};

struct DotsOfAll {
  const Dots& dots;
  int64_t outputs;
  template <int m>
  void rows(int64_t first_x) {
    groups_of_rows(Span{0, outputs}, DotsOfRows<m>{dots, first_x});
  }
};

inline void products(const Dots& dots, Span batch, int64_t outputs) {
  groups_of_rows(batch, DotsOfAll{dots, outputs});
}

// y [rows, size] = sum over k of a(k) [rows] b(k) [size], handed to use(row, i, value, lanes)
// a vector at a time. Number r of a(k) is a[k * a_step + r * a_row]; b(k) is a row of b.
template <typename Use>
struct Outer {
  const Number* a;
  int64_t a_step, a_row;
  const Number* b;
  int64_t b_row, count, size;
  const Use& use;

  // `lanes` are those of the last of n vectors.
  template <int m, int n, typename Which>
  inline __attribute__((always_inline)) void tile(int64_t first, int64_t i, Which lanes) const {
    constexpr int64_t kLast = (n - 1) * kLanes;
    Lanes sum[m][n] = {};
    UNROLLED for (int r = 0; r < m; ++r) {
      UNROLLED for (int c = 0; c < n; ++c) use.prepare(first + r, i + c * kLanes);
    }
    for (int64_t k = 0; k < count; ++k) {
      Lanes found[n];
      const Number* row = b + k * b_row + i;
      UNROLLED for (int c = 0; c + 1 < n; ++c) found[c] = Whole::load(row + c * kLanes);
      found[n - 1] = lanes.load(row + kLast);
      UNROLLED for (int r = 0; r < m; ++r) {
        const Number factor = a[k * a_step + (first + r) * a_row];
        UNROLLED for (int c = 0; c < n; ++c) sum[r][c] += factor * found[c];
      }
    }
    // What `use` needs is read again from memory: the sums need the registers.
    asm volatile("" : : "r"(&use) : "memory");
    UNROLLED for (int r = 0; r < m; ++r) {
      UNROLLED for (int c = 0; c + 1 < n; ++c) use(first + r, i + c * kLanes, sum[r][c], Whole{});
      use(first + r, i + kLast, sum[r][n - 1], lanes);
    }
  }

  // What is left of a row: n vectors or fewer, the last of which may not be whole.
  template <int m, int n>
  void rest(int64_t first, int64_t i) const {
    if constexpr (n > 0) {
      const int64_t beyond = size - i - (n - 1) * kLanes;
      if (beyond > 0) {
        tile<m, n>(first, i, Part(beyond));
      } else {
        rest<m, n - 1>(first, i);
      }
    }
  }

  template <int m>
  void rows(int64_t first) const {
    int64_t i = 0;
    for (; i + kTileVectors * kLanes <= size; i += kTileVectors * kLanes) {
      tile<m, kTileVectors>(first, i, Whole{});
    }
    rest<m, kTileVectors>(first, i);
  }
};

}  // namespace
