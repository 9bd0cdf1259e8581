#include "simd/target.h"

#if TERSOR_ARCH_X64
#include "simd/vec_avx2.h"

#include "kernels/norm/generic.h"

TERSOR_VEC_BEGIN
namespace tersor {

void batch_norm_f32_8_avx2(const BatchNormArgs<float>& a) { batch_norm_run<simd::F32>(a); }
void batch_norm_grad_f32_8_avx2(const BatchNormGradArgs<float>& a) { batch_norm_grad_run<simd::F32>(a); }
void rms_norm_f32_8_avx2(const RmsNormArgs<float>& a) { rms_norm_run<simd::F32>(a); }
void rms_norm_grad_f32_8_avx2(const RmsNormGradArgs<float>& a) { rms_norm_grad_run<simd::F32>(a); }

}  // namespace tersor
TERSOR_VEC_END
#endif
