// cumsum(x, axis, exclusive, reverse) -> y like x: y[i] = sum of x[0..i] along the axis, without x[i] when `exclusive`, from the end when `reverse`. f32 or
// f64, summed in double.
#include "ops/axis_loop.h"

namespace tersor {
namespace {

template <class T> Status run(cumsum_args& a, const Cancel* cancel) {
  AxisLoop l;
  int axis;
  TERSOR_TRY(axis_loop("cumsum", a.x, a.axis, &axis, &l));
  if (a.y.size() == 0) return {};
  Contiguous x;
  TERSOR_TRY(x.open("cumsum", a.x, cancel));
  return for_columns(l, l.n, cancel, [&](int64_t o, int64_t first, int64_t width) {
    constexpr int64_t kStrip = 64;
    double sum[kStrip];
    for (int64_t c = 0; c < width; c += kStrip) {
      const int64_t n = width - c < kStrip ? width - c : kStrip;
      for (int64_t i = 0; i < n; i++) sum[i] = 0;
      for (int64_t s = 0; s < l.n; s++) {
        const int64_t at = (o * l.n + (a.reverse ? l.n - 1 - s : s)) * l.inner + first + c;
        const T* from = x.as<T>() + at;
        T* y = a.y.as<T>() + at;
        for (int64_t i = 0; i < n; i++) {
          const double before = sum[i];
          sum[i] = before + static_cast<double>(from[i]);
          y[i] = static_cast<T>(a.exclusive ? before : sum[i]);
        }
      }
    }
  });
}

}  // namespace

Status cumsum_infer(cumsum_args& a) {
  TERSOR_TRY(expect_float("cumsum", "x", a.x));
  AxisLoop l;
  int axis;
  TERSOR_TRY(axis_loop("cumsum", a.x, a.axis, &axis, &l));
  set_shape(a.y, a.x.dtype, a.x.shape, a.x.rank);
  return {};
}
Status cumsum_cpu(cumsum_args& a, Context& ctx) { return a.x.dtype == DType::f32 ? run<float>(a, ctx.cancel) : run<double>(a, ctx.cancel); }

}  // namespace tersor
