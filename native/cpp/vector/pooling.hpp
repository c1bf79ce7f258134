// Pooling of one image, channels last.
#pragma once

#include "isa.hpp"
#include "numbers.hpp"

namespace deltarule {

// Windows over an image of height x width pixels; there is nothing outside the image.
struct Windows {
  int64_t height, width, channels, rows, columns;
  int64_t size[2], stride[2], before[2];  // of rows and columns; before: padding on top, left

  bool tiles() const { return size[0] == stride[0] && size[1] == stride[1]; }
};

template <typename T>
struct PoolKernels {
  // The largest number of each window, and its place there, row by row.
  void (*largest)(const T* x, T* y, uint8_t* place, const Windows& at);
  // dx = g at these places, 0 elsewhere; added up where windows overlap.
  void (*spread)(const T* g, const uint8_t* place, T* dx, const Windows& at);
  // The mean of the pixels of the image that each window covers, and its gradient.
  void (*mean)(const T* x, T* y, const Windows& at);
  void (*share)(const T* g, T* dx, const Windows& at);
};

struct PoolTable {
  PoolKernels<float> with_float;
  PoolKernels<bf16> with_bf16;
};

#define DELTARULE_DECLARE(isa)    \
  namespace isa {                 \
  extern const PoolTable pooling; \
  }
DELTARULE_ISAS(DELTARULE_DECLARE)
#undef DELTARULE_DECLARE

}  // namespace deltarule
