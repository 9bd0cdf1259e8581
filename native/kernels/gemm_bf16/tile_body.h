// bf16 products on tile registers (kernels/tiles/product.h). A lies in strips of 16 rows, inside a strip 32 values of k of all rows after
// one another: a tile is contiguous; a last strip of fewer rows is that much shorter. The including file defines TERSOR_BF16_FINISH and
// TERSOR_BF16_NARROW, and may define TERSOR_BF16_GEMV for blocks of a single row. Not guarded: each including file includes it once.
#include <cstring>

#include "kernels/gemm_bf16/gemm_bf16.h"
#include "kernels/tiles/product.h"

TERSOR_TILE_BEGIN
namespace tersor {
namespace {

constexpr int64_t kStep = 32;  // values of k in a tile

struct Bf16TileOut {
  const Bf16Block& q;
  char* place(int64_t i, int64_t j) const { return q.c && !q.bias && q.act == Act::none ? reinterpret_cast<char*>(q.c + i * q.y_row + j) : nullptr; }
  int64_t row_bytes() const { return q.y_row * 4; }
  void finish(const char* sums, int64_t sums_row, int64_t i, int64_t rows, int64_t j, int64_t columns) const {
    TERSOR_BF16_FINISH({reinterpret_cast<const float*>(sums), sums_row, rows, columns, q.bias ? q.bias + j : nullptr, q.act,
                        q.c ? q.c + i * q.y_row + j : nullptr, q.h ? q.h + i * q.y_row + j : nullptr, q.y_row});
  }
};

inline void tile_block(const Bf16Block& q) {
#if defined(TERSOR_BF16_GEMV)
  if (q.m == 1) return TERSOR_BF16_GEMV(q);
#endif
  TileProblem p;
  p.m = q.m, p.n = q.n, p.steps = (q.k + kStep - 1) / kStep;
  p.a = static_cast<const char*>(q.a), p.a_row = p.steps * kTileLine, p.a_strips = true;
  p.b = reinterpret_cast<const char*>(q.b), p.b_panel = bf16_panel_elements(q.k) * 2, p.b_tiles = 2;
  tile_product<TileDot::bf16>(p, Bf16TileOut{q});
}

inline void tile_pack(const Bf16Pack& a) {
  const int64_t steps = (a.k + kStep - 1) / kStep;
  for (int64_t i0 = 0; i0 < a.m; i0 += kTileSide) {
    const int64_t rows = a.m - i0 < kTileSide ? a.m - i0 : kTileSide;
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
