#include "simd/target.h"

#if TERSOR_ARCH_X64
#include "simd/vec_avx512.h"

#include "kernels/nonlinear/generic.h"

TERSOR_VEC_BEGIN
namespace tersor {

void nonlinear_f32_16_avx512(const NonlinearArgs<float>& a) { nonlinear_switch<simd::F32>(a); }

}  // namespace tersor
TERSOR_VEC_END
#endif
