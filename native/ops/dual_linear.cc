// dual_linear(x f32 [...,K], w f32|i8 [N,K], scale [N]?, bias [N]?, projection?, little, threshold, k, copies, insensitive, below)
//   -> y f32 [...,N], count i32 [rows of x]: outputs that the little product answered
// y = x w^T + bias where an output is sensitive, the little product and the bias elsewhere. How the outputs are told apart: dual_run.h.
#include "ops/dual_run.h"

namespace tersor {
namespace {

constexpr const char* kOp = "dual_linear";

}  // namespace

Status dual_linear_infer(dual_linear_args& a) {
  TERSOR_TRY(expect_dtype(kOp, "x", a.x, DType::f32));
  if (a.x.rank < 1) return fail(Code::shape, "%s: x must have rank 1 or more, got %s", kOp, TERSOR_TEXT(a.x));
  TERSOR_TRY(dual_check_weight(kOp, "w", a.w, "scale", a.scale));
  const int64_t n = a.w.shape[0], cols = a.x.dim(-1);
  if (a.w.shape[1] != cols) return fail(Code::shape, "%s: x and w must have equally many columns, got %s and %s", kOp, TERSOR_TEXT(a.x), TERSOR_TEXT(a.w));
  TERSOR_TRY(dual_check_options(kOp, a.k, a.copies, a.insensitive, n));
  TERSOR_TRY(dual_check_little(kOp, "little", a.projection, a.little, a.k, a.copies, n, cols));
  TERSOR_TRY(dual_check_vector(kOp, "threshold", a.threshold, 1));
  if (a.bias.present()) TERSOR_TRY(dual_check_vector(kOp, "bias", a.bias, n));
  int64_t shape[kMaxRank], rows = 1;
  for (int i = 0; i < a.x.rank; i++) shape[i] = a.x.shape[i], rows *= i + 1 < a.x.rank ? a.x.shape[i] : 1;
  shape[a.x.rank - 1] = n;
  set_shape(a.y, DType::f32, shape, a.x.rank);
  set_shape(a.count, DType::i32, &rows, 1);
  return {};
}

Status dual_linear_cpu(dual_linear_args& a, Context& ctx) {
  const int64_t n = a.w.shape[0], cols = a.w.shape[1], m = a.count.shape[0];
  Contiguous x, bias, threshold, w_copy, scale;
  TERSOR_TRY(x.open(kOp, a.x, ctx.cancel));
  TERSOR_TRY(threshold.open(kOp, a.threshold, ctx.cancel));
  if (a.bias.present()) TERSOR_TRY(bias.open(kOp, a.bias, ctx.cancel));
  DualPart part;
  TERSOR_TRY(part.open(kOp, a.w, a.scale, &w_copy, &scale, ctx.cancel));
  DualLittle little;
  const int64_t chunk = m < 32 ? m : 32, alone = DualLittle::chunk(1);
  TERSOR_TRY(little.open(kOp, a.projection, a.little, a.k, a.copies, n, cols, chunk, ctx));
  const DualRule rule{a.insensitive, a.below, threshold.as<float>(), n > 0 ? n : 1};
  DualLists lists;
  Scratch outs;
  TERSOR_TRY(lists.reserve(kOp, chunk, n, a.insensitive > 0));
  TERSOR_TRY(outs.reserve(kOp, chunk * n * 4));
  part.out = outs.as<float>();
  DualSink sink;
  sink.y_row = n, sink.first = 0, sink.add[0] = bias.as<float>();
  for (int64_t i0 = 0; i0 < m; i0 += chunk) {
    const int64_t rows = m - i0 < chunk ? m - i0 : chunk;
    float* y = a.y.as<float>() + i0 * n;
    // Few rows at a time, so that each is computed as it would be alone.
    for (int64_t i = 0; i < rows && a.insensitive != 0; i += alone)
      TERSOR_TRY(little.run(x.as<float>() + (i0 + i) * cols, rows - i < alone ? rows - i : alone, a.bias, y + i * n));
    for (int64_t i = 0; i < rows; i++) {
      lists.count(i) = dual_select(rule, y + i * n, n, 0, lists.keys(), lists.list(i));
      a.count.as<int32_t>()[i0 + i] = static_cast<int32_t>(n - lists.count(i));
    }
    part.x = x.as<float>() + i0 * cols;
    sink.y = y;
    TERSOR_TRY(lists.run(&part, 1, rows, &sink, 1, ctx.cancel));
  }
  return {};
}

}  // namespace tersor
