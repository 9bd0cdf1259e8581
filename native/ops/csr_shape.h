// Checks that the CSR ops share: a matrix W[rows, cols] as values[nnz], indptr i32 [rows + 1], columns u16 or i32 [nnz].
#pragma once
#include "ops/util.h"

namespace tersor {

// dtypes and ranks; touches no data.
Status csr_check_types(const char* op, const TensorRef& values, const TensorRef& indptr, const TensorRef& columns);
// indptr starts at 0, never falls, ends at nnz: ERR_MODEL_FORMAT otherwise. O(rows).
Status csr_check_indptr(const char* op, const int32_t* indptr, int64_t rows, int64_t nnz);

}  // namespace tersor
