// layer_norm(x [..., N], gamma? [N], beta? [N], eps) -> y like x, mean [...], rstd [...]; f32 or f64. Formulas: kernels/layer_norm/layer_norm.h.
// layer_norm_grad(x, gamma?, mean, rstd, dy) -> dx, dgamma [N], dbeta [N]. Rows are summed in blocks of 64 in the element type and then in
// double, in an order that depends on the shape only.
#include <cmath>
#include <cstring>

#include "kernels/layer_norm/layer_norm.h"
#include "ops/util.h"

namespace tersor {
namespace {

Status check_common(const char* op, const TensorRef& x, const TensorRef& gamma) {
  TERSOR_TRY(expect_float(op, "x", x));
  if (x.rank < 1 || x.dim(-1) < 1) return fail(Code::shape, "%s: x must have a last axis of >= 1 entries, got %s", op, TERSOR_TEXT(x));
  if (gamma.present()) {
    TERSOR_TRY(expect_same_dtype(op, x, gamma));
    TERSOR_TRY(expect_shape(op, "gamma", gamma, &x.shape[x.rank - 1], 1));
  }
  return {};
}

template <class T> Status forward(layer_norm_args& a, const Cancel* cancel) {
  const int64_t n = a.x.dim(-1), rows = a.x.size() / n;
  Contiguous x, gamma, beta;
  TERSOR_TRY(x.open("layer_norm", a.x, cancel));
  if (a.gamma.present()) TERSOR_TRY(gamma.open("layer_norm", a.gamma, cancel));
  if (a.beta.present()) TERSOR_TRY(beta.open("layer_norm", a.beta, cancel));
  return parallel_for(rows, grain_for(4 * n), cancel, [&](int64_t begin, int64_t end) {
    LayerNormArgs<T> k = {};
    k.x = x.as<T>() + begin * n;
    k.gamma = gamma.as<T>();
    k.beta = beta.as<T>();
    k.y = a.y.as<T>() + begin * n;
    k.mean = a.mean.as<T>() + begin;
    k.rstd = a.rstd.as<T>() + begin;
    k.rows = end - begin;
    k.n = n;
    k.eps = a.eps;
    layer_norm(k);
  });
}

constexpr int64_t kRowBlock = 64, kMaxChunks = 64;

template <class T> Status backward(layer_norm_grad_args& a, const Cancel* cancel) {
  const int64_t n = a.x.dim(-1), rows = a.x.size() / n;
  Contiguous x, gamma, mean, rstd, dy;
  TERSOR_TRY(x.open("layer_norm_grad", a.x, cancel));
  if (a.gamma.present()) TERSOR_TRY(gamma.open("layer_norm_grad", a.gamma, cancel));
  TERSOR_TRY(mean.open("layer_norm_grad", a.mean, cancel));
  TERSOR_TRY(rstd.open("layer_norm_grad", a.rstd, cancel));
  TERSOR_TRY(dy.open("layer_norm_grad", a.dy, cancel));
  const int64_t blocks = (rows + kRowBlock - 1) / kRowBlock, blocks_per_chunk = (blocks + kMaxChunks - 1) / kMaxChunks;
  const int64_t chunk = blocks_per_chunk > 0 ? blocks_per_chunk * kRowBlock : kRowBlock, chunks = (rows + chunk - 1) / chunk;
  // Per chunk: dgamma and dbeta of its blocks in double, and of the current block in T.
  Scratch scratch;
  const int64_t stride = 2 * n * static_cast<int64_t>(sizeof(double) + sizeof(T));
  TERSOR_TRY(scratch.reserve("layer_norm_grad", chunks * stride));
  char* memory = scratch.as<char>();
  TERSOR_TRY(parallel_for(chunks, 1, cancel, [&](int64_t begin, int64_t end) {
    for (int64_t c = begin; c < end; c++) {
      double* total = reinterpret_cast<double*>(memory + c * stride);
      T* block = reinterpret_cast<T*>(total + 2 * n);
      for (int64_t i = 0; i < 2 * n; i++) total[i] = 0;
      const int64_t last = rows - c * chunk < chunk ? rows : (c + 1) * chunk;
      for (int64_t r = c * chunk; r < last; r += kRowBlock) {
        for (int64_t i = 0; i < 2 * n; i++) block[i] = 0;
        LayerNormGradArgs<T> k = {};
        k.x = x.as<T>() + r * n;
        k.gamma = gamma.as<T>();
        k.mean = mean.as<T>() + r;
        k.rstd = rstd.as<T>() + r;
        k.dy = dy.as<T>() + r * n;
        k.dx = a.dx.as<T>() + r * n;
        k.dgamma = block;
        k.dbeta = block + n;
        k.rows = last - r < kRowBlock ? last - r : kRowBlock;
        k.n = n;
        layer_norm_grad(k);
        for (int64_t i = 0; i < 2 * n; i++) total[i] += static_cast<double>(block[i]);
      }
    }
  }));
  for (int64_t i = 0; i < n; i++) {
    double dgamma = 0, dbeta = 0;
    for (int64_t c = 0; c < chunks; c++) {
      const double* total = reinterpret_cast<const double*>(memory + c * stride);
      dgamma += total[i];
      dbeta += total[n + i];
    }
    a.dgamma.as<T>()[i] = static_cast<T>(dgamma);
    a.dbeta.as<T>()[i] = static_cast<T>(dbeta);
  }
  return {};
}

}  // namespace

Status layer_norm_infer(layer_norm_args& a) {
  TERSOR_TRY(check_common("layer_norm", a.x, a.gamma));
  if (a.beta.present()) {
    TERSOR_TRY(expect_same_dtype("layer_norm", a.x, a.beta));
    TERSOR_TRY(expect_shape("layer_norm", "beta", a.beta, &a.x.shape[a.x.rank - 1], 1));
  }
  if (!std::isfinite(a.eps) || a.eps < 0) return fail(Code::option, "layer_norm: eps must be finite and >= 0, got %g", a.eps);
  set_shape(a.y, a.x.dtype, a.x.shape, a.x.rank);
  set_shape(a.mean, a.x.dtype, a.x.shape, a.x.rank - 1);
  set_shape(a.rstd, a.x.dtype, a.x.shape, a.x.rank - 1);
  return {};
}
Status layer_norm_cpu(layer_norm_args& a, Context& ctx) {
  return a.x.dtype == DType::f64 ? forward<double>(a, ctx.cancel) : forward<float>(a, ctx.cancel);
}

Status layer_norm_grad_infer(layer_norm_grad_args& a) {
  TERSOR_TRY(check_common("layer_norm_grad", a.x, a.gamma));
  TERSOR_TRY(expect_same_dtype("layer_norm_grad", a.x, a.mean));
  TERSOR_TRY(expect_same_dtype("layer_norm_grad", a.x, a.rstd));
  TERSOR_TRY(expect_same_dtype("layer_norm_grad", a.x, a.dy));
  TERSOR_TRY(expect_shape("layer_norm_grad", "mean", a.mean, a.x.shape, a.x.rank - 1));
  TERSOR_TRY(expect_shape("layer_norm_grad", "rstd", a.rstd, a.x.shape, a.x.rank - 1));
  TERSOR_TRY(expect_shape("layer_norm_grad", "dy", a.dy, a.x.shape, a.x.rank));
  set_shape(a.dx, a.x.dtype, a.x.shape, a.x.rank);
  set_shape(a.dgamma, a.x.dtype, &a.x.shape[a.x.rank - 1], 1);
  set_shape(a.dbeta, a.x.dtype, &a.x.shape[a.x.rank - 1], 1);
  return {};
}
Status layer_norm_grad_cpu(layer_norm_grad_args& a, Context& ctx) {
  return a.x.dtype == DType::f64 ? backward<double>(a, ctx.cancel) : backward<float>(a, ctx.cancel);
}

}  // namespace tersor
