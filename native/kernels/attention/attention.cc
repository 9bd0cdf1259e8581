#include "kernels/attention/attention.h"

#include "kernels/table.h"
#include "simd/vec_scalar.h"

#include "kernels/attention/generic.h"

namespace tersor {

void attention_f32_1_scalar_soften(const AttentionBlock<float>& b) { soften<simd::F32>(b); }
void attention_f32_1_scalar_slopes(const AttentionBlock<float>& b) { slopes<simd::F32>(b); }
void attention_f32_1_scalar_scale(const AttentionBlock<float>& b) { scale_rows<simd::F32>(b); }
void attention_f32_1_scalar_dots(const AttentionBlock<float>& b) { dot_rows<simd::F32>(b); }

namespace {
const AttentionRow kRows[] = {
#define TERSOR_ATTENTION(variant, needs, name) {variant, needs, #name, name##_soften, name##_slopes, name##_scale, name##_dots},
#include "kernels/attention/kernels.inc"
#undef TERSOR_ATTENTION
};
const AttentionRow& chosen() {
  static const AttentionRow& row = select_row(kRows);
  return row;
}
}  // namespace

int attention_rows(RowInfo* out, int capacity) { return describe_rows("attention", kRows, out, capacity); }

int attention_table(const AttentionRow** rows) {
  *rows = kRows;
  return static_cast<int>(sizeof kRows / sizeof *kRows);
}

void attention_soften(const AttentionBlock<float>& b) { chosen().soften(b); }
void attention_slopes(const AttentionBlock<float>& b) { chosen().slopes(b); }
void attention_scale(const AttentionBlock<float>& b) { chosen().scale(b); }
void attention_dots(const AttentionBlock<float>& b) { chosen().dots(b); }
void attention_soften(const AttentionBlock<double>& b) { soften<simd::F64>(b); }
void attention_slopes(const AttentionBlock<double>& b) { slopes<simd::F64>(b); }
void attention_scale(const AttentionBlock<double>& b) { scale_rows<simd::F64>(b); }
void attention_dots(const AttentionBlock<double>& b) { dot_rows<simd::F64>(b); }

}  // namespace tersor
