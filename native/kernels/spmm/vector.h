// One row of x times a sparse weight in blocks, with a bit mask, or with two of each four: y[r] = (sum_c W[r,c] x[c]) * scale[r] + bias[r].
//
// Contract:
// - values are float, or int8_t if quantized. Rows [0, rows) of W; scale (stepped by scale_step) and bias may be null, y has `rows` entries.
// - blocks: block row b has the entries indptr[b] .. indptr[b+1] - 1; block e lies at values + e * area, row-major, and covers the columns
//   from index16[e] * block_cols. x is readable to the end of the last block column; rows of a block beyond `rows` are not stored.
// - bitmask: bit c % 8 of byte bits[r * index_row + c / 8] says that W[r,c] is stored; the values of row r begin at values[indptr[r]], in
//   order. A row with another number of bits than indptr[r+1] - indptr[r], or with bits from cols on, sets *damaged; its y means nothing.
//   `rows` may be part of a matrix, but indptr[rows] is where the values end that may be read.
//   x is readable (and zero) up to a multiple of 64.
// - two_of_four: values[r * value_row + 2 g] and [.. + 1] belong to columns 4 g + i and 4 g + j, where i and j are the lower and upper two bits
//   of nibble g % 2 of byte bits[r * index_row + g / 2]; value_row = 2 * ceil(cols / 4). x is readable (and zero) up to a multiple of 32.
// - sums run in a fixed order; |error| <= (entries + 24) * 2^-24 * sum |w||x|. NaN propagates. No alignment is needed; values and indices are
//   read exactly, nothing behind them.
#pragma once
#include "kernels/spmm/spmm.h"

namespace tersor {

struct SpmmVector {
  SpmmShape shape = SpmmShape::entry;  // blocks
  int64_t rows = 0, cols = 0;
  const int32_t* indptr = nullptr;     // blocks, bitmask
  const uint16_t* index16 = nullptr;   // blocks
  const uint8_t* bits = nullptr;       // bitmask, two_of_four
  int64_t index_row = 0, value_row = 0;
  const void* values = nullptr;
  bool quantized = false;
  const float* scale = nullptr;
  int64_t scale_step = 0;
  const float* bias = nullptr;
  const float* x = nullptr;
  float* y = nullptr;
  bool* damaged = nullptr;             // bitmask: set when a row is damaged, else left alone
};

using SpmmVectorKernel = void (*)(const SpmmVector&);
struct SpmmVectorRow {
  const char* variant;
  uint32_t needs;
  const char* function;
  SpmmVectorKernel kernel;
};

#define TERSOR_SPMM_VECTOR(variant, needs, function) void function(const SpmmVector&);
#include "kernels/spmm/vector.inc"
#undef TERSOR_SPMM_VECTOR

struct SpmmVectorKernels {
  SpmmVectorKernel blocks, bitmask, two_of_four;
};
const SpmmVectorKernels& spmm_vector_kernels();  // the chosen rows
int spmm_vector_table(const SpmmVectorRow** rows);
int spmm_vector_rows(RowInfo* out, int capacity);

}  // namespace tersor
