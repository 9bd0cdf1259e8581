#include "simd/target.h"

#if TERSOR_ARCH_ARM64
#include "simd/vec_neon.h"

#include "kernels/random/generic.h"

TERSOR_VEC_BEGIN
namespace tersor {

void random_f32_4_neon(const RandomArgs& a) { random_run(a); }

}  // namespace tersor
TERSOR_VEC_END
#endif
