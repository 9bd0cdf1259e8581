// u8 x s8 and s8 x s8 on tile registers (kernels/tiles/product.h): sixteen groups of a packed panel are a tile of B, A is read where it lies.
// The including file defines TERSOR_QGEMM_TILE_WIDTH, the functions of its vector width. Not guarded: each including file includes it once.
#include "kernels/qgemm/qgemm.h"
#include "kernels/tiles/product.h"

TERSOR_TILE_BEGIN
namespace tersor {
namespace {

struct QgemmTileOut {
  const QgemmBlock& q;
  char* place(int64_t, int64_t) const { return nullptr; }
  int64_t row_bytes() const { return 0; }
  void finish(const char* sums, int64_t sums_row, int64_t i, int64_t rows, int64_t j, int64_t columns) const {
    TERSOR_QGEMM_TILE_WIDTH.finish(*q.out, reinterpret_cast<const int32_t*>(sums), sums_row, q.row0 + i, rows, q.col0 + j, columns);
  }
};

inline void qgemm_tile_block(const QgemmBlock& q) {
  TileProblem p;
  p.m = q.m, p.n = q.n, p.steps = (q.k + kTileLine - 1) / kTileLine;
  p.a = static_cast<const char*>(q.a), p.a_row = q.a_row;
  p.b = reinterpret_cast<const char*>(q.b), p.b_panel = q.panel_bytes;
  const QgemmTileOut out{q};
  if (q.a_signed) tile_product<TileDot::s8s8>(p, out);
  else tile_product<TileDot::u8s8>(p, out);
}

}  // namespace
}  // namespace tersor
TERSOR_TILE_END
