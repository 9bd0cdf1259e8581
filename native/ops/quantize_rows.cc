// Quantization of a matrix by rows and groups. x is [rows, cols]; the columns are cut into `groups` runs of ceil(cols / groups), the last
// of which may be shorter but not empty.
//   range_rows(x, groups) -> lo, hi [rows, groups] of x's type; NaN in both where the run holds a NaN
//   quantize_rows:   q = clamp(round_half_even(x / scale) + zero, qmin, qmax) as i8
//   dequantize_rows: x = (q - zero) * scale as f32
// scale and zero are f32 [rows, groups], [rows, 1] or [1, 1]. Quantizing needs a zero that is an integer, |zero| <= 2^20 (a fractional one
// makes sense for dequantize_rows only). Infinities are clamped, NaN is an error.
#include <atomic>
#include <cmath>

#include "ops/quantize_shape.h"

namespace tersor {
namespace {

constexpr int64_t kBeyondCaches = 8 << 20;  // bytes of results that are written past the caches

void range_f64(const double* x, int64_t n, double* lo, double* hi) {
  double l = INFINITY, h = -INFINITY;
  bool nan = false;
  for (int64_t i = 0; i < n; i++) {
    l = x[i] < l ? x[i] : l;
    h = x[i] > h ? x[i] : h;
    nan = nan || x[i] != x[i];
  }
  *lo = nan ? NAN : l;
  *hi = nan ? NAN : h;
}

int64_t quantize_f64(const double* x, int8_t* q, int64_t n, const QuantArgs& a) {
  const double lo = static_cast<double>(a.qmin) - a.zero, hi = static_cast<double>(a.qmax) - a.zero, magic = 6755399441055744.0;
  int64_t bad = -1;
  for (int64_t i = n - 1; i >= 0; i--) {
    double t = x[i] / static_cast<double>(a.scale);
    if (t != t) bad = i;
    t = t > lo ? t : lo;
    t = t < hi ? t : hi;
    q[i] = static_cast<int8_t>((t + magic) - magic + static_cast<double>(a.zero));
  }
  return bad;
}

}  // namespace

Status range_rows_infer(range_rows_args& a) {
  TERSOR_TRY(expect_float("range_rows", "x", a.x));
  TERSOR_TRY(expect_rank("range_rows", "x", a.x, 2));
  TERSOR_TRY(check_groups("range_rows", a.x, a.groups));
  if (a.x.shape[1] == 0) return fail(Code::shape, "range_rows: a range needs at least one column, got %s", TERSOR_TEXT(a.x));
  const int64_t shape[2] = {a.x.shape[0], a.groups};
  set_shape(a.lo, a.x.dtype, shape, 2);
  set_shape(a.hi, a.x.dtype, shape, 2);
  return {};
}

Status range_rows_cpu(range_rows_args& a, Context& ctx) {
  const int64_t rows = a.x.shape[0], cols = a.x.shape[1], run = (cols + a.groups - 1) / a.groups;
  Contiguous x;
  TERSOR_TRY(x.open("range_rows", a.x, ctx.cancel));
  const QuantKernel kernel = quant_kernels().range;
  return parallel_for(rows * a.groups, grain_for(run), ctx.cancel, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end;) {
      const int64_t row = i / a.groups, group = i % a.groups, first = group * run, n = first + run < cols ? run : cols - first;
      if (a.x.dtype == DType::f64) {
        range_f64(x.as<double>() + row * cols + first, n, a.lo.as<double>() + i, a.hi.as<double>() + i);
        i++;
        continue;
      }
      // All runs of the same length that follow, beyond the row's end where none of them is shorter.
      int64_t runs = a.groups * run == cols ? end - i : n < run ? 1 : a.groups - 1 - group;
      if (runs > end - i) runs = end - i;
      QuantArgs args{};
      args.in = x.as<float>() + row * cols + first;
      args.n = n;
      args.runs = runs;
      args.lo = a.lo.as<float>() + i;
      args.hi = a.hi.as<float>() + i;
      kernel(args);
      i += runs;
    }
  });
}

