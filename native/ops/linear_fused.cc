// linear_fused(x f32 [...,K], w f32 [N,K], bias f32 [N]?, residual f32 [...,N]?, act) -> y f32 [...,N] = act(x w^T + bias) + residual. All inputs may be
// strided views; w is used where it lies or packed block by block.
#include "ops/linear_finish.h"

namespace tersor {
namespace {

constexpr const char* kOp = "linear_fused";

}  // namespace

Status linear_fused_infer(linear_fused_args& a) {
  TERSOR_TRY(expect_dtype(kOp, "x", a.x, DType::f32));
  TERSOR_TRY(expect_dtype(kOp, "w", a.w, DType::f32));
  TERSOR_TRY(expect_rank(kOp, "w", a.w, 2));
  if (a.x.rank < 1) return fail(Code::shape, "%s: x must have rank 1 or more, got %s", kOp, TERSOR_TEXT(a.x));
  if (a.x.dim(-1) != a.w.shape[1])
    return fail(Code::shape, "%s: the last dimension of x must equal the columns of w, got x %s and w %s", kOp, TERSOR_TEXT(a.x), TERSOR_TEXT(a.w));
  return linear_finish_infer(kOp, a, a.w.shape[0]);
}

Status linear_fused_cpu(linear_fused_args& a, Context& ctx) {
  GemmMatrix<float> g;
  g.n = a.w.shape[0], g.k = a.w.shape[1];
  g.b = a.w.as<float>(), g.b_row = a.w.stride[1], g.b_col = a.w.stride[0];
  return linear_finish_run(kOp, a, g, nullptr, ctx);
}

}  // namespace tersor
