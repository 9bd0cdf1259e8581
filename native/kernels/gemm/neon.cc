// f32 matrix product, 6 x 16 register tile: 24 accumulators, 4 vectors of B, 6 values of A multiplied by element (fmla by element: no broadcasts,
// 6 loads for 24 multiply-adds). That form wants the values of one column of A side by side: so they lie when A is transposed; else the strip
// is copied when enough panels will read the copy. Edges take the body shared by all instruction sets. Both forms add in the order of k, so they
// give the same bits.
#include "simd/target.h"

#if TERSOR_ARCH_ARM64
#include "simd/vec_neon.h"

#define TERSOR_GEMM_NV 4
#define TERSOR_GEMM_PANELS 1
#define TERSOR_GEMM_TALLEST 6
#define TERSOR_GEMM_HEIGHTS(X) X(6) X(5) X(4) X(3) X(2) X(1)
#include "kernels/gemm/generic.h"

namespace tersor {
namespace {

constexpr int64_t kCopyDepth = 256, kCopyPanels = 4;

TERSOR_VEC_INLINE void one_k(float32x4_t (&acc)[6][4], const float* a, const float* from) {
  const float32x4_t top = vld1q_f32(a);
  const float32x2_t low = vld1_f32(a + 4);
#pragma GCC unroll 4
  for (int v = 0; v < 4; v++) {
    const float32x4_t b = vld1q_f32(from + 4 * v);
    acc[0][v] = vfmaq_laneq_f32(acc[0][v], b, top, 0);
    acc[1][v] = vfmaq_laneq_f32(acc[1][v], b, top, 1);
    acc[2][v] = vfmaq_laneq_f32(acc[2][v], b, top, 2);
    acc[3][v] = vfmaq_laneq_f32(acc[3][v], b, top, 3);
    acc[4][v] = vfmaq_lane_f32(acc[4][v], b, low, 0);
    acc[5][v] = vfmaq_lane_f32(acc[5][v], b, low, 1);
  }
}

// 6 x 16 of C at column j; a + k * a_step holds the 6 values of column k of A.
template <bool OFFSET> void full_tile(const GemmStrip<float>& s, const float* a, int64_t a_step, const float* b, int64_t j) {
  float32x4_t acc[6][4];
  float* const c = s.c + j;
#pragma GCC unroll 6
  for (int i = 0; i < 6; i++)
#pragma GCC unroll 4
    for (int v = 0; v < 4; v++)
      acc[i][v] = s.accumulate ? vld1q_f32(c + i * s.c_row + v * 4)
                  : s.bias_n   ? vld1q_f32(s.bias_n + j + v * 4)
                  : s.bias_m   ? vdupq_n_f32(s.bias_m[i])
                               : vdupq_n_f32(0);
  const int64_t step = s.b_row;
  if (OFFSET) {
    const int64_t* offset = s.offset;
    for (int64_t k = s.k; k > 0; k--, a += a_step) one_k(acc, a, b + *offset++);
  } else {
    for (int64_t k = s.k; k > 0; k--, a += a_step, b += step) one_k(acc, a, b);
  }
#pragma GCC unroll 6
  for (int i = 0; i < 6; i++)
#pragma GCC unroll 4
    for (int v = 0; v < 4; v++) vst1q_f32(c + i * s.c_row + v * 4, acc[i][v]);
}

// Four rows of four to four columns: r[i] lane j -> out + j * step, lane i.
TERSOR_VEC_INLINE void transpose(const float32x4_t (&r)[4], float* out, int64_t step) {
  const float32x4_t t0 = vtrn1q_f32(r[0], r[1]), t1 = vtrn2q_f32(r[0], r[1]), t2 = vtrn1q_f32(r[2], r[3]), t3 = vtrn2q_f32(r[2], r[3]);
  vst1q_f32(out, vcombine_f32(vget_low_f32(t0), vget_low_f32(t2)));
  vst1q_f32(out + step, vcombine_f32(vget_low_f32(t1), vget_low_f32(t3)));
  vst1q_f32(out + 2 * step, vcombine_f32(vget_high_f32(t0), vget_high_f32(t2)));
  vst1q_f32(out + 3 * step, vcombine_f32(vget_high_f32(t1), vget_high_f32(t3)));
}

// One packed panel of a transposed B: out[k * 16 + j] = b[j * b_row + k], j < n; 0 for n <= j < 16.
void pack_panel(const float* b, int64_t b_row, int64_t k, int n, float* out) {
  const int live = n / 4 * 4;
  int64_t p = 0;
  for (; p + 4 <= k; p += 4)
    for (int j = 0; j < live; j += 4) {
      const float* from = b + j * b_row + p;
      const float32x4_t r[4] = {vld1q_f32(from), vld1q_f32(from + b_row), vld1q_f32(from + 2 * b_row), vld1q_f32(from + 3 * b_row)};
      transpose(r, out + p * kWidth + j, kWidth);
    }
  for (int64_t q = 0; q < k; q++) {
    for (int j = q < p ? live : 0; j < n; j++) out[q * kWidth + j] = b[j * b_row + q];
    for (int j = n; j < kWidth; j++) out[q * kWidth + j] = 0.0f;
  }
}

// Six rows of A to columns: out[k * 6 + i] = a[i * a_row + k].
void pack_strip(const float* a, int64_t a_row, int64_t k, float* out) {
  int64_t p = 0;
  for (; p + 4 <= k; p += 4, out += 24) {
    const float* from = a + p;
    const float32x4_t r[4] = {vld1q_f32(from), vld1q_f32(from + a_row), vld1q_f32(from + 2 * a_row), vld1q_f32(from + 3 * a_row)};
    const float32x4_t x = vld1q_f32(from + 4 * a_row), y = vld1q_f32(from + 5 * a_row), low = vzip1q_f32(x, y), high = vzip2q_f32(x, y);
    transpose(r, out, 6);
    vst1_f32(out + 4, vget_low_f32(low));
    vst1_f32(out + 10, vget_high_f32(low));
    vst1_f32(out + 16, vget_low_f32(high));
    vst1_f32(out + 22, vget_high_f32(high));
  }
  for (; p < k; p++, out += 6)
    for (int i = 0; i < 6; i++) out[i] = a[i * a_row + p];
}

// Full panels with the values of a column of A side by side; what is left to the right takes the shared body.
template <bool OFFSET> void full_strip(const GemmStrip<float>& s, const float* a, int64_t a_step) {
  const int64_t panels = s.n / kWidth;
  for (int64_t p = 0; p < panels; p++) full_tile<OFFSET>(s, a, a_step, s.b + p * s.b_panel, p * kWidth);
  if (panels * kWidth == s.n) return;
  GemmStrip<float> right = s;
  right.n = s.n - panels * kWidth, right.b = s.b + panels * s.b_panel, right.c = s.c + panels * kWidth;
  if (s.bias_n) right.bias_n = s.bias_n + panels * kWidth;
  strip<OFFSET>(right);
}

template <bool OFFSET> void six_rows(const GemmStrip<float>& s) {
  if (s.a_row == 1) return full_strip<OFFSET>(s, s.a, s.a_col);
  if (s.a_col != 1 || s.n < kCopyPanels * kWidth) return strip<OFFSET>(s);
  float columns[kCopyDepth * kTallest];
  GemmStrip<float> part = s;
  for (int64_t k = 0; k == 0 || k < s.k; k += kCopyDepth) {
    part.k = s.k - k < kCopyDepth ? s.k - k : kCopyDepth;
    part.a = s.a + k, part.b = s.b + (OFFSET ? 0 : k * s.b_row), part.accumulate = s.accumulate || k > 0;
    if (OFFSET) part.offset = s.offset + k;
    pack_strip(part.a, part.a_row, part.k, columns);
    full_strip<OFFSET>(part, columns, kTallest);
  }
}

template <bool OFFSET> void strip_neon(const GemmStrip<float>& s) {
  GemmStrip<float> part = s;
  for (int i = 0; i < s.m; i += part.m) {
    part.m = s.m - i < kTallest ? s.m - i : kTallest;
    part.a = s.a + i * s.a_row, part.c = s.c + i * s.c_row;
    if (s.bias_m) part.bias_m = s.bias_m + i;
    if (part.m == kTallest) six_rows<OFFSET>(part);
    else strip<OFFSET>(part);
  }
}

}  // namespace

void gemm_f32_6x16_neon(const GemmStrip<float>& s) { s.offset ? strip_neon<true>(s) : strip_neon<false>(s); }
void gemm_f32_6x16_neon_dot(const GemmDot<float>& d) { dot(d); }
void gemm_f32_6x16_neon_pack(const float* b, int64_t b_row, int64_t k, int n, float* out) { pack_panel(b, b_row, k, n, out); }

}  // namespace tersor
#endif
