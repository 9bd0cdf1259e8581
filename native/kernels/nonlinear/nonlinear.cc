#include "kernels/nonlinear/nonlinear.h"

#include "kernels/table.h"
#include "simd/vec_scalar.h"

#include "kernels/nonlinear/generic.h"

namespace tersor {

void nonlinear_f32_1_scalar(const NonlinearArgs<float>& a) { nonlinear_switch<simd::F32>(a); }

namespace {
const NonlinearRow kRows[] = {
#define TERSOR_NONLINEAR_ROW(variant, needs, function) {variant, needs, #function, function},
#include "kernels/nonlinear/kernels.inc"
#undef TERSOR_NONLINEAR_ROW
};
}  // namespace

int nonlinear_rows(RowInfo* out, int capacity) { return describe_rows("nonlinear", kRows, out, capacity); }
int nonlinear_table(const NonlinearRow** rows) {
  *rows = kRows;
  return static_cast<int>(sizeof kRows / sizeof *kRows);
}

void nonlinear(const NonlinearArgs<float>& a) {
  static const auto chosen = select_row(kRows).kernel;
  chosen(a);
}
void nonlinear(const NonlinearArgs<double>& a) { nonlinear_switch<simd::F64>(a); }

}  // namespace tersor
