#include "kernels/softmax/softmax.h"

#include "kernels/table.h"
#include "simd/vec_scalar.h"

#include "kernels/softmax/generic.h"

namespace tersor {

void softmax_f32_1_scalar(const SoftmaxArgs<float>& a) { softmax_run<simd::F32>(a); }

namespace {
const SoftmaxRow kRows[] = {
#define TERSOR_SOFTMAX(variant, needs, function) {variant, needs, #function, function},
#include "kernels/softmax/kernels.inc"
#undef TERSOR_SOFTMAX
};
}  // namespace

int softmax_rows(RowInfo* out, int capacity) { return describe_rows("softmax", kRows, out, capacity); }

int softmax_table(const SoftmaxRow** rows) {
  *rows = kRows;
  return static_cast<int>(sizeof kRows / sizeof *kRows);
}

void softmax(const SoftmaxArgs<float>& a) {
  static const SoftmaxKernel chosen = select_row(kRows).kernel;
  chosen(a);
}
void softmax(const SoftmaxArgs<double>& a) { softmax_run<simd::F64>(a); }

}  // namespace tersor
