// The macros of simd/tile.h as plain C++, after the instruction set's description: what a kernel over tiles does can so be tested on
// every machine. Misuse that the processor answers with a fault (no configuration, shapes that do not fit, a tile used twice) is counted
// in `faults`. Not guarded: each including file has its own tiles.
#include <cmath>
#include <cstdint>
#include <cstring>

#include "simd/tile_config.h"

namespace tersor {
namespace {

struct EmulatedTiles {
  bool configured = false;
  int64_t faults = 0, configurations = 0, loads = 0, products = 0;
  int rows[8] = {}, row_bytes[8] = {};
  unsigned char data[8][16][64];

  void configure(const TileConfig& c) {
    configurations++;
    configured = true;
    memset(data, 0, sizeof data);
    faults += c.palette != 1 || c.start_row != 0;
    for (unsigned char r : c.reserved) faults += r != 0;
    for (int t = 0; t < 16; t++) {
      faults += c.rows[t] > 16 || c.row_bytes[t] > 64 || (c.rows[t] == 0) != (c.row_bytes[t] == 0) || (t >= 8 && c.rows[t] != 0);
      if (t < 8) rows[t] = c.rows[t], row_bytes[t] = c.row_bytes[t];
    }
  }
  void release() {
    configured = false;
    memset(data, 0, sizeof data);
    memset(rows, 0, sizeof rows);
    memset(row_bytes, 0, sizeof row_bytes);
  }
  bool ready(int t) {
    const bool ok = configured && rows[t] > 0;
    faults += !ok;
    return ok;
  }
  void zero(int t) {
    if (ready(t)) memset(data[t], 0, sizeof data[t]);
  }
  void load(int t, const void* p, int64_t stride) {
    if (!ready(t)) return;
    loads++;
    memset(data[t], 0, sizeof data[t]);
    for (int r = 0; r < rows[t]; r++) memcpy(data[t][r], static_cast<const char*>(p) + r * stride, static_cast<size_t>(row_bytes[t]));
  }
  void store(int t, void* p, int64_t stride) {
    if (!ready(t)) return;
    for (int r = 0; r < rows[t]; r++) memcpy(static_cast<char*>(p) + r * stride, data[t][r], static_cast<size_t>(row_bytes[t]));
  }
  bool fit(int c, int a, int b) {
    const bool distinct = c != a && c != b && a != b, ok = configured && distinct && rows[c] == rows[a] && row_bytes[c] == row_bytes[b] &&
                                                           row_bytes[a] == rows[b] * 4 && row_bytes[c] % 4 == 0 && rows[c] > 0 && rows[b] > 0;
    faults += !ok;
    products += ok;
    return ok;
  }

  template <class A> void dot_bytes(int c, int a, int b) {
    if (!fit(c, a, b)) return;
    for (int i = 0; i < rows[c]; i++)
      for (int j = 0; j < row_bytes[c] / 4; j++) {
        uint32_t sum;
        memcpy(&sum, &data[c][i][j * 4], 4);
        for (int k = 0; k < row_bytes[a] / 4; k++)
          for (int l = 0; l < 4; l++) sum += static_cast<uint32_t>(static_cast<A>(data[a][i][k * 4 + l]) * static_cast<int8_t>(data[b][k][j * 4 + l]));
        memcpy(&data[c][i][j * 4], &sum, 4);
      }
  }

  // f32 without subnormals, as the instruction has it: they count as 0 on the way in and become 0 on the way out.
  static float flush(float x) { return std::fabs(x) < 1.17549435e-38f ? std::copysign(0.0f, x) : x; }
  float half(int t, int r, int at) const {
    uint16_t h;
    memcpy(&h, &data[t][r][at * 2], 2);
    const uint32_t u = static_cast<uint32_t>(h) << 16;
    float f;
    memcpy(&f, &u, 4);
    return flush(f);
  }
  void dot_bf16(int c, int a, int b) {
    if (!fit(c, a, b)) return;
    for (int i = 0; i < rows[c]; i++)
      for (int j = 0; j < row_bytes[c] / 4; j++) {
        float even = 0, odd = 0, sum;  // two chains of multiply-adds, added to each other, then to the tile
        for (int k = 0; k < row_bytes[a] / 4; k++) {
          even = flush(std::fma(half(a, i, 2 * k), half(b, k, 2 * j), even));
          odd = flush(std::fma(half(a, i, 2 * k + 1), half(b, k, 2 * j + 1), odd));
        }
        memcpy(&sum, &data[c][i][j * 4], 4);
        sum = flush(flush(sum) + flush(even + odd));
        memcpy(&data[c][i][j * 4], &sum, 4);
      }
  }
};

EmulatedTiles tiles;

}  // namespace
}  // namespace tersor

#define TERSOR_TILE_BEGIN
#define TERSOR_TILE_END
#define TERSOR_TILE_CONFIGURE(config) ::tersor::tiles.configure(config)
#define TERSOR_TILE_RELEASE() ::tersor::tiles.release()
#define TERSOR_TILE_ZERO(t) ::tersor::tiles.zero(t)
#define TERSOR_TILE_LOAD(t, p, stride) ::tersor::tiles.load(t, p, stride)
#define TERSOR_TILE_STORE(t, p, stride) ::tersor::tiles.store(t, p, stride)
#define TERSOR_TILE_DOT_U8S8(c, a, b) ::tersor::tiles.dot_bytes<uint8_t>(c, a, b)
#define TERSOR_TILE_DOT_S8S8(c, a, b) ::tersor::tiles.dot_bytes<int8_t>(c, a, b)
#define TERSOR_TILE_DOT_BF16(c, a, b) ::tersor::tiles.dot_bf16(c, a, b)
