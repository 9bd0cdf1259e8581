// What the entries of the neural network families share: inputs as dense device memory, functions of f32 and f64, wide accesses.
#pragma once
#include <cmath>

#include "cuda/launch.h"
#include "cuda/numeric.h"

namespace tersor {
namespace cuda {

__device__ inline float exp_of(float x) { return expf(x); }
__device__ inline double exp_of(double x) { return exp(x); }
__device__ inline float log_of(float x) { return logf(x); }
__device__ inline double log_of(double x) { return log(x); }
__device__ inline float tanh_of(float x) { return tanhf(x); }
__device__ inline double tanh_of(double x) { return tanh(x); }
__device__ inline float sqrt_of(float x) { return sqrtf(x); }
__device__ inline double sqrt_of(double x) { return sqrt(x); }
__device__ inline float fma_of(float a, float b, float c) { return fmaf(a, b, c); }
__device__ inline double fma_of(double a, double b, double c) { return fma(a, b, c); }
template <class T> __device__ inline T sigmoid_of(T x) { return T(1) / (T(1) + exp_of(-x)); }
template <class T> __device__ inline T infinity() { return static_cast<T>(INFINITY); }

__device__ inline int64_t thread_index() { return static_cast<int64_t>(blockIdx.x) * blockDim.x + threadIdx.x; }

// Row-major elements of an input, on the device; null for one that was left out.
inline Status open_bytes(Stream& stream, const TensorRef& t, const uint8_t** out) {
  *out = nullptr;
  if (!t.present()) return {};
  TensorRef d;
  TERSOR_TRY(dense(stream, t, &d));
  *out = d.as<const uint8_t>();
  return {};
}
template <class T> Status open(Stream& stream, const TensorRef& t, const T** out) {
  const uint8_t* bytes;
  TERSOR_TRY(open_bytes(stream, t, &bytes));
  *out = reinterpret_cast<const T*>(bytes);
  return {};
}

// a / b and the rest for a >= 0, b > 0: by 32-bit numbers where they fit, which is several times faster.
struct Divided {
  int64_t q, r;
};
__device__ inline Divided divide(int64_t a, int64_t b) {
  if (((a | b) >> 32) == 0) {
    const uint32_t n = static_cast<uint32_t>(a), d = static_cast<uint32_t>(b), q = n / d;
    return {static_cast<int64_t>(q), static_cast<int64_t>(n - q * d)};
  }
  const int64_t q = a / b;
  return {q, a - q * b};
}
// a = ((plane) * rows + row) * columns + column
struct Place {
  int64_t plane, row, column;
};
__device__ inline Place place_in(int64_t a, int64_t rows, int64_t columns) {
  const Divided line = divide(a, columns), plane = divide(line.q, rows);
  return {plane.q, plane.r, line.r};
}

inline int64_t blocks_for(int64_t n, int64_t each = kThreads) { return (n + each - 1) / each; }

// Sixteen bytes of elements, moved as one when the pointer allows it.
template <class T> struct Pack : Vec<T, 16 / static_cast<int>(sizeof(T))> {
  static constexpr int kCount = 16 / static_cast<int>(sizeof(T));
};
inline bool is_aligned(const void* p) { return aligned(p, 16); }

// Elements i .. i + kCount of p, as far as n goes; what lies behind is 0.
template <class T> __device__ inline Pack<T> load_pack(const T* p, int64_t i, int64_t n, bool is_wide) {
  if (is_wide && i + Pack<T>::kCount <= n) return *reinterpret_cast<const Pack<T>*>(p + i);
  Pack<T> out;
  for (int k = 0; k < Pack<T>::kCount; k++) out.v[k] = i + k < n ? p[i + k] : T(0);
  return out;
}
template <class T> __device__ inline void store_pack(T* p, int64_t i, int64_t n, bool is_wide, const Pack<T>& x) {
  if (is_wide && i + Pack<T>::kCount <= n) {
    *reinterpret_cast<Pack<T>*>(p + i) = x;
    return;
  }
  for (int k = 0; k < Pack<T>::kCount; k++)
    if (i + k < n) p[i + k] = x.v[k];
}

// Four neighbours; floats lie at a multiple of 16 bytes.
template <class T> __device__ inline void load_quad(const T* p, T (&out)[4]) {
  TERSOR_UNROLL
  for (int i = 0; i < 4; i++) out[i] = p[i];
}
__device__ inline void load_quad(const float* p, float (&out)[4]) {
  const float4 v = *reinterpret_cast<const float4*>(p);
  out[0] = v.x, out[1] = v.y, out[2] = v.z, out[3] = v.w;
}

}  // namespace cuda
}  // namespace tersor
