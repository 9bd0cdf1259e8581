#include "simd/target.h"

#if TERSOR_ARCH_X64
#include "simd/vec_avx2.h"

#include "kernels/recurrent/generic.h"

TERSOR_VEC_BEGIN
namespace tersor {

void recurrent_f32_8_avx2_lstm(const LstmStep<float>& a) { lstm_run<simd::F32>(a); }
void recurrent_f32_8_avx2_lstm_grad(const LstmStepGrad<float>& a) { lstm_grad_run<simd::F32>(a); }
void recurrent_f32_8_avx2_gru(const GruStep<float>& a) { gru_run<simd::F32>(a); }
void recurrent_f32_8_avx2_gru_grad(const GruStepGrad<float>& a) { gru_grad_run<simd::F32>(a); }

}  // namespace tersor
TERSOR_VEC_END
#endif
