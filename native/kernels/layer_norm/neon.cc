#include "simd/target.h"

#if TERSOR_ARCH_ARM64
#include "simd/vec_neon.h"

#include "kernels/layer_norm/generic.h"

TERSOR_VEC_BEGIN
namespace tersor {

void layer_norm_f32_4_neon(const LayerNormArgs<float>& a) { layer_norm_run<simd::F32>(a); }
void layer_norm_grad_f32_4_neon(const LayerNormGradArgs<float>& a) { layer_norm_grad_run<simd::F32>(a); }

}  // namespace tersor
TERSOR_VEC_END
#endif
