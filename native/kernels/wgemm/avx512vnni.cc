// Weight-only products with vpdpbusd, 512 bits.
#include "simd/target.h"

#if TERSOR_ARCH_X64
#include "simd/vec_avx512.h"

#include "kernels/wgemm/int_vectors.h"
#include "kernels/wgemm/wgemm.h"

#define TERSOR_WGEMM_BEGIN TERSOR_TARGET_BEGIN(TERSOR_TARGET_AVX512VNNI)
#define TERSOR_WGEMM_END TERSOR_TARGET_END
#define TERSOR_WGEMM_TILES(X) X(4, 2) X(4, 1) X(2, 4) X(2, 1) X(1, 4) X(1, 1)

TERSOR_WGEMM_BEGIN
namespace tersor {
namespace {

TERSOR_WGEMM_INT512
constexpr bool kFolds = false;
TERSOR_VEC_INLINE Sum dot(Sum acc, simd::I32 u, simd::I32 x) { return (Sum)_mm512_dpbusd_epi32((__m512i)acc, u.v, x.v); }
TERSOR_VEC_INLINE Sum fold(Sum acc, Sum, int) { return acc; }

}  // namespace
}  // namespace tersor
TERSOR_WGEMM_END

#include "kernels/wgemm/generic.h"

TERSOR_WGEMM_BEGIN
namespace tersor {
bool wgemm_avx512vnni_prepare(const WgemmShape& s, const float* x, char* out) { return prepare_row(s, x, out); }
void wgemm_avx512vnni_dot(const WgemmDot& d) { dot_all(d); }
void wgemm_avx512vnni_unpack(const WgemmUnpack& u) { unpack_panel(u); }
}  // namespace tersor
TERSOR_WGEMM_END
#endif
