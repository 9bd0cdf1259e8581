#include "kernels/patches/patches.h"

#include <cmath>

namespace tersor {

int64_t patches_scalar_list(const PatchList& a) {
  int64_t n = 0;
  for (int64_t i = 0; i < a.windows; i++) {
    const int64_t d = int64_t(a.index[i]) - a.first[i], r = a.row > 0 ? d / a.row : 0, c = d - r * a.row;
    if (d < 0 || r >= a.ph || c >= a.pw) return -1;
    if (a.value && a.value[i] == 0) continue;
    if (a.value) a.values[n] = a.value[i];
    a.at[n++] = static_cast<int32_t>(a.base[i] + r * a.down + c * a.right);
  }
  return n;
}

void patches_scalar_dot(const PatchDot& a) {
  const int64_t width = a.vectors * 16;
  for (int64_t i = 0; i < a.n; i++) {
    float sum = 0;
    for (int64_t r = 0; r < a.rows; r++)
      for (int64_t e = 0; e < width; e++) sum += a.plane[a.at[i] + r * a.pitch + e] * a.w[r * width + e];
    a.out[i] = sum;
  }
}

void patches_scalar_sum(const PatchSum& a) {
  const int64_t width = a.vectors * 16;
  for (int64_t i = 0; i < a.n; i++)
    for (int64_t r = 0; r < a.rows; r++)
      for (int64_t e = 0; e < width; e++) a.total[r * width + e] += a.values[i] * a.plane[a.at[i] + r * a.pitch + e];
}

void patches_scalar_spread(const PatchSpread& a) {
  const int64_t width = a.vectors * 16;
  for (int64_t i = 0; i < a.n; i++) {
    const int64_t inside = a.at[i] % 16;
    const float* const w = a.w + inside / a.step * a.copy;
    for (int64_t r = 0; r < a.rows; r++)
      for (int64_t e = 0; e < width; e++) a.plane[a.at[i] - inside + r * a.pitch + e] += a.values[i] * w[r * width + e];
  }
}

void patches_scalar_pixels(const PatchPixels& a) {
  for (int64_t p = 0; p < a.n; p++)
    for (int64_t c = 0; c < 8; c++) a.image[p * a.step + c] = c < a.count ? a.channels[c * a.plane + p] : 0.0f;
}

void patches_scalar_images(const PatchImages& a) {
  for (int64_t c = 0; c < a.count; c++)
    for (int64_t p = 0; p < a.n; p++) a.channels[c * a.plane + p] = a.image[p * a.step + c];
}

bool patches_scalar_finite(const float* x, int64_t n) {
  for (int64_t i = 0; i < n; i++)
    if (!std::isfinite(x[i])) return false;
  return true;
}

namespace {
const PatchesRow kRows[] = {
#define TERSOR_PATCHES(needs, name, pays) {needs, #name, pays, name##_list, name##_dot, name##_sum, name##_spread, name##_pixels, name##_images, name##_finite},
#include "kernels/patches/kernels.inc"
#undef TERSOR_PATCHES
};
constexpr int kRowCount = static_cast<int>(sizeof kRows / sizeof *kRows);
}  // namespace

const PatchesRow& patches_row() {
  static const PatchesRow& row = select_row(kRows);
  return row;
}
int patches_all_rows(const PatchesRow** out) {
  *out = kRows;
  return kRowCount;
}
int patches_rows(RowInfo* out, int capacity) {
  int n = 0;
  for (const PatchesRow& row : kRows)
    if (n < capacity) out[n++] = {"patches", "f32", row.function, row.needs, (row.needs & ~isa::allowed()) == 0, &row == &select_row(kRows)};
  return kRowCount;
}

}  // namespace tersor
