// Integer matrix products, exact: acc[M,N] = sum_k A[m,k] * B[n,k] with A unsigned 8-bit, B signed 8-bit, acc 32-bit.
//
// Contract:
// - B is packed for the row by qgemm_pack_blob: panels of nr columns, in a panel groups of kr values of k:
//   panel[(k / kr) * nr * kr + j * kr + k % kr]; k is padded to a multiple of k_pad and j to nr with zeros.
// - A holds m rows, a_row elements apart, of unsigned values in elements of a_bytes (1: uint8_t, 2: uint16_t, for rows that
//   multiply 16-bit pairs). k rounded up to k_pad elements of each row must be readable; the ones past k meet zeros of B, so their
//   content does not matter (for a_bytes = 2 they must still be <= 255).
// - column_sum[n] = sum_k B[n,k]; the result is acc - x_zero * column_sum[n] = sum_k (A - x_zero) * B, 0 <= x_zero <= 255.
// - exact, never saturating, for k <= kQgemmMaxDepth; callers reject larger k.
// - output: c (int32, the result), or f (float): act(float(result) * scale[n] + bias[n]), each step rounded, act as in simd/math.h:
//   the same bits on every row. scale and bias have n entries, bias may be null; column_sum is padded with zeros to whole panels.
// - nothing else is read or written; no alignment is needed; outputs overlap no input.
#pragma once
#include <cstdint>

#include "kernels/row.h"
#include "simd/target.h"

namespace tersor {

constexpr int64_t kQgemmMaxDepth = 65793;  // 255 * 128 * 65793 < 2^31 <= 255 * 128 * 65794

enum class QgemmAct : int32_t { none, relu, gelu, tanh, sigmoid };

struct QgemmBlock {
  int64_t m = 0, n = 0, k = 0;
  const void* a = nullptr;
  int64_t a_row = 0;
  const int8_t* b = nullptr;  // first of the panels that hold columns [0, n)
  const int32_t* column_sum = nullptr;
  int32_t x_zero = 0;
  int32_t* c = nullptr;
  float* f = nullptr;
  int64_t c_row = 0;
  const float* scale = nullptr;
  const float* bias = nullptr;
  QgemmAct act = QgemmAct::none;
};

// out[i] = clamp(round_half_even(x[i] / scale) + zero, 0, 255) as a_bytes elements; NaN gives zero. scale > 0 and finite.
struct QgemmQuantize {
  const float* x;
  int64_t n;
  float scale;
  int32_t zero;
  void* out;
};

struct QgemmRow {
  uint32_t needs;
  const char* function;
  int mr, nr, kr, k_pad, a_bytes;
  void (*block)(const QgemmBlock&);
  void (*quantize)(const QgemmQuantize&);

  int64_t depth(int64_t k) const { return (k + k_pad - 1) / k_pad * k_pad; }
  int64_t panel_bytes(int64_t k) const { return depth(k) * nr; }
  int64_t panels(int64_t n) const { return (n + nr - 1) / nr; }
};

#define TERSOR_QGEMM(needs, name, mr, nr, kr, k_pad, a_bytes, tolerance) \
  void name(const QgemmBlock&);                                          \
  void name##_quantize(const QgemmQuantize&);
#include "kernels/qgemm/kernels.inc"
#undef TERSOR_QGEMM

const QgemmRow& qgemm_row();
int qgemm_all_rows(const QgemmRow** out);
int qgemm_rows(RowInfo* out, int capacity);

// A packed weight matrix w[N,K]: header, column sums, panels. It belongs to the layout of one row; the header tells.
struct QgemmHeader {
  uint32_t magic;
  int32_t nr, kr, k_pad;
  int64_t n, k;
  int64_t reserved[4];
};
static_assert(sizeof(QgemmHeader) == 64, "the column sums start on a cache line");
constexpr uint32_t kQgemmMagic = 0x31475154;  // "TQG1"

int64_t qgemm_blob_bytes(const QgemmRow& row, int64_t n, int64_t k);
void qgemm_blob_header(const QgemmRow& row, int64_t n, int64_t k, void* blob);
// Packs panels [begin, end) and their column sums. w rows are w_row elements apart, contiguous along k.
void qgemm_pack_blob(const QgemmRow& row, const int8_t* w, int64_t w_row, int64_t n, int64_t k, int64_t begin, int64_t end, void* blob);
bool qgemm_blob_fits(const QgemmRow& row, const void* blob, int64_t bytes, int64_t n, int64_t k);
const int32_t* qgemm_blob_sums(const void* blob);
const int8_t* qgemm_blob_panels(const QgemmRow& row, const void* blob, int64_t n);

}  // namespace tersor
