// CSR times dense vectors, f32 and i8 values.
//
// Many vectors. A block owns R = 16 warps x P rows of W and 64 vectors. It walks along K in panels of 128 columns of W: the panel of x, 128 x 64 floats, is
// read from L2 into registers while the panel before it is used, and then put into shared memory; a warp takes the entries of its rows that lie in the panel,
// 32 at a time, puts (place in the panel, value) into shared memory and reads them back two at a time, the same for all lanes (one wavefront), each followed
// by one read of 64 floats of x (two wavefronts) and 2 FMA per lane. An entry so costs 2.5 wavefronts of shared memory, of 128 bytes a cycle, for 64 FMA.
// On paper (H200: 132 multiprocessors, 1.75 GHz): 132 * 1.75e9 / 2.5 * 128 FLOP = 11.8 TFLOP/s; 4096 x 4096 at 90 %, N = 128 (0.43 GFLOP): 36 us; reading x
// for each block of R = 64 rows from L2 is 134 MB, 25 us at 5.5 TB/s, beside it. A kernel that reads x from L2 for every entry moves 0.86 GB: 156 us.
// Entries of a row must ascend (csr_to_dense checks that); what is out of order, or out of range, gives NaN or wrong numbers, never an access outside.
//
// Few vectors: a warp per row, lanes over entries; bytes: those of W, once for every four vectors.
#include "cuda/spmm.h"

#include "cuda/bitset.h"

