#include "kernels/channels_last/channels_last.h"

#include "simd/vec_scalar.h"

#define TERSOR_CONV_VECTORS 1
#include "kernels/channels_last/generic.h"

namespace tersor {

void conv_f32_6x1_scalar(const ConvProduct& a) { conv_product(a); }
void conv_f32_6x1_scalar_taps(const ConvTaps& a) { conv_taps(a); }

namespace {
const ConvRow kRows[] = {
#define TERSOR_CHANNELS_LAST(needs, name, lanes, vectors) {needs, #name, lanes, vectors, name, name##_taps},
#include "kernels/channels_last/kernels.inc"
#undef TERSOR_CHANNELS_LAST
};
}  // namespace

const ConvRow& conv_row() {
  static const ConvRow& chosen = select_row(kRows);
  return chosen;
}
int conv_all_rows(const ConvRow** out) {
  *out = kRows;
  return static_cast<int>(sizeof kRows / sizeof *kRows);
}
int channels_last_rows(RowInfo* out, int capacity) {
  const int n = static_cast<int>(sizeof kRows / sizeof *kRows);
  for (int i = 0; i < n && i < capacity; i++)
    out[i] = {"channels_last", "conv_f32", kRows[i].function, kRows[i].needs, (kRows[i].needs & ~isa::allowed()) == 0, &kRows[i] == &conv_row()};
  return n;
}

}  // namespace tersor
