// Scalar reference of the groups of rows, and the choice of the row.
#include "kernels/spmm/grouped.h"

#include "kernels/table.h"

namespace tersor {
namespace {

const SpmmGroupedRow kRows[] = {
#define TERSOR_SPMM_GROUPED(variant, needs, function, r0, l0, r1, l1) {variant, needs, #function, {r0, l0}, {r1, l1}, function},
#include "kernels/spmm/grouped.inc"
#undef TERSOR_SPMM_GROUPED
};

}  // namespace

void spmm_grouped_scalar(const SpmmGroups& s) {
  const uint16_t* columns = s.columns;
  const float* values = s.values;
  const int lists = (1 << s.group_rows) - 1;
  for (int64_t g = 0; g < s.groups; g++) {
    float* y = s.y + g * s.group_rows * s.y_pitch;
    for (int64_t i = 0; !s.accumulate && i < s.group_rows && g * s.group_rows + i < s.rows; i++)
      for (int lane = 0; lane < s.lanes; lane++) y[i * s.y_pitch + lane] = 0;
    for (int p = 1; p <= lists; p++)
      for (int n = s.counts[g * lists + p - 1]; n > 0; n--, columns++)
        for (int i = 0; i < s.group_rows; i++) {
          if (!(p >> i & 1)) continue;
          const float value = *values++;
          for (int lane = 0; lane < s.lanes; lane++) y[i * s.y_pitch + lane] += value * s.x[*columns * s.x_pitch + lane];
        }
  }
}

const SpmmGroupedRow& spmm_grouped_row() {
  static const SpmmGroupedRow& row = select_variant(kRows, "grouped");
  return row;
}

int spmm_grouped_table(const SpmmGroupedRow** rows) {
  *rows = kRows;
  return static_cast<int>(sizeof kRows / sizeof *kRows);
}

int spmm_grouped_rows(RowInfo* out, int capacity) { return describe_rows("spmm_grouped", kRows, out, capacity); }

}  // namespace tersor
