// Products of selected rows, and ternary projections (rows_dot.cu), for dual modules too.
#pragma once
#include "cuda/offsets.h"
#include "cuda/packed.h"

namespace tersor {
namespace cuda {

struct RowsProduct {
  int64_t k = 0, m = 0, n = 0, count = 0, w_row = 0, y_row = 0;
  const float* scale = nullptr;  // of row r: scale[r * scale_step]
  int64_t scale_step = 0;
  const float* bias = nullptr;   // [n]
  bool scatter = false;          // y[vector * y_row + row], else + place in the list
  RuleCheck rule;                // of the list

  // An entry is a row of w, and more than the one before it in the same list.
  __device__ bool check(int64_t entry, int64_t row, const int32_t* index, const int32_t* offsets, int64_t vector) const {
    const int64_t first = offsets ? offsets[vector] : 0;
    const bool ascends = entry <= first || index[entry - 1] < row;
    if (row >= 0 && row < n && ascends) return true;
    rule.report(entry);
    return false;
  }
};

// y = x w^T of the listed rows: one list, or with `offsets` [m + 1] a list for each vector of x [m, k].
Status rows_product(Stream& s, const RowsProduct& p, const TensorRef& w, const float* x, const int32_t* index, const int32_t* offsets, float* y);
// y [m, n] = sqrt(3 / n) P x
Status ternary_project(Stream& s, const float* x, int64_t m, const uint8_t* packed, int64_t n, int64_t k, float* y);

}  // namespace cuda
}  // namespace tersor
