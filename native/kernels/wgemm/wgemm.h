// Products with weight-only quantized weights: y[M,N] = x[M,K] * w[N,K]^T with x in f32 and w[n,k] = (q[n,k] - zero[n,g]) * scale[n,g],
// g = k / (K / groups), q of 2, 3, 4 or 8 bits, unfolded on the fly.
//
// Packed form (a blob, for one row of kernels.inc): header, then panels of nr outputs. A panel holds its groups one after another:
//   scale f32 [nr], zero f32 [nr] if affine, then the codes in steps of 32 values of k, each group padded to whole steps.
//   A step is `bits` vectors of nr 32-bit words; word lane j belongs to output j. With q = k / 4 and b = k % 4, u = code + 2^(bits-1) stands at
//     8 bits: word q,     bit 8b            4 bits: word q / 2, bit 8b + 4 (q % 2)          2 bits: word q / 4, bit 8b + 2 (q % 4)
//     3 bits: low two bits as for 2 bits, the high one in word 2, bit 8b + q
//   so shifting and masking a vector gives four neighbouring k of every output as bytes: what an 8-bit dot product takes. Padding has scale 0.
//
// Vector rows take x in block fixed point: in blocks of at most 128 k (never across groups) x becomes an integer of 24 bits, X = round(x 2^t), 2^t chosen by
// the largest |x| of the block, cut in three signed bytes. Products and sums of a block are then exact in integers; blocks are scaled and summed in f32.
//   tolerance: |error| <= 2^-22 sum_blocks(max|x| * sum|w|) + (blocks + 8) 2^-24 sum|x||w| + 2^-50 max|x| sum|w|, |w| = |scale| (|q| + |zero|)
//   That is the size of the rounding of an f32 sum, and it does not grow with K within a block.
// `prepare` says no for rows of x that this cannot hold (not finite, or the largest |x| outside [2^-40, 2^60) and not 0): those rows
// are computed from unpacked weights in f32, as all rows are when that is faster (see strip_from).
// Results do not depend on m, the tile or the thread. No alignment is needed. Nothing outside the named elements is read or written.
#pragma once
#include <cstdint>

#include "kernels/row.h"
#include "simd/act.h"
#include "simd/target.h"

namespace tersor {

constexpr int kWgemmStep = 32;         // values of k that are packed together
constexpr int kWgemmBlockSteps = 4;    // steps that share a power of two
constexpr int kWgemmPlanes = 3;        // bytes of X
constexpr int kWgemmQuadBytes = 16;    // prepared x: 4 values of k, low bytes, middle bytes, high bytes, 4 bytes unused

struct WgemmShape {
  int64_t n = 0, k = 0, groups = 1;
  int bits = 8;
  bool affine = false;

  int64_t group() const { return k / groups; }
  int64_t group_steps() const { return (group() + kWgemmStep - 1) / kWgemmStep; }
  int64_t group_blocks() const { return (group_steps() + kWgemmBlockSteps - 1) / kWgemmBlockSteps; }
};

// What a block of prepared x needs besides its bytes.
struct WgemmBlock {
  float scale;                  // 2^-t
  float sum;                    // sum of X
  int32_t start[kWgemmPlanes];  // -2^(bits-1) * sum of the plane's bytes
  int32_t unused[3];
};

// Products of m prepared rows with consecutive panels: y[i, j] for j < n, the outputs of these panels.
struct WgemmDot {
  const WgemmShape* shape = nullptr;
  int64_t m = 0, n = 0;
  const char* x = nullptr;  // prepared rows, x_row bytes apart
  int64_t x_row = 0;
  const char* panels = nullptr;
  float* y = nullptr;
  int64_t y_row = 0;
};

// out[p * out_row + j] = w[j, k], p counting `count` values of k from step `step` of group `group` on (whole groups, or a part of one group), j < nr.
struct WgemmUnpack {
  const WgemmShape* shape = nullptr;
  const char* panel = nullptr;
  int64_t group = 0, step = 0, count = 0;
  float* out = nullptr;
  int64_t out_row = 0;
};

// y = act(y + bias) + residual on an m x n tile; bias and residual (rows y_row apart) may be null.
struct WgemmFinish {
  int64_t m = 0, n = 0;
  float* y = nullptr;
  int64_t y_row = 0;
  const float* bias = nullptr;
  const float* residual = nullptr;
  Act act = Act::none;
};

struct WgemmRow {
  uint32_t needs;
  const char* function;
  int nr, tall;                // outputs of a panel; rows of the tallest tile
  int strip_from, strip_from8;  // at this many rows of x unpacking for the f32 product is faster: up to 4 bits, 8 bits
  bool (*prepare)(const WgemmShape&, const float* x, char* out);
  void (*dot)(const WgemmDot&);
  void (*unpack)(const WgemmUnpack&);
  void (*finish)(const WgemmFinish&);

