// Integer matrix products, exact: sums[M,N] = sum_k A[m,k] * B[n,k], A 8-bit (unsigned or signed), B signed 8-bit, sums in 32 bits modulo 2^32,
// and what becomes of the sums while they are in cache (zero points, scales, bias, activation, residual, narrow output).
//
// A product has two parts. A row of the table (kernels.inc) computes tiles of plain sums; it hands each tile to the finish function of its
// vector width. Rows differ in the tile, the number of rows of A for which they are best (min_m) and what they need; rows of one ISA level
// read one packed layout, so a weight is packed once.
//
// Contract of a row (QgemmBlock):
// - a: m rows, a_row bytes apart, of uint8_t (a_signed: int8_t; only rows with takes_s8 take that, only rows with takes_u8 the other). The bytes of
//   each row up to k rounded up to layout.k_pad must be readable; the ones past k meet zeros of B, so their content does not matter.
// - b: packed panels of layout.nr columns, panel_bytes apart. In a panel, groups of kr values of k: panel[(k / kr) * nr * kr + j * kr + k % kr];
//   k is padded to a multiple of k_pad and j to nr with zeros. With nr = 16, kr = 4, k_pad = 64 (x86) sixteen groups of a panel are an AMX tile of B.
// - the sums of row i, column j (j counted within the block) go to finish(*out, tile, tile_row, row0 + i.., col0 + j..) exactly once.
// - sums wrap modulo 2^32 and never saturate, so a result that fits in 32 bits after the zero points are taken off is exact for every k.
// - no alignment is needed; outputs overlap no input. Nothing else is read or written. m, n, k may be 0 (k = 0: sums are 0).
#pragma once
#include <cstdint>

#include "kernels/row.h"
#include "simd/act.h"
#include "simd/target.h"

