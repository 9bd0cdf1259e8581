// Position of the first value of an i32 list outside [0, limit), or n: one pass, shared among threads.
#pragma once
#include <atomic>

#include "cpu/threads.h"

namespace tersor {

inline Status find_bad_index(const int32_t* index, int64_t n, int64_t limit, const Cancel* cancel, int64_t* position) {
  std::atomic<int64_t> bad{n};
  TERSOR_TRY(parallel_for(n, int64_t(1) << 16, cancel, [&](int64_t begin, int64_t end) {
    uint32_t top = 0;  // negative values become large
    for (int64_t i = begin; i < end; i++) top = static_cast<uint32_t>(index[i]) > top ? static_cast<uint32_t>(index[i]) : top;
    if (static_cast<int64_t>(top) < limit) return;
    int64_t i = begin;
    while (static_cast<int64_t>(static_cast<uint32_t>(index[i])) < limit) i++;
    int64_t seen = bad.load();
    while (i < seen && !bad.compare_exchange_weak(seen, i)) {
    }
  }));
  *position = bad.load();
  return {};
}

}  // namespace tersor
