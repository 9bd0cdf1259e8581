#include "kernels/gather/gather.h"

#include <cstring>

#include "kernels/table.h"

namespace tersor {

void gather_copy_scalar(const GatherArgs& a) {
  const char* table = static_cast<const char*>(a.table);
  char* out = static_cast<char*>(a.out);
  for (int64_t i = 0; i < a.count; i++) memcpy(out + i * a.row_bytes, table + a.index[i] * a.stride, static_cast<size_t>(a.row_bytes));
}

void gather_sum_f32_scalar(const GatherArgs& a) {
  const char* table = static_cast<const char*>(a.table);
  char* out = static_cast<char*>(a.out);
  memset(out, 0, static_cast<size_t>(a.row_bytes));
  for (int64_t i = 0; i < a.count; i++) {
    const char* row = table + a.index[i] * a.stride;
    for (int64_t j = 0; j < a.row_bytes; j += 4) {
      float sum, v;
      memcpy(&sum, out + j, 4);
      memcpy(&v, row + j, 4);
      sum += v;
      memcpy(out + j, &sum, 4);
    }
  }
}

namespace {
const GatherRow kRows[] = {
#define TERSOR_GATHER(variant, needs, function) {variant, needs, #function, function},
#include "kernels/gather/kernels.inc"
#undef TERSOR_GATHER
};
}  // namespace

int gather_rows(RowInfo* out, int capacity) { return describe_rows("gather", kRows, out, capacity); }

int gather_table(const GatherRow** rows) {
  *rows = kRows;
  return static_cast<int>(sizeof kRows / sizeof *kRows);
}

GatherKernel gather_copy() {
  static const GatherKernel chosen = select_variant(kRows, "copy").kernel;
  return chosen;
}

GatherKernel gather_sum_f32() {
  static const GatherKernel chosen = select_variant(kRows, "sum_f32").kernel;
  return chosen;
}

}  // namespace tersor
