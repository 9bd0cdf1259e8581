// Weight-only products with widening multiplies: sums of 16 bits for one step, then 32 bits.
#include "simd/target.h"

#if TERSOR_ARCH_ARM64
#include "simd/vec_neon.h"

#include "kernels/wgemm/int_vectors_neon.h"
#include "kernels/wgemm/wgemm.h"

#define TERSOR_WGEMM_BEGIN
#define TERSOR_WGEMM_END
#define TERSOR_WGEMM_TILES(X) X(2, 1) X(1, 2) X(1, 1)

namespace tersor {
namespace {

TERSOR_WGEMM_NEON
constexpr bool kFolds = true, kSignedCodes = false;
TERSOR_VEC_INLINE Sum dot(Sum acc, simd::I32 u, simd::I32 x) {  // u <= 15, so it is a signed byte too
  const int8x16_t a = vreinterpretq_s8_s32(u.v), b = vreinterpretq_s8_s32(x.v);
  const int16x8_t pairs = vpaddq_s16(vmull_s8(vget_low_s8(a), vget_low_s8(b)), vmull_high_s8(a, b));
  return vreinterpretq_s32_s16(vaddq_s16(vreinterpretq_s16_s32(acc), pairs));
}
TERSOR_VEC_INLINE Sum fold(Sum acc, Sum pairs, int factor) { return vmlaq_n_s32(acc, vpaddlq_s16(vreinterpretq_s16_s32(pairs)), factor); }

}  // namespace
}  // namespace tersor

#include "kernels/wgemm/generic.h"

namespace tersor {
bool wgemm_neon_prepare(const WgemmShape& s, const float* x, char* out) { return prepare_row(s, x, out); }
void wgemm_neon_dot(const WgemmDot& d) { dot_all(d); }
void wgemm_neon_unpack(const WgemmUnpack& u) { unpack_panel(u); }
}  // namespace tersor
#endif
