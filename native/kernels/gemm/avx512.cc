// f32 matrix product, 14 x 32 register tile: 28 accumulators, 2 vectors of B, 1 broadcast of A.
#include "kernels/gemm/gemm.h"
#include "simd/target.h"

#if TERSOR_ARCH_X64
#include <immintrin.h>

TERSOR_TARGET_BEGIN(TERSOR_TARGET_AVX512)
namespace tersor {
namespace {

using V = __m512;
using M = __mmask16;
constexpr int kLanes = 16, kTileRows = 14, kTileVectors = 2;
#define TERSOR_GEMM_TILE_ROWS(X) X(14) X(12) X(10) X(8) X(6) X(4) X(3) X(2) X(1)

inline V vzero() { return _mm512_setzero_ps(); }
inline V vset1(const float* p) { return _mm512_set1_ps(*p); }
inline V vload(const float* p) { return _mm512_loadu_ps(p); }
inline void vstore(float* p, V v) { _mm512_storeu_ps(p, v); }
inline V vfma(V a, V b, V c) { return _mm512_fmadd_ps(a, b, c); }
inline M vmask(int64_t n) { return n >= 16 ? M(0xffff) : n <= 0 ? M(0) : M((1u << n) - 1); }
inline V vload_m(const float* p, M m) { return _mm512_maskz_loadu_ps(m, p); }
inline void vstore_m(float* p, M m, V v) { _mm512_mask_storeu_ps(p, m, v); }
inline float vsum(V v) {
  const __m256 h = _mm256_add_ps(_mm512_castps512_ps256(v), _mm512_maskz_extractf32x8_ps(0xff, v, 1));
  __m128 q = _mm_add_ps(_mm256_castps256_ps128(h), _mm256_extractf128_ps(h, 1));
  q = _mm_add_ps(q, _mm_movehl_ps(q, q));
  return _mm_cvtss_f32(_mm_add_ss(q, _mm_movehdup_ps(q)));
}

#include "kernels/gemm/generic.h"

}  // namespace

void gemm_f32_14x32_avx512(const GemmStrip<float>& s) { s.offset ? strip<true>(s) : strip<false>(s); }
void gemm_f32_14x32_avx512_dot(const GemmDot<float>& d) { dot(d); }
void gemm_f32_14x32_avx512_pack(const float* b, int64_t b_row, int64_t k, int n, float* out) { pack_transposed<32>(b, b_row, k, n, out); }

}  // namespace tersor
TERSOR_TARGET_END
#endif
