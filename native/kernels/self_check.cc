#include "kernels/self_check.h"

#include <cstring>

namespace tersor {
namespace {

constexpr int64_t kM = 51, kN = 53, kK = 140;  // whole strips and a short one, whole tiles and a part, more than two tiles of k

uint32_t next(uint32_t& state) { return (state = state * 1664525u + 1013904223u) >> 24; }

const char* disagreement() {
  const QgemmRow* bytes;
  const int n = qgemm_all_rows(&bytes);
  for (int i = 0; i < n; i++)
    if (bytes[i].needs == isa::amx && !rows_agree(bytes[i], bytes[n - 1])) return bytes[i].function;
  const GemmBf16Row* halves;
  const int h = gemm_bf16_all_rows(&halves);
  for (int i = 0; i < h; i++)
    if (halves[i].needs == isa::amx && !rows_agree(halves[i], halves[h - 1])) return halves[i].function;
  return nullptr;
}

}  // namespace

bool rows_agree(const QgemmRow& row, const QgemmRow& reference) {
  constexpr int64_t kDepth = 192, kBlob = 64 + 256 + 64 * kDepth;
  uint32_t state = 7;
  int8_t w[kN * kK];
  for (int8_t& v : w) v = static_cast<int8_t>(next(state) - 128);
  alignas(64) uint8_t a[kM * kDepth];
  for (uint8_t& v : a) v = static_cast<uint8_t>(next(state));
  int32_t y[2][kM * kN];
  for (int kind = 0; kind < 2; kind++) {
    const bool a_signed = kind == 1;
    for (int r = 0; r < 2; r++) {
      const QgemmRow& used = r ? reference : row;
      alignas(64) char blob[kBlob];
      if (used.layout.k_pad > 64 || qgemm_blob_bytes(used.layout, kN, kK) > kBlob) return false;
      qgemm_blob_header(used.layout, kN, kK, blob);
      qgemm_pack_blob(used.layout, w, kK, kN, kK, 0, used.layout.panels(kN), blob);
      QgemmFinish f;
      f.y = y[r], f.y_row = kN;
      QgemmBlock q;
      q.m = kM, q.n = kN, q.k = kK;
      q.a = a, q.a_row = kDepth, q.a_signed = a_signed;
      q.b = qgemm_blob_panels(blob), q.panel_bytes = used.layout.panel_bytes(kK);
      q.out = &f;
      used.block(q);
    }
    if (memcmp(y[0], y[1], sizeof y[0]) != 0) return false;
  }
  return true;
}

bool rows_agree(const GemmBf16Row& row, const GemmBf16Row& reference) {
  constexpr int64_t kDepth = 160, kPanels = 2;
  uint32_t state = 11;
  // Small integers: every order of the sums is exact.
  float w[kN * kK], x[kM * kK];
  for (float& v : w) v = static_cast<float>(static_cast<int32_t>(next(state)) - 128);
  for (float& v : x) v = static_cast<float>(static_cast<int32_t>(next(state)) - 128);
  alignas(64) char blob[sizeof(Bf16Header) + kPanels * kDepth * kBf16Panel * 2];
  bf16_blob_header(kN, kK, blob);
  bf16_pack_panels(w, false, kK, 1, kN, kK, 0, kPanels, blob);
  float y[2][kM * kN];
  for (int r = 0; r < 2; r++) {
    const GemmBf16Row& used = r ? reference : row;
    alignas(64) char a[kM * (kDepth + 32) * 4];
    if (kM * used.a_row(kK) * used.a_bytes > static_cast<int64_t>(sizeof a)) return false;
    used.pack({kM, kK, x, kK, false, a});
    Bf16Block q;
    q.m = kM, q.n = kN, q.k = kK;
    q.a = a, q.b = bf16_blob_panels(blob);
    q.c = y[r], q.y_row = kN;
    used.block(q);
  }
  return memcmp(y[0], y[1], sizeof y[0]) == 0;
}

void check_tile_rows() {
  static const bool once = [] {
    if ((isa::amx & ~isa::allowed()) != 0) return true;
    const char* function = disagreement();
    if (function) isa::withdraw(isa::amx & ~isa::avx512bf16, function);
    return true;
  }();
  (void)once;
}

}  // namespace tersor
