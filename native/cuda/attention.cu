// attention, f32 or f64: semantics of ops/attention.cc. Flash-style (Dao et al. 2022): a block takes R queries of a head and passes over the keys R at a time;
// the scores exist in registers and shared memory only, a row keeps its largest score and its sum (Milakov, Gimelshein 2018). The two products are fused
// multiply-adds of f32 (exact in the sense of IEEE; tensor cores would round the operands), so the limit is the chip's f32 rate: 4 T S D flops.
#include "cuda/kernels.h"
#include "cuda/attention.h"

namespace tersor {
namespace cuda {
namespace {

// Largest value, or sum, over the 16 threads that share rows of a tile.
template <class T> __device__ T row_max(T v) {
  for (int d = kSide / 2; d > 0; d /= 2) {
    const T other = __shfl_xor_sync(0xffffffffu, v, d);
    v = other > v ? other : v;
  }
  return v;
}
template <class T> __device__ T row_sum(T v) {
  for (int d = kSide / 2; d > 0; d /= 2) v += __shfl_xor_sync(0xffffffffu, v, d);
  return v;
}

// grid: x tile of queries of one head, y slice of E columns of the result
template <class T, int E> __global__ void __launch_bounds__(kSide * kSide) attention_tiles(AttentionCall<T> a) {
  constexpr int R = TileOf<T>::kRows, N = R / kSide, W = E / kSide, kPitch = R + 4;
  TERSOR_SHARED(T, staging, staging_elements(R, E));
  TERSOR_SHARED(T, weights, R * kPitch);
  TERSOR_SHARED(uint8_t, alive, R * R);
  const int tx = static_cast<int>(threadIdx.x % kSide), ty = static_cast<int>(threadIdx.x / kSide);
  const int64_t tiles = (a.queries + R - 1) / R, pair = blockIdx.x / tiles, b = pair / a.heads, h = pair % a.heads;
  const int64_t i0 = blockIdx.x % tiles * R, e0 = static_cast<int64_t>(blockIdx.y) * E, rows = a.queries - i0 < R ? a.queries - i0 : R;
  const T* q = a.q.at(b, h, i0);

  T acc[N][W] = {}, top[N], sum[N];
  TERSOR_UNROLL
  for (int i = 0; i < N; i++) top[i] = static_cast<T>(-INFINITY), sum[i] = T(0);
  const int64_t seen = a.limit(i0 + rows - 1);
  for (int64_t j0 = 0; j0 < seen; j0 += R) {
    const int64_t columns = seen - j0 < R ? seen - j0 : R;
    T s[N][N];
    tile_products<T, R>(q, a.q.row, rows, a.k.at(b, h, j0), a.k.row, columns, a.depth, staging, s);
    if (a.keep < 1.0f) {
      draw_alive<T, R>(a, b, h, i0, j0, alive);
      __syncthreads();
    }
    TERSOR_UNROLL
    for (int i = 0; i < N; i++) {
      T m = static_cast<T>(-INFINITY);
      TERSOR_UNROLL
      for (int j = 0; j < N; j++) {
        s[i][j] = a.score(b, h, i0 + ty * N + i, j0 + tx * N + j, s[i][j]);
        m = s[i][j] > m ? s[i][j] : m;  // a NaN leaves it; the sum takes note
      }
      m = row_max(m);
      m = m > top[i] ? m : top[i];
      const T shift = m > static_cast<T>(-INFINITY) ? m : T(0);
      const T factor = !(top[i] > static_cast<T>(-INFINITY)) ? T(0) : top[i] == m ? T(1) : exp_of(top[i] - m);
      T total = T(0);
      TERSOR_UNROLL
      for (int j = 0; j < N; j++) {
        T p = exp_of(s[i][j] - shift);
        total += p;
        if (a.keep < 1.0f && !alive[(ty * N + i) * R + tx * N + j]) p = T(0);
        weights[(tx * N + j) * kPitch + ty * N + i] = p;
      }
      sum[i] = fma_of(sum[i], factor, row_sum(total));
      top[i] = m;
      TERSOR_UNROLL
      for (int w = 0; w < W; w++) acc[i][w] *= factor;
    }
    tile_update<T, R, E>(weights, a.v.at(b, h, j0) + e0, a.v.row, columns, a.width - e0, staging, acc);
  }

  TERSOR_UNROLL
  for (int i = 0; i < N; i++) {
    const int64_t r = ty * N + i;
    if (r >= rows) break;
    if (blockIdx.y == 0 && tx == 0) a.lse[pair * a.queries + i0 + r] = sum[i] == T(0) ? static_cast<T>(INFINITY) : top[i] + log_of(sum[i]);
    const T share = sum[i] == T(0) ? T(0) : T(1) / (sum[i] * static_cast<T>(a.keep));
    T* out = a.out.at(b, h, i0 + r) + e0;
    TERSOR_UNROLL
    for (int w = 0; w < W; w++)
      if (e0 + slice_column(tx, w) < a.width) out[slice_column(tx, w)] = acc[i][w] * share;
  }
}

template <class T, int E> Status run_attention(Stream& stream, const AttentionCall<T>& a) {
  constexpr int64_t R = TileOf<T>::kRows;
  const int64_t slices = (a.width + E - 1) / E;
  const Grid grid{a.batch * a.heads * ((a.queries + R - 1) / R), slices < 1 ? 1 : slices};
  return launch<attention_tiles<T, E>>(stream, grid, kSide * kSide, 0, a);
}

}  // namespace

Status attention(Stream& stream, attention_args& x) {
  if (x.lse.size() == 0) return {};
  if (x.q.dtype == DType::f64) {
    AttentionCall<double> a{};
    TERSOR_TRY(open_attention(stream, x, &a));
    a.out = head_rows<double>(x.y, x.heads), a.lse = x.lse.as<double>();
    return run_attention<double, 64>(stream, a);
  }
  AttentionCall<float> a{};
  TERSOR_TRY(open_attention(stream, x, &a));
  a.out = head_rows<float>(x.y, x.heads), a.lse = x.lse.as<float>();
  return a.width <= 64 ? run_attention<float, 64>(stream, a) : run_attention<float, 128>(stream, a);
}

}  // namespace cuda
}  // namespace tersor
