#include "pooling.hpp"

namespace {

using deltarule::bf16;
using deltarule::PoolKernels;
using deltarule::Windows;

#if defined(__AVX512F__)
constexpr int kLanes = 16;
#elif defined(__AVX2__)
constexpr int kLanes = 8;
#else
constexpr int kLanes = 4;
#endif

// The pixels of the image in one window: rows [top, bottom), columns [left, right).
struct Window {
  int64_t top, bottom, left, right, row, column;  // where it would begin: row, column

  Window(const Windows& at, int64_t i, int64_t j)
      : row(i * at.stride[0] - at.before[0]), column(j * at.stride[1] - at.before[1]) {
    top = row > 0 ? row : 0;
    left = column > 0 ? column : 0;
    bottom = row + at.size[0] < at.height ? row + at.size[0] : at.height;
    right = column + at.size[1] < at.width ? column + at.size[1] : at.width;
  }
  float pixels() const { return static_cast<float>((bottom - top) * (right - left)); }
  uint8_t place(const Windows& at, int64_t u, int64_t v) const {
    return static_cast<uint8_t>((u - row) * at.size[1] + v - column);
  }
};

// The compiler's own vectors: loops over so few numbers it unrolls before it thinks of vectors.
typedef float Floats __attribute__((vector_size(4 * kLanes)));
typedef int32_t Ints __attribute__((vector_size(4 * kLanes)));
typedef uint32_t Bits __attribute__((vector_size(4 * kLanes)));
typedef uint16_t Halves __attribute__((vector_size(2 * kLanes)));
typedef uint8_t Bytes __attribute__((vector_size(kLanes)));

// The first `count` lanes; the others are 0.
template <int count>
inline Floats read(const float* from) {
  Floats value = {};
  memcpy(&value, from, count * sizeof *from);
  return value;
}

template <int count>
inline Floats read(const bf16* from) {
  Halves half = {};
  memcpy(&half, from, count * sizeof *from);
  return (Floats)(__builtin_convertvector(half, Bits) << 16);
}

template <int count>
inline void write(float* to, Floats value) {
  memcpy(to, &value, count * sizeof *to);
}

template <int count>
inline void write(bf16* to, Floats value) {  // as narrow<bf16>
  const Bits bits = (Bits)value, upper = bits >> 16, is_nan = (Bits)(value != value);
  const Bits rounded = (bits + 0x7fffu + (upper & 1u)) >> 16;
  const Halves half =
      __builtin_convertvector((rounded & ~is_nan) | ((upper | 0x40u) & is_nan), Halves);
  memcpy(to, &half, count * sizeof *to);
}

template <int count>
inline Ints read_places(const uint8_t* from) {
  Bytes bytes = {};
  memcpy(&bytes, from, count);
  return __builtin_convertvector(bytes, Ints);
}

template <int count>
inline void write_places(uint8_t* to, Ints places) {
  const Bytes bytes = __builtin_convertvector(places, Bytes);
  memcpy(to, &bytes, count);
}

inline Floats pick(Ints which, Floats a, Floats b) {
  return (Floats)((which & (Ints)a) | (~which & (Ints)b));
}

template <typename T, int count>
inline void largest_of(const T* x, T* y, uint8_t* place, const Windows& at, const Window& window) {
  Floats best = Floats{} - __builtin_inff();
  Ints where = Ints{} + window.place(at, window.top, window.left);
  for (int64_t u = window.top; u < window.bottom; ++u) {
    for (int64_t v = window.left; v < window.right; ++v) {
      const Floats value = read<count>(x + (u * at.width + v) * at.channels);
      // NaN is the largest
      const Ints more = ~(Ints)(value <= best) & (best == best);
      best = pick(more, value, best);
      where = (more & static_cast<int32_t>(window.place(at, u, v))) | (~more & where);
    }
  }
  write<count>(y, best);
  write_places<count>(place, where);
}

// dx at each place of the window: what fell there, set or, where windows overlap, added.
template <typename T, int count, bool set>
inline void spread_to(const T* g, const uint8_t* place, T* dx, const Windows& at,
                      const Window& window) {
  const Floats all = read<count>(g);
  const Ints places = read_places<count>(place);
  for (int64_t u = window.top; u < window.bottom; ++u) {
    for (int64_t v = window.left; v < window.right; ++v) {
      T* out = dx + (u * at.width + v) * at.channels;
      const Ints here = places == static_cast<int32_t>(window.place(at, u, v));
      const Floats part = (Floats)((Ints)all & here);
      write<count>(out, set ? part : read<count>(out) + part);
    }
  }
}

template <typename T, int count>
inline void mean_of(const T* x, T* y, const Windows& at, const Window& window) {
  Floats total = {};
  for (int64_t u = window.top; u < window.bottom; ++u) {
    for (int64_t v = window.left; v < window.right; ++v) {
      total += read<count>(x + (u * at.width + v) * at.channels);
    }
  }
  write<count>(y, total * (1 / window.pixels()));
}

template <typename T, int count, bool set>
inline void share_to(const T* g, T* dx, const Windows& at, const Window& window) {
  const Floats part = read<count>(g) * (1 / window.pixels());
  for (int64_t u = window.top; u < window.bottom; ++u) {
    for (int64_t v = window.left; v < window.right; ++v) {
      T* out = dx + (u * at.width + v) * at.channels;
      write<count>(out, set ? part : read<count>(out) + part);
    }
  }
}

struct Many {
  static constexpr int lanes = kLanes;
};
struct One {
  static constexpr int lanes = 1;
};

// Calls work(lanes, window, channel, output) for every window and all its channels: whole vectors,
// and the channels that are left over either one by one or, if work may be done `twice`, by one
// more vector that begins among those that were done.
template <bool twice, typename Work>
inline void each(const Windows& at, Work work) {
  for (int64_t i = 0; i < at.rows; ++i) {
    for (int64_t j = 0; j < at.columns; ++j) {
      const Window window(at, i, j);
      const int64_t output = (i * at.columns + j) * at.channels;
      int64_t c = 0;
      for (; c + kLanes <= at.channels; c += kLanes) work(Many(), window, c, output + c);
      if (twice && c && c < at.channels) {
        c = at.channels - kLanes;
        work(Many(), window, c, output + c);
        c = at.channels;
      }
      for (; c < at.channels; ++c) work(One(), window, c, output + c);
    }
  }
}

template <typename T>
void largest(const T* x, T* y, uint8_t* place, const Windows& at) {
  each<true>(at, [&](auto many, const Window& window, int64_t c, int64_t o) {
    largest_of<T, decltype(many)::lanes>(x + c, y + o, place + o, at, window);
  });
}

// Whether every pixel lies in exactly one window.
inline bool covers(const Windows& at) {
  return at.tiles() && at.rows * at.size[0] == at.height && at.columns * at.size[1] == at.width &&
         at.before[0] == 0 && at.before[1] == 0;
}

template <typename T>
void clear(T* dx, const Windows& at) {
  memset(dx, 0, at.height * at.width * at.channels * sizeof(T));
}

template <typename T>
void spread(const T* g, const uint8_t* place, T* dx, const Windows& at) {
  if (!covers(at)) clear(dx, at);
  if (at.tiles()) {
    each<true>(at, [&](auto many, const Window& window, int64_t c, int64_t o) {
      spread_to<T, decltype(many)::lanes, true>(g + o, place + o, dx + c, at, window);
    });
  } else {
    each<false>(at, [&](auto many, const Window& window, int64_t c, int64_t o) {
      spread_to<T, decltype(many)::lanes, false>(g + o, place + o, dx + c, at, window);
    });
  }
}

template <typename T>
void mean(const T* x, T* y, const Windows& at) {
  each<true>(at, [&](auto many, const Window& window, int64_t c, int64_t o) {
    mean_of<T, decltype(many)::lanes>(x + c, y + o, at, window);
  });
}

template <typename T>
void share(const T* g, T* dx, const Windows& at) {
  if (!covers(at)) clear(dx, at);
  if (at.tiles()) {
    each<true>(at, [&](auto many, const Window& window, int64_t c, int64_t o) {
      share_to<T, decltype(many)::lanes, true>(g + o, dx + c, at, window);
    });
  } else {
    each<false>(at, [&](auto many, const Window& window, int64_t c, int64_t o) {
      share_to<T, decltype(many)::lanes, false>(g + o, dx + c, at, window);
    });
  }
}

template <typename T>
constexpr PoolKernels<T> kernels() {
  return {largest<T>, spread<T>, mean<T>, share<T>};
}

}  // namespace

namespace deltarule::ISA {

extern const PoolTable pooling = {kernels<float>(), kernels<bf16>()};

}  // namespace deltarule::ISA
