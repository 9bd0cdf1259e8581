// The part of runtime.h that starting a kernel needs.
#pragma once
#include <cstdint>

#include "base/status.h"

namespace tersor {
namespace cuda {
namespace runtime {

struct Queue;  // of one device: a CUDA stream

// A kernel with the addresses of its parameters.
struct Launch {
  int64_t grid[3];
  unsigned threads[3];
  int64_t shared_bytes;
  const char* name;                    // emulated: for messages
  const void* function = nullptr;      // what the CUDA run time knows it by
  void (*body)(void*) = nullptr;       // emulated: one thread's run, given `parameters`
  void** parameters = nullptr;
};
Status launch(Queue* queue, const char* op, const Launch& launch);  // counts against injected faults; a fault stays

}  // namespace runtime
}  // namespace cuda
}  // namespace tersor
