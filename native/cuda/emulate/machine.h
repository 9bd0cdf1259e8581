// The emulator: runs a grid of thread blocks on one processor, one block after another, the threads of a block as fibers. It is there to find what a
// test on real hardware finds by luck only:
//   - Between barriers and warp collectives the fibers run in a shuffled order (a seed, counted up by launch), blocks too: a missing barrier, or one block
//     that waits for another, gives wrong numbers.
//   - Shared memory is poisoned at the start of every block, ends at an unreadable page and has a canary before it; so do device allocations (runtime.cc).
//   - Threads that meet at different barriers, warp collectives that some named lane never reaches, and reads from a lane outside the mask are errors.
//   - An asynchronous copy (mma.h) arrives at its wait, not before.
// A fault ends the launch with a Status that names kernel, block and thread; memory stays as it is, as on a device.
// One launch at a time in a process (a lock).
#pragma once
#include <cstddef>
#include <cstdint>

#include "base/status.h"

struct uint3 {
  unsigned x, y, z;
};
struct dim3 {
  unsigned x, y, z;
  constexpr dim3(unsigned x_ = 1, unsigned y_ = 1, unsigned z_ = 1) : x(x_), y(y_), z(z_) {}
};

namespace tersor {
namespace emulate {

constexpr int kMaxThreads = 1024;
constexpr uint32_t kPoison = 0x7fb5a5a5u;  // a signalling NaN as f32, NaN as the upper f16, far off as an integer

enum class Wait : uint8_t { none, barrier, warp, done };

struct Copy {  // one asynchronous copy on its way
  void* to;
  const void* from;
  int bytes, filled, group;
};

struct Fiber {
  uint3 thread{};
  void* sp = nullptr;
  int index = 0;
  Wait wait = Wait::none;
  int line = 0;
  // at a warp collective
  uint32_t mask = 0;
  const char* what = nullptr;
  void* data = nullptr;
  // asynchronous copies
  Copy copies[256];
  int copy_count = 0, copy_group = 0;
};

struct Machine {
  Fiber* current = nullptr;
  uint3 block{};
  dim3 threads, grid;
  void* dynamic_shared();
};
extern Machine machine;

// A launch as launch.h makes it: body(arguments) is one thread's run through the kernel.
struct Launch {
  const char* kernel;
  dim3 grid, threads;
  int64_t shared_bytes;
  void (*body)(void* arguments);
  void* arguments;
};
Status run(const Launch& launch);
void set_seed(uint64_t seed);  // of the order of fibers and blocks, from the next launch on

// --- called by fibers ---
[[noreturn]] void stop(const char* why, int line);   // ends the launch with an error
int barrier(int line, int value);                    // __syncthreads; the sum of all values
void* shared_array(const void* place, size_t bytes, const char* name);
// All lanes of `mask` meet here with data of their own; the last one to come runs body, then all go on.
using Meeting = void (*)(void* const (&data)[32], uint32_t mask);
void meet(uint32_t mask, const char* what, int line, void* data, Meeting body);
void give_way();                                     // the others go on first: for a thread that waits until memory changes
void poison(void* data, size_t bytes);
void copy_start(void* to, const void* from, int bytes, int filled, int line);  // `filled` bytes of from, the rest zero
void copy_commit();
void copy_wait(int groups_left);

}  // namespace emulate
}  // namespace tersor
