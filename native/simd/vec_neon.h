// Four lanes: AArch64 NEON (part of the base instruction set, so no target region). Vocabulary: vec_common.h.
#pragma once
#include "simd/vec_common.h"
#include <arm_neon.h>

#define TERSOR_VEC_BEGIN
#define TERSOR_VEC_END

namespace tersor {
namespace simd {
namespace {

struct M32 {
  uint32x4_t v;
};
struct F32 {
  using element = float;
  static constexpr int lanes = 4;
  float32x4_t v;
  F32() = default;
  TERSOR_VEC_INLINE explicit F32(float x) : v(vdupq_n_f32(x)) {}
  TERSOR_VEC_INLINE explicit F32(float32x4_t x) : v(x) {}
};
struct I32 {
  int32x4_t v;
  I32() = default;
  TERSOR_VEC_INLINE explicit I32(int32_t x) : v(vdupq_n_s32(x)) {}
  TERSOR_VEC_INLINE explicit I32(int32x4_t x) : v(x) {}
};

TERSOR_VEC_INLINE I32 load(const int32_t* p) { return I32(vld1q_s32(p)); }
TERSOR_VEC_INLINE void store(int32_t* p, I32 a) { vst1q_s32(p, a.v); }
TERSOR_VEC_INLINE I32 lane_index() {
  const int32_t k[4] = {0, 1, 2, 3};
  return load(k);
}

TERSOR_VEC_INLINE F32 load(const float* p) { return F32(vld1q_f32(p)); }
TERSOR_VEC_INLINE void store(float* p, F32 a) { vst1q_f32(p, a.v); }
TERSOR_VEC_INLINE F32 load_part(const float* p, int64_t n) {
  if (n >= 4) return load(p);
  if (n == 3) return F32(vcombine_f32(vld1_f32(p), vld1_lane_f32(p + 2, vdup_n_f32(0), 0)));
  if (n == 2) return F32(vcombine_f32(vld1_f32(p), vdup_n_f32(0)));
  return n == 1 ? F32(vld1q_lane_f32(p, vdupq_n_f32(0), 0)) : F32(0.0f);
}
TERSOR_VEC_INLINE void store_part(float* p, F32 a, int64_t n) {
  if (n >= 4) return store(p, a);
  if (n >= 2) vst1_f32(p, vget_low_f32(a.v));
  if (n == 3) vst1q_lane_f32(p + 2, a.v, 2);
  if (n == 1) vst1q_lane_f32(p, a.v, 0);
}
TERSOR_VEC_INLINE F32 operator+(F32 a, F32 b) { return F32(vaddq_f32(a.v, b.v)); }
TERSOR_VEC_INLINE F32 operator-(F32 a, F32 b) { return F32(vsubq_f32(a.v, b.v)); }
TERSOR_VEC_INLINE F32 operator*(F32 a, F32 b) { return F32(vmulq_f32(a.v, b.v)); }
TERSOR_VEC_INLINE F32 operator/(F32 a, F32 b) { return F32(vdivq_f32(a.v, b.v)); }
TERSOR_VEC_INLINE F32 operator-(F32 a) { return F32(vnegq_f32(a.v)); }
TERSOR_VEC_INLINE F32 fma(F32 a, F32 b, F32 c) { return F32(vfmaq_f32(c.v, a.v, b.v)); }
TERSOR_VEC_INLINE F32 sqrt(F32 a) { return F32(vsqrtq_f32(a.v)); }
TERSOR_VEC_INLINE F32 abs(F32 a) { return F32(vabsq_f32(a.v)); }
TERSOR_VEC_INLINE F32 round_even(F32 a) { return F32(vrndnq_f32(a.v)); }
TERSOR_VEC_INLINE F32 floor(F32 a) { return F32(vrndmq_f32(a.v)); }
// vminq/vmaxq give NaN when either is NaN; the vocabulary wants b.
TERSOR_VEC_INLINE F32 min(F32 a, F32 b) { return F32(vbslq_f32(vcltq_f32(a.v, b.v), a.v, b.v)); }
TERSOR_VEC_INLINE F32 max(F32 a, F32 b) { return F32(vbslq_f32(vcgtq_f32(a.v, b.v), a.v, b.v)); }
TERSOR_VEC_INLINE M32 operator<(F32 a, F32 b) { return {vcltq_f32(a.v, b.v)}; }
TERSOR_VEC_INLINE M32 operator<=(F32 a, F32 b) { return {vcleq_f32(a.v, b.v)}; }
TERSOR_VEC_INLINE M32 operator>(F32 a, F32 b) { return {vcgtq_f32(a.v, b.v)}; }
TERSOR_VEC_INLINE M32 operator>=(F32 a, F32 b) { return {vcgeq_f32(a.v, b.v)}; }
TERSOR_VEC_INLINE M32 operator==(F32 a, F32 b) { return {vceqq_f32(a.v, b.v)}; }
TERSOR_VEC_INLINE M32 is_nan(F32 a) { return {vmvnq_u32(vceqq_f32(a.v, a.v))}; }
TERSOR_VEC_INLINE F32 select(M32 m, F32 a, F32 b) { return F32(vbslq_f32(m.v, a.v, b.v)); }

TERSOR_VEC_INLINE F32 keep_first(F32 a, int64_t n) {
  const uint32x4_t inside = vcltq_s32(lane_index().v, vdupq_n_s32(static_cast<int32_t>(n)));
  return F32(vreinterpretq_f32_u32(vandq_u32(vreinterpretq_u32_f32(a.v), inside)));
}

// The same tree as on the other instruction sets: lanes 0+2 and 1+3, then the two.
TERSOR_VEC_INLINE float sum_lanes(F32 a) {
  const float32x2_t d = vadd_f32(vget_low_f32(a.v), vget_high_f32(a.v));
  return vget_lane_f32(d, 0) + vget_lane_f32(d, 1);
}
TERSOR_VEC_INLINE float max_lanes(F32 a) {
  float t[4];
  store(t, a);
  const float x = t[0] > t[2] ? t[0] : t[2], y = t[1] > t[3] ? t[1] : t[3];
  return x > y ? x : y;
}
TERSOR_VEC_INLINE float min_lanes(F32 a) {
  float t[4];
  store(t, a);
  const float x = t[0] < t[2] ? t[0] : t[2], y = t[1] < t[3] ? t[1] : t[3];
  return x < y ? x : y;
}

TERSOR_VEC_INLINE I32 bits(F32 a) { return I32(vreinterpretq_s32_f32(a.v)); }
TERSOR_VEC_INLINE F32 as_float(I32 a) { return F32(vreinterpretq_f32_s32(a.v)); }
TERSOR_VEC_INLINE F32 to_float(I32 a) { return F32(vcvtq_f32_s32(a.v)); }
TERSOR_VEC_INLINE I32 operator+(I32 a, I32 b) { return I32(vaddq_s32(a.v, b.v)); }
TERSOR_VEC_INLINE I32 operator-(I32 a, I32 b) { return I32(vsubq_s32(a.v, b.v)); }
TERSOR_VEC_INLINE I32 operator&(I32 a, I32 b) { return I32(vandq_s32(a.v, b.v)); }
TERSOR_VEC_INLINE I32 operator|(I32 a, I32 b) { return I32(vorrq_s32(a.v, b.v)); }
TERSOR_VEC_INLINE I32 operator^(I32 a, I32 b) { return I32(veorq_s32(a.v, b.v)); }
TERSOR_VEC_INLINE I32 operator<<(I32 a, int n) { return I32(vshlq_s32(a.v, vdupq_n_s32(n))); }
TERSOR_VEC_INLINE I32 operator>>(I32 a, int n) { return I32(vshlq_s32(a.v, vdupq_n_s32(-n))); }
TERSOR_VEC_INLINE I32 shift_right_logical(I32 a, int n) { return I32(vreinterpretq_s32_u32(vshlq_u32(vreinterpretq_u32_s32(a.v), vdupq_n_s32(-n)))); }
TERSOR_VEC_INLINE I32 mul_low(I32 a, I32 b) { return I32(vmulq_s32(a.v, b.v)); }
TERSOR_VEC_INLINE I32 mul_high_unsigned(I32 a, I32 b) {
  const uint32x4_t x = vreinterpretq_u32_s32(a.v), y = vreinterpretq_u32_s32(b.v);
  const uint32x4_t lo = vreinterpretq_u32_u64(vmull_u32(vget_low_u32(x), vget_low_u32(y)));
  const uint32x4_t hi = vreinterpretq_u32_u64(vmull_high_u32(x, y));
  return I32(vreinterpretq_s32_u32(vuzp2q_u32(lo, hi)));
}
TERSOR_VEC_INLINE M32 operator==(I32 a, I32 b) { return {vceqq_s32(a.v, b.v)}; }
TERSOR_VEC_INLINE I32 select(M32 m, I32 a, I32 b) { return I32(vbslq_s32(m.v, a.v, b.v)); }
TERSOR_VEC_INLINE M32 operator&(M32 a, M32 b) { return {vandq_u32(a.v, b.v)}; }
TERSOR_VEC_INLINE M32 operator|(M32 a, M32 b) { return {vorrq_u32(a.v, b.v)}; }
TERSOR_VEC_INLINE M32 operator!(M32 a) { return {vmvnq_u32(a.v)}; }
TERSOR_VEC_INLINE M32 lanes_below(int64_t n) { return {vcltq_s32(lane_index().v, vdupq_n_s32(static_cast<int32_t>(n)))}; }
TERSOR_VEC_INLINE bool any(M32 a) { return vmaxvq_u32(a.v) != 0; }
TERSOR_VEC_INLINE uint32_t mask_bits(M32 a) {
  const uint32_t k[4] = {1, 2, 4, 8};
  return vaddvq_u32(vandq_u32(a.v, vld1q_u32(k)));
}
TERSOR_VEC_INLINE M32 mask_from_bits(uint32_t u) {
  const uint32_t k[4] = {1, 2, 4, 8};
  return {vtstq_u32(vdupq_n_u32(u), vld1q_u32(k))};
}
// vcvtnq saturates and turns NaN to 0; the vocabulary wants INT_MIN for all of these, as x86 has it.
TERSOR_VEC_INLINE I32 to_int(F32 a) {
  const M32 inside = (a >= F32(-2147483648.0f)) & (a < F32(2147483648.0f));
  return select(inside, I32(vcvtnq_s32_f32(a.v)), I32(INT32_MIN));
}

}  // namespace
}  // namespace simd
}  // namespace tersor
