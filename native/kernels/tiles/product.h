// Matrix products on tile registers, written once over the macros of simd/tile.h for bytes and for bf16 (both have 64 bytes of k in a tile's
// row and 4-byte sums). Four tiles of sums, so that each product (16 cycles, 52 until its result is there) finds the one before it done:
// 2 x 2 tiles of A and B for pairs of strips of 16 rows: four loads (8 cycles each from L1) per four products; 1 x 4 for a last strip.
// Tiles are configured once per kind of strip and released at the end. Sums that wait for their next stretch of k lie on the stack.
// The including file defines TERSOR_TILE_BEGIN / _END and the instructions (simd/tile.h, or test/tile_emulated.h) before. Not guarded.
#include <cstdint>

#include "simd/prefetch.h"
#include "simd/tile_config.h"

TERSOR_TILE_BEGIN
namespace tersor {
namespace {

enum class TileDot { u8s8, s8s8, bf16 };
#define TERSOR_TILE_DOT(c, a, b)                                \
  do {                                                          \
    if (KIND == TileDot::u8s8) TERSOR_TILE_DOT_U8S8(c, a, b);   \
    else if (KIND == TileDot::s8s8) TERSOR_TILE_DOT_S8S8(c, a, b); \
    else TERSOR_TILE_DOT_BF16(c, a, b);                         \
  } while (0)

constexpr int64_t kTileSide = 16, kTileLine = 64, kTileBytes = kTileSide * kTileLine, kPair = 2 * kTileSide, kQuad = 4 * kTileSide;
// Rows whose sums may wait, and the longest stretch of k, in tiles: B's and A's stretches (2 KiB a tile each) and the sums fit L1 together,
// so B comes from L1 for every strip but the first.
constexpr int64_t kWaiting = 256, kStretch = 10;

// C[m,n] = A B over `steps` tiles of k.
struct TileProblem {
  int64_t m = 0, n = 0, steps = 0;
  const char* a = nullptr;
  int64_t a_row = 0;      // bytes from strip to strip, per row
  bool a_strips = false;  // inside a strip the tiles of A stand one after another, else rows are a_row bytes long
  const char* b = nullptr;
  int64_t b_panel = 0;    // bytes from panel to panel
  int64_t b_tiles = 1;    // tiles side by side in a panel, their lines interleaved

