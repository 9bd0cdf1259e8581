#include "simd/target.h"

#if TERSOR_ARCH_ARM64
#include "simd/vec_neon.h"

#include "kernels/softmax/generic.h"

TERSOR_VEC_BEGIN
namespace tersor {

void softmax_f32_4_neon(const SoftmaxArgs<float>& a) { softmax_run<simd::F32>(a); }

}  // namespace tersor
TERSOR_VEC_END
#endif
