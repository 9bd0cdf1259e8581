// The ABI of backend/backend.h over Stream and kernels.inc: one table of functions for the core.
#include <cstring>
#include <mutex>
#include <string>
#include <vector>

#include "backend/backend.h"
#include "cuda/allocator.h"
#include "cuda/kernels.h"
#include "cuda/stream.h"

using tersor::cuda::Stream;

// The core waits for a stream while another thread queues work on it: what kernels reported belongs to calls that are complete, so both take the lock.
struct tersor_stream {
  Stream* stream;
  std::mutex mutex;
};

namespace tersor {
namespace cuda {
namespace {

Status count(int32_t* devices) { return runtime::count(devices); }

Status check_device(int32_t device) {
  int32_t n = 0;
  TERSOR_TRY(runtime::count(&n));
  if (device >= 0 && device < n) return {};
  return fail(Code::device, "cuda:%d: there %s %d device%s", device, n == 1 ? "is" : "are", n, n == 1 ? "" : "s");
}

Status describe(int32_t device, DeviceInfo* info) {
  TERSOR_TRY(check_device(device));
  return runtime::describe(device, info);
}
Status health(int32_t device) {
  TERSOR_TRY(check_device(device));
  return runtime::health(device);
}

Status open(int32_t device, tersor_stream** out) {
  TERSOR_TRY(check_device(device));
  Stream* s;
  TERSOR_TRY(Stream::open(device, &s));
  *out = new tersor_stream{s, {}};
  return {};
}
void close(tersor_stream* s) {
  delete s->stream;
  delete s;
}

Status synchronize(tersor_stream* s) {
  TERSOR_TRY(runtime::select(s->stream->queue()));
  TERSOR_TRY(runtime::synchronize(s->stream->queue()));  // without the lock: this is what takes long
  const std::lock_guard<std::mutex> lock(s->mutex);
  return s->stream->synchronize();
}
Status allocate(tersor_stream* s, int64_t bytes, void** data) {
  TERSOR_TRY(runtime::select(s->stream->queue()));
  return s->stream->allocator().allocate(bytes, data);
}
void release(tersor_stream* s, void* data, int64_t bytes) { s->stream->allocator().release(data, bytes); }
Status upload(tersor_stream* s, void* to, const void* from, int64_t bytes) {
  TERSOR_TRY(runtime::select(s->stream->queue()));
  return s->stream->upload(to, from, bytes);
}
Status download(tersor_stream* s, void* to, const void* from, int64_t bytes) {
  TERSOR_TRY(runtime::select(s->stream->queue()));
  const std::lock_guard<std::mutex> lock(s->mutex);
  return s->stream->download(to, from, bytes);
}
Status copy(tersor_stream* s, void* to, const void* from, int64_t bytes) {
  TERSOR_TRY(runtime::select(s->stream->queue()));
  return s->stream->copy(to, from, bytes);
}
Status fill(tersor_stream* s, void* to, int32_t byte, int64_t bytes) {
  TERSOR_TRY(runtime::select(s->stream->queue()));
  return s->stream->fill(to, byte, bytes);
}

// --- the table of kernels ---
template <class Args, Status (*function)(Stream&, Args&)> Status enter(const char* op, tersor_stream* s, void* args) {
  const std::lock_guard<std::mutex> lock(s->mutex);
  TERSOR_TRY(s->stream->begin(op));
  const Status status = function(*s->stream, *static_cast<Args*>(args));
  s->stream->end();
  return status;
}

struct Row {
  const char* op;
  const char* pattern;
  KernelFn function;
};
#define TERSOR_CUDA_OP(op, pattern, function) \
  Status op##_##function##_entry(tersor_stream* s, void* args) { return enter<op##_args, function>(#op, s, args); }
#include "cuda/kernels.inc"
#undef TERSOR_CUDA_OP
const Row kRows[] = {
#define TERSOR_CUDA_OP(op, pattern, function) {#op, pattern, op##_##function##_entry},
#include "cuda/kernels.inc"
#undef TERSOR_CUDA_OP
};

// "f32|f64,*" takes "f64,i32,-": entry by entry, * is any, | between alternatives; entries that the pattern does not have may be anything.
bool takes(const char* pattern, const char* signature) {
  while (*pattern) {
    const size_t have = strcspn(signature, ",");
    bool fits = false;
    for (;;) {
      const size_t length = strcspn(pattern, ",|");
      fits = fits || (length == 1 && *pattern == '*') || (length == have && !strncmp(pattern, signature, length));
      pattern += length;
      if (*pattern != '|') break;
      pattern++;
    }
    if (!fits) return false;
    if (*pattern) pattern++;
    signature += have;
    if (*signature) signature++;
    else if (*pattern) return false;
  }
  return true;
}

KernelFn kernel(const char* op, const char* signature) {
  for (const Row& row : kRows)
    if (!strcmp(row.op, op) && takes(row.pattern, signature)) return row.function;
  return nullptr;
}

const char* row(int32_t index) {
  static const std::vector<std::string>* texts = [] {
    auto* list = new std::vector<std::string>();
    for (const Row& r : kRows) list->push_back(std::string(r.op) + " " + r.pattern);
    return list;
  }();
  return index >= 0 && index < static_cast<int32_t>(texts->size()) ? (*texts)[static_cast<size_t>(index)].c_str() : nullptr;
}

Status memory(int32_t device, DeviceMemory* m) {
  TERSOR_TRY(check_device(device));
  Account& a = account(device);
  TERSOR_TRY(a.reserve(device, 0));
  a.give_back(0);
  const std::lock_guard<std::mutex> lock(a.mutex);
  *m = {a.bytes, a.peak, a.blocks, a.cached, a.budget};
  return {};
}
void reset_peak(int32_t device) {
  if (!check_device(device).ok()) return;
  const std::lock_guard<std::mutex> lock(account(device).mutex);
  account(device).peak = account(device).bytes;
}
Status set_budget(int32_t device, int64_t bytes) {
  TERSOR_TRY(check_device(device));
  if (bytes < 0) return fail(Code::option, "cuda:%d: budget must be >= 0, got %lld", device, static_cast<long long>(bytes));
  const std::lock_guard<std::mutex> lock(account(device).mutex);
  account(device).budget = bytes;
  return {};
}
void trim(int32_t device) {
  if (check_device(device).ok()) trim_streams(device);
}
#if defined(TERSOR_CUDA_EMULATE) || defined(TERSOR_CUDA_FAULTS)
Status inject(int32_t device, Fault fault, int64_t n) {
  TERSOR_TRY(check_device(device));
  return runtime::inject(device, fault, n);
}
#endif

}  // namespace
}  // namespace cuda
}  // namespace tersor

TERSOR_BACKEND_EXPORT const tersor::Backend* tersor_backend() {
  using namespace tersor::cuda;
  static const tersor::Backend backend = {tersor::kBackendAbi, sizeof(tersor::Backend), tersor::seam_hash(), "cuda", runtime::build_text(), count, describe, health, open, close, synchronize, allocate, release, upload, download, copy, fill, kernel, row, memory, reset_peak, set_budget, trim,
#if defined(TERSOR_CUDA_EMULATE) || defined(TERSOR_CUDA_FAULTS)
                                          inject};
#else
                                          nullptr};
#endif
  return &backend;
}
