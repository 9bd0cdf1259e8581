// What integer convolutions on images with channels last need beside the products of kernels/qgemm and kernels/channels_last: codes as numbers on their grid,
// and what becomes of exact sums. All rows give equal bits, but for the transcendental activations, which agree as simd/math.h says.
//   grid:   out[r][i] = q[r][i] - zero, a whole number in f32
//   deep:   a row of a depthwise convolution on such numbers: sums[i][c] over ky, kx of rows[ky][i * step + kx * gap + c] w[ky * kw + kx][c], finished. With codes of
//           weights they are exact while taps * 255 * 128 < 2^24. rows and w are read in vectors: channels rounded up to 16.
//   finish: v = sums[i][c] as f32 * scale[c] + bias[c], each step rounded; v = v + residual[i][c]; v = act(v) * after + shift (one multiply-add, left out where they
//           are 1 and 0); y = v, or the code of v: clamp(round_half_even(v / y_scale) + y_zero, 0, 255), y_zero where v is NaN (the bits of QgemmQuantize)
// Else exactly the named elements are read and written; no alignment is assumed. y overlaps nothing but residual, which may be y itself where y is f32.
#pragma once
#include "kernels/channels_last/channels_last.h"

namespace tersor {

constexpr int64_t kQconvMostTaps = 514;  // of a depthwise convolution: 514 * 255 * 128 < 2^24

struct QconvGrid {
  const void* x;  // runs of n codes, or of n values of f32 that are quantized by scale and zero first
  bool codes;
  float scale;
  int32_t zero;
  int64_t runs, n, x_run, out_run;  // elements between the starts of runs
  float* out;
};

struct QconvFinish {
  const int32_t* sums;  // readable in whole vectors
  int64_t sums_row, rows, columns;
  const float* scale;     // [columns]
  const float* bias;      // [columns] or null
  const float* residual;  // or null
  int64_t residual_row;
  ConvFinish act;
  bool tame;   // there is no residual, and v is a number below 2^60 in magnitude: a promise
  bool codes;  // y is uint8_t, else float
  float y_scale;
  int32_t y_zero;
  void* y;
  int64_t y_row;
};

struct QconvDeep {
  const float* const* rows;  // [kh]
  int64_t kh, kw, step, gap;
  int64_t pixels, channels;
  const float* w;
  int64_t w_row;
  QconvFinish finish;  // its sums, rows and columns are not used
};

struct QconvRow {
  uint32_t needs;
  const char* function;
  void (*finish)(const QconvFinish&);
  void (*grid)(const QconvGrid&);
  void (*deep)(const QconvDeep&);
};

#define TERSOR_QCONV(needs, name)     \
  void name(const QconvFinish&);      \
  void name##_grid(const QconvGrid&); \
  void name##_deep(const QconvDeep&);
#include "kernels/qconv/kernels.inc"
#undef TERSOR_QCONV

const QconvRow& qconv_row();               // the chosen one
int qconv_all_rows(const QconvRow** out);  // every row compiled in, best first
int qconv_rows(RowInfo* out, int capacity);

}  // namespace tersor
