// Vectors of numbers, as many lanes as the processor has, and what is worked out lane by lane.
// The numbers are floats, or doubles in a file that defines NUMBERS_ARE_DOUBLE.
#pragma once

#include "isa.hpp"

#if defined(__AVX512F__) || defined(__AVX2__)
#include <immintrin.h>
#endif

namespace {

#if defined(NUMBERS_ARE_DOUBLE)
using Number = double;
using Int = int64_t;
constexpr Number kEpsilon = __DBL_EPSILON__, kLogOfEpsilon = -36.04365338911715;
constexpr Int kAllButSign = INT64_MAX;
#else
using Number = float;
using Int = int32_t;
constexpr Number kEpsilon = __FLT_EPSILON__, kLogOfEpsilon = -15.942385f;
constexpr Int kAllButSign = INT32_MAX;
#endif

#if defined(__AVX512F__)
constexpr int kBytes = 64;
#elif defined(__AVX2__)
constexpr int kBytes = 32;
#else
constexpr int kBytes = 16;
#endif
constexpr int kLanes = kBytes / sizeof(Number);

typedef Number Lanes __attribute__((vector_size(kBytes)));
typedef Number Unaligned __attribute__((vector_size(kBytes), aligned(sizeof(Number))));
typedef Int Ints __attribute__((vector_size(kBytes)));

inline int64_t padded(int64_t size) { return (size + kLanes - 1) / kLanes * kLanes; }

inline Lanes all(Number value) { return Lanes{} + value; }
inline Lanes pick(Ints which, Lanes yes, Lanes no) {
  return (Lanes)((which & (Ints)yes) | (~which & (Ints)no));
}

inline Ints numbered() {
  Ints number{};
  for (int lane = 0; lane < kLanes; ++lane) number[lane] = lane;
  return number;
}

// All lanes of a vector in memory.
struct Whole {
  static Lanes load(const Number* from) { return *reinterpret_cast<const Unaligned*>(from); }
  static void store(Number* to, Lanes value) { *reinterpret_cast<Unaligned*>(to) = value; }
  static Lanes only(Lanes value) { return value; }
  static Lanes load_only(const Number* from) { return load(from); }
};

// The first lanes only: the others are neither read nor written, and count as zeros.
struct Part {
  explicit Part(int64_t count) : which(numbered() < static_cast<Int>(count)) {}
  explicit Part(Ints which) : which(which) {}
  Lanes load(const Number* from) const;
  void store(Number* to, Lanes value) const;

  Ints which;
};

#if defined(__AVX512F__) && defined(NUMBERS_ARE_DOUBLE)
inline Lanes Part::load(const Number* from) const {
  return (Lanes)_mm512_maskz_loadu_pd(_mm512_movepi64_mask((__m512i)which), from);
}
inline void Part::store(Number* to, Lanes value) const {
  _mm512_mask_storeu_pd(to, _mm512_movepi64_mask((__m512i)which), (__m512d)value);
}
#elif defined(__AVX512F__)
inline Lanes Part::load(const Number* from) const {
  return (Lanes)_mm512_maskz_loadu_ps(_mm512_movepi32_mask((__m512i)which), from);
}
inline void Part::store(Number* to, Lanes value) const {
  _mm512_mask_storeu_ps(to, _mm512_movepi32_mask((__m512i)which), (__m512)value);
}
#elif defined(__AVX2__) && defined(NUMBERS_ARE_DOUBLE)
inline Lanes Part::load(const Number* from) const {
  return (Lanes)_mm256_maskload_pd(from, (__m256i)which);
}
inline void Part::store(Number* to, Lanes value) const {
  _mm256_maskstore_pd(to, (__m256i)which, (__m256d)value);
}
#elif defined(__AVX2__)
inline Lanes Part::load(const Number* from) const {
  return (Lanes)_mm256_maskload_ps(from, (__m256i)which);
}
inline void Part::store(Number* to, Lanes value) const {
  _mm256_maskstore_ps(to, (__m256i)which, (__m256)value);
}
#else
inline Lanes Part::load(const Number* from) const {
  Lanes found{};
  for (int lane = 0; lane < kLanes && which[lane]; ++lane) found[lane] = from[lane];
  return found;
}
inline void Part::store(Number* to, Lanes value) const {
  for (int lane = 0; lane < kLanes && which[lane]; ++lane) to[lane] = value[lane];
}
#endif

// Calls body(i, Whole) for each whole vector of `size` numbers, then body(i, Part) for the rest.
template <typename Body>
inline void along(int64_t size, Body body) {
  int64_t i = 0;
  for (; i + kLanes <= size; i += kLanes) body(i, Whole{});
  if (i < size) body(i, Part(size - i));
}

// The first lanes of what is padded with zeros to a whole vector: read and written whole, since a
// load that follows a masked store waits for it.
struct Padded {
  explicit Padded(int64_t count) : which(numbered() < static_cast<Int>(count)) {}
  static Lanes load(const Number* from) { return Whole::load(from); }
  void store(Number* to, Lanes value) const { Whole::store(to, only(value)); }
  Lanes only(Lanes value) const { return (Lanes)(which & (Ints)value); }
  Lanes load_only(const Number* from) const { return Part(which).load(from); }  // nothing behind

