// The seam between the core and a library that computes on a device: one versioned table of functions, plain data, no allocation or exception crosses it.
// The library exports `tersor_backend`; the core loads it when a device is asked for (plugins.h), compares abi, bytes and hash, and refuses it with the
// reason where one differs. native/cuda implements it twice: for CUDA, and emulated on the processor for tests.
//
// Threads. Calls come from any thread. On one stream they come one at a time (the core holds a lock), but for `synchronize`, which may run beside
// another call; on different streams, also of one device, they may overlap. Each call selects its device itself.
// Order. Work of a stream runs in the order of the calls. `release` is in that order too: the memory may serve the next `allocate` of this stream at
// once, and another stream's when the work before the release is done.
// Failure. A call that fails changes nothing and says why; after a fault of a kernel or the loss of the device every later call that could touch it fails with
// Code::device and `health` says why (`release` and `close` still take what they get). Nothing is printed, nothing aborts.
// The core never dereferences a device address.
#pragma once
#include <cstddef>
#include <cstdint>
#include <initializer_list>

#include "ops/args.h"

#if defined(_WIN32)
#define TERSOR_BACKEND_EXPORT extern "C" __declspec(dllexport)
#else
#define TERSOR_BACKEND_EXPORT extern "C" __attribute__((visibility("default")))
#endif

extern "C" {
struct tersor_stream;  // the library's own: a queue of work on one device
}

namespace tersor {

constexpr uint32_t kBackendAbi = 1;
constexpr int64_t kDeviceAlignment = 256;  // of what `allocate` gives; a temporary of a plan stands at a multiple of 64 bytes in such a block

struct DeviceInfo {
  char name[128];            // "NVIDIA H200"
  char driver[32];           // "580.65.06", "" where unknown
  char uuid[48];             // "GPU-..."; "" where unknown
  int32_t driver_version;    // newest run time that the driver serves, as CUDA counts: 13000 = 13.0
  int32_t runtime_version;   // the one in the library
  int32_t sm;                // compute capability: 90 = 9.0
  int32_t multiprocessors;
  int32_t shared_bytes;      // that one block may have
  int32_t clock_khz;         // highest clock; 0 where unknown
  int64_t l2_bytes;
  int64_t memory, free;      // bytes of the device
};

struct DeviceMemory {
  int64_t bytes;    // of blocks that were given out and not released
  int64_t peak;     // highest `bytes` since start or reset_peak
  int64_t blocks;
  int64_t cached;   // held back for the next allocation
  int64_t budget;   // largest `bytes` allowed
};

// What a test makes happen; a library for real devices has inject = nullptr.
enum class Fault : int32_t {
  memory = 0,  // the n-th allocation from now is refused: Code::memory_budget
  kernel = 1,  // the n-th kernel from now faults: its call may be ok, a later one fails, and so does every one after it
  lost = 2,    // the device is gone at the n-th call from now
};

// A kernel entry. args: the op's argument struct of ops/args.h after `infer`, every `data` an address on the stream's device (`owner` says nothing; a tensor
// that is left out has both null; one without elements has an address). Inputs may be strided views; tensors changed in place and results are
// row-major; results are not initialised. The result of an elementwise op may be the very memory of an input of its size.
// Answers ok when the work is queued. Code::unsupported, before anything is queued: not for these shapes or options; where the user chose so, the core then
// computes on the processor. An op that is sized by its values (op_table.h) sets the first dimension of its results before it answers.
using KernelFn = Status (*)(tersor_stream* stream, void* args);

struct Backend {
  uint32_t abi;      // kBackendAbi
  uint32_t bytes;    // sizeof(Backend)
  uint64_t hash;     // seam_hash(), as the library was compiled
  const char* name;  // "cuda"; devices are called cuda:0, cuda:1, ...
  const char* build; // for people: "CUDA 13.0, sm_75 sm_80 sm_90a" or "emulated"

  // How many devices there are, at least 1; Code::device and why when there is none: no driver, one that is too old, no device visible.
  Status (*count)(int32_t* devices);
  Status (*describe)(int32_t device, DeviceInfo* info);
  // ok, or why every call on the device fails from now on.
  Status (*health)(int32_t device);

  Status (*open)(int32_t device, tersor_stream** stream);
  void (*close)(tersor_stream* stream);            // waits for its work; what was allocated on it is released before
  Status (*synchronize)(tersor_stream* stream);    // until the work that was queued before is done; its failures show here at the latest

