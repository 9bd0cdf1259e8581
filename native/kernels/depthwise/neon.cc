#include "simd/target.h"

#if TERSOR_ARCH_ARM64
#include "simd/vec_neon.h"

#include "kernels/depthwise/generic.h"

TERSOR_VEC_BEGIN
namespace tersor {

void depthwise_f32_4_neon(const DepthwiseArgs<float>& a) { depthwise_run<simd::F32>(a); }
void depthwise_dot_f32_4_neon(const DepthwiseDotArgs<float>& a) { depthwise_dot_run<simd::F32>(a); }

}  // namespace tersor
TERSOR_VEC_END
#endif
