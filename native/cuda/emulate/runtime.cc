// The run time of the emulated device: ordinary memory with guard pages, every call done when it answers.
#include <cstdlib>
#include <cstring>
#include <map>
#include <mutex>

#include "cuda/emulate/guarded.h"
#include "cuda/emulate/machine.h"
#include "cuda/faults.h"
#include "cuda/runtime.h"

namespace tersor {
namespace cuda {
namespace runtime {

struct Queue {
  int32_t device;
};

namespace {

constexpr int64_t kMemory = int64_t(1) << 30;

struct World {
  std::mutex mutex;
  std::map<const char*, emulate::Guarded> blocks;  // by the first byte
  int64_t used = 0;
  Status fault[8];
};
World& world() {
  static World* w = new World();
  return *w;
}
Faults faults;

int32_t shown_devices() {
  const char* text = getenv("TERSOR_CUDA_EMULATE_DEVICES");
  const int n = text ? atoi(text) : 1;
  return n > 8 ? 8 : n;
}

void remember(int32_t device, const Status& why) {
  const std::lock_guard<std::mutex> lock(world().mutex);
  if (world().fault[device].ok()) world().fault[device] = why;
}

}  // namespace

Status count(int32_t* devices) {
  const int32_t n = shown_devices();
  *devices = n > 0 ? n : 0;
  if (n < 0) return fail(Code::device, "cuda: the driver is older than this library wants (emulated)");
  if (n == 0) return fail(Code::device, "cuda: no device: none is visible (emulated)");
  return {};
}

Status describe(int32_t device, DeviceInfo* info) {
  *info = {};
  snprintf(info->name, sizeof info->name, "emulated");
  snprintf(info->uuid, sizeof info->uuid, "GPU-emulated-%d", device);
  const char* sm = getenv("TERSOR_CUDA_EMULATE_SM");  // of the device that is played: which kernels the host side picks
  info->sm = sm ? atoi(sm) : 80;
  info->multiprocessors = 4;
  info->shared_bytes = 227 << 10;
  info->l2_bytes = int64_t(4) << 20;
  return free_memory(device, &info->free, &info->memory);
}

Status health(int32_t device) {
  const std::lock_guard<std::mutex> lock(world().mutex);
  return world().fault[device];
}

Status free_memory(int32_t, int64_t* free, int64_t* total) {
  const std::lock_guard<std::mutex> lock(world().mutex);
  *total = kMemory;
  *free = kMemory - world().used;
  return {};
}

Status open(int32_t device, Queue** queue) {
  TERSOR_TRY(health(device));
  *queue = new Queue{device};
  return {};
}
void close(Queue* q) { delete q; }
Status select(Queue* q) {
  if (faults.strikes(Fault::lost)) remember(q->device, fail(Code::device, "cuda:%d: the device is gone (injected)", q->device));
  return health(q->device);
}
Status synchronize(Queue* q) { return health(q->device); }

Status allocate(Queue* q, int64_t bytes, void** data) {
  World& w = world();
  const std::lock_guard<std::mutex> lock(w.mutex);
  emulate::Guarded g;
  if (w.used + bytes > kMemory || !g.open(static_cast<size_t>(bytes), 256)) return fail(Code::memory_budget, "cuda:%d: allocate: the device is out of memory", q->device);
  w.used += bytes;
  w.blocks[g.data()] = g;
  *data = g.data();
  return {};
}

void release(Queue* q, void* data, int64_t) {
  World& w = world();
  bool intact = true;
  int64_t bytes = 0;
  {
    const std::lock_guard<std::mutex> lock(w.mutex);
    const auto at = w.blocks.find(static_cast<const char*>(data));
    if (at == w.blocks.end()) return;
    bytes = static_cast<int64_t>(at->second.bytes());
    intact = at->second.intact();
    w.used -= bytes;
    at->second.close();
    w.blocks.erase(at);
  }
  if (!intact) remember(q->device, fail(Code::device, "cuda:%d: something wrote outside of an allocation of %lld bytes", q->device, static_cast<long long>(bytes)));
}

void poison(Queue*, void* data, int64_t bytes) { emulate::poison(data, static_cast<size_t>(bytes)); }

Status upload(Queue*, void* to, const void* from, int64_t bytes) {
  memcpy(to, from, static_cast<size_t>(bytes));
  return {};
}
Status download(Queue* q, void* to, const void* from, int64_t bytes) {
  TERSOR_TRY(health(q->device));
  memcpy(to, from, static_cast<size_t>(bytes));
  return {};
}
Status copy(Queue*, void* to, const void* from, int64_t bytes) {
  memcpy(to, from, static_cast<size_t>(bytes));
  return {};
}
Status fill(Queue*, void* to, int32_t byte, int64_t bytes) {
  memset(to, byte, static_cast<size_t>(bytes));
  return {};
}

Status before_allocate(Queue* q, int64_t bytes) {
  if (!faults.strikes(Fault::memory)) return {};
  return fail(Code::memory_budget, "cuda:%d: no memory for %lld bytes (injected)", q->device, static_cast<long long>(bytes));
}

Status launch(Queue* q, const char*, const Launch& l) {
  if (faults.strikes(Fault::kernel)) remember(q->device, fail(Code::device, "cuda:%d: a kernel failed (injected)", q->device));
  const dim3 grid(static_cast<unsigned>(l.grid[0]), static_cast<unsigned>(l.grid[1]), static_cast<unsigned>(l.grid[2])), threads(l.threads[0], l.threads[1], l.threads[2]);
  const Status status = emulate::run({l.name, grid, threads, l.shared_bytes, l.body, l.parameters});
  if (status.code == Code::device) remember(q->device, status);
  return status;
}

// n = 0 also heals the device, which only an emulated one can.
Status inject(int32_t device, Fault fault, int64_t n) {
  faults.set(fault, n);
  const std::lock_guard<std::mutex> lock(world().mutex);
  if (n == 0) world().fault[device] = Status();
  return {};
}

const char* build_text() { return "emulated"; }

}  // namespace runtime
}  // namespace cuda

namespace emulate {
const Guarded* find_guarded(const void* at) {  // called from a signal handler while the launch holds no lock of ours
  auto& blocks = cuda::runtime::world().blocks;
  for (auto& entry : blocks)
    if (entry.second.near(at)) return &entry.second;
  return nullptr;
}
}  // namespace emulate
}  // namespace tersor
