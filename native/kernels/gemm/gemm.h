// Matrix products in f32 and f64: C[M,N] = init + A[M,K] * B[K,N].
//
// Contract of every kernel below (T = float for the rows of kernels.inc, T = float or double for the scalar template):
// - strides count elements; nothing is read or written outside the elements named by (m, n, k, strides): no slack is needed, no
//   alignment either. C must not overlap A, B or a bias.
// - init is C itself (accumulate), else bias_n[j], else bias_m[i], else 0. K = 0 stores init.
// - one C element is a sum in an order that depends on k and on the row only, never on m, n, the position in the tile or the thread:
//   equal calls give equal bits. The AVX rows fuse multiply and add. NaN and infinities propagate as IEEE says.
// - tolerance against exact arithmetic: |error| <= (k + 8) * 2^-24 * (|init| + sum |a||b|) (f64: 2^-53).
#pragma once
#include <cstdint>

#include "kernels/row.h"
#include "simd/target.h"

namespace tersor {

// K block of the drivers: two panels of B and the rows of A that pass them (kGemmBlockBytes at most) stay in L2.
constexpr int64_t kGemmDepth = 1024;
constexpr int64_t kGemmBlockBytes = int64_t(1) << 20;
// Strips of a transposed A that are packed together: runs of 16 * mr elements are read at a time, and the copy stays in L2 beside a part of B.
constexpr int64_t kGemmPackStrips = 16;

// Any m and n. A(i,k) = a[i*a_row + k*a_col]. The columns of B come in panels of nr: element (k, j) is
// b[(j / nr) * b_panel + base(k) + j % nr] with base(k) = offset ? offset[k] : k * b_row. For plain row-major B, b_panel = nr; for
// panels packed by gemm_pack_b, b_panel = K * nr and b_row = nr. offset serves convolutions: row k of the implied matrix is a
// shifted view of the padded image.
template <class T> struct GemmStrip {
  int64_t k = 0, n = 0;
  int m = 0;
  bool accumulate = false;
  const T* a = nullptr;
  int64_t a_row = 0, a_col = 1;
  const T* b = nullptr;
  int64_t b_row = 0, b_panel = 0;
  const int64_t* offset = nullptr;
  T* c = nullptr;
  int64_t c_row = 0;
  const T* bias_n = nullptr;
  const T* bias_m = nullptr;
  const T* next = nullptr;  // packed panels, as far apart and as deep as these, that the caller will want next: the cache is asked for them, nothing is read
};

// Both operands contiguous along K, any m and n: C(i,j) = init + sum_g sum_k A_g(i,k) B_g(j,k),
// A_g(i,k) = a[g*a_group + i*a_row + k], B_g(j,k) = b[g*b_group + base(j) + k], base(j) = offset ? offset[j] : j * b_row.
template <class T> struct GemmDot {
  int64_t m = 0, n = 0, k = 0, groups = 1;
  bool accumulate = false;
  const T* a = nullptr;
  int64_t a_row = 0, a_group = 0;
  const T* b = nullptr;
  int64_t b_row = 0, b_group = 0;
  const int64_t* offset = nullptr;
  T* c = nullptr;
  int64_t c_row = 0;
  const T* bias_n = nullptr;
};

template <class T> struct GemmRow {
  uint32_t needs;
  const char* function;
  int mr, nr;  // rows that callers hand over at a time at least, where they cut rows; columns of a panel
  void (*strip)(const GemmStrip<T>&);
  void (*dot)(const GemmDot<T>&);
  // out[k*nr + j] = b[j*b_row + k] for j < n, 0 for n <= j < nr: one packed panel of a transposed B.
  void (*pack_transposed)(const T* b, int64_t b_row, int64_t k, int n, T* out);
};

#define TERSOR_GEMM(needs, name, mr, nr, tolerance)                                             \
  void name(const GemmStrip<float>&);                                                           \
  void name##_dot(const GemmDot<float>&);                                                       \
  void name##_pack(const float* b, int64_t b_row, int64_t k, int n, float* out);
#include "kernels/gemm/kernels.inc"
#undef TERSOR_GEMM

template <class T> const GemmRow<T>& gemm_row();          // the chosen row (double: the scalar template)
int gemm_all_rows(const GemmRow<float>** out);            // every row compiled in, best first
int gemm_rows(RowInfo* out, int capacity);

// C[m,n] = init + A*B on whole matrices, any strides of A and B; the callers cut the work into blocks of rows and columns.
template <class T> struct GemmMatrix {
  int64_t m = 0, n = 0, k = 0;
  const T* a = nullptr;
  int64_t a_row = 0, a_col = 1;
  const T* b = nullptr;
  int64_t b_row = 0, b_col = 1;
  T* c = nullptr;
  int64_t c_row = 0;
  const T* bias = nullptr;  // [n]
  bool accumulate = false;  // onto C; bias is then ignored
};

// How a product is best computed by `row`.
enum class GemmPath {
  direct,  // B is used where it lies (b_col == 1)
  dot,     // A and B contiguous along K and few rows: B^T is read once, never packed
  packed,  // B is copied to panels first
};
template <class T> GemmPath gemm_path(const GemmRow<T>& row, const GemmMatrix<T>& g);
template <class T> int64_t gemm_panels(const GemmRow<T>& row, int64_t n) { return (n + row.nr - 1) / row.nr; }
template <class T> int64_t gemm_packed_elements(const GemmRow<T>& row, int64_t k, int64_t n) { return gemm_panels(row, n) * k * row.nr; }
// Packs panels [begin, end) of g.b into `packed` (all panels: gemm_packed_elements).
template <class T> void gemm_pack_b(const GemmRow<T>& row, const GemmMatrix<T>& g, int64_t begin, int64_t end, T* packed);
// Called for each block of C that is complete, while it is in cache: rows [m0, m0 + m), columns [n0, n0 + n).
struct GemmFinish {
  void (*run)(const void* state, int64_t m0, int64_t m, int64_t n0, int64_t n) = nullptr;
  const void* state = nullptr;
};
// Computes C[m0..m1, n0..n1]; n0 is a multiple of row.nr. `packed` (all panels of g.b) is needed for GemmPath::packed only.
template <class T>
void gemm_block(const GemmRow<T>& row, const GemmMatrix<T>& g, GemmPath path, const T* packed, int64_t m0, int64_t m1, int64_t n0, int64_t n1,
                const GemmFinish& finish = {});
// Whether neighbours along K lie on lines of their own: such rows of A are copied before they are used.
template <class T> bool gemm_scattered(const GemmMatrix<T>& g) { return g.a_col * static_cast<int64_t>(sizeof(T)) > 64; }
// All of C where A is given by columns (a_row = 1): its rows are packed kGemmPackStrips strips at a time. `strips`: kGemmPackStrips * mr * k elements.
template <class T> void gemm_columns(const GemmRow<T>& row, const GemmMatrix<T>& g, const T* packed, T* strips);
// n cut evenly in blocks of about `most` > 0, each but the last a multiple of `unit`; never 0.
inline int64_t gemm_cut(int64_t n, int64_t most, int64_t unit) {
  if (n <= 0) return unit;
  const int64_t blocks = (n + most - 1) / most, each = (n + blocks - 1) / blocks;
  return (each + unit - 1) / unit * unit;
}
// Rows of A for one pass over B at that depth.
template <class T> int64_t gemm_rows_in_cache(const GemmRow<T>& row, int64_t m, int64_t depth) {
  const int64_t most = kGemmBlockBytes / ((depth > 0 ? depth : 1) * static_cast<int64_t>(sizeof(T)));
  return gemm_cut(m, most < row.mr ? row.mr : most, row.mr);
}

}  // namespace tersor
