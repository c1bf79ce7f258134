// Products on modelled matrix units, of whole numbers: every sum is exact.
#include "tiles/tiles.hpp"

#include <algorithm>
#include <cstdio>
#include <vector>

#include "check.hpp"

using deltarule::bf16;
namespace tiles = deltarule::tiles;

namespace {

constexpr float kUntouched = -1000;

// Row by row, with a margin of numbers that belong to somebody else: a NaN would show in the sums.
template <typename T>
struct Matrix {
  int64_t rows, columns, stride;
  std::vector<T> numbers;

  Matrix(int64_t r, int64_t c)
      : rows(r), columns(c), stride(c + 3), numbers(r * stride, narrow<T>(__builtin_nanf(""))) {
    for (int64_t i = 0; i < r; ++i)
      for (int64_t j = 0; j < c; ++j) numbers[i * stride + j] = narrow<T>((7 * i + 5 * j) % 9 - 4);
  }
  float at(int64_t i, int64_t j) const { return widen(numbers[i * stride + j]); }
  tiles::Piece<T> piece() const { return {numbers.data(), rows, columns, stride}; }
};

// Memory whose strips begin where a cache line does.
struct Strips {
  std::vector<bf16> numbers;
  bf16* first;

  Strips(int64_t size, int64_t terms)
      : numbers(tiles::strips(size) * tiles::steps(terms) * tiles::kStep + 32) {
    const auto address = reinterpret_cast<uintptr_t>(numbers.data());
    first = numbers.data() + (64 - address % 64) % 64 / sizeof(bf16);
  }
};

template <typename A, typename B>
void check_product(int64_t m, int64_t n, int64_t terms, const Strips& a, const Strips& b, A left,
                   B right) {
  const int64_t steps = tiles::steps(terms), length = steps * tiles::kStep;
  const tiles::Units units;
  for (int64_t row = 0; row < m; row += tiles::kSide)
    for (int64_t column = 0; column < n; column += tiles::kSide) {
      alignas(64) float c[tiles::kSide * tiles::kSide];
      const bf16 *of_a = a.first + row / tiles::kSide * length,
                 *of_b = b.first + column / tiles::kSide * length;
      const int64_t half = steps / 2;  // as much now, the rest added
      tiles::multiply(of_a, of_b, half, false, c);
      tiles::multiply(of_a + half * tiles::kStep, of_b + half * tiles::kStep, steps - half, true, c);
      for (int64_t i = 0; i < tiles::kSide; ++i)
        for (int64_t j = 0; j < tiles::kSide; ++j) {
          float sum = 0;  // of the padding, nothing
          for (int64_t k = 0; k < terms && row + i < m && column + j < n; ++k)
            sum += left(row + i, k) * right(k, column + j);
          check(c[i * tiles::kSide + j] == sum);
        }
    }
}

void test_products_of_all_layouts(int64_t m, int64_t n, int64_t terms) {
  const Matrix<bf16> x(m, terms), turned(terms, m), y(terms, n);
  const Matrix<float> w(terms, n), w_turned(n, terms);
  Strips a(m, terms), a_turned(m, terms), b(n, terms), b_float(n, terms), b_turned(n, terms);
  tiles::lay_a(x.piece(), a.first);
  tiles::lay_a_turned(turned.piece(), a_turned.first);
  tiles::lay_b(y.piece(), b.first);
  tiles::lay_b(w.piece(), b_float.first);
  tiles::lay_b_turned(w_turned.piece(), b_turned.first);
  const auto of = [](const auto& matrix) {
    return [&](int64_t i, int64_t j) { return matrix.at(i, j); };
  };
  const auto swapped = [](const auto& matrix) {
    return [&](int64_t i, int64_t j) { return matrix.at(j, i); };
  };
  check_product(m, n, terms, a, b, of(x), of(y));
  check_product(m, n, terms, a_turned, b_float, swapped(turned), of(w));
  check_product(m, n, terms, a, b_turned, of(x), swapped(w_turned));
}

void test_weights_are_rounded_to_the_nearest_and_ties_to_even() {
  const float weights[] = {1 + 1 / 256.0f, 1 + 3 / 256.0f, 1 + 1.5f / 256, -1 - 1 / 256.0f};
  Strips strips(4, 1);
  tiles::lay_b({weights, 1, 4, 4}, strips.first);
  for (int i = 0; i < 4; ++i) check(strips.first[2 * i] == narrow<bf16>(weights[i]));
}

void test_no_more_is_written_than_asked(int64_t rows, int64_t columns, int64_t stride) {
  alignas(64) float c[tiles::kSide * tiles::kSide], to[34 * 64];
  for (int i = 0; i < tiles::kSide * tiles::kSide; ++i) c[i] = i;
  std::fill_n(to, 34 * 64, kUntouched);
  tiles::put(c, to, {rows, columns, stride});
  tiles::put_all();
  for (int64_t i = 0; i < 34 * 64; ++i) {
    const int64_t row = i / stride, column = i % stride;
    const bool asked = row < rows && column < columns;
    check(to[i] == (asked ? c[row * tiles::kSide + column] : kUntouched));
  }
}

void test_units_of_before_are_set_up_again() {
  const Matrix<bf16> x(32, 32);
  Strips a(32, 32);
  tiles::lay_a(x.piece(), a.first);
  alignas(64) float c[tiles::kSide * tiles::kSide];
  const tiles::Units mine;
  { const tiles::Units theirs; }
  tiles::multiply(a.first, a.first, 1, false, c);  // ends the program where they are not
}

}  // namespace

int main() {
  __builtin_cpu_init();
  if (!__builtin_cpu_supports("avx512bf16")) {
    std::puts("not tested: tiles are laid out with AVX-512 for bfloat16, which is not here");
    return 0;
  }
  for (const int64_t m : {1, 16, 17, 32, 70})
    for (const int64_t n : {1, 15, 33, 64})
      for (const int64_t terms : {1, 2, 31, 32, 33, 100}) test_products_of_all_layouts(m, n, terms);
  test_weights_are_rounded_to_the_nearest_and_ties_to_even();
  for (const int64_t rows : {1, 31, 32})
    for (const int64_t columns : {1, 15, 16, 17, 31, 32})
      for (const int64_t stride : {32, 33, 48, 64})
        test_no_more_is_written_than_asked(rows, columns, stride);
  test_units_of_before_are_set_up_again();
}
