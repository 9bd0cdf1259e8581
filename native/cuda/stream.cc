#include "cuda/stream.h"

#include <mutex>
#include <set>
#include <vector>

#include "cuda/allocator.h"

namespace tersor {
namespace cuda {
namespace {

constexpr int kPositionBits = 40;

struct Open {
  std::mutex mutex;
  std::set<Stream*> streams;
};
Open& all() {
  static Open* o = new Open();
  return *o;
}

}  // namespace

struct Stream::Check {
  const char* op;    // nullptr: name is the whole rule
  const char* name;
  int64_t limit;
  Code code;
};
struct Stream::Own {
  struct Block {
    void* data;
    int64_t bytes;
  };
  Allocator allocator;
  std::vector<Block> scratch;
  std::vector<Check> checks;              // since the last time somebody waited
  unsigned long long* report = nullptr;   // device memory: the smallest ticket << 40 | position

  Own(int32_t device, runtime::Queue* queue) : allocator(device, queue) {}
};

Allocator& Stream::allocator() { return own_->allocator; }

void trim_streams(int32_t device) {
  const std::lock_guard<std::mutex> lock(all().mutex);
  for (Stream* s : all().streams)
    if (s->device == device && runtime::select(s->queue()).ok()) s->allocator().trim();
}

Status Stream::open(int32_t device, Stream** out) {
  DeviceInfo info;
  TERSOR_TRY(runtime::describe(device, &info));
  runtime::Queue* queue;
  TERSOR_TRY(runtime::open(device, &queue));
  auto* s = new Stream();
  s->device = device;
  s->sm = info.sm;
  s->multiprocessors = info.multiprocessors;
  s->shared_limit = info.shared_bytes;
  s->l2_bytes = info.l2_bytes;
  s->queue_ = queue;
  s->own_ = new Own(device, queue);
  const std::lock_guard<std::mutex> lock(all().mutex);
  all().streams.insert(s);
  *out = s;
  return {};
}

Stream::~Stream() {
  {
    const std::lock_guard<std::mutex> lock(all().mutex);
    all().streams.erase(this);
  }
  end();
  (void)runtime::select(queue_).ok();
  if (own_->report) own_->allocator.release(own_->report, sizeof *own_->report);
  own_->allocator.trim();
  runtime::close(queue_);
  delete own_;
}

Status Stream::begin(const char* op) {
  op_ = op;
  return runtime::select(queue_);
}

int64_t Stream::scratch_count() const { return static_cast<int64_t>(own_->scratch.size()); }

void Stream::release_scratch(int64_t kept) {
  for (auto& list = own_->scratch; static_cast<int64_t>(list.size()) > kept; list.pop_back()) own_->allocator.release(list.back().data, list.back().bytes);
}

Status Stream::scratch_bytes(int64_t bytes, void** out) {
  TERSOR_TRY(own_->allocator.allocate(bytes, out));
  own_->scratch.push_back({*out, bytes});
  return {};
}

Status Stream::launch(const runtime::Launch& l) {
  const int64_t* const g = l.grid;
  if (g[0] <= 0 || g[1] <= 0 || g[2] <= 0) return {};
  if (g[0] > INT32_MAX || g[1] > 65535 || g[2] > 65535)
    return fail(Code::limit, "%s: a grid of %lld x %lld x %lld blocks is beyond what a device takes", op_, static_cast<long long>(g[0]), static_cast<long long>(g[1]),
                static_cast<long long>(g[2]));
  if (l.shared_bytes > shared_limit)
    return fail(Code::limit, "%s: %lld bytes of shared memory, the device has %lld a block", op_, static_cast<long long>(l.shared_bytes), static_cast<long long>(shared_limit));
  return runtime::launch(queue_, op_, l);
}

Status Stream::upload(void* to, const void* from, int64_t bytes) { return bytes == 0 ? Status() : runtime::upload(queue_, to, from, bytes); }
Status Stream::copy(void* to, const void* from, int64_t bytes) { return bytes == 0 ? Status() : runtime::copy(queue_, to, from, bytes); }
Status Stream::fill(void* to, int32_t byte, int64_t bytes) { return bytes == 0 ? Status() : runtime::fill(queue_, to, byte, bytes); }
Status Stream::download(void* to, const void* from, int64_t bytes) {
  if (bytes > 0) TERSOR_TRY(runtime::download(queue_, to, from, bytes));
  return reported();
}
Status Stream::synchronize() {
  TERSOR_TRY(runtime::synchronize(queue_));
  return reported();
}

Status Stream::check_values(const char* op, const char* name, int64_t limit, unsigned long long** at, unsigned long long* ticket) {
  return add_check({op, name, limit, Code::shape}, at, ticket);
}
Status Stream::check_rule(Code code, const char* rule, unsigned long long** at, unsigned long long* ticket) { return add_check({nullptr, rule, 0, code}, at, ticket); }

Status Stream::add_check(const Check& check, unsigned long long** at, unsigned long long* ticket) {
  if (!own_->report) {
    void* data;
    TERSOR_TRY(own_->allocator.allocate(sizeof *own_->report, &data));
    own_->report = static_cast<unsigned long long*>(data);
    TERSOR_TRY(runtime::fill(queue_, own_->report, 0xff, sizeof *own_->report));
  }
  if (own_->checks.size() >> 23) TERSOR_TRY(synchronize());
  *at = own_->report;
  *ticket = static_cast<unsigned long long>(own_->checks.size()) << kPositionBits;
  own_->checks.push_back(check);
  return {};
}

// After a wait: what kernels reported.
Status Stream::reported() {
  if (own_->checks.empty()) return {};
  unsigned long long found = 0;
  TERSOR_TRY(runtime::download(queue_, &found, own_->report, sizeof found));
  const std::vector<Check> checks = std::move(own_->checks);
  own_->checks.clear();
  if (found == ~0ull) return {};
  TERSOR_TRY(runtime::fill(queue_, own_->report, 0xff, sizeof *own_->report));
  const Check& c = checks[static_cast<size_t>(found >> kPositionBits)];
  const long long position = static_cast<long long>(found & ((1ull << kPositionBits) - 1));
  if (!c.op) return fail(c.code, "%s (position %lld)", c.name, position);
  return fail(c.code, "%s: %s must be in [0, %lld), which the one at position %lld is not", c.op, c.name, static_cast<long long>(c.limit), position);
}

}  // namespace cuda
}  // namespace tersor
