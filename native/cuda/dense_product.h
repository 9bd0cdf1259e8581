// Products of any strides in f32 or f64, for ops that need one on their way (recurrent layers): C = A B (+ C) (+ bias), every element one chain of fused
// multiply-adds over k. Tiles of 64 x 64. The products that are ops of their own are elsewhere.
#pragma once
#include "cuda/nn.h"

namespace tersor {
namespace cuda {

// c[m][n] = sum over k of a[m][k] b[k][n] + bias[n]; c is row-major with rows c_row apart.
template <class T> struct DenseProduct {
  int64_t m, n, k;
  const T* a;
  int64_t a_row, a_col;
  const T* b;
  int64_t b_row, b_col;
  T* c;
  int64_t c_row;
  const T* bias;  // [n] or null
};
template <class T> Status dense_product(Stream& stream, const DenseProduct<T>& p);

// out[j] = sum over rows of x [rows, n], in f64 over chunks of rows.
template <class T> Status column_sums(Stream& stream, const T* x, int64_t rows, int64_t n, T* out);

}  // namespace cuda
}  // namespace tersor
