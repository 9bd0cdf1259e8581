// What the vector headers share. A kernel file includes exactly one vec_<isa>.h (which opens its own target region, so that every
// #include can stand before the kernel's), then simd/math.h, then its family's generic.h. Each of the three is fenced by
// TERSOR_VEC_BEGIN / TERSOR_VEC_END; everything in them has internal linkage.
//
// The vocabulary that a body written once may use (V = F32; L = F32::lanes):
//   V(1.0f) set all lanes · load(p) load_part(p, n) store(p, v) store_part(p, v, n): n of L lanes, the others read as 0, are not touched
//   + - * / unary -, fma(a, b, c) = a * b + c in one rounding, sqrt abs round_even floor, bits(v) as_float(i)
//   min(a, b) = a < b ? a : b and max(a, b) = a > b ? a : b: both give b when either is NaN
//   < <= > >= == (false on NaN), is_nan(v), select(mask, a, b), mask & | !, any(mask), mask_bits(mask), mask_from_bits(u),
//   lanes_below(n): the first n of L lanes (n <= L)
//   I32: + - & | ^, << n, >> n (arithmetic), shift_right_logical, mul_low, mul_high_unsigned, ==, to_int(v) (nearest even), to_float(i)
//   keep_first(v, n): lanes n and above become 0 (n <= L); V::element: float or double
//   sum_lanes(v) (halving tree), max_lanes(v), min_lanes(v)
// All of them give the same bits on every instruction set.
#pragma once
#include <cmath>
#include <cstdint>
#include <cstring>

#include "simd/target.h"

#if defined(__CUDACC__)  // one lane is one thread of a device (cuda/vec.h)
#define TERSOR_VEC_INLINE __host__ __device__ __forceinline__
#elif defined(_MSC_VER)
#define TERSOR_VEC_INLINE inline __forceinline
#else
#define TERSOR_VEC_INLINE inline __attribute__((always_inline))
#endif

// No load moves across: g++ 12 would load all operands of an unrolled step up front and spill sums for them.
#if defined(_MSC_VER)
#define TERSOR_LOAD_HERE
#else
#define TERSOR_LOAD_HERE __asm__ volatile("" ::: "memory")
#endif
