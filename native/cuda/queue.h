// The part of runtime.h that starting a kernel needs.
#pragma once
#include <cstdint>

#include "base/status.h"

namespace tersor {
namespace cuda {
namespace runtime {

struct Queue;  // of one device: a CUDA stream

Status before_launch(Queue* queue);                // counts a launch against injected faults; the failure, or ok
Status after_launch(Queue* queue, Status status);  // remembers a fault
void* native(Queue* queue);                        // cudaStream_t

}  // namespace runtime
}  // namespace cuda
}  // namespace tersor
