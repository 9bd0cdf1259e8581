// u8 x s8 -> s32 with vpdpbusd, 512 bits. On a core that a neighbour uses as well, what counts beside the two dot ports is how many instructions there
// are in all: the loop takes four groups of k a turn, and many rows take blocks of 8 x 48 or 6 x 64 (35 and 34 instructions for 24 dots). Few rows take many panels, as many streams of weights: one stream does not fill the memory bus.
#include "simd/target.h"

#if TERSOR_ARCH_X64
#include "simd/vec_avx512.h"

#include "kernels/qgemm/qgemm.h"

TERSOR_TARGET_BEGIN(TERSOR_TARGET_AVX512VNNI)
namespace tersor {
namespace {

#if defined(__GNUC__)
typedef int32_t Sum __attribute__((vector_size(64)));  // g++ does not keep __m512i in one register across a loop of 32-bit instructions
#else
using Sum = __m512i;
#endif
// Where the next groups of k of a tile lie: one pointer to A and one to B, moved once a turn. The other rows and panels lie at multiples of two
// distances, of which the processor adds 1, 2, 4 and 8 times one register to an address; the odd multiples that are needed are registers of their own.
struct Reader {
  const uint8_t* a;
  const int8_t* b;
  int64_t a1, a3, a5, a7, b1, b3, b5, b7;
  TERSOR_VEC_INLINE int64_t row(int r) const { return r == 0 ? 0 : r == 1 ? a1 : r == 2 ? 2 * a1 : r == 3 ? a3 : r == 4 ? 4 * a1 : r == 5 ? a5 : r == 6 ? 2 * a3 : a7; }
  TERSOR_VEC_INLINE int64_t panel(int v) const { return v == 0 ? 0 : v == 1 ? b1 : v == 2 ? 2 * b1 : v == 3 ? b3 : v == 4 ? 4 * b1 : v == 5 ? b5 : v == 6 ? 2 * b3 : b7; }
  TERSOR_VEC_INLINE Sum load_a(int r, int at) const {
    int32_t x;
    memcpy(&x, a + row(r) + 4 * at, 4);
    return (Sum)_mm512_set1_epi32(x);
  }
  TERSOR_VEC_INLINE Sum load_b(int v, int at) const { return (Sum)_mm512_loadu_si512(b + panel(v) + 64 * at); }
};
TERSOR_VEC_INLINE int64_t opaque(int64_t x) {
#if defined(__GNUC__)
  __asm__("" : "+r"(x));  // else the compiler makes a pointer to each row and panel, and moves them all
#endif
  return x;
}

TERSOR_VEC_INLINE Sum dot(Sum acc, Sum a, Sum b) { return (Sum)_mm512_dpbusd_epi32((__m512i)acc, (__m512i)a, (__m512i)b); }

// The group of k `at` groups behind where t stands.
template <int MR, int NP> TERSOR_VEC_INLINE void step(Sum (&acc)[MR][NP], const Reader& t, int at) {
  if (MR == 1) {  // each vector of B is used once: as an operand in memory
    const Sum x = t.load_a(0, at);
#pragma GCC unroll 16
    for (int v = 0; v < NP; v++) acc[0][v] = dot(acc[0][v], x, t.load_b(v, at));
  } else if (MR >= NP) {
    Sum y[NP];
#pragma GCC unroll 16
    for (int v = 0; v < NP; v++) y[v] = t.load_b(v, at);
#pragma GCC unroll 16
    for (int r = 0; r < MR; r++) {
      const Sum x = t.load_a(r, at);
#pragma GCC unroll 16
      for (int v = 0; v < NP; v++) acc[r][v] = dot(acc[r][v], x, y[v]);
    }
  } else {
    Sum x[MR];
#pragma GCC unroll 16
    for (int r = 0; r < MR; r++) x[r] = t.load_a(r, at);
#pragma GCC unroll 16
    for (int v = 0; v < NP; v++) {
      const Sum y = t.load_b(v, at);
#pragma GCC unroll 16
      for (int r = 0; r < MR; r++) acc[r][v] = dot(acc[r][v], x[r], y);
    }
  }
}

template <int MR, int NP> TERSOR_VEC_INLINE void clear(Sum (&acc)[MR][NP]) {
  const int32_t none = static_cast<int32_t>(opaque(0));  // g++ 12 turns zeros that it knows into a memset and keeps the sums in memory
#pragma GCC unroll 16
  for (int r = 0; r < MR; r++)
#pragma GCC unroll 16
    for (int v = 0; v < NP; v++) acc[r][v] = (Sum)_mm512_set1_epi32(none);
}

// The finish of plain products, on sums in registers: 32-bit sums with one zero point for all rows, or f32 without activation; whole vectors.
// (The way through memory and the general finish costs 3 % of the time at K = 768.) False: not such a product.
template <int MR, int NP> TERSOR_VEC_INLINE bool finish_here(const QgemmFinish& f, const Sum (&acc)[MR][NP], int64_t row, int64_t col, int64_t n) {
  const bool by_row = f.column && f.x_zero_step;
  if (f.w_zero || n < NP * 16) return false;
  if (f.to == QgemmTo::s32 ? by_row : f.to != QgemmTo::f32 || f.act != QgemmAct::none) return false;
  __m512i add[NP];
#pragma GCC unroll 16
  for (int v = 0; v < NP; v++) {
    add[v] = f.add ? _mm512_loadu_si512(f.add + col + 16 * v) : _mm512_setzero_si512();
    if (f.column && !by_row) add[v] = _mm512_sub_epi32(add[v], _mm512_mullo_epi32(_mm512_set1_epi32(f.x_zero[0]), _mm512_loadu_si512(f.column + col + 16 * v)));
  }
  const int64_t y_row = f.y_row;
  if (f.to == QgemmTo::s32) {
    int32_t* y = static_cast<int32_t*>(f.y) + row * y_row + col;
#pragma GCC unroll 16
    for (int r = 0; r < MR; r++, y += y_row)
#pragma GCC unroll 16
      for (int v = 0; v < NP; v++) _mm512_storeu_si512(y + 16 * v, _mm512_add_epi32((__m512i)acc[r][v], add[v]));
    return true;
  }
  __m512 scale[NP], bias[NP];
#pragma GCC unroll 16
  for (int v = 0; v < NP; v++) {
    scale[v] = _mm512_loadu_ps(f.scale + col + 16 * v);
    bias[v] = f.bias ? _mm512_loadu_ps(f.bias + col + 16 * v) : _mm512_set1_ps(-0.0f);  // x + -0 = x for every x
  }
  const float one = 1;
  const float* x_scale = f.x_scale ? f.x_scale + row * f.x_scale_step : &one;  // 1 * scale = scale
  const int64_t step = f.x_scale ? f.x_scale_step : 0;
  float* y = static_cast<float*>(f.y) + row * y_row + col;
  const float* residual = f.residual ? f.residual + row * f.residual_row + col : nullptr;
#pragma GCC unroll 16
  for (int r = 0; r < MR; r++, y += y_row, x_scale += step) {
    const __m512 x = _mm512_set1_ps(*x_scale);
    const __m512i zero = _mm512_set1_epi32(by_row ? f.x_zero[row + r] : 0);
#pragma GCC unroll 16
    for (int v = 0; v < NP; v++) {
      __m512i whole = _mm512_add_epi32((__m512i)acc[r][v], add[v]);
      if (by_row) whole = _mm512_sub_epi32(whole, _mm512_mullo_epi32(zero, _mm512_loadu_si512(f.column + col + 16 * v)));
      const __m512 sum = _mm512_cvtepi32_ps(whole);
      __m512 out = _mm512_add_ps(_mm512_mul_ps(sum, _mm512_mul_ps(x, scale[v])), bias[v]);
      if (residual) out = _mm512_add_ps(out, _mm512_loadu_ps(residual + r * f.residual_row + 16 * v));
      _mm512_storeu_ps(y + 16 * v, out);
    }
  }
  return true;
}

// Rows [i, i + MR) times NP panels from `from` on, which hold the block's columns from j on. Few sums are kept twice, to hide the latency of dot.
template <int MR, int NP> void tile(const QgemmBlock& q, int64_t i, const int8_t* from, int64_t j) {
  constexpr bool kTwice = MR * NP <= 8;
  constexpr bool kMany = MR >= 6 && NP > 1;
  constexpr int kUnroll = NP == 1 ? 2 : 4;
  Sum acc[MR][NP], odd[MR][NP];
  clear(acc);
  if (kTwice) clear(odd);
  const int64_t a1 = q.a_row, b1 = q.panel_bytes;
  Reader t{static_cast<const uint8_t*>(q.a) + i * a1, from, a1, opaque(3 * a1), opaque(5 * a1), opaque(7 * a1), b1, opaque(3 * b1), opaque(5 * b1), opaque(7 * b1)};
  const uint8_t* next = t.a + MR * a1;
  for (int64_t turns = (q.k + 4 * kUnroll - 1) / (4 * kUnroll); turns > 0; turns--) {  // into the padding, where B is 0
#pragma GCC unroll 4
    for (int u = 0; u < kUnroll; u++) step<MR, NP>(kTwice && u % 2 ? odd : acc, t, u);
    t.a += 4 * kUnroll, t.b += 64 * kUnroll;
    if (kMany) {  // the rows that come next, 4 * MR bytes for each group of this tile
      _mm_prefetch(reinterpret_cast<const char*>(next), _MM_HINT_T0);
      _mm_prefetch(reinterpret_cast<const char*>(next + 64), _MM_HINT_T0);
      next += 128;
    }
  }
  const int64_t left = q.n - j, live = left < NP * 16 ? left : NP * 16;
  if (kMany && finish_here(*q.out, acc, q.row0 + i, q.col0 + j, live)) return;
  alignas(64) int32_t sums[MR * NP * 16];
#pragma GCC unroll 16
  for (int r = 0; r < MR; r++)
#pragma GCC unroll 16
    for (int v = 0; v < NP; v++)
      _mm512_store_si512(sums + (r * NP + v) * 16, kTwice ? _mm512_add_epi32((__m512i)acc[r][v], (__m512i)odd[r][v]) : (__m512i)acc[r][v]);
  qgemm_width_avx512.finish(*q.out, sums, NP * 16, q.row0 + i, MR, q.col0 + j, live);
}

// Rows [i, end), a multiple of MR: NP panels at a time stay in cache while the rows pass by, then LEFT at a time.
template <int MR, int NP, int LEFT> void band(const QgemmBlock& q, int64_t i, int64_t end) {
  const int8_t* b = q.b;
  int64_t j = 0;
  for (; j + (NP - 1) * 16 < q.n; j += NP * 16, b += NP * q.panel_bytes)
    for (int64_t r = i; r < end; r += MR) tile<MR, NP>(q, r, b, j);
  for (; LEFT > 1 && j + (LEFT - 1) * 16 < q.n; j += LEFT * 16, b += LEFT * q.panel_bytes)
    for (int64_t r = i; r < end; r += MR) tile<MR, LEFT>(q, r, b, j);
  for (; j < q.n; j += 16, b += q.panel_bytes)
    for (int64_t r = i; r < end; r += MR) tile<MR, 1>(q, r, b, j);
}

// At most 12 rows at a time.
void few(const QgemmBlock& q, int64_t i, int64_t m) {
  switch (m) {
    case 0: return;
    case 1: return band<1, 8, 1>(q, i, i + 1);
    case 2: return band<2, 8, 1>(q, i, i + 2);
    case 3: return band<3, 8, 1>(q, i, i + 3);
    case 4: return band<4, 4, 1>(q, i, i + 4);
    case 5: return band<5, 4, 1>(q, i, i + 5);
    case 6: return band<6, 4, 1>(q, i, i + 6);
    case 7: return band<7, 3, 1>(q, i, i + 7);
    case 8: return band<8, 3, 2>(q, i, i + 8);
    case 10: return band<5, 4, 1>(q, i, i + 10);
    case 12: return band<6, 4, 1>(q, i, i + 12);
    default: few(q, i, 5); return few(q, i + 5, m - 5);
  }
}

}  // namespace

void qgemm_u8s8s32_6x64_avx512vnni(const QgemmBlock& q) { few(q, 0, q.m); }
void qgemm_u8s8s32_8x48_avx512vnni(const QgemmBlock& q) {
  const bool wide = q.n % 64 == 0 && q.n % 48 != 0;  // columns of 64 leave no rest, those of 48 would
  const int64_t tall = wide ? 6 : 8, rest = q.m % tall;
  const int64_t full = rest == 0 || rest > 4 || q.m < tall ? q.m - rest : q.m - rest - tall;  // 9 rows rather than 8 and 1
  if (wide) band<6, 4, 1>(q, 0, full);
  else band<8, 3, 2>(q, 0, full);
  few(q, full, q.m - full);
}
}  // namespace tersor
TERSOR_TARGET_END
#endif
