// Reductions of f32 (and f64) matrices whose rows are contiguous, row_stride elements apart. Results are added to (or compared with)
// what the caller put into sums / extremes, so a reduction may be spread over several calls.
//   sum_rows      sums[r] += sum over c        max_rows, min_rows        extremes[r] = best of extremes[r] and row r
//   sum_columns   sums[c] += sum over r        max_columns, min_columns  extremes[c] = best of extremes[c] and column c
//   count_nonfinite_rows                       sums[r] += number of infinities and NaN in row r
//   argmax_rows (cols >= 1)                    index[r] = position of the first largest element of row r, or of its first NaN
// Sums: blocked, in a fixed order (simd/fold.h: |error| <= 38 u sum|x| for rows; columns 36 u sum|x|, u = 2^-24), block results in double.
// Extremes: NaN when any element is NaN; which of +0 and -0 is found is not specified.
// Exactly the named elements are read; no alignment is assumed. All rows of the table give identical bits (but for the sign of a zero extreme).
#pragma once
#include "kernels/row.h"
#include "simd/target.h"

namespace tersor {

enum class ReduceOp : int32_t { sum_rows, sum_columns, max_rows, max_columns, min_rows, min_columns, count_nonfinite_rows, argmax_rows, count };

template <class T> struct ReduceArgs {
  ReduceOp op;
  const T* x;
  int64_t rows, cols, row_stride;
  double* sums;
  T* extremes;
  int32_t* index;
};

using ReduceKernel = void (*)(const ReduceArgs<float>&);
struct ReduceRow {
  const char* variant;
  uint32_t needs;
  const char* function;
  ReduceKernel kernel;
};

#define TERSOR_REDUCE(variant, needs, function) void function(const ReduceArgs<float>& a);
#include "kernels/reduce/kernels.inc"
#undef TERSOR_REDUCE

int reduce_rows(RowInfo* out, int capacity);
int reduce_table(const ReduceRow** rows);  // all rows, for tests

// The chosen row for f32; plain code for f64.
void reduce(const ReduceArgs<float>& a);
void reduce(const ReduceArgs<double>& a);

}  // namespace tersor
