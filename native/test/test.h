// A small native test runner (no Node): tests register themselves, main.cc runs them.
//   tersor_test [--filter TEXT]... [--list] [--seed N]     any of the texts; TERSOR_ISA caps the kernels as in the product
#pragma once
#include <cmath>
#include <cstdint>
#include <cstring>
#include <random>
#include <string>
#include <vector>

namespace tersor {
namespace test {

struct Case {
  const char* name;
  void (*run)();
};
std::vector<Case>& cases();
struct Register {
  Register(const char* name, void (*run)()) { cases().push_back({name, run}); }
};
#define TERSOR_TEST(name)                                              \
  static void name();                                                  \
  static const ::tersor::test::Register register_##name(#name, &name); \
  static void name()

void report_failure(const char* file, int line, const char* format, ...) __attribute__((format(printf, 3, 4)));
void skip_case(const char* why);  // the running case counts as skipped
extern int64_t checks;            // comparisons made so far, printed at the end

#define CHECK(condition)                                                                    \
  do {                                                                                      \
    ::tersor::test::checks++;                                                               \
    if (!(condition)) ::tersor::test::report_failure(__FILE__, __LINE__, "%s", #condition); \
  } while (0)
#define CHECK_MSG(condition, ...)                                                           \
  do {                                                                                      \
    ::tersor::test::checks++;                                                               \
    if (!(condition)) ::tersor::test::report_failure(__FILE__, __LINE__, __VA_ARGS__);      \
  } while (0)
#define CHECK_OK(status)                                                                                        \
  do {                                                                                                          \
    ::tersor::test::checks++;                                                                                   \
    const auto& check_status = (status);                                                                        \
    if (!check_status.ok()) ::tersor::test::report_failure(__FILE__, __LINE__, "%s", check_status.message);     \
  } while (0)

std::mt19937_64& rng();  // seeded per case from --seed (printed) and the case's name

// `bytes` of memory that ends (or begins) exactly at an unreadable page: a read or write past that side is a fault.
// For kernels whose contract allows reading slack, ask for slack > 0: that many readable bytes stand before the page.
class GuardedBuffer {
 public:
  enum class Side { end, begin };
  explicit GuardedBuffer(size_t bytes, Side side = Side::end, size_t slack = 0);
  ~GuardedBuffer();
  GuardedBuffer(const GuardedBuffer&) = delete;
  GuardedBuffer& operator=(const GuardedBuffer&) = delete;
  template <class T> T* as() const { return static_cast<T*>(data_); }

 private:
  void* data_;
  void* map_;
  size_t map_bytes_;
};

}  // namespace test
}  // namespace tersor
