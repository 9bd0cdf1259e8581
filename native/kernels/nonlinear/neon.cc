#include "simd/target.h"

#if TERSOR_ARCH_ARM64
#include "simd/vec_neon.h"

#include "kernels/nonlinear/generic.h"

TERSOR_VEC_BEGIN
namespace tersor {

void nonlinear_f32_4_neon(const NonlinearArgs<float>& a) { nonlinear_switch<simd::F32>(a); }

}  // namespace tersor
TERSOR_VEC_END
#endif
