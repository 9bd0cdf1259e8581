// Scalar reference of the integer products of blocks and the choice of the row.
#include "kernels/spmm/block_dot.h"

#include <cmath>

namespace tersor {
namespace {

const SpmmDotRow kRows[] = {
#define TERSOR_SPMM_DOT(needs, name) {needs, #name, name, name##_sums, name##_quantize},
#include "kernels/spmm/block_dot.inc"
#undef TERSOR_SPMM_DOT
};
constexpr int kRowCount = static_cast<int>(sizeof kRows / sizeof *kRows);

uint8_t code_of(float x, float scale, int32_t zero) {
  const float t = x / scale;
  if (!(t == t)) return static_cast<uint8_t>(zero);
  const float lo = static_cast<float>(-zero), hi = static_cast<float>(255 - zero);
  return static_cast<uint8_t>(static_cast<int32_t>(std::nearbyint(t < lo ? lo : t > hi ? hi : t)) + zero);
}

}  // namespace

void spmm_blocks_u8s8_scalar(const SpmmDot& s) {
  const bool tall = s.shape == SpmmShape::column16;
  const int br = spmm_block_rows(s.shape), quads = s.shape == SpmmShape::row16 ? 4 : 1;
  for (int64_t r = 0; r < s.rows * br; r++)
    for (int l = 0; l < s.lanes; l++) {
      int32_t sum = 0;
      for (int64_t e = s.begin[r / br]; e < s.end[r / br]; e++)
        for (int j = 0; j < 4 * quads; j++) {
          const int32_t w = s.values[tall ? (e * 16 + r % br) * 4 + j : e * 16 + r % br * 4 + j];
          const int32_t x = tall ? s.x[static_cast<int64_t>(s.columns[e * 4 + j]) * s.lanes + l]
                                 : s.x[((static_cast<int64_t>(s.columns[e]) * quads + j / 4) * s.lanes + l) * 4 + j % 4];
          sum += x * w;
        }
      s.y[r * s.lanes + l] = static_cast<float>(sum - s.correction[r]);
    }
}

void spmm_blocks_u8s8_scalar_sums(const SpmmDot& s, int32_t zero, int32_t* out) {
  const int br = spmm_block_rows(s.shape), bytes = s.shape == SpmmShape::column16 ? 64 : 16;
  for (int64_t r = 0; r < s.rows * br; r++) out[r] = 0;
  for (int64_t r = 0; r < s.rows; r++)
    for (int64_t i = static_cast<int64_t>(s.begin[r]) * bytes; i < static_cast<int64_t>(s.end[r]) * bytes; i++) out[r * br + i / 4 % br] += zero * s.values[i];
}

void spmm_blocks_u8s8_scalar_quantize(const SpmmQuantize& s) {
  for (int64_t c = 0; c < s.padded; c++)
    for (int l = 0; l < s.lanes; l++)
      s.out[s.quads ? (c / 4 * s.lanes + l) * 4 + c % 4 : c * s.lanes + l] =
          l < s.width && c < s.cols ? code_of(s.x[l * s.x_row + c], s.scale, s.zero) : static_cast<uint8_t>(s.zero);
}

const SpmmDotRow& spmm_dot_row() {
  static const SpmmDotRow& row = select_row(kRows);
  return row;
}

int spmm_dot_all_rows(const SpmmDotRow** out) {
  *out = kRows;
  return kRowCount;
}

int spmm_dot_rows(RowInfo* out, int capacity) {
  for (int i = 0; i < kRowCount && i < capacity; i++)
    out[i] = {"spmm_dot", "u8s8", kRows[i].function, kRows[i].needs, (kRows[i].needs & ~isa::allowed()) == 0, &kRows[i] == &select_row(kRows)};
  return kRowCount;
}

}  // namespace tersor
