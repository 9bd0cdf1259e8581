// Softmax and log-softmax of each of `rows` contiguous rows of n elements: with m = max x and s = sum exp(x - m) in the order of simd/fold.h,
//   y = exp(x - m) / s      log: y = (x - m) - log s
// y may be x. A row of nothing but -inf gives zeros (log: -inf); a row with NaN or +inf gives NaN. n = 0 is allowed.
// Errors: softmax |dy| <= (8 + |x - m|) u y + 2^-149; log-softmax |dy| <= 4 u (1 + |y| + |x - m| + log s), u = 2^-24. Exactly the named elements
// are read and written; no alignment is assumed. All rows of the table give identical bits.
#pragma once
#include "kernels/row.h"
#include "simd/target.h"

namespace tersor {

template <class T> struct SoftmaxArgs {
  const T* x;
  T* y;
  int64_t rows, n;
  bool log;
};

using SoftmaxKernel = void (*)(const SoftmaxArgs<float>&);
struct SoftmaxRow {
  const char* variant;
  uint32_t needs;
  const char* function;
  SoftmaxKernel kernel;
};

#define TERSOR_SOFTMAX(variant, needs, function) void function(const SoftmaxArgs<float>& a);
#include "kernels/softmax/kernels.inc"
#undef TERSOR_SOFTMAX

int softmax_rows(RowInfo* out, int capacity);
int softmax_table(const SoftmaxRow** rows);  // all rows, for tests

// The chosen row for f32; plain code for f64.
void softmax(const SoftmaxArgs<float>& a);
void softmax(const SoftmaxArgs<double>& a);

}  // namespace tersor
