// Device memory of one stream: blocks that were released are kept by size class and serve the next allocation of the class, without a call to the driver
// (the stream's order makes that safe). Size classes: 8 an octave, so at most an eighth is lost; multiples of 512 bytes. What is given out counts against the
// device's budget; what is kept goes back when the driver has no memory left, and on trim.
#pragma once
#include <map>
#include <mutex>
#include <vector>

#include "cuda/runtime.h"

namespace tersor {
namespace cuda {

// Of one device, over all its streams.
struct Account {
  std::mutex mutex;
  int64_t bytes = 0, peak = 0, blocks = 0, cached = 0, budget = 0;
  Status reserve(int32_t device, int64_t size);  // counts it, or Code::memory_budget
  void give_back(int64_t size);
  void add_cached(int64_t size);
};
Account& account(int32_t device);

class Allocator {
 public:
  Allocator(int32_t device, runtime::Queue* queue) : device_(device), queue_(queue) {}
  Status allocate(int64_t bytes, void** data);
  void release(void* data, int64_t bytes);
  void trim();  // gives kept blocks back to the driver

 private:
  Status from_driver(int64_t size, void** data);
  int32_t device_;
  runtime::Queue* queue_;
  std::mutex mutex_;
  std::map<int64_t, std::vector<void*>> kept_;
};

int64_t size_class(int64_t bytes);

}  // namespace cuda
}  // namespace tersor
