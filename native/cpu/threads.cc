#include "cpu/threads.h"

#include <algorithm>
#include <condition_variable>
#include <cstdlib>
#include <deque>
#include <mutex>
#include <system_error>
#include <thread>
#include <vector>

#if defined(__linux__) || defined(__APPLE__)
#include <pthread.h>
#endif
#if defined(__linux__)
#include <sched.h>
#endif

namespace tersor {
namespace {

// A parallel_for in progress. Each thread has a share of the chunks, the same one in every region of this size: what it read and wrote in the region
// before is in its own caches. Who is done helps with the shares of others. Which thread computes a chunk does not change the result.
struct Region {
  static constexpr int kShares = 64;
  struct alignas(64) Share {
    std::atomic<int64_t> next;
    int64_t end;
  };

  int64_t n, grain, chunks;
  RangeBody body;
  void* context;
  const Cancel* cancel;
  std::atomic<int> helpers{0};  // pool threads inside work()
  std::atomic<int> taken{0};    // offers that a pool thread took
  std::atomic<bool> aborted{false};
  int count = 0;
  Share shares[kShares];

  void divide(int threads) {
    count = threads < kShares ? threads : kShares;
    for (int i = 0; i < count; i++) {
      shares[i].next.store(chunks * i / count, std::memory_order_relaxed);
      shares[i].end = chunks * (i + 1) / count;
    }
  }

  // `thread`: 0 the caller, 1.. the pool's.
  void work(int thread) {
    for (int k = 0; k < count; k++) {
      Share& share = shares[(thread + k) % count];
      for (;;) {
        const int64_t i = share.next.fetch_add(1, std::memory_order_relaxed);
        if (i >= share.end) break;
        if (cancel && cancel->load(std::memory_order_relaxed)) {
          aborted.store(true);
          return;
        }
        const int64_t begin = i * grain;
        const int64_t end = begin + grain < n ? begin + grain : n;
        body(context, begin, end);
      }
    }
  }
};

int available_cores() {
#if defined(__linux__)
  cpu_set_t set;
  if (sched_getaffinity(0, sizeof set, &set) == 0) return CPU_COUNT(&set);
#endif
  const unsigned n = std::thread::hardware_concurrency();
  return n ? static_cast<int>(n) : 1;
}

int default_threads() {
  if (const char* text = getenv("TERSOR_THREADS")) {
    char* end = nullptr;
    const long v = strtol(text, &end, 10);
    if (end != text && *end == 0 && v >= 1 && v <= 256) return static_cast<int>(v);
  }
  return available_cores();
}

thread_local bool t_inside = false;  // in a chunk: nested regions run serially

// Where a pool thread sleeps. A scheduler that finds its processors busy wakes a thread where it slept; when that is where the caller runs now, the two share
// one processor for milliseconds while another is idle. So who wakes it moves it away, and it may go where it likes as soon as it runs.
class Bed {
 public:
#if defined(__linux__)
  static int here() { return sched_getcpu(); }
  void enter() { thread_ = pthread_self(), cpu_ = here(); }  // under the pool's lock, as the others
  void move_away_from(int cpu) {
    if (cpu < 0 || cpu >= CPU_SETSIZE) return;
    if (!moved_ && (cpu != cpu_ || pthread_getaffinity_np(thread_, sizeof allowed_, &allowed_) != 0)) return;
    cpu_set_t others = allowed_;
    CPU_CLR(static_cast<unsigned>(cpu), &others);
    if (CPU_COUNT(&others) > 0 && pthread_setaffinity_np(thread_, sizeof others, &others) == 0) moved_ = true;
  }
  void leave() {
    if (moved_) pthread_setaffinity_np(thread_, sizeof allowed_, &allowed_);
    moved_ = false;
  }

 private:
  pthread_t thread_{};
  cpu_set_t allowed_{};
  int cpu_ = -1;
  bool moved_ = false;
#else
  static int here() { return 0; }
  void enter() {}
  void move_away_from(int) {}
  void leave() {}
#endif
};

class Pool {
 public:
  Pool() : limit_(default_threads()) { asleep_.reserve(256); }

