#include "kernels/layer_norm/layer_norm.h"

#include "kernels/table.h"
#include "simd/vec_scalar.h"

#include "kernels/layer_norm/generic.h"

namespace tersor {

void layer_norm_f32_1_scalar(const LayerNormArgs<float>& a) { layer_norm_run<simd::F32>(a); }
void layer_norm_grad_f32_1_scalar(const LayerNormGradArgs<float>& a) { layer_norm_grad_run<simd::F32>(a); }

namespace {
const LayerNormRow<LayerNormArgs<float>> kForward[] = {
#define TERSOR_LAYER_NORM(variant, needs, function) {variant, needs, #function, function},
#define TERSOR_LAYER_NORM_GRAD(variant, needs, function)
#include "kernels/layer_norm/kernels.inc"
#undef TERSOR_LAYER_NORM
#undef TERSOR_LAYER_NORM_GRAD
};
const LayerNormRow<LayerNormGradArgs<float>> kGrad[] = {
#define TERSOR_LAYER_NORM(variant, needs, function)
#define TERSOR_LAYER_NORM_GRAD(variant, needs, function) {variant, needs, #function, function},
#include "kernels/layer_norm/kernels.inc"
#undef TERSOR_LAYER_NORM
#undef TERSOR_LAYER_NORM_GRAD
};
}  // namespace

int layer_norm_rows(RowInfo* out, int capacity) {
  const int n = describe_rows("layer_norm", kForward, out, capacity);
  return n + describe_rows("layer_norm", kGrad, out + (n < capacity ? n : capacity), capacity - n);
}
int layer_norm_table(const LayerNormRow<LayerNormArgs<float>>** rows) {
  *rows = kForward;
  return static_cast<int>(sizeof kForward / sizeof *kForward);
}
int layer_norm_grad_table(const LayerNormRow<LayerNormGradArgs<float>>** rows) {
  *rows = kGrad;
  return static_cast<int>(sizeof kGrad / sizeof *kGrad);
}

void layer_norm(const LayerNormArgs<float>& a) {
  static const auto chosen = select_row(kForward).kernel;
  chosen(a);
}
void layer_norm(const LayerNormArgs<double>& a) { layer_norm_run<simd::F64>(a); }
void layer_norm_grad(const LayerNormGradArgs<float>& a) {
  static const auto chosen = select_row(kGrad).kernel;
  chosen(a);
}
void layer_norm_grad(const LayerNormGradArgs<double>& a) { layer_norm_grad_run<simd::F64>(a); }

}  // namespace tersor
