#include <sys/mman.h>
#include <unistd.h>

#include <cstdarg>
#include <cstdio>
#include <cstdlib>

#include "cpu/isa.h"
#include "test/test.h"

namespace tersor {
namespace test {

int64_t checks = 0;
static int g_failures_in_case = 0;
static const char* g_skip = nullptr;
static std::mt19937_64 g_rng;

std::vector<Case>& cases() {
  static std::vector<Case> list;
  return list;
}

std::mt19937_64& rng() { return g_rng; }

void skip_case(const char* why) { g_skip = why; }

void report_failure(const char* file, int line, const char* format, ...) {
  if (++g_failures_in_case > 10) return;  // enough to see the pattern
  fprintf(stderr, "  %s:%d: ", file, line);
  va_list args;
  va_start(args, format);
  vfprintf(stderr, format, args);
  va_end(args);
  fputc('\n', stderr);
}

GuardedBuffer::GuardedBuffer(size_t bytes, Side side, size_t slack) {
  const size_t page = static_cast<size_t>(sysconf(_SC_PAGESIZE));
  const size_t body = (bytes + slack + page - 1) / page * page + page;
  map_bytes_ = body + 2 * page;
  map_ = mmap(nullptr, map_bytes_, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (map_ == MAP_FAILED) abort();
  char* first = static_cast<char*>(map_) + page;
  mprotect(map_, page, PROT_NONE);
  mprotect(first + body, page, PROT_NONE);
  memset(first, 0xA5, body);
  data_ = side == Side::end ? first + body - slack - bytes : first;
}

GuardedBuffer::~GuardedBuffer() { munmap(map_, map_bytes_); }

}  // namespace test
}  // namespace tersor

int main(int argc, char** argv) {
  using namespace tersor::test;
  std::vector<const char*> filters;
  uint64_t seed = 20260101;
  bool list = false;
  int part = 0, parts = 1;  // of the tests, for runs side by side
  for (int i = 1; i < argc; i++) {
    if (!strcmp(argv[i], "--filter") && i + 1 < argc) filters.push_back(argv[++i]);
    else if (!strcmp(argv[i], "--seed") && i + 1 < argc) seed = strtoull(argv[++i], nullptr, 10);
    else if (!strcmp(argv[i], "--part") && i + 1 < argc && sscanf(argv[i + 1], "%d/%d", &part, &parts) == 2 && part >= 0 && part < parts) i++;
    else if (!strcmp(argv[i], "--list")) list = true;
    else {
      fprintf(stderr, "usage: tersor_test [--filter TEXT]... [--part I/N] [--list] [--seed N]\n");
      return 2;
    }
  }
  const tersor::Status cap = tersor::isa::cap_status();
  if (!cap.ok()) {
    fprintf(stderr, "%s\n", cap.message);
    return 2;
  }
  int passed = 0, failed = 0, skipped = 0, index = 0;
  for (const Case& c : cases()) {
    bool wanted = filters.empty();
    for (const char* text : filters) wanted = wanted || strstr(c.name, text);
    if (!wanted || index++ % parts != part) continue;
    if (list) {
      printf("%s\n", c.name);
      continue;
    }
    uint64_t h = seed;
    for (const char* p = c.name; *p; p++) h = (h ^ static_cast<unsigned char>(*p)) * 1099511628211ull;
    g_rng.seed(h);
    g_failures_in_case = 0;
    g_skip = nullptr;
    c.run();
    if (g_failures_in_case) {
      failed++;
      printf("FAIL %s (%d checks failed, seed %llu)\n", c.name, g_failures_in_case, static_cast<unsigned long long>(seed));
    } else if (g_skip) {
      skipped++;
      printf("skip %s: %s\n", c.name, g_skip);
    } else {
      passed++;
    }
  }
  if (list) return 0;
  const char* isa = tersor::isa::cap_text();
  printf("native runner, ISA %s, seed %llu, %lld checks\n", *isa ? isa : "(no cap)", static_cast<unsigned long long>(seed), static_cast<long long>(checks));
  printf("%d passed, %d failed, %d skipped\n", passed, failed, skipped);
  return failed ? 1 : 0;
}
