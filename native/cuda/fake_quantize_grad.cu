// fake_quantize_rows_grad (contract: ops/fake_quantize_rows.cc). dx alone is one pass, 12 n bytes. With a learned scale the sums are those of the CPU, bit by
// bit: pieces of 1024 elements of a run, eight chains in f32 (element i to chain i mod 8, what is left over to chain 0), added up in f64 in order; so eight
// threads take a piece, and pieces are added one after the other.
#include "cuda/bitset.h"
#include "cuda/quantize.h"

namespace tersor {
namespace cuda {
namespace {

constexpr int64_t kGradPiece = 1024, kBlock = 16384;

__device__ inline bool is_inside(float v, float lo, float hi) { return v >= lo - 0.5f && v <= hi + 0.5f; }

__global__ void __launch_bounds__(256) masked_kernel(const float* x, const float* dy, int64_t n, const RowGroups g, float qmin, float qmax, const RuleCheck factors, float* dx) {
  const int64_t step = int64_t(gridDim.x) * 1024;
  for (int64_t i = (int64_t(blockIdx.x) * 256 + threadIdx.x) * 4; i < n; i += step) {
    float v[4], d[4];
    load_four(x, i, n, v);
    load_four(dy, i, n, d);
    RunOfElement run = g.at(i);
    float scale = g.scale_of(run), zero = g.zero_of(run);
    TERSOR_UNROLL
    for (int c = 0; c < 4; c++) {
      if (c >= run.left && i + c < n) {
        run = g.at(i + c);
        run.left += c;
        scale = g.scale_of(run), zero = g.zero_of(run);
      }
      if (!g.fits(scale, zero)) factors.report(i + c);
      d[c] = is_inside(v[c] / scale, qmin - zero, qmax - zero) ? d[c] : 0.0f;
    }
    store_four(dx, i, n, d);
  }
}

// A piece: of run (row, group), block b of 16384, part p of 1024. sums[run][b][p].
__global__ void __launch_bounds__(256) learned_kernel(const float* x, const float* dy, int64_t runs, int64_t groups, int64_t blocks, const RowGroups g, float qmin, float qmax,
                                                      const RuleCheck factors, float* dx, double* sums) {
  const int64_t parts = kBlock / kGradPiece, item = (int64_t(blockIdx.x) * 256 + threadIdx.x) / 8;
  const int chain = static_cast<int>(threadIdx.x) % 8;
  const bool live = item < runs * blocks * parts;
  float sum = 0;
  if (live) {
    const int64_t at = item / (blocks * parts), row = at / groups, group = at % groups;
    const int64_t first = group * g.run, length = first + g.run < g.cols ? g.run : g.cols - first;
    const int64_t begin = item % (blocks * parts) * kGradPiece, n = begin >= length ? 0 : length - begin < kGradPiece ? length - begin : kGradPiece;
    const float scale = g.scale_of({row, group, 0}), zero = g.zero_of({row, group, 0}), lo = qmin - zero, hi = qmax - zero, magic = 12582912.0f;
    if (n > 0 && !g.fits(scale, zero)) factors.report(row * g.cols + first);
    const int64_t base = row * g.cols + first + begin, whole = n / 8 * 8;
    // Chain 0 takes what is left over, after its own.
    for (int64_t k = chain; k < whole || (chain == 0 && k < n); k += k < whole ? (k + 8 > whole ? whole - k : 8) : 1) {
      const float v = x[base + k] / scale, d = dy[base + k];
      float c = v > lo ? v : lo;
      c = c < hi ? c : hi;
      const bool inside = is_inside(v, lo, hi);
      dx[base + k] = inside ? d : 0.0f;
      sum += d * (((c + magic) - magic) - (inside ? v : 0.0f));
    }
  }
  double total = 0;
  for (int j = 0; j < 8; j++) total += static_cast<double>(__shfl_sync(kFullMask, sum, j, 8));
  if (live && chain == 0) sums[item] = total;
}

// dscale[l, group]: blocks of the rows of l, one after the other, each the sum of its parts. One warp each.
__global__ void __launch_bounds__(32) join_sums_kernel(const double* sums, int64_t rows, int64_t lead, int64_t groups, int64_t blocks, float* dscale) {
  const int64_t parts = kBlock / kGradPiece, out = blockIdx.x, l = out / groups, group = out % groups;
  const int64_t first = lead == 1 ? 0 : l, count = (lead == 1 ? rows : 1) * blocks;
  double total = 0;
  for (int64_t base = 0; base < count; base += 32) {
    const int64_t i = base + lane_id();
    double mine = 0;
    if (i < count) {
      const double* from = sums + (((first + i / blocks) * groups + group) * blocks + i % blocks) * parts;
      for (int p = 0; p < parts; p++) mine += from[p];
    }
    const int many = static_cast<int>(count - base < 32 ? count - base : 32);
    for (int j = 0; j < many; j++) total += __shfl_sync(kFullMask, mine, j);
  }
  if (lane_id() == 0) dscale[out] = static_cast<float>(total);
}

}  // namespace

Status fake_quantize_rows_grad_cuda(Stream& s, fake_quantize_rows_grad_args& a) {
  const int64_t rows = a.x.shape[0], cols = a.x.shape[1], groups = a.scale.shape[1], lead = a.scale.shape[0], n = rows * cols;
  if (n == 0 || !a.learned) TERSOR_TRY(s.fill(a.dscale.data, 0, lead * groups * 4));
  if (n == 0) return {};
  TensorRef x, dy;
  RowGroups g;
  RuleCheck factors;
  TERSOR_TRY(dense(s, a.x, &x));
  TERSOR_TRY(dense(s, a.dy, &dy));
  TERSOR_TRY(g.open(s, a.x, a.scale, a.zero));
  TERSOR_TRY(factors.open(s, Code::numeric, TERSOR_FACTOR_RULE("fake_quantize_rows_grad")));
  const float qmin = static_cast<float>(a.qmin), qmax = static_cast<float>(a.qmax);
  if (!a.learned)
    return launch<masked_kernel>(s, blocks_for(s, n, 1024, 16), 256, 0, x.as<const float>(), dy.as<const float>(), n, g, qmin, qmax, factors, a.dx.as<float>());
  const int64_t blocks = ceil_div(g.run, kBlock), items = rows * groups * blocks * (kBlock / kGradPiece);
  double* sums;
  TERSOR_TRY(s.scratch(items, &sums));
  TERSOR_TRY(launch<learned_kernel>(s, ceil_div(items, int64_t(32)), 256, 0, x.as<const float>(), dy.as<const float>(), rows * groups, groups, blocks, g, qmin, qmax, factors,
                                    a.dx.as<float>(), sums));
  return launch<join_sums_kernel>(s, lead * groups, 32, 0, sums, rows, lead, groups, blocks, a.dscale.as<float>());
}

}  // namespace cuda
}  // namespace tersor
