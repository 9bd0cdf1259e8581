#include "kernels/optim/optim.h"

#include "kernels/table.h"
#include "simd/vec_scalar.h"

#include "kernels/optim/generic.h"

namespace tersor {

void optim_sgd_f32_1_scalar(const SgdArgs<float>& a) { sgd_run<simd::F32>(a); }
void optim_adamw_f32_1_scalar(const AdamwArgs<float>& a) { adamw_run<simd::F32>(a); }
void optim_rmsprop_f32_1_scalar(const RmspropArgs<float>& a) { rmsprop_run<simd::F32>(a); }
void optim_lamb_f32_1_scalar(const LambArgs<float>& a) { lamb_run<simd::F32>(a); }

namespace {
#define TERSOR_SGD(variant, needs, function)
#define TERSOR_ADAMW(variant, needs, function)
#define TERSOR_RMSPROP(variant, needs, function)
#define TERSOR_LAMB(variant, needs, function)
#define TERSOR_ROW(variant, needs, function) {variant, needs, #function, function},
const OptimRow<SgdArgs<float>> kSgd[] = {
#undef TERSOR_SGD
#define TERSOR_SGD TERSOR_ROW
#include "kernels/optim/kernels.inc"
#undef TERSOR_SGD
#define TERSOR_SGD(variant, needs, function)
};
const OptimRow<AdamwArgs<float>> kAdamw[] = {
#undef TERSOR_ADAMW
#define TERSOR_ADAMW TERSOR_ROW
#include "kernels/optim/kernels.inc"
#undef TERSOR_ADAMW
#define TERSOR_ADAMW(variant, needs, function)
};
const OptimRow<RmspropArgs<float>> kRmsprop[] = {
#undef TERSOR_RMSPROP
#define TERSOR_RMSPROP TERSOR_ROW
#include "kernels/optim/kernels.inc"
#undef TERSOR_RMSPROP
#define TERSOR_RMSPROP(variant, needs, function)
};
const OptimRow<LambArgs<float>> kLamb[] = {
#undef TERSOR_LAMB
#define TERSOR_LAMB TERSOR_ROW
#include "kernels/optim/kernels.inc"
};
#undef TERSOR_SGD
#undef TERSOR_ADAMW
#undef TERSOR_RMSPROP
#undef TERSOR_LAMB
#undef TERSOR_ROW

template <class Row, int N> int table_of(const Row (&table)[N], const Row** rows) {
  *rows = table;
  return N;
}
}  // namespace

int optim_rows(RowInfo* out, int capacity) {
  int n = 0;
  const auto describe = [&](const auto& table) { n += describe_rows("optim", table, out + (n < capacity ? n : capacity), n < capacity ? capacity - n : 0); };
  describe(kSgd);
  describe(kAdamw);
  describe(kRmsprop);
  describe(kLamb);
  return n;
}
int optim_sgd_table(const OptimRow<SgdArgs<float>>** rows) { return table_of(kSgd, rows); }
int optim_adamw_table(const OptimRow<AdamwArgs<float>>** rows) { return table_of(kAdamw, rows); }
int optim_rmsprop_table(const OptimRow<RmspropArgs<float>>** rows) { return table_of(kRmsprop, rows); }
int optim_lamb_table(const OptimRow<LambArgs<float>>** rows) { return table_of(kLamb, rows); }

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
void optim_rmsprop(const RmspropArgs<float>& a) {
  static const auto chosen = select_row(kRmsprop).kernel;
  chosen(a);
}
void optim_rmsprop(const RmspropArgs<double>& a) { rmsprop_run<simd::F64>(a); }
void optim_lamb(const LambArgs<float>& a) {
  static const auto chosen = select_row(kLamb).kernel;
  chosen(a);
}
void optim_lamb(const LambArgs<double>& a) { lamb_run<simd::F64>(a); }

}  // namespace tersor
