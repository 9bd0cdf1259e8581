// Freed large blocks, kept for the next allocation of the same size. A training frees and asks for the same sizes in every step, and fresh pages are
// dear: the kernel zeroes them, which took a quarter of a LeNet-5 step. At most kMost bytes are kept; the oldest go first.
#pragma once
#include <cstddef>
#include <cstring>
#include <mutex>

namespace tersor {

class BlockCache {
 public:
  static constexpr size_t kLeast = size_t(1) << 20;  // smaller blocks stay in the heap of malloc
  static constexpr size_t kMost = size_t(256) << 20;

  // A kept block of exactly these bytes, or null.
  void* take(size_t bytes) {
    if (bytes < kLeast) return nullptr;
    const std::lock_guard<std::mutex> lock(mutex_);
    for (int i = count_ - 1; i >= 0; i--)
      if (entries_[i].bytes == bytes) return remove(i);
    return nullptr;
  }

  // Keeps the block (true), or leaves it to the caller. `release` frees blocks that have to go.
  template <class Release> bool put(void* block, size_t bytes, Release release) {
    if (bytes < kLeast || bytes > kMost / 2) return false;
    const std::lock_guard<std::mutex> lock(mutex_);
    while (count_ == kEntries || total_ + bytes > kMost) {
      const size_t oldest = entries_[0].bytes;
      release(remove(0), oldest);
    }
    entries_[count_++] = {block, bytes};
    total_ += bytes;
    return true;
  }

  // Frees everything that is kept; the bytes that were.
  template <class Release> size_t clear(Release release) {
    const std::lock_guard<std::mutex> lock(mutex_);
    const size_t freed = total_;
    while (count_ > 0) {
      const size_t bytes = entries_[count_ - 1].bytes;
      release(remove(count_ - 1), bytes);
    }
    return freed;
  }

  size_t total() {
    const std::lock_guard<std::mutex> lock(mutex_);
    return total_;
  }

 private:
  struct Entry {
    void* block;
    size_t bytes;
  };
  static constexpr int kEntries = 64;

  void* remove(int i) {
    void* block = entries_[i].block;
    total_ -= entries_[i].bytes;
    count_--;
    memmove(&entries_[i], &entries_[i + 1], sizeof(Entry) * static_cast<size_t>(count_ - i));
    return block;
  }

  std::mutex mutex_;
  Entry entries_[kEntries];
  int count_ = 0;
  size_t total_ = 0;
};

}  // namespace tersor
