// f32 matrix product, 6 x 16 register tile: 12 accumulators, 2 vectors of B, 1 broadcast of A.
#include "kernels/gemm/gemm.h"
#include "simd/target.h"

#if TERSOR_ARCH_X64
#include <immintrin.h>

TERSOR_TARGET_BEGIN(TERSOR_TARGET_AVX2)
namespace tersor {
namespace {

using V = __m256;
using M = __m256i;
constexpr int kLanes = 8, kTileRows = 6, kTileVectors = 2;
#define TERSOR_GEMM_TILE_ROWS(X) X(6) X(5) X(4) X(3) X(2) X(1)

inline V vzero() { return _mm256_setzero_ps(); }
inline V vset1(const float* p) { return _mm256_broadcast_ss(p); }
inline V vload(const float* p) { return _mm256_loadu_ps(p); }
inline void vstore(float* p, V v) { _mm256_storeu_ps(p, v); }
inline V vfma(V a, V b, V c) { return _mm256_fmadd_ps(a, b, c); }
inline M vmask(int64_t n) {
  const int live = n >= 8 ? 8 : n <= 0 ? 0 : static_cast<int>(n);
  return _mm256_cmpgt_epi32(_mm256_set1_epi32(live), _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7));
}
inline V vload_m(const float* p, M m) { return _mm256_maskload_ps(p, m); }
inline void vstore_m(float* p, M m, V v) { _mm256_maskstore_ps(p, m, v); }
inline float vsum(V v) {
  __m128 q = _mm_add_ps(_mm256_castps256_ps128(v), _mm256_extractf128_ps(v, 1));
  q = _mm_add_ps(q, _mm_movehl_ps(q, q));
  return _mm_cvtss_f32(_mm_add_ss(q, _mm_movehdup_ps(q)));
}

#include "kernels/gemm/generic.h"

}  // namespace

void gemm_f32_6x16_avx2(const GemmStrip<float>& s) { s.offset ? strip<true>(s) : strip<false>(s); }
void gemm_f32_6x16_avx2_dot(const GemmDot<float>& d) { dot(d); }
void gemm_f32_6x16_avx2_pack(const float* b, int64_t b_row, int64_t k, int n, float* out) { pack_transposed<16>(b, b_row, k, n, out); }

}  // namespace tersor
TERSOR_TARGET_END
#endif
