// rms_norm(x [..., N], gamma? [N], eps) -> y like x, rstd [...]; f32 or f64. rms_norm_grad(x, gamma?, rstd, dy) -> dx, dgamma [N].
// Formulas: kernels/norm/norm.h. dgamma is summed over blocks of 64 rows in the element type and then in double, in an order that depends on the
// shape only.
#include <cmath>

#include "kernels/norm/norm.h"
#include "ops/util.h"

namespace tersor {
namespace {

Status check_common(const char* op, const TensorRef& x, const TensorRef& gamma) {
  TERSOR_TRY(expect_float(op, "x", x));
  if (x.rank < 1 || x.dim(-1) < 1) return fail(Code::shape, "%s: x must have a last axis of >= 1 entries, got %s", op, TERSOR_TEXT(x));
  if (!gamma.present()) return {};
  TERSOR_TRY(expect_same_dtype(op, x, gamma));
  return expect_shape(op, "gamma", gamma, &x.shape[x.rank - 1], 1);
}

template <class T> Status forward(rms_norm_args& a, const Cancel* cancel) {
  const int64_t n = a.x.dim(-1), rows = a.x.size() / n;
  Contiguous x, gamma;
  TERSOR_TRY(x.open("rms_norm", a.x, cancel));
  if (a.gamma.present()) TERSOR_TRY(gamma.open("rms_norm", a.gamma, cancel));
  return parallel_for(rows, grain_for(3 * n), cancel, [&](int64_t begin, int64_t end) {
    rms_norm(RmsNormArgs<T>{x.as<T>() + begin * n, gamma.as<T>(), a.y.as<T>() + begin * n, a.rstd.as<T>() + begin, end - begin, n, a.eps});
  });
}

constexpr int64_t kRowBlock = 64, kMaxChunks = 64;

template <class T> Status backward(rms_norm_grad_args& a, const Cancel* cancel) {
  const int64_t n = a.x.dim(-1), rows = a.x.size() / n;
  Contiguous x, gamma, rstd, dy;
  TERSOR_TRY(x.open("rms_norm_grad", a.x, cancel));
  if (a.gamma.present()) TERSOR_TRY(gamma.open("rms_norm_grad", a.gamma, cancel));
  TERSOR_TRY(rstd.open("rms_norm_grad", a.rstd, cancel));
  TERSOR_TRY(dy.open("rms_norm_grad", a.dy, cancel));
  const int64_t blocks = (rows + kRowBlock - 1) / kRowBlock, per_chunk = (blocks + kMaxChunks - 1) / kMaxChunks;
  const int64_t chunk = per_chunk > 0 ? per_chunk * kRowBlock : kRowBlock, chunks = (rows + chunk - 1) / chunk;
  // Per chunk: dgamma of its blocks in double, and of the current block in T.
  Scratch scratch;
  const int64_t stride = n * static_cast<int64_t>(sizeof(double) + sizeof(T)) + 8 - n * static_cast<int64_t>(sizeof(T)) % 8;
  TERSOR_TRY(scratch.reserve("rms_norm_grad", chunks * stride));
  char* memory = scratch.as<char>();
  TERSOR_TRY(parallel_for(chunks, 1, cancel, [&](int64_t begin, int64_t end) {
    for (int64_t c = begin; c < end; c++) {
      double* total = reinterpret_cast<double*>(memory + c * stride);
      T* block = reinterpret_cast<T*>(total + n);
      for (int64_t i = 0; i < n; i++) total[i] = 0;
      const int64_t last = rows - c * chunk < chunk ? rows : (c + 1) * chunk;
      for (int64_t r = c * chunk; r < last; r += kRowBlock) {
        for (int64_t i = 0; i < n; i++) block[i] = 0;
        const int64_t count = last - r < kRowBlock ? last - r : kRowBlock;
        rms_norm_grad(RmsNormGradArgs<T>{x.as<T>() + r * n, gamma.as<T>(), rstd.as<T>() + r, dy.as<T>() + r * n, a.dx.as<T>() + r * n, block, count, n});
        for (int64_t i = 0; i < n; i++) total[i] += static_cast<double>(block[i]);
      }
    }
  }));
  for (int64_t i = 0; i < n; i++) {
    double sum = 0;
    for (int64_t c = 0; c < chunks; c++) sum += reinterpret_cast<const double*>(memory + c * stride)[i];
    a.dgamma.as<T>()[i] = static_cast<T>(sum);
  }
  return {};
}

}  // namespace

Status rms_norm_infer(rms_norm_args& a) {
  TERSOR_TRY(check_common("rms_norm", a.x, a.gamma));
  if (!std::isfinite(a.eps) || a.eps < 0) return fail(Code::option, "rms_norm: eps must be finite and >= 0, got %g", a.eps);
  set_shape(a.y, a.x.dtype, a.x.shape, a.x.rank);
  set_shape(a.rstd, a.x.dtype, a.x.shape, a.x.rank - 1);
  return {};
}
Status rms_norm_cpu(rms_norm_args& a, Context& ctx) {
  return a.x.dtype == DType::f64 ? forward<double>(a, ctx.cancel) : forward<float>(a, ctx.cancel);
}

Status rms_norm_grad_infer(rms_norm_grad_args& a) {
  TERSOR_TRY(check_common("rms_norm_grad", a.x, a.gamma));
  TERSOR_TRY(expect_same_dtype("rms_norm_grad", a.x, a.rstd));
  TERSOR_TRY(expect_same_dtype("rms_norm_grad", a.x, a.dy));
  TERSOR_TRY(expect_shape("rms_norm_grad", "rstd", a.rstd, a.x.shape, a.x.rank - 1));
  TERSOR_TRY(expect_shape("rms_norm_grad", "dy", a.dy, a.x.shape, a.x.rank));
  set_shape(a.dx, a.x.dtype, a.x.shape, a.x.rank);
  set_shape(a.dgamma, a.x.dtype, &a.x.shape[a.x.rank - 1], 1);
  return {};
}
Status rms_norm_grad_cpu(rms_norm_grad_args& a, Context& ctx) {
  return a.x.dtype == DType::f64 ? backward<double>(a, ctx.cancel) : backward<float>(a, ctx.cancel);
}

}  // namespace tersor
