// The values that codes stand for, and the straight-through gradient. x is [rows, cols]; scale and zero are f32 [rows, groups] or [1, 1] as in quantize_rows.
//   fake_quantize_rows:      y = (clamp(round_half_even(x / scale) + zero, qmin, qmax) - zero) * scale, bit for bit dequantize_rows(quantize_rows(x)); NaN is an error
//   fake_quantize_rows_grad: with v = x / scale, and "inside" where qmin <= round(v) + zero <= qmax (halves count as inside):
//     dx     = dy inside, 0 outside
//     dscale = sum of dy * (round(v) - v inside, the limit's code less zero outside) over each run (Esser et al. 2020, eq. 3); zeros unless `learned`
// Codes never leave the first-level cache. Sums are taken in pieces of fixed size: they do not depend on the number of threads.
#include <atomic>

#include "ops/quantize_shape.h"

namespace tersor {
namespace {

constexpr int64_t kPiece = 1024;  // codes on the stack

Status check_codes(const char* op, int64_t qmin, int64_t qmax) {
  if (qmin >= -128 && qmax <= 127 && qmin < qmax) return {};
  return fail(Code::option, "%s: -128 <= qmin < qmax <= 127 must hold, got qmin %lld, qmax %lld", op, static_cast<long long>(qmin),
              static_cast<long long>(qmax));
}

int64_t groups_of(const TensorRef& scale, const TensorRef& zero) {
  return zero.present() && zero.shape[1] > scale.shape[1] ? zero.shape[1] : scale.shape[1];
}

struct Limits {
  float scale, lo, hi;  // codes less zero
};

void masked(const float* x, const float* dy, float* dx, int64_t n, const Limits& at) {
  const float lo = at.lo - 0.5f, hi = at.hi + 0.5f;
  for (int64_t i = 0; i < n; i++) {
    const float v = x[i] / at.scale;
    dx[i] = (v >= lo) & (v <= hi) ? dy[i] : 0.0f;
  }
}

// The same and the sum for the scale; lanes are summed apart so that the compiler may use vectors.
double learned(const float* x, const float* dy, float* dx, int64_t n, const Limits& at) {
  const float lo = at.lo - 0.5f, hi = at.hi + 0.5f, magic = 12582912.0f;
  float lanes[8] = {};
  auto one = [&](int64_t i) {
    const float v = x[i] / at.scale;
    float c = v > at.lo ? v : at.lo;
    c = c < at.hi ? c : at.hi;
    const bool inside = (v >= lo) & (v <= hi);
    dx[i] = inside ? dy[i] : 0.0f;
    return dy[i] * (((c + magic) - magic) - (inside ? v : 0.0f));
  };
  int64_t i = 0;
  for (; i + 8 <= n; i += 8)
    for (int64_t j = 0; j < 8; j++) lanes[j] += one(i + j);
  for (; i < n; i++) lanes[0] += one(i);
  double sum = 0;
  for (const float lane : lanes) sum += static_cast<double>(lane);
  return sum;
}

}  // namespace

Status fake_quantize_rows_infer(fake_quantize_rows_args& a) {
  TERSOR_TRY(expect_dtype("fake_quantize_rows", "x", a.x, DType::f32));
  TERSOR_TRY(expect_rank("fake_quantize_rows", "x", a.x, 2));
  TERSOR_TRY(check_pair("fake_quantize_rows", a.scale, a.zero, a.x));
  TERSOR_TRY(check_codes("fake_quantize_rows", a.qmin, a.qmax));
  set_shape(a.y, DType::f32, a.x.shape, 2);
  return {};
}

Status fake_quantize_rows_cpu(fake_quantize_rows_args& a, Context& ctx) {
  TERSOR_TRY(check_scales("fake_quantize_rows", a.scale));
  TERSOR_TRY(check_zeros("fake_quantize_rows", a.zero));
  const int64_t rows = a.x.shape[0], cols = a.x.shape[1], none = rows * cols;
  Contiguous x;
  TERSOR_TRY(x.open("fake_quantize_rows", a.x, ctx.cancel));
  const Factor scale{a.scale}, zero{a.zero};
  const QuantKernels& kernels = quant_kernels();
  std::atomic<int64_t> bad{none};
  TERSOR_TRY(for_runs(rows, cols, groups_of(a.scale, a.zero), ctx.cancel, [&](int64_t row, int64_t group, int64_t first, int64_t n) {
    int8_t codes[kPiece];
    QuantArgs args{};
    args.scale = scale.at(row, group);
    args.zero = a.zero.present() ? zero.at(row, group) : 0;
    args.qmin = static_cast<float>(a.qmin);
    args.qmax = static_cast<float>(a.qmax);
    for (int64_t c = 0; c < n; c += kPiece) {
      const int64_t at = row * cols + first + c;
      args.n = n - c < kPiece ? n - c : kPiece;
      args.in = x.as<float>() + at;
      args.out = codes;
      const int64_t nan = kernels.quantize(args);
      args.in = codes;
      args.out = a.y.as<float>() + at;
      kernels.dequantize(args);
      if (nan < 0) continue;
      int64_t seen = bad.load();
      while (at + nan < seen && !bad.compare_exchange_weak(seen, at + nan)) {
      }
    }
  }));
  const int64_t i = bad.load();
  if (i == none) return {};
  return fail(Code::numeric, "fake_quantize_rows: x is NaN at [%lld,%lld] (x: %s)", static_cast<long long>(i / cols),
              static_cast<long long>(i % cols), TERSOR_TEXT(a.x));
}

Status fake_quantize_rows_grad_infer(fake_quantize_rows_grad_args& a) {
  const char* op = "fake_quantize_rows_grad";
  TERSOR_TRY(expect_dtype(op, "x", a.x, DType::f32));
  TERSOR_TRY(expect_rank(op, "x", a.x, 2));
  TERSOR_TRY(expect_dtype(op, "dy", a.dy, DType::f32));
  TERSOR_TRY(expect_shape(op, "dy", a.dy, a.x.shape, 2));
  TERSOR_TRY(check_pair(op, a.scale, a.zero, a.x));
  TERSOR_TRY(check_codes(op, a.qmin, a.qmax));
  if (a.zero.present() && a.zero.shape[1] > a.scale.shape[1])
    return fail(Code::shape, "%s: zero must not have more groups than scale, got %s and %s", op, TERSOR_TEXT(a.zero), TERSOR_TEXT(a.scale));
  set_shape(a.dx, DType::f32, a.x.shape, 2);
  set_shape(a.dscale, DType::f32, a.scale.shape, 2);
  return {};
}

Status fake_quantize_rows_grad_cpu(fake_quantize_rows_grad_args& a, Context& ctx) {
  const char* op = "fake_quantize_rows_grad";
  TERSOR_TRY(check_scales(op, a.scale));
  TERSOR_TRY(check_zeros(op, a.zero));
  const int64_t rows = a.x.shape[0], cols = a.x.shape[1], groups = a.scale.shape[1], lead = a.scale.shape[0];
  for (int64_t i = 0; i < lead * groups; i++) a.dscale.as<float>()[i] = 0;
  if (rows == 0 || cols == 0) return {};
  Contiguous x, dy;
  TERSOR_TRY(x.open(op, a.x, ctx.cancel));
  TERSOR_TRY(dy.open(op, a.dy, ctx.cancel));
  const Factor scale{a.scale}, zero{a.zero};
  // A sum for each piece of each run; a run begins a new piece.
  const int64_t run = (cols + groups - 1) / groups, pieces = (run + kQuantBlock - 1) / kQuantBlock;
  Scratch sums;
  if (a.learned) TERSOR_TRY(sums.reserve(op, rows * groups * pieces * static_cast<int64_t>(sizeof(double))));
  const int64_t cost = run < kQuantBlock ? run : kQuantBlock;
  TERSOR_TRY(parallel_for(rows * groups * pieces, grain_for(cost), ctx.cancel, [&](int64_t begin, int64_t end) {
    for (int64_t task = begin; task < end; task++) {
      const int64_t row = task / (groups * pieces), group = task / pieces % groups, stop = (group + 1) * run < cols ? (group + 1) * run : cols;
      const int64_t from = group * run + task % pieces * kQuantBlock;
      const int64_t to = from + kQuantBlock < stop ? from + kQuantBlock : stop;
      const float z = a.zero.present() ? zero.at(row, group) : 0;
      const Limits at{scale.at(row, group), static_cast<float>(a.qmin) - z, static_cast<float>(a.qmax) - z};
      double sum = 0;
      for (int64_t c = from; c < to; c += kPiece) {
        const int64_t i = row * cols + c, n = to - c < kPiece ? to - c : kPiece;
        if (a.learned)
          sum += learned(x.as<float>() + i, dy.as<float>() + i, a.dx.as<float>() + i, n, at);
        else
          masked(x.as<float>() + i, dy.as<float>() + i, a.dx.as<float>() + i, n, at);
      }
      if (a.learned) sums.as<double>()[task] = sum;
    }
  }));
  if (!a.learned) return {};
  for (int64_t l = 0; l < lead; l++)
    for (int64_t g = 0; g < groups; g++) {
      double sum = 0;
      for (int64_t row = lead == 1 ? 0 : l; row < (lead == 1 ? rows : l + 1); row++)
        for (int64_t p = 0; p < pieces; p++) sum += sums.as<double>()[(row * groups + g) * pieces + p];
      a.dscale.as<float>()[l * groups + g] = static_cast<float>(sum);
    }
  return {};
}

}  // namespace tersor
