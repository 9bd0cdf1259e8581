#include "kernels/random/random.h"

#include "kernels/table.h"
#include "simd/vec_scalar.h"

#include "kernels/random/generic.h"

namespace tersor {

void random_f32_1_scalar(const RandomArgs& a) { random_run(a); }

namespace {
const RandomRow kRows[] = {
#define TERSOR_RANDOM(variant, needs, function) {variant, needs, #function, function},
#include "kernels/random/kernels.inc"
#undef TERSOR_RANDOM
};
}  // namespace

int random_rows(RowInfo* out, int capacity) { return describe_rows("random", kRows, out, capacity); }

int random_table(const RandomRow** rows) {
  *rows = kRows;
  return static_cast<int>(sizeof kRows / sizeof *kRows);
}

void random(const RandomArgs& a) {
  static const RandomKernel chosen = select_row(kRows).kernel;
  chosen(a);
}

}  // namespace tersor
