// softmax and log_softmax over the last axis, f32 or f64. What happens to infinities and NaN: kernels/softmax/softmax.h.
#include "kernels/softmax/softmax.h"
#include "ops/util.h"

namespace tersor {
namespace {

Status softmax_infer(const char* op, const TensorRef& x, TensorRef& y) {
  TERSOR_TRY(expect_float(op, "x", x));
  if (x.rank < 1) return fail(Code::shape, "%s: x must have rank >= 1, got %s", op, TERSOR_TEXT(x));
  set_shape(y, x.dtype, x.shape, x.rank);
  return {};
}

template <class T> Status softmax_typed(const char* op, const TensorRef& x, TensorRef& y, bool log, const Cancel* cancel) {
  const int64_t n = x.dim(-1);
  if (y.size() == 0) return {};
  Contiguous open;
  TERSOR_TRY(open.open(op, x, cancel));
  const T* from = open.as<T>();
  T* to = y.as<T>();
  return parallel_for(y.size() / n, grain_for(4 * n), cancel, [&](int64_t begin, int64_t end) {
    softmax(SoftmaxArgs<T>{from + begin * n, to + begin * n, end - begin, n, log});
  });
}

Status softmax_any(const char* op, const TensorRef& x, TensorRef& y, bool log, const Cancel* cancel) {
  if (x.dtype == DType::f64) return softmax_typed<double>(op, x, y, log, cancel);
  return softmax_typed<float>(op, x, y, log, cancel);
}

}  // namespace

Status softmax_infer(softmax_args& a) { return softmax_infer("softmax", a.x, a.y); }
Status softmax_cpu(softmax_args& a, Context& ctx) { return softmax_any("softmax", a.x, a.y, false, ctx.cancel); }
Status log_softmax_infer(log_softmax_args& a) { return softmax_infer("log_softmax", a.x, a.y); }
Status log_softmax_cpu(log_softmax_args& a, Context& ctx) { return softmax_any("log_softmax", a.x, a.y, true, ctx.cancel); }

}  // namespace tersor
