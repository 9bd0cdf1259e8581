// Products of a sparse matrix W [rows, cols] with dense f32 x, whatever the format of W. With x as rows, y[M,N] = x[M,K] W^T; with x as columns,
// y[M,N] = W x[K,N]; then * scale + bias for each row of W. The values of x that one element of W meets ("lanes") lie side by side, the rows of W
// are cut into tasks of about equal numbers of entries, and each task walks through the panels of x (docs/performance/spmm.md).
#pragma once
#include "base/alloc.h"
#include "kernels/spmm/spmm.h"
#include "ops/util.h"

namespace tersor {

// Tasks over the rows of W: task t has rows [first[t], first[t + 1]). A function of the offsets alone, so results do not depend on threads.
struct SpmmTasks {
  Scratch memory;
  const int32_t* first = nullptr;
  int64_t count = 0;
  int64_t most_entries = 0, most_rows = 0;

  // At most max_rows rows and, unless it is one row, max_entries entries in a task; whole multiples of `unit` rows where that is possible.
  Status cut(const char* op, const int32_t* indptr, int64_t rows, int64_t max_rows, int64_t max_entries, int64_t unit);
};

struct SpmmMatrix {
  SpmmShape shape = SpmmShape::entry;
  int64_t rows = 0, cols = 0;       // elements of W; the last blocks may reach beyond
  int64_t padded_cols = 0;          // >= cols: every column index is below it (0: cols, rounded up to whole blocks)
  const int32_t* indptr = nullptr;  // per block row
  const void* columns = nullptr;
  bool wide = false;
  bool check_columns = false;       // whether they are in range is not known yet: ERR_MODEL_FORMAT where one is not
  const void* values = nullptr;     // f32, or i8 if quantized
  bool quantized = false;
  // Columns of block rows [begin, end) as uint16_t, for formats that hold them otherwise; null: `columns` has them. Writes exactly as many
  // as indptr says; false: the index does not fit (ERR_MODEL_FORMAT).
  bool (*decode)(const void* context, int64_t begin, int64_t end, uint16_t* columns) = nullptr;
  const void* context = nullptr;
  const float* scale = nullptr;  // [rows] or [1]
  int64_t scale_step = 0;
  const float* bias = nullptr;   // [rows]

  int64_t block_rows() const { return (rows + spmm_block_rows(shape) - 1) / spmm_block_rows(shape); }
};

constexpr int64_t kSpmmFewRows = 3;  // up to here one row of x at a time is faster than panels

enum class SpmmSide { rows, columns };

// n vectors of x: x [n, cols] and y [n, rows], or x [cols, n] and y [rows, n] (SpmmShape::entry only); all contiguous.
Status spmm_many(const char* op, const SpmmMatrix& w, SpmmSide side, const float* x, int64_t n, float* y, const Cancel* cancel);
// The same for CSR and few vectors, one at a time: x [n, cols], y [n, rows]. Columns out of range read x's last value.
Status spmm_few(const char* op, const SpmmMatrix& w, const float* x, int64_t n, float* y, const Cancel* cancel);

}  // namespace tersor
