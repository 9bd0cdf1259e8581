// Packed weights are opaque bytes whose layout belongs to who packed them: what the CPU packed does not serve a device, nor the other way round. The host does not
// read device memory in the middle of a queue, so the kernel that takes a packed weight looks at its magic number; where it is another one, the next time that
// somebody waits the call has failed (Stream::check_values), and its results mean nothing.
#pragma once
#include "cuda/launch.h"

namespace tersor {
namespace cuda {

// What a host can see of a packed tensor: bytes in a row, enough of them, from a multiple of 16 on (kernels read and write 16 at a time).
inline bool packed_lies_well(const TensorRef& packed, int64_t bytes) {
  return packed.contiguous() && packed.size() >= bytes && reinterpret_cast<uintptr_t>(packed.data) % 16 == 0;
}
inline Status packed_place(const char* op, const TensorRef& packed) {
  if (packed_lies_well(packed, 0)) return {};
  return fail(Code::option, "%s: packed must be contiguous and begin at a multiple of 16 bytes on a device", op);
}

// What stands before packed bytes.
template <class Header> __global__ void write_header(Header header, Header* at) { *at = header; }

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
