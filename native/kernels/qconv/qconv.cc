#include "kernels/qconv/qconv.h"

#include "simd/vec_scalar.h"

#include "kernels/qgemm/bytes_scalar.h"
#include "kernels/qconv/generic.h"

namespace tersor {

void qconv_finish_scalar(const QconvFinish& f) { qconv_finish(f); }
void qconv_finish_scalar_grid(const QconvGrid& g) { qconv_grid(g); }
void qconv_finish_scalar_deep(const QconvDeep& d) { qconv_deep(d); }

namespace {
const QconvRow kRows[] = {
#define TERSOR_QCONV(needs, name) {needs, #name, name, name##_grid, name##_deep},
#include "kernels/qconv/kernels.inc"
#undef TERSOR_QCONV
};
}  // namespace

const QconvRow& qconv_row() {
  static const QconvRow& chosen = select_row(kRows);
  return chosen;
}
int qconv_all_rows(const QconvRow** out) {
  *out = kRows;
  return static_cast<int>(sizeof kRows / sizeof *kRows);
}
int qconv_rows(RowInfo* out, int capacity) {
  const int n = static_cast<int>(sizeof kRows / sizeof *kRows);
  for (int i = 0; i < n && i < capacity; i++)
    out[i] = {"qconv", "finish", kRows[i].function, kRows[i].needs, (kRows[i].needs & ~isa::allowed()) == 0, &kRows[i] == &qconv_row()};
  return n;
}

}  // namespace tersor
