#include "simd/target.h"

#if TERSOR_ARCH_X64
#include "simd/vec_avx512.h"

#include "kernels/depthwise/generic.h"

TERSOR_VEC_BEGIN
namespace tersor {

void depthwise_f32_16_avx512(const DepthwiseArgs<float>& a) { depthwise_run<simd::F32>(a); }
void depthwise_dot_f32_16_avx512(const DepthwiseDotArgs<float>& a) { depthwise_dot_run<simd::F32>(a); }

}  // namespace tersor
TERSOR_VEC_END
#endif
