// Scalar reference of the family, the choice of the row, and the packed format.
#include "kernels/qgemm/qgemm.h"

#include <cmath>
#include <cstring>

#include "simd/vec_scalar.h"

#include "kernels/qgemm/epilogue.h"

namespace tersor {
namespace {

const QgemmRow kRows[] = {
#define TERSOR_QGEMM(needs, name, mr, nr, kr, k_pad, a_bytes, tolerance) {needs, #name, mr, nr, kr, k_pad, a_bytes, name, name##_quantize},
#include "kernels/qgemm/kernels.inc"
#undef TERSOR_QGEMM
};
constexpr int kRowCount = static_cast<int>(sizeof kRows / sizeof *kRows);

int64_t sums_bytes(const QgemmRow& row, int64_t n) { return (row.panels(n) * row.nr * 4 + 63) / 64 * 64; }

}  // namespace

void qgemm_u8s8s32_1x1_scalar(const QgemmBlock& q) {
  for (int64_t n = 0; n < q.n; n++) {
    const int8_t* b = q.b + n * q.k;
    for (int64_t m = 0; m < q.m; m++) {
      const uint8_t* a = static_cast<const uint8_t*>(q.a) + m * q.a_row;
      int32_t acc = 0;
      for (int64_t k = 0; k < q.k; k++) acc += int32_t(a[k]) * int32_t(b[k]);
      const int32_t v = static_cast<int32_t>(acc - int64_t(q.x_zero) * q.column_sum[n]);
      if (q.c) {
        q.c[m * q.c_row + n] = v;
        continue;
      }
      float y = static_cast<float>(v) * q.scale[n];
      if (q.bias) y = y + q.bias[n];
      q.f[m * q.c_row + n] = y;
    }
  }
  if (q.f) activate(q.act, q.f, q.m, q.n, q.c_row);
}

void qgemm_u8s8s32_1x1_scalar_quantize(const QgemmQuantize& q) {
  uint8_t* out = static_cast<uint8_t*>(q.out);
  const float lo = static_cast<float>(-q.zero), hi = static_cast<float>(255 - q.zero);
  for (int64_t i = 0; i < q.n; i++) {
    const float v = q.x[i] / q.scale;
    const float clamped = v != v ? 0.0f : v < lo ? lo : v > hi ? hi : v;
    const float r = simd::round_even(simd::F32(clamped)).v;
    out[i] = static_cast<uint8_t>(static_cast<int32_t>(r) + q.zero);
  }
}

const QgemmRow& qgemm_row() {
  static const QgemmRow& row = select_row(kRows);
  return row;
}

int qgemm_all_rows(const QgemmRow** out) {
  *out = kRows;
  return kRowCount;
}

int qgemm_rows(RowInfo* out, int capacity) {
  for (int i = 0; i < kRowCount && i < capacity; i++)
    out[i] = {"qgemm", "u8s8s32", kRows[i].function, kRows[i].needs, (kRows[i].needs & ~isa::allowed()) == 0, &kRows[i] == &qgemm_row()};
  return kRowCount;
}

int64_t qgemm_blob_bytes(const QgemmRow& row, int64_t n, int64_t k) {
  return static_cast<int64_t>(sizeof(QgemmHeader)) + sums_bytes(row, n) + (row.panels(n) * row.panel_bytes(k) + 63) / 64 * 64;
}

void qgemm_blob_header(const QgemmRow& row, int64_t n, int64_t k, void* blob) {
  QgemmHeader h{};
  h.magic = kQgemmMagic;
  h.nr = row.nr, h.kr = row.kr, h.k_pad = row.k_pad;
  h.n = n, h.k = k;
  memset(blob, 0, sizeof h + static_cast<size_t>(sums_bytes(row, n)));
  memcpy(blob, &h, sizeof h);
  const int64_t used = static_cast<int64_t>(sizeof h) + sums_bytes(row, n) + row.panels(n) * row.panel_bytes(k);
  memset(static_cast<char*>(blob) + used, 0, static_cast<size_t>(qgemm_blob_bytes(row, n, k) - used));
}

void qgemm_pack_blob(const QgemmRow& row, const int8_t* w, int64_t w_row, int64_t n, int64_t k, int64_t begin, int64_t end, void* blob) {
  int32_t* sums = reinterpret_cast<int32_t*>(static_cast<char*>(blob) + sizeof(QgemmHeader));
  int8_t* panels = reinterpret_cast<int8_t*>(static_cast<char*>(blob) + sizeof(QgemmHeader) + sums_bytes(row, n));
  const int64_t bytes = row.panel_bytes(k), kr = row.kr, group = static_cast<int64_t>(row.nr) * kr;
  constexpr int64_t kStep = 64;  // a multiple of every kr
  for (int64_t p = begin; p < end; p++) {
    int8_t* panel = panels + p * bytes;
    memset(panel, 0, static_cast<size_t>(bytes));
    const int64_t live = n - p * row.nr < row.nr ? n - p * row.nr : row.nr;
    int32_t* sum = sums + p * row.nr;
    for (int64_t j = 0; j < live; j++) sum[j] = 0;
    for (int64_t k0 = 0; k0 < k; k0 += kStep) {  // a stretch of every column at a time: the panel's lines stay in cache
      const int64_t k1 = k0 + kStep < k ? k0 + kStep : k;
      for (int64_t j = 0; j < live; j++) {
        const int8_t* from = w + (p * row.nr + j) * w_row;
        int8_t* to = panel + k0 / kr * group + j * kr;
        int32_t s = 0;
        for (int64_t i = k0; i < k1; i++) s += from[i];
        sum[j] += s;
        int64_t i = k0;
        if (kr == 4)
          for (; i + 4 <= k1; i += 4, to += group) memcpy(to, from + i, 4);
        else if (kr == 2)
          for (; i + 2 <= k1; i += 2, to += group) memcpy(to, from + i, 2);
        for (int64_t l = 0; i < k1; i++) {
          to[l] = from[i];
          if (++l == kr) l = 0, to += group;
        }
      }
    }
  }
}

bool qgemm_blob_fits(const QgemmRow& row, const void* blob, int64_t bytes, int64_t n, int64_t k) {
  if (bytes != qgemm_blob_bytes(row, n, k)) return false;
  QgemmHeader h;
  memcpy(&h, blob, sizeof h);
  return h.magic == kQgemmMagic && h.nr == row.nr && h.kr == row.kr && h.k_pad == row.k_pad && h.n == n && h.k == k;
}

const int32_t* qgemm_blob_sums(const void* blob) { return reinterpret_cast<const int32_t*>(static_cast<const char*>(blob) + sizeof(QgemmHeader)); }

const int8_t* qgemm_blob_panels(const QgemmRow& row, const void* blob, int64_t n) {
  return reinterpret_cast<const int8_t*>(static_cast<const char*>(blob) + sizeof(QgemmHeader) + sums_bytes(row, n));
}

}  // namespace tersor
