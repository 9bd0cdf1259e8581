// Scalar reference of the family, the choice of the row, lists of masks, and the packed form of projections.
#include "kernels/rows/rows.h"

#include <cstring>

#include "base/random.h"

namespace tersor {
namespace {

const RowsRow kRows[] = {
#define TERSOR_ROWS(needs, name, nr, triples, table) {needs, #name, nr, triples, table, name##_dot_f32, name##_dot_i8, name##_tables, name##_project},
#include "kernels/rows/kernels.inc"
#undef TERSOR_ROWS
};
constexpr int kRowCount = static_cast<int>(sizeof kRows / sizeof *kRows);
constexpr uint32_t kThird = 715827882u;  // floor(2^32 / 6)
constexpr int kScalarLanes = 8, kScalarTriples = 5;

template <class T> void dot_scalar(const RowsDot& d) {
  for (int64_t s = 0; s < d.count; s++) {
    const int64_t r = d.index[s];
    const T* w = static_cast<const T*>(d.w) + r * d.w_row;
    for (int64_t i = 0; i < d.m; i++) {
      const float* x = d.x + i * d.x_row;
      float lane[8] = {0, 0, 0, 0, 0, 0, 0, 0};
      for (int64_t k = 0; k < d.k; k++) lane[k & 7] += x[k] * static_cast<float>(w[k]);
      float y = ((lane[0] + lane[4]) + (lane[2] + lane[6])) + ((lane[1] + lane[5]) + (lane[3] + lane[7]));
      if (d.scale) y = y * d.scale[r * d.scale_step];
      if (d.bias) y = y + d.bias[r];
      d.y[i * d.y_row + (d.scatter ? r : s)] = y;
    }
  }
}

int trailing_zeros(uint64_t v) {
#if defined(__GNUC__)
  return __builtin_ctzll(v);
#else
  int n = 0;
  while (!(v >> n & 1)) n++;
  return n;
#endif
}

}  // namespace

void rows_scalar_dot_f32(const RowsDot& d) { dot_scalar<float>(d); }
void rows_scalar_dot_i8(const RowsDot& d) { dot_scalar<int8_t>(d); }

// Sums of the subsets of three x: bit 0 the first, bit 1 the second, bit 2 the third.
void rows_scalar_tables(const float* x, int64_t k, float* out) {
  const int64_t triples = kRows[kRowCount - 1].words(k) * kScalarTriples;
  for (int64_t t = 0; t < triples; t++, out += 8)
    for (int c = 0; c < 8; c++) {
      float sum = 0;
      for (int b = 0; b < 3; b++)
        if (c >> b & 1 && 3 * t + b < k) sum += x[3 * t + b];
      out[c] = sum;
    }
}

void rows_scalar_project(const RowsProject& p) {
  for (int64_t j = 0; j < p.n; j++) {
    const char* word = p.packed + (j / kScalarLanes * p.words * kScalarLanes + j % kScalarLanes) * 4;
    const float* table = p.tables;
    float sum = 0;
    for (int64_t i = 0; i < p.words; i++, word += kScalarLanes * 4) {
      uint32_t w;
      memcpy(&w, word, 4);
      for (int t = 0; t < kScalarTriples; t++, w >>= 6, table += 8) sum += table[w & 7], sum -= table[w >> 3 & 7];
    }
    p.y[j] = sum * p.scale;
  }
}

const RowsRow& rows_row() {
  static const RowsRow& row = select_row(kRows);
  return row;
}

int rows_all_rows(const RowsRow** out) {
  *out = kRows;
  return kRowCount;
}

int rows_rows(RowInfo* out, int capacity) {
  for (int i = 0; i < kRowCount && i < capacity; i++)
    out[i] = {"rows", "selected, ternary", kRows[i].function, kRows[i].needs, (kRows[i].needs & ~isa::allowed()) == 0, &kRows[i] == &select_row(kRows)};
  return kRowCount;
}

int64_t rows_of_mask(const uint8_t* mask, int64_t size, int32_t* out) {
  int64_t n = 0;
  for (int64_t i = 0; i < size; i += 64) {
    const int64_t left = size - i < 64 ? size - i : 64;
    uint64_t v = 0;
    memcpy(&v, mask + i / 8, static_cast<size_t>((left + 7) / 8));
    if (left < 64) v &= (uint64_t(1) << left) - 1;
    for (; v; v &= v - 1, n++)
      if (out) out[n] = static_cast<int32_t>(i + trailing_zeros(v));
  }
  return n;
}

void ternary_entries(uint64_t seed, uint64_t stream, int64_t first, int64_t n, int8_t* out) {
  Philox block{};
  for (int64_t i = 0; i < n; i++) {
    const int64_t p = first + i;
    if (i == 0 || p % 4 == 0) block = philox4x32(static_cast<uint64_t>(p / 4), stream, seed);
    const uint32_t r = block.v[p % 4];
    out[i] = r < kThird ? 1 : r < 2 * kThird ? -1 : 0;
  }
}

int64_t ternary_blob_bytes(const RowsRow& row, int64_t n, int64_t k) { return static_cast<int64_t>(sizeof(TernaryHeader)) + row.panels(n) * row.panel_bytes(k); }

void ternary_blob_header(const RowsRow& row, int64_t n, int64_t k, int64_t seed, int64_t stream, void* blob) {
  TernaryHeader h{};
  h.magic = kTernaryMagic;
  h.nr = row.nr, h.triples = row.triples;
  h.n = n, h.k = k, h.seed = seed, h.stream = stream;
  memcpy(blob, &h, sizeof h);
}

void ternary_pack_panels(const RowsRow& row, int64_t n, int64_t k, int64_t seed, int64_t stream, int64_t begin, int64_t end, int8_t* entries, void* blob) {
  const int64_t words = row.words(k), nr = row.nr;
  const int bits = row.triples == 6 ? 5 : 6;
  for (int64_t d = begin * nr; d < end * nr; d++) {
    if (d < n) ternary_entries(static_cast<uint64_t>(seed), static_cast<uint64_t>(stream), d * k, k, entries);
    char* out = static_cast<char*>(blob) + sizeof(TernaryHeader) + (d / nr * words * nr + d % nr) * 4;
    for (int64_t i = 0, at = 0; i < words; i++, out += nr * 4) {
      uint32_t word = 0;
      for (int t = 0; t < row.triples; t++, at += 3) {
        uint32_t code = bits == 5 ? 13 : 0;  // three zeros
        for (int b = 0, weight = 1; b < 3; b++, weight *= 3) {
          const int v = d < n && at + b < k ? entries[at + b] : 0;
          if (bits == 5) code = static_cast<uint32_t>(static_cast<int>(code) + v * weight);
          else code |= v > 0 ? 1u << b : v < 0 ? 8u << b : 0;
        }
        word |= code << (t * bits);
      }
      memcpy(out, &word, 4);
    }
  }
}

bool ternary_blob_fits(const RowsRow& row, const void* blob, int64_t bytes, int64_t n, int64_t k) {
  if (bytes != ternary_blob_bytes(row, n, k)) return false;
  TernaryHeader h;
  memcpy(&h, blob, sizeof h);
  return h.magic == kTernaryMagic && h.nr == row.nr && h.triples == row.triples && h.n == n && h.k == k;
}

}  // namespace tersor
