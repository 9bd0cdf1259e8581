#include "simd/target.h"

#if TERSOR_ARCH_X64
#include "simd/vec_avx2.h"

#include "kernels/optim/generic.h"

TERSOR_VEC_BEGIN
namespace tersor {

void optim_sgd_f32_8_avx2(const SgdArgs<float>& a) { sgd_run<simd::F32>(a); }
void optim_adamw_f32_8_avx2(const AdamwArgs<float>& a) { adamw_run<simd::F32>(a); }
void optim_rmsprop_f32_8_avx2(const RmspropArgs<float>& a) { rmsprop_run<simd::F32>(a); }
void optim_lamb_f32_8_avx2(const LambArgs<float>& a) { lamb_run<simd::F32>(a); }

}  // namespace tersor
TERSOR_VEC_END
#endif
