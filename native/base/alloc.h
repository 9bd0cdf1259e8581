// All memory of tensors and scratch space goes through here: 64-byte aligned, 64 readable bytes of slack behind the block (so a
// vector load may start at the last element), counted against a budget before malloc is asked (Linux overcommits: malloc does not fail).
// Large blocks that were freed are kept for a while (block_cache.h); they do not count as used.
#pragma once
#include <cstddef>
#include <cstdint>

#include "base/status.h"

namespace tersor {

struct MemoryStats {
  int64_t bytes;    // in use now
  int64_t peak;     // highest since start or reset_peak
  int64_t blocks;   // blocks in use now
  int64_t budget;   // limit
};

constexpr size_t kAlignment = 64;
constexpr size_t kSlack = 64;

// where: the name for the error message. bytes = 0 gives a valid block. The content is not initialised.
Status allocate(const char* where, int64_t bytes, void** out);
void deallocate(void* block, int64_t bytes);

MemoryStats memory_stats();
void memory_reset_peak();
Status memory_set_budget(int64_t bytes);  // 0 = default (80 % of cgroup limit or physical memory, TERSOR_MAX_BYTES overrides)

#if defined(TERSOR_TESTING)
void fail_allocation_after(int64_t n);  // the n-th allocation from now fails (0 = off)
#endif

// Scratch of one function call. A few hundred bytes come with the object: asking for memory twice costs more than a small op.
class Scratch {
 public:
  Scratch() = default;
  ~Scratch() { release(); }
  Scratch(const Scratch&) = delete;
  Scratch& operator=(const Scratch&) = delete;
  Status reserve(const char* where, int64_t bytes);
  template <class T> T* as() const { return static_cast<T*>(data_); }

 private:
  void release() {
    if (allocated_) deallocate(data_, bytes_);
    allocated_ = false;
    data_ = nullptr;
  }
  static constexpr int64_t kOwn = 512;
  void* data_ = nullptr;
  int64_t bytes_ = 0;
  bool allocated_ = false;
  char own_[kOwn + kSlack + kAlignment];  // not initialised, as any scratch
};

}  // namespace tersor
