#include "kernels/pool/pool.h"

#include "kernels/table.h"

namespace tersor {

void pool_max2x2_f32_scalar(const PoolArgs& a) { pool_max_scalar<float>(a); }

namespace {
const PoolRow kRows[] = {
#define TERSOR_POOL(variant, needs, function) {variant, needs, #function, function},
#include "kernels/pool/kernels.inc"
#undef TERSOR_POOL
};
}  // namespace

int pool_rows(RowInfo* out, int capacity) { return describe_rows("pool", kRows, out, capacity); }

int pool_table(const PoolRow** rows) {
  *rows = kRows;
  return static_cast<int>(sizeof kRows / sizeof *kRows);
}

PoolKernel pool_max2x2_f32() {
  static const PoolKernel chosen = select_variant(kRows, "max2x2_f32").kernel;
  return chosen;
}

}  // namespace tersor
