#include "codecs/crc.h"

#include <cstring>

namespace tersor {
namespace {

// Eight tables: eight bytes a step ("slicing-by-8", Kounavis and Berry 2005).
struct Tables {
  uint32_t t[8][256];
  Tables() {
    for (uint32_t i = 0; i < 256; i++) {
      uint32_t c = i;
      for (int k = 0; k < 8; k++) c = c & 1 ? c >> 1 ^ 0xEDB88320u : c >> 1;
      t[0][i] = c;
    }
    for (int j = 1; j < 8; j++)
      for (int i = 0; i < 256; i++) t[j][i] = t[j - 1][i] >> 8 ^ t[0][t[j - 1][i] & 255];
  }
};

}  // namespace

uint32_t crc32(const void* data, int64_t bytes, uint32_t seed) {
  static const Tables tables;
  const auto& t = tables.t;
  const uint8_t* p = static_cast<const uint8_t*>(data);
  uint32_t c = ~seed;
  for (; bytes >= 8; bytes -= 8, p += 8) {
    uint32_t a, b;
    memcpy(&a, p, 4);
    memcpy(&b, p + 4, 4);
    a ^= c;
    c = t[7][a & 255] ^ t[6][a >> 8 & 255] ^ t[5][a >> 16 & 255] ^ t[4][a >> 24] ^ t[3][b & 255] ^ t[2][b >> 8 & 255] ^ t[1][b >> 16 & 255] ^ t[0][b >> 24];
  }
  for (; bytes > 0; bytes--, p++) c = c >> 8 ^ t[0][(c ^ *p) & 255];
  return ~c;
}

}  // namespace tersor
