#include "simd/target.h"

#if TERSOR_ARCH_X64
#include "simd/vec_avx512.h"

#include "kernels/softmax/generic.h"

TERSOR_VEC_BEGIN
namespace tersor {

void softmax_f32_16_avx512(const SoftmaxArgs<float>& a) { softmax_run<simd::F32>(a); }

}  // namespace tersor
TERSOR_VEC_END
#endif
