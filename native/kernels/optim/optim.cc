#include "kernels/optim/optim.h"

#include "kernels/table.h"
#include "simd/vec_scalar.h"

#include "kernels/optim/generic.h"

namespace tersor {

void optim_sgd_f32_1_scalar(const SgdArgs<float>& a) { sgd_run<simd::F32>(a); }
void optim_adamw_f32_1_scalar(const AdamwArgs<float>& a) { adamw_run<simd::F32>(a); }

namespace {
const OptimRow<SgdArgs<float>> kSgd[] = {
#define TERSOR_SGD(variant, needs, function) {variant, needs, #function, function},
#define TERSOR_ADAMW(variant, needs, function)
#include "kernels/optim/kernels.inc"
#undef TERSOR_SGD
#undef TERSOR_ADAMW
};
const OptimRow<AdamwArgs<float>> kAdamw[] = {
#define TERSOR_SGD(variant, needs, function)
#define TERSOR_ADAMW(variant, needs, function) {variant, needs, #function, function},
#include "kernels/optim/kernels.inc"
#undef TERSOR_SGD
#undef TERSOR_ADAMW
};
}  // namespace

int optim_rows(RowInfo* out, int capacity) {
  const int n = describe_rows("optim", kSgd, out, capacity);
  return n + describe_rows("optim", kAdamw, out + (n < capacity ? n : capacity), capacity - n);
}
int optim_sgd_table(const OptimRow<SgdArgs<float>>** rows) {
  *rows = kSgd;
  return static_cast<int>(sizeof kSgd / sizeof *kSgd);
}
int optim_adamw_table(const OptimRow<AdamwArgs<float>>** rows) {
  *rows = kAdamw;
  return static_cast<int>(sizeof kAdamw / sizeof *kAdamw);
}

void optim_sgd(const SgdArgs<float>& a) {
  static const auto chosen = select_row(kSgd).kernel;
  chosen(a);
}
void optim_sgd(const SgdArgs<double>& a) { sgd_run<simd::F64>(a); }
void optim_adamw(const AdamwArgs<float>& a) {
  static const auto chosen = select_row(kAdamw).kernel;
  chosen(a);
}
void optim_adamw(const AdamwArgs<double>& a) { adamw_run<simd::F64>(a); }

}  // namespace tersor
