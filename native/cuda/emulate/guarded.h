// Memory that ends at an unreadable page and has one before it: shared arrays and device allocations of the emulator. What alignment leaves between the
// end and the page, and 64 bytes before the start, hold a pattern that `intact` looks at.
#pragma once
#include <cstddef>

namespace tersor {
namespace emulate {

class Guarded {
 public:
  bool open(size_t bytes, size_t alignment);  // poisoned
  void close();
  void refill();                              // poison again
  bool intact() const;
  bool near(const void* at) const {           // within the mapping, unreadable pages included
    return at >= map_ && at < map_ + map_bytes_;
  }
  char* data() const { return data_; }
  size_t bytes() const { return bytes_; }

 private:
  char* map_ = nullptr;
  char* data_ = nullptr;
  size_t map_bytes_ = 0, bytes_ = 0, tail_ = 0;
};

// The device allocation whose mapping holds `at`, or null (runtime.cc).
const Guarded* find_guarded(const void* at);

}  // namespace emulate
}  // namespace tersor
