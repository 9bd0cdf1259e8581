#include "cuda/emulate/guarded.h"

#include <sys/mman.h>
#include <unistd.h>

#include <cstring>

#include "cuda/emulate/machine.h"

namespace tersor {
namespace emulate {

static constexpr size_t kBefore = 64;
static constexpr unsigned char kMark = 0xC5;

bool Guarded::open(size_t bytes, size_t alignment) {
  const size_t page = static_cast<size_t>(sysconf(_SC_PAGESIZE));
  tail_ = (bytes + alignment - 1) / alignment * alignment - bytes;
  const size_t body = (bytes + tail_ + kBefore + page - 1) / page * page;
  map_bytes_ = body + 2 * page;
  void* p = mmap(nullptr, map_bytes_, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (p == MAP_FAILED) return false;
  map_ = static_cast<char*>(p);
  mprotect(map_, page, PROT_NONE);
  mprotect(map_ + page + body, page, PROT_NONE);
  data_ = map_ + page + body - tail_ - bytes;
  bytes_ = bytes;
  refill();
  return true;
}

void Guarded::close() {
  if (map_) munmap(map_, map_bytes_);
  map_ = nullptr;
}

void Guarded::refill() {
  memset(data_ - kBefore, kMark, kBefore);
  poison(data_, bytes_);
  memset(data_ + bytes_, kMark, tail_);
}

bool Guarded::intact() const {
  for (size_t i = 0; i < kBefore; i++)
    if (static_cast<unsigned char>(data_[i - kBefore]) != kMark) return false;
  for (size_t i = 0; i < tail_; i++)
    if (static_cast<unsigned char>(data_[bytes_ + i]) != kMark) return false;
  return true;
}

}  // namespace emulate
}  // namespace tersor
