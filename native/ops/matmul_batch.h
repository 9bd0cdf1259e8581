// Batch dimensions of matrices: everything before the last two, as broadcast products of matrices use them.
#pragma once
#include "base/tensor_ref.h"

namespace tersor {

// The batch dimensions of a tensor as a tensor of its own.
inline TensorRef batch_of(const TensorRef& t) {
  TensorRef b = t;
  b.rank = t.rank - 2;
  return b;
}

// Where element `index` of the batch begins, in elements.
inline int64_t batch_offset(const TensorRef& batch, int64_t index) {
  int64_t at = 0;
  for (int i = batch.rank - 1; i >= 0; i--) {
    at += index % batch.shape[i] * batch.stride[i];
    index /= batch.shape[i];
  }
  return at;
}

// True when the batch dimensions and the rows of A are one long run of rows (then a B without a batch needs one product only).
inline bool rows_are_one_run(const TensorRef& batch, int64_t m, int64_t a_row) {
  int64_t expected = m * a_row;
  for (int i = batch.rank - 1; i >= 0; i--) {
    if (batch.shape[i] != 1 && batch.stride[i] != expected) return false;
    expected *= batch.shape[i];
  }
  return true;
}

}  // namespace tersor
