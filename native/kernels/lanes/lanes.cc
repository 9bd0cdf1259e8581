#include "kernels/lanes/lanes.h"

#include "simd/vec_scalar.h"

#include "kernels/lanes/generic.h"

namespace tersor {

void lanes_gather_reference(const LanesGather& g, int lanes) {
  for (int64_t p = 0; p < g.n; p++) {
    if (g.at[p] < 0) continue;
    float* const to = g.block + int64_t(g.at[p]) * lanes;
    for (int i = 0; i < g.images; i++) to[i] = g.image[i * g.image_step + p];
    for (int i = g.images; i < lanes; i++) to[i] = 0.0f;
  }
}
void lanes_scatter_reference(const LanesScatter& s, int lanes) {
  for (int i = 0; i < s.images; i++)
    for (int64_t p = 0; p < s.n; p++) s.image[i * s.image_step + p] = s.block[int64_t(s.at[p]) * lanes + i];
}

void lanes_f32_4_scalar_gather(const LanesGather& g) { lanes_gather_reference(g, 4); }
void lanes_f32_4_scalar_scatter(const LanesScatter& s) { lanes_scatter_reference(s, 4); }
TERSOR_LANES_WINDOWS(lanes_f32_4_scalar, 4)

namespace {
const LanesRow kRows[] = {
#define TERSOR_LANES(needs, name, lanes) {needs, #name, lanes, name##_gather, name##_scatter, name##_expand, name##_pool, name##_select},
#include "kernels/lanes/kernels.inc"
#undef TERSOR_LANES
};
constexpr int kRowCount = static_cast<int>(sizeof kRows / sizeof *kRows);
}  // namespace

const LanesRow& lanes_row() {
  static const LanesRow& row = select_row(kRows);
  return row;
}
int lanes_all_rows(const LanesRow** out) {
  *out = kRows;
  return kRowCount;
}
int lanes_rows(RowInfo* out, int capacity) {
  int n = 0;
  for (const LanesRow& row : kRows)
    if (n < capacity) out[n++] = {"lanes", "f32", row.function, row.needs, (row.needs & ~isa::allowed()) == 0, &row == &select_row(kRows)};
  return kRowCount;
}

}  // namespace tersor
