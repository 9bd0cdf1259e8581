// Starting kernels: launch<kernel<float, 4>>(stream, grid, threads, shared_bytes, arguments...) -> Status. Arguments are converted to the kernel's parameter
// types. An empty grid starts nothing. The failure of a kernel shows at once under the emulator, on a device at the latest when somebody waits.
//
//   TERSOR_TRY(launch<scale_kernel<float>>(stream, ceil_div(n, 256), 256, 0, x, y, n));
//
// And what most entries need besides: dense copies of strided inputs, grids for loops over n elements, values that kernels check.
#pragma once
#include <type_traits>
#include <utility>

#include "base/tensor_ref.h"
#include "cuda/device.h"
#include "cuda/stream.h"
#include "ops/args.h"

#if defined(TERSOR_CUDA_EMULATE)
#define TERSOR_KERNEL_NAME __PRETTY_FUNCTION__
#else
#define TERSOR_KERNEL_NAME ""
#endif

namespace tersor {
namespace cuda {

constexpr int kThreads = 256;  // of a block, where nothing speaks for another number

namespace launch_detail {

#if defined(TERSOR_CUDA_EMULATE)
template <auto kernel, class... P, size_t... i> void call(void** parameters, std::index_sequence<i...>) { kernel(*static_cast<P*>(parameters[i])...); }
template <auto kernel, class... P> void body(void* parameters) { call<kernel, P...>(static_cast<void**>(parameters), std::index_sequence_for<P...>()); }
#endif

// Once for every list of types, whatever the kernel.
template <class... P> Status queue(Stream& stream, runtime::Launch launch, P... values) {
  void* parameters[] = {static_cast<void*>(&values)..., nullptr};
  launch.parameters = parameters;
  return stream.launch(launch);
}

template <auto kernel, class... P, class... A>
Status start(void (*function)(P...), const char* name, Stream& stream, Grid grid, dim3 threads, int64_t shared_bytes, A&&... arguments) {
  static_assert(sizeof...(P) == sizeof...(A), "the number of arguments differs from the kernel's");
  static_assert((sizeof(P) + ... + 0) <= 4000, "kernel parameters take 4 KB at most");
  runtime::Launch launch = {{grid.x, grid.y, grid.z}, {threads.x, threads.y, threads.z}, shared_bytes, name};
#if defined(TERSOR_CUDA_EMULATE)
  (void)function;
  launch.body = body<kernel, P...>;
#else
  launch.function = reinterpret_cast<const void*>(function);
#endif
  return queue<P...>(stream, launch, static_cast<P>(std::forward<A>(arguments))...);
}

}  // namespace launch_detail

template <auto kernel, class... A> Status launch(Stream& stream, Grid grid, dim3 threads, int64_t shared_bytes, A&&... arguments) {
  return launch_detail::start<kernel>(kernel, TERSOR_KERNEL_NAME, stream, grid, threads, shared_bytes, std::forward<A>(arguments)...);
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
