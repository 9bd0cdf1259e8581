// Layer normalisation of each of `rows` contiguous rows of n >= 1 elements (Ba et al. 2016, arXiv 1607.06450, eq. 4):
//   mean = avg x, rstd = 1 / sqrt(avg (x - mean)^2 + eps), y = (x - mean) rstd gamma + beta
// gamma and beta may be null (1 and 0). Sums in the order of simd/fold.h; the mean is an estimate plus the mean of what is left of it, so a
// large common offset costs no accuracy. mean and rstd are written per row. y may be x.
//   gradient: with h = (x - mean) rstd, g = dy gamma:  dx = rstd (g - avg g - h avg(g h)), dgamma += dy h, dbeta += dy
// dgamma and dbeta are added to, in row order. dx may be dy. Nothing else overlaps.
// Errors against exact arithmetic, h exact: y: 48 u (1 + |h|) (1 + |gamma|); dgamma, dbeta: 80 u times the sum of the terms' magnitudes.
// Exactly the named elements are read and written; no alignment is assumed. All rows of the table give identical bits.
#pragma once
#include "kernels/row.h"
#include "simd/target.h"

namespace tersor {

template <class T> struct LayerNormArgs {
  const T* x;
  const T* gamma;
  const T* beta;
  T* y;
  T* mean;
  T* rstd;
  int64_t rows, n;
  double eps;
};
template <class T> struct LayerNormGradArgs {
  const T* x;
  const T* gamma;
  const T* mean;
  const T* rstd;
  const T* dy;
  T* dx;
  T* dgamma;
  T* dbeta;
  int64_t rows, n;
};

template <class Args> struct LayerNormRow {
  const char* variant;
  uint32_t needs;
  const char* function;
  void (*kernel)(const Args&);
};

#define TERSOR_LAYER_NORM(variant, needs, function) void function(const LayerNormArgs<float>& a);
#define TERSOR_LAYER_NORM_GRAD(variant, needs, function) void function(const LayerNormGradArgs<float>& a);
#include "kernels/layer_norm/kernels.inc"
#undef TERSOR_LAYER_NORM
#undef TERSOR_LAYER_NORM_GRAD

int layer_norm_rows(RowInfo* out, int capacity);
int layer_norm_table(const LayerNormRow<LayerNormArgs<float>>** rows);  // all rows, for tests
int layer_norm_grad_table(const LayerNormRow<LayerNormGradArgs<float>>** rows);

// The chosen row for f32; plain code for f64.
void layer_norm(const LayerNormArgs<float>& a);
void layer_norm(const LayerNormArgs<double>& a);
void layer_norm_grad(const LayerNormGradArgs<float>& a);
void layer_norm_grad(const LayerNormGradArgs<double>& a);

}  // namespace tersor
