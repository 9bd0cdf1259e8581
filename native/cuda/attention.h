// What attention and its gradient share on the device: where rows lie, which scores are seen, dropout, and two products of tiles. A block has 16 x 16 threads; a
// tile of scores is R x R, a thread's part of it R / 16 rows by as many columns; results of width up to E are kept in registers (wider ones in slices).
#pragma once
#include "cuda/nn.h"
#include "cuda/philox.h"

namespace tersor {
namespace cuda {

// Row t of head h of example b at data + b * batch + h * head + t * row; its elements lie side by side.
template <class T> struct HeadRows {
  T* data;
  int64_t batch, head, row;
  __device__ T* at(int64_t b, int64_t h, int64_t t) const { return data + b * batch + h * head + t * row; }
};

template <class T> struct AttentionCall {
  int64_t batch, heads, queries, keys, depth, width;  // B H T S D E
  HeadRows<const T> q, k, v, y, dy;
  HeadRows<T> out, dq, dk, dv;
  const T *mask, *key_mask;
  int64_t mask_stride[4], key_mask_stride[2];
  T* lse;
  T* delta;
  T scale;
  float keep;
  uint64_t seed, stream;
  bool causal;

  // Keys that query i sees: [0, limit).
  __device__ int64_t limit(int64_t i) const {
    const int64_t seen = causal ? i + 1 + keys - queries : keys;
    return seen < keys ? seen : keys;
  }
  // The score of a product s, -infinity where it is hidden.
  __device__ T score(int64_t b, int64_t h, int64_t i, int64_t j, T s) const {
    if (i >= queries || j >= limit(i)) return static_cast<T>(-INFINITY);
    const T t = s * scale;
    if (!mask && !key_mask) return t;
    T added = T(0);
    if (key_mask && key_mask[b * key_mask_stride[0] + j * key_mask_stride[1]] == T(0)) added = static_cast<T>(-INFINITY);
    if (mask) added += mask[b * mask_stride[0] + h * mask_stride[1] + i * mask_stride[2] + j * mask_stride[3]];
    return added < static_cast<T>(-1e29) ? static_cast<T>(-INFINITY) : t + added;
  }
};

constexpr int kSide = 16, kChunkDepth = 32, kChunkRows = 16;
template <class T> struct TileOf;  // side of a tile of scores
template <> struct TileOf<float> { static constexpr int kRows = 64; };
template <> struct TileOf<double> { static constexpr int kRows = 32; };
__host__ __device__ constexpr int64_t staging_elements(int rows, int wide) {
  const int64_t pair = 2 * kChunkDepth * (rows + 4), chunk = static_cast<int64_t>(kChunkRows) * wide;
  return pair > chunk ? pair : chunk;
}

template <int N> __device__ inline void load_run(const float* p, float (&out)[N]) {
  if (N % 4 == 0) {
    TERSOR_UNROLL
    for (int i = 0; i < N; i += 4) {
      const float4 v = *reinterpret_cast<const float4*>(p + i);
      out[i] = v.x, out[i + 1] = v.y, out[i + 2] = v.z, out[i + 3] = v.w;
    }
  } else {
    TERSOR_UNROLL
    for (int i = 0; i < N; i++) out[i] = p[i];
  }
}
template <int N> __device__ inline void load_run(const double* p, double (&out)[N]) {
  TERSOR_UNROLL
  for (int i = 0; i < N; i++) out[i] = p[i];
}

// sum[i][j] = sum over d < depth of a[row i][d] b[row j][d]; a and b have a_count and b_count rows, others are taken as 0. `staging`: see staging_elements.
// Barriers: one before its first write and one after its last read.
template <class T, int R>
__device__ inline void tile_products(const T* a, int64_t a_row, int64_t a_count, const T* b, int64_t b_row, int64_t b_count, int64_t depth, T* staging,
                                     T (&sum)[R / kSide][R / kSide]) {
  constexpr int N = R / kSide, kPitch = R + 4, kThreadCount = kSide * kSide;
  T* const as = staging;
  T* const bs = staging + kChunkDepth * kPitch;
  const int t = static_cast<int>(threadIdx.x), tx = t % kSide, ty = t / kSide;
  TERSOR_UNROLL
  for (int i = 0; i < N; i++)
    TERSOR_UNROLL
    for (int j = 0; j < N; j++) sum[i][j] = T(0);
  for (int64_t d0 = 0; d0 < depth; d0 += kChunkDepth) {
    __syncthreads();
    TERSOR_UNROLL
    for (int e = t; e < R * kChunkDepth; e += kThreadCount) {
      const int d = e % kChunkDepth, r = e / kChunkDepth;
      const bool live = d0 + d < depth;
      as[d * kPitch + r] = live && r < a_count ? a[r * a_row + d0 + d] : T(0);
      bs[d * kPitch + r] = live && r < b_count ? b[r * b_row + d0 + d] : T(0);
    }
    __syncthreads();
    TERSOR_UNROLL
    for (int d = 0; d < kChunkDepth; d++) {
      T x[N], y[N];
      load_run<N>(as + d * kPitch + ty * N, x);
      load_run<N>(bs + d * kPitch + tx * N, y);
      TERSOR_UNROLL
      for (int i = 0; i < N; i++)
        TERSOR_UNROLL
        for (int j = 0; j < N; j++) sum[i][j] = fma_of(x[i], y[j], sum[i][j]);
    }
  }
  __syncthreads();
}

// Column of a slice that a thread keeps as its w-th.
__device__ inline int slice_column(int tx, int w) { return w / 4 * (4 * kSide) + tx * 4 + w % 4; }

// acc[i][w] += sum over r < R of p[r][ty N + i] x[row r][slice_column]; x has `count` rows and `wide` columns, others are taken as 0. p: [R][R + 4].
// Barriers as above.
template <class T, int R, int E>
__device__ inline void tile_update(const T* p, const T* x, int64_t x_row, int64_t count, int64_t wide, T* staging, T (&acc)[R / kSide][E / kSide]) {
  constexpr int N = R / kSide, W = E / kSide, kPitch = R + 4, kThreadCount = kSide * kSide;
  const int t = static_cast<int>(threadIdx.x), tx = t % kSide, ty = t / kSide;
  for (int r0 = 0; r0 < R && r0 < count; r0 += kChunkRows) {
    __syncthreads();
    TERSOR_UNROLL
    for (int e = t; e < kChunkRows * E; e += kThreadCount) {
      const int c = e % E, r = e / E;
      staging[e] = r0 + r < count && c < wide ? x[(r0 + r) * x_row + c] : T(0);
    }
    __syncthreads();
    TERSOR_UNROLL
    for (int r = 0; r < kChunkRows; r++) {
      T a[N];
      load_run<N>(p + (r0 + r) * kPitch + ty * N, a);
      TERSOR_UNROLL
      for (int w = 0; w < W; w += 4) {
        T b[4];
        load_run<4>(staging + r * E + slice_column(tx, w), b);
        TERSOR_UNROLL
        for (int i = 0; i < N; i++)
          TERSOR_UNROLL
          for (int c = 0; c < 4; c++) acc[i][w + c] = fma_of(a[i], b[c], acc[i][w + c]);
      }
    }
  }
  __syncthreads();
}

// alive[r][c]: whether the weight of query i0 + r and key j0 + c survives dropout (j0 a multiple of R). Element (b, h, i, j) is one of random_uniform:
// ((b heads + h) T + i) S64 + j, S64 = S up to a multiple of 64. Four columns come from one Philox block.
template <class T, int R> __device__ inline void draw_alive(const AttentionCall<T>& a, int64_t b, int64_t h, int64_t i0, int64_t j0, uint8_t* alive) {
  const int64_t wide = (a.keys + 63) / 64 * 64;
  for (int e = static_cast<int>(threadIdx.x); e < R * 16; e += kSide * kSide) {
    const int r = e / 16, lane = e % 16;
    const int64_t row = ((b * a.heads + h) * a.queries + i0 + r) * wide;
    const PhiloxWords words = philox(static_cast<uint64_t>((row + j0) / 64 * 16 + lane), a.stream, a.seed);
    TERSOR_UNROLL
    for (int w = 0; w < R / 16; w++) {
      const int word = static_cast<int>((j0 / 16 + w) % 4);
      alive[r * R + lane + 16 * w] = static_cast<float>(words.v[word] >> 8) * 5.9604644775390625e-08f < a.keep;
    }
  }
}

// Fills everything but lse, delta and what is written.
template <class T, class Args> Status open_attention(Stream& stream, const Args& x, AttentionCall<T>* a);
template <class T> HeadRows<T> head_rows(const TensorRef& x, int64_t heads) {
  if (x.rank == 4) return {x.as<T>(), x.stride[0], x.stride[1], x.stride[2]};
  return {x.as<T>(), x.stride[0], x.shape[2] / heads, x.stride[1]};
}
// An input: where it lies when the elements of a row are neighbours, else a copy.
template <class T> Status open_heads(Stream& stream, const TensorRef& x, int64_t heads, HeadRows<const T>* out) {
  TensorRef t = x;
  if (x.stride[x.rank - 1] != 1 && x.dim(-1) > 1) TERSOR_TRY(dense(stream, x, &t));
  const HeadRows<T> rows = head_rows<T>(t, heads);
  *out = {rows.data, rows.batch, rows.head, rows.row};
  return {};
}
template <class T, class Args> Status open_attention(Stream& stream, const Args& x, AttentionCall<T>* a) {
  const bool split = x.q.rank == 4;
  const int at = split ? 2 : 1;
  a->batch = x.q.shape[0], a->heads = x.heads, a->queries = x.q.shape[at], a->keys = x.k.shape[at];
  a->depth = split ? x.q.shape[3] : x.q.shape[2] / x.heads, a->width = split ? x.v.shape[3] : x.v.shape[2] / x.heads;
  TERSOR_TRY(open_heads(stream, x.q, x.heads, &a->q));
  TERSOR_TRY(open_heads(stream, x.k, x.heads, &a->k));
  TERSOR_TRY(open_heads(stream, x.v, x.heads, &a->v));
  if (x.key_mask.present()) {
    a->key_mask = x.key_mask.template as<T>();
    for (int i = 0; i < 2; i++) a->key_mask_stride[i] = x.key_mask.stride[i];
  }
  if (x.mask.present()) {
    a->mask = x.mask.template as<T>();
    for (int i = 1; i <= 4; i++) a->mask_stride[4 - i] = i > x.mask.rank || x.mask.dim(-i) == 1 ? 0 : x.mask.stride[x.mask.rank - i];
  }
  a->scale = static_cast<T>(x.scale), a->causal = x.causal, a->keep = static_cast<float>(1 - x.dropout);
  a->seed = static_cast<uint64_t>(x.seed), a->stream = static_cast<uint64_t>(x.stream);
  return {};
}

}  // namespace cuda
}  // namespace tersor