namespace tersor {

using QgemmAct = Act;
enum class QgemmTo : int32_t { s32, f32, s8, u8, fixed_s8, fixed_u8 };

// What becomes of sums; row i and column j are those of the whole product. Steps are 0 (one value for all rows) or 1.
//   v = sum - x_zero[i] * column[j] - row_sum[i] * w_zero[j] + add[j]             modulo 2^32; column[j] = sum_k B[j,k] - k * w_zero[j]
// s32:     y = v
// f32:     f = act(float(v) * (x_scale[i] * scale[j]) + bias[j]) + residual[i,j]  each step rounded, act as in simd/math.h: the same bits on every row
// s8, u8:  y = clamp(round_half_even(f * y_inverse) + y_zero, lo, hi), y_zero where f is NaN
// fixed_*: y = clamp(R(H(L(v), multiplier[j])) + y_zero, lo, hi), as in gemmlowp (fixedpoint/fixedpoint.h): with e = exponent[j],
//          L(v) = v * 2^max(e,0), saturating; H(a, b) = SaturatingRoundingDoublingHighMul = (a * b + 2^30) >> 31 (multiplier >= 0, so it cannot saturate);
//          R(t) = RoundingDivideByPOT(t, max(-e,0)), halves away from zero. 0 <= multiplier, -31 <= e <= 30.
struct QgemmFinish {
  const int32_t* x_zero = nullptr;
  int64_t x_zero_step = 0;
  const int32_t* column = nullptr;   // null: no zero point of x
  const int32_t* row_sum = nullptr;  // sum_k A[i,k], with w_zero; else null
  const int32_t* w_zero = nullptr;
  const int32_t* add = nullptr;      // [n] or null
  QgemmTo to = QgemmTo::s32;
  void* y = nullptr;
  int64_t y_row = 0;                 // elements
  const float* x_scale = nullptr;    // null: 1
  int64_t x_scale_step = 0;
  const float* scale = nullptr;      // [n], required by f32, s8, u8
  const float* bias = nullptr;       // [n] or null
  QgemmAct act = QgemmAct::none;
  const float* residual = nullptr;   // [m,n] or null
  int64_t residual_row = 0;
  float y_inverse = 1;
  int32_t y_zero = 0, lo = 0, hi = 0;
  const int32_t* multiplier = nullptr;
  const int32_t* exponent = nullptr;
};

// sums: m rows, sums_row apart; their columns up to n rounded up to 16 must be readable. (i, j): place of the tile in the whole product.
using QgemmFinishTile = void (*)(const QgemmFinish& f, const int32_t* sums, int64_t sums_row, int64_t i, int64_t m, int64_t j, int64_t n);

// Which groups of four k of a panel (by stretches of kQgemmStretch values of k) a row without a dot product of bytes takes in which way: first the `tame`
// ones, where no pair of weights can bring 255 * (w0 + w1) beyond 16 bits, so vpmaddubsw is exact; then the `wild` ones. Groups of zeros are left out.
constexpr int64_t kQgemmStretch = 512;
struct QgemmVisits {
  uint8_t tame, wild;
  uint8_t order[kQgemmStretch / 4];
};

struct QgemmBlock {
  int64_t m = 0, n = 0, k = 0;
  const void* a = nullptr;
  int64_t a_row = 0;
  bool a_signed = false;
  const int8_t* b = nullptr;  // first of the panels that hold columns [0, n) of the block
  int64_t panel_bytes = 0;
  const QgemmVisits* visits = nullptr;  // of those panels, for layouts with `visits`; else null
  int64_t panel_visits = 0;             // entries for each panel
  const QgemmFinish* out = nullptr;
  int64_t row0 = 0, col0 = 0;  // place of the block in the whole product
};

// out[i] = clamp(round_half_even(x[i] / scale) + zero, 0, 255); NaN gives zero. scale > 0 and finite.
struct QgemmQuantize {
  const float* x;
  int64_t n;
  float scale;
  int32_t zero;
  uint8_t* out;
};

// One row (token) quantized by its own range; returns scale and zero.
//   symmetric:  scale = max(max|x| / 127, 2^-126), zero = 128, out = round_half_even(x * (1 / scale)) + 128, in [1, 255]: s8 codes, shifted
//   asymmetric: lo = min(x, 0), hi = max(x, 0), scale = max(hi / 255 - lo / 255, 2^-126), zero = round_half_even(-lo / scale),
//               out = clamp(round_half_even(x * (1 / scale)) + zero, 0, 255)
// A row with a value that is not finite gets scale NaN (and valid codes), so its results are NaN.
struct QgemmDynamic {
  const float* x;
  int64_t n;
  bool symmetric;
  uint8_t* out;
  float scale;   // result
  int32_t zero;  // result
};

struct QgemmLayout {
  int nr, kr, k_pad;
  bool visits;  // QgemmVisits of every panel follow the panels
  int64_t depth(int64_t k) const { return (k + k_pad - 1) / k_pad * k_pad; }
  int64_t panel_bytes(int64_t k) const { return depth(k) * nr; }
  int64_t panels(int64_t n) const { return (n + nr - 1) / nr; }
  int64_t panel_visits(int64_t k) const { return visits ? (k + kQgemmStretch - 1) / kQgemmStretch : 0; }
  bool operator==(const QgemmLayout& o) const { return nr == o.nr && kr == o.kr && k_pad == o.k_pad && visits == o.visits; }
};

// Functions of one vector width, shared by its rows.
struct QgemmWidth {
  QgemmFinishTile finish;
  void (*quantize)(const QgemmQuantize&);
  void (*dynamic)(QgemmDynamic&);
};
extern const QgemmWidth qgemm_width_scalar;
#if TERSOR_ARCH_X64
extern const QgemmWidth qgemm_width_avx2, qgemm_width_avx512;
#elif TERSOR_ARCH_ARM64
extern const QgemmWidth qgemm_width_neon;
#endif

struct QgemmRow {
  uint32_t needs;
  const char* variant;  // large, small, gemv
  const char* function;
  int mr, np;           // largest tile: mr rows of A, np panels of B
  int64_t min_m;        // best from this many rows of A on (measured)
  bool takes_u8, takes_s8;
  QgemmLayout layout;
  const QgemmWidth* width;
  void (*block)(const QgemmBlock&);
};

// Totals in 64 bits of rows [i, i + m), all n columns: v without the wrapping, `add` unused; f32, s8 and u8 as above from float(v); s32 stores
// int64_t. No fixed point.
void qgemm_finish_wide(const QgemmFinish& f, const int64_t* totals, int64_t i, int64_t m, int64_t n);

#define TERSOR_QGEMM(needs, variant, name, mr, np, min_m, takes, layout, width, tolerance) void name(const QgemmBlock&);
#include "kernels/qgemm/kernels.inc"
#undef TERSOR_QGEMM

// The row for m rows of A. All rows that it returns in one process read one layout.
const QgemmRow& qgemm_row(int64_t m);
const QgemmLayout& qgemm_layout();
bool qgemm_takes(bool a_signed);  // every row that qgemm_row can return takes this type of A
int qgemm_all_rows(const QgemmRow** out);
int qgemm_rows(RowInfo* out, int capacity);

// A packed weight w[N,K]: header, column sums (i32, padded with zeros to whole panels), panels, and QgemmVisits where the layout has them.
struct QgemmHeader {
  uint32_t magic;
  int16_t nr, kr;
  int32_t k_pad;
  uint32_t flags;
  int64_t n, k;
  int64_t sums_at, panels_at, visits_at, bytes;  // offsets from the start of the blob
};
static_assert(sizeof(QgemmHeader) == 64, "the column sums start on a cache line");
constexpr uint32_t kQgemmMagic = 0x32475154;  // "TQG2"
constexpr uint32_t kQgemmHasVisits = 1;  // flag
constexpr int64_t kQgemmMaxK = (int64_t(1) << 23) - 1;  // sums of a row of A and of a column of w - w_zero fit in 32 bits

int64_t qgemm_blob_bytes(const QgemmLayout& layout, int64_t n, int64_t k);
// Header, padding and zeroed sums.
void qgemm_blob_header(const QgemmLayout& layout, int64_t n, int64_t k, void* blob);
// Packs panels [begin, end) and their column sums. w rows are w_row elements apart, contiguous along k.
void qgemm_pack_blob(const QgemmLayout& layout, const int8_t* w, int64_t w_row, int64_t n, int64_t k, int64_t begin, int64_t end, void* blob);
// One blob of weights [n[i], k], one below the other; each n[i] is a multiple of layout.nr.
void qgemm_join_blobs(const QgemmLayout& layout, const void* const* blobs, const int64_t* n, int count, int64_t k, void* joined);
// True when the blob, `bytes` long, is one of this layout for a weight [n,k].
bool qgemm_blob_fits(const QgemmLayout& layout, const void* blob, int64_t bytes, int64_t n, int64_t k);
const int32_t* qgemm_blob_sums(const void* blob);
const int8_t* qgemm_blob_panels(const void* blob);
const QgemmVisits* qgemm_blob_visits(const void* blob);  // null without

}  // namespace tersor
