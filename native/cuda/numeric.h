// Element types on the device: 16-bit floats are bits (uint16_t), converted as base/float16.h does (nearest even, NaN payloads kept), by the device's own
// instruction where no NaN is involved; vectors of elements for wide loads and stores; exact division by numbers that the host knows.
#pragma once
#include "base/dtype.h"
#include "base/float16.h"
#include "cuda/device.h"

namespace tersor {
namespace cuda {

#if defined(TERSOR_CUDA_EMULATE)
inline float widen_f16(uint16_t h) { return f32_from_f16(h); }
inline uint16_t narrow_f16(float f) { return f16_from_f32(f); }
inline float widen_bf16(uint16_t h) { return f32_from_bf16(h); }
inline uint16_t narrow_bf16(float f) { return bf16_from_f32(f); }
#else
__device__ __forceinline__ float widen_f16(uint16_t h) {
  float f;
  asm("cvt.f32.f16 %0, %1;" : "=f"(f) : "h"(h));
  const uint32_t nan = (static_cast<uint32_t>(h & 0x7fffu) << 13) | 0x7f800000u | static_cast<uint32_t>(h & 0x8000u) << 16;
  return (h & 0x7fffu) > 0x7c00u ? __uint_as_float(nan) : f;
}
__device__ __forceinline__ uint16_t narrow_f16(float f) {
  uint16_t h;
  asm("cvt.rn.f16.f32 %0, %1;" : "=h"(h) : "f"(f));
  const uint32_t u = __float_as_uint(f), payload = (u >> 13) & 0x3ffu;
  const uint32_t nan = 0x7c00u | payload | (payload == 0 ? 0x200u : 0u) | (u >> 16 & 0x8000u);
  return f != f ? static_cast<uint16_t>(nan) : h;
}
__device__ __forceinline__ float widen_bf16(uint16_t h) { return __uint_as_float(static_cast<uint32_t>(h) << 16); }
__device__ __forceinline__ uint16_t narrow_bf16(float f) {  // integer arithmetic: sm_75 has no instruction for it
  const uint32_t u = __float_as_uint(f), top = u >> 16;
  const uint32_t nan = top | ((top & 0x7fu) == 0 ? 0x40u : 0u);
  return static_cast<uint16_t>(f != f ? nan : (u + 0x7fffu + (top & 1u)) >> 16);
}
#endif

// How an element is stored and computed with.
template <DType D> struct Number;
template <> struct Number<DType::f32> {
  using Storage = float;
  using Value = float;
  static __device__ __forceinline__ float read(float v) { return v; }
  static __device__ __forceinline__ float write(float v) { return v; }
};
template <> struct Number<DType::f64> {
  using Storage = double;
  using Value = double;
  static __device__ __forceinline__ double read(double v) { return v; }
  static __device__ __forceinline__ double write(double v) { return v; }
};
template <> struct Number<DType::f16> {
  using Storage = uint16_t;
  using Value = float;
  static __device__ __forceinline__ float read(uint16_t v) { return widen_f16(v); }
  static __device__ __forceinline__ uint16_t write(float v) { return narrow_f16(v); }
};
template <> struct Number<DType::bf16> {
  using Storage = uint16_t;
  using Value = float;
  static __device__ __forceinline__ float read(uint16_t v) { return widen_bf16(v); }
  static __device__ __forceinline__ uint16_t write(float v) { return narrow_bf16(v); }
};

// W elements in one access: 16 bytes where the address allows it.
template <class T, int W> struct alignas(sizeof(T) * W) Vec {
  T v[W];
};
template <class T, int W> __device__ __forceinline__ Vec<T, W> load_vec(const T* p) { return *reinterpret_cast<const Vec<T, W>*>(p); }
template <class T, int W> __device__ __forceinline__ void store_vec(T* p, const Vec<T, W>& v) { *reinterpret_cast<Vec<T, W>*>(p) = v; }
inline bool aligned(const void* p, int64_t bytes) { return reinterpret_cast<uintptr_t>(p) % static_cast<uintptr_t>(bytes) == 0; }

// n / d for 0 <= n < 2^31, 1 <= d < 2^31, by a multiplication (Granlund, Montgomery, PLDI 1994, figure 4.1).
struct FastDivide {
  uint32_t d = 1, multiplier = 0, shift = 0;
  FastDivide() = default;
  explicit FastDivide(uint32_t divisor) : d(divisor) {
    while ((uint64_t(1) << shift) < d) shift++;
    multiplier = static_cast<uint32_t>(((uint64_t(1) << 32) * ((uint64_t(1) << shift) - d)) / d + 1);
  }
  __host__ __device__ __forceinline__ uint32_t quotient(uint32_t n) const {
#if defined(__CUDA_ARCH__)
    const uint32_t high = __umulhi(multiplier, n);
#else
    const uint32_t high = static_cast<uint32_t>(static_cast<uint64_t>(multiplier) * n >> 32);
#endif
    return (high + n) >> shift;
  }
};

}  // namespace cuda
}  // namespace tersor
