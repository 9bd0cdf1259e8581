// One lane: the reference. F32 spells the vocabulary of vec_common.h in plain C++; F64 (also one lane) lets the same formulas serve
// doubles, with libm for the transcendental functions (simd/math.h).
#pragma once
#include "simd/vec_common.h"

#define TERSOR_VEC_BEGIN
#define TERSOR_VEC_END
#define TERSOR_VEC_SCALAR 1

namespace tersor {
namespace simd {
namespace {

struct M32 {
  bool v;
};
struct F32 {
  using element = float;
  static constexpr int lanes = 1;
  float v;
  F32() = default;
  TERSOR_VEC_INLINE explicit F32(float x) : v(x) {}
};
struct I32 {
  int32_t v;
  I32() = default;
  TERSOR_VEC_INLINE explicit I32(int32_t x) : v(x) {}
};
struct F64 {
  using element = double;
  static constexpr int lanes = 1;
  double v;
  F64() = default;
  TERSOR_VEC_INLINE explicit F64(double x) : v(x) {}
};

TERSOR_VEC_INLINE uint32_t u32_of(I32 a) { return static_cast<uint32_t>(a.v); }
TERSOR_VEC_INLINE I32 i32_of(uint32_t u) { return I32(static_cast<int32_t>(u)); }

#define TERSOR_SCALAR_FLOAT(V, T)                                                            \
  TERSOR_VEC_INLINE V load(const T* p) { return V(*p); }                                     \
  TERSOR_VEC_INLINE V load_part(const T* p, int64_t n) { return n > 0 ? V(*p) : V(0); }      \
  TERSOR_VEC_INLINE void store(T* p, V a) { *p = a.v; }                                      \
  TERSOR_VEC_INLINE void store_part(T* p, V a, int64_t n) { if (n > 0) *p = a.v; }           \
  TERSOR_VEC_INLINE V operator+(V a, V b) { return V(a.v + b.v); }                           \
  TERSOR_VEC_INLINE V operator-(V a, V b) { return V(a.v - b.v); }                           \
  TERSOR_VEC_INLINE V operator*(V a, V b) { return V(a.v * b.v); }                           \
  TERSOR_VEC_INLINE V operator/(V a, V b) { return V(a.v / b.v); }                           \
  TERSOR_VEC_INLINE V operator-(V a) { return V(-a.v); }                                     \
  TERSOR_VEC_INLINE V fma(V a, V b, V c) { return V(std::fma(a.v, b.v, c.v)); }              \
  TERSOR_VEC_INLINE V sqrt(V a) { return V(std::sqrt(a.v)); }                                \
  TERSOR_VEC_INLINE V abs(V a) { return V(std::fabs(a.v)); }                                 \
  TERSOR_VEC_INLINE V round_even(V a) { return V(std::nearbyint(a.v)); }                     \
  TERSOR_VEC_INLINE V floor(V a) { return V(std::floor(a.v)); }                              \
  TERSOR_VEC_INLINE V min(V a, V b) { return a.v < b.v ? a : b; }                            \
  TERSOR_VEC_INLINE V max(V a, V b) { return a.v > b.v ? a : b; }                            \
  TERSOR_VEC_INLINE M32 operator<(V a, V b) { return {a.v < b.v}; }                          \
  TERSOR_VEC_INLINE M32 operator<=(V a, V b) { return {a.v <= b.v}; }                        \
  TERSOR_VEC_INLINE M32 operator>(V a, V b) { return {a.v > b.v}; }                          \
  TERSOR_VEC_INLINE M32 operator>=(V a, V b) { return {a.v >= b.v}; }                        \
  TERSOR_VEC_INLINE M32 operator==(V a, V b) { return {a.v == b.v}; }                        \
  TERSOR_VEC_INLINE M32 is_nan(V a) { return {a.v != a.v}; }                                 \
  TERSOR_VEC_INLINE V select(M32 m, V a, V b) { return m.v ? a : b; }                        \
  TERSOR_VEC_INLINE V keep_first(V a, int64_t n) { return n > 0 ? a : V(0); }                 \
  TERSOR_VEC_INLINE T sum_lanes(V a) { return a.v; }                                         \
  TERSOR_VEC_INLINE T max_lanes(V a) { return a.v; }                                         \
  TERSOR_VEC_INLINE T min_lanes(V a) { return a.v; }
TERSOR_SCALAR_FLOAT(F32, float)
TERSOR_SCALAR_FLOAT(F64, double)
#undef TERSOR_SCALAR_FLOAT

TERSOR_VEC_INLINE I32 bits(F32 a) {
  int32_t i;
  memcpy(&i, &a.v, 4);
  return I32(i);
}
TERSOR_VEC_INLINE F32 as_float(I32 a) {
  float f;
  memcpy(&f, &a.v, 4);
  return F32(f);
}
// Out of range (and NaN) is INT_MIN, as x86 has it.
TERSOR_VEC_INLINE I32 to_int(F32 a) {
  const float r = std::nearbyint(a.v);
  return I32(r >= -2147483648.0f && r < 2147483648.0f ? static_cast<int32_t>(r) : INT32_MIN);
}
TERSOR_VEC_INLINE F32 to_float(I32 a) { return F32(static_cast<float>(a.v)); }
TERSOR_VEC_INLINE I32 load(const int32_t* p) { return I32(*p); }
TERSOR_VEC_INLINE void store(int32_t* p, I32 a) { *p = a.v; }
TERSOR_VEC_INLINE I32 operator+(I32 a, I32 b) { return i32_of(u32_of(a) + u32_of(b)); }
TERSOR_VEC_INLINE I32 operator-(I32 a, I32 b) { return i32_of(u32_of(a) - u32_of(b)); }
TERSOR_VEC_INLINE I32 operator&(I32 a, I32 b) { return I32(a.v & b.v); }
TERSOR_VEC_INLINE I32 operator|(I32 a, I32 b) { return I32(a.v | b.v); }
TERSOR_VEC_INLINE I32 operator^(I32 a, I32 b) { return I32(a.v ^ b.v); }
TERSOR_VEC_INLINE I32 operator<<(I32 a, int n) { return i32_of(u32_of(a) << n); }
TERSOR_VEC_INLINE I32 operator>>(I32 a, int n) { return I32(a.v >> n); }
TERSOR_VEC_INLINE I32 shift_right_logical(I32 a, int n) { return i32_of(u32_of(a) >> n); }
TERSOR_VEC_INLINE I32 mul_low(I32 a, I32 b) { return i32_of(u32_of(a) * u32_of(b)); }
TERSOR_VEC_INLINE I32 mul_high_unsigned(I32 a, I32 b) { return i32_of(static_cast<uint32_t>((static_cast<uint64_t>(u32_of(a)) * u32_of(b)) >> 32)); }
TERSOR_VEC_INLINE M32 operator==(I32 a, I32 b) { return {a.v == b.v}; }
TERSOR_VEC_INLINE I32 select(M32 m, I32 a, I32 b) { return m.v ? a : b; }
TERSOR_VEC_INLINE I32 lane_index() { return I32(0); }
TERSOR_VEC_INLINE M32 operator&(M32 a, M32 b) { return {a.v && b.v}; }
TERSOR_VEC_INLINE M32 operator|(M32 a, M32 b) { return {a.v || b.v}; }
TERSOR_VEC_INLINE M32 operator!(M32 a) { return {!a.v}; }
TERSOR_VEC_INLINE M32 lanes_below(int64_t n) { return {n > 0}; }
TERSOR_VEC_INLINE bool any(M32 a) { return a.v; }
TERSOR_VEC_INLINE uint32_t mask_bits(M32 a) { return a.v ? 1u : 0u; }
TERSOR_VEC_INLINE M32 mask_from_bits(uint32_t u) { return {(u & 1u) != 0}; }

}  // namespace
}  // namespace simd
}  // namespace tersor
