// One channel against one small kernel: the inner loops of depthwise convolution and its adjoints, on the planes of kernels/conv/shift.h.
//   run: y[r * y_row + j] = init + sum over t < taps of w[t] x[offset[t] + r * x_row + j],  r < rows, j < n
//   dot: sum[t] += sum over r, j of d[r * d_row + j] x[offset[t] + r * x_row + j], sums in double
// An element of y is a chain of multiply-adds in the order of the taps (AVX, NEON and the f32 reference fuse them), so all rows of `run` give
// identical bits. dot adds a row of the image in lanes of the vector width: rows agree within taps' error 2^-24 (2 + n) sum |d x|.
// Exactly the named elements are read and written; no alignment is assumed. y overlaps nothing.
#pragma once
#include "kernels/row.h"
#include "simd/target.h"

namespace tersor {

template <class T> struct DepthwiseArgs {
  const T* x;
  const int64_t* offset;
  const T* w;
  int64_t taps;
  int64_t rows, n, x_row;
  T* y;
  int64_t y_row;
  T init;
};
template <class T> struct DepthwiseDotArgs {
  const T* x;
  const int64_t* offset;
  int64_t taps;
  int64_t rows, n, x_row;
  const T* d;
  int64_t d_row;
  double* sum;
};

template <class Args> struct DepthwiseRow {
  const char* variant;
  uint32_t needs;
  const char* function;
  void (*kernel)(const Args&);
};

#define TERSOR_DEPTHWISE(variant, needs, function) void function(const DepthwiseArgs<float>& a);
#define TERSOR_DEPTHWISE_DOT(variant, needs, function) void function(const DepthwiseDotArgs<float>& a);
#include "kernels/depthwise/kernels.inc"
#undef TERSOR_DEPTHWISE
#undef TERSOR_DEPTHWISE_DOT

int depthwise_rows(RowInfo* out, int capacity);
int depthwise_table(const DepthwiseRow<DepthwiseArgs<float>>** rows);  // all rows, for tests
int depthwise_dot_table(const DepthwiseRow<DepthwiseDotArgs<float>>** rows);

// The chosen row for f32; plain code for f64.
void depthwise(const DepthwiseArgs<float>& a);
void depthwise(const DepthwiseArgs<double>& a);
void depthwise_dot(const DepthwiseDotArgs<float>& a);
void depthwise_dot(const DepthwiseDotArgs<double>& a);

}  // namespace tersor
