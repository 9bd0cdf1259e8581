// The 64 bytes that say how many rows, and bytes per row, each tile register has (palette 1: eight tiles of at most 16 x 64 bytes).
#pragma once
#include <cstdint>

namespace tersor {

struct TileConfig {
  uint8_t palette = 1;
  uint8_t start_row = 0;
  uint8_t reserved[14] = {};
  uint16_t row_bytes[16] = {};
  uint8_t rows[16] = {};
};
static_assert(sizeof(TileConfig) == 64, "the layout that ldtilecfg reads");

}  // namespace tersor
