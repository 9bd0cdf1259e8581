// One thread pool per process. The partition of work depends on (n, grain) only, never on the number of threads: float results
// are bit-identical for any thread count as long as each chunk writes its own outputs (reductions: one partial per chunk, combined in order).
#pragma once
#include <atomic>
#include <chrono>
#include <cstdint>
#include <thread>
#include <type_traits>

#include "base/status.h"

namespace tersor {

using Cancel = std::atomic<bool>;

// Calls body(context, begin, end) for [0, n) cut at multiples of grain; the caller's thread takes part. Nested calls run serially.
// Returns ERR_ABORTED when *cancel became true (chunks not yet started are skipped). Bodies must not throw.
using RangeBody = void (*)(void* context, int64_t begin, int64_t end);
Status parallel_for_raw(int64_t n, int64_t grain, RangeBody body, void* context, const Cancel* cancel);

template <class F> Status parallel_for(int64_t n, int64_t grain, const Cancel* cancel, F&& body) {
  using Body = std::remove_reference_t<F>;
  return parallel_for_raw(
      n, grain, [](void* c, int64_t begin, int64_t end) { (*static_cast<Body*>(c))(begin, end); }, const_cast<void*>(static_cast<const void*>(&body)), cancel);
}

// Grain so that a chunk costs about 2^15 elementary operations.
inline int64_t grain_for(int64_t cost_per_item) {
  const int64_t g = (int64_t(1) << 15) / (cost_per_item > 0 ? cost_per_item : 1);
  return g > 0 ? g : 1;
}

inline void spin_pause() {
#if defined(__x86_64__) && defined(__GNUC__)
  __builtin_ia32_pause();
#elif defined(__aarch64__) && defined(__GNUC__)
  __asm__ volatile("yield");
#endif
}
// Waits up to `most` for something that another thread is at; false when it did not come. Waking a sleeping thread takes 50 microseconds on a virtual machine,
// so this looks again and again: with pauses at first, then letting others have the processor in between, should there be more threads than processors.
template <class F> bool spin_until(std::chrono::microseconds most, F&& done) {
  for (int spin = 0; spin < 1000; spin++) {
    if (done()) return true;
    spin_pause();
  }
  const auto end = std::chrono::steady_clock::now() + most;
  while (!done()) {
    if (std::chrono::steady_clock::now() >= end) return false;
    std::this_thread::yield();
  }
  return true;
}

int thread_count();               // threads that a parallel_for may use (TERSOR_THREADS, default: cores this process may run on)
Status set_thread_count(int n);   // 1 .. 256, capped to the pool's size at its start

// Long work off the caller's thread: jobs run on threads of our own (never libuv's four), first in, first out.
struct Job {
  virtual ~Job() = default;
  virtual void run() = 0;  // must not throw; deletes nothing: the queue deletes the job after run()
};
bool submit_job(Job* job);  // false: no thread could be started, the caller runs it itself

}  // namespace tersor
