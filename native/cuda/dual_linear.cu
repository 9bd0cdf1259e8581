// dual_linear (contract: ops/dual_linear.cc, ops/dual_run.h) with f32 values in the little product: y = L (P x) + bias everywhere, then the exact product where
// an output is sensitive. Nothing waits: which outputs these are, and how many, stays on the device; blocks beyond the end of a list stop at once.
//   select  a block per row of x: by thresholds, or by radix selection of exactly so many keys (as topk_mask_rows), then the list in order
//   exact   a warp per entry; no row of w is read but those of the lists
// Packed codes in `little` have no row in the table yet: the op is then ERR_UNSUPPORTED on a device.
#include "cuda/collect.h"
#include "cuda/bitset.h"
#include "cuda/dense_product.h"
#include "cuda/keys.h"
#include "cuda/rows_dot.h"

namespace tersor {
namespace cuda {
namespace {

struct Rule {
  int64_t exactly;  // insensitive outputs; -1: by the threshold
  bool below;
  const float* threshold;
};

// list [m, n] and count [m]: sensitive outputs of each row, ascending; answered[i] = n - count.
__global__ void __launch_bounds__(256) select_kernel(const float* y, int64_t m, int64_t n, const Rule rule, int32_t* list, int32_t* count, int32_t* answered) {
  TERSOR_SHARED(unsigned, counts, 256);
  TERSOR_SHARED(int, found, 1);
  TERSOR_SHARED(long long, over, 1);
  const int t = threadIdx.x;
  for (int64_t row = blockIdx.x; row < m; row += gridDim.x) {
    const float* from = y + row * n;
    const bool by_rank = rule.exactly > 0 && rule.exactly < n;
    uint32_t key_at = 0;
    long long above = 0;
    for (int lower = 24; by_rank && lower >= 0; lower -= 8) {
      counts[t] = 0;
      __syncthreads();
      for (int64_t i = t; i < n; i += 256) {
        const uint32_t key = key_of(rule.below ? -from[i] : from[i], !rule.below);
        if (lower == 24 || key >> (lower + 8) == key_at) atomicAdd(&counts[(key >> lower) & 255], 1u);
      }
      __syncthreads();
      if (t < 32) {
        long long sum = above;
        const int bin = find_from_top(counts, 256, static_cast<long long>(rule.exactly) - 1, &sum);
        if (t == 0) found[0] = bin, over[0] = sum;
      }
      __syncthreads();
      key_at = key_at << 8 | static_cast<uint32_t>(found[0]);
      above = over[0];
    }
    int left = static_cast<int>(by_rank ? rule.exactly - above : 0), at = 0, all = 0;
    const float threshold = rule.exactly < 0 ? rule.threshold[0] : 0.0f;
    for (int64_t base = 0; base < n; base += 256) {
      const int64_t i = base + t;
      const float v = i < n ? from[i] : 0.0f;
      const uint32_t key = key_of(rule.below ? -v : v, !rule.below);
      const int tie = by_rank && i < n && key == key_at;
      const int ties_until = block_scan<256>(tie, &all);
      bool sensitive = v != v;  // all outputs are the twin's but those
      if (rule.exactly == 0) sensitive = true;
      else if (rule.exactly < 0) sensitive = rule.below ? !(v < threshold) : !(fabsf(v) > threshold);
      else if (by_rank) sensitive = key == 0 || !(key > key_at || (tie && ties_until <= left));
      left -= all;
      const int mine = sensitive && i < n, until = block_scan<256>(mine, &all);
      if (mine) list[row * n + at + until - 1] = static_cast<int32_t>(i);
      at += all;
    }
    if (t == 0) count[row] = at, answered[row] = static_cast<int32_t>(n - at);
  }
}

template <class V>
__global__ void __launch_bounds__(256) exact_kernel(const V* w, int64_t w_row, const float* x, int64_t k, int64_t n, const float* scale, const float* bias, const int32_t* list,
                                                    const int32_t* count, int64_t m, float* y) {
  const int64_t entry = warp_of_grid();
  const int lane = lane_id();
  for (int64_t i = blockIdx.y; i < m; i += gridDim.y) {
    if (entry >= count[i]) continue;
    const int64_t row = list[i * n + entry];
    float sum = 0;
    for (int64_t at = lane * 4; at < k; at += 128) {
      V v[4];
      float u[4];
      load_four(w + row * w_row, at, k, v);
      load_four(x + i * k, at, k, u);
      TERSOR_UNROLL
      for (int c = 0; c < 4; c++) sum = fmaf(u[c], static_cast<float>(v[c]), sum);
    }
    sum = warp_sum(sum);
    if (scale) sum = sum * scale[row];
    if (bias) sum = sum + bias[row];
    if (lane == 0) y[i * n + row] = sum;
  }
}

}  // namespace

Status dual_linear_cuda(Stream& s, dual_linear_args& a) {
  const int64_t n = a.w.shape[0], cols = a.w.shape[1], m = a.count.shape[0];
  if (m == 0) return {};
  if (n == 0) return s.fill(a.count.data, 0, m * 4);
  TensorRef x, w = a.w, scale, bias, projection, little, threshold;
  TERSOR_TRY(dense(s, a.x, &x));
  TERSOR_TRY(dense(s, a.threshold, &threshold));
  if (w.shape[1] > 1 && w.stride[1] != 1) TERSOR_TRY(dense(s, a.w, &w));
  if (a.scale.present()) TERSOR_TRY(dense(s, a.scale, &scale));
  if (a.bias.present()) TERSOR_TRY(dense(s, a.bias, &bias));
  const float* const add = a.bias.present() ? bias.as<const float>() : nullptr;
  if (a.insensitive != 0) {
    TERSOR_TRY(dense(s, a.little, &little));
    const float* p = x.as<const float>();
    if (a.projection.present()) {
      TERSOR_TRY(dense(s, a.projection, &projection));
      TERSOR_TRY(packed_place("dual_linear: projection", projection));
      float* projected;
      TERSOR_TRY(s.scratch(m * a.k, &projected));
      TERSOR_TRY(ternary_project(s, p, m, projection.as<const uint8_t>(), a.k, cols, projected));
      p = projected;
    }
    TERSOR_TRY(dense_product(s, DenseProduct<float>{m, n, a.k, p, a.k, 1, little.as<const float>(), 1, a.k, a.y.as<float>(), n, add}));
  }
  int32_t *list, *count;
  TERSOR_TRY(s.scratch(m * n, &list));
  TERSOR_TRY(s.scratch(m, &count));
  TERSOR_TRY(launch<select_kernel>(s, blocks_for(s, m, 1), 256, 0, a.y.as<const float>(), m, n, Rule{a.insensitive, a.below, threshold.as<const float>()}, list, count,
                                   a.count.as<int32_t>()));
  const Grid grid(ceil_div(n, int64_t(8)), m < 65535 ? m : 65535);
  const float* const steps = a.scale.present() ? scale.as<const float>() : nullptr;
  if (w.dtype == DType::i8)
    return launch<exact_kernel<int8_t>>(s, grid, 256, 0, w.as<const int8_t>(), w.stride[0], x.as<const float>(), cols, n, steps, add, list, count, m, a.y.as<float>());
  return launch<exact_kernel<float>>(s, grid, 256, 0, w.as<const float>(), w.stride[0], x.as<const float>(), cols, n, steps, add, list, count, m, a.y.as<float>());
}

}  // namespace cuda
}  // namespace tersor
