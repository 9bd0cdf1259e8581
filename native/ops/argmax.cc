// argmax(x [..., N]) -> i32 [...]: position of the largest element of each row; the first of equals; the first NaN when there is one.
#include "kernels/reduce/reduce.h"
#include "ops/util.h"

namespace tersor {
namespace {

template <class T> Status argmax_typed(const TensorRef& x, TensorRef& y, const Cancel* cancel) {
  Contiguous open;
  TERSOR_TRY(open.open("argmax", x, cancel));
  const T* data = open.as<T>();
  int32_t* out = y.as<int32_t>();
  const int64_t n = x.dim(-1);
  return parallel_for(y.size(), grain_for(2 * n), cancel, [&](int64_t begin, int64_t end) {
    ReduceArgs<T> a = {};
    a.op = ReduceOp::argmax_rows;
    a.x = data + begin * n;
    a.rows = end - begin;
    a.cols = a.row_stride = n;
    a.index = out + begin;
    reduce(a);
  });
}

}  // namespace

Status argmax_infer(argmax_args& a) {
  TERSOR_TRY(expect_float("argmax", "x", a.x));
  if (a.x.rank < 1) return fail(Code::shape, "argmax: x must have rank >= 1, got %s", TERSOR_TEXT(a.x));
  if (a.x.dim(-1) < 1 || a.x.dim(-1) > INT32_MAX) return fail(Code::shape, "argmax: last axis must have 1 .. 2^31 - 1 entries (x: %s)", TERSOR_TEXT(a.x));
  set_shape(a.y, DType::i32, a.x.shape, a.x.rank - 1);
  return {};
}

Status argmax_cpu(argmax_args& a, Context& ctx) {
  if (a.x.dtype == DType::f64) return argmax_typed<double>(a.x, a.y, ctx.cancel);
  return argmax_typed<float>(a.x, a.y, ctx.cancel);
}

}  // namespace tersor
