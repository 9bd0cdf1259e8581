#include "kernels/topk/topk.h"

#include <cstring>

#include "kernels/table.h"

namespace tersor {

int64_t topk_mark_f32_scalar(TopkArgs& a) {
  int64_t set = 0, ties = 0;
  for (int64_t i = 0; i < a.n; i += 8) {
    const int64_t m = a.n - i < 8 ? a.n - i : 8;
    unsigned byte = 0;
    for (int64_t j = 0; j < m; j++) {
      byte |= static_cast<unsigned>(a.x[i + j] > a.hi) << j;
      ties += a.x[i + j] == a.hi;
    }
    a.mask[i / 8] = static_cast<uint8_t>(byte);
    for (; byte; byte &= byte - 1) set++;
  }
  a.ties = ties;
  return set;
}

int64_t topk_bracket_f32_scalar(TopkArgs& a) {
  int64_t set = 0, found = 0;
  for (int64_t i = 0; i < a.n; i++) {
    const float v = a.x[i];
    const bool above = v > a.hi;
    if (i % 8 == 0) a.mask[i / 8] = 0;
    a.mask[i / 8] = static_cast<uint8_t>(a.mask[i / 8] | static_cast<unsigned>(above) << (i % 8));
    set += above;
    if (v >= a.lo && !above) {
      if (found < a.capacity) {
        memcpy(&a.values[found], &v, 4);
        a.positions[found] = static_cast<int32_t>(i);
      }
      found++;
    }
  }
  a.ties = found;
  return set;
}

int64_t topk_pack_f32_scalar(TopkArgs& a) {
  for (int64_t i = 0; i < a.n; i += 8) {
    const int64_t m = a.n - i < 8 ? a.n - i : 8;
    unsigned byte = 0;
    for (int64_t j = 0; j < m; j++) byte |= static_cast<unsigned>(a.x[i + j] != 0.0f) << j;
    a.mask[i / 8] = static_cast<uint8_t>(byte);
  }
  return 0;
}

int64_t topk_unpack_f32_scalar(TopkArgs& a) {
  for (int64_t i = 0; i < a.n; i++) a.out[i] = static_cast<float>(a.mask[i / 8] >> (i % 8) & 1);
  return 0;
}

int64_t topk_apply_f32_scalar(TopkArgs& a) {
  for (int64_t i = 0; i < a.n; i++) {
    uint32_t bits;
    memcpy(&bits, a.x + i, 4);
    bits &= 0u - (a.mask[i / 8] >> (i % 8) & 1u);
    memcpy(a.out + i, &bits, 4);
  }
  return 0;
}

namespace {
const TopkRow kRows[] = {
#define TERSOR_TOPK(variant, needs, function) {variant, needs, #function, function},
#include "kernels/topk/kernels.inc"
#undef TERSOR_TOPK
};
}  // namespace

int topk_rows(RowInfo* out, int capacity) { return describe_rows("topk", kRows, out, capacity); }

int topk_table(const TopkRow** rows) {
  *rows = kRows;
  return static_cast<int>(sizeof kRows / sizeof *kRows);
}

const TopkKernels& topk_kernels() {
  static const TopkKernels chosen = {select_variant(kRows, "mark").kernel, select_variant(kRows, "bracket").kernel,
                                     select_variant(kRows, "pack").kernel, select_variant(kRows, "unpack").kernel,
                                     select_variant(kRows, "apply").kernel};
  return chosen;
}

}  // namespace tersor
