// Products of bfloat16 matrices on the processor's matrix units (AMX), summed in float32.
//
// A product c = a b is worked out 32 rows by 32 columns at a time. Both factors are laid out before:
// a in strips of 32 rows, b in strips of 32 columns, padded with zeros, so that what is multiplied
// next lies next in memory. This folder is compiled for such processors, under the rules of
// vector/isa.hpp; nothing here may run unless has_matrix_units().
#pragma once

#include "../vector/isa.hpp"
#include "../vector/numbers.hpp"
#include "../vector/outputs.hpp"

namespace deltarule::tiles {

constexpr int64_t kSide = 32;              // rows of a strip of a, columns of a strip of b
constexpr int64_t kTerms = 32;             // of each sum, in a step
constexpr int64_t kStep = kSide * kTerms;  // numbers of a strip in a step

namespace {  // each file its own, as vector/isa.hpp asks
inline int64_t steps(int64_t terms) { return (terms + kTerms - 1) / kTerms; }
inline int64_t strips(int64_t size) { return (size + kSide - 1) / kSide; }
}  // namespace

// While it lives, this thread's matrix units are set up for multiply().
class Units {
 public:
  Units();
  ~Units();
  Units(const Units&) = delete;
  Units& operator=(const Units&) = delete;

 private:
  alignas(64) uint8_t before_[64];
};

// A matrix in memory, row by row: one row begins `stride` numbers after the one before.
template <typename T>
struct Piece {
  const T* data;
  int64_t rows, columns, stride;
};

// Lay out strips of a = m, or of a = m'.
void lay_a(const Piece<bf16>& m, bf16* strips);
void lay_a_turned(const Piece<bf16>& m, bf16* strips);

// Lay out strips of b = m, or of b = m'.
void lay_b(const Piece<bf16>& m, bf16* strips);
void lay_b(const Piece<float>& m, bf16* strips);
void lay_b_turned(const Piece<float>& m, bf16* strips);

// c [32, 32] = a b, or c += a b, over so many steps.
void multiply(const bf16* a, const bf16* b, int64_t steps, bool add, float* c);

// Copies the first rows and columns of c [32, 32] to memory, past the caches where it can.
void put(const float* c, float* to, const Rows& at);
// Waits until other threads see what put() has written.
void put_all();

}  // namespace deltarule::tiles
