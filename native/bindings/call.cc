// Calls of ops, generic over the op table: synchronous on the JavaScript thread, asynchronous on our own job threads.
// A failed call answers -1 or null, and lastError says why.
#include <cstddef>
#include <cstring>
#include <memory>
#include <new>

#include "bindings/marshal.h"
#include "bindings/pending.h"
#include "ops/schema.h"

namespace tersor {
namespace bindings {
namespace {

static_assert(Env::kOutStride * kMaxResults < Env::kPageArgs && Env::kPageArgs + kMaxSlots <= Env::kPageSize, "the page is too small");

// One asynchronous call: owns a copy of the arguments and a reference to every storage in them.
struct AsyncCall : Pending {
  std::unique_ptr<std::max_align_t[]> storage;
  Call call;

  explicit AsyncCall(const Entry& entry)
      : storage(new std::max_align_t[entry.bytes / sizeof(std::max_align_t) + 1]), call(entry, storage.get()) {}
  void hold_inputs() {
    for (int i = 0; i < call.input_count; i++) {
      storage_of(*call.inputs[i])->retain();
      storage_of(*call.inputs[i])->readers.fetch_add(1);
    }
  }
  void work() override {
    Context context;
    context.cancel = cancel.get();
    if (status.ok()) status = without_exceptions([&] { return call.run(context); });
    if (status.ok() && call.place) status = call.place->synchronize();
    for (int i = 0; i < call.input_count; i++) {
      storage_of(*call.inputs[i])->readers.fetch_sub(1);
      storage_of(*call.inputs[i])->release();
    }
  }
  void abandon() override { call.undo(); }
  napi_value result(napi_env env, Env* state) override {
    napi_value list = nullptr;
    const int n = call.result_count;
    napi_create_array_with_length(env, static_cast<size_t>(n) * Env::kOutStride, &list);
    for (int i = 0; i < n; i++) {
      const TensorRef& t = *call.results[i];
      state->put_result(0, state->insert(t), t);
      for (int j = 0; j < Env::kOutStride; j++)
        napi_set_element(env, list, static_cast<uint32_t>(i * Env::kOutStride + j), make_number(env, state->out()[j]));
    }
    state->account();
    return list;
  }
};

// Runs an op with a row of values (marshal.h). Answers the number of results, described in the page, or -1.
int run_sync(Env* env, const Entry& entry, const double* values) {
  alignas(std::max_align_t) char storage[kMaxArgsBytes];
  Call call(entry, storage);
  Status s = call.prepare(env, values, false);
  if (!s.ok()) return env->fail(s);
  alignas(std::max_align_t) char before[kMaxArgsBytes];
  Recording* const recording = env->recording_.get();
  if (recording) memcpy(before, storage, entry.bytes);
  Context context;
  context.cancel = env->cancel();
  s = context.cancel && context.cancel->load(std::memory_order_relaxed) ? fail(Code::aborted, "cancelled") : call.run(context);
  if (s.ok() && call.any_given) s = call.check_sizes();
  if (s.ok() && call.shrunk() && !is_sized_by_values(op_of(entry)))
    s = fail(Code::internal, "%s: the size of a result depends on values, which the table of ops does not say", entry.name);
  if (!s.ok()) {
    call.undo();
    return env->fail(s);
  }
  if (recording) recording->call(entry, before);
  bool fresh = false;
  for (int i = 0; i < call.result_count; i++) {
    if (!call.mine[i]) continue;  // JavaScript has its handle
    fresh = true;
    env->put_result(i, env->insert(*call.results[i]), *call.results[i]);
  }
  if (fresh) env->account();
  return call.result_count;
}

// call(op): the arguments stand in the page. Nothing on success (making a number costs 10 ns), else -1.
napi_value call_page(napi_env env, napi_callback_info info) {
  return guarded(env, [&]() -> napi_value {
    napi_value argv[1];
    size_t argc = 1;
    void* data = nullptr;
    uint32_t op = 0;
    if (napi_get_cb_info(env, info, &argc, argv, nullptr, &data) != napi_ok) return nullptr;
    Env* state = static_cast<Env*>(data);
    if (napi_get_value_uint32(env, argv[0], &op) != napi_ok || op >= static_cast<uint32_t>(op_count()))
      return make_number(env, state->fail(fail(Code::option, "call: no such op")));
    return run_sync(state, op_entry(static_cast<int>(op)), state->page_args()) < 0 ? make_number(env, -1) : nullptr;
  });
}

struct BoundOp {
  Env* env;
  const Entry* entry;
};

// ops[i](arguments one by one): for arguments of wrong types, and for tests.
napi_value call_sync(napi_env env, napi_callback_info info) {
  return guarded(env, [&]() -> napi_value {
    napi_value argv[kMaxFields];
    size_t argc = kMaxFields;
    void* data = nullptr;
    if (napi_get_cb_info(env, info, &argc, argv, nullptr, &data) != napi_ok) return nullptr;
    const BoundOp* op = static_cast<const BoundOp*>(data);
    double values[kMaxSlots];
    const Status s = read_values(env, *op->entry, argv, argc, values);
    return make_number(env, s.ok() ? run_sync(op->env, *op->entry, values) : op->env->fail(s));
  });
}

// callAsync(op, args...) -> promise; the ticket for cancel() stands in out[0]. A wrong argument gives null and lastError.
napi_value call_async(napi_env env, napi_callback_info info) {
  return guarded(env, [&]() -> napi_value {
    napi_value argv[kMaxFields + 1];
    size_t argc = kMaxFields + 1;
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
    double values[kMaxSlots];
    std::unique_ptr<AsyncCall> own(new AsyncCall(op_entry(static_cast<int>(index))));
    Status s = read_values(env, own->call.entry, argv + 1, argc - 1, values);
    if (s.ok()) s = own->call.prepare(state, values, true);
    if (!s.ok()) {
      state->fail(s);
      return none;
    }
    if (state->recording_) state->recording_->refuse(fail(Code::unsupported, "%s is called asynchronously", own->call.entry.name));
    own->hold_inputs();
    return submit(env, state, std::move(own));
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
    BoundOp* bound = new BoundOp{state, &op_entry(i)};
    napi_value f = nullptr;
    if (napi_create_function(env, op_entry(i).name, NAPI_AUTO_LENGTH, call_sync, bound, &f) != napi_ok) {
      delete bound;
      return;
    }
    napi_add_env_cleanup_hook(env, [](void* p) { delete static_cast<BoundOp*>(p); }, bound);
    napi_set_element(env, ops, static_cast<uint32_t>(i), f);
  }
  napi_set_named_property(env, exports, "ops", ops);
  define_function(env, exports, "call", call_page, state);
  define_function(env, exports, "callAsync", call_async, state);
  define_function(env, exports, "cancel", cancel, state);
  open_completion(env, state);
}

}  // namespace bindings
}  // namespace tersor
