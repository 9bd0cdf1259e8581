#include "simd/target.h"

#if TERSOR_ARCH_X64
#include "simd/vec_avx512.h"

#include "kernels/random/generic.h"

TERSOR_VEC_BEGIN
namespace tersor {

void random_f32_16_avx512(const RandomArgs& a) { random_run(a); }

}  // namespace tersor
TERSOR_VEC_END
#endif