  int64_t panels(int64_t n) const { return (n + nr - 1) / nr; }
  int64_t group_bytes(const WgemmShape& s) const { return int64_t(4) * nr * (1 + (s.affine ? 1 : 0) + s.group_steps() * s.bits); }
  int64_t panel_bytes(const WgemmShape& s) const { return group_bytes(s) * s.groups; }
};

#define TERSOR_WGEMM(needs, name, nr, tall, strip_from, strip_from8, width, tolerance) \
  bool name##_prepare(const WgemmShape&, const float*, char*);                  \
  void name##_dot(const WgemmDot&);                                             \
  void name##_unpack(const WgemmUnpack&);
#include "kernels/wgemm/kernels.inc"
#undef TERSOR_WGEMM

void wgemm_finish_avx512(const WgemmFinish&);
void wgemm_finish_avx2(const WgemmFinish&);
void wgemm_finish_neon(const WgemmFinish&);
void wgemm_finish_scalar(const WgemmFinish&);

const WgemmRow& wgemm_row();
int wgemm_all_rows(const WgemmRow** out);
int wgemm_rows(RowInfo* out, int capacity);

// Bytes of one prepared row of x: its bytes, then its blocks.
inline int64_t wgemm_blocks_at(const WgemmShape& s) { return s.groups * s.group_steps() * (kWgemmStep / 4) * kWgemmQuadBytes; }
inline int64_t wgemm_x_bytes(const WgemmShape& s) { return wgemm_blocks_at(s) + s.groups * s.group_blocks() * int64_t(sizeof(WgemmBlock)); }

struct WgemmHeader {
  uint32_t magic;
  int32_t nr, bits, affine;
  int64_t n, k, groups;
  int64_t reserved[3];
};
static_assert(sizeof(WgemmHeader) == 64, "panels start on a cache line");
constexpr uint32_t kWgemmMagic = 0x31475754;  // "TWG1"

inline bool wgemm_bits_known(int64_t bits) { return bits == 2 || bits == 3 || bits == 4 || bits == 8; }
int64_t wgemm_blob_bytes(const WgemmRow& row, const WgemmShape& s);
void wgemm_blob_header(const WgemmRow& row, const WgemmShape& s, void* blob);
// Codes and factors of a weight. scale and zero: element (n, g) at n * factor_row + g * factor_col (steps of 0 repeat).
struct WgemmSource {
  const int8_t* q;  // [n, k]
  const float* scale;
  int64_t scale_row, scale_col;
  const float* zero;  // null: symmetric
  int64_t zero_row, zero_col;
};
// Packs panels [begin, end). Returns the position n * k + i of a code that does not fit the bits, or -1.
int64_t wgemm_pack_panels(const WgemmRow& row, const WgemmShape& s, const WgemmSource& w, int64_t begin, int64_t end, void* blob);
// The shape in the header of a blob that this row made for n outputs of k inputs; false when it is something else.
bool wgemm_blob_open(const WgemmRow& row, const void* blob, int64_t bytes, int64_t n, int64_t k, WgemmShape* s);
inline const char* wgemm_blob_panels(const void* blob) { return static_cast<const char*>(blob) + sizeof(WgemmHeader); }

}  // namespace tersor
