#include "kernels/blas1/blas1.h"

#include "kernels/table.h"
#include "simd/vec_scalar.h"

#include "kernels/blas1/generic.h"

namespace tersor {
namespace {

template <class T> double dot_lanes(const T* a, const T* b, int64_t n) {
  double sum[16] = {};
  int64_t i = 0;
  for (; i + 16 <= n; i += 16)
    for (int l = 0; l < 16; l++) sum[l] += static_cast<double>(a[i + l]) * static_cast<double>(b[i + l]);
  for (int l = 0; i + l < n; l++) sum[l] += static_cast<double>(a[i + l]) * static_cast<double>(b[i + l]);
  for (int half = 8; half > 0; half /= 2)
    for (int l = 0; l < half; l++) sum[l] += sum[l + half];
  return sum[0];
}

const Blas1Row kRows[] = {
#define TERSOR_BLAS1(needs, name) {"f32", needs, "blas1_" #name, blas1_dot_##name, blas1_axpby_##name},
#include "kernels/blas1/kernels.inc"
#undef TERSOR_BLAS1
};

}  // namespace

double blas1_dot_f32_1_scalar(const float* a, const float* b, int64_t n) { return dot_lanes(a, b, n); }
void blas1_axpby_f32_1_scalar(float* y, const float* x, int64_t n, float alpha, float beta) { axpby_run<simd::F32>(y, x, n, alpha, beta); }

int blas1_rows(RowInfo* out, int capacity) { return describe_rows("blas1", kRows, out, capacity); }
int blas1_table(const Blas1Row** rows) {
  *rows = kRows;
  return static_cast<int>(sizeof kRows / sizeof *kRows);
}

double blas1_dot(const float* a, const float* b, int64_t n) {
  static const auto chosen = select_row(kRows).dot;
  return chosen(a, b, n);
}
double blas1_dot(const double* a, const double* b, int64_t n) { return dot_lanes(a, b, n); }
void blas1_axpby(float* y, const float* x, int64_t n, double alpha, double beta) {
  static const auto chosen = select_row(kRows).axpby;
  chosen(y, x, n, static_cast<float>(alpha), static_cast<float>(beta));
}
void blas1_axpby(double* y, const double* x, int64_t n, double alpha, double beta) { axpby_run<simd::F64>(y, x, n, alpha, beta); }

}  // namespace tersor
