#include "simd/target.h"

#if TERSOR_ARCH_ARM64
#include "simd/vec_neon.h"

#include "kernels/reduce/generic.h"

TERSOR_VEC_BEGIN
namespace tersor {

void reduce_f32_4_neon(const ReduceArgs<float>& a) { reduce_run<simd::F32>(a); }

}  // namespace tersor
TERSOR_VEC_END
#endif
