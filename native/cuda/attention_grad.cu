// attention_grad, f32 or f64: semantics and formulas of ops/attention_grad.cc. Scores and weights are computed again from lse, tile by tile (Dao et al. 2022,
// algorithm 4), once in blocks that own keys (dk, dv) and once in blocks that own queries (dq): seven products instead of five, and no atomics, so the sums have
// one order.
#include "cuda/kernels.h"
#include "cuda/attention.h"

namespace tersor {
namespace cuda {
namespace {

constexpr int kWarpsPerBlock = kThreads / 32;

// delta = sum of dy y over a row, a warp each.
template <class T> __global__ void attention_dots(AttentionCall<T> a) {
  const int64_t row = static_cast<int64_t>(blockIdx.x) * kWarpsPerBlock + threadIdx.x / 32;
  if (row >= a.batch * a.heads * a.queries) return;
  const int64_t pair = row / a.queries, i = row % a.queries;
  const T *y = a.y.at(pair / a.heads, pair % a.heads, i), *dy = a.dy.at(pair / a.heads, pair % a.heads, i);
  T sum = T(0);
  for (int64_t e = threadIdx.x % 32; e < a.width; e += 32) sum = fma_of(y[e], dy[e], sum);
  for (int d = 16; d > 0; d /= 2) sum += __shfl_xor_sync(0xffffffffu, sum, d);
  if (threadIdx.x % 32 == 0) a.delta[row] = sum;
}

// A thread's part of a tile: s becomes the weights that dv sees, d the slopes of the scores. rows and columns that are not there give 0.
template <class T, int R>
__device__ void slopes(const AttentionCall<T>& a, int64_t pair, int64_t i0, int64_t j0, const uint8_t* alive, T (&s)[R / kSide][R / kSide], T (&d)[R / kSide][R / kSide]) {
  constexpr int N = R / kSide;
  const int tx = static_cast<int>(threadIdx.x % kSide), ty = static_cast<int>(threadIdx.x / kSide);
  const T gain = T(1) / static_cast<T>(a.keep);
  TERSOR_UNROLL
  for (int i = 0; i < N; i++) {
    const int64_t row = i0 + ty * N + i;
    const T lse = row < a.queries ? a.lse[pair * a.queries + row] : static_cast<T>(INFINITY), delta = row < a.queries ? a.delta[pair * a.queries + row] : T(0);
    TERSOR_UNROLL
    for (int j = 0; j < N; j++) {
      const int64_t column = j0 + tx * N + j;
      const bool seen = lse != static_cast<T>(INFINITY) && column < a.limit(row);
      const T p = seen ? exp_of(a.score(pair / a.heads, pair % a.heads, row, column, s[i][j]) - lse) : T(0);
      T u = d[i][j], out = p;
      if (a.keep < 1.0f) {
        const bool kept = alive[(ty * N + i) * R + tx * N + j];
        u = kept ? u * gain : T(0);
        out = kept ? p * gain : T(0);
      }
      s[i][j] = out;
      d[i][j] = seen ? p * (u - delta) * a.scale : T(0);
    }
  }
}

// Both recomputed tiles: s = q k^T, d = dy v^T.
template <class T, int R>
__device__ void tile_slopes(const AttentionCall<T>& a, int64_t pair, int64_t i0, int64_t rows, int64_t j0, int64_t columns, T* staging, uint8_t* alive,
                            T (&s)[R / kSide][R / kSide], T (&d)[R / kSide][R / kSide]) {
  const int64_t b = pair / a.heads, h = pair % a.heads;
  if (a.keep < 1.0f) draw_alive<T, R>(a, b, h, i0, j0, alive);
  tile_products<T, R>(a.q.at(b, h, i0), a.q.row, rows, a.k.at(b, h, j0), a.k.row, columns, a.depth, staging, s);
  tile_products<T, R>(a.dy.at(b, h, i0), a.dy.row, rows, a.v.at(b, h, j0), a.v.row, columns, a.width, staging, d);
  slopes<T, R>(a, pair, i0, j0, alive, s, d);
}

// Row r of the tile is a query with `by_row`, else a key: what tile_update sums over must be its rows.
template <class T, int R> __device__ void put_tile(const T (&x)[R / kSide][R / kSide], bool by_row, T* tile) {
  constexpr int N = R / kSide, kPitch = R + 4;
  const int tx = static_cast<int>(threadIdx.x % kSide), ty = static_cast<int>(threadIdx.x / kSide);
  TERSOR_UNROLL
  for (int i = 0; i < N; i++)
    TERSOR_UNROLL
    for (int j = 0; j < N; j++) tile[by_row ? (ty * N + i) * kPitch + tx * N + j : (tx * N + j) * kPitch + ty * N + i] = x[i][j];
}

template <class T, int R, int E> __device__ void store_slice(const T (&acc)[R / kSide][E / kSide], T* to, int64_t row, int64_t rows, int64_t wide) {
  const int tx = static_cast<int>(threadIdx.x % kSide), ty = static_cast<int>(threadIdx.x / kSide);
  TERSOR_UNROLL
  for (int i = 0; i < R / kSide; i++) {
    if (ty * (R / kSide) + i >= rows) break;
    TERSOR_UNROLL
    for (int w = 0; w < E / kSide; w++)
      if (slice_column(tx, w) < wide) to[(ty * (R / kSide) + i) * row + slice_column(tx, w)] = acc[i][w];
  }
}

// grid: x tile of keys of one head, y slice of E columns of dk and dv
template <class T, int E> __global__ void __launch_bounds__(kSide * kSide, E <= 64 ? 2 : 1) attention_grad_keys(AttentionCall<T> a) {
  constexpr int R = TileOf<T>::kRows, N = R / kSide;
  TERSOR_SHARED(T, staging, staging_elements(R, E));
  TERSOR_SHARED(T, tile, R * (R + 4));
  TERSOR_SHARED(uint8_t, alive, R * R);
  const int64_t tiles = (a.keys + R - 1) / R, pair = blockIdx.x / tiles, b = pair / a.heads, h = pair % a.heads;
  const int64_t j0 = blockIdx.x % tiles * R, e0 = static_cast<int64_t>(blockIdx.y) * E, columns = a.keys - j0 < R ? a.keys - j0 : R;
  T dk[N][E / kSide] = {}, dv[N][E / kSide] = {};
  for (int64_t i0 = 0; i0 < a.queries; i0 += R) {
    const int64_t rows = a.queries - i0 < R ? a.queries - i0 : R;
    if (a.limit(i0 + rows - 1) <= j0) continue;
    T s[N][N], d[N][N];
    tile_slopes<T, R>(a, pair, i0, rows, j0, columns, staging, alive, s, d);
    put_tile<T, R>(s, true, tile);
    tile_update<T, R, E>(tile, a.dy.at(b, h, i0) + e0, a.dy.row, rows, a.width - e0, staging, dv);
    put_tile<T, R>(d, true, tile);
    tile_update<T, R, E>(tile, a.q.at(b, h, i0) + e0, a.q.row, rows, a.depth - e0, staging, dk);
  }
  store_slice<T, R, E>(dk, a.dk.at(b, h, j0) + e0, a.dk.row, columns, a.depth - e0);
  store_slice<T, R, E>(dv, a.dv.at(b, h, j0) + e0, a.dv.row, columns, a.width - e0);
}

// grid: x tile of queries of one head, y slice of E columns of dq
template <class T, int E> __global__ void __launch_bounds__(kSide * kSide, E <= 64 ? 2 : 1) attention_grad_queries(AttentionCall<T> a) {
  constexpr int R = TileOf<T>::kRows, N = R / kSide;
  TERSOR_SHARED(T, staging, staging_elements(R, E));
  TERSOR_SHARED(T, tile, R * (R + 4));
  TERSOR_SHARED(uint8_t, alive, R * R);
  const int64_t tiles = (a.queries + R - 1) / R, pair = blockIdx.x / tiles, b = pair / a.heads, h = pair % a.heads;
  const int64_t i0 = blockIdx.x % tiles * R, e0 = static_cast<int64_t>(blockIdx.y) * E, rows = a.queries - i0 < R ? a.queries - i0 : R;
  T dq[N][E / kSide] = {};
  const int64_t seen = a.limit(i0 + rows - 1);
  for (int64_t j0 = 0; j0 < seen; j0 += R) {
    const int64_t columns = seen - j0 < R ? seen - j0 : R;
    T s[N][N], d[N][N];
    tile_slopes<T, R>(a, pair, i0, rows, j0, columns, staging, alive, s, d);
    put_tile<T, R>(d, false, tile);
    tile_update<T, R, E>(tile, a.k.at(b, h, j0) + e0, a.k.row, columns, a.depth - e0, staging, dq);
  }
  store_slice<T, R, E>(dq, a.dq.at(b, h, i0) + e0, a.dq.row, rows, a.depth - e0);
}

template <class T, int E> Status run_attention_grad(Stream& stream, const AttentionCall<T>& a) {
  constexpr int64_t R = TileOf<T>::kRows;
  const int64_t pairs = a.batch * a.heads, wide = a.depth > a.width ? a.depth : a.width, slices = (wide + E - 1) / E, q_slices = (a.depth + E - 1) / E;
  TERSOR_TRY(launch<attention_dots<T>>(stream, Grid{blocks_for(pairs * a.queries, kWarpsPerBlock)}, kThreads, 0, a));
  TERSOR_TRY((launch<attention_grad_keys<T, E>>(stream, Grid{pairs * ((a.keys + R - 1) / R), slices}, kSide * kSide, 0, a)));
  return launch<attention_grad_queries<T, E>>(stream, Grid{pairs * ((a.queries + R - 1) / R), q_slices}, kSide * kSide, 0, a);
}

template <class T> Status backward(Stream& stream, attention_grad_args& x) {
  AttentionCall<T> a{};
  TERSOR_TRY(open_attention(stream, x, &a));
  TERSOR_TRY(open_heads(stream, x.y, x.heads, &a.y));
  TERSOR_TRY(open_heads(stream, x.dy, x.heads, &a.dy));
  const T* lse;
  TERSOR_TRY(open(stream, x.lse, &lse));
  a.lse = const_cast<T*>(lse);
  a.dq = head_rows<T>(x.dq, x.heads), a.dk = head_rows<T>(x.dk, x.heads), a.dv = head_rows<T>(x.dv, x.heads);
  TERSOR_TRY(stream.scratch(a.batch * a.heads * a.queries, &a.delta));
  return sizeof(T) == 8 || (a.depth <= 64 && a.width <= 64) ? run_attention_grad<T, 64>(stream, a) : run_attention_grad<T, sizeof(T) == 8 ? 64 : 128>(stream, a);
}

}  // namespace

Status attention_grad(Stream& stream, attention_grad_args& x) { return x.q.dtype == DType::f64 ? backward<double>(stream, x) : backward<float>(stream, x); }

}  // namespace cuda
}  // namespace tersor
