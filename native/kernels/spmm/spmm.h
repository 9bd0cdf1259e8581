// Sparse weight times dense input, y = x W^T, on one thread. Kernels: `gather` for one row of x against CSR; `panel` for many rows of x that
// were transposed so that their values of one column lie side by side ("lanes"); `transpose` to get there and back; kernels for one row
// of x against the other formats are in vector.h, integer products of blocks in block_dot.h.
//
// Contract:
// - CSR rows [0, rows) of W: entries indptr[r] .. indptr[r+1] - 1, 0 <= indptr[r] <= indptr[r+1]; column indices are uint16_t, or int32_t if
//   wide; values are float, or int8_t if quantized.
// - gather: the result of row r is sum * scale[r * scale_step] + bias[r]; scale, bias may be null. A column index >= cols (or negative) reads
//   x[cols - 1] instead: never out of bounds, but the result is then meaningless (csr_to_dense and max_column are the validators). cols >= 1
//   unless there are no entries.
// - panel: see SpmmPanel. Every column index of the entries must be in range: the caller checked it with max_column.
// - sums run over the entries in a fixed order that depends on the row, the limits and the lanes alone; not bit-equal between rows of the
//   table. NaN propagates; a value that is not stored multiplies nothing.
// - tolerance: |error| <= (entries + 8) * 2^-24 * sum |w||x|.
// - nothing else is read or written, no alignment needed, no overlap of outputs and inputs.
#pragma once
#include <cstdint>

#include "kernels/row.h"
#include "simd/target.h"

namespace tersor {

constexpr int kSpmmMaxLanes = 128;

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
};

// What one entry of the structure stands for: rows x columns of values, row-major within the block.
enum class SpmmShape : int { entry, row16, square4, column16 };  // 1x1, 1x16, 4x4, 16x1
constexpr int spmm_block_rows(SpmmShape s) { return s == SpmmShape::column16 ? 16 : s == SpmmShape::square4 ? 4 : 1; }
constexpr int spmm_block_cols(SpmmShape s) { return s == SpmmShape::row16 ? 16 : s == SpmmShape::square4 ? 4 : 1; }

// y[(r * block_rows + i) * y_pitch + lane] (+)= sum over the entries e of block row r, from cursor[r] to about the first with columns[e] >= limit, of
// sum_j values[e * area + i * block_cols + j] * x[(columns[e] * block_cols + j) * x_pitch + lane]. cursor[r] becomes the first entry not taken, so
// calls with rising limits walk through panels of x that fit the cache; the call with `last` takes all up to end[r]. "About": single entries are
// taken in groups of 8, whose number is steadier than that of the entries; up to 4 more or fewer than the limit says.
struct SpmmPanel {
  SpmmShape shape = SpmmShape::entry;
  int64_t rows = 0;               // block rows
  const int32_t* end = nullptr;   // [rows]
  int32_t* cursor = nullptr;      // [rows]
  const void* columns = nullptr;  // uint16_t; int32_t if wide (SpmmShape::entry only)
  bool wide = false;
  const float* values = nullptr;
  int64_t limit = 0;
  bool last = false;
  const float* x = nullptr;
  float* y = nullptr;
  int64_t x_pitch = 0, y_pitch = 0;  // floats between columns of x and between rows of y, >= lanes
  int lanes = 0;      // 16, 32, 64 or 128, at most the row's lanes of this shape
  bool accumulate = false;
  // While single entries of row r are summed, the second cache level is asked for ahead_bytes from ahead + r * ahead_pitch: only a hint.
  const float* ahead = nullptr;
  int64_t ahead_pitch = 0, ahead_bytes = 0;
};

// out[c * out_row + r] = in[r * in_row + c] for r < rows, c < cols; with scale and bias (each may be null) then * scale[r * scale_step], + bias[r].
struct SpmmTranspose {
  const float* in = nullptr;
  int64_t in_row = 0, rows = 0, cols = 0;
  float* out = nullptr;
  int64_t out_row = 0;
  const float* scale = nullptr;
  int64_t scale_step = 0;
  const float* bias = nullptr;
};

struct SpmmRow {
  uint32_t needs;
  const char* function;
  int lanes[4];        // by SpmmShape: the widest panel that pays
  int64_t panel_bytes; // of x, that should stay in the first cache level
  void (*gather)(const SpmmArgs&);
  void (*panel)(const SpmmPanel&);
  void (*transpose)(const SpmmTranspose&);
  // Largest column index as unsigned (a negative one shows as >= 2^31); 0 for n = 0.
  uint32_t (*max_column)(const void* columns, bool wide, int64_t n);
};

#define TERSOR_SPMM(needs, name, l0, l1, l2, l3, bytes, tolerance) \
  void name(const SpmmArgs&);                                      \
  void name##_panel(const SpmmPanel&);                             \
  void name##_transpose(const SpmmTranspose&);                     \
  uint32_t name##_max(const void* columns, bool wide, int64_t n);
#include "kernels/spmm/kernels.inc"
#undef TERSOR_SPMM

const SpmmRow& spmm_row();
int spmm_all_rows(const SpmmRow** out);
int spmm_rows(RowInfo* out, int capacity);

}  // namespace tersor
