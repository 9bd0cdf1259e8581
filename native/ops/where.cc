// where(condition, a, b) -> y: a where the condition is not 0, else b, with NumPy broadcasting of all three; f32 or f64. What is not chosen does not matter, not even
// as NaN.
#include "ops/util.h"

namespace tersor {
namespace {

// One input stretched to the result: dense with step 1, or one element with step 0.
template <class T> struct Operand {
  Contiguous block;
  const T* at = nullptr;
  int64_t step = 1;

  Status open(const TensorRef& t, const TensorRef& y, const Cancel* cancel) {
    if (t.size() == 1) {
      at = t.as<T>(), step = 0;
      return {};
    }
    TERSOR_TRY(block.open("where", broadcast_to(t, y.shape, y.rank), cancel));
    at = block.as<T>();
    return {};
  }
};

template <class T, int A, int B> void choose(const T* c, int64_t step, const T* a, const T* b, T* y, int64_t n) {
  if (step == 0) {
    for (int64_t i = 0; i < n; i++) y[i] = *c != T(0) ? a[A * i] : b[B * i];
    return;
  }
  for (int64_t i = 0; i < n; i++) {
    const T u = a[A * i], v = b[B * i];
    y[i] = c[i] != T(0) ? u : v;
  }
}

template <class T> Status run(where_args& w, const Cancel* cancel) {
  if (w.y.size() == 0) return {};
  Operand<T> c, a, b;
  TERSOR_TRY(c.open(w.condition, w.y, cancel));
  TERSOR_TRY(a.open(w.a, w.y, cancel));
  TERSOR_TRY(b.open(w.b, w.y, cancel));
  return parallel_for(w.y.size(), grain_for(3), cancel, [&](int64_t begin, int64_t end) {
    const T *pc = c.at + begin * c.step, *pa = a.at + begin * a.step, *pb = b.at + begin * b.step;
    T* y = w.y.as<T>() + begin;
    if (a.step && b.step) choose<T, 1, 1>(pc, c.step, pa, pb, y, end - begin);
    else if (a.step) choose<T, 1, 0>(pc, c.step, pa, pb, y, end - begin);
    else if (b.step) choose<T, 0, 1>(pc, c.step, pa, pb, y, end - begin);
    else choose<T, 0, 0>(pc, c.step, pa, pb, y, end - begin);
  });
}

}  // namespace

Status where_infer(where_args& w) {
  TERSOR_TRY(expect_float("where", "a", w.a));
  TERSOR_TRY(expect_same_dtype("where", w.a, w.b));
  TERSOR_TRY(expect_same_dtype("where", w.a, w.condition));
  int64_t shape[kMaxRank];
  int rank;
  TERSOR_TRY(broadcast_shapes("where", w.a, w.b, shape, &rank));
  set_shape(w.y, w.a.dtype, shape, rank);
  TERSOR_TRY(broadcast_shapes("where", w.y, w.condition, shape, &rank));
  set_shape(w.y, w.a.dtype, shape, rank);
  return {};
}
Status where_cpu(where_args& w, Context& ctx) { return w.a.dtype == DType::f32 ? run<float>(w, ctx.cancel) : run<double>(w, ctx.cancel); }

}  // namespace tersor
