// Quantization of runs with 128-bit vectors.
#include "kernels/quant/quant.h"

#include <cmath>

#include "simd/target.h"

#if TERSOR_ARCH_ARM64
#include <arm_neon.h>

namespace tersor {
namespace {

// All ones where v is not a number.
inline uint32x4_t nans(float32x4_t v) { return vmvnq_u32(vceqq_f32(v, v)); }

// The first i below n with x[i] = NaN, given that there is one; for f(x) = NaN only where x is NaN or the result of NaN scales.
template <class Quotient> int64_t first_nan(const QuantArgs& a, Quotient quotient) {
  const float* x = static_cast<const float*>(a.in);
  int64_t i = 0;
  while (!std::isnan(quotient(a, x[i]))) i++;
  return i;
}
inline float scaled(const QuantArgs& a, float x) { return x / a.scale; }
inline double place(const QuantArgs& a, float x) { return (static_cast<double>(x) - a.origin) * a.inverse; }

// Four values -> four clamped, rounded integers.
inline int32x4_t rounded(float32x4_t x, float32x4_t scale, float32x4_t lo, float32x4_t hi, int32x4_t zero, uint32x4_t* nan) {
  const float32x4_t t = vdivq_f32(x, scale);
  *nan = vorrq_u32(*nan, nans(t));
  return vaddq_s32(vcvtnq_s32_f32(vminq_f32(vmaxnmq_f32(t, lo), hi)), zero);
}

inline int32_t bin_of(const QuantArgs& a, float x, double top, bool* nan) {
  double b = place(a, x);
  *nan = *nan || b != b;
  b = b > 0 ? b : 0;
  return static_cast<int32_t>(b < top ? b : top);
}

// Smallest and largest of n values.
void range(const float* x, int64_t n, float* lo_out, float* hi_out) {
  float32x4_t lo[4], hi[4];
  uint32x4_t nan = vdupq_n_u32(0);
  for (int j = 0; j < 4; j++) lo[j] = vdupq_n_f32(INFINITY), hi[j] = vdupq_n_f32(-INFINITY);
  int64_t i = 0;
  for (; i + 16 <= n; i += 16)
    for (int j = 0; j < 4; j++) {
      const float32x4_t v = vld1q_f32(x + i + 4 * j);
      nan = vorrq_u32(nan, nans(v));
      lo[j] = vminq_f32(v, lo[j]);
      hi[j] = vmaxq_f32(v, hi[j]);
    }
  for (; i + 4 <= n; i += 4) {
    const float32x4_t v = vld1q_f32(x + i);
    nan = vorrq_u32(nan, nans(v));
    lo[0] = vminq_f32(v, lo[0]);
    hi[0] = vmaxq_f32(v, hi[0]);
  }
  bool bad = vmaxvq_u32(nan) != 0;
  float l = vminvq_f32(vminq_f32(vminq_f32(lo[0], lo[1]), vminq_f32(lo[2], lo[3])));
  float h = vmaxvq_f32(vmaxq_f32(vmaxq_f32(hi[0], hi[1]), vmaxq_f32(hi[2], hi[3])));
  for (; i < n; i++) {
    bad = bad || x[i] != x[i];
    l = x[i] < l ? x[i] : l;
    h = x[i] > h ? x[i] : h;
  }
  *lo_out = bad ? NAN : l;
  *hi_out = bad ? NAN : h;
}

}  // namespace

int64_t quant_range_f32_neon(QuantArgs& a) {
  for (int64_t r = 0; r < a.runs; r++) range(static_cast<const float*>(a.in) + r * a.n, a.n, a.lo + r, a.hi + r);
  return -1;
}

int64_t quant_quantize_f32_neon(QuantArgs& a) {
  const float* x = static_cast<const float*>(a.in);
  int8_t* q = static_cast<int8_t*>(a.out);
  const float32x4_t lo = vdupq_n_f32(a.qmin - a.zero), hi = vdupq_n_f32(a.qmax - a.zero), scale = vdupq_n_f32(a.scale);
  const int32x4_t zero = vdupq_n_s32(static_cast<int32_t>(a.zero));
  uint32x4_t nan = vdupq_n_u32(0);
  int64_t i = 0;
  for (; i + 16 <= a.n; i += 16) {
    int32x4_t r[4];
    for (int j = 0; j < 4; j++) r[j] = rounded(vld1q_f32(x + i + 4 * j), scale, lo, hi, zero, &nan);
    const int16x8_t low = vcombine_s16(vmovn_s32(r[0]), vmovn_s32(r[1])), high = vcombine_s16(vmovn_s32(r[2]), vmovn_s32(r[3]));
    vst1q_s8(q + i, vcombine_s8(vmovn_s16(low), vmovn_s16(high)));
  }
  for (; i < a.n; i++) q[i] = static_cast<int8_t>(vgetq_lane_s32(rounded(vdupq_n_f32(x[i]), scale, lo, hi, zero, &nan), 0));
  return vmaxvq_u32(nan) ? first_nan(a, scaled) : -1;
}

int64_t quant_dequantize_f32_neon(QuantArgs& a) {
  const int8_t* q = static_cast<const int8_t*>(a.in);
  float* x = static_cast<float*>(a.out);
  const float32x4_t zero = vdupq_n_f32(a.zero), scale = vdupq_n_f32(a.scale);
  int64_t i = 0;
  for (; i + 8 <= a.n; i += 8) {
    const int16x8_t words = vmovl_s8(vld1_s8(q + i));
    const float32x4_t low = vcvtq_f32_s32(vmovl_s16(vget_low_s16(words))), high = vcvtq_f32_s32(vmovl_high_s16(words));
    vst1q_f32(x + i, vmulq_f32(vsubq_f32(low, zero), scale));
    vst1q_f32(x + i + 4, vmulq_f32(vsubq_f32(high, zero), scale));
  }
  for (; i < a.n; i++) x[i] = (static_cast<float>(q[i]) - a.zero) * a.scale;
  return -1;
}

int64_t quant_pack4_neon(QuantArgs& a) {
  const int8_t* q = static_cast<const int8_t*>(a.in);
  uint8_t* out = static_cast<uint8_t*>(a.out);
  const uint8x16_t eight = vdupq_n_u8(8);
  int64_t i = 0;
  for (; i + 32 <= a.n; i += 32) {
    const uint8x16x2_t v = vld2q_u8(reinterpret_cast<const uint8_t*>(q + i));
    const uint8x16_t even = vaddq_u8(v.val[0], eight), odd = vaddq_u8(v.val[1], eight);
    if (vmaxvq_u8(vorrq_u8(even, odd)) > 15) break;  // below, the first value that does not fit is found
    vst1q_u8(out + i / 2, vsliq_n_u8(even, odd, 4));
  }
  for (; i < a.n; i += 2) {
    const unsigned u = static_cast<unsigned>(q[i] + 8), v = static_cast<unsigned>(q[i + 1] + 8);
    if ((u | v) > 15) return u > 15 ? i : i + 1;
    out[i / 2] = static_cast<uint8_t>(u | v << 4);
  }
  return -1;
}

int64_t quant_unpack4_neon(QuantArgs& a) {
  const uint8_t* in = static_cast<const uint8_t*>(a.in);
  int8_t* q = static_cast<int8_t*>(a.out);
  const uint8x16_t low = vdupq_n_u8(15), eight = vdupq_n_u8(8);
  int64_t i = 0;
  for (; i + 32 <= a.n; i += 32) {
    const uint8x16_t v = vld1q_u8(in + i / 2);
    vst2q_u8(reinterpret_cast<uint8_t*>(q + i), (uint8x16x2_t{{vsubq_u8(vandq_u8(v, low), eight), vsubq_u8(vshrq_n_u8(v, 4), eight)}}));
  }
  for (; i < a.n; i += 2) {
    q[i] = static_cast<int8_t>((in[i / 2] & 15) - 8);
    q[i + 1] = static_cast<int8_t>((in[i / 2] >> 4) - 8);
  }
  return -1;
}

int64_t quant_bins_f32_neon(QuantArgs& a) {
  const float* x = static_cast<const float*>(a.in);
  int32_t* out = static_cast<int32_t*>(a.out);
  const double top = a.bins - 1;
  const float64x2_t origin = vdupq_n_f64(a.origin), inverse = vdupq_n_f64(a.inverse), last = vdupq_n_f64(top), none = vdupq_n_f64(0);
  uint64x2_t ordered = vdupq_n_u64(~uint64_t(0));
  int64_t i = 0;
  for (; i + 4 <= a.n; i += 4) {
    const float32x4_t v = vld1q_f32(x + i);
    int64x2_t part[2];
    for (int h = 0; h < 2; h++) {
      const float64x2_t b = vmulq_f64(vsubq_f64(h ? vcvt_high_f64_f32(v) : vcvt_f64_f32(vget_low_f32(v)), origin), inverse);
      ordered = vandq_u64(ordered, vceqq_f64(b, b));
      part[h] = vcvtq_s64_f64(vminq_f64(vmaxnmq_f64(b, none), last));  // maxnm: NaN becomes 0; b >= 0: truncation is floor
    }
    vst1q_s32(out + i, vcombine_s32(vmovn_s64(part[0]), vmovn_s64(part[1])));
  }
  bool nan = (vgetq_lane_u64(ordered, 0) & vgetq_lane_u64(ordered, 1)) != ~uint64_t(0);
  for (; i < a.n; i++) out[i] = bin_of(a, x[i], top, &nan);
  return nan ? first_nan(a, place) : -1;
}

}  // namespace tersor
#endif
