// Work off the JavaScript thread that a promise waits for: an op, a run of a plan. The environment may close at any time; the work then ends on
// what it holds itself, and nothing is handed over.
#pragma once
#include <exception>
#include <new>

#include "bindings/env.h"

namespace tersor {
namespace bindings {

// On a job thread an exception would end the process.
template <class F> Status without_exceptions(F&& f) {
  try {
    return f();
  } catch (const std::bad_alloc&) {
    return fail(Code::memory_budget, "native allocation failed");
  } catch (const std::exception& e) {
    return fail(Code::internal, "%s", e.what());
  } catch (...) {
    return fail(Code::internal, "unknown exception in the addon");
  }
}

struct Pending {
  Pending() = default;
  Pending(const Pending&) = delete;
  Pending& operator=(const Pending&) = delete;
  virtual ~Pending() = default;
  virtual void work() = 0;                                // on a job thread; sets status, throws nothing. Already failed: only lets go of what it holds
  virtual napi_value result(napi_env env, Env* state) = 0;  // on the JavaScript thread, after success; owns no native result any more then. Null: no memory
  virtual void abandon() = 0;                             // results that nobody will get

  Status status;
  std::shared_ptr<std::atomic<bool>> cancel = std::make_shared<std::atomic<bool>>(false);
  std::shared_ptr<Completion> done;
  napi_deferred deferred = nullptr;
  uint32_t ticket = 0;
  Pending *previous = nullptr, *next = nullptr;  // in Completion::posted
};

// Puts it in the queue. The promise, or null when the environment gave none; the ticket for cancel() stands in out[0].
napi_value submit(napi_env env, Env* state, std::unique_ptr<Pending> pending);

// What a result that is null means; takes an exception of the engine away.
Status no_memory_for_result(napi_env env);

// Creates the thread-safe function through which work comes back.
void open_completion(napi_env env, Env* state);

}  // namespace bindings
}  // namespace tersor
