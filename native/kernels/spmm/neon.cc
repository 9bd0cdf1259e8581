// CSR and blocks x dense with 128-bit vectors: lanes loaded one by one for one row of x, 32 lanes of sums for panels.
#include "simd/target.h"

#if TERSOR_ARCH_ARM64
#include "simd/vec_neon.h"

TERSOR_VEC_BEGIN
namespace tersor {
namespace {

TERSOR_VEC_INLINE const float* at(const float* x, uint32_t column, uint32_t last) { return x + (column < last ? column : last); }
template <class C> TERSOR_VEC_INLINE simd::F32 gather(const float* x, const C* c, uint32_t last, int64_t n) {
  float32x4_t v = vdupq_n_f32(0);
  v = vld1q_lane_f32(at(x, static_cast<uint32_t>(c[0]), last), v, 0);
  if (n > 1) v = vld1q_lane_f32(at(x, static_cast<uint32_t>(c[1]), last), v, 1);
  if (n > 2) v = vld1q_lane_f32(at(x, static_cast<uint32_t>(c[2]), last), v, 2);
  if (n > 3) v = vld1q_lane_f32(at(x, static_cast<uint32_t>(c[3]), last), v, 3);
  return simd::F32(v);
}
TERSOR_VEC_INLINE simd::F32 values_of(const float* v, int64_t n) { return simd::load_part(v, n); }
TERSOR_VEC_INLINE simd::F32 values_of(const int8_t* v, int64_t n) {
  int32_t four = 0;
  memcpy(&four, v, n < 4 ? static_cast<size_t>(n) : 4);
  const int16x8_t words = vmovl_s8(vreinterpret_s8_s32(vdup_n_s32(four)));
  return simd::F32(vcvtq_f32_s32(vmovl_s16(vget_low_s16(words))));
}

TERSOR_VEC_INLINE simd::F32 quads(const float* p, int64_t) { return simd::load(p); }
TERSOR_VEC_INLINE simd::F32 low(simd::F32 a, simd::F32 b) { return simd::F32(vzip1q_f32(a.v, b.v)); }
TERSOR_VEC_INLINE simd::F32 high(simd::F32 a, simd::F32 b) { return simd::F32(vzip2q_f32(a.v, b.v)); }
TERSOR_VEC_INLINE simd::F32 low2(simd::F32 a, simd::F32 b) { return simd::F32(vcombine_f32(vget_low_f32(a.v), vget_low_f32(b.v))); }
TERSOR_VEC_INLINE simd::F32 high2(simd::F32 a, simd::F32 b) { return simd::F32(vcombine_f32(vget_high_f32(a.v), vget_high_f32(b.v))); }

inline uint32_t max_u16(const uint16_t* c, int64_t n) {
  uint16x8_t most = vdupq_n_u16(0);
  int64_t i = 0;
  for (; i + 8 <= n; i += 8) most = vmaxq_u16(most, vld1q_u16(c + i));
  uint32_t result = vmaxvq_u16(most);
  for (; i < n; i++) result = c[i] > result ? c[i] : result;
  return result;
}
inline uint32_t max_i32(const int32_t* c, int64_t n) {
  uint32x4_t most = vdupq_n_u32(0);
  int64_t i = 0;
  for (; i + 4 <= n; i += 4) most = vmaxq_u32(most, vreinterpretq_u32_s32(vld1q_s32(c + i)));
  uint32_t result = vmaxvq_u32(most);
  for (; i < n; i++) result = static_cast<uint32_t>(c[i]) > result ? static_cast<uint32_t>(c[i]) : result;
  return result;
}

}  // namespace
}  // namespace tersor
TERSOR_VEC_END

#include "kernels/spmm/generic.h"

TERSOR_VEC_BEGIN
namespace tersor {

void spmm_csr_1x32_neon(const SpmmArgs& s) { gather_types(s); }
void spmm_csr_1x32_neon_panel(const SpmmPanel& s) { panel(s); }
void spmm_csr_1x32_neon_transpose(const SpmmTranspose& s) { transpose(s); }
uint32_t spmm_csr_1x32_neon_max(const void* columns, bool wide, int64_t n) {
  return wide ? max_i32(static_cast<const int32_t*>(columns), n) : max_u16(static_cast<const uint16_t*>(columns), n);
}

}  // namespace tersor
TERSOR_VEC_END
#endif
