// The f32 and f64 product: 128 x 128 (f32; 64 x 64 for few tiles and f64) of y a block, eight by eight a thread, K in steps of 16 through two stages of
// asynchronous copies. Operands of any strides: the copies run along the dimension that is dense, K of both is the outer dimension of a stage.
//
// Limit on paper (H200): FFMA 67 TFLOP/s. A step of a 128 x 128 tile is 2048 cycles of FFMA a multiprocessor quarter and 64 + 64 values of 16 bytes read from shared
// memory a thread: 4 of 16 bytes for 64 FFMA, 75 % of the issue slots are FFMA at worst. Few rows (m <= 8): bound by the bytes of B, a warp a column.
#include "cuda/gemm.h"

#include "cuda/mma.h"

namespace tersor {
namespace cuda {
namespace {

template <class T> __device__ __forceinline__ T multiply_add(T a, T b, T c);
template <> __device__ __forceinline__ float multiply_add(float a, float b, float c) { return fmaf(a, b, c); }
template <> __device__ __forceinline__ double multiply_add(double a, double b, double c) { return fma(a, b, c); }
__device__ __forceinline__ float activate(Act act, float v) { return act_of(act, v); }
__device__ __forceinline__ double activate(Act, double v) { return v; }

template <class T> __device__ __forceinline__ T finish(const Gemm<T>& g, T sum, int64_t i, int64_t j, int64_t batch) {
  T v = g.alpha == T(1) ? sum : g.alpha * sum;
  if (g.bias) v = v + g.bias[j * g.bias_step];
  v = activate(g.act, v);
  if (g.residual) v = v + g.residual[(batch * g.m + i) * g.n + j];
  if (g.c) v = v + g.beta * g.c[i * g.c_row + j * g.c_col];
  return v;
}

template <int bytes> __device__ __forceinline__ void copy_async(void* to, const void* from, int filled) {
  if constexpr (bytes == 16) {
    cp_async_16(to, from, filled);
  } else {
    TERSOR_UNROLL
    for (int i = 0; i < bytes; i += 4) cp_async_4(static_cast<char*>(to) + i, static_cast<const char*>(from) + (filled ? i : 0), filled ? 4 : 0);
  }
}

// One operand of a tile: kSide x kDepth values to to[k * kStep + r].
template <class T, int kSide, int kDepth, int kStep, int kThreads>
__device__ __forceinline__ void load_side(T* to, const T* from, int64_t row_step, int64_t k_step, int64_t row0, int64_t rows, int64_t k0, int64_t k1) {
  constexpr int kVector = 16 / static_cast<int>(sizeof(T));
  const bool wide = row_step == 1 && k_step % kVector == 0 && reinterpret_cast<uintptr_t>(from) % 16 == 0;
  if (wide) {
    for (int i = static_cast<int>(threadIdx.x); i < kSide / kVector * kDepth; i += kThreads) {
      const int r = i % (kSide / kVector) * kVector, k = i / (kSide / kVector);
      const int64_t left = k0 + k < k1 ? rows - row0 - r : 0;
      const int64_t live = left < 0 ? 0 : left < kVector ? left : kVector;
      copy_async<16>(to + k * kStep + r, live > 0 ? from + row0 + r + (k0 + k) * k_step : from, static_cast<int>(live * static_cast<int64_t>(sizeof(T))));
    }
    return;
  }
  for (int i = static_cast<int>(threadIdx.x); i < kSide * kDepth; i += kThreads) {
    const int r = k_step == 1 ? i / kDepth : i % kSide, k = k_step == 1 ? i % kDepth : i / kSide;
    const bool inside = row0 + r < rows && k0 + k < k1;
    copy_async<sizeof(T)>(to + k * kStep + r, inside ? from + (row0 + r) * row_step + (k0 + k) * k_step : from, inside ? static_cast<int>(sizeof(T)) : 0);
  }
}

// blockIdx.x: tile and batch; blockIdx.y: the part of K. partial: null, or where sums go instead, [parts][batches][m][n].
template <class T, int kSide, int kThread> __global__ void __launch_bounds__(256, 2) gemm_tiles(Gemm<T> g, int64_t part, T* partial) {
  constexpr int kDepth = 16, kStep = kSide + 16 / static_cast<int>(sizeof(T)), kHalf = kThread / 2, kStage = kDepth * kStep;
  static_assert(kSide == kThread * 16, "256 threads");
  T* const shared = shared_memory<T>();
  g.packed.look();
  const int64_t tiles_m = ceil_div<int64_t>(g.m, kSide), tiles_n = ceil_div<int64_t>(g.n, kSide), index = blockIdx.x % (tiles_m * tiles_n), batch = blockIdx.x / (tiles_m * tiles_n);
  const int64_t row0 = index % tiles_m * kSide, column0 = index / tiles_m * kSide;
  int64_t a_at, b_at;
  batch_offsets(g.map, batch, &a_at, &b_at);
  const int64_t first = blockIdx.y * part, last = first + part < g.k ? first + part : g.k;
  const int steps = static_cast<int>(ceil_div<int64_t>(last - first, kDepth));
  const auto fetch = [&](int step) {
    T* const stage = shared + step % 2 * 2 * kStage;
    if (step < steps) {
      load_side<T, kSide, kDepth, kStep, 256>(stage, g.a + a_at, g.a_row, g.a_col, row0, g.m, first + step * kDepth, last);
      load_side<T, kSide, kDepth, kStep, 256>(stage + kStage, g.b + b_at, g.b_col, g.b_row, column0, g.n, first + step * kDepth, last);
    }
    cp_async_commit();
  };
  const int ty = static_cast<int>(threadIdx.x) / 16, tx = static_cast<int>(threadIdx.x) % 16;
  T sums[kThread][kThread] = {};
  fetch(0);
  for (int step = 0; step < steps; step++) {
    fetch(step + 1);
    cp_async_wait<1>();
    __syncthreads();
    const T* const a = shared + step % 2 * 2 * kStage;
    const T* const b = a + kStage;
    TERSOR_UNROLL
    for (int k = 0; k < kDepth; k++) {
      T x[kThread], y[kThread];
      TERSOR_UNROLL
      for (int h = 0; h < 2; h++) {
        const auto p = load_vec<T, kHalf>(a + k * kStep + h * (kSide / 2) + ty * kHalf), q = load_vec<T, kHalf>(b + k * kStep + h * (kSide / 2) + tx * kHalf);
        TERSOR_UNROLL
        for (int i = 0; i < kHalf; i++) x[h * kHalf + i] = p.v[i], y[h * kHalf + i] = q.v[i];
      }
      TERSOR_UNROLL
      for (int i = 0; i < kThread; i++)
        TERSOR_UNROLL
        for (int j = 0; j < kThread; j++) sums[i][j] = multiply_add(x[i], y[j], sums[i][j]);
    }
    __syncthreads();
  }
  TERSOR_UNROLL
  for (int i = 0; i < kThread; i++)
    TERSOR_UNROLL
    for (int j = 0; j < kThread; j++) {
      const int64_t row = row0 + i / kHalf * (kSide / 2) + ty * kHalf + i % kHalf, column = column0 + j / kHalf * (kSide / 2) + tx * kHalf + j % kHalf;
      if (row >= g.m || column >= g.n) continue;
      const int64_t at = (batch * g.m + row) * g.n + column;
      if (partial) partial[blockIdx.y * g.batches * g.m * g.n + at] = sums[i][j];
      else g.y[at] = finish(g, sums[i][j], row, column, batch);
    }
}

template <class T> __global__ void gemm_parts(Gemm<T> g, int parts, const T* partial) {
  const int64_t size = g.m * g.n, total = g.batches * size;
  for (int64_t at = blockIdx.x * int64_t(blockDim.x) + threadIdx.x; at < total; at += int64_t(gridDim.x) * blockDim.x) {
    T sum = partial[at];
    for (int p = 1; p < parts; p++) sum = sum + partial[p * total + at];
    g.y[at] = finish(g, sum, at % size / g.n, at % g.n, at / size);
  }
}

// At most kRows rows, both operands dense along K: a warp takes two columns, so that what it reads of A serves twice.
template <class T, int kRows, int kVector> __global__ void __launch_bounds__(256) gemm_few_rows(Gemm<T> g) {
  const int64_t column = (blockIdx.x * int64_t(8) + warp_id()) * 2, second = column + 1 < g.n ? column + 1 : column;
  if (column >= g.n) return;
  T sums[2][kRows] = {};
  g.packed.look();
  const T* const b0 = g.b + column * g.b_col;
  const T* const b1 = g.b + second * g.b_col;
  for (int64_t k = lane_id() * kVector; k < g.k; k += kWarp * kVector) {
    const auto w0 = load_vec<T, kVector>(b0 + k), w1 = load_vec<T, kVector>(b1 + k);
    TERSOR_UNROLL
    for (int r = 0; r < kRows; r++) {
      if (r >= g.m) continue;
      const auto x = load_vec<T, kVector>(g.a + r * g.a_row + k);
      TERSOR_UNROLL
      for (int i = 0; i < kVector; i++) sums[0][r] = multiply_add(x.v[i], w0.v[i], sums[0][r]), sums[1][r] = multiply_add(x.v[i], w1.v[i], sums[1][r]);
    }
  }
  TERSOR_UNROLL
  for (int c = 0; c < 2; c++)
    TERSOR_UNROLL
    for (int r = 0; r < kRows; r++) {
      if (r >= g.m) continue;
      T v = sums[c][r];
      for (int by = 16; by > 0; by >>= 1) v = v + __shfl_xor_sync(kFullMask, v, by);
      if (lane_id() == 0 && column + c < g.n) g.y[r * g.n + column + c] = finish(g, v, r, column + c, 0);
    }
}

template <class T, int kRows> Status few_rows(Stream& stream, const Gemm<T>& g) {
  constexpr int kVector = 16 / static_cast<int>(sizeof(T));
  const bool wide = g.k % kVector == 0 && g.a_row % kVector == 0 && g.b_col % kVector == 0 && aligned(g.a, 16) && aligned(g.b, 16);
  const int64_t blocks = ceil_div<int64_t>(g.n, 16);
  if (wide) return launch<gemm_few_rows<T, kRows, kVector>>(stream, blocks, 256, 0, g);
  return launch<gemm_few_rows<T, kRows, 1>>(stream, blocks, 256, 0, g);
}

template <class T, int kSide, int kThread> Status tiles(Stream& stream, const Gemm<T>& g) {
  constexpr int64_t kShared = int64_t(4) * 16 * (kSide + 16 / static_cast<int>(sizeof(T))) * static_cast<int64_t>(sizeof(T));
  const int64_t blocks = ceil_div<int64_t>(g.m, kSide) * ceil_div<int64_t>(g.n, kSide) * g.batches;
  // Few tiles and a long K: parts of K beside each other, by the shape alone.
  int64_t parts = blocks < 64 ? 128 / blocks : 1;
  if (parts > g.k / 512) parts = g.k / 512;
  if (parts > 32) parts = 32;
  if (parts <= 1) return launch<gemm_tiles<T, kSide, kThread>>(stream, blocks, 256, kShared, g, g.k, static_cast<T*>(nullptr));
  const int64_t part = ceil_div<int64_t>(ceil_div<int64_t>(g.k, parts), 16) * 16;
  parts = ceil_div(g.k, part);
  T* partial;
  TERSOR_TRY(stream.scratch(parts * g.batches * g.m * g.n, &partial));
  TERSOR_TRY((launch<gemm_tiles<T, kSide, kThread>>(stream, Grid(blocks, parts), 256, kShared, g, part, partial)));
  return launch<gemm_parts<T>>(stream, blocks_for(stream, g.batches * g.m * g.n, 256), 256, 0, g, static_cast<int>(parts), partial);
}

}  // namespace

template <class T> Status run_gemm(Stream& stream, const Gemm<T>& given) {
  Gemm<T> g = given;
  if (g.m == 0 || g.n == 0 || g.batches == 0) return {};
  if (g.batches == 1 && g.m <= 8 && g.a_col == 1 && g.b_row == 1 && g.k > 0) return g.m == 1 ? few_rows<T, 1>(stream, g) : g.m <= 4 ? few_rows<T, 4>(stream, g) : few_rows<T, 8>(stream, g);
  if constexpr (sizeof(T) == 8) {
    return tiles<T, 64, 4>(stream, g);
  } else {
    const int64_t wide = ceil_div<int64_t>(g.m, 128) * ceil_div<int64_t>(g.n, 128) * g.batches;
    return wide >= 96 ? tiles<T, 128, 8>(stream, g) : tiles<T, 64, 4>(stream, g);
  }
}
template Status run_gemm<float>(Stream&, const Gemm<float>&);
template Status run_gemm<double>(Stream&, const Gemm<double>&);

}  // namespace cuda
}  // namespace tersor