  // bytes = 0 gives an address too. Code::memory_budget beyond the budget or what the device has.
  Status (*allocate)(tersor_stream* stream, int64_t bytes, void** data);
  void (*release)(tersor_stream* stream, void* data, int64_t bytes);
  Status (*upload)(tersor_stream* stream, void* to, const void* from, int64_t bytes);      // `from` may change when it answers
  Status (*download)(tersor_stream* stream, void* to, const void* from, int64_t bytes);    // waits
  Status (*copy)(tersor_stream* stream, void* to, const void* from, int64_t bytes);        // within the device; not overlapping
  Status (*fill)(tersor_stream* stream, void* to, int32_t byte, int64_t bytes);

  // nullptr: there is none. signature: the dtypes of the row's T, O and M fields in row order, "-" for one left out: linear without bias is "f32,f32,-",
  // random_normal is "". Results and D fields are not in it: a kernel answers Code::unsupported where it does not know theirs.
  KernelFn (*kernel)(const char* op, const char* signature);
  // The table of kernels for people, one "op signature" a line by index; nullptr behind the last.
  const char* (*row)(int32_t index);

  Status (*memory)(int32_t device, DeviceMemory* memory);
  void (*reset_peak)(int32_t device);
  Status (*set_budget)(int32_t device, int64_t bytes);  // 0: the default (TERSOR_CUDA_MAX_BYTES, else nine tenths of the device)
  void (*trim)(int32_t device);                         // gives what is cached back to the device
  Status (*inject)(int32_t device, Fault fault, int64_t n);  // for tests; n = 0: no more. nullptr: not in this library
};

// Whether library and core mean the same by every argument struct, code and dtype: a hash over their tables and sizes. Of the ops' texts, punctuation
// does not count: "softmax(T:x,R:y)" in the core, "softmax" and "T:xR:y" here.
struct SeamHash {
  uint64_t value = 1469598103934665603ull;
  void text(const char* p) {
    for (; *p; p++)
      if (*p != '(' && *p != ',' && *p != ')') value = (value ^ static_cast<unsigned char>(*p)) * 1099511628211ull;
  }
  void number(uint64_t n) {
    for (int i = 0; i < 8; i++) value = (value ^ ((n >> (8 * i)) & 255)) * 1099511628211ull;
  }
  // Behind the ops: what stands beside their table.
  uint64_t finish() {
#define TERSOR_ENUM(name, ...) text(#name ":" #__VA_ARGS__);
#include "ops/enums.def"
#undef TERSOR_ENUM
#define TERSOR_STATUS(name, code, js_class, when) text(#name);
#include "base/status.def"
#undef TERSOR_STATUS
#define TERSOR_DTYPE(name, bytes, type, js, st, npy) text(#name), number(bytes);
#include "base/dtype.def"
#undef TERSOR_DTYPE
    for (const size_t bytes : {sizeof(Status), sizeof(TensorRef), sizeof(IntList), sizeof(DeviceInfo), sizeof(DeviceMemory), sizeof(Backend)}) number(bytes);
    return value;
  }
};

// For a library; the core has the same from its own table (plugins.cc).
inline uint64_t seam_hash() {
#define T(n) "T:" #n
#define O(n) "O:" #n
#define M(n) "M:" #n
#define R(n) "R:" #n
#define I(n) "I:" #n
#define F(n) "F:" #n
#define B(n) "B:" #n
#define L(n) "L:" #n
#define D(n) "D:" #n
#define E(e, n) "E:" #e ":" #n
  static const struct {
    const char *name, *fields;
    size_t bytes;
  } ops[] = {
#define OP(name, fields) {#name, fields, sizeof(name##_args)},
#include "ops/ops.def"
  };
  SeamHash h;
  for (const auto& op : ops) h.text(op.name), h.text(op.fields), h.number(op.bytes);
  return h.finish();
}

}  // namespace tersor

// The one symbol of a library.
using tersor_backend_fn = const tersor::Backend* (*)();
#define TERSOR_BACKEND_SYMBOL "tersor_backend"

// Environment of the emulated library: TERSOR_CUDA_EMULATE_DEVICES, how many devices it shows (1; 0: no device, -1: the driver is too old).
