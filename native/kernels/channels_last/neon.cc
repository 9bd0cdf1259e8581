#include "simd/target.h"

#if TERSOR_ARCH_ARM64
#include "simd/vec_neon.h"

#define TERSOR_CONV_VECTORS 4
#include "kernels/channels_last/generic.h"

TERSOR_VEC_BEGIN
namespace tersor {

void conv_f32_6x16_neon(const ConvProduct& a) { conv_product(a); }
void conv_f32_6x16_neon_taps(const ConvTaps& a) { conv_taps(a); }

}  // namespace tersor
TERSOR_VEC_END
#endif
