// What lstm and gru share on the device. The product with the input is made once for all steps; then a kernel per step multiplies the state with the recurrent
// weights and applies the formula where the product ends up: a block owns 32 sequences and 16 columns, its eight warps take every eighth stage of the sum over
// k, and their parts are added in order.
#pragma once
#include "cuda/nn.h"
#include "cuda/dense_product.h"

namespace tersor {
namespace cuda {

constexpr int kStepRows = 32, kStepColumns = 16, kStepWarps = 8, kStageDepth = 64, kRowPitch = kStepRows + 4;
constexpr int kStepResults = kStepRows * kStepColumns;
constexpr int kStageElements = kStageDepth * (kRowPitch + kStepColumns), kPartElements = kStepWarps * kStepResults;
constexpr int kStepElements = kStageElements > kPartElements ? kStageElements : kPartElements;

struct RecurrentSizes {
  int64_t steps, batch, in, units;
  bool reverse;
  int64_t rows() const { return steps * batch; }
  int64_t state() const { return batch * units; }
  int64_t time(int64_t k) const { return reverse ? steps - 1 - k : k; }
};
template <class Args> RecurrentSizes recurrent_sizes(const Args& a) {
  return {a.x.shape[0], a.x.shape[1], a.x.shape[2], a.w_hh.shape[1], a.reverse};
}

// parts[warp][row][column] of sum over k of a[row][k] b(k, column); the result at (row, column) is step_result. a has `rows` rows. ALONG_K: b's neighbours in
// memory are those in k. `memory` has kStepElements; barriers before and after.
template <class T, bool ALONG_K, class B>
__device__ inline void step_product(const T* a, int64_t a_row, int64_t rows, int64_t depth, const B& b, T* memory) {
  T* const as = memory;
  T* const bs = memory + kStageDepth * kRowPitch;
  constexpr int kThreadCount = 32 * kStepWarps, kA = kStepRows * kStageDepth / kThreadCount, kB = kStepColumns * kStageDepth / kThreadCount;
  const int t = static_cast<int>(threadIdx.x), lane = t % 32, warp = t / 32, r0 = lane / 4 * 4, c0 = lane % 4 * 4;
  T sum[4][4] = {}, ra[kA], rb[kB];
  const auto load = [&](int64_t k0) {
    TERSOR_UNROLL
    for (int q = 0; q < kA; q++) {
      const int e = t + q * kThreadCount, k = e % kStageDepth, r = e / kStageDepth;
      ra[q] = k0 + k < depth && r < rows ? a[r * a_row + k0 + k] : T(0);
    }
    TERSOR_UNROLL
    for (int q = 0; q < kB; q++) {
      const int e = t + q * kThreadCount, k = ALONG_K ? e % kStageDepth : e / kStepColumns, c = ALONG_K ? e / kStageDepth : e % kStepColumns;
      rb[q] = k0 + k < depth ? b.at(k0 + k, c) : T(0);
    }
  };
  load(0);
  for (int64_t k0 = 0; k0 < depth; k0 += kStageDepth) {
    __syncthreads();
    TERSOR_UNROLL
    for (int q = 0; q < kA; q++) {
      const int e = t + q * kThreadCount;
      as[e % kStageDepth * kRowPitch + e / kStageDepth] = ra[q];
    }
    TERSOR_UNROLL
    for (int q = 0; q < kB; q++) {
      const int e = t + q * kThreadCount, k = ALONG_K ? e % kStageDepth : e / kStepColumns, c = ALONG_K ? e / kStageDepth : e % kStepColumns;
      bs[k * kStepColumns + c] = rb[q];
    }
    __syncthreads();
    if (k0 + kStageDepth < depth) load(k0 + kStageDepth);
    TERSOR_UNROLL
    for (int k = warp; k < kStageDepth; k += kStepWarps) {
      T x[4], y[4];
      load_quad(as + k * kRowPitch + r0, x);
      load_quad(bs + k * kStepColumns + c0, y);
      TERSOR_UNROLL
      for (int i = 0; i < 4; i++)
        TERSOR_UNROLL
        for (int j = 0; j < 4; j++) sum[i][j] = fma_of(x[i], y[j], sum[i][j]);
    }
  }
  __syncthreads();
  TERSOR_UNROLL
  for (int i = 0; i < 4; i++)
    TERSOR_UNROLL
    for (int j = 0; j < 4; j++) memory[warp * kStepResults + (r0 + i) * kStepColumns + c0 + j] = sum[i][j];
  __syncthreads();
}
template <class T> __device__ inline T step_result(const T* memory, int row, int column) {
  T sum = memory[row * kStepColumns + column];
  TERSOR_UNROLL
  for (int w = 1; w < kStepWarps; w++) sum += memory[w * kStepResults + row * kStepColumns + column];
  return sum;
}

// Columns of the forward product: gate c % 4 of unit j0 + c / 4; the weights are [gates units, units].
template <class T> struct GateColumns {
  const T* w;
  int64_t units, j0;
  int gates;
  __device__ T at(int64_t k, int c) const {
    const int64_t j = j0 + c / 4;
    return c % 4 < gates && j < units ? w[((c % 4) * units + j) * units + k] : T(0);
  }
};
// Columns of the backward product: unit j0 + c.
template <class T> struct UnitColumns {
  const T* w;
  int64_t units, j0;
  __device__ T at(int64_t k, int c) const { return j0 + c < units ? w[k * units + j0 + c] : T(0); }
};

// lengths: each in [0, steps]; null when there are none.
inline Status open_lengths(Stream& stream, const char* op, const TensorRef& t, const RecurrentSizes& s, const int32_t** out, IndexCheck* check) {
  TERSOR_TRY(open(stream, t, out));
  return t.present() ? check->open(stream, op, "lengths", s.steps + 1) : Status{};
}
// n elements of a contiguous tensor, or zeros where there is none.
template <class T> Status copy_or_zero(Stream& stream, const TensorRef& t, T* out, int64_t n) {
  if (!t.present()) return stream.fill(out, 0, n * static_cast<int64_t>(sizeof(T)));
  const T* from;
  TERSOR_TRY(open(stream, t, &from));
  return stream.copy(out, from, n * static_cast<int64_t>(sizeof(T)));
}

// Gradients of the products over all steps: dx = dgates w_ih, dw_ih = dgates^T x.
template <class T> Status product_gradients(Stream& stream, const T* dy, const T* x, const T* w, T* dx, T* dw, int64_t m, int64_t n, int64_t k) {
  if (dx) TERSOR_TRY(dense_product(stream, DenseProduct<T>{m, k, n, dy, n, 1, w, k, 1, dx, k, nullptr}));
  return dense_product(stream, DenseProduct<T>{n, k, m, dy, 1, n, x, k, 1, dw, k, nullptr});
}

}  // namespace cuda
}  // namespace tersor
