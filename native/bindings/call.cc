// Calls of ops, generic over the op table: synchronous on the JavaScript thread, asynchronous on our own job threads.
// A synchronous call returns the number of results (described in Env::out) or -1 (lastError says why).
#include <cstring>
#include <memory>
#include <new>

#include "bindings/marshal.h"
#include "cpu/threads.h"
#include "ops/schema.h"

namespace tersor {
namespace bindings {
namespace {

constexpr size_t kMaxArgs = 20;

// In-place arguments may equal an input exactly (elementwise work stays right), but a partial overlap would give a silent wrong answer.
Status check_aliasing(const char* op, const InputLister& l) {
  for (int i = 0; i < l.changed_count; i++) {
    for (int j = 0; j < l.input_count; j++)
      if (may_overlap(*l.changed[i], *l.inputs[j]) && l.changed[i]->data != l.inputs[j]->data)
        return fail(Code::option, "%s: an argument changed in place partly overlaps an input", op);
    for (int j = i + 1; j < l.changed_count; j++)
      if (may_overlap(*l.changed[i], *l.changed[j])) return fail(Code::option, "%s: two arguments changed in place overlap", op);
  }
  return {};
}

// Memory given for results must be its own: kernels assume that outputs overlap no input.
Status check_given(const char* op, const InputLister& l, const TensorRef* given, int results) {
  for (int r = 0; r < results; r++) {
    if (!given[r].present()) continue;
    for (int j = 0; j < l.input_count; j++)
      if (may_overlap(given[r], *l.inputs[j])) return fail(Code::option, "%s: the given result overlaps an input", op);
    for (int j = 0; j < l.changed_count; j++)
      if (may_overlap(given[r], *l.changed[j])) return fail(Code::option, "%s: the given result overlaps an argument changed in place", op);
    for (int j = r + 1; j < results; j++)
      if (may_overlap(given[r], given[j])) return fail(Code::option, "%s: two given results overlap", op);
  }
  return {};
}

// One asynchronous call: owns a copy of the arguments and a reference to every storage in them.
struct AsyncCall : Job {
  std::shared_ptr<Completion> done;
  napi_deferred deferred = nullptr;
  std::shared_ptr<std::atomic<bool>> cancel = std::make_shared<std::atomic<bool>>(false);
  uint32_t ticket = 0;
  Status status;
  TensorRef* results[Env::kMaxResults];
  int result_count = 0;
  virtual void finish_inputs() = 0;
  virtual void drop_results() {
    for (int i = 0; i < result_count; i++) storage_of(*results[i])->release();
    result_count = 0;
  }
};

// The queue deletes a Job after run(); the call itself lives on until JavaScript has its answer.
struct AsyncJob : Job {
  AsyncCall* call;
  explicit AsyncJob(AsyncCall* c) : call(c) {}
  void run() override {
    call->run();
    call->finish_inputs();
    const std::shared_ptr<Completion> done = call->done;
    if (!done->post(call)) {  // the environment is gone, nobody waits: only memory is left to free
      call->drop_results();
      delete call;
    }
  }
};

// Whether an op has a list among its parameters.
template <class Args> struct HasList;
#define T(n)
#define O(n)
#define M(n)
#define R(n)
#define I(n)
#define F(n)
#define B(n)
#define L(n) || true
#define D(n)
#define E(e, n)
#define OP(name, fields) template <> struct HasList<name##_args> { static constexpr bool value = false fields; };
#include "ops/ops.def"
#undef OP
#undef T
#undef O
#undef M
#undef R
#undef I
#undef F
#undef B
#undef L
#undef D
#undef E

template <class Args, Status (*infer)(Args&), Status (*cpu)(Args&, Context&)> struct Runner {
  struct Async : AsyncCall {
    Args args{};
    void run() override {
      Context context;
      context.cancel = cancel.get();
      status = cancel->load() ? fail(Code::aborted, "cancelled before it began") : cpu(args, context);
    }
    void finish_inputs() override {
      InputLister l;
      (void)args.visit(l);
      for (int i = 0; i < l.input_count; i++) {
        storage_of(*l.inputs[i])->readers.fetch_sub(1);
        storage_of(*l.inputs[i])->release();
      }
    }
  };

  static Status prepare(Env* env, const char* op, napi_value* argv, size_t argc, Args& args, ResultAllocator& results, bool async) {
    if (HasList<Args>::value) {
      ArgReader values(env, op, argv, argc, Pass::values);
      TERSOR_TRY(args.visit(values));
    }
    ArgReader tensors(env, op, argv, argc, HasList<Args>::value ? Pass::tensors : Pass::both);
    TERSOR_TRY(args.visit(tensors));
    InputLister inputs;
    TERSOR_TRY(args.visit(inputs));
    if (async && inputs.changed_count) return fail(Code::unsupported, "%s changes its argument in place and cannot run asynchronously", op);
    if (inputs.changed_count) TERSOR_TRY(check_aliasing(op, inputs));
    if (tensors.any_given) {
      if (async) return fail(Code::unsupported, "%s: an asynchronous call cannot write into given results", op);
      TERSOR_TRY(check_given(op, inputs, tensors.given, tensors.results()));
      results.given = tensors.given;
    }
    TERSOR_TRY(infer(args));
    const Status s = args.visit(results);
    if (!s.ok()) results.undo();
    results.given = nullptr;
    return s;
  }

  static int sync(Env* env, const char* op, napi_value* argv, size_t argc) {
    Args args;  // every field is set by the reader
    ResultAllocator results(op);
    Status s = prepare(env, op, argv, argc, args, results, false);
    if (!s.ok()) return env->fail(s);
    Context context;
    s = cpu(args, context);
    if (s.ok()) s = results.check_sizes();
    if (!s.ok()) {
      results.undo();
      return env->fail(s);
    }
    bool fresh = false;
    for (int i = 0; i < results.count; i++) {
      if (!results.mine[i]) continue;  // JavaScript has its handle
      fresh = true;
      env->put_result(i, env->insert(*results.done[i]), *results.done[i]);
    }
    if (fresh) env->account();
    return results.count;
  }

  static AsyncCall* async(Env* env, const char* op, napi_value* argv, size_t argc) {
    std::unique_ptr<Async> call(new Async());
    ResultAllocator results(op);
    const Status s = prepare(env, op, argv, argc, call->args, results, true);
    if (!s.ok()) {
      env->fail(s);
      return nullptr;
    }
    InputLister l;
    (void)call->args.visit(l);
    for (int i = 0; i < l.input_count; i++) {
      storage_of(*l.inputs[i])->retain();
      storage_of(*l.inputs[i])->readers.fetch_add(1);
    }
    call->result_count = results.count;
    for (int i = 0; i < results.count; i++) call->results[i] = results.done[i];
    return call.release();
  }
};

struct Entry {
  const char* name;
  int (*sync)(Env*, const char*, napi_value*, size_t);
  AsyncCall* (*async)(Env*, const char*, napi_value*, size_t);
};
const Entry kEntries[] = {
#define OP(name, fields) {#name, &Runner<name##_args, &name##_infer, &name##_cpu>::sync, &Runner<name##_args, &name##_infer, &name##_cpu>::async},
#include "ops/ops.def"
#undef OP
};

struct BoundOp {
  Env* env;
  const Entry* entry;
};

napi_value call_sync(napi_env env, napi_callback_info info) {
  return guarded(env, [&]() -> napi_value {
    napi_value argv[kMaxArgs];
    size_t argc = kMaxArgs;
    void* data = nullptr;
    if (napi_get_cb_info(env, info, &argc, argv, nullptr, &data) != napi_ok) return nullptr;
    const BoundOp* op = static_cast<const BoundOp*>(data);
    return make_number(env, op->entry->sync(op->env, op->entry->name, argv, argc < kMaxArgs ? argc : kMaxArgs));
  });
}

napi_value make_error(napi_env env, const Status& s) {
  napi_value error = nullptr;
  napi_create_error(env, make_string(env, code_name(s.code)), make_string(env, s.message), &error);
  return error;
}

// On the JavaScript thread. env is null when the environment is closing.
void complete(napi_env env, napi_value, void* context, void* data) {
  AsyncCall* call = static_cast<AsyncCall*>(data);
  Env* state = static_cast<Env*>(context);
  if (!env) {
    call->drop_results();
    delete call;
    return;
  }
  state->cancels_.erase(call->ticket);
  if (--state->pending_ == 0) napi_unref_threadsafe_function(env, state->done_->function);
  if (!call->status.ok()) {
    call->drop_results();
    napi_reject_deferred(env, call->deferred, make_error(env, call->status));
  } else {
    napi_value list = nullptr;
    const int n = call->result_count;
    napi_create_array_with_length(env, static_cast<size_t>(n) * Env::kOutStride, &list);
    for (int i = 0; i < n; i++) {
      state->put_result(0, state->insert(*call->results[i]), *call->results[i]);
      for (int j = 0; j < Env::kOutStride; j++)
        napi_set_element(env, list, static_cast<uint32_t>(i * Env::kOutStride + j), make_number(env, state->out()[j]));
    }
    state->account();
    napi_resolve_deferred(env, call->deferred, list);
  }
  delete call;
}

// callAsync(op, args...) -> promise; the ticket for cancel() stands in out[0]. A wrong argument gives null and lastError.
napi_value call_async(napi_env env, napi_callback_info info) {
  return guarded(env, [&]() -> napi_value {
    napi_value argv[kMaxArgs + 1];
    size_t argc = kMaxArgs + 1;
    void* data = nullptr;
    if (napi_get_cb_info(env, info, &argc, argv, nullptr, &data) != napi_ok) return nullptr;
    Env* state = static_cast<Env*>(data);
    int64_t index = -1;
    napi_value none = nullptr;
    napi_get_null(env, &none);
    if (argc < 1 || !read_int(env, argv[0], &index) || index < 0 || index >= op_count()) {
      state->fail(fail(Code::option, "callAsync: no such op"));
      return none;
    }
    const Entry& entry = kEntries[index];
    AsyncCall* call = entry.async(state, entry.name, argv + 1, (argc < kMaxArgs + 1 ? argc : kMaxArgs + 1) - 1);
    if (!call) return none;
    napi_value promise = nullptr;
    if (napi_create_promise(env, &call->deferred, &promise) != napi_ok) {
      call->finish_inputs();
      call->drop_results();
      delete call;
      return none;
    }
    call->done = state->done_;
    call->ticket = state->next_ticket_++;
    state->cancels_[call->ticket] = call->cancel;
    state->out()[0] = call->ticket;
    if (state->pending_++ == 0) napi_ref_threadsafe_function(env, state->done_->function);
    AsyncJob* job = new AsyncJob(call);
    if (!submit_job(job)) {  // no thread to be had: do it here, the promise still settles later
      job->run();
      delete job;
    }
    return promise;
  });
}

napi_value cancel(napi_env env, napi_callback_info info) {
  return guarded(env, [&]() -> napi_value {
    napi_value argv[1];
    size_t argc = 1;
    void* data = nullptr;
    if (napi_get_cb_info(env, info, &argc, argv, nullptr, &data) != napi_ok) return nullptr;
    int64_t ticket = 0;
    if (argc == 1 && read_int(env, argv[0], &ticket)) {
      auto& cancels = static_cast<Env*>(data)->cancels_;
      const auto found = cancels.find(static_cast<uint32_t>(ticket));
      if (found != cancels.end()) found->second->store(true);
    }
    return nullptr;
  });
}

}  // namespace

void register_call_functions(napi_env env, napi_value exports, Env* state) {
  napi_value ops = nullptr;
  napi_create_array_with_length(env, static_cast<size_t>(op_count()), &ops);
  for (int i = 0; i < op_count(); i++) {
    BoundOp* bound = new BoundOp{state, &kEntries[i]};
    napi_value f = nullptr;
    if (napi_create_function(env, kEntries[i].name, NAPI_AUTO_LENGTH, call_sync, bound, &f) != napi_ok) {
      delete bound;
      return;
    }
    napi_add_env_cleanup_hook(env, [](void* p) { delete static_cast<BoundOp*>(p); }, bound);
    napi_set_element(env, ops, static_cast<uint32_t>(i), f);
  }
  napi_set_named_property(env, exports, "ops", ops);
  define_function(env, exports, "callAsync", call_async, state);
  define_function(env, exports, "cancel", cancel, state);
  napi_create_threadsafe_function(env, nullptr, nullptr, make_string(env, "tersor"), 0, 1, nullptr, nullptr, state, complete, &state->done_->function);
  if (state->done_->function) napi_unref_threadsafe_function(env, state->done_->function);
}

}  // namespace bindings
}  // namespace tersor