namespace tersor {
namespace cuda {
namespace {

constexpr int kSpmmDepth = 128, kSpmmVectors = 64, kSpmmWarps = 16, kSpmmThreads = kSpmmWarps * 32;
constexpr int64_t kFewVectors = 16;

__device__ inline int32_t column_at(const SparseMatrix& w, int64_t e) {
  return w.wide ? static_cast<const int32_t*>(w.columns)[e] : static_cast<int32_t>(static_cast<const uint16_t*>(w.columns)[e]);
}
template <class A> __device__ inline A value_at(const SparseMatrix& w, int64_t e) {
  return w.quantized ? static_cast<A>(static_cast<const int8_t*>(w.values)[e]) : static_cast<A>(static_cast<const float*>(w.values)[e]);
}
__device__ inline int32_t offset_at(const SparseMatrix& w, int64_t r) {
  const int32_t e = w.indptr[r];
  return e < 0 ? 0 : e < w.stored ? e : static_cast<int32_t>(w.stored);
}
__device__ inline float finish(const SparseMatrix& w, int64_t r, float sum, bool damaged) {
  if (w.scale) sum = sum * (w.factor == 1 ? w.scale[r * w.scale_step] : w.factor * w.scale[r * w.scale_step]);
  if (w.bias) sum = sum + w.bias[r];
  return damaged ? __uint_as_float(0x7FC00000u) : sum;
}
__device__ inline float multiply_add(float a, float b, float c) { return fmaf(a, b, c); }
__device__ inline int32_t multiply_add(int32_t a, int32_t b, int32_t c) { return static_cast<int32_t>(static_cast<uint32_t>(a) * static_cast<uint32_t>(b) + static_cast<uint32_t>(c)); }
__device__ inline uint32_t bits_of(float v) { return __float_as_uint(v); }
__device__ inline uint32_t bits_of(int32_t v) { return static_cast<uint32_t>(v); }
__device__ inline void from_bits(uint32_t b, float* v) { *v = __uint_as_float(b); }
__device__ inline void from_bits(uint32_t b, int32_t* v) { *v = static_cast<int32_t>(b); }

// A panel of x on its way: 16 elements a thread. Vectors are rows of x: their elements are transposed on the way, 65 apart so that banks differ.
template <bool Rows, class A> struct Panel {
  static constexpr int kPitch = Rows ? kSpmmVectors + 1 : kSpmmVectors;
  A v[16];

  // wide: four vectors of a column lie in 16 aligned bytes.
  __device__ void load(const A* x, int64_t n, int64_t cols, int64_t n0, int64_t k0, bool wide) {
    const int t = static_cast<int>(threadIdx.x);
    if (Rows) {
      const A* p = x + (n0 + t / kSpmmDepth) * cols + k0 + t % kSpmmDepth;
      const int left = k0 + t % kSpmmDepth < cols ? static_cast<int>(n - n0 < kSpmmVectors ? n - n0 : kSpmmVectors) - t / kSpmmDepth : 0;
      TERSOR_UNROLL
      for (int i = 0; i < 16; i++, p += kSpmmThreads / kSpmmDepth * cols) v[i] = kSpmmThreads / kSpmmDepth * i < left ? *p : A(0);
      return;
    }
    const int m = t % (kSpmmVectors / 4) * 4, left = static_cast<int>(n - n0 < kSpmmVectors ? n - n0 : kSpmmVectors) - m;  // vectors from m on
    const int depth = static_cast<int>(cols - k0 < kSpmmDepth ? cols - k0 : kSpmmDepth) - t / (kSpmmVectors / 4);             // columns from this thread's on
    const A* p = x + (k0 + t / (kSpmmVectors / 4)) * n + n0 + m;
    struct alignas(16) Four {
      A v[4];
    };
    TERSOR_UNROLL
    for (int i = 0; i < 4; i++, p += kSpmmThreads / (kSpmmVectors / 4) * n) {
      const bool live = kSpmmThreads / (kSpmmVectors / 4) * i < depth;
      Four f = {{A(0), A(0), A(0), A(0)}};
      if (wide) {
        if (live && left > 0) f = *reinterpret_cast<const Four*>(p);
      } else {
        TERSOR_UNROLL
        for (int c = 0; c < 4; c++)
          if (live && c < left) f.v[c] = p[c];
      }
      TERSOR_UNROLL
      for (int c = 0; c < 4; c++) v[i * 4 + c] = f.v[c];
    }
  }
  __device__ void store(A* panel) const {
    TERSOR_UNROLL
    for (int i = 0; i < 16; i += Rows ? 1 : 4) {
      if (Rows) {
        const int at = i * kSpmmThreads + static_cast<int>(threadIdx.x);
        panel[at % kSpmmDepth * kPitch + at / kSpmmDepth] = v[i];
      } else {
        const int at = i / 4 * kSpmmThreads + static_cast<int>(threadIdx.x);
        TERSOR_UNROLL
        for (int c = 0; c < 4; c++) panel[at * 4 + c] = v[i + c];  // at * 4 = k * 64 + m
      }
    }
  }
};

template <bool Rows, int P, class A> __global__ void __launch_bounds__(kSpmmThreads) panel_kernel(SparseMatrix w, const A* x, int64_t n, float* y) {
  constexpr int kPitch = Panel<Rows, A>::kPitch;
  TERSOR_SHARED(A, panel, (kSpmmDepth + 1) * kPitch);  // the last row is zeros
  TERSOR_SHARED(uint4, staged, kSpmmWarps * 16);       // 32 entries of each warp
  const int lane = lane_id(), warp = warp_id();
  uint2* const mine = reinterpret_cast<uint2*>(staged + warp * 16);
  const int64_t row0 = (static_cast<int64_t>(blockIdx.x) * kSpmmWarps + warp) * P;
  for (int i = threadIdx.x; i < kPitch; i += kSpmmThreads) panel[kSpmmDepth * kPitch + i] = A(0);
  const bool wide = n % 4 == 0 && (reinterpret_cast<uintptr_t>(x) & 15) == 0;
  for (int64_t n0 = static_cast<int64_t>(blockIdx.y) * kSpmmVectors; n0 < n; n0 += static_cast<int64_t>(gridDim.y) * kSpmmVectors) {
    A sum[P][2];
    int32_t cursor[P], end[P];
    unsigned damaged = 0;
    TERSOR_UNROLL
    for (int r = 0; r < P; r++) {
      sum[r][0] = sum[r][1] = A(0);
      cursor[r] = row0 + r < w.rows ? offset_at(w, row0 + r) : 0;
      end[r] = row0 + r < w.rows ? offset_at(w, row0 + r + 1) : 0;
    }
    Panel<Rows, A> next;
    next.load(x, n, w.cols, n0, 0, wide);
    for (int64_t k0 = 0; k0 < w.cols; k0 += kSpmmDepth) {
      __syncthreads();
      next.store(panel);
      __syncthreads();
      const bool last = k0 + kSpmmDepth >= w.cols;
      if (!last) next.load(x, n, w.cols, n0, k0 + kSpmmDepth, wide);
      const int64_t limit = last ? int64_t(1) << 40 : k0 + kSpmmDepth;
      int32_t column[P];
      A value[P];
      TERSOR_UNROLL
      for (int r = 0; r < P; r++) {
        const bool live = cursor[r] + lane < end[r];
        column[r] = live ? column_at(w, cursor[r] + lane) : 0;
        value[r] = live ? value_at<A>(w, cursor[r] + lane) : A(0);
      }
      TERSOR_UNROLL
      for (int r = 0; r < P; r++) {
        int32_t c = column[r];
        A v = value[r];
        for (;;) {
          const bool taken = cursor[r] + lane < end[r] && c < limit;
          const unsigned prefix = ~__ballot_sync(kFullMask, taken);
          const int count = prefix ? __ffs(static_cast<int>(prefix)) - 1 : 32;
          if (count == 0) break;
          const bool inside = c >= k0 && c < w.cols;
          if (lane < count && !inside && !(w.padded && c >= w.cols)) damaged |= 1u << r;
          __syncwarp();
          mine[lane] = {static_cast<uint32_t>((lane < count && inside ? static_cast<int>(c - k0) : kSpmmDepth) * kPitch), lane < count && inside ? bits_of(v) : 0u};
          __syncwarp();
          for (int e = 0; e < count; e += 4) {
            TERSOR_UNROLL
            for (int h = 0; h < 2; h++) {
              const uint4 two = staged[warp * 16 + e / 2 + h];
              A v0, v1;
              from_bits(two.y, &v0), from_bits(two.w, &v1);
              const A *x0 = panel + two.x, *x1 = panel + two.z;
              if (Rows) {
                sum[r][0] = multiply_add(v0, x0[lane], sum[r][0]), sum[r][1] = multiply_add(v0, x0[lane + 32], sum[r][1]);
                sum[r][0] = multiply_add(v1, x1[lane], sum[r][0]), sum[r][1] = multiply_add(v1, x1[lane + 32], sum[r][1]);
              } else {
                struct alignas(8) Two {
                  A a, b;
                };
                const Two p0 = reinterpret_cast<const Two*>(x0)[lane], p1 = reinterpret_cast<const Two*>(x1)[lane];
                sum[r][0] = multiply_add(v0, p0.a, sum[r][0]), sum[r][1] = multiply_add(v0, p0.b, sum[r][1]);
                sum[r][0] = multiply_add(v1, p1.a, sum[r][0]), sum[r][1] = multiply_add(v1, p1.b, sum[r][1]);
              }
            }
          }
          cursor[r] += count;
          if (count < 32) break;
          const bool live = cursor[r] + lane < end[r];
          c = live ? column_at(w, cursor[r] + lane) : 0;
          v = live ? value_at<A>(w, cursor[r] + lane) : A(0);
        }
      }
    }
    TERSOR_UNROLL
    for (int r = 0; r < P; r++) {
      const bool bad = __any_sync(kFullMask, static_cast<int>(damaged >> r & 1u)) || cursor[r] != end[r];
      if (row0 + r >= w.rows) continue;
      TERSOR_UNROLL
      for (int j = 0; j < 2; j++) {
        const int64_t m = n0 + (Rows ? lane + 32 * j : 2 * lane + j);
        if (m < n) y[Rows ? m * w.rows + row0 + r : (row0 + r) * n + m] = finish(w, row0 + r, static_cast<float>(sum[r][j]), bad);
      }
    }
  }
}

// Vector v of x: x[v * x_vector + column * x_column].
template <class A>
__global__ void __launch_bounds__(256) few_vectors_kernel(SparseMatrix w, const A* x, int64_t x_vector, int64_t x_column, int64_t n, float* y, int64_t y_vector, int64_t y_row) {
  const int lane = lane_id();
  const int64_t row = warp_of_grid(), v0 = static_cast<int64_t>(blockIdx.y) * 4;
  if (row >= w.rows) return;
  A sum[4] = {A(0), A(0), A(0), A(0)};
  bool damaged = false;
  const int32_t end = offset_at(w, row + 1);
  for (int32_t e = offset_at(w, row) + lane; e < end; e += 32) {
    const int32_t c = column_at(w, e);
    const A value = value_at<A>(w, e);
    if (c < 0 || c >= w.cols) {
      damaged = damaged || c < 0 || !w.padded;
      continue;
    }
    TERSOR_UNROLL
    for (int v = 0; v < 4; v++)
      if (v0 + v < n) sum[v] = multiply_add(value, x[(v0 + v) * x_vector + c * x_column], sum[v]);
  }
  damaged = __any_sync(kFullMask, damaged);
  TERSOR_UNROLL
  for (int v = 0; v < 4; v++) {
    for (int d = 16; d > 0; d /= 2) sum[v] += __shfl_xor_sync(kFullMask, sum[v], d);
    if (lane == v && v0 + v < n) y[(v0 + v) * y_vector + row * y_row] = finish(w, row, static_cast<float>(sum[v]), damaged);
  }
}

template <bool Rows, class A> Status many(Stream& s, const SparseMatrix& w, const A* x, int64_t n, float* y) {
  const int64_t tiles = ceil_div(n, int64_t(kSpmmVectors));
  const unsigned columns = static_cast<unsigned>(tiles < 65535 ? tiles : 65535);
  // Twice the rows in a block halve what is read of x, where that leaves work enough for every multiprocessor.
  if constexpr (A(0.5f) > A(0))
    if (ceil_div(w.rows, int64_t(kSpmmWarps * 8)) * tiles >= 2 * int64_t(s.multiprocessors))
      return launch<panel_kernel<Rows, 8, A>>(s, Grid{static_cast<unsigned>(ceil_div(w.rows, int64_t(kSpmmWarps * 8))), columns}, kSpmmThreads, 0, w, x, n, y);
  return launch<panel_kernel<Rows, 4, A>>(s, Grid{static_cast<unsigned>(ceil_div(w.rows, int64_t(kSpmmWarps * 4))), columns}, kSpmmThreads, 0, w, x, n, y);
}

template <class A> Status few(Stream& s, const SparseMatrix& w, Vectors side, const A* x, int64_t n, float* y) {
  const bool rows = side == Vectors::rows;
  return launch<few_vectors_kernel<A>>(s, Grid{static_cast<unsigned>(ceil_div(w.rows, int64_t(8))), static_cast<unsigned>(ceil_div(n, int64_t(4)))}, 256, 0, w, x,
                               rows ? w.cols : int64_t(1), rows ? int64_t(1) : n, n, y, rows ? w.rows : int64_t(1), rows ? int64_t(1) : n);
}

}  // namespace

Status spmm(Stream& s, const SparseMatrix& w, Vectors side, const float* x, int64_t n, float* y) {
  if (w.rows == 0 || n == 0) return {};
  if (n <= kFewVectors || w.cols == 0) return few(s, w, side, x, n, y);
  return side == Vectors::rows ? many<true>(s, w, x, n, y) : many<false>(s, w, x, n, y);
}

Status spmm_s32(Stream& s, const SparseMatrix& w, const int32_t* x, int64_t n, float* y) {
  if (w.rows == 0 || n == 0) return {};
  return n <= kFewVectors ? few(s, w, Vectors::rows, x, n, y) : many<true>(s, w, x, n, y);
}

Status open_epilogue(Stream& s, const TensorRef& scale, const TensorRef& bias, SparseMatrix* w) {
  TensorRef t;
  if (scale.present()) {
    TERSOR_TRY(dense(s, scale, &t));
    w->scale = t.as<const float>();
    w->scale_step = scale.shape[0] != 1 || w->rows == 1 ? 1 : 0;
  }
  if (bias.present()) {
    TERSOR_TRY(dense(s, bias, &t));
    w->bias = t.as<const float>();
  }
  return {};
}

namespace {

template <class Args> Status product(Stream& s, const Args& a, Vectors side, int64_t cols, int64_t n) {
  if (a.y.size() == 0) return {};
  TensorRef x, values, indptr, columns;
  TERSOR_TRY(dense(s, a.x, &x));
  TERSOR_TRY(dense(s, a.values, &values));
  TERSOR_TRY(dense(s, a.indptr, &indptr));
  TERSOR_TRY(dense(s, a.columns, &columns));
  SparseMatrix w;
  w.rows = a.indptr.shape[0] - 1, w.cols = cols, w.stored = a.values.shape[0];
  w.indptr = indptr.template as<const int32_t>(), w.columns = columns.data, w.values = values.data;
  w.wide = a.columns.dtype == DType::i32, w.quantized = a.values.dtype == DType::i8;
  TERSOR_TRY(open_epilogue(s, a.scale, a.bias, &w));
  return spmm(s, w, side, x.template as<const float>(), n, a.y.template as<float>());
}

}  // namespace

// `packed` is not read: what csr_group makes for processors does not help here, and on the device it makes nothing.
Status csr_linear_cuda(Stream& s, csr_linear_args& a) {
  const int64_t k = a.x.dim(-1);
  int64_t m = 1;
  for (int i = 0; i + 1 < a.x.rank; i++) m *= a.x.shape[i];
  return product(s, a, Vectors::rows, k, m);
}

Status csr_multiply_cuda(Stream& s, csr_multiply_args& a) { return product(s, a, Vectors::columns, a.x.shape[0], a.x.shape[1]); }

}  // namespace cuda
}  // namespace tersor
