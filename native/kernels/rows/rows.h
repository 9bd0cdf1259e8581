// The two inner loops of dual-module inference (Liu et al., ICML 2020): exact dot products of selected rows of a weight, and ternary random projection.
//
// Selected rows: sum_k x[i,k] * w[r,k] for the rows r of an ascending list, w in f32 or i8; no memory of other rows is touched. One sum is made in an
// order that depends on k and the kernel row only, never on m, the list or the thread. Tolerance: (k + 8) 2^-24 sum |x||w|.
//
// Ternary projection (Achlioptas 2003): y[d] = sum_k P[d,k] x[k], P in {-1, 0, +1}. Entry p = d * K + k of P is made of r, word p % 4 of the Philox block
// with counter (p / 4, stream) and key seed: +1 if r < T, -1 if T <= r < 2 T, else 0, T = floor(2^32 / 6). Only additions: three neighbouring x give a table of
// the sums that P can ask for, and a packed code picks one for each output at a time. Packed form: panels of nr outputs, a panel is a run of vectors of nr
// 32-bit words, lane j for output j, word t holds triples of k [t * triples, (t + 1) * triples):
//   triples = 6: 5 bits a triple, (a + 1) + 3 (b + 1) + 9 (c + 1)      triples = 5: 6 bits a triple, plus signs of a, b, c, then minus signs
// padding is 0 entries. Tolerance: (k + 8) 2^-24 sum |x||P|.
// No alignment is needed; outputs overlap no input.
#pragma once
#include <cstdint>

#include "kernels/row.h"
#include "simd/target.h"

namespace tersor {

struct RowsDot {
  const void* w = nullptr;  // float or int8_t
  int64_t w_row = 0, k = 0;
  const int32_t* index = nullptr;  // rows, ascending
  int64_t count = 0;
  int64_t more = 0;  // entries of index that follow these: their rows are asked for in advance
  const float* x = nullptr;
  int64_t m = 0, x_row = 0;
  const float* scale = nullptr;  // of row r: scale[r * scale_step]; null: 1
  int64_t scale_step = 0;
  const float* bias = nullptr;  // [rows of w] or null
  float* y = nullptr;           // y[i * y_row + s] for place s of the list, or + r when scattered
  int64_t y_row = 0;
  bool scatter = false;
};

struct RowsProject {
  const float* tables = nullptr;
  const char* packed = nullptr;  // first panel
  int64_t words = 0;             // of a panel and lane
  int64_t n = 0;                 // outputs
  float scale = 1;
  float* y = nullptr;
};

struct RowsRow {
  uint32_t needs;
  const char* function;
  int nr, triples, table;  // outputs of a panel; triples of a word; floats of a triple's table
  void (*dot_f32)(const RowsDot&);
  void (*dot_i8)(const RowsDot&);
  void (*tables)(const float* x, int64_t k, float* out);  // for all words: words * triples tables
  void (*project)(const RowsProject&);

  int64_t words(int64_t k) const { return (k + 3 * triples - 1) / (3 * triples); }
  int64_t panels(int64_t n) const { return (n + nr - 1) / nr; }
  int64_t panel_bytes(int64_t k) const { return words(k) * nr * 4; }
  int64_t table_floats(int64_t k) const { return words(k) * triples * table; }
};

#define TERSOR_ROWS(needs, name, nr, triples, table)        \
  void name##_dot_f32(const RowsDot&);                      \
  void name##_dot_i8(const RowsDot&);                       \
  void name##_tables(const float* x, int64_t k, float* out); \
  void name##_project(const RowsProject&);
#include "kernels/rows/kernels.inc"
#undef TERSOR_ROWS

const RowsRow& rows_row();
int rows_all_rows(const RowsRow** out);
int rows_rows(RowInfo* out, int capacity);

// Places of the ones among the first `size` bits (bit i % 8 of byte i / 8), ascending. Returns how many; writes only when out is given.
int64_t rows_of_mask(const uint8_t* mask, int64_t size, int32_t* out);

struct TernaryHeader {
  uint32_t magic;
  int32_t nr, triples, unused;
  int64_t n, k, seed, stream;
  int64_t reserved[2];
};
static_assert(sizeof(TernaryHeader) == 64, "panels start on a cache line");
constexpr uint32_t kTernaryMagic = 0x31505454;  // "TTP1"

// Entries [first, first + n) of P in row-major order, -1, 0 or 1.
void ternary_entries(uint64_t seed, uint64_t stream, int64_t first, int64_t n, int8_t* out);
int64_t ternary_blob_bytes(const RowsRow& row, int64_t n, int64_t k);
void ternary_blob_header(const RowsRow& row, int64_t n, int64_t k, int64_t seed, int64_t stream, void* blob);
// Packs panels [begin, end); `entries` has room for k values.
void ternary_pack_panels(const RowsRow& row, int64_t n, int64_t k, int64_t seed, int64_t stream, int64_t begin, int64_t end, int8_t* entries, void* blob);
bool ternary_blob_fits(const RowsRow& row, const void* blob, int64_t bytes, int64_t n, int64_t k);
inline const char* ternary_blob_panels(const void* blob) { return static_cast<const char*>(blob) + sizeof(TernaryHeader); }

}  // namespace tersor
