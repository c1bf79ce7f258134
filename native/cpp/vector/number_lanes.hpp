// Vectors of floats, read from and written to floats or bfloat16.
#pragma once

#include "numbers.hpp"
#include "small_lanes.hpp"

namespace {

typedef uint32_t Bits __attribute__((vector_size(4 * kLanes)));
typedef uint16_t Halves __attribute__((vector_size(2 * kLanes)));

inline Lanes read(const float* from) { return Whole::load(from); }
inline void write(float* to, Lanes value) { Whole::store(to, value); }

inline Lanes read(const deltarule::bf16* from) {
  Halves half;
  memcpy(&half, from, sizeof half);
  return (Lanes)(__builtin_convertvector(half, Bits) << 16);
}

inline void write(deltarule::bf16* to, Lanes value) {  // as narrow<bf16>
  const Bits bits = (Bits)value, upper = bits >> 16, is_nan = (Bits)(value != value);
  const Bits rounded = (bits + 0x7fffu + (upper & 1u)) >> 16;
  const Halves half =
      __builtin_convertvector((rounded & ~is_nan) | ((upper | 0x40u) & is_nan), Halves);
  memcpy(to, &half, sizeof half);
}

}  // namespace
