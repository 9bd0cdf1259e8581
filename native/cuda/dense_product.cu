// dense_product.h: 256 threads compute 64 x 64 results, a thread 4 x 4 of them; the next 16 of k travel while these are multiplied.
#include "cuda/dense_product.h"

namespace tersor {
namespace cuda {
namespace {

constexpr int kProductTile = 64, kProductStep = 16, kProductOwn = 4, kProductPitch = kProductTile + 4;

// A_ALONG_K, B_ALONG_K: neighbouring threads load neighbouring k, because those are neighbours in memory.
template <class T, bool A_ALONG_K, bool B_ALONG_K> __global__ void product_tiles(DenseProduct<T> p) {
  TERSOR_SHARED(T, as, kProductStep * kProductPitch);
  TERSOR_SHARED(T, bs, kProductStep * kProductPitch);
  constexpr int kLoads = kProductTile * kProductStep / kThreads;
  const int t = static_cast<int>(threadIdx.x), tx = t % 16, ty = t / 16;
  const int64_t m0 = static_cast<int64_t>(blockIdx.y) * kProductTile, n0 = static_cast<int64_t>(blockIdx.x) * kProductTile;
  T sum[kProductOwn][kProductOwn] = {}, ra[kLoads], rb[kLoads];
  const auto k_of = [](int e, bool along) { return along ? e % kProductStep : e / kProductTile; };
  const auto i_of = [](int e, bool along) { return along ? e / kProductStep : e % kProductTile; };
  const auto load = [&](int64_t k0) {
    TERSOR_UNROLL
    for (int q = 0; q < kLoads; q++) {
      const int e = t + q * kThreads;
      const int64_t ka = k0 + k_of(e, A_ALONG_K), m = m0 + i_of(e, A_ALONG_K), kb = k0 + k_of(e, B_ALONG_K), n = n0 + i_of(e, B_ALONG_K);
      ra[q] = ka < p.k && m < p.m ? p.a[m * p.a_row + ka * p.a_col] : T(0);
      rb[q] = kb < p.k && n < p.n ? p.b[kb * p.b_row + n * p.b_col] : T(0);
    }
  };
  load(0);
  for (int64_t k0 = 0; k0 < p.k; k0 += kProductStep) {
    __syncthreads();
    TERSOR_UNROLL
    for (int q = 0; q < kLoads; q++) {
      const int e = t + q * kThreads;
      as[k_of(e, A_ALONG_K) * kProductPitch + i_of(e, A_ALONG_K)] = ra[q];
      bs[k_of(e, B_ALONG_K) * kProductPitch + i_of(e, B_ALONG_K)] = rb[q];
    }
    __syncthreads();
    if (k0 + kProductStep < p.k) load(k0 + kProductStep);
    TERSOR_UNROLL
    for (int k = 0; k < kProductStep; k++) {
      T x[kProductOwn], y[kProductOwn];
      load_quad(as + k * kProductPitch + ty * kProductOwn, x);
      load_quad(bs + k * kProductPitch + tx * kProductOwn, y);
      TERSOR_UNROLL
      for (int i = 0; i < kProductOwn; i++)
        TERSOR_UNROLL
        for (int j = 0; j < kProductOwn; j++) sum[i][j] = fma_of(x[i], y[j], sum[i][j]);
    }
  }
  TERSOR_UNROLL
  for (int i = 0; i < kProductOwn; i++)
    TERSOR_UNROLL
    for (int j = 0; j < kProductOwn; j++) {
      const int64_t m = m0 + ty * kProductOwn + i, n = n0 + tx * kProductOwn + j;
      if (m < p.m && n < p.n) p.c[m * p.c_row + n] = p.bias ? sum[i][j] + p.bias[n] : sum[i][j];
    }
}

constexpr int kFewColumns = 32, kFewStrips = 8;

template <class T> __global__ void sum_columns(const T* x, int64_t rows, int64_t n, int64_t chunk, double* parts) {
  TERSOR_SHARED(double, sums, kFewStrips * kFewColumns);
  const int lane = static_cast<int>(threadIdx.x % kFewColumns), strip = static_cast<int>(threadIdx.x / kFewColumns);
  const int64_t j = static_cast<int64_t>(blockIdx.x) * kFewColumns + lane, first = static_cast<int64_t>(blockIdx.y) * chunk;
  const int64_t end = rows - first < chunk ? rows : first + chunk;
  double sum = 0;
  for (int64_t r = first + strip; j < n && r < end; r += kFewStrips) sum += static_cast<double>(x[r * n + j]);
  sums[strip * kFewColumns + lane] = sum;
  __syncthreads();
  if (strip > 0 || j >= n) return;
  for (int s = 1; s < kFewStrips; s++) sum += sums[s * kFewColumns + lane];
  parts[static_cast<int64_t>(blockIdx.y) * n + j] = sum;
}
template <class T> __global__ void add_parts(const double* parts, int64_t chunks, int64_t n, T* out) {
  const int64_t j = thread_index();
  if (j >= n) return;
  double sum = 0;
  for (int64_t c = 0; c < chunks; c++) sum += parts[c * n + j];
  out[j] = static_cast<T>(sum);
}

}  // namespace

template <class T> Status dense_product(Stream& stream, const DenseProduct<T>& p) {
  const Grid grid{blocks_for(p.n, kProductTile), blocks_for(p.m, kProductTile)};
  if (p.a_col == 1) {
    if (p.b_row == 1) return launch<product_tiles<T, true, true>>(stream, grid, kThreads, 0, p);
    return launch<product_tiles<T, true, false>>(stream, grid, kThreads, 0, p);
  }
  return launch<product_tiles<T, false, false>>(stream, grid, kThreads, 0, p);
}
template <class T> Status column_sums(Stream& stream, const T* x, int64_t rows, int64_t n, T* out) {
  const int64_t chunk = rows < 128 * 256 ? 256 : (rows + 127) / 128, chunks = blocks_for(rows, chunk);
  double* parts;
  TERSOR_TRY(stream.scratch(chunks * n, &parts));
  TERSOR_TRY(launch<sum_columns<T>>(stream, Grid{blocks_for(n, kFewColumns), chunks}, kFewColumns * kFewStrips, 0, x, rows, n, chunk, parts));
  return launch<add_parts<T>>(stream, Grid{blocks_for(n)}, kThreads, 0, parts, chunks, n, out);
}
template Status dense_product(Stream&, const DenseProduct<float>&);
template Status dense_product(Stream&, const DenseProduct<double>&);
template Status column_sums(Stream&, const float*, int64_t, int64_t, float*);
template Status column_sums(Stream&, const double*, int64_t, int64_t, double*);

}  // namespace cuda
}  // namespace tersor
