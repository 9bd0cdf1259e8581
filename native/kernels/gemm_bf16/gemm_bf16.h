// bf16 matrix products with f32 sums: y[M,N] = act(sum_k A[m,k] * B[n,k] + bias[n]), A and B rounded to bf16.
//
// Contract:
// - B is packed once, the same bytes for every row: panels of 32 columns; in a panel element (k, j) is panel[(k / 2) * 64 + j * 2 + k % 2]
//   (the pairs that vdpbf16ps and tdpbf16ps take); k is padded to a multiple of 32 and j to 32 with zeros.
// - A is packed for the row by row.pack: m rows, row.a_row(k) elements of a_bytes each per row (4: f32 that hold bf16 values, 2: bf16);
//   k is padded to k_pad with zeros. Rows lie one after another; strips of `strip` rows (the AMX row: 16) are rearranged inside, so a
//   block may start at any multiple of 32 rows: at a + row * a_row(k) * a_bytes.
// - f32 becomes bf16 by rounding to nearest, ties to even; subnormals, infinities and NaN are kept (base/float16.h, to the bit).
// - products are exact; sums are f32 in an order that depends on k, on the row and on whether m == 1 only: equal calls give equal bits
//   whatever the blocks and threads. Infinities and NaN propagate. Tolerance against exact arithmetic, S = sum |a||b|:
//   |error| <= (k + 8) * 2^-24 * S + (k + 8) * 2^-126 for every row, and the dot-product instructions (AVX512-BF16, AMX) may also take
//   subnormal a and b for 0 (they do not know subnormals).
// - then bias is added and act applied, each step rounded, act as in simd/math.h; output is f32 (c) or bf16 (h).
// - nothing else is read or written; no alignment is needed; outputs overlap no input. K = 0 gives act(bias).
#pragma once
#include <cstdint>

#include "kernels/row.h"
#include "simd/act.h"
#include "simd/target.h"

namespace tersor {

constexpr int64_t kBf16Panel = 32;  // columns of a panel, and the padding of k in it

namespace {
inline int64_t bf16_round_up(int64_t k, int64_t step) { return (k + step - 1) / step * step; }
// Elements from panel to panel.
inline int64_t bf16_panel_elements(int64_t k) { return bf16_round_up(k, kBf16Panel) * kBf16Panel; }
// Elements from row to row of packed A. Row-major rows a multiple of 512 bytes apart would fall into few sets of the L1 cache.
inline int64_t bf16_a_row(int64_t k, int strip, int k_pad, int a_bytes) {
  const int64_t depth = bf16_round_up(k, k_pad);
  return depth + (strip == 1 && depth > 0 && depth * a_bytes % 512 == 0 ? 64 / a_bytes : 0);
}
}  // namespace

// x: m rows, x_row elements apart, contiguous along k: f32 (bf16 = false) or bf16.
struct Bf16Pack {
  int64_t m = 0, k = 0;
  const void* x = nullptr;
  int64_t x_row = 0;
  bool bf16 = false;
  void* out = nullptr;
};

struct Bf16Block {
  int64_t m = 0, n = 0, k = 0;
  const void* a = nullptr;      // from row.pack
  const uint16_t* b = nullptr;  // first of the panels that hold columns [0, n)
  const float* bias = nullptr;  // [n] or null
  Act act = Act::none;
  float* c = nullptr;           // f32 result, or null:
  uint16_t* h = nullptr;        // bf16 result
  int64_t y_row = 0;            // elements between rows of c or h

};

// m x n sums at s, s_row apart, to their place in the result: bias, activation, type.
struct Bf16Finish {
  const float* s;
  int64_t s_row;
  int64_t m, n;
  const float* bias;
  Act act;
  float* c;
  uint16_t* h;
  int64_t y_row;
};

struct GemmBf16Row {
  uint32_t needs;
  const char* function;
  int mr, strip, k_pad, a_bytes;
  void (*block)(const Bf16Block&);
  void (*pack)(const Bf16Pack&);

  int64_t a_row(int64_t k) const { return bf16_a_row(k, strip, k_pad, a_bytes); }
};

#define TERSOR_GEMM_BF16(needs, name, mr, strip, k_pad, a_bytes, tolerance) \
  void name(const Bf16Block&);                                              \
  void name##_pack(const Bf16Pack&);
#include "kernels/gemm_bf16/kernels.inc"
#undef TERSOR_GEMM_BF16

const GemmBf16Row& gemm_bf16_row();
int gemm_bf16_all_rows(const GemmBf16Row** out);
int gemm_bf16_rows(RowInfo* out, int capacity);

// Shared by rows of one register width; n elements, or one block of sums.
void bf16_narrow_scalar(const float* x, int64_t n, uint16_t* out);
void bf16_finish_scalar(const Bf16Finish&);
#if TERSOR_ARCH_X64
void bf16_narrow_avx512(const float* x, int64_t n, uint16_t* out);
void bf16_finish_avx512(const Bf16Finish&);
#endif

// A packed weight matrix w[N,K]: header, panels.
struct Bf16Header {
  uint32_t magic;
  int32_t panel;
  int64_t n, k;
  int64_t reserved[5];
};
static_assert(sizeof(Bf16Header) == 64, "the panels start on a cache line");
constexpr uint32_t kBf16Magic = 0x31474254;  // "TBG1"

inline int64_t bf16_panels(int64_t n) { return (n + kBf16Panel - 1) / kBf16Panel; }
// Bytes of the blob; -1 when they do not fit int64_t.
int64_t bf16_blob_bytes(int64_t n, int64_t k);
void bf16_blob_header(int64_t n, int64_t k, void* blob);
bool bf16_blob_fits(const void* blob, int64_t bytes, int64_t n, int64_t k);
inline const uint16_t* bf16_blob_panels(const void* blob) {
  return reinterpret_cast<const uint16_t*>(static_cast<const char*>(blob) + sizeof(Bf16Header));
}
// Packs panels [begin, end) of w, f32 or bf16, any strides (elements).
void bf16_pack_panels(const void* w, bool bf16, int64_t w_n, int64_t w_k, int64_t n, int64_t k, int64_t begin, int64_t end, void* blob);

}  // namespace tersor
