// The addon: one Env per JavaScript environment, freed by its cleanup hook.
#include "bindings/env.h"
#include "kernels/self_check.h"

namespace tersor {
namespace bindings {

static Napi::Object init(Napi::Env env, Napi::Object exports) {
  check_tile_rows();
  Env* state = new Env(env);
  if (!state->page_) {  // no memory for a few numbers
    delete state;
    napi_throw_error(env, "ERR_NATIVE", "addon: the environment gave no memory");
    return exports;
  }
  register_tensor_functions(env, exports, state);
  register_info_functions(env, exports, state);
  register_call_functions(env, exports, state);
  register_plan_functions(env, exports, state);
  register_worker_functions(env, exports, state);
  register_device_functions(env, exports, state);
  napi_value out = nullptr;
  if (napi_get_reference_value(env, state->page_ref_, &out) == napi_ok && out) napi_set_named_property(env, exports, "out", out);
  // Runs before Node frees the thread-safe function (hooks run last in, first out).
  napi_add_env_cleanup_hook(
      env,
      [](void* p) {
        Env* closing = static_cast<Env*>(p);
        for (auto& entry : closing->cancels_) entry.second->store(true);
        closing->done_->close();
        delete closing;
      },
      state);
  return exports;
}

NODE_API_MODULE(tersor, init)

}  // namespace bindings
}  // namespace tersor
