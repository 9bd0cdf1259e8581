// One step of an LSTM and of a GRU behind its products, for unit j of sequence b: formulas of kernels/recurrent/recurrent.h, f32 or f64. Shared by lstm.cu, gru.cu
// (where the recurrent product ends up) and dual_recurrent.cu (behind the twin's and the exact rows).
#pragma once
#include "cuda/nn.h"

namespace tersor {
namespace cuda {

// State matrices [batch, units], gates [batch, gates units]; h_prev may be h and c_prev c. lengths: each in [0, steps], null where all sequences are whole.
template <class T> struct LstmCell {
  int64_t batch, units, step;
  const int32_t* lengths;
  const T *h_prev, *c_prev;
  T *gates, *c, *h, *y;
};
template <class T> struct GruCell {
  int64_t batch, units, step;
  const int32_t* lengths;
  const T* h_prev;
  T *gates, *recurrent, *h, *y;
};

// Whether sequence b has ended before this step; one whose length is none is reported by its first unit.
template <class Cell> __device__ inline bool has_ended(const Cell& a, int64_t b, int64_t j, const IndexCheck& check) {
  if (!a.lengths) return false;
  return (j == 0 && !check.index(b, a.lengths[b])) || a.step >= a.lengths[b];
}

// v: i f g o before their activations.
template <class T> __device__ inline void lstm_cell(const LstmCell<T>& a, int64_t b, int64_t j, const T (&v)[4], bool ended) {
  const int64_t at = b * a.units + j;
  if (ended) {
    a.c[at] = a.c_prev[at];
    a.h[at] = a.h_prev[at];
    a.y[at] = T(0);
    return;
  }
  T* const gates = a.gates + b * 4 * a.units + j;
  const T i = sigmoid_of(v[0]), f = sigmoid_of(v[1]), g = tanh_of(v[2]), o = sigmoid_of(v[3]);
  const T c = fma_of(f, a.c_prev[at], i * g), h = o * tanh_of(c);
  gates[0] = i, gates[a.units] = f, gates[2 * a.units] = g, gates[3 * a.units] = o;
  a.c[at] = c;
  a.h[at] = h;
  a.y[at] = h;
}

// v: r z before their activations and the input's part of n; q: the recurrent part of n, with its bias.
template <class T> __device__ inline void gru_cell(const GruCell<T>& a, int64_t b, int64_t j, const T (&v)[3], T q, bool ended) {
  const int64_t at = b * a.units + j;
  const T before = a.h_prev[at];
  if (ended) {
    a.h[at] = before;
    a.y[at] = T(0);
    return;
  }
  T* const gates = a.gates + b * 3 * a.units + j;
  const T r = sigmoid_of(v[0]), z = sigmoid_of(v[1]);
  const T n = tanh_of(fma_of(r, q, v[2])), h = fma_of(z, before - n, n);
  gates[0] = r, gates[a.units] = z, gates[2 * a.units] = n;
  a.h[at] = h;
  a.y[at] = h;
}

}  // namespace cuda
}  // namespace tersor
