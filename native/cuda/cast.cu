// cast(x, dtype): all pairs of element types, with the values of base/cast_value.h; one kernel a source type, which branches (uniformly) on the result's. A thread
// converts 4 runs of 4 elements. Bound by memory: f32 to f16 moves 6 bytes an element.
#include "base/cast_value.h"
#include "cuda/kernels.h"
#include "cuda/numeric.h"
#include "cuda/launch.h"

namespace tersor {
namespace cuda {
namespace {

constexpr int kRun = 4, kRuns = 4;

template <DType From, DType To> __device__ __forceinline__ typename Element<To>::Storage convert(typename Element<From>::Storage v) {
  if (From == DType::f32 && To == DType::f16) return static_cast<typename Element<To>::Storage>(narrow_f16(static_cast<float>(v)));
  if (From == DType::f16 && To == DType::f32) return static_cast<typename Element<To>::Storage>(widen_f16(static_cast<uint16_t>(v)));
  return Write<To>::of(Element<From>::read(v));
}

template <DType From, DType To> __device__ __forceinline__ void store_run(const typename Element<From>::Storage (&x)[kRun], void* y, int64_t at, int64_t n, bool wide) {
  using Out = typename Element<To>::Storage;
  Out* to = static_cast<Out*>(y) + at;
  Vec<Out, kRun> v;
  TERSOR_UNROLL
  for (int e = 0; e < kRun; e++) v.v[e] = convert<From, To>(x[e]);
  if (wide && at + kRun <= n) {
    store_vec<Out, kRun>(to, v);
    return;
  }
  TERSOR_UNROLL
  for (int e = 0; e < kRun; e++)
    if (at + e < n) to[e] = v.v[e];
}

template <DType From> __global__ void __launch_bounds__(kThreads) cast_kernel(const void* x, void* y, DType to, int64_t n, bool wide) {
  using In = typename Element<From>::Storage;
  const In* from = static_cast<const In*>(x);
  const int64_t first = (static_cast<int64_t>(blockIdx.x) * (kThreads * kRuns) + threadIdx.x) * kRun;
  In v[kRuns][kRun];
  TERSOR_UNROLL
  for (int r = 0; r < kRuns; r++) {
    const int64_t at = first + static_cast<int64_t>(r) * kThreads * kRun;
    if (wide && at + kRun <= n) {
      const Vec<In, kRun> part = load_vec<In, kRun>(from + at);
      TERSOR_UNROLL
      for (int e = 0; e < kRun; e++) v[r][e] = part.v[e];
    } else {
      TERSOR_UNROLL
      for (int e = 0; e < kRun; e++) v[r][e] = at + e < n ? from[at + e] : In(0);
    }
  }
  TERSOR_UNROLL
  for (int r = 0; r < kRuns; r++) {
    const int64_t at = first + static_cast<int64_t>(r) * kThreads * kRun;
    if (at >= n) return;
    switch (to) {
#define TERSOR_DTYPE(name, bytes, type, js, st, npy) \
  case DType::name: store_run<From, DType::name>(v[r], y, at, n, wide); break;
#include "base/dtype.def"
#undef TERSOR_DTYPE
      default: break;
    }
  }
}

}  // namespace

Status cast_any(Stream& s, cast_args& a) {
  if (a.x.dtype == a.dtype) return copy_strided(s, a.x, a.y);
  TensorRef x;
  TERSOR_TRY(dense(s, a.x, &x));
  const int64_t n = a.y.size();
  // Runs of 4 are aligned to their size, at most 16 bytes at once.
  auto fits = [](const TensorRef& t) { return aligned(t.data, dtype_bytes(t.dtype) * kRun); };
  const bool wide = fits(x) && fits(a.y);
  const int64_t blocks = ceil_div(n, int64_t(kThreads) * kRuns * kRun);
  switch (x.dtype) {
#define TERSOR_DTYPE(name, bytes, type, js, st, npy) \
  case DType::name: return launch<cast_kernel<DType::name>>(s, blocks, kThreads, 0, x.data, a.y.data, a.dtype, n, wide);
#include "base/dtype.def"
#undef TERSOR_DTYPE
    default: return fail(Code::dtype, "cast: unknown element type");
  }
}

}  // namespace cuda
}  // namespace tersor
