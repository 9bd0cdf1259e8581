#include "simd/target.h"

#if TERSOR_ARCH_X64
#include "simd/vec_avx512.h"

#include "kernels/layer_norm/generic.h"

TERSOR_VEC_BEGIN
namespace tersor {

void layer_norm_f32_16_avx512(const LayerNormArgs<float>& a) { layer_norm_run<simd::F32>(a); }
void layer_norm_grad_f32_16_avx512(const LayerNormGradArgs<float>& a) { layer_norm_grad_run<simd::F32>(a); }

}  // namespace tersor
TERSOR_VEC_END
#endif
