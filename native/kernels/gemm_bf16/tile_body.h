// bf16 products on tile registers, over the macros of simd/tile.h. Four tiles of sums (32 x 32), two of A, two of B: per 32 values of k
// four tile loads feed four tile products, so the products (16 cycles each) hide the loads (8 cycles each from L1).
// A lies in strips of 16 rows, inside a strip 32 values of k of all rows after one another: a tile is contiguous; a last strip of fewer
// rows is that much shorter. The including file also defines TERSOR_BF16_FINISH and TERSOR_BF16_NARROW, and may define TERSOR_BF16_GEMV
// for blocks of a single row.
// Not guarded: each including file includes it once.
#include <cstring>

#include "kernels/gemm_bf16/gemm_bf16.h"

TERSOR_TILE_BEGIN
namespace tersor {
namespace {

constexpr int64_t kStep = 32, kTileRows = 16, kBlockRows = 32, kColumns = kBf16Panel;
constexpr int64_t kStepBytes = kStep * kColumns * 2, kLineStride = kColumns * 4, kLine = 64;  // of a panel

// Where the sums of a tile go: into the result itself, or aside until bias, activation or a narrower type have been applied.
struct TileTarget {
  float aside[kBlockRows * 2 * kColumns];
  bool direct;
  float* at;
  int64_t stride;  // bytes

