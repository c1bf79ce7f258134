// Curves of network/activations.py that take powers of e; between reading and writing all is float.
#include "activations.hpp"

#include "number_lanes.hpp"

namespace {

using deltarule::bf16;
using deltarule::Curve;
using deltarule::CurveKernels;

// Of the normal distribution: bell = e^(-z^2 / 2), and the share that lies below z. What lies
// beyond |z| is bell t P(t), t = 1 / (1 + c |z|), P a least squares fit like those of small_lanes.hpp.
struct Normal {
  Lanes bell, share;
  explicit Normal(Lanes z) {
    const Lanes square = 0.5f * (z * z);
    bell = pick(square > 87.0f, Lanes{}, exponential(-square));
    const Lanes t = 1.0f / (1.0f + 2.65165043e-1f * magnitude(z));
    Lanes p = t * 3.08483571e-2f - 1.44037936e-1f;
    p = p * t + 2.16947405e-1f;
    p = p * t - 1.15538804e-1f;
    p = p * t + 1.37422467e-1f;
    p = p * t + 6.05193115e-2f;
    p = p * t + 1.02715253e-1f;
    p = p * t + 1.05316744e-1f;
    p = p * t + 1.05807208e-1f;
    const Lanes beyond = bell * t * p;
    share = pick(z > 0.0f, 1.0f - beyond, beyond);
  }
};

constexpr float kBellHeight = 3.98942280e-1f;  // 1 / sqrt(2 pi)

struct Elu {
  static Lanes value(Lanes z) { return pick(z > 0.0f, z, exponential_less_one(z)); }
  static Lanes slope(Lanes z) { return pick(z > 0.0f, all(1), exponential(z)); }
};

struct Gelu {
  static Lanes value(Lanes z) { return z * Normal(z).share; }
  static Lanes slope(Lanes z) {
    const Normal normal(z);
    return normal.share + kBellHeight * (z * normal.bell);
  }
};

struct Softplus {  // max(z, 0) + ln(1 + e^-|z|)
  static Lanes value(Lanes z) {
    return pick(z > 0.0f, z, Lanes{}) + log_of_one_plus(exponential(-magnitude(z)));
  }
  static Lanes slope(Lanes z) { return logistic(z); }
};

// to = work(z, g), a vector at a time; what is left over is padded with zeros.
template <typename T, typename Work>
inline void each(const T* z, const T* g, T* to, int64_t count, Work work) {
  int64_t i = 0;
  for (; i + kLanes <= count; i += kLanes) write(to + i, work(read(z + i), read(g + i)));
  if (i == count) return;
  T last_z[kLanes] = {}, last_g[kLanes] = {};
  const size_t bytes = (count - i) * sizeof(T);
  memcpy(last_z, z + i, bytes);
  memcpy(last_g, g + i, bytes);
  write(last_z, work(read(last_z), read(last_g)));
  memcpy(to + i, last_z, bytes);
}

// Calls work(curve) with the functions of f.
template <typename Work>
inline void with(Curve f, Work work) {
  switch (f) {
    case Curve::elu: return work(Elu());
    case Curve::gelu: return work(Gelu());
    case Curve::softplus: return work(Softplus());
  }
}

template <typename T>
void value(Curve f, const T* z, T* y, int64_t count) {
  with(f, [&](auto curve) {
    each(z, z, y, count, [](Lanes z, Lanes) { return decltype(curve)::value(z); });
  });
}

template <typename T>
void pull(Curve f, const T* z, const T* g, T* dz, int64_t count) {
  with(f, [&](auto curve) {
    each(z, g, dz, count, [](Lanes z, Lanes g) { return g * decltype(curve)::slope(z); });
  });
}

template <typename T>
constexpr CurveKernels<T> kernels() {
  return {value<T>, pull<T>};
}

}  // namespace

namespace deltarule::ISA {

extern const CurveTable curves = {kernels<float>(), kernels<bf16>()};

}  // namespace deltarule::ISA
