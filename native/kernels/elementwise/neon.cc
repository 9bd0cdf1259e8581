#include "simd/target.h"

#if TERSOR_ARCH_ARM64
#include "simd/vec_neon.h"

#include "kernels/elementwise/generic.h"

TERSOR_VEC_BEGIN
namespace tersor {

void elementwise_unary_f32_4_neon(const UnaryArgs<float>& a) { unary_switch<simd::F32>(a); }
void elementwise_binary_f32_4_neon(const BinaryArgs<float>& a) { binary_switch<simd::F32>(a); }

}  // namespace tersor
TERSOR_VEC_END
#endif
