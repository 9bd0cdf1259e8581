// Weight-only products with sdot by element: the three bytes of four values of x come with one load. Codes of 8 bits are made signed first.
#include "simd/target.h"

#if TERSOR_ARCH_ARM64
#include "simd/vec_neon.h"

#include "kernels/wgemm/int_vectors_neon.h"
#include "kernels/wgemm/wgemm.h"

#define TERSOR_WGEMM_BEGIN TERSOR_TARGET_BEGIN(TERSOR_TARGET_NEONDOT)
#define TERSOR_WGEMM_END TERSOR_TARGET_END
#define TERSOR_WGEMM_BY_ELEMENT
#define TERSOR_WGEMM_TILES(X) X(4, 2) X(4, 1) X(2, 2) X(2, 1) X(1, 4) X(1, 1)

TERSOR_WGEMM_BEGIN
namespace tersor {
namespace {

TERSOR_WGEMM_NEON
constexpr bool kFolds = false, kSignedCodes = true;
template <int P> TERSOR_VEC_INLINE Sum dot_plane(Sum acc, simd::I32 u, simd::I32 x) {
  return vdotq_laneq_s32(acc, vreinterpretq_s8_s32(u.v), vreinterpretq_s8_s32(x.v), P);
}
TERSOR_VEC_INLINE Sum fold(Sum acc, Sum, int) { return acc; }

}  // namespace
}  // namespace tersor
TERSOR_WGEMM_END

#include "kernels/wgemm/generic.h"

TERSOR_WGEMM_BEGIN
namespace tersor {
bool wgemm_neondot_prepare(const WgemmShape& s, const float* x, char* out) { return prepare_row(s, x, out); }
void wgemm_neondot_dot(const WgemmDot& d) { dot_all(d); }
void wgemm_neondot_unpack(const WgemmUnpack& u) { unpack_panel(u); }
}  // namespace tersor
TERSOR_WGEMM_END
#endif
