// Packed weights are opaque bytes whose layout belongs to who packed them: what the CPU packed does not serve a device, nor the other way round. The host does not
// read device memory in the middle of a queue, so the kernel that takes a packed weight looks at its magic number; where it is another one, the next time that
// somebody waits the call has failed (Stream::check_values), and its results mean nothing.
#pragma once
#include "cuda/launch.h"

namespace tersor {
namespace cuda {

struct PackedCheck {
  const uint32_t* at = nullptr;  // null: nothing to check
  uint32_t magic = 0;
  IndexCheck check;

  Status open(Stream& stream, const char* op, const void* packed, uint32_t magic_) {
    at = static_cast<const uint32_t*>(packed), magic = magic_;
    return check.open(stream, op, "packed (0: packed on this device, 1: elsewhere)", 1);
  }
  // By all threads, early in the kernel; one of them looks.
  __device__ __forceinline__ void look() const {
    if (at && blockIdx.x == 0 && blockIdx.y == 0 && threadIdx.x == 0) check.index(0, *at == magic ? 0 : 1);
  }
};

}  // namespace cuda
}  // namespace tersor
