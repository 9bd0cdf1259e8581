// The few calls to the CUDA run time that the plug-in needs, once for CUDA (runtime_cuda.cc) and once emulated (emulate/runtime.cc). Every failure is a
// Status: Code::memory_budget when the device has no memory left, Code::device for the rest. A fault of a kernel is sticky: `health` says it from then on.
#pragma once
#include <cstdint>

#include "backend/backend.h"
#include "cuda/queue.h"

namespace tersor {
namespace cuda {
namespace runtime {

Status count(int32_t* devices);
Status describe(int32_t device, DeviceInfo* info);
Status health(int32_t device);
Status free_memory(int32_t device, int64_t* free, int64_t* total);

Status open(int32_t device, Queue** queue);
void close(Queue* queue);
Status select(Queue* queue);  // the calling thread's device; before every other call on the queue
Status synchronize(Queue* queue);

Status allocate(Queue* queue, int64_t bytes, void** data);  // 256-byte aligned
void release(Queue* queue, void* data, int64_t bytes);      // in the queue's order
void poison(Queue* queue, void* data, int64_t bytes);       // emulated: fills with signalling patterns what is about to be handed out; CUDA: nothing

Status upload(Queue* queue, void* to, const void* from, int64_t bytes);
Status download(Queue* queue, void* to, const void* from, int64_t bytes);  // waits
Status copy(Queue* queue, void* to, const void* from, int64_t bytes);
Status fill(Queue* queue, void* to, int32_t byte, int64_t bytes);

// Counts an allocation against injected faults; the failure, or ok.
Status before_allocate(Queue* queue, int64_t bytes);

Status inject(int32_t device, Fault fault, int64_t n);
const char* build_text();

}  // namespace runtime
}  // namespace cuda
}  // namespace tersor
