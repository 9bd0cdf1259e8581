// Scalar reference of the family and the choice of the row.
#include "kernels/spmm/spmm.h"

namespace tersor {
namespace {

const SpmmRow kRows[] = {
#define TERSOR_SPMM(needs, name, tolerance) {needs, #name, name, name##_panel, name##_max},
#include "kernels/spmm/kernels.inc"
#undef TERSOR_SPMM
};
constexpr int kRowCount = static_cast<int>(sizeof kRows / sizeof *kRows);

float finish(const SpmmArgs& s, int64_t r, float sum) {
  const float y = s.scale ? sum * s.scale[r * s.scale_step] : sum;
  return s.bias ? y + s.bias[r] : y;
}

template <class V, class C> void gather_rows(const SpmmArgs& s) {
  const V* values = static_cast<const V*>(s.values);
  const C* columns = static_cast<const C*>(s.columns);
  const uint32_t last = static_cast<uint32_t>(s.cols - 1);
  for (int64_t r = 0; r < s.rows; r++) {
    float sum[4] = {0, 0, 0, 0};
    for (int64_t e = s.indptr[r]; e < s.indptr[r + 1]; e++) {
      const uint32_t c = static_cast<uint32_t>(columns[e]);
      sum[(e - s.indptr[r]) & 3] += static_cast<float>(values[e]) * s.x[c < last ? c : last];
    }
    s.y[r] = finish(s, r, (sum[0] + sum[2]) + (sum[1] + sum[3]));
  }
}

template <class V, class C> void panel_rows(const SpmmArgs& s) {
  const V* values = static_cast<const V*>(s.values);
  const C* columns = static_cast<const C*>(s.columns);
  const int lanes = (s.width + 15) / 16 * 16;
  for (int64_t r = 0; r < s.rows; r++) {
    float sum[kSpmmLanes] = {0};
    for (int64_t e = s.indptr[r]; e < s.indptr[r + 1]; e++) {
      const float v = static_cast<float>(values[e]);
      const float* x = s.x + static_cast<int64_t>(columns[e]) * kSpmmLanes;
      for (int i = 0; i < lanes; i++) sum[i] += v * x[i];
    }
    for (int i = 0; i < lanes; i++) s.y[r * kSpmmLanes + i] = finish(s, r, sum[i]);
  }
}

}  // namespace

void spmm_csr_1x1_scalar(const SpmmArgs& s) {
  if (s.quantized) s.wide ? gather_rows<int8_t, int32_t>(s) : gather_rows<int8_t, uint16_t>(s);
  else s.wide ? gather_rows<float, int32_t>(s) : gather_rows<float, uint16_t>(s);
}

void spmm_csr_1x1_scalar_panel(const SpmmArgs& s) {
  if (s.quantized) s.wide ? panel_rows<int8_t, int32_t>(s) : panel_rows<int8_t, uint16_t>(s);
  else s.wide ? panel_rows<float, int32_t>(s) : panel_rows<float, uint16_t>(s);
}

uint32_t spmm_csr_1x1_scalar_max(const void* columns, bool wide, int64_t n) {
  uint32_t most = 0;
  for (int64_t i = 0; i < n; i++) {
    const uint32_t c = wide ? static_cast<uint32_t>(static_cast<const int32_t*>(columns)[i]) : static_cast<const uint16_t*>(columns)[i];
    if (c > most) most = c;
  }
  return most;
}

const SpmmRow& spmm_row() {
  static const SpmmRow& row = select_row(kRows);
  return row;
}

int spmm_all_rows(const SpmmRow** out) {
  *out = kRows;
  return kRowCount;
}

int spmm_rows(RowInfo* out, int capacity) {
  for (int i = 0; i < kRowCount && i < capacity; i++)
    out[i] = {"spmm", "csr", kRows[i].function, kRows[i].needs, (kRows[i].needs & ~isa::allowed()) == 0, &kRows[i] == &spmm_row()};
  return kRowCount;
}

}  // namespace tersor
