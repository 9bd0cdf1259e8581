#include "kernels/winograd/winograd.h"

#include "simd/vec_scalar.h"

#include "kernels/winograd/generic.h"

namespace tersor {

void winograd_f32_scalar_input(int64_t m, const WinogradInput& a) { winograd_input(m, a); }
void winograd_f32_scalar_output(int64_t m, const WinogradOutput& a) { winograd_output(m, a); }

namespace {

const WinogradRow kRows[] = {
#define TERSOR_WINOGRAD(needs, name) {needs, #name, name##_input, name##_output},
#include "kernels/winograd/kernels.inc"
#undef TERSOR_WINOGRAD
};

// Row i of G: the powers of point i, divided by the product of its distances to the other points; of infinity the highest power.
constexpr double kHalf = 0.70710678118654752440, kTwo = 1.41421356237309504880;
constexpr double kFilter2[4][3] = {{1, 0, 0}, {0.5, 0.5, 0.5}, {0.5, -0.5, 0.5}, {0, 0, 1}};
constexpr double kFilter4[6][3] = {{1, 0, 0},
                                   {-1 / 1.5, -kHalf / 1.5, -0.5 / 1.5},
                                   {-1 / 1.5, kHalf / 1.5, -0.5 / 1.5},
                                   {1.0 / 6, kTwo / 6, 2.0 / 6},
                                   {1.0 / 6, -kTwo / 6, 2.0 / 6},
                                   {0, 0, 1}};

}  // namespace

void winograd_filter(int64_t m, const double* g, double* u) {
  const double(*const matrix)[3] = m == 2 ? kFilter2 : kFilter4;
  const int64_t n = m + 2;
  for (int64_t i = 0; i < n; i++) {
    double row[3] = {0, 0, 0};
    for (int64_t x = 0; x < 3; x++)
      for (int64_t y = 0; y < 3; y++) row[x] += matrix[i][y] * g[y * 3 + x];
    for (int64_t j = 0; j < n; j++) u[i * n + j] = row[0] * matrix[j][0] + row[1] * matrix[j][1] + row[2] * matrix[j][2];
  }
}

const WinogradRow& winograd_row() {
  static const WinogradRow& chosen = select_row(kRows);
  return chosen;
}
int winograd_all_rows(const WinogradRow** out) {
  *out = kRows;
  return static_cast<int>(sizeof kRows / sizeof *kRows);
}
int winograd_rows(RowInfo* out, int capacity) {
  const int n = static_cast<int>(sizeof kRows / sizeof *kRows);
  for (int i = 0; i < n && i < capacity; i++)
    out[i] = {"winograd", "winograd_f32", kRows[i].function, kRows[i].needs, (kRows[i].needs & ~isa::allowed()) == 0, &kRows[i] == &winograd_row()};
  return n;
}

}  // namespace tersor
