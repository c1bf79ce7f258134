#include "tiles.hpp"

#if defined(__x86_64__)

#include <immintrin.h>

#ifdef DELTARULE_MODELLED_TILES
#include "model.hpp"
#endif

namespace {

using deltarule::bf16;
using deltarule::tiles::kSide;
using deltarule::tiles::kStep;
using deltarule::tiles::kTerms;
using deltarule::tiles::Piece;

constexpr int kRows = 16;               // of a tile
constexpr int kRow = 32;                // bfloat16 numbers in a row of it: 64 bytes
constexpr int64_t kTile = kRows * kRow;
constexpr int kFloats = 16;             // in a row of a tile of sums

// How eight tiles of 16 rows of 64 bytes are set up, as the processor reads it. It lies in memory from
// the start: a compiler that does not know how much is read leaves out what it is to write.
struct alignas(64) Setup {
  uint8_t palette, start_row, zero[14];
  uint16_t bytes_of_row[16];
  uint8_t rows[16];
};
constexpr Setup kSetup = {1, 0, {}, {64, 64, 64, 64, 64, 64, 64, 64},
                          {kRows, kRows, kRows, kRows, kRows, kRows, kRows, kRows}};

// The first `count` of 16 or 32 numbers; none if it is negative.
inline __mmask16 first16(int64_t count) {
  return count >= 16 ? 0xffff : count <= 0 ? 0 : static_cast<__mmask16>((1u << count) - 1);
}
inline __mmask32 first32(int64_t count) {
  return count >= 32 ? 0xffffffff : count <= 0 ? 0 : (1u << count) - 1;
}

// Asks for the cache line of a number that will be needed some steps later: rows lie far apart, and
// the processor does not guess where the next one is. It may lie outside the matrix.
constexpr int64_t kAhead = 2;
template <typename T>
inline void ahead(const T* number) {
  _mm_prefetch(reinterpret_cast<const char*>(number), _MM_HINT_T0);
}

// Rows 2i and 2i + 1 of 16 columns, number beside number: what belongs together in a sum.
inline __m512i pairs(__m512i rows) {
  const __m512i order = _mm512_set_epi16(31, 15, 30, 14, 29, 13, 28, 12, 27, 11, 26, 10, 25, 9, 24,
                                         8, 23, 7, 22, 6, 21, 5, 20, 4, 19, 3, 18, 2, 17, 1, 16, 0);
  return _mm512_permutexvar_epi16(order, rows);
}
inline __m512i pairs(const bf16* even, const bf16* odd, __mmask16 of_even, __mmask16 of_odd) {
  const __m512i low = _mm512_castsi256_si512(_mm256_maskz_loadu_epi16(of_even, even));
  return pairs(_mm512_inserti64x4(low, _mm256_maskz_loadu_epi16(of_odd, odd), 1));
}
inline __m512i pairs(const float* even, const float* odd, __mmask16 of_even, __mmask16 of_odd) {
  return pairs((__m512i)_mm512_cvtne2ps_pbh(_mm512_maskz_loadu_ps(of_odd, odd),
                                            _mm512_maskz_loadu_ps(of_even, even)));
}

// Swaps rows and columns of 16 by 16 pairs.
inline void turn(__m512i* of) {
  __m512i t[16];
  for (int i = 0; i < 8; ++i) {
    t[2 * i] = _mm512_unpacklo_epi32(of[2 * i], of[2 * i + 1]);
    t[2 * i + 1] = _mm512_unpackhi_epi32(of[2 * i], of[2 * i + 1]);
  }
  for (int i = 0; i < 4; ++i) {
    of[4 * i] = _mm512_unpacklo_epi64(t[4 * i], t[4 * i + 2]);
    of[4 * i + 1] = _mm512_unpackhi_epi64(t[4 * i], t[4 * i + 2]);
    of[4 * i + 2] = _mm512_unpacklo_epi64(t[4 * i + 1], t[4 * i + 3]);
    of[4 * i + 3] = _mm512_unpackhi_epi64(t[4 * i + 1], t[4 * i + 3]);
  }
  for (int i = 0; i < 4; ++i) {
    t[i] = _mm512_shuffle_i32x4(of[i], of[i + 4], 0x88);
    t[i + 4] = _mm512_shuffle_i32x4(of[i], of[i + 4], 0xdd);
    t[i + 8] = _mm512_shuffle_i32x4(of[i + 8], of[i + 12], 0x88);
    t[i + 12] = _mm512_shuffle_i32x4(of[i + 8], of[i + 12], 0xdd);
  }
  for (int i = 0; i < 8; ++i) {
    of[i] = _mm512_shuffle_i32x4(t[i], t[i + 8], 0x88);
    of[i + 8] = _mm512_shuffle_i32x4(t[i], t[i + 8], 0xdd);
  }
}

inline void store(const __m512i* tile, bf16* to) {
  for (int i = 0; i < kRows; ++i) _mm512_store_si512(to + i * kRow, tile[i]);
}

// Calls fill(tile, term, place) for every tile of strips of so many rows, or columns: those from
// `place` on, and the terms from `term` on.
template <typename Fill>
inline void each_tile(int64_t size, int64_t terms, bf16* strips, Fill fill) {
  const int64_t steps = deltarule::tiles::steps(terms), end = deltarule::tiles::strips(size) * kSide;
  for (int64_t step = 0; step < steps; ++step)
    for (int64_t place = 0; place < end; place += kRows) {
      __m512i tile[kRows];
      fill(tile, step * kTerms, place);
      store(tile, strips + (place / kSide * steps + step) * kStep + place % kSide / kRows * kTile);
    }
}

// The tile of 16 columns of m whose sums go down the rows.
template <typename T>
inline void paired(const Piece<T>& m, int64_t row, int64_t column, __m512i* tile) {
  const __mmask16 columns = first16(m.columns - column);
  for (int i = 0; i < kRows; ++i) {
    const int64_t even = row + 2 * i;
    const T* from = m.data + even * m.stride + column;
    ahead(from + kAhead * kTerms * m.stride);
    ahead(from + (kAhead * kTerms + 1) * m.stride);
    tile[i] = pairs(from, from + m.stride, even < m.rows ? columns : __mmask16{0},
                    even + 1 < m.rows ? columns : __mmask16{0});
  }
}

template <typename T>
inline void lay_paired(const Piece<T>& m, bf16* strips) {
  each_tile(m.columns, m.rows, strips, [&](__m512i* tile, int64_t term, int64_t place) {
    paired(m, term, place, tile);
  });
}

}  // namespace

