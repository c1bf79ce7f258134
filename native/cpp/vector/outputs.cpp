#include "outputs.hpp"

namespace {

using deltarule::Activation;
using deltarule::bf16;
using deltarule::Rows;

constexpr int64_t kLanes = 16;
constexpr int64_t kSums = 1024;  // sums that are kept side by side

template <typename T>
void rectify(T* y, const Rows& at) {
  for (int64_t row = 0; row < at.rows; ++row) {
    T* __restrict__ out = y + row * at.stride;
#pragma GCC ivdep
    for (int64_t i = 0; i < at.columns; ++i) {
      const float value = widen(out[i]);
      out[i] = value <= 0 ? T(0) : out[i];
    }
  }
}

template <Activation f>
inline float slope(float y) {
  switch (f) {
    case Activation::relu: return y > 0 ? 1.0f : 0.0f;
    case Activation::sigmoid: return y * (1 - y);
    case Activation::tanh: return 1 - y * y;
    case Activation::lecun_tanh: {
      const float t = y * (1 / deltarule::kLecunHeight);
      return deltarule::kLecunHeight * deltarule::kLecunSteepness * (1 - t * t);
    }
    case Activation::leaky_relu: return y >= 0 ? 1.0f : deltarule::kLeak;
    case Activation::elu: return y > 0 ? 1.0f : y + 1;
    default: return 1;
  }
}

// g f'(y); relu blocks what it blocks, even infinity and NaN, as the plain path does.
template <Activation f>
inline float pulled(float g, float y) {
  if (f == Activation::identity) return g;
  if (f == Activation::relu) return y > 0 ? g : 0.0f;
  return g * slope<f>(y);
}

template <Activation f, typename T, bool kept, bool summed>
void pull_row(const T* __restrict__ g, const T* __restrict__ y, T* __restrict__ dz,
              float* __restrict__ sums, int64_t columns) {
#pragma GCC ivdep
  for (int64_t i = 0; i < columns; ++i) {
    const float d = pulled<f>(widen(g[i]), f == Activation::identity ? 0 : widen(y[i]));
    if (kept) dz[i] = narrow<T>(d);
    if (summed) sums[i] += d;
  }
}

// Short rows are taken several at a time, as many as make whole vectors.
template <Activation f, typename T, bool kept, bool summed>
void pull_rows(const T* g, const T* y, T* dz, float* db, const Rows& at) {
  int64_t together = 1;
  while (together * at.columns % kLanes != 0) together *= 2;
  const bool joined = at.stride == at.columns && together * at.columns <= kSums;
  if (!joined) together = 1;
  float many[kSums] = {};
  float* sums = joined ? many : db;
  const auto pull_some = [&](int64_t row, int64_t columns) {
    const int64_t at_row = row * at.stride;
    pull_row<f, T, kept, summed>(g + at_row, y + at_row, kept ? dz + at_row : nullptr, sums,
                                 columns);
  };
  const int64_t whole = at.rows / together * together;
  for (int64_t row = 0; row < whole; row += together) pull_some(row, together * at.columns);
  for (int64_t row = whole; row < at.rows; ++row) pull_some(row, at.columns);
  if (summed && joined)
    for (int64_t i = 0; i < together * at.columns; ++i) db[i % at.columns] += many[i];
}

template <Activation f, typename T>
void pull_as(const T* g, const T* y, T* dz, float* db, const Rows& at) {
  if (dz && db) return pull_rows<f, T, true, true>(g, y, dz, db, at);
  if (dz) return pull_rows<f, T, true, false>(g, y, dz, db, at);
  if (db) return pull_rows<f, T, false, true>(g, y, dz, db, at);
}

template <typename T>
void pull(Activation f, const T* g, const T* y, T* dz, float* db, const Rows& at) {
  switch (f) {
    case Activation::identity: return pull_as<Activation::identity>(g, g, dz, db, at);
    case Activation::relu: return pull_as<Activation::relu>(g, y, dz, db, at);
    case Activation::sigmoid: return pull_as<Activation::sigmoid>(g, y, dz, db, at);
    case Activation::tanh: return pull_as<Activation::tanh>(g, y, dz, db, at);
    case Activation::lecun_tanh: return pull_as<Activation::lecun_tanh>(g, y, dz, db, at);
    case Activation::leaky_relu: return pull_as<Activation::leaky_relu>(g, y, dz, db, at);
    case Activation::elu: return pull_as<Activation::elu>(g, y, dz, db, at);
  }
}

}  // namespace

namespace deltarule::ISA {

extern const OutputTable outputs = {rectify<float>, rectify<bf16>, pull<float>, pull<bf16>};

}  // namespace deltarule::ISA
