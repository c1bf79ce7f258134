// bfloat16 as it lies in memory: the upper half of a float. Sums are always float.
#pragma once

#include "isa.hpp"

namespace deltarule {

using bf16 = uint16_t;

}  // namespace deltarule

namespace {

inline float widen(float value) { return value; }

inline float widen(deltarule::bf16 value) {
  const uint32_t bits = static_cast<uint32_t>(value) << 16;
  float wide;
  memcpy(&wide, &bits, sizeof wide);
  return wide;
}

template <typename T>
inline T narrow(float value);

template <>
inline float narrow<float>(float value) {
  return value;
}

// Rounds to the nearest, ties to even; NaN stays NaN.
template <>
inline deltarule::bf16 narrow<deltarule::bf16>(float value) {
  uint32_t bits;
  memcpy(&bits, &value, sizeof bits);
  const uint32_t rounded = (bits + 0x7fffu + ((bits >> 16) & 1u)) >> 16;
  const uint32_t quiet = (bits >> 16) | 0x40u;
  return static_cast<deltarule::bf16>(value != value ? quiet : rounded);
}

}  // namespace
