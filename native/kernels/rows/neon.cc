// Selected rows and ternary projection, 128 bits. A triple of x has 27 signed sums: four tables of 32 bytes, one for each byte of the sums, so that one byte
// lookup (tbl of two registers) serves 16 outputs; the bytes are put together by interleaving.
#include "simd/target.h"

#if TERSOR_ARCH_ARM64
#include "simd/vec_neon.h"

#define TERSOR_ROWS_TALL 2

namespace tersor {
namespace {

// Two registers: 8 entries of the list then make 16 independent sums, which four pipes of latency 4 want.
struct Pair {
  static constexpr int lanes = 8;
  float32x4_t low, high;
  Pair() = default;
  TERSOR_VEC_INLINE explicit Pair(float x) : low(vdupq_n_f32(x)), high(vdupq_n_f32(x)) {}
  TERSOR_VEC_INLINE Pair(float32x4_t l, float32x4_t h) : low(l), high(h) {}
};
using V = Pair;
TERSOR_VEC_INLINE V fma(V a, V b, V c) { return V(vfmaq_f32(c.low, a.low, b.low), vfmaq_f32(c.high, a.high, b.high)); }
TERSOR_VEC_INLINE float sum_lanes(V a) { return simd::sum_lanes(simd::F32(vaddq_f32(a.low, a.high))); }
TERSOR_VEC_INLINE V load_wide(const float* p) { return V(vld1q_f32(p), vld1q_f32(p + 4)); }
TERSOR_VEC_INLINE V load_wide(const float* p, int64_t n) {
  return n > 4 ? V(vld1q_f32(p), simd::load_part(p + 4, n - 4).v) : V(simd::load_part(p, n).v, vdupq_n_f32(0));
}
TERSOR_VEC_INLINE V load_wide(const int8_t* p) {
  TERSOR_LOAD_HERE;
  const int16x8_t w = vmovl_s8(vld1_s8(p));
  return V(vcvtq_f32_s32(vmovl_s16(vget_low_s16(w))), vcvtq_f32_s32(vmovl_high_s16(w)));
}
TERSOR_VEC_INLINE V load_wide(const int8_t* p, int64_t n) {
  int8_t part[8] = {};
  memcpy(part, p, static_cast<size_t>(n));
  return load_wide(part);
}
TERSOR_VEC_INLINE void fetch(const void* p) {
#if defined(__GNUC__)
  __builtin_prefetch(p);
#else
  static_cast<void>(p);
#endif
}

}  // namespace
}  // namespace tersor

#include "kernels/rows/generic.h"

