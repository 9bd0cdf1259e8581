#include "kernels/depthwise/depthwise.h"

#include "kernels/table.h"
#include "simd/vec_scalar.h"

#include "kernels/depthwise/generic.h"

namespace tersor {

void depthwise_f32_1_scalar(const DepthwiseArgs<float>& a) { depthwise_run<simd::F32>(a); }
void depthwise_dot_f32_1_scalar(const DepthwiseDotArgs<float>& a) { depthwise_dot_run<simd::F32>(a); }

namespace {
const DepthwiseRow<DepthwiseArgs<float>> kRun[] = {
#define TERSOR_DEPTHWISE(variant, needs, function) {variant, needs, #function, function},
#define TERSOR_DEPTHWISE_DOT(variant, needs, function)
#include "kernels/depthwise/kernels.inc"
#undef TERSOR_DEPTHWISE
#undef TERSOR_DEPTHWISE_DOT
};
const DepthwiseRow<DepthwiseDotArgs<float>> kDot[] = {
#define TERSOR_DEPTHWISE(variant, needs, function)
#define TERSOR_DEPTHWISE_DOT(variant, needs, function) {variant, needs, #function, function},
#include "kernels/depthwise/kernels.inc"
#undef TERSOR_DEPTHWISE
#undef TERSOR_DEPTHWISE_DOT
};
}  // namespace

int depthwise_rows(RowInfo* out, int capacity) {
  const int n = describe_rows("depthwise", kRun, out, capacity);
  return n + describe_rows("depthwise", kDot, out + (n < capacity ? n : capacity), capacity - n);
}
int depthwise_table(const DepthwiseRow<DepthwiseArgs<float>>** rows) {
  *rows = kRun;
  return static_cast<int>(sizeof kRun / sizeof *kRun);
}
int depthwise_dot_table(const DepthwiseRow<DepthwiseDotArgs<float>>** rows) {
  *rows = kDot;
  return static_cast<int>(sizeof kDot / sizeof *kDot);
}

void depthwise(const DepthwiseArgs<float>& a) {
  static const auto chosen = select_row(kRun).kernel;
  chosen(a);
}
void depthwise(const DepthwiseArgs<double>& a) { depthwise_run<simd::F64>(a); }
void depthwise_dot(const DepthwiseDotArgs<float>& a) {
  static const auto chosen = select_row(kDot).kernel;
  chosen(a);
}
void depthwise_dot(const DepthwiseDotArgs<double>& a) { depthwise_dot_run<simd::F64>(a); }

}  // namespace tersor
