// Weight-only products with vpmaddubsw, 256 bits: sums of 16 bits for one step, then 32 bits.
#include "simd/target.h"

#if TERSOR_ARCH_X64
#include "simd/vec_avx2.h"

#include "kernels/wgemm/int_vectors.h"
#include "kernels/wgemm/wgemm.h"

#define TERSOR_WGEMM_BEGIN TERSOR_TARGET_BEGIN(TERSOR_TARGET_AVX2)
#define TERSOR_WGEMM_END TERSOR_TARGET_END
#define TERSOR_WGEMM_TILES(X) X(2, 1) X(1, 2) X(1, 1)

TERSOR_WGEMM_BEGIN
namespace tersor {
namespace {

TERSOR_WGEMM_INT256
constexpr bool kFolds = true;
TERSOR_VEC_INLINE Sum dot(Sum acc, simd::I32 u, simd::I32 x) { return (Sum)_mm256_add_epi16((__m256i)acc, _mm256_maddubs_epi16(u.v, x.v)); }
TERSOR_VEC_INLINE Sum fold(Sum acc, Sum pairs, int factor) {
  return (Sum)_mm256_add_epi32((__m256i)acc, _mm256_madd_epi16((__m256i)pairs, _mm256_set1_epi16(static_cast<int16_t>(factor))));
}

}  // namespace
}  // namespace tersor
TERSOR_WGEMM_END

#include "kernels/wgemm/generic.h"

TERSOR_WGEMM_BEGIN
namespace tersor {
bool wgemm_avx2_prepare(const WgemmShape& s, const float* x, char* out) { return prepare_row(s, x, out); }
void wgemm_avx2_dot(const WgemmDot& d) { dot_all(d); }
void wgemm_avx2_unpack(const WgemmUnpack& u) { unpack_panel(u); }
}  // namespace tersor
TERSOR_WGEMM_END
#endif
