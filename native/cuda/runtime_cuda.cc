#include <cuda_runtime_api.h>

#include <atomic>
#include <cstring>
#include <mutex>

#include "cuda/faults.h"
#include "cuda/runtime.h"

namespace tersor {
namespace cuda {
namespace runtime {

struct Queue {
  int32_t device;
  cudaStream_t stream;
  bool direct;  // the device reads pageable memory of the host itself, so copies from there may still run when the call answers
};

namespace {

constexpr int kMaxDevices = 64;

struct Device {
  std::mutex mutex;
  Status fault;  // why every call fails from now on
  std::atomic<bool> failed{false};
};
Device devices[kMaxDevices];
Faults faults;

void remember(int32_t device, const Status& why) {
  const std::lock_guard<std::mutex> lock(devices[device].mutex);
  if (devices[device].fault.ok()) devices[device].fault = why;
  devices[device].failed = true;
}

// Errors after which the context is lost.
bool is_sticky(cudaError_t e) {
  switch (e) {
    case cudaErrorIllegalAddress:
    case cudaErrorLaunchFailure:
    case cudaErrorAssert:
    case cudaErrorHardwareStackError:
    case cudaErrorIllegalInstruction:
    case cudaErrorMisalignedAddress:
    case cudaErrorInvalidAddressSpace:
    case cudaErrorInvalidPc:
    case cudaErrorECCUncorrectable:
    case cudaErrorLaunchTimeout:
    case cudaErrorDevicesUnavailable:
    case cudaErrorUnknown:
    case cudaErrorNvlinkUncorrectable:
    case cudaErrorExternalDevice:
    case cudaErrorMpsClientTerminated:
#if CUDART_VERSION >= 13000
    case cudaErrorContained:
    case cudaErrorTensorMemoryLeak:
#endif
    case cudaErrorContextIsDestroyed: return true;
    default: return false;
  }
}

Status check(int32_t device, cudaError_t e, const char* what) {
  if (e == cudaSuccess) return {};
  (void)cudaGetLastError();
  if (e == cudaErrorMemoryAllocation) return fail(Code::memory_budget, "cuda:%d: %s: the device is out of memory", device, what);
  const Status status = fail(Code::device, "cuda:%d: %s: %s (%s)", device, what, cudaGetErrorString(e), cudaGetErrorName(e));
  if (is_sticky(e) && device >= 0 && device < kMaxDevices) remember(device, status);
  return status;
}

// Before a call that touches the device.
Status ready(Queue* q) {
  if (faults.strikes(Fault::lost)) remember(q->device, fail(Code::device, "cuda:%d: the device is gone (injected)", q->device));
  return devices[q->device].failed.load(std::memory_order_relaxed) ? health(q->device) : Status();
}

}  // namespace

Status count(int32_t* n) {
  int found = 0;
  const cudaError_t e = cudaGetDeviceCount(&found);
  *n = 0;
  if (e == cudaErrorInsufficientDriver) {  // also where there is none
    int driver = 0;
    if (cudaDriverGetVersion(&driver) == cudaSuccess && driver == 0) return fail(Code::device, "cuda: no NVIDIA driver is installed");
    return fail(Code::device, "cuda: the driver is older than this library wants (CUDA %d.%d)", CUDART_VERSION / 1000, CUDART_VERSION % 100 / 10);
  }
  if (e != cudaSuccess || found == 0) {
    (void)cudaGetLastError();
    return fail(Code::device, "cuda: no device: %s", e == cudaSuccess ? "none is visible" : cudaGetErrorString(e));
  }
  *n = found < kMaxDevices ? found : kMaxDevices;
  return {};
}

Status describe(int32_t device, DeviceInfo* info) {
  *info = {};
  cudaDeviceProp p;
  TERSOR_TRY(check(device, cudaGetDeviceProperties(&p, device), "properties"));
  snprintf(info->name, sizeof info->name, "%.127s", p.name);
  const auto* u = reinterpret_cast<const unsigned char*>(p.uuid.bytes);
  int at = snprintf(info->uuid, sizeof info->uuid, "GPU-");
  for (int i = 0; i < 16; i++) at += snprintf(info->uuid + at, sizeof info->uuid - static_cast<size_t>(at), "%s%02x", i == 4 || i == 6 || i == 8 || i == 10 ? "-" : "", u[i]);
  int driver = 0, version = 0;
  cudaDriverGetVersion(&driver);
  cudaRuntimeGetVersion(&version);
  if (FILE* f = fopen("/proc/driver/nvidia/version", "r")) {  // "NVRM version: NVIDIA UNIX x86_64 Kernel Module  580.65.06  ..."
    char line[256] = "";
    if (fgets(line, sizeof line, f)) {
      for (char* word = strtok(line, " \t"); word; word = strtok(nullptr, " \t"))
        if (strspn(word, "0123456789.") == strlen(word) && strchr(word, '.')) {
          snprintf(info->driver, sizeof info->driver, "%s", word);
          break;
        }
    }
    fclose(f);
  }
  info->driver_version = driver;
  info->runtime_version = version;
  info->sm = p.major * 10 + p.minor;
  info->multiprocessors = p.multiProcessorCount;
  info->shared_bytes = static_cast<int32_t>(p.sharedMemPerBlockOptin);
  cudaDeviceGetAttribute(&info->clock_khz, cudaDevAttrClockRate, device);
  info->l2_bytes = p.l2CacheSize;
  return free_memory(device, &info->free, &info->memory);
}

Status health(int32_t device) {
  const std::lock_guard<std::mutex> lock(devices[device].mutex);
  return devices[device].fault;
}

Status free_memory(int32_t device, int64_t* free, int64_t* total) {
  size_t f = 0, t = 0;
  TERSOR_TRY(check(device, cudaSetDevice(device), "select"));
  TERSOR_TRY(check(device, cudaMemGetInfo(&f, &t), "memory"));
  *free = static_cast<int64_t>(f);
  *total = static_cast<int64_t>(t);
  return {};
}

Status open(int32_t device, Queue** queue) {
  TERSOR_TRY(health(device));
  TERSOR_TRY(check(device, cudaSetDevice(device), "select"));
  cudaMemPool_t pool;
  TERSOR_TRY(check(device, cudaDeviceGetDefaultMemPool(&pool, device), "memory pool"));
  int direct = 0;
  TERSOR_TRY(check(device, cudaDeviceGetAttribute(&direct, cudaDevAttrPageableMemoryAccessUsesHostPageTables, device), "attributes"));
  auto* q = new Queue{device, nullptr, direct != 0};
  const Status status = check(device, cudaStreamCreateWithFlags(&q->stream, cudaStreamNonBlocking), "stream");
  if (!status.ok()) {
    delete q;
    return status;
  }
  *queue = q;
  return {};
}

void close(Queue* q) {
  if (cudaSetDevice(q->device) == cudaSuccess) {
    cudaStreamSynchronize(q->stream);
    cudaStreamDestroy(q->stream);
  }
  (void)cudaGetLastError();
  delete q;
}

Status select(Queue* q) {
  TERSOR_TRY(ready(q));
  return check(q->device, cudaSetDevice(q->device), "select");
}
Status synchronize(Queue* q) { return check(q->device, cudaStreamSynchronize(q->stream), "synchronize"); }

Status allocate(Queue* q, int64_t bytes, void** data) {
  return check(q->device, cudaMallocAsync(data, static_cast<size_t>(bytes), q->stream), "allocate");
}
void release(Queue* q, void* data, int64_t) {
  cudaFreeAsync(data, q->stream);
  (void)cudaGetLastError();
}
void poison(Queue*, void*, int64_t) {}

// From pageable memory the run time copies `from` to a staging buffer before it answers; where it need not, the copy is waited for.
Status upload(Queue* q, void* to, const void* from, int64_t bytes) {
  TERSOR_TRY(check(q->device, cudaMemcpyAsync(to, from, static_cast<size_t>(bytes), cudaMemcpyHostToDevice, q->stream), "upload"));
  return q->direct ? synchronize(q) : Status();
}
Status download(Queue* q, void* to, const void* from, int64_t bytes) {
  TERSOR_TRY(check(q->device, cudaMemcpyAsync(to, from, static_cast<size_t>(bytes), cudaMemcpyDeviceToHost, q->stream), "download"));
  return synchronize(q);
}
Status copy(Queue* q, void* to, const void* from, int64_t bytes) {
  return check(q->device, cudaMemcpyAsync(to, from, static_cast<size_t>(bytes), cudaMemcpyDeviceToDevice, q->stream), "copy");
}
Status fill(Queue* q, void* to, int32_t byte, int64_t bytes) { return check(q->device, cudaMemsetAsync(to, byte, static_cast<size_t>(bytes), q->stream), "fill"); }

Status before_allocate(Queue* q, int64_t bytes) {
  if (!faults.strikes(Fault::memory)) return {};
  return fail(Code::memory_budget, "cuda:%d: no memory for %lld bytes (injected)", q->device, static_cast<long long>(bytes));
}

Status launch(Queue* q, const char* op, const Launch& l) {
  if (faults.strikes(Fault::kernel)) remember(q->device, fail(Code::device, "cuda:%d: a kernel failed (injected)", q->device));
  const dim3 grid(static_cast<unsigned>(l.grid[0]), static_cast<unsigned>(l.grid[1]), static_cast<unsigned>(l.grid[2])), threads(l.threads[0], l.threads[1], l.threads[2]);
  cudaError_t e = cudaSuccess;
  if (l.shared_bytes > 48 * 1024) e = cudaFuncSetAttribute(l.function, cudaFuncAttributeMaxDynamicSharedMemorySize, static_cast<int>(l.shared_bytes));
  if (e == cudaSuccess) e = cudaLaunchKernel(l.function, grid, threads, l.parameters, static_cast<size_t>(l.shared_bytes), q->stream);
  if (e == cudaSuccess) return {};
  (void)cudaGetLastError();
  // By itself (its size), or because a kernel before it took the context with it.
  const Status status = fail(Code::device, "%s: cuda:%d: launch: %s", op, q->device, cudaGetErrorString(e));
  if (is_sticky(e) || is_sticky(cudaStreamQuery(q->stream))) remember(q->device, status);
  (void)cudaGetLastError();
  return status;
}

Status inject(int32_t, Fault fault, int64_t n) {
  faults.set(fault, n);
  return {};
}

const char* build_text() {
  static char text[48];
  snprintf(text, sizeof text, "CUDA %d.%d", CUDART_VERSION / 1000, CUDART_VERSION % 100 / 10);
  return text;
}

}  // namespace runtime
}  // namespace cuda
}  // namespace tersor