  const char* tile_b(int64_t t) const { return b + t / b_tiles * b_panel + t % b_tiles * kTileLine; }
};

// A row or column of tiles along k: the first one, bytes between its lines, bytes to the next one.
struct TileRun {
  const char* p;
  int64_t line, step;
  TileRun from(int64_t k) const { return {p + k * step, line, step}; }
};

// A run of tiles to bring nearer, `lines` lines of each.
struct TileAhead {
  TileRun run;
  int64_t lines;
  void fetch(int64_t k) const {
    for (int64_t l = 0; l < lines; l++) TERSOR_PREFETCH_L2(run.p + k * run.step + l * run.line);
  }
};
// The share of strip `s` of `strips` in fetching the run `ahead` bytes after `b`.
inline TileAhead tile_share(const TileRun& b, int64_t ahead, int64_t s, int64_t strips) {
  const int64_t each = (kTileSide + strips - 1) / strips, first = s * each, left = kTileSide - first;
  return {{b.p + ahead + first * b.line, b.line, b.step}, left < 0 ? 0 : left < each ? left : each};
}

inline void set_tile(TileConfig& config, int t, int64_t rows) {
  config.rows[t] = static_cast<uint8_t>(rows);
  config.row_bytes[t] = static_cast<uint16_t>(kTileLine);
}

// Tiles 0-3 are sums, 4 and 5 of A, 6 and 7 of B. `more`: onto the sums in c, whose rows are c_row bytes apart.
template <TileDot KIND>
void two_by_two(TileRun a0, TileRun a1, TileRun b0, TileRun b1, int64_t steps, bool more, const TileAhead& next0, const TileAhead& next1, char* c, int64_t c_row) {
  char* const d = c + kTileSide * c_row;
  if (more) {
    TERSOR_TILE_LOAD(0, c, c_row);
    TERSOR_TILE_LOAD(1, c + kTileLine, c_row);
    TERSOR_TILE_LOAD(2, d, c_row);
    TERSOR_TILE_LOAD(3, d + kTileLine, c_row);
  } else {
    TERSOR_TILE_ZERO(0);
    TERSOR_TILE_ZERO(1);
    TERSOR_TILE_ZERO(2);
    TERSOR_TILE_ZERO(3);
  }
  for (int64_t k = 0; k < steps; k++) {
    TERSOR_TILE_LOAD(6, b0.p, b0.line);
    TERSOR_TILE_LOAD(4, a0.p, a0.line);
    TERSOR_TILE_DOT(0, 4, 6);
    TERSOR_TILE_LOAD(7, b1.p, b1.line);
    TERSOR_TILE_DOT(1, 4, 7);
    TERSOR_TILE_LOAD(5, a1.p, a1.line);
    TERSOR_TILE_DOT(2, 5, 6);
    TERSOR_TILE_DOT(3, 5, 7);
    next0.fetch(k);
    next1.fetch(k);
    a0.p += a0.step, a1.p += a1.step, b0.p += b0.step, b1.p += b1.step;
  }
  TERSOR_TILE_STORE(0, c, c_row);
  TERSOR_TILE_STORE(1, c + kTileLine, c_row);
  TERSOR_TILE_STORE(2, d, c_row);
  TERSOR_TILE_STORE(3, d + kTileLine, c_row);
}

// One strip (tile 4) times four columns of tiles (5, 6, 7, 5). Few rows use B once: the next four are fetched while these are used.
template <TileDot KIND> void one_by_four(TileRun a, TileRun b0, TileRun b1, TileRun b2, TileRun b3, int64_t steps, int64_t next, char* c, int64_t c_row) {
  TERSOR_TILE_ZERO(0);
  TERSOR_TILE_ZERO(1);
  TERSOR_TILE_ZERO(2);
  TERSOR_TILE_ZERO(3);
  const TileAhead ahead0 = tile_share(b0, next, 0, 1), ahead1 = tile_share(b1, next, 0, 1), ahead2 = tile_share(b2, next, 0, 1),
                  ahead3 = tile_share(b3, next, 0, 1);
  for (int64_t k = 0; k < steps; k++) {
    TERSOR_TILE_LOAD(4, a.p, a.line);
    TERSOR_TILE_LOAD(5, b0.p, b0.line);
    TERSOR_TILE_DOT(0, 4, 5);
    TERSOR_TILE_LOAD(6, b1.p, b1.line);
    TERSOR_TILE_DOT(1, 4, 6);
    TERSOR_TILE_LOAD(7, b2.p, b2.line);
    TERSOR_TILE_DOT(2, 4, 7);
    TERSOR_TILE_LOAD(5, b3.p, b3.line);
    TERSOR_TILE_DOT(3, 4, 5);
    ahead0.fetch(k);
    ahead1.fetch(k);
    ahead2.fetch(k);
    ahead3.fetch(k);
    a.p += a.step, b0.p += b0.step, b1.p += b1.step, b2.p += b2.step, b3.p += b3.step;
  }
  TERSOR_TILE_STORE(0, c, c_row);
  TERSOR_TILE_STORE(1, c + kTileLine, c_row);
  TERSOR_TILE_STORE(2, c + 2 * kTileLine, c_row);
  TERSOR_TILE_STORE(3, c + 3 * kTileLine, c_row);
}

// Rows [begin, end): pairs of strips, the second one of `second` rows. Two columns of B at a time, the strips pass by.
template <TileDot KIND, class Out> void tile_pairs(const TileProblem& p, int64_t begin, int64_t end, int64_t second, const Out& out) {
  alignas(64) char sums[kWaiting * kPair * 4];
  TileConfig config;
  for (int t = 0; t < 8; t++) set_tile(config, t, t == 2 || t == 3 || t == 5 ? second : kTileSide);
  TERSOR_TILE_CONFIGURE(config);
  const int64_t stretches = p.steps > kStretch + 2 ? (p.steps + kStretch - 1) / kStretch : 1, stretch = p.steps > 0 ? (p.steps + stretches - 1) / stretches : 1;
  const int64_t b_line = p.b_tiles * kTileLine, b_step = p.b_tiles * kTileBytes, a_line = p.a_strips ? kTileLine : p.a_row;
  for (int64_t i0 = begin; i0 < end; i0 += kWaiting) {
    const int64_t i1 = end - i0 < kWaiting ? end : i0 + kWaiting, strips = (i1 - i0 + kPair - 1) / kPair;
    for (int64_t j = 0; j < p.n; j += kPair) {
      const int64_t t = j / kTileSide, columns = p.n - j < kPair ? p.n - j : kPair;
      const char* const first = p.tile_b(t);
      // Past the last column the same tile stands in; what it gives is not used.
      const TileRun b0{first, b_line, b_step}, b1{columns > kTileSide ? p.tile_b(t + 1) : first, b_line, b_step};
      const int64_t ahead = p.tile_b(t + 2) - first;
      for (int64_t k = 0; k == 0 || k < p.steps; k += stretch) {
        const int64_t steps = p.steps - k < stretch ? p.steps - k : stretch;
        for (int64_t i = i0; i < i1; i += kPair) {
          const char* const a = p.a + i * p.a_row;
          const TileRun a0{a, a_line, p.a_strips ? kTileBytes : kTileLine}, a1{a + kTileSide * p.a_row, a_line, p.a_strips ? second * kTileLine : kTileLine};
          char* c = columns == kPair ? out.place(i, j) : nullptr;
          const int64_t c_row = c ? out.row_bytes() : kPair * 4;
          const bool aside = !c;
          if (aside) c = sums + (i - i0) * kPair * 4;
          const int64_t s = (i - i0) / kPair;
          two_by_two<KIND>(a0.from(k), a1.from(k), b0.from(k), b1.from(k), steps, k > 0, tile_share(b0.from(k), ahead, s, strips),
                           tile_share(b1.from(k), ahead, s, strips), c, c_row);
          if (aside && k + stretch >= p.steps) out.finish(c, kPair, i, kTileSide + second, j, columns);
        }
      }
    }
  }
}

// The last `rows` <= 16 rows, from row i on.
template <TileDot KIND, class Out> void tile_strip(const TileProblem& p, int64_t i, int64_t rows, const Out& out) {
  alignas(64) char sums[kTileSide * kQuad * 4];
  TileConfig config;
  for (int t = 0; t < 5; t++) set_tile(config, t, rows);
  for (int t = 5; t < 8; t++) set_tile(config, t, kTileSide);
  TERSOR_TILE_CONFIGURE(config);
  const int64_t b_line = p.b_tiles * kTileLine, b_step = p.b_tiles * kTileBytes;
  const TileRun a{p.a + i * p.a_row, p.a_strips ? kTileLine : p.a_row, p.a_strips ? rows * kTileLine : kTileLine};
  const int64_t last = (p.n - 1) / kTileSide;
  for (int64_t j = 0; j < p.n; j += kQuad) {
    TileRun b[4];
    for (int64_t t = 0; t < 4; t++) b[t] = {p.tile_b(j / kTileSide + t < last ? j / kTileSide + t : last), b_line, b_step};
    const int64_t columns = p.n - j < kQuad ? p.n - j : kQuad;
    char* const place = columns == kQuad ? out.place(i, j) : nullptr;
    one_by_four<KIND>(a, b[0], b[1], b[2], b[3], p.steps, 4 / p.b_tiles * p.b_panel, place ? place : sums, place ? out.row_bytes() : kQuad * 4);
    if (!place) out.finish(sums, kQuad, i, rows, j, columns);
  }
}

// Out: char* place(i, j): where the sums of a whole tile group may go at once (rows row_bytes() apart), or null; then
// finish(sums, columns of a row of sums, i, rows, j, columns) gets them.
template <TileDot KIND, class Out> void tile_product(const TileProblem& p, const Out& out) {
  if (p.m == 0 || p.n == 0) return;
  const int64_t whole = p.m / kPair * kPair, rest = p.m - whole;
  for (int part = 0; part < 2; part++) {  // whole pairs, then a pair whose second strip is short
    const int64_t begin = part ? whole : 0, end = part ? p.m : whole, second = part ? rest - kTileSide : kTileSide;
    if (begin < end && second > 0) tile_pairs<KIND>(p, begin, end, second, out);
  }
  if (rest > 0 && rest <= kTileSide) tile_strip<KIND>(p, whole, rest, out);
  TERSOR_TILE_RELEASE();
}

}  // namespace
}  // namespace tersor
TERSOR_TILE_END
