// Arithmetic on long vectors, the inner loops of power iteration and Lanczos:
//   dot:    sum of a[i] * b[i] in double. 16 running sums, sum l takes the elements i with i mod 16 = l in order; then halves are added
//           (l + 8, l + 4, l + 2, l + 1). Products of floats are exact in double, so all rows give identical bits.
//   axpby:  y[i] = alpha x[i] + beta y[i], one rounding for the product beta y[i] and one for the rest (fma); beta = 0 does not read y.
//           x and y are the same or do not overlap. All rows give identical bits.
// No alignment is assumed; exactly n elements are touched.
#pragma once
#include "kernels/row.h"
#include "simd/target.h"

namespace tersor {

struct Blas1Row {
  const char* variant;
  uint32_t needs;
  const char* function;
  double (*dot)(const float* a, const float* b, int64_t n);
  void (*axpby)(float* y, const float* x, int64_t n, float alpha, float beta);
};

#define TERSOR_BLAS1(needs, name)                                       \
  double blas1_dot_##name(const float* a, const float* b, int64_t n); \
  void blas1_axpby_##name(float* y, const float* x, int64_t n, float alpha, float beta);
#include "kernels/blas1/kernels.inc"
#undef TERSOR_BLAS1

int blas1_rows(RowInfo* out, int capacity);
int blas1_table(const Blas1Row** rows);  // all rows, for tests

// The chosen row for f32; plain code in the same order of summation for f64.
double blas1_dot(const float* a, const float* b, int64_t n);
double blas1_dot(const double* a, const double* b, int64_t n);
void blas1_axpby(float* y, const float* x, int64_t n, double alpha, double beta);
void blas1_axpby(double* y, const double* x, int64_t n, double alpha, double beta);

}  // namespace tersor
