#include "kernels/norm/norm.h"

#include "kernels/table.h"
#include "simd/vec_scalar.h"

#include "kernels/norm/generic.h"

namespace tersor {

void batch_norm_f32_1_scalar(const BatchNormArgs<float>& a) { batch_norm_run<simd::F32>(a); }
void batch_norm_grad_f32_1_scalar(const BatchNormGradArgs<float>& a) { batch_norm_grad_run<simd::F32>(a); }
void rms_norm_f32_1_scalar(const RmsNormArgs<float>& a) { rms_norm_run<simd::F32>(a); }
void rms_norm_grad_f32_1_scalar(const RmsNormGradArgs<float>& a) { rms_norm_grad_run<simd::F32>(a); }

namespace {
#define TERSOR_NORM(needs, suffix) {"batch_f32", needs, "batch_norm_f32_" #suffix, batch_norm_f32_##suffix},
const NormRow<BatchNormArgs<float>> kBatch[] = {
#include "kernels/norm/kernels.inc"
};
#undef TERSOR_NORM
#define TERSOR_NORM(needs, suffix) {"batch_grad_f32", needs, "batch_norm_grad_f32_" #suffix, batch_norm_grad_f32_##suffix},
const NormRow<BatchNormGradArgs<float>> kBatchGrad[] = {
#include "kernels/norm/kernels.inc"
};
#undef TERSOR_NORM
#define TERSOR_NORM(needs, suffix) {"rms_f32", needs, "rms_norm_f32_" #suffix, rms_norm_f32_##suffix},
const NormRow<RmsNormArgs<float>> kRms[] = {
#include "kernels/norm/kernels.inc"
};
#undef TERSOR_NORM
#define TERSOR_NORM(needs, suffix) {"rms_grad_f32", needs, "rms_norm_grad_f32_" #suffix, rms_norm_grad_f32_##suffix},
const NormRow<RmsNormGradArgs<float>> kRmsGrad[] = {
#include "kernels/norm/kernels.inc"
};
#undef TERSOR_NORM
}  // namespace

int norm_rows(RowInfo* out, int capacity) {
  int n = describe_rows("norm", kBatch, out, capacity);
  n += describe_rows("norm", kBatchGrad, out + (n < capacity ? n : capacity), capacity - n);
  n += describe_rows("norm", kRms, out + (n < capacity ? n : capacity), capacity - n);
  return n + describe_rows("norm", kRmsGrad, out + (n < capacity ? n : capacity), capacity - n);
}
int norm_table(const NormRow<BatchNormArgs<float>>** batch, const NormRow<BatchNormGradArgs<float>>** batch_grad,
               const NormRow<RmsNormArgs<float>>** rms, const NormRow<RmsNormGradArgs<float>>** rms_grad) {
  *batch = kBatch, *batch_grad = kBatchGrad, *rms = kRms, *rms_grad = kRmsGrad;
  return static_cast<int>(sizeof kBatch / sizeof *kBatch);
}

void batch_norm(const BatchNormArgs<float>& a) {
  static const auto chosen = select_row(kBatch).kernel;
  chosen(a);
}
void batch_norm(const BatchNormArgs<double>& a) { batch_norm_run<simd::F64>(a); }
void batch_norm_grad(const BatchNormGradArgs<float>& a) {
  static const auto chosen = select_row(kBatchGrad).kernel;
  chosen(a);
}
void batch_norm_grad(const BatchNormGradArgs<double>& a) { batch_norm_grad_run<simd::F64>(a); }
void rms_norm(const RmsNormArgs<float>& a) {
  static const auto chosen = select_row(kRms).kernel;
  chosen(a);
}
void rms_norm(const RmsNormArgs<double>& a) { rms_norm_run<simd::F64>(a); }
void rms_norm_grad(const RmsNormGradArgs<float>& a) {
  static const auto chosen = select_row(kRmsGrad).kernel;
  chosen(a);
}
void rms_norm_grad(const RmsNormGradArgs<double>& a) { rms_norm_grad_run<simd::F64>(a); }

}  // namespace tersor
