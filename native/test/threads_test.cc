// The thread pool: partition, nesting, cancelling, many callers at once. Small enough to run under the thread sanitizer.
#include "cpu/threads.h"

#include <algorithm>
#include <mutex>
#include <thread>

#if defined(__linux__)
#include <sys/wait.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <string>
#endif

#include "test/op_call.h"

namespace tersor {
namespace test {
namespace {

TERSOR_TEST(parallel_for_partition_depends_on_n_and_grain_only) {
  for (int64_t n : {0, 1, 2, 7, 64, 1000})
    for (int64_t grain : {-3, 0, 1, 3, 64, 5000})
      for_thread_counts([&] {
        std::mutex mutex;
        std::vector<std::pair<int64_t, int64_t>> ranges;
        CHECK_OK(parallel_for(n, grain, nullptr, [&](int64_t begin, int64_t end) {
          std::lock_guard<std::mutex> lock(mutex);
          ranges.emplace_back(begin, end);
        }));
        std::sort(ranges.begin(), ranges.end());
        const int64_t step = grain < 1 ? 1 : grain;
        CHECK(static_cast<int64_t>(ranges.size()) == (n + step - 1) / step);
        for (size_t i = 0; i < ranges.size(); i++)
          CHECK(ranges[i].first == static_cast<int64_t>(i) * step && ranges[i].second == std::min(n, ranges[i].first + step));
      });
}

TERSOR_TEST(parallel_for_uses_several_threads_and_nests_serially) {
  CHECK_OK(set_thread_count(4));
  std::mutex mutex;
  std::vector<std::thread::id> ids;
  std::atomic<int64_t> inner{0}, strays{0};
  CHECK_OK(parallel_for(64, 1, nullptr, [&](int64_t, int64_t) {
    const auto self = std::this_thread::get_id();
    {
      std::lock_guard<std::mutex> lock(mutex);
      ids.push_back(self);
    }
    const Status s = parallel_for(10, 1, nullptr, [&](int64_t begin, int64_t end) {
      if (std::this_thread::get_id() != self) strays++;
      inner += end - begin;
    });
    if (!s.ok()) strays++;
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
  }));
  CHECK(inner == 640);
  CHECK(strays == 0);
  std::sort(ids.begin(), ids.end());
  const auto distinct = std::unique(ids.begin(), ids.end()) - ids.begin();
  CHECK_MSG(distinct > 1 && distinct <= 4, "%lld threads took part", static_cast<long long>(distinct));
  CHECK_CODE(set_thread_count(0), Code::option);
  CHECK_CODE(set_thread_count(257), Code::option);
  CHECK_OK(set_thread_count(2));
}

#if defined(__linux__)
TERSOR_TEST(a_forked_child_has_a_pool_of_its_own) {
  CHECK_OK(set_thread_count(2));
  CHECK_OK(parallel_for(4, 1, nullptr, [](int64_t, int64_t) {}));
  const pid_t child = fork();
  if (child == 0) {
    std::atomic<int64_t> sum{0};
    const Status s = parallel_for(4, 1, nullptr, [&](int64_t begin, int64_t) { sum += begin; });
    _exit(s.ok() && sum == 6 ? 0 : 1);
  }
  int state = -1;
  CHECK(child > 0 && waitpid(child, &state, 0) == child);
  CHECK(WIFEXITED(state) && WEXITSTATUS(state) == 0);
}
#endif

#if defined(__linux__)
std::vector<std::string> allowed_processors() {
  std::vector<std::string> all;
  for (const auto& task : std::filesystem::directory_iterator("/proc/self/task")) {
    std::ifstream status(task.path() / "status");
    for (std::string line; std::getline(status, line);)
      if (line.rfind("Cpus_allowed:", 0) == 0) all.push_back(line);
  }
  return all;
}

// A sleeping thread is moved away from the caller's processor for the time of its waking only.
TERSOR_TEST(threads_of_the_pool_may_go_where_the_process_may) {
  CHECK_OK(set_thread_count(3));
  for (int round = 0; round < 30; round++) {
    std::this_thread::sleep_for(std::chrono::microseconds(round % 3 == 0 ? 2000 : 300));
    std::atomic<int64_t> sum{0};
    CHECK_OK(parallel_for(12, 1, nullptr, [&](int64_t begin, int64_t) {
      if (round % 2) std::this_thread::sleep_for(std::chrono::microseconds(50));
      sum += begin;
    }));
    CHECK(sum == 66);
  }
  std::this_thread::sleep_for(std::chrono::milliseconds(100));  // for threads that were woken when nothing was left
  const std::vector<std::string> all = allowed_processors();
  CHECK(all.size() >= 3);
  for (const std::string& one : all) CHECK(one == all[0]);
}
#endif

TERSOR_TEST(parallel_for_stops_when_cancelled) {
  for_thread_counts([&] {
    Cancel cancel{false};
    std::atomic<int64_t> done{0};
    CHECK_OK(parallel_for(1000, 1, &cancel, [&](int64_t, int64_t) { done++; }));
    CHECK(done == 1000);
    done = 0;
    CHECK_CODE(parallel_for(1000000, 1, &cancel, [&](int64_t begin, int64_t) {
                 done++;
                 if (begin == 100) cancel.store(true);
               }),
               Code::aborted);
    CHECK(done < 1000000);
    done = 0;
    CHECK_CODE(parallel_for(5, 1, &cancel, [&](int64_t, int64_t) { done++; }), Code::aborted);
    CHECK(done == 0);
    CHECK_OK(parallel_for(0, 1, &cancel, [&](int64_t, int64_t) { done++; }));
  });
}

TERSOR_TEST(parallel_for_from_many_threads_at_once) {
  CHECK_OK(set_thread_count(3));
  std::atomic<int64_t> wrong{0};
  std::vector<std::thread> callers;
  for (int t = 0; t < 8; t++)
    callers.emplace_back([&wrong, t] {
      for (int round = 0; round < 150; round++) {
        std::vector<int64_t> cells(static_cast<size_t>(1 + (round * 7 + t) % 90));
        const Status s = parallel_for(static_cast<int64_t>(cells.size()), 1 + round % 3, nullptr, [&](int64_t begin, int64_t end) {
          for (int64_t i = begin; i < end; i++) cells[static_cast<size_t>(i)] += i + t;
        });
        if (!s.ok()) wrong++;
        for (size_t i = 0; i < cells.size(); i++) wrong += cells[i] != static_cast<int64_t>(i) + t;
      }
    });
  for (auto& caller : callers) caller.join();
  CHECK(wrong == 0);
  CHECK_OK(set_thread_count(2));
}

TERSOR_TEST(jobs_run_once_each_and_may_use_the_pool) {
  static std::atomic<int64_t> ran{0}, deleted{0};
  ran = 0, deleted = 0;
  struct Count : Job {
    void run() override {
      std::atomic<int64_t> sum{0};
      const Status s = parallel_for(16, 1, nullptr, [&](int64_t begin, int64_t) { sum += begin; });
      if (s.ok() && sum == 120) ran++;
    }
    ~Count() override { deleted++; }
  };
  for (int i = 0; i < 100; i++) CHECK(submit_job(new Count));
  for (int i = 0; i < 5000 && deleted < 100; i++) std::this_thread::sleep_for(std::chrono::milliseconds(1));
  CHECK(ran == 100);
  CHECK(deleted == 100);
}

}  // namespace
}  // namespace test
}  // namespace tersor
