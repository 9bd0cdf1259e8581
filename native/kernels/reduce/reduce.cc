#include "kernels/reduce/reduce.h"

#include "kernels/table.h"
#include "simd/vec_scalar.h"

#include "kernels/reduce/generic.h"

namespace tersor {

void reduce_f32_1_scalar(const ReduceArgs<float>& a) { reduce_run<simd::F32>(a); }

namespace {
const ReduceRow kRows[] = {
#define TERSOR_REDUCE(variant, needs, function) {variant, needs, #function, function},
#include "kernels/reduce/kernels.inc"
#undef TERSOR_REDUCE
};
}  // namespace

int reduce_rows(RowInfo* out, int capacity) { return describe_rows("reduce", kRows, out, capacity); }

int reduce_table(const ReduceRow** rows) {
  *rows = kRows;
  return static_cast<int>(sizeof kRows / sizeof *kRows);
}

void reduce(const ReduceArgs<float>& a) {
  static const ReduceKernel chosen = select_row(kRows).kernel;
  chosen(a);
}
void reduce(const ReduceArgs<double>& a) { reduce_run<simd::F64>(a); }

}  // namespace tersor
