// range_rows, quantize_rows, dequantize_rows, fake_quantize_rows (contracts: ops/quantize_rows.cc, ops/fake_quantize_rows.cc); its gradient is in
// fake_quantize_grad.cu. Same arithmetic in the same order as on the CPU, so the same bits (range_rows but for the sign of a zero).
// Four elements a thread and access, four of them on their way; bytes: range_rows 4 n, quantize_rows and dequantize_rows 5 n, fake_quantize_rows 8 n, and the
// scales. NaN, and scales or zeros that are none, are reported at the next wait.
#include "cuda/quantize.h"

#include "cuda/bitset.h"
#include "cuda/collect.h"

namespace tersor {
namespace cuda {
namespace {

constexpr int64_t kRangePiece = 8192;  // elements of a run that a block reduces

// lanes threads a piece; partial results by (run, piece).
template <class T, int lanes>
__global__ void __launch_bounds__(256) range_kernel(const T* x, int64_t cols, int64_t groups, int64_t run, int64_t pieces, int64_t items, T* lo, T* hi) {
  const int lane = static_cast<int>(threadIdx.x) % lanes;
  const int64_t item = int64_t(blockIdx.x) * (256 / lanes) + static_cast<int>(threadIdx.x) / lanes;
  T low = T(INFINITY), high = T(-INFINITY);
  if (item < items) {
    const int64_t at = item / pieces, row = at / groups, first = at % groups * run, n = first + run < cols ? run : cols - first;
    const int64_t begin = item % pieces * kRangePiece, end = begin + kRangePiece < n ? begin + kRangePiece : n;
    const T* from = x + row * cols + first;
    TERSOR_UNROLL
    for (int64_t i = begin + lane * 4; i < end; i += lanes * 4) {
      T v[4];
      load_four(from, i, end, v);
      for (int c = 0; c < 4; c++)
        if (i + c < end) low = Smallest{}(low, v[c]), high = Largest{}(high, v[c]);
    }
  }
  if constexpr (lanes == 256) {
    low = block_reduce<256>(low, Smallest{}, T(INFINITY)), high = block_reduce<256>(high, Largest{}, T(-INFINITY));
  } else {
    low = warp_reduce<lanes>(low, Smallest{}), high = warp_reduce<lanes>(high, Largest{});
  }
  if (item < items && lane == 0) lo[item] = low, hi[item] = high;
}

// Pieces of a run, by a warp.
template <class T> __global__ void __launch_bounds__(256) join_ranges_kernel(const T* lows, const T* highs, int64_t runs, int64_t pieces, T* lo, T* hi) {
  for (int64_t r = warp_of_grid(); r < runs; r += warps_of_grid()) {
    T low = T(INFINITY), high = T(-INFINITY);
    for (int64_t p = lane_id(); p < pieces; p += 32) low = Smallest{}(low, lows[r * pieces + p]), high = Largest{}(high, highs[r * pieces + p]);
    low = warp_reduce<32>(low, Smallest{}), high = warp_reduce<32>(high, Largest{});
    if (lane_id() == 0) lo[r] = low, hi[r] = high;
  }
}

template <class T> Status ranges(Stream& s, range_rows_args& a, const T* x) {
  const int64_t rows = a.x.shape[0], cols = a.x.shape[1], run = ceil_div(cols, a.groups), pieces = ceil_div(run, kRangePiece), runs = rows * a.groups;
  T *lo = a.lo.as<T>(), *hi = a.hi.as<T>();
  if (run <= 64) return launch<range_kernel<T, 8>>(s, ceil_div(runs, int64_t(32)), 256, 0, x, cols, a.groups, run, int64_t(1), runs, lo, hi);
  if (run <= 1024) return launch<range_kernel<T, 32>>(s, ceil_div(runs, int64_t(8)), 256, 0, x, cols, a.groups, run, int64_t(1), runs, lo, hi);
  if (pieces == 1) return launch<range_kernel<T, 256>>(s, runs, 256, 0, x, cols, a.groups, run, pieces, runs, lo, hi);
  T *lows, *highs;
  TERSOR_TRY(s.scratch(runs * pieces, &lows));
  TERSOR_TRY(s.scratch(runs * pieces, &highs));
  TERSOR_TRY((launch<range_kernel<T, 256>>(s, runs * pieces, 256, 0, x, cols, a.groups, run, pieces, runs * pieces, lows, highs)));
  return launch<join_ranges_kernel<T>>(s, blocks_for(s, runs, 8), 256, 0, lows, highs, runs, pieces, lo, hi);
}

// The code of x, as a float; NaN gives anything.
__device__ inline float code_of(float x, float scale, float zero, float qmin, float qmax) {
  const float lo = qmin - zero, hi = qmax - zero, magic = 12582912.0f;  // 1.5 * 2^23: adding it rounds half to even
  float t = x / scale;
  t = t > lo ? t : lo;
  t = t < hi ? t : hi;
  return (t + magic) - magic + zero;
}
__device__ inline double code_of(double x, float scale, float zero, float qmin, float qmax) {
  const double z = static_cast<double>(zero), lo = static_cast<double>(qmin) - z, hi = static_cast<double>(qmax) - z, magic = 6755399441055744.0;
  double t = x / static_cast<double>(scale);
  t = t > lo ? t : lo;
  t = t < hi ? t : hi;
  return (t + magic) - magic + z;
}

struct ToCodes {
  template <class T> __device__ int8_t operator()(T x, float scale, float zero, float qmin, float qmax) const { return static_cast<int8_t>(code_of(x, scale, zero, qmin, qmax)); }
};
struct ToValues {
  __device__ float operator()(float x, float scale, float zero, float qmin, float qmax) const { return (code_of(x, scale, zero, qmin, qmax) - zero) * scale; }
};
struct FromCodes {
  __device__ float operator()(int8_t q, float scale, float zero, float, float) const { return (static_cast<float>(q) - zero) * scale; }
};

template <class F, class In, class Out>
__global__ void __launch_bounds__(256) map_kernel(const In* x, int64_t n, const RowGroups g, float qmin, float qmax, bool checked, const RuleCheck nan, const RuleCheck factors, Out* y) {
  const int64_t first = (int64_t(blockIdx.x) * 1024 + threadIdx.x) * 4;
  In v[4][4];
  TERSOR_UNROLL
  for (int u = 0; u < 4; u++) load_four(x, first + u * 1024, n, v[u]);
  TERSOR_UNROLL
  for (int u = 0; u < 4; u++) {
    const int64_t i = first + u * 1024;
    if (i >= n) break;
    RunOfElement run = g.at(i);
    float scale = g.scale_of(run), zero = g.zero_of(run);
    if (checked && !g.fits(scale, zero)) factors.report(i);
    Out out[4];
    TERSOR_UNROLL
    for (int c = 0; c < 4; c++) {
      if (c >= run.left && i + c < n) {  // the next run begins here
        run = g.at(i + c);
        run.left += c;
        scale = g.scale_of(run), zero = g.zero_of(run);
        if (checked && !g.fits(scale, zero)) factors.report(i + c);
      }
      if (checked && v[u][c] != v[u][c] && i + c < n) nan.report(i + c);
      out[c] = F{}(v[u][c], scale, zero, qmin, qmax);
    }
    store_four(y, i, n, out);
  }
}

template <class F, class In, class Out>
Status map(Stream& s, const TensorRef& x, const TensorRef& scale, const TensorRef& zero, int64_t qmin, int64_t qmax, const char* nan_rule, const char* factor_rule, Out* y) {
  const int64_t n = x.size();
  if (n == 0) return {};
  TensorRef in;
  RowGroups g;
  RuleCheck nan, factors;
  TERSOR_TRY(dense(s, x, &in));
  TERSOR_TRY(g.open(s, x, scale, zero));
  if (nan_rule) {
    TERSOR_TRY(nan.open(s, Code::numeric, nan_rule));
    TERSOR_TRY(factors.open(s, Code::numeric, factor_rule));
  }
  return launch<map_kernel<F, In, Out>>(s, ceil_div(n, int64_t(4096)), 256, 0, in.as<const In>(), n, g, static_cast<float>(qmin), static_cast<float>(qmax), nan_rule != nullptr, nan,
                                        factors, y);
}

}  // namespace

Status range_rows_cuda(Stream& s, range_rows_args& a) {
  if (a.x.shape[0] == 0) return {};
  TensorRef x;
  TERSOR_TRY(dense(s, a.x, &x));
  return x.dtype == DType::f64 ? ranges(s, a, x.as<const double>()) : ranges(s, a, x.as<const float>());
}

Status quantize_rows_cuda(Stream& s, quantize_rows_args& a) {
  const char *nan = "quantize_rows: x must not be NaN", *factors = TERSOR_FACTOR_RULE("quantize_rows");
  if (a.x.dtype == DType::f64) return map<ToCodes, double>(s, a.x, a.scale, a.zero, a.qmin, a.qmax, nan, factors, a.q.as<int8_t>());
  return map<ToCodes, float>(s, a.x, a.scale, a.zero, a.qmin, a.qmax, nan, factors, a.q.as<int8_t>());
}

Status dequantize_rows_cuda(Stream& s, dequantize_rows_args& a) { return map<FromCodes, int8_t>(s, a.q, a.scale, a.zero, 0, 0, nullptr, nullptr, a.x.as<float>()); }

Status fake_quantize_rows_cuda(Stream& s, fake_quantize_rows_args& a) {
  return map<ToValues, float>(s, a.x, a.scale, a.zero, a.qmin, a.qmax, "fake_quantize_rows: x must not be NaN", TERSOR_FACTOR_RULE("fake_quantize_rows"), a.y.as<float>());
}

}  // namespace cuda
}  // namespace tersor
