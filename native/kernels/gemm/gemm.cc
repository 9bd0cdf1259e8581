// Scalar reference of the family, the choice of the row, and the blocking shared by all rows.
#include "kernels/gemm/gemm.h"

#include <cstring>

namespace tersor {
namespace {

constexpr int kScalarRows = 4, kScalarColumns = 8;

template <class T> void tile_scalar(const GemmStrip<T>& s, int64_t i0, int m, int64_t j0, int nj, const T* b) {
  T acc[kScalarRows][kScalarColumns];
  T* const c = s.c + i0 * s.c_row + j0;
  for (int i = 0; i < m; i++)
    for (int j = 0; j < kScalarColumns; j++)
      acc[i][j] = j >= nj        ? T(0)
                  : s.accumulate ? c[i * s.c_row + j]
                  : s.bias_n     ? s.bias_n[j0 + j]
                  : s.bias_m     ? s.bias_m[i0 + i]
                                 : T(0);
  for (int64_t k = 0; k < s.k; k++) {
    const T* row = b + (s.offset ? s.offset[k] : k * s.b_row);
    const T* a = s.a + i0 * s.a_row + k * s.a_col;
    if (nj == kScalarColumns) {
      for (int i = 0; i < m; i++) {
        const T x = a[i * s.a_row];
        for (int j = 0; j < kScalarColumns; j++) acc[i][j] += x * row[j];
      }
    } else {
      for (int i = 0; i < m; i++) {
        const T x = a[i * s.a_row];
        for (int j = 0; j < nj; j++) acc[i][j] += x * row[j];
      }
    }
  }
  for (int i = 0; i < m; i++)
    for (int j = 0; j < nj; j++) c[i * s.c_row + j] = acc[i][j];
}

template <class T> void strip_scalar(const GemmStrip<T>& s) {
  for (int64_t j = 0; j < s.n; j += kScalarColumns)
    for (int64_t i = 0; i < s.m; i += kScalarRows)
      tile_scalar(s, i, s.m - i < kScalarRows ? static_cast<int>(s.m - i) : kScalarRows, j,
                  s.n - j < kScalarColumns ? static_cast<int>(s.n - j) : kScalarColumns, s.b + j / kScalarColumns * s.b_panel);
}

// Eight partial sums per element: the same shape of sum as a vector row, and less rounding error than one long chain.
template <class T> void dot_scalar(const GemmDot<T>& d) {
  for (int64_t j = 0; j < d.n; j++) {
    const T* b0 = d.b + (d.offset ? d.offset[j] : j * d.b_row);
    for (int64_t i = 0; i < d.m; i++) {
      T lane[8] = {0, 0, 0, 0, 0, 0, 0, 0};
      for (int64_t g = 0; g < d.groups; g++) {
        const T* a = d.a + g * d.a_group + i * d.a_row;
        const T* b = b0 + g * d.b_group;
        int64_t k = 0;
        for (; k + 8 <= d.k; k += 8)
          for (int l = 0; l < 8; l++) lane[l] += a[k + l] * b[k + l];
        for (; k < d.k; k++) lane[k & 7] += a[k] * b[k];
      }
      T* c = d.c + i * d.c_row + j;
      const T init = d.accumulate ? *c : d.bias_n ? d.bias_n[j] : T(0);
      *c = init + (((lane[0] + lane[4]) + (lane[2] + lane[6])) + ((lane[1] + lane[5]) + (lane[3] + lane[7])));
    }
  }
}

template <class T> void pack_transposed_scalar(const T* b, int64_t b_row, int64_t k, int n, int nr, T* out) {
  for (int64_t p = 0; p < k; p++) {
    for (int j = 0; j < n; j++) out[p * nr + j] = b[j * b_row + p];
    for (int j = n; j < nr; j++) out[p * nr + j] = T(0);
  }
}

void pack_f64(const double* b, int64_t b_row, int64_t k, int n, double* out) { pack_transposed_scalar(b, b_row, k, n, kScalarColumns, out); }

const GemmRow<float> kRows[] = {
#define TERSOR_GEMM(needs, name, mr, nr, tolerance) {needs, #name, mr, nr, name, name##_dot, name##_pack},
#include "kernels/gemm/kernels.inc"
#undef TERSOR_GEMM
};
constexpr int kRowCount = static_cast<int>(sizeof kRows / sizeof *kRows);

const GemmRow<double> kDoubleRow = {isa::scalar, "gemm_f64_4x8_scalar", kScalarRows, kScalarColumns, strip_scalar<double>, dot_scalar<double>, pack_f64};

}  // namespace

void gemm_f32_4x8_scalar(const GemmStrip<float>& s) { strip_scalar(s); }
void gemm_f32_4x8_scalar_dot(const GemmDot<float>& d) { dot_scalar(d); }
void gemm_f32_4x8_scalar_pack(const float* b, int64_t b_row, int64_t k, int n, float* out) {
  pack_transposed_scalar(b, b_row, k, n, kScalarColumns, out);
}

template <> const GemmRow<float>& gemm_row<float>() {
  static const GemmRow<float>& row = select_row(kRows);
  return row;
}
template <> const GemmRow<double>& gemm_row<double>() { return kDoubleRow; }

int gemm_all_rows(const GemmRow<float>** out) {
  *out = kRows;
  return kRowCount;
}

int gemm_rows(RowInfo* out, int capacity) {
  int n = 0;
  for (const GemmRow<float>& row : kRows)
    if (n < capacity) out[n++] = {"gemm", "f32", row.function, row.needs, (row.needs & ~isa::allowed()) == 0, &row == &select_row(kRows)};
  if (n < capacity) out[n++] = {"gemm", "f64", kDoubleRow.function, kDoubleRow.needs, true, true};
  return kRowCount + 1;
}

template <class T> GemmPath gemm_path(const GemmRow<T>& row, const GemmMatrix<T>& g) {
  const bool b_rows = g.b_col == 1, dots = g.a_col == 1 && g.b_row == 1;
  // Packing B^T costs about as much as ten rows of products; reading it as dot products costs horizontal sums instead.
  if (dots && (g.n == 1 || (!b_rows && g.m <= 16))) return GemmPath::dot;
  // A B that few strips read, or that fits L1, is not worth a copy; neither is one that is a single panel wide already.
  if (b_rows && (g.m <= 4 * row.mr || g.k * g.n <= 8192 || g.b_row <= row.nr)) return GemmPath::direct;
  return GemmPath::packed;
}

namespace {
template <int NR, class T> void pack_rows(const GemmMatrix<T>& g, int64_t begin, int64_t end, T* packed) {
  for (int64_t k = 0; k < g.k; k++) {
    const T* b = g.b + k * g.b_row;
    for (int64_t p = begin; p < end; p++) memcpy(packed + (p * g.k + k) * NR, b + p * NR, sizeof(T) * NR);
  }
}
}  // namespace

template <class T> void gemm_pack_b(const GemmRow<T>& row, const GemmMatrix<T>& g, int64_t begin, int64_t end, T* packed) {
  const int nr = row.nr;
  if (g.b_col == 1) {  // row by row over all whole panels: runs that the hardware prefetches
    const int64_t whole = g.n / nr < end ? g.n / nr : end;
    if (nr == 32) pack_rows<32>(g, begin, whole, packed);
    else if (nr == 16) pack_rows<16>(g, begin, whole, packed);
    else pack_rows<kScalarColumns>(g, begin, whole, packed);
    begin = begin < whole ? whole : begin;
  }
  for (int64_t p = begin; p < end; p++) {
    const int n = g.n - p * nr < nr ? static_cast<int>(g.n - p * nr) : nr;
    const T* b = g.b + p * nr * g.b_col;
    T* out = packed + p * g.k * nr;
    if (g.b_row == 1 && g.b_col != 1) {
      row.pack_transposed(b, g.b_col, g.k, n, out);
    } else {
      for (int64_t k = 0; k < g.k; k++) {
        for (int j = 0; j < n; j++) out[k * nr + j] = b[k * g.b_row + j * g.b_col];
        for (int j = n; j < nr; j++) out[k * nr + j] = T(0);
      }
    }
  }
}

namespace {

constexpr int kCopyRows = 12, kCopyDepth = 256;
constexpr int64_t kCopyColumns = 512;
constexpr int64_t kFinishColumns = 256;

// Columns of A touch a line per element: such a strip is copied to rows.
template <class T> void copy_strip(GemmStrip<T>* s, T* rows) {
  for (int64_t k = 0; k < s->k; k++)
    for (int64_t r = 0; r < s->m; r++) rows[r * kCopyDepth + k] = s->a[r * s->a_row + k * s->a_col];
  s->a = rows, s->a_row = kCopyDepth, s->a_col = 1;
}

// Depth of a block of a B that is read where it lies: no more pages than the processor's first table of them holds.
template <class T> int64_t direct_depth(const GemmMatrix<T>& g) {
  const int64_t bytes = g.b_row * static_cast<int64_t>(sizeof(T)), depth = bytes >= 4096 ? 128 : (int64_t(1) << 19) / (bytes > 0 ? bytes : 1);
  return depth < kGemmDepth ? depth : kGemmDepth;
}

}  // namespace

template <class T>
void gemm_block(const GemmRow<T>& row, const GemmMatrix<T>& g, GemmPath path, const T* packed, int64_t m0, int64_t m1, int64_t n0, int64_t n1,
                const GemmFinish& finish) {
  if (path == GemmPath::dot) {
    GemmDot<T> d;
    d.m = m1 - m0, d.n = n1 - n0, d.k = g.k;
    d.a = g.a + m0 * g.a_row, d.a_row = g.a_row;
    d.b = g.b + n0 * g.b_col, d.b_row = g.b_col;
    d.c = g.c + m0 * g.c_row + n0, d.c_row = g.c_row;
    d.accumulate = g.accumulate;
    d.bias_n = g.bias ? g.bias + n0 : nullptr;
    row.dot(d);
    if (finish.run) finish.run(finish.state, m0, d.m, n0, d.n);
    return;
  }
  const bool copies = gemm_scattered(g) && g.k >= 64 && n1 - n0 >= 2 * row.nr;
  int64_t depth = path == GemmPath::packed ? kGemmDepth : direct_depth(g);
  if (copies && depth > kCopyDepth) depth = kCopyDepth;
  depth = gemm_cut(g.k, depth, 4);
  const int64_t rows = copies ? kCopyRows : gemm_rows_in_cache(row, m1 - m0, depth);
  // A block of B meets every row before the next one: all columns, but for copied rows as many as stay in L2.
  const int64_t sweep = copies ? kCopyColumns : n1 - n0;
  T copy[kCopyRows * kCopyDepth];
  for (int64_t j = n0; j < n1; j += sweep)
    for (int64_t i = m0; i < m1; i += rows) {
      for (int64_t k0 = 0; k0 == 0 || k0 < g.k; k0 += depth) {
        GemmStrip<T> s;
        s.m = static_cast<int>(m1 - i < rows ? m1 - i : rows);
        s.k = g.k - k0 < depth ? g.k - k0 : depth;
        s.accumulate = g.accumulate || k0 > 0;
        s.a = g.a + i * g.a_row + k0 * g.a_col, s.a_row = g.a_row, s.a_col = g.a_col;
        if (copies) copy_strip(&s, copy);
        const int64_t end = n1 - j < sweep ? n1 : j + sweep;
        const bool last = finish.run && k0 + depth >= g.k;
        for (int64_t c = j; c < end; c += s.n) {
          s.n = last && end - c > kFinishColumns ? kFinishColumns : end - c;
          if (path == GemmPath::packed) {
            s.b = packed + c * g.k + k0 * row.nr, s.b_row = row.nr, s.b_panel = g.k * row.nr;
            s.next = c + s.n < end ? s.b + s.n * g.k : k0 + depth < g.k ? packed + j * g.k + (k0 + depth) * row.nr : i + rows < m1 ? packed + j * g.k : nullptr;
          } else {
            s.b = g.b + k0 * g.b_row + c, s.b_row = g.b_row, s.b_panel = row.nr;
          }
          s.c = g.c + i * g.c_row + c, s.c_row = g.c_row;
          s.bias_n = g.bias ? g.bias + c : nullptr;
          row.strip(s);
          if (last) finish.run(finish.state, i, s.m, c, s.n);
        }
      }
    }
}

namespace {
// out[(i / MR) * k * MR + p * MR + i % MR] = a[i + p * a_col]: rows of a column-major A by strips; behind the last row nothing is written.
template <int MR, class T> void pack_strips(const T* a, int64_t a_col, int64_t m, int64_t k, T* out) {
  const int64_t whole = m / MR * MR;
  for (int64_t p = 0; p < k; p++) {
    const T* column = a + p * a_col;
    T* to = out + p * MR;
    for (int64_t i = 0; i < whole; i += MR, to += k * MR) memcpy(to, column + i, sizeof(T) * MR);
    for (int64_t i = whole; i < m; i++) to[i - whole] = column[i];
  }
}
}  // namespace

template <class T> void gemm_columns(const GemmRow<T>& row, const GemmMatrix<T>& g, const T* packed, T* strips) {
  const int64_t mr = row.mr, most = kGemmPackStrips * mr;
  for (int64_t m0 = 0; m0 < g.m; m0 += most) {
    const int64_t m = g.m - m0 < most ? g.m - m0 : most;
    const T* a = g.a + m0;
    if (mr == 12) pack_strips<12>(a, g.a_col, m, g.k, strips);
    else if (mr == 6) pack_strips<6>(a, g.a_col, m, g.k, strips);
    else pack_strips<kScalarRows>(a, g.a_col, m, g.k, strips);
    for (int64_t i = 0; i < m; i += mr) {
      GemmMatrix<T> s = g;
      s.m = m - i < mr ? m - i : mr;
      s.a = strips + i * g.k, s.a_row = 1, s.a_col = mr;
      s.c = g.c + (m0 + i) * g.c_row;
      gemm_block(row, s, GemmPath::packed, packed, 0, s.m, 0, s.n);
    }
  }
}

#define TERSOR_INSTANTIATE(T)                                                                                   \
  template GemmPath gemm_path<T>(const GemmRow<T>&, const GemmMatrix<T>&);                                       \
  template void gemm_pack_b<T>(const GemmRow<T>&, const GemmMatrix<T>&, int64_t, int64_t, T*);                   \
  template void gemm_columns<T>(const GemmRow<T>&, const GemmMatrix<T>&, const T*, T*);                          \
  template void gemm_block<T>(const GemmRow<T>&, const GemmMatrix<T>&, GemmPath, const T*, int64_t, int64_t, int64_t, int64_t, const GemmFinish&);
TERSOR_INSTANTIATE(float)
TERSOR_INSTANTIATE(double)
#undef TERSOR_INSTANTIATE

}  // namespace tersor
