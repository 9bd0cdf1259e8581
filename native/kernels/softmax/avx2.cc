#include "simd/target.h"

#if TERSOR_ARCH_X64
#include "simd/vec_avx2.h"

#include "kernels/softmax/generic.h"

TERSOR_VEC_BEGIN
namespace tersor {

void softmax_f32_8_avx2(const SoftmaxArgs<float>& a) { softmax_run<simd::F32>(a); }

}  // namespace tersor
TERSOR_VEC_END
#endif
