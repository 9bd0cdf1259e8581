// Codes and vectors of 32-bit lanes, four lanes; to be included behind simd/vec_neon.h. n: how many, at least 1.
#pragma once
#include <cstring>

TERSOR_VEC_BEGIN
namespace tersor {
namespace {

// The low 8 bits of the first n lanes.
TERSOR_VEC_INLINE void store_bytes(void* p, simd::I32 v, int64_t n) {
  const uint16x4_t words = vmovn_u32(vreinterpretq_u32_s32(v.v));
  const uint8x8_t bytes = vmovn_u16(vcombine_u16(words, words));
  uint32_t four = vget_lane_u32(vreinterpret_u32_u8(bytes), 0);
  if (n >= simd::F32::lanes) {
    memcpy(p, &four, 4);
  } else {
    for (int64_t i = 0; i < n; i++, four >>= 8) static_cast<uint8_t*>(p)[i] = static_cast<uint8_t>(four);
  }
}
// n codes as integers in [0, 255]; lanes behind them are unspecified. Exactly n bytes are read.
TERSOR_VEC_INLINE simd::I32 load_bytes(const void* p, int64_t n) {
  uint32_t four = 0;
  memcpy(&four, p, static_cast<size_t>(n >= simd::F32::lanes ? simd::F32::lanes : n));
  const uint16x8_t words = vmovl_u8(vreinterpret_u8_u32(vdup_n_u32(four)));
  return simd::I32(vreinterpretq_s32_u32(vmovl_u16(vget_low_u16(words))));
}

}  // namespace
}  // namespace tersor
TERSOR_VEC_END
