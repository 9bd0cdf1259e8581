// Batch normalisation of one channel, and normalisation of rows by their root mean square.
//
// batch_norm (Ioffe, Szegedy 2015, algorithm 1): the channel is `runs` runs of n elements, `stride` apart, runs n >= 1:
//   mean = avg x, variance = avg (x - mean)^2, y = f((x - mean) / sqrt(variance + eps) gamma + beta + residual), f(t) = max(0, t) with relu, else t
// The mean is an estimate plus the mean of what is left of it, so a large common offset costs no accuracy. mean and variance are written; residual may be null.
//   gradient: with g = dy where y > 0 and else 0 (y null: g = dy), s = 1 / sqrt(variance + eps), h = (x - mean) s:
//             dx = gamma s (g - avg g - h avg(g h)), dgamma = sum g h, dbeta = sum g, dresidual = g (null when not wanted)
// rms_norm (Zhang, Sennrich 2019, eq. 4) of `rows` contiguous rows of n >= 1 elements; gamma may be null (1):
//   rstd = 1 / sqrt(avg x^2 + eps), y = x rstd gamma
//   gradient: with h = x rstd, g = dy gamma:  dx = rstd (g - h avg(g h)), dgamma += dy h (in row order; null when not wanted)
// Sums are taken in lanes that do not depend on the instruction set and then in double. y may be x, dx may be dy; nothing else overlaps. Exactly the
// named elements are read and written; no alignment is assumed. All rows of the table give identical bits.
#pragma once
#include "kernels/row.h"
#include "simd/target.h"

namespace tersor {

template <class T> struct BatchNormArgs {
  const T* x;
  T* y;
  int64_t runs, stride, n;
  T gamma, beta;
  double eps;
  T* mean;
  T* variance;
  const T* residual;
  bool relu;
};
template <class T> struct BatchNormGradArgs {
  const T* x;
  const T* dy;
  T* dx;
  int64_t runs, stride, n;
  T gamma, mean, variance;
  double eps;
  T* dgamma;
  T* dbeta;
  const T* y;
  T* dresidual;
};
template <class T> struct RmsNormArgs {
  const T* x;
  const T* gamma;
  T* y;
  T* rstd;
  int64_t rows, n;
  double eps;
};
template <class T> struct RmsNormGradArgs {
  const T* x;
  const T* gamma;
  const T* rstd;
  const T* dy;
  T* dx;
  T* dgamma;
  int64_t rows, n;
};

template <class Args> struct NormRow {
  const char* variant;
  uint32_t needs;
  const char* function;
  void (*kernel)(const Args&);
};

#define TERSOR_NORM(needs, suffix)                                      \
  void batch_norm_f32_##suffix(const BatchNormArgs<float>& a);          \
  void batch_norm_grad_f32_##suffix(const BatchNormGradArgs<float>& a); \
  void rms_norm_f32_##suffix(const RmsNormArgs<float>& a);              \
  void rms_norm_grad_f32_##suffix(const RmsNormGradArgs<float>& a);
#include "kernels/norm/kernels.inc"
#undef TERSOR_NORM

int norm_rows(RowInfo* out, int capacity);
// All rows, for tests.
int norm_table(const NormRow<BatchNormArgs<float>>** batch, const NormRow<BatchNormGradArgs<float>>** batch_grad,
               const NormRow<RmsNormArgs<float>>** rms, const NormRow<RmsNormGradArgs<float>>** rms_grad);

// The chosen row for f32; plain code for f64.
void batch_norm(const BatchNormArgs<float>& a);
void batch_norm(const BatchNormArgs<double>& a);
void batch_norm_grad(const BatchNormGradArgs<float>& a);
void batch_norm_grad(const BatchNormGradArgs<double>& a);
void rms_norm(const RmsNormArgs<float>& a);
void rms_norm(const RmsNormArgs<double>& a);
void rms_norm_grad(const RmsNormGradArgs<float>& a);
void rms_norm_grad(const RmsNormGradArgs<double>& a);

}  // namespace tersor
