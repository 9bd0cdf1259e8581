// 2 x 2 maxima, four at a time: loads that part even and odd columns.
#include "kernels/pool/pool.h"
#include "simd/target.h"

#if TERSOR_ARCH_ARM64
#include <arm_neon.h>

namespace tersor {
namespace {

struct Best {
  float32x4_t value;
  uint32x4_t index;
};

// The first maximum wins, the first NaN over everything: v is taken unless v <= best or best is NaN.
inline Best better(Best best, float32x4_t v, uint32x4_t index) {
  const uint32x4_t take = vbicq_u32(vceqq_f32(best.value, best.value), vcleq_f32(v, best.value));
  return {vbslq_f32(take, v, best.value), vbslq_u32(take, index, best.index)};
}

}  // namespace

void pool_max2x2_f32_neon(const PoolArgs& a) {
  const uint32_t even[4] = {0, 2, 4, 6};
  const uint32x4_t twice = vld1q_u32(even), one = vdupq_n_u32(1), down = vdupq_n_u32(static_cast<uint32_t>(a.w));
  for (int64_t i = 0; i < a.ho; i++) {
    const float* top = static_cast<const float*>(a.x) + 2 * i * a.w;
    const float* low = top + a.w;
    float* y = static_cast<float*>(a.y) + i * a.wo;
    int32_t* index = a.index + i * a.wo;
    int64_t j = 0;
    for (; j + 4 <= a.wo; j += 4) {
      const uint32x4_t p = vaddq_u32(vdupq_n_u32(static_cast<uint32_t>(2 * i * a.w + 2 * j)), twice), q = vaddq_u32(p, down);
      const float32x4x2_t t = vld2q_f32(top + 2 * j), l = vld2q_f32(low + 2 * j);
      Best best = {t.val[0], p};
      best = better(best, t.val[1], vaddq_u32(p, one));
      best = better(best, l.val[0], q);
      best = better(best, l.val[1], vaddq_u32(q, one));
      vst1q_f32(y + j, best.value);
      vst1q_s32(index + j, vreinterpretq_s32_u32(best.index));
    }
    for (; j < a.wo; j++) {
      const float v[4] = {top[2 * j], top[2 * j + 1], low[2 * j], low[2 * j + 1]};
      int best = 0;
      for (int c = 1; c < 4; c++)
        if (!(v[c] <= v[best]) && v[best] == v[best]) best = c;
      y[j] = v[best];
      index[j] = static_cast<int32_t>(2 * i * a.w + 2 * j + (best & 1) + (best >> 1) * a.w);
    }
  }
}

}  // namespace tersor
#endif
