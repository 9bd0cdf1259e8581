#include "simd/target.h"

#if TERSOR_ARCH_X64
#include "simd/vec_avx2.h"

#include "kernels/random/generic.h"

TERSOR_VEC_BEGIN
namespace tersor {

void random_f32_8_avx2(const RandomArgs& a) { random_run(a); }

}  // namespace tersor
TERSOR_VEC_END
#endif
