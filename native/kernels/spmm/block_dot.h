// Blocks of int8 weights times many rows of x quantized to u8, in integers: four columns of a block at a time (a 4-byte dot product).
//
// Contract:
// - x lies in quads: byte ((c / 4) * lanes + lane) * 4 + c % 4 is column c of the row of x in that lane; for column16, whose blocks are one column
//   wide, byte c * lanes + lane. Written by `quantize`: clamp(round_half_even(x / scale) + zero, 0, 255), NaN gives zero; columns from `cols` to
//   `padded` and lanes from `width` on get the byte `zero`.
// - values: blocks of 1x16 and 4x4 row-major, 16 bytes each. column16: blocks in groups of four (a group is an entry here, the last one filled up with
//   zeros), byte (e * 16 + row) * 4 + j is block j of group e, columns[4 e + j] its column.
// - y[(block row * block_rows + i) * lanes + lane] = float(sum - correction[the same row]), sum = sum of x * w over the entries begin[b] .. end[b] - 1
//   as 32-bit integers. Exact and the same on every row of the table while |sum| < 2^31: at most kSpmmDotMaxDepth columns.
// - columns are below the number of block columns of x: the caller checked. Nothing else is read or written; no alignment is needed.
#pragma once
#include "kernels/spmm/spmm.h"

namespace tersor {

constexpr int kSpmmDotLanes = 64;
constexpr int64_t kSpmmDotMaxDepth = 65793;  // 255 * 128 * 65793 < 2^31 <= 255 * 128 * 65794

struct SpmmDot {
  SpmmShape shape = SpmmShape::row16;
  int64_t rows = 0;  // block rows
  const int32_t* begin = nullptr;
  const int32_t* end = nullptr;
  const uint16_t* columns = nullptr;
  const int8_t* values = nullptr;
  const int32_t* correction = nullptr;
  const uint8_t* x = nullptr;
  float* y = nullptr;
  int lanes = 0;  // 16, 32 or 64
};

struct SpmmQuantize {
  const float* x = nullptr;
  int64_t x_row = 0;
  int width = 0, lanes = 0;
  int64_t cols = 0, padded = 0;  // padded: a multiple of 4
  bool quads = true;
  float scale = 1;
  int32_t zero = 0;
  uint8_t* out = nullptr;
};

struct SpmmDotRow {
  uint32_t needs;
  const char* function;
  void (*dot)(const SpmmDot&);
  void (*sums)(const SpmmDot&, int32_t zero, int32_t* out);  // out[row] = zero * sum of the row's values, for `correction`
  void (*quantize)(const SpmmQuantize&);
};

#define TERSOR_SPMM_DOT(needs, name) \
  void name(const SpmmDot&);         \
  void name##_sums(const SpmmDot&, int32_t zero, int32_t* out); \
  void name##_quantize(const SpmmQuantize&);
#include "kernels/spmm/block_dot.inc"
#undef TERSOR_SPMM_DOT

const SpmmDotRow& spmm_dot_row();
int spmm_dot_all_rows(const SpmmDotRow** out);
int spmm_dot_rows(RowInfo* out, int capacity);

}  // namespace tersor
