#include "simd/target.h"

#if TERSOR_ARCH_X64
#include "simd/vec_avx2.h"

#include "kernels/nonlinear/generic.h"

TERSOR_VEC_BEGIN
namespace tersor {

void nonlinear_f32_8_avx2(const NonlinearArgs<float>& a) { nonlinear_switch<simd::F32>(a); }

}  // namespace tersor
TERSOR_VEC_END
#endif
