// Finish and quantize, four lanes.
#include "simd/target.h"

#if TERSOR_ARCH_ARM64
#include "simd/vec_neon.h"

#include "kernels/qgemm/bytes_neon.h"

TERSOR_VEC_BEGIN
namespace tersor {
namespace {

using simd::I32;
constexpr int kLanes = simd::F32::lanes;
TERSOR_VEC_INLINE I32 high_mul(I32 a, I32 b) { return I32(vqrdmulhq_s32(a.v, b.v)); }  // saturates only where both are INT32_MIN
TERSOR_VEC_INLINE I32 shift_left(I32 a, I32 n) { return I32(vshlq_s32(a.v, n.v)); }
TERSOR_VEC_INLINE I32 shift_right(I32 a, I32 n) { return I32(vshlq_s32(a.v, vnegq_s32(n.v))); }
TERSOR_VEC_INLINE I32 min_int(I32 a, I32 b) { return I32(vminq_s32(a.v, b.v)); }
TERSOR_VEC_INLINE I32 max_int(I32 a, I32 b) { return I32(vmaxq_s32(a.v, b.v)); }
TERSOR_VEC_INLINE I32 load_ints(const int32_t* p, int64_t n) {
  if (n >= kLanes) return simd::load(p);
  const int32x2_t none = vdup_n_s32(0);
  if (n == 3) return I32(vcombine_s32(vld1_s32(p), vld1_lane_s32(p + 2, none, 0)));
  return I32(vcombine_s32(n == 2 ? vld1_s32(p) : vld1_lane_s32(p, none, 0), none));
}
TERSOR_VEC_INLINE void store_ints(int32_t* p, I32 v, int64_t n) {
  if (n >= kLanes) return simd::store(p, v);
  if (n >= 2) vst1_s32(p, vget_low_s32(v.v));
  if (n == 3) vst1q_lane_s32(p + 2, v.v, 2);
  if (n == 1) vst1q_lane_s32(p, v.v, 0);
}

}  // namespace
}  // namespace tersor
TERSOR_VEC_END

#include "kernels/qgemm/finish.h"

namespace tersor {
const QgemmWidth qgemm_width_neon = {finish_tile, quantize, dynamic};
}  // namespace tersor
#endif