namespace tersor {
namespace {

constexpr int kTriples = 6, kTable = 32;

// Bytes that pick the sign of each x for the 27 sums (a + 1) + 3 (b + 1) + 9 (c + 1) from {-x, 0, x, 0}; behind them 0.
struct SignTable {
  uint8_t byte[3][4 * kTable];
  constexpr SignTable() : byte() {
    for (int b = 0, weight = 1; b < 3; b++, weight *= 3)
      for (int c = 0; c < kTable; c++)
        for (int q = 0; q < 4; q++) byte[b][4 * c + q] = static_cast<uint8_t>(c < 27 ? 4 * (c / weight % 3) + q : 255);
  }
};
constexpr SignTable kSigns;

// Of each triple the lowest bytes of its 32 sums, then the next ones, and so on.
inline void tables(const float* x, int64_t k, float* out) {
  const int64_t triples = (k + 3 * kTriples - 1) / (3 * kTriples) * kTriples;
  for (int64_t t = 0; t < triples; t++, out += kTable) {
    uint8x16_t signs[3];
    for (int b = 0; b < 3; b++) {
      const float v = 3 * t + b < k ? x[3 * t + b] : 0.0f, choice[4] = {-v, 0, v, 0};
      signs[b] = vreinterpretq_u8_f32(vld1q_f32(choice));
    }
    float sums[kTable];
    for (int c = 0; c < kTable; c += 4) {
      float32x4_t v[3];
      for (int b = 0; b < 3; b++) v[b] = vreinterpretq_f32_u8(vqtbl1q_u8(signs[b], vld1q_u8(kSigns.byte[b] + 4 * c)));
      vst1q_f32(sums + c, vaddq_f32(vaddq_f32(v[0], v[1]), v[2]));
    }
    for (int half = 0; half < 2; half++) {
      const uint8x16x4_t planes = vld4q_u8(reinterpret_cast<const uint8_t*>(sums + 16 * half));
      for (int q = 0; q < 4; q++) vst1q_u8(reinterpret_cast<uint8_t*>(out) + 32 * q + 16 * half, planes.val[q]);
    }
  }
}

// Codes of triple T of 16 words, given as their four bytes.
template <int T> TERSOR_VEC_INLINE uint8x16_t codes(const uint8x16_t* w) {
  constexpr int bit = 5 * T, byte = bit / 8, shift = bit % 8, up = shift > 3 ? 8 - shift : 0;
  uint8x16_t c = w[byte];
  if (shift) c = vshrq_n_u8(c, shift ? shift : 1);
  if (up) c = vsliq_n_u8(c, w[byte + (up ? 1 : 0)], up);
  return vandq_u8(c, vdupq_n_u8(31));
}

TERSOR_VEC_INLINE float32x4_t floats(uint16x8_t v) { return vreinterpretq_f32_u16(v); }
TERSOR_VEC_INLINE uint16x8_t halves(uint8x16_t v) { return vreinterpretq_u16_u8(v); }

// t0 to t3: bytes 0 to 3 of the sums. acc[0..4) += the sums that the codes of 16 outputs name.
TERSOR_VEC_INLINE void look_up(uint8x16x2_t t0, uint8x16x2_t t1, uint8x16x2_t t2, uint8x16x2_t t3, uint8x16_t code, float32x4_t* acc) {
  const uint8x16_t p0 = vqtbl2q_u8(t0, code), p1 = vqtbl2q_u8(t1, code), p2 = vqtbl2q_u8(t2, code), p3 = vqtbl2q_u8(t3, code);
  const uint16x8_t low0 = halves(vzip1q_u8(p0, p1)), low1 = halves(vzip2q_u8(p0, p1)), high0 = halves(vzip1q_u8(p2, p3)), high1 = halves(vzip2q_u8(p2, p3));
  acc[0] = vaddq_f32(acc[0], floats(vzip1q_u16(low0, high0)));
  acc[1] = vaddq_f32(acc[1], floats(vzip2q_u16(low0, high0)));
  acc[2] = vaddq_f32(acc[2], floats(vzip1q_u16(low1, high1)));
  acc[3] = vaddq_f32(acc[3], floats(vzip2q_u16(low1, high1)));
}

template <int T> TERSOR_VEC_INLINE void triple(const float* table, const uint8x16_t* w, float32x4_t* acc) {
  const uint8_t* at = reinterpret_cast<const uint8_t*>(table + T * kTable);
  TERSOR_LOAD_HERE;
  look_up(vld1q_u8_x2(at), vld1q_u8_x2(at + 32), vld1q_u8_x2(at + 64), vld1q_u8_x2(at + 96), codes<T>(w), acc);
}

// One panel at a time: two would share the loads of tables, and spill as much (counted: 1.8 instructions an output and triple either way).
inline void project_panel(const RowsProject& p, int64_t j) {
  const uint8_t* at = reinterpret_cast<const uint8_t*>(p.packed) + j / 16 * p.words * 64;
  const float* table = p.tables;
  float32x4_t acc[4] = {vdupq_n_f32(0), vdupq_n_f32(0), vdupq_n_f32(0), vdupq_n_f32(0)};
  for (int64_t i = 0; i < p.words; i++, at += 64, table += kTriples * kTable) {
    const uint8x16x4_t bytes = vld4q_u8(at);  // byte b of the 16 words
    const uint8x16_t w[4] = {bytes.val[0], bytes.val[1], bytes.val[2], bytes.val[3]};
    triple<0>(table, w, acc);
    triple<1>(table, w, acc);
    triple<2>(table, w, acc);
    triple<3>(table, w, acc);
    triple<4>(table, w, acc);
    triple<5>(table, w, acc);
  }
  for (int v = 0; v < 4 && j + 4 * v < p.n; v++) simd::store_part(p.y + j + 4 * v, simd::F32(vmulq_n_f32(acc[v], p.scale)), p.n - j - 4 * v);
}

}  // namespace

void rows_neon_dot_f32(const RowsDot& d) { rows_dot<float>(d); }
void rows_neon_dot_i8(const RowsDot& d) { rows_dot<int8_t>(d); }
void rows_neon_tables(const float* x, int64_t k, float* out) { tables(x, k, out); }
void rows_neon_project(const RowsProject& p) {
  for (int64_t j = 0; j < p.n; j += 16) project_panel(p, j);
}

}  // namespace tersor
#endif
