// Scalar reference of the family, the choice of the row, and the packed weight.
#include "kernels/gemm_bf16/gemm_bf16.h"

#include <cstring>

#include "base/checked.h"
#include "simd/vec_scalar.h"

#include "kernels/gemm_bf16/finish.h"

namespace tersor {
namespace {

const GemmBf16Row kRows[] = {
#define TERSOR_GEMM_BF16(needs, name, mr, strip, k_pad, a_bytes, tolerance) {needs, #name, mr, strip, k_pad, a_bytes, name, name##_pack},
#include "kernels/gemm_bf16/kernels.inc"
#undef TERSOR_GEMM_BF16
};
constexpr int kRowCount = static_cast<int>(sizeof kRows / sizeof *kRows);

// Best first, but the AVX512-BF16 row only where its instruction keeps up with two multiply-adds.
const char* passed_over(const GemmBf16Row& row) {
  return row.needs == isa::avx512bf16 && isa::slow_bf16_dot() ? "multiply-adds are faster here than vdpbf16ps" : nullptr;
}

const GemmBf16Row& choose() {
  for (const GemmBf16Row& row : kRows)
    if ((row.needs & ~isa::allowed()) == 0 && !passed_over(row)) return row;
  return kRows[kRowCount - 1];
}

}  // namespace

void gemm_bf16_1x8_scalar(const Bf16Block& q) {
  constexpr int kWide = 8;
  const int64_t a_row = bf16_a_row(q.k, 1, 2, 2), panel = bf16_panel_elements(q.k);
  for (int64_t j = 0; j < q.n; j += kWide) {
    const uint16_t* b = q.b + j / kBf16Panel * panel + j % kBf16Panel * 2;
    const int64_t n = q.n - j < kWide ? q.n - j : kWide;
    for (int64_t i = 0; i < q.m; i++) {
      const uint16_t* a = static_cast<const uint16_t*>(q.a) + i * a_row;
      float s[kWide] = {};
      for (int64_t k = 0; k < q.k; k++) {
        const float x = f32_from_bf16(a[k]);
        const uint16_t* row = b + k / 2 * (kBf16Panel * 2) + k % 2;
        for (int l = 0; l < kWide; l++) s[l] += x * f32_from_bf16(row[l * 2]);
      }
      finish_block({s, kWide, 1, n, q.bias ? q.bias + j : nullptr, q.act, q.c ? q.c + i * q.y_row + j : nullptr,
                    q.h ? q.h + i * q.y_row + j : nullptr, q.y_row});
    }
  }
}

void gemm_bf16_1x8_scalar_pack(const Bf16Pack& a) {
  const int64_t a_row = bf16_a_row(a.k, 1, 2, 2);
  for (int64_t i = 0; i < a.m; i++) {
    uint16_t* out = static_cast<uint16_t*>(a.out) + i * a_row;
    if (a.bf16) memcpy(out, static_cast<const uint16_t*>(a.x) + i * a.x_row, static_cast<size_t>(a.k) * 2);
    else narrow(static_cast<const float*>(a.x) + i * a.x_row, a.k, out);
    for (int64_t k = a.k; k < a_row; k++) out[k] = 0;
  }
}

void bf16_narrow_scalar(const float* x, int64_t n, uint16_t* out) { narrow(x, n, out); }
void bf16_finish_scalar(const Bf16Finish& f) { finish_block(f); }

const GemmBf16Row& gemm_bf16_row() {
  static const GemmBf16Row& row = choose();
  return row;
}

int gemm_bf16_all_rows(const GemmBf16Row** out) {
  *out = kRows;
  return kRowCount;
}

int gemm_bf16_rows(RowInfo* out, int capacity) {
  for (int i = 0; i < kRowCount && i < capacity; i++)
    out[i] = {"gemm_bf16", "bf16", kRows[i].function, kRows[i].needs, (kRows[i].needs & ~isa::allowed()) == 0, &kRows[i] == &gemm_bf16_row(), passed_over(kRows[i])};
  return kRowCount;
}

int64_t bf16_blob_bytes(int64_t n, int64_t k) {
  constexpr int64_t kLimit = int64_t(1) << 62;
  int64_t bytes;
  if (n > kLimit || k > kLimit || mul_overflows(bf16_round_up(n, kBf16Panel), bf16_round_up(k, kBf16Panel), &bytes) || bytes > kLimit / 2) return -1;
  return bytes * 2 + static_cast<int64_t>(sizeof(Bf16Header));
}

void bf16_blob_header(int64_t n, int64_t k, void* blob) {
  Bf16Header h{};
  h.magic = kBf16Magic;
  h.panel = static_cast<int32_t>(kBf16Panel);
  h.n = n, h.k = k;
  memcpy(blob, &h, sizeof h);
}

bool bf16_blob_fits(const void* blob, int64_t bytes, int64_t n, int64_t k) {
  if (bytes != bf16_blob_bytes(n, k)) return false;
  Bf16Header h;
  memcpy(&h, blob, sizeof h);
  return h.magic == kBf16Magic && h.panel == kBf16Panel && h.n == n && h.k == k;
}

void bf16_pack_panels(const void* w, bool bf16, int64_t w_n, int64_t w_k, int64_t n, int64_t k, int64_t begin, int64_t end, void* blob) {
  uint16_t* panels = reinterpret_cast<uint16_t*>(static_cast<char*>(blob) + sizeof(Bf16Header));
  const int64_t depth = bf16_round_up(k, kBf16Panel);
  for (int64_t p = begin; p < end; p++) {
    const int64_t live = n - p * kBf16Panel < kBf16Panel ? n - p * kBf16Panel : kBf16Panel;
    uint16_t* panel = panels + p * bf16_panel_elements(k);
    for (int64_t k0 = 0; k0 < depth; k0 += kBf16Panel) {  // 32 x 32 at a time: both sides stay in L1 whichever stride is 1
      const int64_t rows = k - k0 < kBf16Panel ? k - k0 : kBf16Panel;
      uint16_t* to = panel + k0 * kBf16Panel;
      if (live < kBf16Panel || rows < kBf16Panel) memset(to, 0, static_cast<size_t>(kBf16Panel * kBf16Panel) * 2);
      const int64_t from = p * kBf16Panel * w_n + k0 * w_k;
      if (bf16) {
        const uint16_t* x = static_cast<const uint16_t*>(w) + from;
        for (int64_t j = 0; j < live; j++)
          for (int64_t i = 0; i < rows; i++) to[i / 2 * (kBf16Panel * 2) + j * 2 + i % 2] = x[j * w_n + i * w_k];
      } else {
        const float* x = static_cast<const float*>(w) + from;
        for (int64_t j = 0; j < live; j++)
          for (int64_t i = 0; i < rows; i++) to[i / 2 * (kBf16Panel * 2) + j * 2 + i % 2] = bf16_from_f32(x[j * w_n + i * w_k]);
      }
    }
  }
}

}  // namespace tersor
