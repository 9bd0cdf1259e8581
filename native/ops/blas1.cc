// Long vectors (kernels/blas1/blas1.h): inner_product, axpby in place, orthogonalize. Sums are taken over chunks of fixed length and added in
// order, so results do not depend on the threads.
#include "kernels/blas1/blas1.h"

#include <cmath>

#include "ops/util.h"

namespace tersor {
namespace {

constexpr int64_t kChunk = 8192;  // elements: a chunk of v stays in L1 while rows of the basis pass by

int64_t chunks_of(int64_t n) { return (n + kChunk - 1) / kChunk; }

template <class T> Status dot_run(inner_product_args& x, Context& ctx) {
  Contiguous a, b;
  TERSOR_TRY(a.open("inner_product", x.a, ctx.cancel));
  TERSOR_TRY(b.open("inner_product", x.b, ctx.cancel));
  const int64_t n = x.a.size(), chunks = chunks_of(n);
  Scratch partial;
  TERSOR_TRY(partial.reserve("inner_product", chunks * 8));
  double* const sums = partial.as<double>();
  TERSOR_TRY(parallel_for(n, kChunk, ctx.cancel, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; i += kChunk) {
      const int64_t count = end - i < kChunk ? end - i : kChunk;
      sums[i / kChunk] = blas1_dot(a.as<T>() + i, b.as<T>() + i, count);
    }
  }));
  double sum = 0;
  for (int64_t c = 0; c < chunks; c++) sum += sums[c];
  *x.y.as<double>() = sum;
  return {};
}

template <class T> Status axpby_run(axpby_args& a, Context& ctx) {
  Contiguous x;
  TERSOR_TRY(x.open("axpby", a.x, ctx.cancel));
  return parallel_for(a.y.size(), kChunk, ctx.cancel, [&](int64_t begin, int64_t end) {
    blas1_axpby(a.y.as<T>() + begin, x.as<T>() + begin, end - begin, a.alpha, a.beta);
  });
}

template <class T> Status orthogonalize_run(orthogonalize_args& a, Context& ctx) {
  constexpr const char* op = "orthogonalize";
  Contiguous basis;
  TERSOR_TRY(basis.open(op, a.basis, ctx.cancel));
  const int64_t n = a.v.size(), rows = a.rows, chunks = chunks_of(n), per = rows > 0 ? rows : 1;
  T* const v = a.v.as<T>();
  const T* const q = basis.as<T>();
  Scratch partial;
  TERSOR_TRY(partial.reserve(op, chunks * per * 8));
  double* const sums = partial.as<double>();
  double* const c = a.coefficients.as<double>();
  if (rows > 0) {
    TERSOR_TRY(parallel_for(n, kChunk, ctx.cancel, [&](int64_t begin, int64_t end) {
      for (int64_t i = begin; i < end; i += kChunk) {
        const int64_t count = end - i < kChunk ? end - i : kChunk;
        for (int64_t r = 0; r < rows; r++) sums[i / kChunk * rows + r] = blas1_dot(q + r * n + i, v + i, count);
      }
    }));
    for (int64_t r = 0; r < rows; r++) c[r] = 0;
    for (int64_t k = 0; k < chunks; k++)
      for (int64_t r = 0; r < rows; r++) c[r] += sums[k * rows + r];
  }
  TERSOR_TRY(parallel_for(n, kChunk, ctx.cancel, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; i += kChunk) {
      const int64_t count = end - i < kChunk ? end - i : kChunk;
      for (int64_t r = 0; r < rows; r++) blas1_axpby(v + i, q + r * n + i, count, -c[r], 1);
      sums[i / kChunk] = blas1_dot(v + i, v + i, count);
    }
  }));
  double square = 0;
  for (int64_t k = 0; k < chunks; k++) square += sums[k];
  *a.norm.as<double>() = std::sqrt(square);
  return {};
}

Status expect_changeable(const char* op, const char* name, const TensorRef& t) {
  if (t.contiguous()) return {};
  return fail(Code::shape, "%s: %s must be contiguous (%s)", op, name, TERSOR_TEXT(t));
}

}  // namespace

Status inner_product_infer(inner_product_args& x) {
  TERSOR_TRY(expect_float("inner_product", "a", x.a));
  TERSOR_TRY(expect_same_dtype("inner_product", x.a, x.b));
  TERSOR_TRY(expect_shape("inner_product", "b", x.b, x.a.shape, x.a.rank));
  set_shape(x.y, DType::f64, nullptr, 0);
  return {};
}
Status inner_product_cpu(inner_product_args& x, Context& ctx) { return x.a.dtype == DType::f32 ? dot_run<float>(x, ctx) : dot_run<double>(x, ctx); }

Status axpby_infer(axpby_args& a) {
  TERSOR_TRY(expect_float("axpby", "y", a.y));
  TERSOR_TRY(expect_same_dtype("axpby", a.y, a.x));
  TERSOR_TRY(expect_shape("axpby", "x", a.x, a.y.shape, a.y.rank));
  TERSOR_TRY(expect_changeable("axpby", "y", a.y));
  if (!std::isfinite(a.alpha) || !std::isfinite(a.beta))
    return fail(Code::option, "axpby: alpha and beta must be finite, got %g and %g", a.alpha, a.beta);
  return {};
}
Status axpby_cpu(axpby_args& a, Context& ctx) { return a.y.dtype == DType::f32 ? axpby_run<float>(a, ctx) : axpby_run<double>(a, ctx); }

Status orthogonalize_infer(orthogonalize_args& a) {
  constexpr const char* op = "orthogonalize";
  TERSOR_TRY(expect_float(op, "v", a.v));
  TERSOR_TRY(expect_changeable(op, "v", a.v));
  TERSOR_TRY(expect_same_dtype(op, a.v, a.basis));
  TERSOR_TRY(expect_rank(op, "basis", a.basis, 2));
  if (a.basis.shape[1] != a.v.size())
    return fail(Code::shape, "%s: rows of the basis must have the elements of v, got basis %s and v %s", op, TERSOR_TEXT(a.basis), TERSOR_TEXT(a.v));
  if (a.rows < 0 || a.rows > a.basis.shape[0])
    return fail(Code::option, "%s: rows must be in [0, %lld], got %lld (basis %s)", op, static_cast<long long>(a.basis.shape[0]),
                static_cast<long long>(a.rows), TERSOR_TEXT(a.basis));
  // A partial overlap is refused for every op; the same beginning would pass as elementwise work.
  if (a.rows > 0 && a.v.size() > 0 && a.v.data == a.basis.data) return fail(Code::option, "%s: v must not be a row of the basis", op);
  set_shape(a.coefficients, DType::f64, &a.rows, 1);
  set_shape(a.norm, DType::f64, nullptr, 0);
  return {};
}
Status orthogonalize_cpu(orthogonalize_args& a, Context& ctx) {
  return a.v.dtype == DType::f32 ? orthogonalize_run<float>(a, ctx) : orthogonalize_run<double>(a, ctx);
}

}  // namespace tersor
