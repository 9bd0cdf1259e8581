#include "base/alloc.h"

#include "base/block_cache.h"

#include <atomic>
#include <cstdlib>
#include <new>

#if defined(__linux__)
#include <sys/mman.h>
#endif
#if defined(__linux__) || defined(__APPLE__)
#include <unistd.h>
#endif

namespace tersor {
namespace {

std::atomic<int64_t> g_bytes{0};
std::atomic<int64_t> g_peak{0};
std::atomic<int64_t> g_blocks{0};
std::atomic<int64_t> g_budget{0};

int64_t physical_bytes() {
#if defined(__linux__)
  int64_t limit = static_cast<int64_t>(sysconf(_SC_PHYS_PAGES)) * sysconf(_SC_PAGE_SIZE);
  const char* cgroup_files[] = {"/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes"};
  for (const char* path : cgroup_files) {
    if (FILE* f = fopen(path, "r")) {
      long long v = 0;
      if (fscanf(f, "%lld", &v) == 1 && v > 0 && v < limit) limit = v;
      fclose(f);
    }
  }
  return limit;
#elif defined(__APPLE__)
  return static_cast<int64_t>(sysconf(_SC_PHYS_PAGES)) * sysconf(_SC_PAGESIZE);
#else
  return int64_t(8) << 30;
#endif
}

int64_t default_budget() {
  if (const char* text = getenv("TERSOR_MAX_BYTES")) {
    char* end = nullptr;
    long long v = strtoll(text, &end, 10);
    if (end != text && *end == 0 && v > 0) return v;
  }
  return physical_bytes() / 10 * 8;
}

int64_t budget() {
  int64_t b = g_budget.load(std::memory_order_relaxed);
  if (b == 0) g_budget.store(b = default_budget(), std::memory_order_relaxed);
  return b;
}

#if defined(TERSOR_TESTING)
std::atomic<int64_t> g_fail_after{0};
#endif

// Small blocks are aligned by hand: malloc's per-thread cache serves them in 20 ns, an aligned allocation costs 100. The byte before the
// block tells how far it was moved.
constexpr size_t kSmall = 768;
// Large blocks ask for pages of 2 MiB: a fault for each 4 KiB of a fresh result and misses of the TLB over cold weights cost a tenth of a pass over memory.
// Only whole pages inside a block are asked for, so it takes no more memory.
constexpr size_t kHugePage = size_t(2) << 20, kHuge = 2 * kHugePage;

void* raw_allocate(size_t bytes) {
  if (bytes <= kSmall) {
    unsigned char* raw = static_cast<unsigned char*>(malloc(bytes + kAlignment));
    if (!raw) return nullptr;
    const size_t shift = kAlignment - (reinterpret_cast<uintptr_t>(raw) & (kAlignment - 1));  // 1 .. 64
    raw[shift - 1] = static_cast<unsigned char>(shift);
    return raw + shift;
  }
#if defined(_WIN32)
  return _aligned_malloc(bytes, kAlignment);
#else
  void* p = nullptr;
#if defined(__linux__)
  if (bytes >= kHuge) {
    if (posix_memalign(&p, kHugePage, bytes) != 0) return nullptr;
    madvise(p, bytes / kHugePage * kHugePage, MADV_HUGEPAGE);  // a refusal changes nothing but speed
    return p;
  }
#endif
  return posix_memalign(&p, kAlignment, bytes) == 0 ? p : nullptr;
#endif
}

void raw_free(void* p, size_t bytes) {
  if (bytes <= kSmall) {
    unsigned char* block = static_cast<unsigned char*>(p);
    free(block - block[-1]);
    return;
  }
#if defined(_WIN32)
  _aligned_free(p);
#else
  free(p);
#endif
}

// Never destroyed: blocks are freed until the process ends. A sanitizer must see every use after free.
BlockCache& cache() {
  static BlockCache* const kept = new BlockCache;
  return *kept;
}
#if defined(__SANITIZE_ADDRESS__)
constexpr bool kKeepBlocks = false;
#else
constexpr bool kKeepBlocks = true;
#endif

void* cached_allocate(size_t bytes, int64_t spare) {
  if (kKeepBlocks && bytes >= BlockCache::kLeast) {
    if (void* p = cache().take(bytes)) return p;
    // What is kept counts against nothing until it stands in the way.
    if (static_cast<int64_t>(bytes + cache().total()) > spare) cache().clear(raw_free);
  }
  void* p = raw_allocate(bytes);
  if (!p && kKeepBlocks && cache().clear(raw_free) > 0) p = raw_allocate(bytes);
  return p;
}

}  // namespace

#if defined(TERSOR_TESTING)
void fail_allocation_after(int64_t n) { g_fail_after.store(n); }
#endif

Status allocate(const char* where, int64_t bytes, void** out) {
  *out = nullptr;
  const int64_t limit = budget();
  const int64_t in_use = g_bytes.load(std::memory_order_relaxed);
  if (bytes < 0 || bytes > limit - in_use)
    return fail(Code::memory_budget, "%s: %lld bytes asked for, %lld in use, budget %lld", where, static_cast<long long>(bytes),
                static_cast<long long>(in_use), static_cast<long long>(limit));
#if defined(TERSOR_TESTING)
  if (g_fail_after.load() > 0 && g_fail_after.fetch_sub(1) == 1)
    return fail(Code::memory_budget, "%s: allocation of %lld bytes failed (injected)", where, static_cast<long long>(bytes));
#endif
  void* p = cached_allocate(static_cast<size_t>(bytes) + kSlack, limit - in_use);
  if (!p) return fail(Code::memory_budget, "%s: the system refused %lld bytes", where, static_cast<long long>(bytes));
  const int64_t now = g_bytes.fetch_add(bytes) + bytes;
  int64_t peak = g_peak.load(std::memory_order_relaxed);
  while (now > peak && !g_peak.compare_exchange_weak(peak, now)) {
  }
  g_blocks.fetch_add(1);
  *out = p;
  return {};
}

Status Scratch::reserve(const char* where, int64_t bytes) {
  release();
#if defined(__SANITIZE_ADDRESS__)
  constexpr bool own = false;  // a block of its own, whose ends the sanitizer guards
#elif defined(TERSOR_TESTING)
  const bool own = g_fail_after.load() == 0;  // every reservation must be able to fail
#else
  constexpr bool own = true;
#endif
  if (own && bytes >= 0 && bytes <= kOwn) {
    data_ = reinterpret_cast<void*>((reinterpret_cast<uintptr_t>(own_) + kAlignment - 1) & ~uintptr_t(kAlignment - 1));
    return {};
  }
  TERSOR_TRY(allocate(where, bytes, &data_));
  bytes_ = bytes;
  allocated_ = true;
  return {};
}

void deallocate(void* block, int64_t bytes) {
  if (!block) return;
  const size_t all = static_cast<size_t>(bytes) + kSlack;
  if (!kKeepBlocks || !cache().put(block, all, raw_free)) raw_free(block, all);
  g_bytes.fetch_sub(bytes);
  g_blocks.fetch_sub(1);
}

MemoryStats memory_stats() { return {g_bytes.load(), g_peak.load(), g_blocks.load(), budget()}; }

void memory_reset_peak() { g_peak.store(g_bytes.load()); }

Status memory_set_budget(int64_t bytes) {
  if (bytes < 0) return fail(Code::option, "memory budget must be >= 0 bytes, got %lld", static_cast<long long>(bytes));
  g_budget.store(bytes);
  return {};
}

}  // namespace tersor
