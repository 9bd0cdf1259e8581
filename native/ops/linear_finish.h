// What linear_fused and linear_packed share: checks of bias and residual, and y = act(x w^T + bias) + residual on finished blocks of y.
#pragma once
#include "kernels/wgemm/wgemm.h"
#include "ops/gemm_run.h"
#include "ops/util.h"

namespace tersor {

// Any args with x, bias, residual and y; sets the shape of y = [...,out].
template <class Args> Status linear_finish_infer(const char* op, Args& a, int64_t out) {
  if (a.bias.present()) {
    TERSOR_TRY(expect_dtype(op, "bias", a.bias, DType::f32));
    TERSOR_TRY(expect_shape(op, "bias", a.bias, &out, 1));
  }
  int64_t shape[kMaxRank];
  for (int i = 0; i < a.x.rank; i++) shape[i] = a.x.shape[i];
  shape[a.x.rank - 1] = out;
  if (a.residual.present()) {
    TERSOR_TRY(expect_dtype(op, "residual", a.residual, DType::f32));
    TERSOR_TRY(expect_shape(op, "residual", a.residual, shape, a.x.rank));
  }
  set_shape(a.y, DType::f32, shape, a.x.rank);
  return {};
}

// g has n, k and B (or `packed` holds its panels); the rest comes from the args. The product starts from the bias; activation and residual
// follow on each block while it is in cache.
template <class Args> Status linear_finish_run(const char* op, Args& a, GemmMatrix<float> g, const float* packed, Context& ctx) {
  if (a.y.size() == 0) return {};
  Contiguous x, bias, residual;
  TERSOR_TRY(x.open(op, a.x, ctx.cancel));
  if (a.bias.present()) TERSOR_TRY(bias.open(op, a.bias, ctx.cancel));
  if (a.residual.present()) TERSOR_TRY(residual.open(op, a.residual, ctx.cancel));
  g.m = a.y.size() / g.n;
  g.a = x.template as<float>(), g.a_row = g.k;
  g.c = a.y.template as<float>(), g.c_row = g.n;
  g.bias = a.bias.present() ? bias.template as<float>() : nullptr;
  WgemmFinish whole;  // the finish of a tile is the same for every product with f32 results
  whole.y = g.c, whole.y_row = g.n;
  whole.residual = a.residual.present() ? residual.template as<float>() : nullptr;
  whole.act = static_cast<Act>(a.act);
  GemmExtra<float> extra;
  extra.packed = packed;
  extra.finish.state = &whole;
  if (whole.residual || whole.act != Act::none)
    extra.finish.run = [](const void* state, int64_t m0, int64_t m, int64_t n0, int64_t n) {
      WgemmFinish f = *static_cast<const WgemmFinish*>(state);
      f.m = m, f.n = n;
      f.y += m0 * f.y_row + n0;
      if (f.residual) f.residual += m0 * f.y_row + n0;
      wgemm_row().finish(f);
    };
  return gemm_parallel(op, g, ctx.cancel, extra);
}

}  // namespace tersor
