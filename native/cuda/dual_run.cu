// cuda/dual_run.h. select: a block per sample, by thresholds or by radix selection of exactly so many keys (as topk_mask_rows), then the list in order.
// exact: a warp per entry; no row of a weight is read but those of the lists.
#include "cuda/dual_run.h"

#include "cuda/bitset.h"
#include "cuda/collect.h"
#include "cuda/dense_product.h"
#include "cuda/kernels.h"
#include "cuda/keys.h"
#include "cuda/rows_dot.h"

namespace tersor {
namespace cuda {
namespace {

constexpr int64_t kLittleRows = 256;  // at a time: wgemm has another order of sums from 512 rows on

TensorRef ref(const void* data, int64_t rows, int64_t cols) {
  TensorRef t{};
  const int64_t shape[2] = {rows, cols};
  set_shape(t, DType::f32, shape, 2);
  t.data = const_cast<void*>(data);
  return t;
}

// Rows of k values, each `copies` times side by side.
__global__ void __launch_bounds__(256) repeat_kernel(const float* x, int64_t n, int64_t k, int64_t copies, float* y) {
  const int64_t step = int64_t(gridDim.x) * 256;
  for (int64_t i = thread_index(); i < n * copies; i += step) y[i] = x[i / (k * copies) * k + i % k];
}

__global__ void __launch_bounds__(256) select_kernel(const DualChoice choice, const DualLists lists) {
  TERSOR_SHARED(unsigned, counts, 256);
  TERSOR_SHARED(int, found, 1);
  TERSOR_SHARED(long long, over, 1);
  const DualRule& rule = choice.rule;
  const int t = threadIdx.x;
  const int64_t n = choice.rows;
  for (int64_t row = blockIdx.x; row < lists.m; row += gridDim.x) {
    if (choice.lengths && choice.step >= choice.lengths[row]) {
      if (t == 0) lists.count[row] = 0;
      continue;
    }
    const float* from = choice.y + row * choice.y_row;
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
    for (int64_t base = 0; base < n; base += 256) {
      const int64_t i = base + t;
      const float v = i < n ? from[i] : 0.0f, threshold = rule.exactly < 0 && i < n ? rule.thresholds[i / rule.run] : 0.0f;
      const uint32_t key = key_of(rule.below ? -v : v, !rule.below);
      const int tie = by_rank && i < n && key == key_at;
      const int ties_until = block_scan<256>(tie, &all);
      bool sensitive = v != v;  // all outputs are the twin's but those
      if (rule.exactly == 0) sensitive = true;
      else if (rule.exactly < 0) sensitive = rule.below ? !(v < threshold) : !(fabsf(v) > threshold);
      else if (by_rank) sensitive = key == 0 || !(key > key_at || (tie && ties_until <= left));
      left -= all;
      const int mine = sensitive && i < n, until = block_scan<256>(mine, &all);
      if (mine) lists.list[row * lists.room + at + until - 1] = static_cast<int32_t>(choice.first + i);
      at += all;
    }
    if (t == 0) lists.count[row] = at, choice.answered[row] += static_cast<int32_t>(n - at);
  }
}

template <class V> __device__ inline float dot_of(const DualPart& part, int64_t row, const float* x) {
  const V* const w = static_cast<const V*>(part.w) + row * part.w_row;
  float sum = 0;
  for (int64_t at = lane_id() * 4; at < part.k; at += 128) {
    V v[4];
    float u[4];
    load_four(w, at, part.k, v);
    load_four(x, at, part.k, u);
    TERSOR_UNROLL
    for (int c = 0; c < 4; c++) sum = fmaf(u[c], static_cast<float>(v[c]), sum);
  }
  sum = warp_sum(sum);
  return part.scale ? sum * part.scale[row] : sum;
}

// lists.list null: all `room` rows.
__global__ void __launch_bounds__(256) exact_kernel(const DualExact e, const DualLists lists) {
  const int64_t entry = warp_of_grid();
  for (int64_t i = blockIdx.y; i < lists.m; i += gridDim.y) {
    if (entry >= (lists.list ? lists.count[i] : lists.room)) continue;
    const int64_t row = lists.list ? lists.list[i * lists.room + entry] : entry;
    float dots[2] = {0, 0};
    TERSOR_UNROLL
    for (int p = 0; p < 2; p++)
      if (p < e.parts_n) dots[p] = e.parts[p].codes ? dot_of<int8_t>(e.parts[p], row, e.parts[p].x + i * e.parts[p].k) : dot_of<float>(e.parts[p], row, e.parts[p].x + i * e.parts[p].k);
    if (lane_id() != 0) continue;
    TERSOR_UNROLL
    for (int q = 0; q < 2; q++) {
      if (q >= e.sinks_n) break;
      const DualSink& sink = e.sinks[q];
      float in = sink.first < 0 ? 0.0f : sink.first == 0 ? dots[0] : dots[1], state = sink.second < 0 ? 0.0f : sink.second == 0 ? dots[0] : dots[1];
      if (sink.add[0]) in += sink.add[0][i * sink.add_row[0] + row];
      if (sink.add[1]) state += sink.add[1][i * sink.add_row[1] + row];
      sink.y[i * sink.y_row + row] = in + state;
    }
  }
}

}  // namespace

Status DualLittle::open(Stream& s, const char* op, const TensorRef& projection, const TensorRef& little, int64_t k, int64_t copies, int64_t rows, int64_t cols) {
  k_ = k, copies_ = copies, rows_ = rows, cols_ = cols;
  if (projection.present()) {
    TERSOR_TRY(dense(s, projection, &projection_));
    TERSOR_TRY(packed_place(op, projection_));
  }
  little_ = little;
  return little.dtype == DType::f32 ? dense(s, little, &little_) : Status{};
}

Status DualLittle::run(Stream& s, const float* x, int64_t m, const float* bias, float* y) const {
  const ScratchScope scope(s);
  const int64_t chunk = m < kLittleRows ? m : kLittleRows, wide = copies_ * k_;
  float *projected = nullptr, *repeated = nullptr;
  if (projection_.present()) TERSOR_TRY(s.scratch(chunk * k_, &projected));
  if (copies_ > 1) TERSOR_TRY(s.scratch(chunk * wide, &repeated));
  for (int64_t i = 0; i < m; i += chunk) {
    const ScratchScope inner(s);
    const int64_t rows = m - i < chunk ? m - i : chunk;
    const float* p = x + i * cols_;
    if (projected) {
      TERSOR_TRY(ternary_project(s, p, rows, projection_.as<const uint8_t>(), k_, cols_, projected));
      p = projected;
    }
    if (repeated) {
      TERSOR_TRY(launch<repeat_kernel>(s, blocks_for(s, rows * wide, 256), 256, 0, p, rows * k_, k_, copies_, repeated));
      p = repeated;
    }
    if (little_.dtype == DType::f32) {
      TERSOR_TRY(dense_product(s, DenseProduct<float>{rows, rows_, wide, p, wide, 1, little_.as<const float>(), 1, wide, y + i * rows_, rows_, bias}));
      continue;
    }
    wgemm_args a{};
    a.x = ref(p, rows, wide), a.packed = little_, a.out = rows_, a.act = activation::none, a.y = ref(y + i * rows_, rows, rows_);
    if (bias) set_shape(a.bias, DType::f32, &rows_, 1), a.bias.data = const_cast<float*>(bias);
    TERSOR_TRY(wgemm(s, a));
  }
  return {};
}

Status DualLists::open(Stream& s, int64_t samples, int64_t rows) {
  m = samples, room = rows;
  TERSOR_TRY(s.scratch(m * room, &list));
  return s.scratch(m, &count);
}

Status dual_select(Stream& s, const DualChoice& choice, const DualLists& lists) {
  return launch<select_kernel>(s, blocks_for(s, lists.m, 1), 256, 0, choice, lists);
}

Status DualPart::open(Stream& s, const TensorRef& weight, const TensorRef& steps) {
  TensorRef held = weight, factors;
  if (weight.shape[1] > 1 && weight.stride[1] != 1) TERSOR_TRY(dense(s, weight, &held));
  w = held.data, w_row = held.stride[0], k = weight.shape[1], codes = weight.dtype == DType::i8;
  if (!steps.present()) return {};
  TERSOR_TRY(dense(s, steps, &factors));
  scale = factors.as<const float>();
  return {};
}

Status dual_exact(Stream& s, const DualExact& exact, const DualLists& lists) {
  return launch<exact_kernel>(s, Grid(ceil_div(lists.room, int64_t(8)), lists.m < 65535 ? lists.m : 65535), 256, 0, exact, lists);
}
Status dual_all_rows(Stream& s, const DualExact& exact, int64_t m, int64_t rows) {
  DualLists all;
  all.m = m, all.room = rows;
  return dual_exact(s, exact, all);
}

}  // namespace cuda
}  // namespace tersor
