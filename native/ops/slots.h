// Scratch for the bodies of a parallel_for: as many equal blocks as threads can be inside at once, allocated before the loop (so the
// loop cannot fail) and lent to one chunk at a time. Which slot a chunk gets never shows in a result.
#pragma once
#include <atomic>

#include "base/alloc.h"
#include "cpu/threads.h"

namespace tersor {

class ScratchSlots {
 public:
  // chunks: how many bodies can run at most. bytes_each is rounded up to whole cache lines.
  Status reserve(const char* where, int64_t bytes_each, int64_t chunks) {
    const int64_t threads = thread_count();
    count_ = static_cast<int>(threads < chunks ? threads : chunks);
    if (count_ < 1) count_ = 1;
    if (count_ > kMax) count_ = kMax;
    each_ = (bytes_each + 63) / 64 * 64 + 64;
    for (int i = 0; i < count_; i++) busy_[i].store(false, std::memory_order_relaxed);
    return memory_.reserve(where, each_ * count_);
  }

  class Lease {
   public:
    explicit Lease(ScratchSlots& slots) : slots_(slots), index_(slots.take()) {}
    ~Lease() { slots_.busy_[index_].store(false, std::memory_order_release); }
    Lease(const Lease&) = delete;
    Lease& operator=(const Lease&) = delete;
    template <class T> T* as() const { return reinterpret_cast<T*>(slots_.memory_.as<char>() + index_ * slots_.each_); }

   private:
    ScratchSlots& slots_;
    int index_;
  };

 private:
  static constexpr int kMax = 256;

  // A free slot is missing only if the thread limit was raised while the loop runs; then the extra thread spins for its turn.
  int take() {
    for (int i = 0;; i = i + 1 < count_ ? i + 1 : 0)
      if (!busy_[i].load(std::memory_order_relaxed) && !busy_[i].exchange(true, std::memory_order_acquire)) return i;
  }

  Scratch memory_;
  int64_t each_ = 0;
  int count_ = 0;
  std::atomic<bool> busy_[kMax];
};

}  // namespace tersor
