#include "simd/target.h"

#if TERSOR_ARCH_X64
#include "simd/vec_avx512.h"

#include "kernels/recurrent/generic.h"

TERSOR_VEC_BEGIN
namespace tersor {

void recurrent_f32_16_avx512_lstm(const LstmStep<float>& a) { lstm_run<simd::F32>(a); }
void recurrent_f32_16_avx512_lstm_grad(const LstmStepGrad<float>& a) { lstm_grad_run<simd::F32>(a); }
void recurrent_f32_16_avx512_gru(const GruStep<float>& a) { gru_run<simd::F32>(a); }
void recurrent_f32_16_avx512_gru_grad(const GruStepGrad<float>& a) { gru_grad_run<simd::F32>(a); }

}  // namespace tersor
TERSOR_VEC_END
#endif
