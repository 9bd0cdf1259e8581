#include "simd/target.h"

#if TERSOR_ARCH_X64
#include "simd/vec_avx2.h"

#include "kernels/layer_norm/generic.h"

TERSOR_VEC_BEGIN
namespace tersor {

void layer_norm_f32_8_avx2(const LayerNormArgs<float>& a) { layer_norm_run<simd::F32>(a); }
void layer_norm_grad_f32_8_avx2(const LayerNormGradArgs<float>& a) { layer_norm_grad_run<simd::F32>(a); }

}  // namespace tersor
TERSOR_VEC_END
#endif
