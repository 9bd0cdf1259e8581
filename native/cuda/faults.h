// Failures made on purpose, so that tests reach the paths behind them: by Backend::inject, or for a whole process by
// TERSOR_CUDA_FAIL=alloc:N | launch:N | lost:N (the N-th from the start, N >= 1; several with commas).
#pragma once
#include <atomic>
#include <cstdlib>
#include <cstring>

#include "backend/backend.h"

namespace tersor {
namespace cuda {

class Faults {
 public:
  Faults() {
    static const char* const names[] = {"alloc:", "launch:", "lost:"};
    const char* text = getenv("TERSOR_CUDA_FAIL");
    for (int i = 0; text && i < 3; i++)
      if (const char* at = strstr(text, names[i])) left_[i] = strtoll(at + strlen(names[i]), nullptr, 10);
  }
  void set(Fault fault, int64_t n) { left_[static_cast<int>(fault)] = n; }
  // One more such event: true when it is the one that fails.
  bool strikes(Fault fault) {
    std::atomic<int64_t>& left = left_[static_cast<int>(fault)];
    return left.load(std::memory_order_relaxed) > 0 && left.fetch_sub(1) == 1;
  }

 private:
  std::atomic<int64_t> left_[3] = {};
};

}  // namespace cuda
}  // namespace tersor