Status quantize_rows_infer(quantize_rows_args& a) {
  TERSOR_TRY(expect_float("quantize_rows", "x", a.x));
  TERSOR_TRY(expect_rank("quantize_rows", "x", a.x, 2));
  TERSOR_TRY(check_pair("quantize_rows", a.scale, a.zero, a.x));
  if (a.qmin < -128 || a.qmax > 127 || a.qmin >= a.qmax)
    return fail(Code::option, "quantize_rows: -128 <= qmin < qmax <= 127 must hold, got qmin %lld, qmax %lld", static_cast<long long>(a.qmin),
                static_cast<long long>(a.qmax));
  set_shape(a.q, DType::i8, a.x.shape, 2);
  return {};
}

Status quantize_rows_cpu(quantize_rows_args& a, Context& ctx) {
  TERSOR_TRY(check_scales("quantize_rows", a.scale));
  TERSOR_TRY(check_zeros("quantize_rows", a.zero));
  const int64_t rows = a.x.shape[0], cols = a.x.shape[1], none = rows * cols;
  Contiguous x;
  TERSOR_TRY(x.open("quantize_rows", a.x, ctx.cancel));
  int64_t groups = a.scale.shape[1];
  if (a.zero.present() && a.zero.shape[1] > groups) groups = a.zero.shape[1];
  const Factor scale{a.scale}, zero{a.zero};
  const QuantKernel kernel = quant_kernels().quantize;
  std::atomic<int64_t> bad{none};
  TERSOR_TRY(for_runs(rows, cols, groups, ctx.cancel, [&](int64_t row, int64_t group, int64_t first, int64_t n) {
    const int64_t at = row * cols + first;
    QuantArgs args{};
    args.out = a.q.as<int8_t>() + at;
    args.n = n;
    args.scale = scale.at(row, group);
    args.zero = a.zero.present() ? zero.at(row, group) : 0;
    args.qmin = static_cast<float>(a.qmin);
    args.qmax = static_cast<float>(a.qmax);
    args.stream = none >= kBeyondCaches;
    int64_t nan;
    if (a.x.dtype == DType::f64) {
      nan = quantize_f64(x.as<double>() + at, a.q.as<int8_t>() + at, n, args);
    } else {
      args.in = x.as<float>() + at;
      nan = kernel(args);
    }
    if (nan < 0) return;
    int64_t seen = bad.load();
    while (at + nan < seen && !bad.compare_exchange_weak(seen, at + nan)) {
    }
  }));
  const int64_t i = bad.load();
  if (i == none) return {};
  return fail(Code::numeric, "quantize_rows: x is NaN at [%lld,%lld] (x: %s)", static_cast<long long>(i / cols), static_cast<long long>(i % cols),
              TERSOR_TEXT(a.x));
}

Status dequantize_rows_infer(dequantize_rows_args& a) {
  TERSOR_TRY(expect_dtype("dequantize_rows", "q", a.q, DType::i8));
  TERSOR_TRY(expect_rank("dequantize_rows", "q", a.q, 2));
  TERSOR_TRY(check_pair("dequantize_rows", a.scale, a.zero, a.q));
  set_shape(a.x, DType::f32, a.q.shape, 2);
  return {};
}

Status dequantize_rows_cpu(dequantize_rows_args& a, Context& ctx) {
  const int64_t rows = a.q.shape[0], cols = a.q.shape[1];
  Contiguous q;
  TERSOR_TRY(q.open("dequantize_rows", a.q, ctx.cancel));
  int64_t groups = a.scale.shape[1];
  if (a.zero.present() && a.zero.shape[1] > groups) groups = a.zero.shape[1];
  const Factor scale{a.scale}, zero{a.zero};
  const QuantKernel kernel = quant_kernels().dequantize;
  return for_runs(rows, cols, groups, ctx.cancel, [&](int64_t row, int64_t group, int64_t first, int64_t n) {
    QuantArgs args{};
    args.in = q.as<int8_t>() + row * cols + first;
    args.out = a.x.as<float>() + row * cols + first;
    args.n = n;
    args.scale = scale.at(row, group);
    args.zero = a.zero.present() ? zero.at(row, group) : 0;
    args.stream = rows * cols * 4 >= kBeyondCaches;
    kernel(args);
  });
}

}  // namespace tersor
