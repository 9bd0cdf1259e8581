// Scalar references of the products with one row of x, and the choice of the rows.
#include "kernels/spmm/vector.h"

#include "kernels/table.h"

namespace tersor {
namespace {

const SpmmVectorRow kRows[] = {
#define TERSOR_SPMM_VECTOR(variant, needs, function) {variant, needs, #function, function},
#include "kernels/spmm/vector.inc"
#undef TERSOR_SPMM_VECTOR
};
constexpr int kRowCount = static_cast<int>(sizeof kRows / sizeof *kRows);

float spmm_finish(const SpmmVector& s, int64_t r, float sum) {
  const float y = s.scale ? sum * s.scale[r * s.scale_step] : sum;
  return s.bias ? y + s.bias[r] : y;
}

float value_at(const SpmmVector& s, int64_t i) {
  return s.quantized ? static_cast<float>(static_cast<const int8_t*>(s.values)[i]) : static_cast<const float*>(s.values)[i];
}

}  // namespace

void spmm_blocks_f32_scalar(const SpmmVector& s) {
  const int br = spmm_block_rows(s.shape), bc = spmm_block_cols(s.shape);
  for (int64_t r = 0; r < s.rows; r++) {
    float sum = 0;
    for (int64_t e = s.indptr[r / br]; e < s.indptr[r / br + 1]; e++)
      for (int j = 0; j < bc; j++) sum += value_at(s, (e * br + r % br) * bc + j) * s.x[static_cast<int64_t>(s.index16[e]) * bc + j];
    s.y[r] = spmm_finish(s, r, sum);
  }
}

void spmm_bitmask_f32_scalar(const SpmmVector& s) {
  for (int64_t r = 0; r < s.rows; r++) {
    float sum = 0;
    int64_t v = s.indptr[r], count = 0;
    const uint8_t* bits = s.bits + r * s.index_row;
    for (int64_t i = 0; i < (s.cols + 7) / 8; i++)
      for (int b = bits[i]; b; b &= b - 1) count++;
    if (count != s.indptr[r + 1] - v || (s.cols % 8 && bits[s.cols / 8] >> (s.cols % 8))) {
      *s.damaged = true;
      continue;
    }
    for (int64_t c = 0; c < s.cols; c++)
      if (s.bits[r * s.index_row + c / 8] >> (c % 8) & 1) sum += value_at(s, v++) * s.x[c];
    s.y[r] = spmm_finish(s, r, sum);
  }
}

void spmm_two_of_four_f32_scalar(const SpmmVector& s) {
  for (int64_t r = 0; r < s.rows; r++) {
    float sum = 0;
    for (int64_t i = 0; i < s.value_row; i++) {
      const int at = s.bits[r * s.index_row + i / 4] >> (i % 4 * 2) & 3;
      sum += value_at(s, r * s.value_row + i) * s.x[i / 2 * 4 + at];
    }
    s.y[r] = spmm_finish(s, r, sum);
  }
}

const SpmmVectorKernels& spmm_vector_kernels() {
  static const SpmmVectorKernels kernels = {select_variant(kRows, "blocks").kernel, select_variant(kRows, "bitmask").kernel,
                                            select_variant(kRows, "two_of_four").kernel};
  return kernels;
}

int spmm_vector_table(const SpmmVectorRow** rows) {
  *rows = kRows;
  return kRowCount;
}

int spmm_vector_rows(RowInfo* out, int capacity) { return describe_rows("spmm_vector", kRows, out, capacity); }

}  // namespace tersor
