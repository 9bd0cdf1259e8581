#include "simd/target.h"

#if TERSOR_ARCH_ARM64
#include "simd/vec_neon.h"

#include "kernels/elementwise/generic.h"

TERSOR_VEC_BEGIN
namespace tersor {
namespace {

// Eight elements; false, with nothing written, where a NaN is among them: the conversions of the processor would make it quiet.
struct NarrowF16 {
  using In = float;
  using Out = uint16_t;
  static TERSOR_VEC_INLINE bool block(const float* x, uint16_t* y) {
    const float32x4_t a = vld1q_f32(x), b = vld1q_f32(x + 4);
    if (vminvq_u32(vandq_u32(vceqq_f32(a, a), vceqq_f32(b, b))) == 0) return false;
    vst1q_u16(y, vreinterpretq_u16_f16(vcvt_high_f16_f32(vcvt_f16_f32(a), b)));
    return true;
  }
  static uint16_t one(float x) { return f16_from_f32(x); }
};
struct WidenF16 {
  using In = uint16_t;
  using Out = float;
  static TERSOR_VEC_INLINE bool block(const uint16_t* x, float* y) {
    const uint16x8_t h = vld1q_u16(x);
    if (vmaxvq_u16(vandq_u16(h, vdupq_n_u16(0x7fff))) > 0x7c00) return false;
    vst1q_f32(y, vcvt_f32_f16(vreinterpret_f16_u16(vget_low_u16(h))));
    vst1q_f32(y + 4, vcvt_high_f32_f16(vreinterpretq_f16_u16(h)));
    return true;
  }
  static float one(uint16_t x) { return f32_from_f16(x); }
};
struct NarrowBf16 {
  using In = float;
  using Out = uint16_t;
  static TERSOR_VEC_INLINE uint16x8_t rounded(float32x4_t x) {
    const uint32x4_t u = vreinterpretq_u32_f32(x), odd = vandq_u32(vshrq_n_u32(u, 16), vdupq_n_u32(1));
    return vreinterpretq_u16_u32(vaddq_u32(vaddq_u32(u, vdupq_n_u32(0x7fff)), odd));
  }
  static TERSOR_VEC_INLINE bool block(const float* x, uint16_t* y) {
    const float32x4_t a = vld1q_f32(x), b = vld1q_f32(x + 4);
    if (vminvq_u32(vandq_u32(vceqq_f32(a, a), vceqq_f32(b, b))) == 0) return false;
    vst1q_u16(y, vuzp2q_u16(rounded(a), rounded(b)));
    return true;
  }
  static uint16_t one(float x) { return bf16_from_f32(x); }
};
struct WidenBf16 {
  using In = uint16_t;
  using Out = float;
  static TERSOR_VEC_INLINE bool block(const uint16_t* x, float* y) {
    const uint16x8_t h = vld1q_u16(x);
    vst1q_f32(y, vreinterpretq_f32_u32(vshll_n_u16(vget_low_u16(h), 16)));
    vst1q_f32(y + 4, vreinterpretq_f32_u32(vshll_high_n_u16(h, 16)));
    return true;
  }
  static float one(uint16_t x) { return f32_from_bf16(x); }
};

template <class C> void convert_run(const ConvertArgs& a) {
  const typename C::In* x = static_cast<const typename C::In*>(a.x);
  typename C::Out* y = static_cast<typename C::Out*>(a.y);
  int64_t i = 0;
  for (; i + 8 <= a.n; i += 8)
    if (!C::block(x + i, y + i))
      for (int64_t j = i; j < i + 8; j++) y[j] = C::one(x[j]);
  for (; i < a.n; i++) y[i] = C::one(x[i]);
}

}  // namespace

void elementwise_unary_f32_4_neon(const UnaryArgs<float>& a) { unary_switch<simd::F32>(a); }
void elementwise_binary_f32_4_neon(const BinaryArgs<float>& a) { binary_switch<simd::F32>(a); }
void elementwise_convert_8_neon(const ConvertArgs& a) {
  switch (a.op) {
    case ConvertOp::f32_f16: return convert_run<NarrowF16>(a);
    case ConvertOp::f16_f32: return convert_run<WidenF16>(a);
    case ConvertOp::f32_bf16: return convert_run<NarrowBf16>(a);
    case ConvertOp::bf16_f32: return convert_run<WidenBf16>(a);
    default: return;
  }
}

}  // namespace tersor
TERSOR_VEC_END
#endif
