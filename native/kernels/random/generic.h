// The body, written once over the vector in scope.
#pragma once
#include "base/random.h"
#include "kernels/random/random.h"
#include "simd/math.h"

TERSOR_VEC_BEGIN
namespace tersor {
namespace {

TERSOR_VEC_INLINE simd::I32 word(uint32_t u) { return simd::I32(static_cast<int32_t>(u)); }

// Four words of the blocks whose counters are counter .. counter + lanes - 1 (no carry into the high half inside a group).
TERSOR_VEC_INLINE void philox_lanes(uint64_t counter, uint64_t stream, uint64_t key, simd::I32 out[4]) {
  using simd::I32;
  I32 c0 = word(static_cast<uint32_t>(counter)) + simd::lane_index(), c1 = word(static_cast<uint32_t>(counter >> 32));
  I32 c2 = word(static_cast<uint32_t>(stream)), c3 = word(static_cast<uint32_t>(stream >> 32));
  uint32_t k0 = static_cast<uint32_t>(key), k1 = static_cast<uint32_t>(key >> 32);
  const I32 m0 = word(kPhiloxM0), m1 = word(kPhiloxM1);
  for (int round = 0; round < kPhiloxRounds; round++) {
    const I32 hi0 = mul_high_unsigned(m0, c0), lo0 = mul_low(m0, c0), hi1 = mul_high_unsigned(m1, c2), lo1 = mul_low(m1, c2);
    c0 = hi1 ^ c1 ^ word(k0);
    c1 = lo1;
    c2 = hi0 ^ c3 ^ word(k1);
    c3 = lo0;
    k0 += kPhiloxW0;
    k1 += kPhiloxW1;
  }
  out[0] = c0;
  out[1] = c1;
  out[2] = c2;
  out[3] = c3;
}

TERSOR_VEC_INLINE void normal_pair(simd::I32 r0, simd::I32 r1, simd::F32* a, simd::F32* b) {
  using simd::F32;
  const F32 unit(5.9604644775390625e-08f);
  const F32 u = to_float(shift_right_logical(r0, 8) + simd::I32(1)) * unit;
  const F32 angle = to_float(shift_right_logical(r1, 8)) * F32(6.283185307f * 5.9604644775390625e-08f);
  const F32 radius = sqrt(F32(-2.0f) * log(u));
  F32 s, c;
  sin_cos(angle, &s, &c);
  *a = radius * c;
  *b = radius * s;
}

inline void random_group(const RandomArgs& a, int64_t group, float* y) {
  using simd::F32;
  for (int j = 0; j < 16; j += F32::lanes) {
    simd::I32 r[4];
    philox_lanes(static_cast<uint64_t>(group) * 16 + static_cast<uint64_t>(j), a.stream, a.seed, r);
    F32 v[4];
    if (a.normal) {
      normal_pair(r[0], r[1], &v[0], &v[1]);
      normal_pair(r[2], r[3], &v[2], &v[3]);
    } else {
      for (int k = 0; k < 4; k++) v[k] = to_float(shift_right_logical(r[k], 8)) * F32(5.9604644775390625e-08f);
    }
    for (int k = 0; k < 4; k++) simd::store(y + 16 * k + j, v[k]);
  }
}

inline void random_run(const RandomArgs& a) {
  int64_t i = 0;
  for (; i + kRandomGroup <= a.n; i += kRandomGroup) random_group(a, (a.first + i) / kRandomGroup, a.y + i);
  if (i == a.n) return;
  float last[kRandomGroup];
  random_group(a, (a.first + i) / kRandomGroup, last);
  for (int64_t j = i; j < a.n; j++) a.y[j] = last[j - i];
}

}  // namespace
}  // namespace tersor
TERSOR_VEC_END
