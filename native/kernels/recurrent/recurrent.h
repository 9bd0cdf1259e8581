// The element-wise half of one step of an LSTM (Hochreiter and Schmidhuber 1997, with the forget gate of Gers et al. 2000) and of a GRU (Cho et al.
// 2014; reset gate applied after the recurrent product), forward and backward, for `rows` sequences and `n` neighbouring units of `width`.
//
// State matrices have rows of `width` elements, gate matrices rows of 4 (LSTM: i f g o) or 3 (GRU: r z n) times `width`; every pointer names the first
// unit of the range, so gate q of unit j in row b is gates[b * 4 * width + q * width + j]. Row b takes part in step `step` when lengths is null or
// step < lengths[b]; otherwise its state passes unchanged, its output is 0 and it adds nothing to any gradient.
//
//   LSTM   i = s(i') f = s(f') g = tanh(g') o = s(o')   c = f c_prev + i g   h = y = o tanh(c)       (the primed values stand in `gates` before)
//          with d = dh + dy:  e = dc + d o (1 - tanh(c)^2)   dc = e f   di' = e g i (1 - i)   df' = e c_prev f (1 - f)   dg' = e i (1 - g^2)
//          do' = d tanh(c) o (1 - o)   dh = 0 (the product with the recurrent weight is added to it next)
//   GRU    r = s(r') z = s(z') n = tanh(n' + r q)   h = y = (1 - z) n + z h_prev                     (q: recurrent part of n, with its bias)
//          with d = dh + dy:  dn' = d (1 - z) (1 - n^2)   dz' = d (h_prev - n) z (1 - z)   dr' = dn' q r (1 - r)   dq = dn' r   dh = d z
//
// Nothing overlaps but h_prev and h, c_prev and c, which may be the same. Exactly the named elements are read and written; no alignment is assumed.
// All rows of the table give identical bits; f64 is plain code. Errors: those of simd/math.h (4 ulp for each sigmoid and tanh) and of the sums as written.
#pragma once
#include "kernels/row.h"
#include "simd/target.h"

namespace tersor {

template <class T> struct LstmStep {
  int64_t rows, n, width, step;
  const int32_t* lengths;
  T* gates;  // activations replace what goes into them
  const T* c_prev;
  const T* h_prev;
  T* c;
  T* h;
  T* y;
};
template <class T> struct LstmStepGrad {
  int64_t rows, n, width, step;
  const int32_t* lengths;
  const T* gates;
  const T* c_prev;
  const T* c;
  const T* dy;
  T* dh;
  T* dc;
  T* dgates;
};
template <class T> struct GruStep {
  int64_t rows, n, width, step;
  const int32_t* lengths;
  T* gates;
  const T* recurrent;  // [rows, width]
  const T* h_prev;
  T* h;
  T* y;
};
template <class T> struct GruStepGrad {
  int64_t rows, n, width, step;
  const int32_t* lengths;
  const T* gates;
  const T* recurrent;
  const T* h_prev;
  const T* dy;
  T* dh;
  T* dgates;     // of the input's products: dr' dz' dn'
  T* drecurrent;  // of the recurrent products: dr' dz' dq
};

struct RecurrentRow {
  uint32_t needs;
  const char* function;
  void (*lstm)(const LstmStep<float>&);
  void (*lstm_grad)(const LstmStepGrad<float>&);
  void (*gru)(const GruStep<float>&);
  void (*gru_grad)(const GruStepGrad<float>&);
};

#define TERSOR_RECURRENT(needs, name)          \
  void name##_lstm(const LstmStep<float>&);    \
  void name##_lstm_grad(const LstmStepGrad<float>&); \
  void name##_gru(const GruStep<float>&);      \
  void name##_gru_grad(const GruStepGrad<float>&);
#include "kernels/recurrent/kernels.inc"
#undef TERSOR_RECURRENT

int recurrent_rows(RowInfo* out, int capacity);
int recurrent_table(const RecurrentRow** rows);  // all rows, for tests

// The chosen row for f32; plain code for f64.
void lstm_step(const LstmStep<float>& a);
void lstm_step(const LstmStep<double>& a);
void lstm_step_grad(const LstmStepGrad<float>& a);
void lstm_step_grad(const LstmStepGrad<double>& a);
void gru_step(const GruStep<float>& a);
void gru_step(const GruStep<double>& a);
void gru_step_grad(const GruStepGrad<float>& a);
void gru_step_grad(const GruStepGrad<double>& a);

}  // namespace tersor
