// What an entry of kernels.inc works with: one queue of work on one device, its memory and what the device can do. No CUDA header: host code and tests
// include it too. Few headers at all: every kernel file is read several times by nvcc.
#pragma once
#include <cstdint>

#include "cuda/queue.h"

namespace tersor {
namespace cuda {

class Allocator;

struct Grid {
  int64_t x = 1, y = 1, z = 1;
  Grid(int64_t x_ = 1, int64_t y_ = 1, int64_t z_ = 1) : x(x_), y(y_), z(z_) {}
};

class Stream {
 public:
  static Status open(int32_t device, Stream** out);
  ~Stream();  // waits
  Stream(const Stream&) = delete;
  Stream& operator=(const Stream&) = delete;

  int32_t device = 0;
  int32_t sm = 0;               // compute capability: 75, 80, 90
  int32_t multiprocessors = 0;  // for the size of grids only; no result may depend on it
  int64_t shared_limit = 0;     // bytes of shared memory that one block may ask for
  int64_t l2_bytes = 0;

  // Device memory until the end of the call or of the ScratchScope around it, 256-byte aligned; not initialised. count = 0 gives an address too.
  template <class T> Status scratch(int64_t count, T** out) { return scratch_bytes(count * static_cast<int64_t>(sizeof(T)), reinterpret_cast<void**>(out)); }

  Status upload(void* to, const void* from, int64_t bytes);    // `from` may change when it answers
  Status download(void* to, const void* from, int64_t bytes);  // waits: only where a result's size depends on values
  Status copy(void* to, const void* from, int64_t bytes);
  Status fill(void* to, int32_t byte, int64_t bytes);
  Status synchronize();

  Status launch(const runtime::Launch& launch);  // launch.h

  // Checks of values that only the device can see (an index beyond a table). arm() gives the place where a kernel reports (see launch.h: IndexCheck) and
  // remembers the message, "... must be in [0, limit) ..."; the first bad position makes the next synchronize or download fail with it, once.
  Status check_values(const char* op, const char* name, int64_t limit, unsigned long long** at, unsigned long long* ticket);
  // The same with a rule and a code of its own: "quantize_rows: x must not be NaN". The text stays where it is.
  Status check_rule(Code code, const char* rule, unsigned long long** at, unsigned long long* ticket);

  // The call's own bookkeeping (plugin.cc).
  Status begin(const char* op);
  void end() { release_scratch(0); }
  int64_t scratch_count() const;
  void release_scratch(int64_t kept);  // all but the first `kept` blocks
  const char* op() const { return op_; }

  runtime::Queue* queue() const { return queue_; }
  Allocator& allocator();

 private:
  Stream() = default;
  Status scratch_bytes(int64_t bytes, void** out);
  Status reported();
  struct Check;
  Status add_check(const Check& check, unsigned long long** at, unsigned long long* ticket);

  struct Own;
  Own* own_ = nullptr;  // its memory and checks
  runtime::Queue* queue_ = nullptr;
  const char* op_ = "";
};

// Scratch memory that is taken while it lives goes back at its end: for steps of a loop. Work that is queued by then still has it (allocator.h).
class ScratchScope {
 public:
  explicit ScratchScope(Stream& stream) : stream_(stream), kept_(stream.scratch_count()) {}
  ~ScratchScope() { stream_.release_scratch(kept_); }
  ScratchScope(const ScratchScope&) = delete;
  ScratchScope& operator=(const ScratchScope&) = delete;

 private:
  Stream& stream_;
  int64_t kept_;
};

void trim_streams(int32_t device);  // gives what all streams of a device keep back to the driver

}  // namespace cuda
}  // namespace tersor
