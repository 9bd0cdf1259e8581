// Transforms of Winograd's convolution F(m x m, 3 x 3), m = 2 or 4, on images with channels last (S. Winograd, Arithmetic Complexity of Computations, 1980;
// A. Lavin, S. Gray, "Fast Algorithms for Convolutional Neural Networks", 2016). A tile is m x m results; it reads n x n values, n = m + 2, and needs n n
// products of channels in place of 9 m m: 2.25 times fewer for m = 2, 4 times for m = 4. With positions p = row * n + column:
//   input:  v[i][p][c] = (B^T d B)[p] of the n n values d of tile i, which pointers name: x[i * n n + p] + c; what lies in the padding points at zeros
//   filter: u[p] = (G g G^T)[p], in double
//   output: y = finish((A^T m A) + bias + residual), of a tile the part that lies in the result
// Points of interpolation: 0, 1, -1 and infinity for m = 2; 0, sqrt(1/2), -sqrt(1/2), sqrt(2), -sqrt(2) and infinity for m = 4. Points whose products are 1
// keep the entries of all three matrices near 1: the largest error is 1.5 to 2 times that of a direct sum, where the usual 0, 1, -1, 2, -2 give 8 times.
// Every value is computed by the same operations in the same order on every instruction set: all rows give equal bits, but for the transcendental
// activations, which agree as simd/math.h says. Exactly the named elements are read and written; no alignment is assumed.
#pragma once
#include "kernels/channels_last/channels_last.h"

namespace tersor {

struct WinogradInput {
  const float* const* x;
  int64_t tiles, channels;
  float* v;
};

// One tile, some columns.
struct WinogradOutput {
  const float* m;  // [n n, width]
  int64_t width, columns;
  const float* bias;      // [columns] or null
  const float* residual;  // null, or strides of y
  float* y;
  int64_t row, pixel;  // of y, from one to the next
  int64_t rows, across;  // of the tile that are there, 1 to m
  ConvFinish finish;
};

struct WinogradRow {
  uint32_t needs;
  const char* function;
  void (*input)(int64_t m, const WinogradInput&);
  void (*output)(int64_t m, const WinogradOutput&);
};

#define TERSOR_WINOGRAD(needs, name)                \
  void name##_input(int64_t m, const WinogradInput&); \
  void name##_output(int64_t m, const WinogradOutput&);
#include "kernels/winograd/kernels.inc"
#undef TERSOR_WINOGRAD

const WinogradRow& winograd_row();               // the chosen one
int winograd_all_rows(const WinogradRow** out);  // every row compiled in, best first
int winograd_rows(RowInfo* out, int capacity);

// u [n n] of one filter g [3, 3].
void winograd_filter(int64_t m, const double* g, double* u);

}  // namespace tersor