  void aim(const Bf16Block& q, int64_t i, int64_t j, int64_t columns) {
    direct = q.c && !q.bias && q.act == Act::none && q.n - j >= columns;
    at = direct ? q.c + i * q.y_row + j : aside;
    stride = (direct ? q.y_row : columns) * 4;
  }
  void finish(const Bf16Block& q, int64_t i, int64_t j, int64_t rows, int64_t columns) const {
    if (direct) return;
    const int64_t n = q.n - j < columns ? q.n - j : columns;
    TERSOR_BF16_FINISH({aside, columns, rows, n, q.bias ? q.bias + j : nullptr, q.act, q.c ? q.c + i * q.y_row + j : nullptr,
                        q.h ? q.h + i * q.y_row + j : nullptr, q.y_row});
  }
};

inline void set_tile(TileConfig& config, int t, int64_t rows) {
  config.rows[t] = static_cast<uint8_t>(rows);
  config.row_bytes[t] = static_cast<uint16_t>(kLine);
}

// Lines of the next panel that one strip of this one brings nearer, so that all strips together fetch it once.
struct NextPanel {
  const char* at;
  int64_t lines;
  void fetch(int64_t k) const {
    for (int64_t l = 0; l < lines; l++) TERSOR_PREFETCH_L2(at + k * kStepBytes + l * kLine);
  }
};
inline NextPanel next_panel(const char* panel, int64_t bytes, int64_t strip, int64_t strips) {
  const int64_t all = kStepBytes / kLine, each = (all + strips - 1) / strips, first = strip * each;
  return {panel + bytes + first * kLine, first >= all ? 0 : first + each > all ? all - first : each};
}

// Rows i.. of two strips (tiles 4, 5; the first of 16 rows, the second of `second`) times one panel (tiles 6, 7).
inline void two_strips(const char* a0, int64_t second, const char* b, int64_t steps, const NextPanel& next, const TileTarget& to) {
  const char* a1 = a0 + kTileRows * steps * kLine;
  TERSOR_TILE_ZERO(0);
  TERSOR_TILE_ZERO(1);
  TERSOR_TILE_ZERO(2);
  TERSOR_TILE_ZERO(3);
  for (int64_t k = 0; k < steps; k++) {
    TERSOR_TILE_LOAD(6, b, kLineStride);
    TERSOR_TILE_LOAD(4, a0, kLine);
    TERSOR_TILE_DOT_BF16(0, 4, 6);
    TERSOR_TILE_LOAD(7, b + kLine, kLineStride);
    TERSOR_TILE_DOT_BF16(1, 4, 7);
    TERSOR_TILE_LOAD(5, a1, kLine);
    TERSOR_TILE_DOT_BF16(2, 5, 6);
    TERSOR_TILE_DOT_BF16(3, 5, 7);
    next.fetch(k);
    a0 += kTileRows * kLine, a1 += second * kLine, b += kStepBytes;
  }
  TERSOR_TILE_STORE(0, to.at, to.stride);
  TERSOR_TILE_STORE(1, to.at + 16, to.stride);
  TERSOR_TILE_STORE(2, reinterpret_cast<char*>(to.at) + kTileRows * to.stride, to.stride);
  TERSOR_TILE_STORE(3, reinterpret_cast<char*>(to.at + 16) + kTileRows * to.stride, to.stride);
}

// One strip of `rows` (tile 4) times two panels: four chains of products again, as one panel's two would wait for their own results.
inline void one_strip_two_panels(const char* a, int64_t rows, const char* b0, const char* b1, int64_t steps, const TileTarget& to) {
  TERSOR_TILE_ZERO(0);
  TERSOR_TILE_ZERO(1);
  TERSOR_TILE_ZERO(2);
  TERSOR_TILE_ZERO(3);
  const int64_t panel = b1 - b0;
  for (int64_t k = 0; k < steps; k++) {
    TERSOR_TILE_LOAD(4, a, kLine);
    TERSOR_TILE_LOAD(5, b0, kLineStride);
    TERSOR_TILE_DOT_BF16(0, 4, 5);
    TERSOR_TILE_LOAD(6, b0 + kLine, kLineStride);
    TERSOR_TILE_DOT_BF16(1, 4, 6);
    TERSOR_TILE_LOAD(7, b1, kLineStride);
    TERSOR_TILE_DOT_BF16(2, 4, 7);
    TERSOR_TILE_LOAD(5, b1 + kLine, kLineStride);
    TERSOR_TILE_DOT_BF16(3, 4, 5);
    for (int64_t l = 0; l < kStepBytes; l += kLine) {  // few rows read B once: its next panels come from far away
      TERSOR_PREFETCH_L2(b0 + 2 * panel + l);
      TERSOR_PREFETCH_L2(b1 + 2 * panel + l);
    }
    a += rows * kLine, b0 += kStepBytes, b1 += kStepBytes;
  }
  TERSOR_TILE_STORE(0, to.at, to.stride);
  TERSOR_TILE_STORE(1, to.at + 16, to.stride);
  TERSOR_TILE_STORE(2, to.at + 32, to.stride);
  TERSOR_TILE_STORE(3, to.at + 48, to.stride);
}

inline void one_strip_one_panel(const char* a, int64_t rows, const char* b, int64_t steps, const TileTarget& to) {
  TERSOR_TILE_ZERO(0);
  TERSOR_TILE_ZERO(1);
  for (int64_t k = 0; k < steps; k++) {
    TERSOR_TILE_LOAD(4, a, kLine);
    TERSOR_TILE_LOAD(5, b, kLineStride);
    TERSOR_TILE_DOT_BF16(0, 4, 5);
    TERSOR_TILE_LOAD(6, b + kLine, kLineStride);
    TERSOR_TILE_DOT_BF16(1, 4, 6);
    a += rows * kLine, b += kStepBytes;
  }
  TERSOR_TILE_STORE(0, to.at, to.stride);
  TERSOR_TILE_STORE(1, to.at + 16, to.stride);
}

// Whole pairs of strips first, panel by panel (a panel stays in L1/L2 while the strips pass by), then the rest under its own configuration.
inline void tile_block(const Bf16Block& q) {
#if defined(TERSOR_BF16_GEMV)
  if (q.m == 1) return TERSOR_BF16_GEMV(q);
#endif
  const int64_t steps = (q.k + kStep - 1) / kStep, panel = bf16_panel_elements(q.k) * 2, row_bytes = steps * kLine;
  const char* const a = static_cast<const char*>(q.a);
  const char* const b = reinterpret_cast<const char*>(q.b);
  const int64_t whole = q.m / kBlockRows * kBlockRows, rest = q.m - whole;
  TileTarget to;
  for (int part = 0; part < 2; part++) {  // all whole pairs, then a pair whose second strip is short
    const int64_t begin = part ? whole : 0, end = part ? q.m : whole, second = part ? rest - kTileRows : kTileRows;
    if (begin == end || second <= 0) continue;
    TileConfig config;
    set_tile(config, 0, kTileRows), set_tile(config, 1, kTileRows), set_tile(config, 2, second), set_tile(config, 3, second);
    set_tile(config, 4, kTileRows), set_tile(config, 5, second), set_tile(config, 6, kTileRows), set_tile(config, 7, kTileRows);
    TERSOR_TILE_CONFIGURE(config);
    const int64_t strips = (end - begin + kBlockRows - 1) / kBlockRows;
    const char* p = b;
    for (int64_t j = 0; j < q.n; j += kColumns, p += panel)
      for (int64_t i = begin, s = 0; i < end; i += kBlockRows, s++) {
        to.aim(q, i, j, kColumns);
        two_strips(a + i * row_bytes, second, p, steps, next_panel(p, panel, s, strips), to);
        to.finish(q, i, j, kTileRows + second, kColumns);
      }
  }
  if (rest > 0 && rest <= kTileRows) {
    TileConfig config;
    for (int t = 0; t <= 4; t++) set_tile(config, t, rest);
    for (int t = 5; t <= 7; t++) set_tile(config, t, kTileRows);
    TERSOR_TILE_CONFIGURE(config);
    const char* p = b;
    int64_t j = 0;
    for (; q.n - j > kColumns; j += 2 * kColumns, p += 2 * panel) {
      to.aim(q, whole, j, 2 * kColumns);
      one_strip_two_panels(a + whole * row_bytes, rest, p, p + panel, steps, to);
      to.finish(q, whole, j, rest, 2 * kColumns);
    }
    if (j < q.n) {
      to.aim(q, whole, j, kColumns);
      one_strip_one_panel(a + whole * row_bytes, rest, p, steps, to);
      to.finish(q, whole, j, rest, kColumns);
    }
  }
  if (q.m > 0) TERSOR_TILE_RELEASE();
}

inline void tile_pack(const Bf16Pack& a) {
  const int64_t steps = (a.k + kStep - 1) / kStep;
  for (int64_t i0 = 0; i0 < a.m; i0 += kTileRows) {
    const int64_t rows = a.m - i0 < kTileRows ? a.m - i0 : kTileRows;
    uint16_t* strip = static_cast<uint16_t*>(a.out) + i0 * steps * kStep;
    for (int64_t r = 0; r < rows; r++)
      for (int64_t k = 0; k < a.k; k += kStep) {
        uint16_t* to = strip + k * rows + r * kStep;
        const int64_t n = a.k - k < kStep ? a.k - k : kStep, from = (i0 + r) * a.x_row + k;
        if (a.bf16) memcpy(to, static_cast<const uint16_t*>(a.x) + from, static_cast<size_t>(n) * 2);
        else TERSOR_BF16_NARROW(static_cast<const float*>(a.x) + from, n, to);
        if (n < kStep) memset(to + n, 0, static_cast<size_t>(kStep - n) * 2);
      }
  }
}

}  // namespace
}  // namespace tersor
TERSOR_TILE_END
