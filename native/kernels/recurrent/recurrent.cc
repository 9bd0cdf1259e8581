#include "kernels/recurrent/recurrent.h"

#include "simd/vec_scalar.h"

#include "kernels/recurrent/generic.h"

namespace tersor {

void recurrent_f32_1_scalar_lstm(const LstmStep<float>& a) { lstm_run<simd::F32>(a); }
void recurrent_f32_1_scalar_lstm_grad(const LstmStepGrad<float>& a) { lstm_grad_run<simd::F32>(a); }
void recurrent_f32_1_scalar_gru(const GruStep<float>& a) { gru_run<simd::F32>(a); }
void recurrent_f32_1_scalar_gru_grad(const GruStepGrad<float>& a) { gru_grad_run<simd::F32>(a); }

namespace {
const RecurrentRow kRows[] = {
#define TERSOR_RECURRENT(needs, name) {needs, #name, name##_lstm, name##_lstm_grad, name##_gru, name##_gru_grad},
#include "kernels/recurrent/kernels.inc"
#undef TERSOR_RECURRENT
};
constexpr int kRowCount = static_cast<int>(sizeof kRows / sizeof *kRows);

const RecurrentRow& chosen() {
  static const RecurrentRow& row = select_row(kRows);
  return row;
}
}  // namespace

int recurrent_rows(RowInfo* out, int capacity) {
  for (int n = 0; n < kRowCount && n < capacity; n++)
    out[n] = {"recurrent", "f32", kRows[n].function, kRows[n].needs, (kRows[n].needs & ~isa::allowed()) == 0, &kRows[n] == &select_row(kRows)};
  return kRowCount;
}
int recurrent_table(const RecurrentRow** rows) {
  *rows = kRows;
  return kRowCount;
}

void lstm_step(const LstmStep<float>& a) { chosen().lstm(a); }
void lstm_step(const LstmStep<double>& a) { lstm_run<simd::F64>(a); }
void lstm_step_grad(const LstmStepGrad<float>& a) { chosen().lstm_grad(a); }
void lstm_step_grad(const LstmStepGrad<double>& a) { lstm_grad_run<simd::F64>(a); }
void gru_step(const GruStep<float>& a) { chosen().gru(a); }
void gru_step(const GruStep<double>& a) { gru_run<simd::F64>(a); }
void gru_step_grad(const GruStepGrad<float>& a) { chosen().gru_grad(a); }
void gru_step_grad(const GruStepGrad<double>& a) { gru_grad_run<simd::F64>(a); }

}  // namespace tersor
