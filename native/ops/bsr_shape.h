// Blocked CSR: W[rows, cols] in blocks of 1x16, 4x4 or 16x1 that hold a nonzero; block e has 16 values, row-major, and its block column in
// columns (u16, ascending in each block row); indptr i32 per block row. Blocks may reach beyond the last row or column with zeros.
#pragma once
#include "kernels/spmm/spmm.h"
#include "ops/csr_shape.h"

namespace tersor {

struct BsrShape {
  SpmmShape kind = SpmmShape::row16;
  int64_t block_rows = 0, block_cols = 0;  // of one block
  int64_t rows = 0, cols = 0;              // blocks of the matrix
};

// ERR_OPTION for other blocks or sizes, ERR_LIMIT beyond 65536 block columns.
Status bsr_shape(const char* op, int64_t rows, int64_t cols, int64_t block_rows, int64_t block_cols, BsrShape* out);
// dtypes, ranks and lengths of values, indptr, columns; touches no data.
Status bsr_check_types(const char* op, const BsrShape& shape, const TensorRef& values, const TensorRef& indptr, const TensorRef& columns);

}  // namespace tersor
