// Activation functions and their derivatives on contiguous runs; formulas: nonlinear.def.
//   forward:  y[i] = f(x[i]; p, q)             y may be x
//   gradient: y[i] = dy[i] f'(x[i]; p, q)      y may be x or dy; dy is null in the forward direction
// Where f has a kink the derivative is that of the left side (hard_sigmoid: 0 at both corners). Errors of f: 8 ulp (softplus: and what rounding
// p x does to it), but gelu, mish, silu and gelu_tanh 2^-21 max(|f|, |x| / 2). Exactly n elements are read and written; no alignment is assumed. All rows give identical bits.
#pragma once
#include "kernels/row.h"
#include "simd/target.h"

namespace tersor {

enum class NonlinearOp : int32_t {
#define TERSOR_NONLINEAR(name, formula, slope) name,
#include "kernels/nonlinear/nonlinear.def"
#undef TERSOR_NONLINEAR
  count
};

template <class T> struct NonlinearArgs {
  NonlinearOp op;
  const T* x;
  const T* dy;
  T* y;
  int64_t n;
  T p, q;
};

struct NonlinearRow {
  const char* variant;
  uint32_t needs;
  const char* function;
  void (*kernel)(const NonlinearArgs<float>&);
};

#define TERSOR_NONLINEAR_ROW(variant, needs, function) void function(const NonlinearArgs<float>& a);
#include "kernels/nonlinear/kernels.inc"
#undef TERSOR_NONLINEAR_ROW

int nonlinear_rows(RowInfo* out, int capacity);
int nonlinear_table(const NonlinearRow** rows);  // all rows, for tests

// The chosen row for f32; plain code for f64.
void nonlinear(const NonlinearArgs<float>& a);
void nonlinear(const NonlinearArgs<double>& a);

}  // namespace tersor
