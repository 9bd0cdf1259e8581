#include "cuda/emulate/machine.h"

#include <setjmp.h>
#include <signal.h>
#include <sys/mman.h>

#include <cstdio>
#include <cstring>
#include <mutex>
#include <vector>

#include "cuda/emulate/guarded.h"
#include "cuda/emulate/switch.h"

namespace tersor {
namespace emulate {

Machine machine;

namespace {

constexpr size_t kStack = size_t(128) << 10, kCanary = 64;

struct SharedArray {
  const void* place;
  size_t bytes;
  const char* name;
  Guarded memory;
};

struct State {
  std::mutex one_launch;
  uint64_t seed = 1, launches = 0, random = 1;
  char* stacks = nullptr;
  Fiber* fibers = nullptr;
  void* scheduler = nullptr;  // its stack pointer while a fiber runs
  int ready[kMaxThreads], ready_count = 0, live = 0, threads = 0;
  int barrier_arrived = 0, barrier_line = 0, barrier_sum = 0, barrier_result = 0;
  const Launch* launch = nullptr;
  std::vector<SharedArray> arrays;          // all that were ever asked for; `active` are this block's
  int active[64], active_count = 0;
  int dynamic = -1;
  char error[200] = "";
  sigjmp_buf escape;
  bool escapable = false;
  struct sigaction before_segv, before_bus;
} state;

uint64_t next_random() {
  state.random ^= state.random << 13;
  state.random ^= state.random >> 7;
  state.random ^= state.random << 17;
  return state.random;
}

void note(const char* why, int line) {
  if (state.error[0]) return;
  const Fiber* f = machine.current;
  if (line > 0) snprintf(state.error, sizeof state.error, "block (%u,%u,%u) thread (%u,%u,%u) line %d: %s", machine.block.x, machine.block.y, machine.block.z, f->thread.x, f->thread.y, f->thread.z, line, why);
  else snprintf(state.error, sizeof state.error, "block (%u,%u,%u) thread (%u,%u,%u): %s", machine.block.x, machine.block.y, machine.block.z, f->thread.x, f->thread.y, f->thread.z, why);
}

void yield() { switch_stack(&machine.current->sp, state.scheduler); }

void fiber_main() {
  state.launch->body(state.launch->arguments);
  machine.current->wait = Wait::done;
  state.live--;
  yield();
}

void wake(int index) {
  state.fibers[index].wait = Wait::none;
  state.ready[state.ready_count++] = index;
}

int find_array(const void* place, size_t bytes, const char* name) {
  for (size_t i = 0; i < state.arrays.size(); i++)
    if (state.arrays[i].place == place && state.arrays[i].bytes == bytes) return static_cast<int>(i);
  SharedArray a{place, bytes, name, {}};
  if (!a.memory.open(bytes, place ? 16 : 128)) return -1;
  state.arrays.push_back(a);
  return static_cast<int>(state.arrays.size()) - 1;
}

void on_fault(int signal, siginfo_t* info, void* context) {
  if (!state.escapable) {  // not ours: as it was before
    sigaction(signal, signal == SIGSEGV ? &state.before_segv : &state.before_bus, nullptr);
    (void)context;
    return;
  }
  const char* at = static_cast<const char*>(info->si_addr);
  char why[120];
  snprintf(why, sizeof why, "touches address %p, which is not mapped", static_cast<const void*>(at));
  for (int i = 0; i < state.active_count; i++) {
    const SharedArray& a = state.arrays[static_cast<size_t>(state.active[i])];
    if (a.memory.near(at)) snprintf(why, sizeof why, "touches shared array '%s' (%zu bytes) at byte %td", a.name, a.bytes, at - a.memory.data());
  }
  if (const Guarded* g = find_guarded(at)) snprintf(why, sizeof why, "touches a device allocation of %zu bytes at byte %td", g->bytes(), at - g->data());
  note(why, 0);
  state.escapable = false;
  siglongjmp(state.escape, 1);
}

void describe_standstill() {
  for (int i = 0; i < state.threads && !state.error[0]; i++) {
    const Fiber& f = state.fibers[i];
    if (f.wait != Wait::warp) continue;
    machine.current = &state.fibers[i];
    char why[120];
    snprintf(why, sizeof why, "%s of lanes %08x waits for lanes that never come", f.what, f.mask);
    note(why, f.line);
  }
}

bool check_canaries() {
  for (int i = 0; i < state.active_count; i++) {
    const SharedArray& a = state.arrays[static_cast<size_t>(state.active[i])];
    if (a.memory.intact()) continue;
    snprintf(state.error, sizeof state.error, "block (%u,%u,%u): wrote outside of shared array '%s' (%zu bytes)", machine.block.x, machine.block.y, machine.block.z, a.name, a.bytes);
    return false;
  }
  return true;
}

// One block; false after an error.
bool run_block() {
  const dim3 t = machine.threads;
  state.threads = static_cast<int>(t.x * t.y * t.z);
  state.live = state.threads;
  state.ready_count = state.active_count = 0;
  state.dynamic = -1;
  state.barrier_arrived = state.barrier_sum = 0;
  for (int i = 0; i < state.threads; i++) {
    Fiber& f = state.fibers[i];
    const unsigned u = static_cast<unsigned>(i);
    f.thread = {u % t.x, u / t.x % t.y, u / t.x / t.y};
    f.index = i;
    f.copy_count = f.copy_group = 0;
    f.sp = first_stack(state.stacks + kStack * static_cast<size_t>(i), kStack, fiber_main);
    wake(i);
  }
  while (state.live > 0) {
    if (state.ready_count > 0) {
      const int pick = static_cast<int>(next_random() % static_cast<uint64_t>(state.ready_count));
      const int index = state.ready[pick];
      state.ready[pick] = state.ready[--state.ready_count];
      machine.current = &state.fibers[index];
      switch_stack(&state.scheduler, machine.current->sp);
      if (state.error[0]) return false;
      continue;
    }
    if (state.barrier_arrived == state.live) {
      state.barrier_arrived = 0;
      state.barrier_result = state.barrier_sum;
      state.barrier_sum = 0;
      for (int i = 0; i < state.threads; i++)
        if (state.fibers[i].wait == Wait::barrier) wake(i);
      continue;
    }
    describe_standstill();
    return false;
  }
  return check_canaries();
}

// Blocks in an order that a kernel must not rely on: a step that shares no factor with their number.
Status run_grid() {
  const uint64_t nx = machine.grid.x, ny = machine.grid.y, n = nx * ny * machine.grid.z;
  uint64_t step = n > 2 ? next_random() % n | 1 : 1, at = n > 1 ? next_random() % n : 0;
  auto factor = [](uint64_t a, uint64_t b) {
    while (b) {
      const uint64_t r = a % b;
      a = b, b = r;
    }
    return a;
  };
  while (factor(step, n) != 1) step += 2;
  step %= n > 1 ? n : 2;
  for (uint64_t i = 0; i < n; i++, at = (at + step) % n) {
    machine.block = {static_cast<unsigned>(at % nx), static_cast<unsigned>(at / nx % ny), static_cast<unsigned>(at / nx / ny)};
    if (sigsetjmp(state.escape, 1) != 0) break;
    state.escapable = true;
    const bool fine = run_block();
    state.escapable = false;
    if (!fine) break;
  }
  if (!state.error[0]) return {};
  const char* name = strstr(state.launch->kernel, "kernel = ");  // of "... launch(...) [with auto kernel = ...; ...]"
  name = name ? name + 9 : state.launch->kernel;
  const size_t length = strcspn(name, ";]");
  return fail(Code::device, "kernel %.*s: %s", static_cast<int>(length < 90 ? length : 90), name, state.error);
}

}  // namespace

void* Machine::dynamic_shared() {
  if (state.dynamic < 0) {
    state.dynamic = find_array(nullptr, static_cast<size_t>(state.launch->shared_bytes), "dynamic");
    if (state.dynamic < 0) stop("no memory for shared arrays", 0);
    state.arrays[static_cast<size_t>(state.dynamic)].memory.refill();
    state.active[state.active_count++] = state.dynamic;
  }
  return state.arrays[static_cast<size_t>(state.dynamic)].memory.data();
}

void* shared_array(const void* place, size_t bytes, const char* name) {
  for (int i = 0; i < state.active_count; i++) {
    const SharedArray& a = state.arrays[static_cast<size_t>(state.active[i])];
    if (a.place == place) return a.memory.data();
  }
  const int index = find_array(place, bytes, name);
  if (index < 0 || state.active_count == 64) stop("too many shared arrays", 0);
  state.active[state.active_count++] = index;
  state.arrays[static_cast<size_t>(index)].memory.refill();
  return state.arrays[static_cast<size_t>(index)].memory.data();
}

void stop(const char* why, int line) {
  note(why, line);
  yield();
  __builtin_unreachable();  // the scheduler ends the launch
}

int barrier(int line, int value) {
  Fiber& f = *machine.current;
  if (state.barrier_arrived > 0 && state.barrier_line != line) stop("__syncthreads where other threads of the block are at another one", line);
  state.barrier_line = line;
  state.barrier_arrived++;
  state.barrier_sum += value;
  f.wait = Wait::barrier;
  f.line = line;
  yield();
  return state.barrier_result;
}

void meet(uint32_t mask, const char* what, int line, void* data, Meeting body) {
  Fiber& f = *machine.current;
  const int lane = f.index & 31, first = f.index - lane, lanes = state.threads - first < 32 ? state.threads - first : 32;
  if (!(mask >> lane & 1u)) stop("a warp collective whose mask leaves out the calling lane", line);
  if (lanes < 32) mask &= (1u << lanes) - 1;  // lanes that the block does not have
  f.wait = Wait::warp;
  f.mask = mask;
  f.what = what;
  f.line = line;
  f.data = data;
  void* all[32] = {};
  for (int i = 0; i < lanes; i++) {
    if (!(mask >> i & 1u)) continue;
    const Fiber& other = state.fibers[first + i];
    if (other.wait == Wait::warp && other.mask == mask && (other.line != line || strcmp(other.what, what) != 0)) stop("lanes of one mask meet in different warp collectives", line);
    if (other.wait != Wait::warp || other.mask != mask) return yield();  // the last one to come does the work
    all[i] = other.data;
  }
  body(all, mask);
  for (int i = 0; i < lanes; i++)
    if (mask >> i & 1u) wake(first + i);
  yield();
}

void give_way() {
  wake(machine.current->index);
  yield();
}

void poison(void* data, size_t bytes) {
  char* p = static_cast<char*>(data);
  for (; bytes >= 4; bytes -= 4, p += 4) memcpy(p, &kPoison, 4);
  memcpy(p, &kPoison, bytes);
}

void copy_start(void* to, const void* from, int bytes, int filled, int line) {
  Fiber& f = *machine.current;
  if (f.copy_count == 256) stop("more than 256 asynchronous copies of one thread on their way", line);
  if (reinterpret_cast<uintptr_t>(to) % static_cast<uintptr_t>(bytes) || reinterpret_cast<uintptr_t>(from) % static_cast<uintptr_t>(bytes))
    stop("an asynchronous copy that is not aligned to its size", line);
  poison(to, static_cast<size_t>(bytes));
  f.copies[f.copy_count++] = {to, from, bytes, filled, f.copy_group};
}
void copy_commit() { machine.current->copy_group++; }
void copy_wait(int groups_left) {
  Fiber& f = *machine.current;
  int kept = 0;
  for (int i = 0; i < f.copy_count; i++) {
    const Copy c = f.copies[i];
    if (c.group >= f.copy_group - groups_left) {
      f.copies[kept++] = c;
      continue;
    }
    memcpy(c.to, c.from, static_cast<size_t>(c.filled));
    memset(static_cast<char*>(c.to) + c.filled, 0, static_cast<size_t>(c.bytes - c.filled));
  }
  f.copy_count = kept;
}

void set_seed(uint64_t seed) {
  const std::lock_guard<std::mutex> lock(state.one_launch);
  state.seed = seed;
  state.launches = 0;
}

Status run(const Launch& launch) {
  const std::lock_guard<std::mutex> lock(state.one_launch);
  if (!state.stacks) {
    const size_t bytes = kStack * kMaxThreads;
    void* p = mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (p == MAP_FAILED) return fail(Code::memory_budget, "the emulated device has no memory for the stacks of its threads");
    state.stacks = static_cast<char*>(p);
    state.fibers = new Fiber[kMaxThreads];
  }
  state.random = (state.seed * 0x9E3779B97F4A7C15ull + ++state.launches * 0xBF58476D1CE4E5B9ull) | 1;
  for (int i = 0; i < 4; i++) next_random();
  state.launch = &launch;
  state.error[0] = 0;
  machine.grid = launch.grid;
  machine.threads = launch.threads;
  static char signal_stack[64 << 10];
  stack_t own{}, before{};
  own.ss_sp = signal_stack;
  own.ss_size = sizeof signal_stack;
  sigaltstack(nullptr, &before);
  if (before.ss_flags & SS_DISABLE) sigaltstack(&own, nullptr);
  struct sigaction action{};
  action.sa_sigaction = on_fault;
  action.sa_flags = SA_SIGINFO | SA_ONSTACK;
  sigaction(SIGSEGV, &action, &state.before_segv);
  sigaction(SIGBUS, &action, &state.before_bus);
  const Status status = run_grid();
  sigaction(SIGSEGV, &state.before_segv, nullptr);
  sigaction(SIGBUS, &state.before_bus, nullptr);
  if (before.ss_flags & SS_DISABLE) {
    own.ss_flags = SS_DISABLE;
    sigaltstack(&own, nullptr);
  }
  return status;
}

}  // namespace emulate
}  // namespace tersor
