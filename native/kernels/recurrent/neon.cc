#include "simd/target.h"

#if TERSOR_ARCH_ARM64
#include "simd/vec_neon.h"

#include "kernels/recurrent/generic.h"

TERSOR_VEC_BEGIN
namespace tersor {

void recurrent_f32_4_neon_lstm(const LstmStep<float>& a) { lstm_run<simd::F32>(a); }
void recurrent_f32_4_neon_lstm_grad(const LstmStepGrad<float>& a) { lstm_grad_run<simd::F32>(a); }
void recurrent_f32_4_neon_gru(const GruStep<float>& a) { gru_run<simd::F32>(a); }
void recurrent_f32_4_neon_gru_grad(const GruStepGrad<float>& a) { gru_grad_run<simd::F32>(a); }

}  // namespace tersor
TERSOR_VEC_END
#endif
