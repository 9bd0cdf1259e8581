// Starting kernels: launch<kernel<float, 4>>(stream, grid, threads, shared_bytes, arguments...) -> Status. Arguments are converted to the kernel's parameter
// types. An empty grid starts nothing. The failure of a kernel shows at once under the emulator, on a device at the latest when somebody waits.
//
//   TERSOR_TRY(launch<scale_kernel<float>>(stream, ceil_div(n, 256), 256, 0, x, y, n));
//
// And what most entries need besides: dense copies of strided inputs, grids for loops over n elements, values that kernels check.
#pragma once
#include <tuple>
#include <type_traits>
#include <utility>

#include "base/tensor_ref.h"
#include "cuda/device.h"
#include "cuda/stream.h"
#include "ops/args.h"

namespace tersor {
namespace cuda {
namespace launch_detail {

#if defined(TERSOR_CUDA_EMULATE)
template <auto kernel, class Tuple, size_t... i> void call(Tuple& t, std::index_sequence<i...>) { kernel(std::get<i>(t)...); }
template <auto kernel, class... P> void body(void* arguments) {
  call<kernel>(*static_cast<std::tuple<P...>*>(arguments), std::index_sequence_for<P...>());
}
#endif

template <auto kernel, class... P, class... A>
Status start(void (*)(P...), const char* name, Stream& stream, Grid grid, dim3 threads, int64_t shared_bytes, A&&... arguments) {
  static_assert(sizeof...(P) == sizeof...(A), "the number of arguments differs from the kernel's");
  if (grid.x <= 0 || grid.y <= 0 || grid.z <= 0) return {};
  if (grid.x > INT32_MAX || grid.y > 65535 || grid.z > 65535)
    return fail(Code::limit, "%s: a grid of %lld x %lld x %lld blocks is beyond what a device takes", stream.op(), static_cast<long long>(grid.x), static_cast<long long>(grid.y),
                static_cast<long long>(grid.z));
  if (shared_bytes > stream.shared_limit)
    return fail(Code::limit, "%s: %lld bytes of shared memory, the device has %lld a block", stream.op(), static_cast<long long>(shared_bytes),
                static_cast<long long>(stream.shared_limit));
  TERSOR_TRY(runtime::before_launch(stream.queue()));
  std::tuple<std::remove_cv_t<P>...> values(static_cast<std::remove_cv_t<P>>(std::forward<A>(arguments))...);
  static_assert(sizeof(values) <= 4000, "kernel parameters take 4 KB at most");
  const dim3 blocks(static_cast<unsigned>(grid.x), static_cast<unsigned>(grid.y), static_cast<unsigned>(grid.z));
#if defined(TERSOR_CUDA_EMULATE)
  return runtime::after_launch(stream.queue(), emulate::run({name, blocks, threads, shared_bytes, body<kernel, std::remove_cv_t<P>...>, &values}));
#else
  (void)name;
  void* pointers[sizeof...(P) + 1];
  int n = 0;
  std::apply([&](auto&... v) { ((pointers[n++] = &v), ...); }, values);
  const void* function = reinterpret_cast<const void*>(kernel);
  cudaError_t e = cudaSuccess;
  if (shared_bytes > 48 * 1024) e = cudaFuncSetAttribute(function, cudaFuncAttributeMaxDynamicSharedMemorySize, static_cast<int>(shared_bytes));
  if (e == cudaSuccess) e = cudaLaunchKernel(function, blocks, threads, pointers, static_cast<size_t>(shared_bytes), static_cast<cudaStream_t>(runtime::native(stream.queue())));
  if (e == cudaSuccess) return {};
  (void)cudaGetLastError();
  return runtime::after_launch(stream.queue(), fail(Code::device, "%s: cuda:%d: launch: %s", stream.op(), stream.device, cudaGetErrorString(e)));
#endif
}

}  // namespace launch_detail

template <auto kernel, class... A> Status launch(Stream& stream, Grid grid, dim3 threads, int64_t shared_bytes, A&&... arguments) {
  return launch_detail::start<kernel>(kernel, __PRETTY_FUNCTION__, stream, grid, threads, shared_bytes, std::forward<A>(arguments)...);
}

// Blocks for `items` of `per_block` each, at most `waves` full loads of the device: for grid-stride loops, whose results do not depend on it.
inline int64_t blocks_for(const Stream& stream, int64_t items, int64_t per_block, int64_t waves = 32) {
  const int64_t wanted = ceil_div(items, per_block), most = waves * stream.multiprocessors;
  return wanted < most ? wanted : most;
}

// x row-major: x itself where it is, else a copy in scratch memory (copy.cu).
Status dense(Stream& stream, const TensorRef& x, TensorRef* out);
// Copies between strided tensors of one shape and element type; dst may have any strides that do not map two elements to one place.
Status copy_strided(Stream& stream, const TensorRef& src, const TensorRef& dst);

// A kernel's side of Stream::check_values, passed by value: check.index(position, value) is whether the value is in [0, limit), and reports it where not.
struct IndexCheck {
  unsigned long long* at = nullptr;
  unsigned long long ticket = 0;
  int64_t limit = 0;

  Status open(Stream& stream, const char* op, const char* name, int64_t limit_) {
    limit = limit_;
    return stream.check_values(op, name, limit, &at, &ticket);
  }
#if defined(__CUDACC__) || defined(TERSOR_CUDA_EMULATE)
  __device__ bool index(int64_t position, int64_t value) const {
    if (value >= 0 && value < limit) return true;
    atomicMin(at, ticket | static_cast<unsigned long long>(position));
    return false;
  }
#endif
};

}  // namespace cuda
}  // namespace tersor
