#include "simd/target.h"

#if TERSOR_ARCH_X64
#include "simd/vec_avx2.h"

#define TERSOR_CONV_VECTORS 2
#include "kernels/channels_last/generic.h"

TERSOR_VEC_BEGIN
namespace tersor {

void conv_f32_6x16_avx2(const ConvProduct& a) { conv_product(a); }
void conv_f32_6x16_avx2_taps(const ConvTaps& a) { conv_taps(a); }

}  // namespace tersor
TERSOR_VEC_END
#endif