namespace deltarule::tiles {

Units::Units() {
  _tile_storeconfig(before_);
  _tile_loadconfig(&kSetup);
}

Units::~Units() {
  if (before_[0] == 0) _tile_release();
  else _tile_loadconfig(before_);
}

void lay_a(const Piece<bf16>& m, bf16* strips) {
  each_tile(m.rows, m.columns, strips, [&](__m512i* tile, int64_t term, int64_t place) {
    const __mmask32 terms = first32(m.columns - term);
    for (int i = 0; i < kRows; ++i) {
      const int64_t row = place + i;
      tile[i] = _mm512_maskz_loadu_epi16(row < m.rows ? terms : __mmask32{0},
                                         m.data + row * m.stride + term);
    }
  });
}

void lay_a_turned(const Piece<bf16>& m, bf16* strips) {
  each_tile(m.columns, m.rows, strips, [&](__m512i* tile, int64_t term, int64_t place) {
    paired(m, term, place, tile);
    turn(tile);
  });
}

void lay_b(const Piece<bf16>& m, bf16* strips) { lay_paired(m, strips); }
void lay_b(const Piece<float>& m, bf16* strips) { lay_paired(m, strips); }

void lay_b_turned(const Piece<float>& m, bf16* strips) {
  each_tile(m.rows, m.columns, strips, [&](__m512i* tile, int64_t term, int64_t place) {
    const __mmask16 low = first16(m.columns - term), high = first16(m.columns - term - 16);
    for (int i = 0; i < kRows; ++i) {
      const int64_t row = place + i;
      const float* from = m.data + row * m.stride + term;
      const __mmask16 there = row < m.rows ? 0xffff : 0;
      ahead(from + kAhead * kTerms);
      ahead(from + kAhead * kTerms + 16);
      tile[i] = (__m512i)_mm512_cvtne2ps_pbh(_mm512_maskz_loadu_ps(high & there, from + 16),
                                             _mm512_maskz_loadu_ps(low & there, from));
    }
    turn(tile);
  });
}

void multiply(const bf16* a, const bf16* b, int64_t steps, bool add, float* c) {
  constexpr int kStride = kSide * sizeof(float);
  float* const lower = c + kRows * kSide;
  if (add) {
    _tile_loadd(0, c, kStride);
    _tile_loadd(1, c + kFloats, kStride);
    _tile_loadd(2, lower, kStride);
    _tile_loadd(3, lower + kFloats, kStride);
  } else {
    _tile_zero(0);
    _tile_zero(1);
    _tile_zero(2);
    _tile_zero(3);
  }
  for (int64_t step = 0; step < steps; ++step, a += kStep, b += kStep) {
    _tile_loadd(4, a, 64);
    _tile_loadd(6, b, 64);
    _tile_dpbf16ps(0, 4, 6);
    _tile_loadd(7, b + kTile, 64);
    _tile_dpbf16ps(1, 4, 7);
    _tile_loadd(5, a + kTile, 64);
    _tile_dpbf16ps(2, 5, 6);
    _tile_dpbf16ps(3, 5, 7);
  }
  _tile_stored(0, c, kStride);
  _tile_stored(1, c + kFloats, kStride);
  _tile_stored(2, lower, kStride);
  _tile_stored(3, lower + kFloats, kStride);
}

void put(const float* c, float* to, const Rows& at) {
  const bool lines = reinterpret_cast<uintptr_t>(to) % 64 == 0 && at.stride % kFloats == 0;
  for (int64_t row = 0; row < at.rows; ++row, c += kSide, to += at.stride) {
    if (lines && at.columns == kSide) {
      _mm512_stream_ps(to, _mm512_load_ps(c));
      _mm512_stream_ps(to + kFloats, _mm512_load_ps(c + kFloats));
    } else {
      _mm512_mask_storeu_ps(to, first16(at.columns), _mm512_load_ps(c));
      _mm512_mask_storeu_ps(to + kFloats, first16(at.columns - kFloats),
                            _mm512_load_ps(c + kFloats));
    }
  }
}

void put_all() { _mm_sfence(); }

}  // namespace deltarule::tiles

#endif  // __x86_64__
