// qlinear(x f32 [...,K], packed, w_scale f32 [out] or [1], bias f32 [out]?, out, x_scale, x_zero, act) -> y f32 [...,out].
// x is quantized to u8 (round half to even of x / x_scale, plus x_zero, clamped to [0, 255]; NaN becomes x_zero), multiplied exactly
// with the packed weight, and y = act(sum_k (q - x_zero) * w * (x_scale * w_scale) + bias).
#include <cstring>

#include "ops/qgemm_run.h"

namespace tersor {
namespace {
constexpr const char* kOp = "qlinear";
constexpr int64_t kBlockRows = 64;
}  // namespace

Status qlinear_infer(qlinear_args& a) {
  TERSOR_TRY(expect_dtype(kOp, "x", a.x, DType::f32));
  if (a.x.rank < 1) return fail(Code::shape, "%s: x must have rank 1 or more, got %s", kOp, TERSOR_TEXT(a.x));
  if (a.out < 0 || a.out > (int64_t(1) << 40)) return fail(Code::option, "%s: out must be in [0, 2^40], got %lld", kOp, static_cast<long long>(a.out));
  TERSOR_TRY(qgemm_check_inputs(kOp, a.packed, a.w_scale, a.bias, a.out, a.x.dim(-1), a.x_scale, a.x_zero));
  int64_t shape[kMaxRank];
  for (int i = 0; i < a.x.rank; i++) shape[i] = a.x.shape[i];
  shape[a.x.rank - 1] = a.out;
  set_shape(a.y, DType::f32, shape, a.x.rank);
  return {};
}

Status qlinear_cpu(qlinear_args& a, Context& ctx) {
  const int64_t n = a.out, k = a.x.dim(-1);
  TERSOR_TRY(qgemm_check_blob(kOp, a.packed, n, k));
  if (a.y.size() == 0) return {};
  const int64_t m = a.y.size() / n;
  Contiguous x, bias;
  TERSOR_TRY(x.open(kOp, a.x, ctx.cancel));
  if (a.bias.present()) TERSOR_TRY(bias.open(kOp, a.bias, ctx.cancel));
  Scratch scales;
  TERSOR_TRY(qgemm_scales(kOp, a.w_scale, n, a.x_scale, &scales));
  const QgemmLayout& layout = qgemm_layout();
  const QgemmWidth& width = *qgemm_row(m).width;
  const int64_t depth = layout.depth(k);
  const int32_t zero = static_cast<int32_t>(a.x_zero);
  QgemmFinish f;
  f.x_zero = &zero;
  f.column = qgemm_blob_sums(a.packed.data);
  f.to = QgemmTo::f32;
  f.y = a.y.data, f.y_row = n;
  f.scale = scales.as<float>();
  f.bias = a.bias.present() ? bias.as<float>() : nullptr;
  f.act = static_cast<QgemmAct>(a.act);
  const auto quantize = [&](int64_t first, int64_t count, uint8_t* to) {
    for (int64_t i = 0; i < count; i++, to += depth) {
      width.quantize({x.as<float>() + (first + i) * k, k, static_cast<float>(a.x_scale), zero, to});
      memset(to + k, 0, static_cast<size_t>(depth - k));
    }
  };
  if (m >= 4 * kBlockRows) {  // enough rows to share out: each task quantizes its own and multiplies them with the whole weight
    ScratchSlots slots;
    TERSOR_TRY(slots.reserve(kOp, kBlockRows * depth, (m + kBlockRows - 1) / kBlockRows));
    return parallel_for(m, kBlockRows, ctx.cancel, [&](int64_t begin, int64_t end) {
      const ScratchSlots::Lease slot(slots);
      for (int64_t i = begin; i < end; i += kBlockRows) {
        const int64_t rows = end - i < kBlockRows ? end - i : kBlockRows;
        quantize(i, rows, slot.as<uint8_t>());
        qgemm_part({slot.as<uint8_t>(), depth, false}, i, i + rows, a.packed.data, 0, n, k, f);
      }
    });
  }
  Scratch quantized;
  TERSOR_TRY(quantized.reserve(kOp, m * depth));
  TERSOR_TRY(parallel_for(m, grain_for(k), ctx.cancel, [&](int64_t begin, int64_t end) { quantize(begin, end - begin, quantized.as<uint8_t>() + begin * depth); }));
  return qgemm_parallel({quantized.as<uint8_t>(), depth, false}, m, a.packed.data, n, k, f, ctx.cancel);
}

}  // namespace tersor