  Ints which;
};

// Calls body(i, Whole) for each whole vector of a padded row, then body(i, Padded) for the rest.
template <typename Body>
inline void along_padded(int64_t size, Body body) {
  int64_t i = 0;
  for (; i + kLanes <= size; i += kLanes) body(i, Whole{});
  if (i < size) body(i, Padded(size - i));
}

// The numbers 0 to kLanes - 1, for the compiler.
template <int... lane>
struct Order {};
template <int count, int... lane>
struct Count : Count<count - 1, count - 1, lane...> {};
template <int... lane>
struct Count<0, lane...> {
  using Numbers = Order<lane...>;
};
using InOrder = Count<kLanes>::Numbers;

// Of two vectors of groups of 2 * `half` lanes, adds the halves of each group: a's, then b's.
template <int half, int... lane>
inline Lanes fold(Lanes a, Lanes b, Order<lane...>) {
  return __builtin_shufflevector(a, b, (lane / half * 2 * half + lane % half)...) +
         __builtin_shufflevector(a, b, (lane / half * 2 * half + lane % half + half)...);
}

// Of a matrix of kLanes vectors, swaps blocks of `half` lanes across the diagonal: with all powers
// of two, each number's row and column are swapped.
template <int half, int... lane>
inline void swap_blocks(Lanes* of, Order<lane...> order) {
  if constexpr (half > 0) {
    for (int r = 0; r < kLanes; ++r) {
      if (r & half) continue;
      const Lanes a = of[r], b = of[r + half];
      of[r] = __builtin_shufflevector(a, b, (lane & half ? kLanes + lane - half : lane)...);
      of[r + half] = __builtin_shufflevector(a, b, (lane & half ? kLanes + lane : lane + half)...);
    }
    swap_blocks<half / 2>(of, order);
  }
}

// Brings the lanes from `half` on to the front.
template <int half, int... lane>
inline Lanes other_half(Lanes of, Order<lane...>) {
  return __builtin_shufflevector(of, of, ((lane + half) % kLanes)...);
}

// Returns the sums of kLanes vectors over their lanes, in order. (Of a smaller power of two `count`
// of vectors: kLanes / count numbers each, still to be added up.)
template <int count>
inline Lanes sums(const Lanes* of) {
  if constexpr (count == 1) {
    return of[0];
  } else {
    return fold<kLanes / count>(sums<count / 2>(of), sums<count / 2>(of + count / 2), InOrder{});
  }
}

// Calls with(a, b) for halves of the lanes, then for halves of what that gives, down to one number.
template <int half = kLanes / 2, typename With>
inline Number joined(Lanes of, With with) {
  if constexpr (half == 0) {
    return of[0];
  } else {
    return joined<half / 2>(with(of, other_half<half>(of, InOrder{})), with);
  }
}

inline Number sum(Lanes of) {
  return joined(of, [](Lanes a, Lanes b) { return a + b; });
}
inline Number largest(Lanes of) {
  return joined(of, [](Lanes a, Lanes b) { return pick(a > b, a, b); });
}

inline Lanes logarithm(Lanes x) {
  for (int lane = 0; lane < kLanes; ++lane) x[lane] = static_cast<Number>(__builtin_log(x[lane]));
  return x;
}

inline Lanes magnitude(Lanes x) { return (Lanes)((Ints)x & kAllButSign); }

#if defined(NUMBERS_ARE_DOUBLE)

inline Lanes root(Lanes x) {
  for (int lane = 0; lane < kLanes; ++lane) x[lane] = __builtin_sqrt(x[lane]);
  return x;
}

// e^x = scale (1 + rest) for x from -708 to 709, or the nearer of the two beyond; to some units in
// the last place, by Taylor's series. NaN comes out as NaN.
struct Power {
  Lanes scale, rest;
  explicit Power(Lanes x) {
    x = pick(x < -708.0, all(-708.0), pick(x > 709.0, all(709.0), x));
    // x = n ln 2 + r; adding 1.5 2^52 rounds to a whole number, and puts it in the lowest bits.
    const Lanes magic = all(6755399441055744.0);
    const Lanes shifted = x * 1.4426950408889634 + magic;
    const Lanes n = shifted - magic;
    const Lanes r = (x - n * 0.693147180369123816490) - n * 1.90821492927058770002e-10;
    Lanes p = r * (1 / 6227020800.0) + 1 / 479001600.0;  // 1 / 13! and so on down
    constexpr double kFactorials[] = {39916800, 3628800, 362880, 40320, 5040, 720, 120, 24, 6, 2};
    for (const double factorial : kFactorials) p = p * r + 1 / factorial;
    rest = p * r * r + r;
    scale = (Lanes)(((Ints)shifted << 52) + 0x3ff0000000000000);
  }
};

inline Lanes exponential(Lanes x) {
  const Power power(x);
  return (power.rest + 1.0) * power.scale;
}

inline Lanes logistic(Lanes z) { return 1.0 / (1.0 + exponential(-z)); }

// (e^2z - 1) / (e^2z + 1), where e^2z - 1 is exact near 0 too.
inline Lanes hyperbolic_tangent(Lanes z) {
  const Lanes doubled = 2.0 * magnitude(z);
  const Power power(pick(doubled > 80.0, all(80.0), doubled));
  const Lanes less_one = power.scale * power.rest + (power.scale - 1.0);
  const Lanes found = less_one / (less_one + 2.0);
  return (Lanes)((Ints)found | ((Ints)z & ~kAllButSign));
}

inline Lanes log_of_one_plus(Lanes x) {
  for (int lane = 0; lane < kLanes; ++lane) x[lane] = __builtin_log1p(x[lane]);
  return x;
}

#else

inline Lanes root(Lanes x) {
  for (int lane = 0; lane < kLanes; ++lane) x[lane] = __builtin_sqrtf(x[lane]);
  return x;
}

// The functions below are within 2e-7 of the true value, relatively; their polynomials are least
// squares fits that were weighted until the error was even. NaN comes out as NaN.

// e^x = scale (1 + rest) for x from -87 to 88, or the nearer of the two beyond: scale is the power
// of two that leaves rest between -0.3 and 0.42.
struct Power {
  Lanes scale, rest;
  explicit Power(Lanes x) {
    x = pick(x < -87.0f, all(-87.0f), pick(x > 88.0f, all(88.0f), x));
    // x = n ln 2 + r; adding 1.5 2^23 rounds to a whole number, and puts it in the lowest bits.
    const Lanes magic = all(12582912.0f);
    const Lanes shifted = x * 1.44269504f + magic;
    const Lanes n = shifted - magic;
    const Lanes r = (x - n * 0.693359375f) + n * 2.12194440e-4f;
    Lanes p = r * 1.3813142e-3f + 8.3694188e-3f;
    p = p * r + 4.1668456e-2f;
    p = p * r + 1.6666515e-1f;
    p = p * r + 4.9999994e-1f;
    rest = p * r * r + r;
    scale = (Lanes)(((Ints)shifted << 23) + 0x3f800000);
  }
};

inline Lanes exponential(Lanes x) {
  const Power power(x);
  return (power.rest + 1.0f) * power.scale;
}

// e^x - 1, to as many digits near 0 as elsewhere.
inline Lanes exponential_less_one(Lanes x) {
  const Power power(x);
  return power.scale * power.rest + (power.scale - 1.0f);
}

inline Lanes logistic(Lanes z) { return 1.0f / (1.0f + exponential(-z)); }

inline Lanes hyperbolic_tangent(Lanes z) {
  const Lanes size = magnitude(z), t = z * z;
  Lanes p = t * -5.7049785e-3f + 2.0639079e-2f;
  p = p * t - 5.3739712e-2f;
  p = p * t + 1.3331442e-1f;
  p = p * t - 3.3333281e-1f;
  const Lanes near = size + size * t * p;
  const Lanes far = 1.0f - 2.0f / (exponential(2.0f * size) + 1.0f);
  const Lanes found = pick(size < 0.625f, near, far);
  return (Lanes)((Ints)found | ((Ints)z & INT32_MIN));
}

// ln(1 + u) for u from 0 to 1: 2 artanh(s), s = u / (2 + u).
inline Lanes log_of_one_plus(Lanes u) {
  const Lanes s = u / (2.0f + u), t = s * s;
  Lanes p = t * 1.4005996e-1f + 1.4000902e-1f;
  p = p * t + 2.0010763e-1f;
  p = p * t + 3.3333209e-1f;
  return 2.0f * (s + s * t * p);
}

#endif  // NUMBERS_ARE_DOUBLE

}  // namespace