  int limit() const { return limit_.load(); }
  void set_limit(int n) { limit_.store(n); }

  // Offers the region to up to `wanted` pool threads, works on it in this thread, returns when nobody is left inside.
  void run(Region& region, int wanted) {
    {
      const auto lock = acquire();
      while (static_cast<int>(started_) < wanted && start_worker()) started_++;
      for (int i = 0; i < wanted; i++) offers_.push_back(&region);
      if (!asleep_.empty()) {
        const int cpu = Bed::here();
        for (Bed* bed : asleep_) bed->move_away_from(cpu);
      }
    }
    offered_.fetch_add(wanted, std::memory_order_relaxed);  // after the lock: who waits for this number wants the lock next
    if (wanted == 1) ready_.notify_one();
    else ready_.notify_all();
    t_inside = true;
    region.work(0);
    t_inside = false;
    if (region.taken.load(std::memory_order_acquire) < wanted) {
      const auto lock = acquire();
      const auto rest = std::remove(offers_.begin(), offers_.end(), &region);
      offered_.fetch_sub(static_cast<int>(offers_.end() - rest), std::memory_order_relaxed);
      offers_.erase(rest, offers_.end());
    }
    // Helpers that took an offer finish their chunk. Leaving is the last that they do with the region; whom to wake is a matter of the pool.
    const auto all_left = [&] { return region.helpers.load() == 0; };
    if (spin_until(kWaitForChunk, all_left)) return;
    std::unique_lock<std::mutex> lock(mutex_);
    waiting_.fetch_add(1);
    done_.wait(lock, all_left);
    waiting_.fetch_sub(1);
  }

  bool submit(Job* job) {
    std::lock_guard<std::mutex> lock(job_mutex_);
    // One thread as long as jobs come one after the other: it has the weights of the last one in its caches.
    if (job_threads_ < kJobThreads && static_cast<int>(jobs_.size()) >= idle_job_threads_) {
      try {
        std::thread([this] { job_loop(); }).detach();
        job_threads_++;
      } catch (const std::system_error&) {
        if (job_threads_ == 0) return false;
      }
    }
    jobs_.push_back(job);
    queued_jobs_.fetch_add(1, std::memory_order_relaxed);
    job_ready_.notify_one();
    return true;
  }

 private:
  static constexpr int kJobThreads = 2;
  static constexpr std::chrono::microseconds kWaitForChunk{1000}, kWaitForRegion{200};

  bool start_worker() {
    try {
      std::thread([this, number = started_ + 1] { worker_loop(number); }).detach();
      return true;
    } catch (const std::system_error&) {
      return false;  // no more threads to be had: the caller does the work alone
    }
  }

  // The lock is held for some 20 ns at a time, and a thread that sleeps on it is away for 50 microseconds: so this tries for a while first.
  std::unique_lock<std::mutex> acquire() {
    std::unique_lock<std::mutex> lock(mutex_, std::try_to_lock);
    for (int spin = 0; !lock.owns_lock() && spin < 200; spin++) {
      spin_pause();
      lock.try_lock();
    }
    if (!lock.owns_lock()) lock.lock();
    return lock;
  }

  void worker_loop(int number) {
    t_inside = true;
    Bed bed;
    for (;;) {
      // Spin before sleeping: the next region of a training step usually comes within microseconds.
      spin_until(kWaitForRegion, [&] { return offered_.load(std::memory_order_relaxed) > 0; });
      auto lock = acquire();
      const bool sleeps = offers_.empty();
      if (sleeps) {
        asleep_.push_back(&bed);
        while (offers_.empty()) {
          bed.leave();  // woken for a region that is over
          bed.enter();
          ready_.wait(lock);
        }
        asleep_.erase(std::find(asleep_.begin(), asleep_.end(), &bed));
      }
      Region* region = offers_.front();
      offers_.pop_front();
      offered_.fetch_sub(1, std::memory_order_relaxed);
      region->helpers.fetch_add(1);
      region->taken.fetch_add(1, std::memory_order_release);
      lock.unlock();
      if (sleeps) bed.leave();
      region->work(number);
      // Sequentially consistent, as waiting_ is: either this thread sees who waits, or that one sees that nobody is left inside.
      if (region->helpers.fetch_sub(1) == 1 && waiting_.load() > 0) {
        { const std::lock_guard<std::mutex> wait_until_asleep(mutex_); }
        done_.notify_all();
      }
    }
  }

