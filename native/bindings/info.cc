// What JavaScript may ask about the process: memory, threads, instruction sets, kernel rows, the last error.
#include "bindings/env.h"
#include "cpu/isa.h"
#include "cpu/threads.h"
#include "kernels/row.h"
#include "ops/schema.h"

namespace tersor {
namespace bindings {
namespace {

void set(napi_env env, napi_value object, const char* name, napi_value v) { napi_set_named_property(env, object, name, v); }

napi_value make_bool(napi_env env, bool v) {
  napi_value r = nullptr;
  napi_get_boolean(env, v, &r);
  return r;
}

napi_value make_object(napi_env env) {
  napi_value r = nullptr;
  napi_create_object(env, &r);
  return r;
}

Env* state_of(napi_env env, napi_callback_info info, napi_value* first) {
  size_t argc = 1;
  void* data = nullptr;
  if (napi_get_cb_info(env, info, &argc, first, nullptr, &data) != napi_ok) return nullptr;
  return static_cast<Env*>(data);
}

napi_value last_error(napi_env env, napi_callback_info info) {
  return guarded(env, [&]() -> napi_value {
    napi_value unused = nullptr;
    Env* state = state_of(env, info, &unused);
    if (!state) return nullptr;
    napi_value r = make_object(env);
    set(env, r, "code", make_string(env, code_name(state->error_.code)));
    set(env, r, "message", make_string(env, state->error_.message));
    return r;
  });
}

napi_value memory(napi_env env, napi_callback_info info) {
  return guarded(env, [&]() -> napi_value {
    napi_value unused = nullptr;
    Env* state = state_of(env, info, &unused);
    if (!state) return nullptr;
    const MemoryStats m = memory_stats();
    napi_value r = make_object(env);
    set(env, r, "bytes", make_number(env, static_cast<double>(m.bytes)));
    set(env, r, "peakBytes", make_number(env, static_cast<double>(m.peak)));
    set(env, r, "blocks", make_number(env, static_cast<double>(m.blocks)));
    set(env, r, "budgetBytes", make_number(env, static_cast<double>(m.budget)));
    set(env, r, "tensors", make_number(env, static_cast<double>(state->live_handles())));
    set(env, r, "tensorBytes", make_number(env, static_cast<double>(state->live_bytes())));
    return r;
  });
}

napi_value reset_peak(napi_env, napi_callback_info) {
  memory_reset_peak();
  return nullptr;
}

napi_value set_memory_budget(napi_env env, napi_callback_info info) {
  return guarded(env, [&]() -> napi_value {
    napi_value v = nullptr;
    Env* state = state_of(env, info, &v);
    int64_t bytes;
    if (!state) return nullptr;
    const Status s = read_int(env, v, &bytes) ? memory_set_budget(bytes) : fail(Code::option, "memory budget must be an integer number of bytes");
    return make_number(env, s.ok() ? 0 : state->fail(s));
  });
}

napi_value threads(napi_env env, napi_callback_info) {
  return guarded(env, [&]() -> napi_value { return make_number(env, thread_count()); });
}

napi_value set_threads(napi_env env, napi_callback_info info) {
  return guarded(env, [&]() -> napi_value {
    napi_value v = nullptr;
    Env* state = state_of(env, info, &v);
    int64_t n;
    if (!state) return nullptr;
    const Status s = read_int(env, v, &n) && n >= 1 && n <= 256 ? set_thread_count(static_cast<int>(n)) : fail(Code::option, "threads must be an integer in [1, 256]");
    return make_number(env, s.ok() ? 0 : state->fail(s));
  });
}

napi_value isa_info(napi_env env, napi_callback_info) {
  return guarded(env, [&]() -> napi_value {
    napi_value r = make_object(env), levels = nullptr;
    const Status s = isa::cap_status();
    set(env, r, "cap", make_string(env, isa::cap_text()));
    set(env, r, "error", make_string(env, s.ok() ? "" : s.message));
    set(env, r, "withdrawn", make_string(env, isa::withdrawn()));
    napi_create_array(env, &levels);
    for (int i = 0; i < isa::level_count(); i++) {
      napi_value level = make_object(env);
      set(env, level, "name", make_string(env, isa::level_name(i)));
      set(env, level, "detected", make_bool(env, isa::level_detected(i)));
      set(env, level, "allowed", make_bool(env, isa::level_allowed(i)));
      napi_set_element(env, levels, static_cast<uint32_t>(i), level);
    }
    set(env, r, "levels", levels);
    return r;
  });
}

napi_value kernel_rows(napi_env env, napi_callback_info) {
  return guarded(env, [&]() -> napi_value {
    RowInfo info[256];
    const int n = all_rows(info, 256);
    napi_value rows = nullptr;
    napi_create_array(env, &rows);
    for (int i = 0; i < n && i < 256; i++) {
      napi_value row = make_object(env);
      set(env, row, "family", make_string(env, info[i].family));
      set(env, row, "variant", make_string(env, info[i].variant));
      set(env, row, "function", make_string(env, info[i].function));
      set(env, row, "needs", make_string(env, isa::feature_name(info[i].needs)));
      set(env, row, "detected", make_bool(env, (info[i].needs & ~isa::detected()) == 0));
      set(env, row, "usable", make_bool(env, info[i].usable));
      set(env, row, "chosen", make_bool(env, info[i].chosen));
      set(env, row, "passedOver", make_string(env, info[i].passed_over ? info[i].passed_over : ""));
      napi_set_element(env, rows, static_cast<uint32_t>(i), row);
    }
    return rows;
  });
}

}  // namespace

void register_info_functions(napi_env env, napi_value exports, Env* state) {
  define_function(env, exports, "lastError", last_error, state);
  define_function(env, exports, "memory", memory, state);
  define_function(env, exports, "resetPeak", reset_peak, state);
  define_function(env, exports, "setMemoryBudget", set_memory_budget, state);
  define_function(env, exports, "threads", threads, state);
  define_function(env, exports, "setThreads", set_threads, state);
  define_function(env, exports, "isa", isa_info, state);
  define_function(env, exports, "kernelRows", kernel_rows, state);
  char hash[32];
  snprintf(hash, sizeof hash, "%016llx", static_cast<unsigned long long>(schema_hash()));
  set(env, exports, "schemaHash", make_string(env, hash));
  napi_value schemas = nullptr;
  napi_create_array(env, &schemas);
  for (int i = 0; i < op_count(); i++) napi_set_element(env, schemas, static_cast<uint32_t>(i), make_string(env, op_schema(i)));
  set(env, exports, "schemas", schemas);
}

}  // namespace bindings
}  // namespace tersor
