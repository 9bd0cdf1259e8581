// What attention does between its products, on a block of scores S [rows, n] whose rows lie `ld` apart (Dao et al. 2022, algorithms 1 and 4). For row r,
// columns below visible + r (at most n, at least 0) are seen; with
//   t = S scale + column_bias[j] + mask[r][j]; below kHiddenScore (columns by a bias, a mask or both) it counts as -infinity
// attention_soften    m' = max(m, max t), P = exp(t - m'), sum' = sum exp(m - m') + sum P, factor = exp(m - m'): the online softmax. S becomes P (0 where not
//                     seen), and with `uniform` P where uniform < keep, else 0. max -infinity: nothing seen so far; P and factor are then 0.
// attention_slopes    P = exp(t - lse), dP in `d` becomes P (u dP - delta) scale, S becomes u P, with u = 1 or, with `uniform`, 1 / keep where uniform < keep, else 0.
//                     lse +infinity: a row that sees nothing, all zeros.
// attention_scale     row r of S times factor[r].
// attention_dots      delta[r] = sum_j S[r][j] d[r][j].
// NaN and infinities among the scores give NaN as softmax does. Exactly the named elements are read and written, of a row to n; no alignment is assumed.
// Errors against exact arithmetic on the same t: |P' - P| <= (8 + |t - m'|) 2^-24 P; sums of n terms in lanes: (n / lanes + 8) 2^-24 relative.
#pragma once
#include "kernels/row.h"
#include "simd/target.h"

namespace tersor {

constexpr double kHiddenScore = -1e29;

template <class T> struct AttentionBlock {
  T* s;
  int64_t rows, n, ld;
  int64_t visible;         // columns that row 0 sees, one more in each row below; any value
  T scale;
  const T* column_bias;    // [n] or null
  const T* mask;           // row r at mask + r * mask_row, or null
  int64_t mask_row;
  const float* uniform;    // row r at uniform + r * uniform_row, or null
  int64_t uniform_row;
  float keep;
  T* max;                  // soften: [rows], changed
  T* sum;                  // soften: [rows], changed
  T* factor;               // soften: written; scale: read
  T* d;                    // slopes, dots: rows d_ld apart
  int64_t d_ld;
  const T* lse;            // slopes: [rows]
  T* delta;                // slopes: read; dots: written
};

using AttentionKernel = void (*)(const AttentionBlock<float>&);
struct AttentionRow {
  const char* variant;
  uint32_t needs;
  const char* function;
  AttentionKernel soften, slopes, scale, dots;
};

#define TERSOR_ATTENTION(variant, needs, name) \
  void name##_soften(const AttentionBlock<float>&); \
  void name##_slopes(const AttentionBlock<float>&); \
  void name##_scale(const AttentionBlock<float>&); \
  void name##_dots(const AttentionBlock<float>&);
#include "kernels/attention/kernels.inc"
#undef TERSOR_ATTENTION

int attention_rows(RowInfo* out, int capacity);
int attention_table(const AttentionRow** rows);  // all rows, for tests

// The chosen row for f32; plain code for f64.
void attention_soften(const AttentionBlock<float>& b);
void attention_slopes(const AttentionBlock<float>& b);
void attention_scale(const AttentionBlock<float>& b);
void attention_dots(const AttentionBlock<float>& b);
void attention_soften(const AttentionBlock<double>& b);
void attention_slopes(const AttentionBlock<double>& b);
void attention_scale(const AttentionBlock<double>& b);
void attention_dots(const AttentionBlock<double>& b);

}  // namespace tersor
