// CUDA's words for g++: kernel source compiles as plain C++ and runs on emulate/machine.h. Only what device.h names is here.
#pragma once
#include <cmath>
#include <cstdint>
#include <cstring>

#include "cuda/emulate/machine.h"
#include "cuda/emulate/warp.h"

#define __global__ static
#define __device__
#define __host__
#define __constant__ static const
#define __forceinline__ inline __attribute__((always_inline))
#define __launch_bounds__(...)
#define __grid_constant__
#define __align__(n) alignas(n)

#define threadIdx (::tersor::emulate::machine.current->thread)
#define blockIdx (::tersor::emulate::machine.block)
#define blockDim (::tersor::emulate::machine.threads)
#define gridDim (::tersor::emulate::machine.grid)

// One array a block; the address of a local static tells the place (each instance of a template has its own).
#define TERSOR_SHARED(type, name, count)                                                          \
  static const char name##_place = 0;                                                             \
  type* const name = static_cast<type*>(::tersor::emulate::shared_array(&name##_place, sizeof(type) * (count), #name))

namespace tersor {
namespace cuda {
template <class T> T* shared_memory() { return static_cast<T*>(emulate::machine.dynamic_shared()); }
}  // namespace cuda
}  // namespace tersor

#define TERSOR_VECTOR2(name, type, align) \
  struct alignas(align) name {            \
    type x, y;                            \
  };                                      \
  inline name make_##name(type x, type y) { return {x, y}; }
#define TERSOR_VECTOR4(name, type, align) \
  struct alignas(align) name {            \
    type x, y, z, w;                      \
  };                                      \
  inline name make_##name(type x, type y, type z, type w) { return {x, y, z, w}; }
TERSOR_VECTOR2(float2, float, 8)
TERSOR_VECTOR2(int2, int, 8)
TERSOR_VECTOR2(uint2, unsigned, 8)
TERSOR_VECTOR2(double2, double, 16)
TERSOR_VECTOR2(longlong2, long long, 16)
TERSOR_VECTOR2(ushort2, unsigned short, 4)
TERSOR_VECTOR2(short2, short, 4)
TERSOR_VECTOR4(float4, float, 16)
TERSOR_VECTOR4(int4, int, 16)
TERSOR_VECTOR4(uint4, unsigned, 16)
TERSOR_VECTOR4(ushort4, unsigned short, 8)
TERSOR_VECTOR4(short4, short, 8)
TERSOR_VECTOR4(char4, signed char, 4)
TERSOR_VECTOR4(uchar4, unsigned char, 4)
#undef TERSOR_VECTOR2
#undef TERSOR_VECTOR4

// --- bits and arithmetic ---
template <class To, class From> inline To tersor_bits_as(From from) {
  static_assert(sizeof(To) == sizeof(From), "sizes differ");
  To to;
  memcpy(&to, &from, sizeof to);
  return to;
}
inline int __float_as_int(float f) { return tersor_bits_as<int>(f); }
inline unsigned __float_as_uint(float f) { return tersor_bits_as<unsigned>(f); }
inline float __int_as_float(int i) { return tersor_bits_as<float>(i); }
inline float __uint_as_float(unsigned u) { return tersor_bits_as<float>(u); }
inline long long __double_as_longlong(double d) { return tersor_bits_as<long long>(d); }
inline double __longlong_as_double(long long i) { return tersor_bits_as<double>(i); }
inline int __popc(unsigned u) { return __builtin_popcount(u); }
inline int __popcll(unsigned long long u) { return __builtin_popcountll(u); }
inline int __clz(int i) { return i ? __builtin_clz(static_cast<unsigned>(i)) : 32; }
inline int __clzll(long long i) { return i ? __builtin_clzll(static_cast<unsigned long long>(i)) : 64; }
inline int __ffs(int i) { return __builtin_ffs(i); }
inline int __ffsll(long long i) { return __builtin_ffsll(i); }
inline unsigned __brev(unsigned u) {
  unsigned r = 0;
  for (int i = 0; i < 32; i++) r |= ((u >> i) & 1u) << (31 - i);
  return r;
}
inline unsigned __byte_perm(unsigned a, unsigned b, unsigned s) {
  const uint64_t bytes = static_cast<uint64_t>(b) << 32 | a;
  unsigned r = 0;
  for (int i = 0; i < 4; i++) {
    const unsigned pick = s >> (4 * i) & 15u;
    unsigned byte = static_cast<unsigned>(bytes >> (8 * (pick & 7u))) & 255u;
    if (pick & 8u) byte = byte & 128u ? 255u : 0u;
    r |= byte << (8 * i);
  }
  return r;
}
inline unsigned __umulhi(unsigned a, unsigned b) { return static_cast<unsigned>(static_cast<uint64_t>(a) * b >> 32); }
inline int __mulhi(int a, int b) { return static_cast<int>(static_cast<int64_t>(a) * b >> 32); }
inline unsigned long long __umul64hi(unsigned long long a, unsigned long long b) {
  return static_cast<unsigned long long>(static_cast<unsigned __int128>(a) * b >> 64);
}
inline unsigned __funnelshift_r(unsigned lo, unsigned hi, unsigned n) {
  return static_cast<unsigned>((static_cast<uint64_t>(hi) << 32 | lo) >> (n & 31u));
}
inline float rsqrtf(float x) { return 1.0f / sqrtf(x); }
inline float __fdividef(float a, float b) { return a / b; }
inline float __fmaf_rn(float a, float b, float c) { return fmaf(a, b, c); }
inline float __fadd_rn(float a, float b) { return a + b; }
inline float __fmul_rn(float a, float b) { return a * b; }
inline int __float2int_rn(float x) {
  const float r = nearbyintf(x);
  return !(r == r) ? 0 : r >= 2147483648.0f ? INT32_MAX : r < -2147483648.0f ? INT32_MIN : static_cast<int>(r);
}
inline int __float2int_rz(float x) {
  return !(x == x) ? 0 : x >= 2147483648.0f ? INT32_MAX : x < -2147483648.0f ? INT32_MIN : static_cast<int>(x);
}
inline float __int2float_rn(int i) { return static_cast<float>(i); }

template <class T> inline T __ldg(const T* p) { return *p; }
template <class T> inline T __ldcs(const T* p) { return *p; }
template <class T> inline T __ldcg(const T* p) { return *p; }
template <class T> inline void __stcs(T* p, T v) { *p = v; }
template <class T> inline void __stcg(T* p, T v) { *p = v; }
inline void __threadfence() {}
inline void __threadfence_block() {}
inline void __nanosleep(unsigned) {}
inline long long clock64() { return 0; }
[[noreturn]] inline void __trap() { tersor::emulate::stop("__trap", __builtin_LINE()); }

// min and max of device code, for one type as CUDA overloads them.
inline int min(int a, int b) { return a < b ? a : b; }
inline int max(int a, int b) { return a > b ? a : b; }
inline unsigned min(unsigned a, unsigned b) { return a < b ? a : b; }
inline unsigned max(unsigned a, unsigned b) { return a > b ? a : b; }
inline long min(long a, long b) { return a < b ? a : b; }
inline long max(long a, long b) { return a > b ? a : b; }
inline unsigned long min(unsigned long a, unsigned long b) { return a < b ? a : b; }
inline unsigned long max(unsigned long a, unsigned long b) { return a > b ? a : b; }
inline long long min(long long a, long long b) { return a < b ? a : b; }
inline long long max(long long a, long long b) { return a > b ? a : b; }
inline unsigned long long min(unsigned long long a, unsigned long long b) { return a < b ? a : b; }
inline unsigned long long max(unsigned long long a, unsigned long long b) { return a > b ? a : b; }

// --- atomics: fibers give way only at barriers and warp collectives, so plain code is atomic ---
template <class T> struct TersorSame { using type = T; };
template <class T> using tersor_same = typename TersorSame<T>::type;
#define TERSOR_ATOMIC(name, expression)                          \
  template <class T> inline T name(T* p, tersor_same<T> v) {     \
    const T old = *p;                                            \
    *p = static_cast<T>(expression);                             \
    return old;                                                  \
  }
TERSOR_ATOMIC(atomicAdd, old + v)
TERSOR_ATOMIC(atomicSub, old - v)
TERSOR_ATOMIC(atomicMax, old > v ? old : v)
TERSOR_ATOMIC(atomicMin, old < v ? old : v)
TERSOR_ATOMIC(atomicExch, v)
TERSOR_ATOMIC(atomicAnd, old & v)
TERSOR_ATOMIC(atomicOr, old | v)
TERSOR_ATOMIC(atomicXor, old ^ v)
TERSOR_ATOMIC(atomicInc, old >= v ? T(0) : old + 1)
#undef TERSOR_ATOMIC
template <class T> inline T atomicCAS(T* p, tersor_same<T> compare, tersor_same<T> v) {
  const T old = *p;
  if (old == compare) *p = v;
  return old;
}

// --- barriers of a block; the line says where, so that threads which meet at different barriers are found out ---
inline void __syncthreads(int line = __builtin_LINE()) { tersor::emulate::barrier(line, 0); }
inline int __syncthreads_count(int predicate, int line = __builtin_LINE()) { return tersor::emulate::barrier(line, predicate != 0); }
inline int __syncthreads_or(int predicate, int line = __builtin_LINE()) { return tersor::emulate::barrier(line, predicate != 0) > 0; }
inline int __syncthreads_and(int predicate, int line = __builtin_LINE()) { return tersor::emulate::barrier(line, predicate == 0) == 0; }
