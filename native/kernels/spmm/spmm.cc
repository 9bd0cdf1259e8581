// Scalar reference of the family and the choice of the row.
#include "kernels/spmm/spmm.h"

namespace tersor {
namespace {

const SpmmRow kRows[] = {
#define TERSOR_SPMM(needs, name, l0, l1, l2, l3, bytes, tolerance) \
  {needs, #name, {l0, l1, l2, l3}, bytes, name, name##_panel, name##_transpose, name##_max},
#include "kernels/spmm/kernels.inc"
#undef TERSOR_SPMM
};
constexpr int kRowCount = static_cast<int>(sizeof kRows / sizeof *kRows);

float finish(const float* scale, int64_t step, const float* bias, int64_t r, float sum) {
  const float y = scale ? sum * scale[r * step] : sum;
  return bias ? y + bias[r] : y;
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
    s.y[r] = finish(s.scale, s.scale_step, s.bias, r, (sum[0] + sum[2]) + (sum[1] + sum[3]));
  }
}

template <class C> void panel_rows(const SpmmPanel& s) {
  const C* columns = static_cast<const C*>(s.columns);
  const int br = spmm_block_rows(s.shape), bc = spmm_block_cols(s.shape);
  for (int64_t r = 0; r < s.rows; r++) {
    int32_t e = s.cursor[r];
    float* y = s.y + r * br * s.y_pitch;
    if (!s.accumulate)
      for (int i = 0; i < br; i++)
        for (int l = 0; l < s.lanes; l++) y[i * s.y_pitch + l] = 0.0f;
    for (; e < s.end[r] && (s.last || static_cast<int64_t>(columns[e]) < s.limit); e++)
      for (int i = 0; i < br; i++)
        for (int j = 0; j < bc; j++) {
          const float w = s.values[(static_cast<int64_t>(e) * br + i) * bc + j];
          const float* x = s.x + (static_cast<int64_t>(columns[e]) * bc + j) * s.x_pitch;
          for (int l = 0; l < s.lanes; l++) y[i * s.y_pitch + l] += w * x[l];
        }
    s.cursor[r] = e;
  }
}

}  // namespace

void spmm_csr_1x1_scalar(const SpmmArgs& s) {
  if (s.quantized) s.wide ? gather_rows<int8_t, int32_t>(s) : gather_rows<int8_t, uint16_t>(s);
  else s.wide ? gather_rows<float, int32_t>(s) : gather_rows<float, uint16_t>(s);
}

void spmm_csr_1x1_scalar_panel(const SpmmPanel& s) { s.wide ? panel_rows<int32_t>(s) : panel_rows<uint16_t>(s); }

void spmm_csr_1x1_scalar_transpose(const SpmmTranspose& s) {
  for (int64_t c = 0; c < s.cols; c += 16) {  // 16 columns at a time: each line of `in` is read once
    const int64_t stop = c + 16 < s.cols ? c + 16 : s.cols;
    for (int64_t r = 0; r < s.rows; r++)
      for (int64_t j = c; j < stop; j++) s.out[j * s.out_row + r] = finish(s.scale, s.scale_step, s.bias, r, s.in[r * s.in_row + j]);
  }
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
    out[i] = {"spmm", "csr", kRows[i].function, kRows[i].needs, (kRows[i].needs & ~isa::allowed()) == 0, &kRows[i] == &select_row(kRows)};
  return kRowCount;
}

}  // namespace tersor