  void job_loop() {
    std::unique_lock<std::mutex> lock(job_mutex_);
    for (;;) {
      if (jobs_.empty()) {
        idle_job_threads_++;
        lock.unlock();
        spin_until(kWaitForRegion, [&] { return queued_jobs_.load(std::memory_order_relaxed) > 0; });
        lock.lock();
        job_ready_.wait(lock, [&] { return !jobs_.empty(); });
        idle_job_threads_--;
      }
      Job* const job = jobs_.front();
      jobs_.pop_front();
      queued_jobs_.fetch_sub(1, std::memory_order_relaxed);
      lock.unlock();
      job->run();
      delete job;
      lock.lock();
    }
  }

  std::mutex mutex_;
  std::condition_variable ready_, done_;
  std::deque<Region*> offers_;
  std::vector<Bed*> asleep_;  // of threads that wait for ready_
  std::atomic<int> offered_{0};  // size of offers_ or about to be, for waiting without the lock
  std::atomic<int> waiting_{0};  // callers asleep until the last helper of their region leaves
  int started_ = 0;
  std::atomic<int> limit_;
  std::mutex job_mutex_;
  std::condition_variable job_ready_;
  std::deque<Job*> jobs_;
  std::atomic<int> queued_jobs_{0};  // size of jobs_, for waiting without the lock
  int job_threads_ = 0, idle_job_threads_ = 0;
};

// Leaked on purpose: its threads run until the process ends. After fork() the child has no threads, so it makes a pool of its own (asking
// for the process id in every call instead costs 150 ns).
std::atomic<Pool*> g_pool{nullptr};

Pool& pool() {
  Pool* now = g_pool.load(std::memory_order_acquire);
  if (now) return *now;
#if defined(__linux__) || defined(__APPLE__)
  static const int registered = pthread_atfork(nullptr, nullptr, [] { g_pool.store(nullptr); });
  (void)registered;
#endif
  Pool* own = new Pool();
  if (g_pool.compare_exchange_strong(now, own)) return *own;
  delete own;  // another thread was first; no thread of ours has started
  return *now;
}

}  // namespace

Status parallel_for_raw(int64_t n, int64_t grain, RangeBody body, void* context, const Cancel* cancel) {
  if (n <= 0) return {};
  if (grain < 1) grain = 1;
  if (n <= grain) {
    if (cancel && cancel->load(std::memory_order_relaxed)) return fail(Code::aborted, "cancelled");
    body(context, 0, n);
    return {};
  }
  Region region;
  region.n = n;
  region.grain = grain;
  region.chunks = (n + grain - 1) / grain;
  region.body = body;
  region.context = context;
  region.cancel = cancel;
  const int64_t limit = t_inside ? 1 : pool().limit();
  const int threads = static_cast<int>(limit < region.chunks ? limit : region.chunks);
  region.divide(threads);
  if (threads <= 1) region.work(0);
  else pool().run(region, threads - 1);
  if (region.aborted.load()) return fail(Code::aborted, "cancelled");
  return {};
}

int thread_count() { return pool().limit(); }

Status set_thread_count(int n) {
  if (n < 1 || n > 256) return fail(Code::option, "threads must be in [1, 256], got %d", n);
  pool().set_limit(n);
  return {};
}

bool submit_job(Job* job) { return pool().submit(job); }

}  // namespace tersor
