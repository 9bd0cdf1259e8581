// Sparse weight (CSR) times dense input: y = x W^T. Two shapes of kernel: `gather` for one row of x, `panel` for up to 64 rows of x that
// were transposed so that the values of one column of W's index lie side by side.
//
// Contract:
// - Rows [0, rows) of W: entries indptr[r] .. indptr[r+1] - 1, 0 <= indptr[r] <= indptr[r+1]; column indices are uint16_t, or int32_t if
//   wide; values are float, or int8_t if quantized. The result of row r is sum * scale[r * scale_step] + bias[r]; scale, bias may be null.
// - gather: a column index >= cols (or negative) reads x[cols - 1] instead: never out of bounds, but the result is then meaningless
//   (csr_to_dense and spmm max_column are the validators). cols >= 1 unless there are no entries.
// - panel: every column index must be in [0, cols): the caller checked it with max_column. x[c * 64 + i] is column c of row i, out is
//   out[r * 64 + i]; 16 * ceil(width / 16) lanes are read and written per column and row.
// - sums run over the entries in a fixed order that depends on the row alone; not bit-equal between rows of the table. NaN propagates.
// - tolerance: |error| <= (entries + 8) * 2^-24 * sum |w||x|.
// - nothing else is read or written, no alignment needed, no overlap of outputs and inputs.
#pragma once
#include <cstdint>

#include "kernels/row.h"
#include "simd/target.h"

namespace tersor {

constexpr int64_t kSpmmLanes = 64;

struct SpmmArgs {
  int64_t rows = 0, cols = 0;
  const int32_t* indptr = nullptr;  // of row 0; entries are relative to columns/values below
  const void* columns = nullptr;
  const void* values = nullptr;
  bool wide = false, quantized = false;
  const float* scale = nullptr;
  int64_t scale_step = 0;
  const float* bias = nullptr;
  const float* x = nullptr;
  float* y = nullptr;
  int width = 0;  // panel only
};

struct SpmmRow {
  uint32_t needs;
  const char* function;
  void (*gather)(const SpmmArgs&);
  void (*panel)(const SpmmArgs&);
  // Largest column index as unsigned (a negative one shows as >= 2^31); 0 for n = 0.
  uint32_t (*max_column)(const void* columns, bool wide, int64_t n);
};

#define TERSOR_SPMM(needs, name, tolerance) \
  void name(const SpmmArgs&);               \
  void name##_panel(const SpmmArgs&);       \
  uint32_t name##_max(const void* columns, bool wide, int64_t n);
#include "kernels/spmm/kernels.inc"
#undef TERSOR_SPMM

const SpmmRow& spmm_row();
int spmm_all_rows(const SpmmRow** out);
int spmm_rows(RowInfo* out, int capacity);

}  // namespace tersor
