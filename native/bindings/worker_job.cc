#include "bindings/worker_job.h"

#include <algorithm>
#include <unordered_map>

#include "bindings/env.h"

namespace tersor {
namespace bindings {
namespace {

struct Registry {
  std::mutex mutex;
  std::unordered_map<uint32_t, std::shared_ptr<WorkerJob>> jobs;
  uint32_t last = 0;
};

// Leaked on purpose, as the thread pool: workers may end after the static objects of this library.
Registry& registry() {
  static Registry* one = new Registry();
  return *one;
}

// The environment and up to two whole numbers of a call.
struct Arguments {
  Env* env = nullptr;
  double v[2] = {0, 0};
  Arguments(napi_env env_, napi_callback_info info) {
    napi_value argv[2];
    size_t argc = 2;
    void* data = nullptr;
    if (napi_get_cb_info(env_, info, &argc, argv, nullptr, &data) != napi_ok) return;
    for (size_t i = 0; i < argc && i < 2; i++)
      if (!read_number(env_, argv[i], &v[i])) return;
    env = static_cast<Env*>(data);
  }
  uint32_t id() const { return v[0] >= 0 && v[0] <= 4294967295.0 ? static_cast<uint32_t>(v[0]) : 0; }
};

napi_value job_open(napi_env env, napi_callback_info info) {
  return guarded(env, [&]() -> napi_value {
    const Arguments a(env, info);
    if (!a.env) return nullptr;
    const uint32_t id = WorkerJob::open();
    a.env->opened_jobs_.push_back(id);
    return make_number(env, id);
  });
}

// jobAttach(id): from now on this environment works for the job; 0: for none.
napi_value job_attach(napi_env env, napi_callback_info info) {
  return guarded(env, [&]() -> napi_value {
    const Arguments a(env, info);
    if (!a.env) return nullptr;
    a.env->job_ = a.id() ? WorkerJob::find(a.id()) : nullptr;
    return make_number(env, a.env->job_ || a.id() == 0 ? 0 : a.env->fail(fail(Code::aborted, "worker: its job was closed")));
  });
}

// jobInterruptible(0 | 1): whether synchronous calls look at the flag of the job; gives what was before.
napi_value job_interruptible(napi_env env, napi_callback_info info) {
  return guarded(env, [&]() -> napi_value {
    const Arguments a(env, info);
    if (!a.env) return nullptr;
    const bool before = a.env->interruptible_;
    a.env->interruptible_ = a.v[0] != 0;
    return make_number(env, before ? 1 : 0);
  });
}

napi_value job_cancel(napi_env env, napi_callback_info info) {
  return guarded(env, [&]() -> napi_value {
    const Arguments a(env, info);
    if (!a.env) return nullptr;
    if (const auto job = WorkerJob::find(a.id())) job->cancelled.store(true);
    return nullptr;
  });
}

// jobLend(id, handle) -> number of the tensor in the job, or -1
napi_value job_lend(napi_env env, napi_callback_info info) {
  return guarded(env, [&]() -> napi_value {
    const Arguments a(env, info);
    if (!a.env) return nullptr;
    const auto job = WorkerJob::find(a.id());
    const TensorRef* t = a.env->lookup(a.v[1]);
    if (!job) return make_number(env, a.env->fail(fail(Code::aborted, "worker: its job was closed")));
    if (!t) return make_number(env, a.env->fail(fail(Code::disposed, "worker: the tensor was disposed or belongs to another thread")));
    if (!t->contiguous()) return make_number(env, a.env->fail(fail(Code::shape, "worker: the tensor is a strided view")));
    if (Place* const place = tensor_place(*t)) {  // the other side has a queue of its own, which does not wait for this one
      const Status s = place->synchronize();
      if (!s.ok()) return make_number(env, a.env->fail(s));
    }
    return make_number(env, job->lend(*t));
  });
}

// jobTake(id, number) -> the tensor, in the page
napi_value job_take(napi_env env, napi_callback_info info) {
  return guarded(env, [&]() -> napi_value {
    const Arguments a(env, info);
    if (!a.env) return nullptr;
    const auto job = WorkerJob::find(a.id());
    TensorRef t{};
    Status s;
    if (!job || !(a.v[1] >= 0) || !(a.v[1] < 4294967296.0) || !job->take(static_cast<uint32_t>(a.v[1]), a.env, &t, &s))
      return make_number(env, a.env->fail(s.ok() ? fail(Code::disposed, "worker: the job holds no such tensor") : s));
    a.env->put_result(0, a.env->insert(t), t);
    a.env->account();
    return make_number(env, 1);
  });
}

napi_value job_close(napi_env env, napi_callback_info info) {
  return guarded(env, [&]() -> napi_value {
    const Arguments a(env, info);
    if (!a.env) return nullptr;
    WorkerJob::close(a.id());
    auto& opened = a.env->opened_jobs_;
    opened.erase(std::remove(opened.begin(), opened.end(), a.id()), opened.end());
    return nullptr;
  });
}

}  // namespace

WorkerJob::~WorkerJob() {
  for (const TensorRef& t : lent_) {
    storage_of(t)->readers.fetch_sub(1);
    storage_of(t)->release();
  }
}

uint32_t WorkerJob::lend(const TensorRef& t) {
  std::lock_guard<std::mutex> lock(mutex_);
  lent_.emplace_back();
  copy_ref(lent_.back(), t);
  storage_of(t)->retain();
  storage_of(t)->readers.fetch_add(1);
  return static_cast<uint32_t>(lent_.size() - 1);
}

bool WorkerJob::take(uint32_t index, Env* env, TensorRef* out, Status* why) {
  std::lock_guard<std::mutex> lock(mutex_);
  if (index >= lent_.size()) return false;
  copy_ref(*out, lent_[index]);
  Place* place = tensor_place(*out);
  if (place) *why = env->stream_like(*place, &place);
  if (!why->ok()) return false;
  out->owner = Storage::share(storage_of(*out), place);
  return true;
}

uint32_t WorkerJob::open() {
  Registry& r = registry();
  std::lock_guard<std::mutex> lock(r.mutex);
  do r.last++;
  while (r.last == 0 || r.jobs.count(r.last));
  r.jobs.emplace(r.last, std::make_shared<WorkerJob>());
  return r.last;
}

std::shared_ptr<WorkerJob> WorkerJob::find(uint32_t id) {
  Registry& r = registry();
  std::lock_guard<std::mutex> lock(r.mutex);
  const auto found = r.jobs.find(id);
  return found == r.jobs.end() ? nullptr : found->second;
}

void WorkerJob::close(uint32_t id) {
  std::shared_ptr<WorkerJob> last;  // freed after the lock
  Registry& r = registry();
  std::lock_guard<std::mutex> lock(r.mutex);
  const auto found = r.jobs.find(id);
  if (found == r.jobs.end()) return;
  last = found->second;
  r.jobs.erase(found);
}

void register_worker_functions(napi_env env, napi_value exports, Env* state) {
  define_function(env, exports, "jobOpen", job_open, state);
  define_function(env, exports, "jobAttach", job_attach, state);
  define_function(env, exports, "jobInterruptible", job_interruptible, state);
  define_function(env, exports, "jobCancel", job_cancel, state);
  define_function(env, exports, "jobLend", job_lend, state);
  define_function(env, exports, "jobTake", job_take, state);
  define_function(env, exports, "jobClose", job_close, state);
}

}  // namespace bindings
}  // namespace tersor
