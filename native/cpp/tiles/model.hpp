// The instructions of the matrix units, in C++: the builds that sanitizers watch multiply with these,
// on any processor, and they see where tiles are read and written. Included by tiles.cpp.
#pragma once

#include <cstdint>
#include <cstring>

namespace {

struct ModelledUnits {
  uint8_t setup[64];  // as it was loaded; palette 0 is none
  uint32_t tiles[8][16][16];

  uint32_t (&tile(int number))[16][16] {
    if (setup[0] != 1) __builtin_trap();  // as the processor does
    return tiles[number];
  }
};
thread_local ModelledUnits modelled_units{};

inline void modelled_setup(const void* from) {
  memset(&modelled_units, 0, sizeof modelled_units);
  memcpy(modelled_units.setup, from, sizeof modelled_units.setup);
}
inline void modelled_saving(void* to) {
  memcpy(to, modelled_units.setup, sizeof modelled_units.setup);
}
inline void modelled_release() { memset(&modelled_units, 0, sizeof modelled_units); }

inline void modelled_zero(int to) { memset(modelled_units.tile(to), 0, 16 * 64); }

inline void modelled_load(int to, const void* from, int64_t stride) {
  auto& tile = modelled_units.tile(to);
  for (int row = 0; row < 16; ++row)
    memcpy(tile[row], static_cast<const char*>(from) + row * stride, 64);
}
inline void modelled_store(int from, void* to, int64_t stride) {
  auto& tile = modelled_units.tile(from);
  for (int row = 0; row < 16; ++row) memcpy(static_cast<char*>(to) + row * stride, tile[row], 64);
}

// One number of each pair of bfloat16: the upper one, or the lower.
struct Halves {
  float of[16][16];

  Halves(const uint32_t (&tile)[16][16], bool upper) {
    for (int row = 0; row < 16; ++row)
      for (int pair = 0; pair < 16; ++pair) {
        const uint32_t bits = upper ? tile[row][pair] & 0xffff0000u : tile[row][pair] << 16;
        memcpy(&of[row][pair], &bits, sizeof bits);
      }
  }
};

// c [16, 16] += a b. Not watched, so that tests take no minutes: all of it lies here.
__attribute__((no_sanitize("address", "undefined"), optimize("O3")))
inline void add_product(float (&c)[16][16], const Halves (&a)[2], const Halves (&b)[2]) {
  for (int row = 0; row < 16; ++row)
    for (int pair = 0; pair < 16; ++pair)
      for (int column = 0; column < 16; ++column) {
        c[row][column] += a[0].of[row][pair] * b[0].of[pair][column];
        c[row][column] += a[1].of[row][pair] * b[1].of[pair][column];
      }
}

inline void modelled_product(int of, int with, int by) {
  auto &c = modelled_units.tile(of), &a = modelled_units.tile(with), &b = modelled_units.tile(by);
  float sums[16][16];
  memcpy(sums, c, sizeof sums);
  add_product(sums, {{a, false}, {a, true}}, {{b, false}, {b, true}});
  memcpy(c, sums, sizeof sums);
}

}  // namespace

#undef _tile_zero
#undef _tile_loadd
#undef _tile_stored
#undef _tile_dpbf16ps
#define _tile_loadconfig modelled_setup
#define _tile_storeconfig modelled_saving
#define _tile_release modelled_release
#define _tile_zero modelled_zero
#define _tile_loadd modelled_load
#define _tile_stored modelled_store
#define _tile_dpbf16ps modelled_product
