#include "cuda/stream.h"

#include <mutex>
#include <set>


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
  s->allocator_.reset(new Allocator(device, queue));
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
  if (report_) allocator_->release(report_, sizeof *report_);
  allocator_->trim();
  runtime::close(queue_);
}

Status Stream::begin(const char* op) {
  op_ = op;
  return runtime::select(queue_);
}

void Stream::end() {
  for (const Block& b : scratch_) allocator_->release(b.data, b.bytes);
  scratch_.clear();
}

Status Stream::scratch_bytes(int64_t bytes, void** out) {
  TERSOR_TRY(allocator_->allocate(bytes, out));
  scratch_.push_back({*out, bytes});
  return {};
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
  if (!report_) {
    void* data;
    TERSOR_TRY(allocator_->allocate(sizeof *report_, &data));
    report_ = static_cast<unsigned long long*>(data);
    TERSOR_TRY(runtime::fill(queue_, report_, 0xff, sizeof *report_));
  }
  if (checks_.size() >> 23) TERSOR_TRY(synchronize());
  *at = report_;
  *ticket = static_cast<unsigned long long>(checks_.size()) << kPositionBits;
  checks_.push_back(check);
  return {};
}

// After a wait: what kernels reported.
Status Stream::reported() {
  if (checks_.empty()) return {};
  unsigned long long found = 0;
  TERSOR_TRY(runtime::download(queue_, &found, report_, sizeof found));
  const std::vector<Check> checks = std::move(checks_);
  checks_.clear();
  if (found == ~0ull) return {};
  TERSOR_TRY(runtime::fill(queue_, report_, 0xff, sizeof *report_));
  const Check& c = checks[static_cast<size_t>(found >> kPositionBits)];
  const long long position = static_cast<long long>(found & ((1ull << kPositionBits) - 1));
  if (!c.op) return fail(c.code, "%s (position %lld)", c.name, position);
  return fail(c.code, "%s: %s must be in [0, %lld), which the one at position %lld is not", c.op, c.name, static_cast<long long>(c.limit), position);
}

}  // namespace cuda
}  // namespace tersor
