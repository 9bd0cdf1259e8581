#include "bindings/pending.h"

#include <utility>

#include "cpu/threads.h"

namespace tersor {
namespace bindings {
namespace {

// The queue deletes a Job after run(); the work itself lives on until JavaScript has its answer.
struct PendingJob : Job {
  Pending* pending;
  explicit PendingJob(Pending* p) : pending(p) {}
  void run() override {
    if (pending->cancel->load()) pending->status = fail(Code::aborted, "cancelled before it began");
    pending->work();
    const std::shared_ptr<Completion> done = pending->done;
    if (!done->post(pending)) {  // the environment is gone, nobody waits: only memory is left to free
      pending->abandon();
      delete pending;
    }
  }
};

// On the JavaScript thread. env is null when the environment is closing.
void complete(napi_env env, napi_value, void* context, void* data) {
  if (!env) return;  // freed by Completion::close
  std::unique_ptr<Pending> pending(static_cast<Pending*>(data));
  Env* state = static_cast<Env*>(context);
  state->done_->arrived(pending.get());
  state->cancels_.erase(pending->ticket);
  if (state->packs_due_) {  // the plan of a run in flight has been released
    state->packs_.sweep();
    state->packs_due_ = state->pending_ > 1;
  }
  if (--state->pending_ == 0) napi_unref_threadsafe_function(env, state->done_->function);
  if (!pending->status.ok()) {
    pending->abandon();
    napi_reject_deferred(env, pending->deferred, make_error(env, pending->status));
    return;
  }
  const napi_value value = pending->result(env, state);
  if (value) napi_resolve_deferred(env, pending->deferred, value);
  else napi_reject_deferred(env, pending->deferred, make_error(env, no_memory_for_result(env)));
}

}  // namespace

bool Completion::post(Pending* pending) {
  std::lock_guard<std::mutex> lock(mutex);
  if (!function) return false;
  pending->next = posted;
  if (posted) posted->previous = pending;
  posted = pending;
  if (napi_call_threadsafe_function(function, pending, napi_tsfn_nonblocking) == napi_ok) return true;
  posted = pending->next;
  if (posted) posted->previous = nullptr;
  return false;
}

void Completion::arrived(Pending* pending) {
  std::lock_guard<std::mutex> lock(mutex);
  (pending->previous ? pending->previous->next : posted) = pending->next;
  if (pending->next) pending->next->previous = pending->previous;
}

void Completion::close() {
  Pending* left = nullptr;
  {
    std::lock_guard<std::mutex> lock(mutex);
    if (function) napi_release_threadsafe_function(function, napi_tsfn_abort);
    function = nullptr;
    std::swap(left, posted);
  }
  while (left) {
    std::unique_ptr<Pending> pending(left);
    left = pending->next;
    pending->abandon();
  }
}

napi_value make_error(napi_env env, const Status& s) {
  napi_value error = nullptr;
  napi_create_error(env, make_string(env, code_name(s.code)), make_string(env, s.message), &error);
  return error;
}

Status no_memory_for_result(napi_env env) {
  bool thrown = false;
  napi_value exception = nullptr;
  if (napi_is_exception_pending(env, &thrown) == napi_ok && thrown) napi_get_and_clear_last_exception(env, &exception);
  return fail(Code::memory_budget, "the environment gave no memory for a result");
}

napi_value submit(napi_env env, Env* state, std::unique_ptr<Pending> own) {
  napi_value promise = nullptr;
  if (napi_create_promise(env, &own->deferred, &promise) != napi_ok) {
    own->status = fail(Code::aborted, "the environment is closing");
    own->work();
    own->abandon();
    return nullptr;
  }
  Pending* pending = own.release();
  pending->done = state->done_;
  pending->ticket = state->next_ticket_++;
  state->cancels_[pending->ticket] = pending->cancel;
  state->out()[0] = pending->ticket;
  if (state->pending_++ == 0) napi_ref_threadsafe_function(env, state->done_->function);
  PendingJob* job = new PendingJob(pending);
  if (!submit_job(job)) {  // no thread to be had: do it here, the promise still settles later
    job->run();
    delete job;
  }
  return promise;
}

void open_completion(napi_env env, Env* state) {
  napi_create_threadsafe_function(env, nullptr, nullptr, make_string(env, "tersor"), 0, 1, nullptr, nullptr, state, complete, &state->done_->function);
  if (state->done_->function) napi_unref_threadsafe_function(env, state->done_->function);
}

}  // namespace bindings
}  // namespace tersor
