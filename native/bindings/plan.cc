// Sessions: an eager run is recorded here and its plan replayed, on the JavaScript thread or on a job thread. Values cross as copies: inputs into one
// block before the call returns, outputs into memory of their own that becomes typed arrays or tensors on the JavaScript thread.
#include <string>

#include "bindings/pending.h"
#include "ops/transfer.h"
#include "plan/convolutions.h"
#include "plan/fuse.h"

namespace tersor {
namespace bindings {
namespace {

// One run, from its inputs to its outputs.
struct Run : Pending {
  std::shared_ptr<const Plan> plan;
  PlaceRef place;  // the plan's, which may be gone before the block
  void* block = nullptr;
  int64_t block_bytes = 0;
  std::vector<const void*> inputs;
  std::vector<TensorRef> outputs;  // each with a reference to its storage while it is ours
  std::vector<StepTime> times;
  const std::atomic<bool>* flag = cancel.get();  // what ends it early; may be null
  bool as_tensors = false;

  ~Run() override {
    if (place.get() && block) place.get()->release(block, block_bytes);
    else deallocate(block, block_bytes);
  }

  Status open(std::shared_ptr<const Plan> p, bool profile) {
    plan = std::move(p);
    place = PlaceRef(plan->place());
    if (profile) times.resize(static_cast<size_t>(plan->stats().steps));
    int64_t at = 0;
    std::vector<int64_t> places;
    for (const TensorRef& t : plan->inputs()) {
      places.push_back(at);
      at += (t.bytes() + 2 * static_cast<int64_t>(kAlignment) - 1) / static_cast<int64_t>(kAlignment) * static_cast<int64_t>(kAlignment);
    }
    TERSOR_TRY(place.get() ? place.get()->allocate("session", at, &block) : allocate("session", at, &block));
    block_bytes = at;
    for (const int64_t place : places) inputs.push_back(static_cast<char*>(block) + place);
    return {};
  }
  // Memory for outputs is asked for here: a run that waits in the queue has none.
  Status compute() {
    std::vector<void*> memory;
    for (const TensorRef& t : plan->outputs()) {
      TensorRef own{};
      set_shape(own, t.dtype, t.shape, t.rank);
      TERSOR_TRY(allocate_tensor("session", own, place.get()));
      outputs.push_back(own);
      memory.push_back(own.data);
    }
    TERSOR_TRY(plan->run(inputs.data(), memory.data(), flag, times.empty() ? nullptr : times.data()));
    if (!place.get()) return {};
    if (as_tensors) return place.get()->synchronize();
    for (TensorRef& t : outputs) {  // arrays are made of the processor's memory
      TensorRef own = t;
      TERSOR_TRY(allocate_tensor("session", own));
      const Status s = place.get()->download(own.data, t.data, t.bytes());
      storage_of(s.ok() ? t : own)->release();
      if (!s.ok()) return s;
      t = own;
    }
    return {};
  }
  void work() override {
    if (status.ok()) status = without_exceptions([&] { return compute(); });
    plan.reset();
  }
  void abandon() override {
    for (const TensorRef& t : outputs) storage_of(t)->release();
    outputs.clear();
  }
  napi_value result(napi_env env, Env* state) override {
    napi_value list = nullptr;
    if (napi_create_array_with_length(env, outputs.size() + (times.empty() ? 0 : 1), &list) != napi_ok) return abandon(), nullptr;
    const auto let_go = [&](size_t handed_over) -> napi_value {  // handles own their tensors
      if (as_tensors) outputs.erase(outputs.begin(), outputs.begin() + static_cast<std::ptrdiff_t>(handed_over));
      return abandon(), nullptr;
    };
    for (size_t i = 0; i < outputs.size(); i++) {
      napi_value value = as_tensors ? make_number(env, state->insert(outputs[i])) : make_array(env, outputs[i]);
      if (!value || napi_set_element(env, list, static_cast<uint32_t>(i), value) != napi_ok) return let_go(i + 1);
    }
    if (!times.empty()) {
      napi_value value = make_times(env);
      if (!value || napi_set_element(env, list, static_cast<uint32_t>(outputs.size()), value) != napi_ok) return let_go(outputs.size());
    }
    let_go(outputs.size());
    if (as_tensors) state->account();
    return list;
  }

 private:
  static napi_typedarray_type array_type(DType t) {
    switch (t) {
      case DType::f64: return napi_float64_array;
      case DType::f32: return napi_float32_array;
      case DType::f16: case DType::bf16: case DType::u16: return napi_uint16_array;
      case DType::i64: return napi_bigint64_array;
      case DType::i32: return napi_int32_array;
      case DType::i16: return napi_int16_array;
      case DType::i8: return napi_int8_array;
      default: return napi_uint8_array;
    }
  }
  static napi_value make_array(napi_env env, const TensorRef& t) {
    void* data = nullptr;
    napi_value buffer = nullptr, array = nullptr;
    const size_t bytes = static_cast<size_t>(t.bytes());
    if (napi_create_arraybuffer(env, bytes, &data, &buffer) != napi_ok) return nullptr;
    if (bytes) memcpy(data, t.data, bytes);
    napi_create_typedarray(env, array_type(t.dtype), static_cast<size_t>(t.size()), buffer, 0, &array);
    return array;
  }
  // Begin and end of each step, nanoseconds.
  napi_value make_times(napi_env env) const {
    napi_value buffer = nullptr, array = nullptr;
    void* data = nullptr;
    if (napi_create_arraybuffer(env, times.size() * 2 * sizeof(double), &data, &buffer) != napi_ok) return nullptr;
    for (size_t i = 0; i < times.size(); i++) {
      static_cast<double*>(data)[2 * i] = static_cast<double>(times[i].begin);
      static_cast<double*>(data)[2 * i + 1] = static_cast<double>(times[i].end);
    }
    napi_create_typedarray(env, napi_float64_array, times.size() * 2, buffer, 0, &array);
    return array;
  }
};

template <size_t N> Env* arguments(napi_env env, napi_callback_info info, napi_value (&argv)[N], size_t* argc) {
  *argc = N;
  void* data = nullptr;
  if (napi_get_cb_info(env, info, argc, argv, nullptr, &data) != napi_ok) return nullptr;
  return static_cast<Env*>(data);
}

// The tensors of a list of handles. The list is ours (a plain array of numbers made by ts/native), so no getter runs.
Status read_handles(napi_env env, Env* state, napi_value list, std::vector<TensorRef>* out) {
  uint32_t n = 0;
  if (napi_get_array_length(env, list, &n) != napi_ok) return fail(Code::option, "session: a list of tensors is needed");
  for (uint32_t i = 0; i < n; i++) {
    napi_value v = nullptr;
    double handle = 0;
    napi_get_element(env, list, i, &v);
    const TensorRef* t = read_number(env, v, &handle) ? state->lookup(handle) : nullptr;
    if (!t) return fail(Code::disposed, "session: tensor %u was disposed or belongs to another thread", i);
    out->push_back(*t);
  }
  return {};
}

// planBegin(handles of the inputs): from now on calls are recorded.
napi_value plan_begin(napi_env env, napi_callback_info info) {
  return guarded(env, [&]() -> napi_value {
    napi_value argv[1];
    size_t argc;
    Env* state = arguments(env, info, argv, &argc);
    if (!state) return nullptr;
    const auto body = [&]() -> Status {
      if (state->recording_) return fail(Code::busy, "session: a run is being recorded already");
      std::vector<TensorRef> inputs;
      TERSOR_TRY(read_handles(env, state, argv[0], &inputs));
      for (const TensorRef& t : inputs)
        if (!t.contiguous()) return fail(Code::shape, "session: inputs of a recording must be contiguous");
      state->recording_.reset(new Recording);
      for (const TensorRef& t : inputs) state->recording_->input(t);
      return {};
    };
    const Status s = body();
    return make_number(env, s.ok() ? 0 : state->fail(s));
  });
}

// planEnd(handles of the outputs, flags): the number of the plan, or -1; then out[0] has the bits of the inputs whose values decided what was computed,
// where leaving them out of the inputs makes a plan for these values. flags: 1 no rewriting, 2 convolutions as direct sums.
napi_value plan_end(napi_env env, napi_callback_info info) {
  return guarded(env, [&]() -> napi_value {
    napi_value argv[2];
    size_t argc;
    Env* state = arguments(env, info, argv, &argc);
    if (!state) return nullptr;
    const auto body = [&]() -> Status {
      if (!state->recording_) return fail(Code::option, "session: nothing is being recorded");
      state->packs_.sweep();  // packs that no plan holds may be of values that have changed since
      const std::unique_ptr<Recording> recording = std::move(state->recording_);
      std::vector<TensorRef> outputs;
      Program program;
      int64_t flags = 0;
      TERSOR_TRY(read_handles(env, state, argv[0], &outputs));
      if (!read_int(env, argv[1], &flags)) return fail(Code::option, "session: flags are needed");
      const Status finished = recording->finish(outputs.data(), static_cast<int>(outputs.size()), &program);
      state->out()[0] = static_cast<double>(recording->decisive());
      TERSOR_TRY(finished);
      // Those of convolutions choose among the processor's kernels.
      if (!(flags & 1) && !program.place.get()) TERSOR_TRY(rewrite_convolutions(program, state->packs_, (flags & 2) != 0));
      if (!(flags & 1)) TERSOR_TRY(fuse(program, state->packs_));
      state->plans_[state->next_plan_] = std::make_shared<const Plan>(std::move(program));
      return {};
    };
    const Status s = body();
    if (!s.ok()) state->packs_.sweep();
    return make_number(env, s.ok() ? static_cast<int>(state->next_plan_++) : state->fail(s));
  });
}

napi_value plan_mark(napi_env env, napi_callback_info info) {
  return guarded(env, [&]() -> napi_value {
    napi_value argv[1];
    size_t argc;
    int64_t label = 0;
    Env* state = arguments(env, info, argv, &argc);
    if (state && state->recording_ && read_int(env, argv[0], &label)) state->recording_->mark(static_cast<int>(label));
    return nullptr;
  });
}

napi_value plan_drop(napi_env env, napi_callback_info info) {
  return guarded(env, [&]() -> napi_value {
    napi_value argv[1];
    size_t argc;
    if (Env* state = arguments(env, info, argv, &argc)) state->recording_.reset();
    return nullptr;
  });
}

std::shared_ptr<const Plan> find(napi_env env, Env* state, napi_value v) {
  int64_t number = 0;
  if (!read_int(env, v, &number)) return nullptr;
  const auto found = state->plans_.find(static_cast<uint32_t>(number));
  return found == state->plans_.end() ? nullptr : found->second;
}

// Copies an input: a typed array or the handle of a tensor.
Status copy_input(napi_env env, Env* state, napi_value v, const TensorRef& want, void* to, Place* place) {
  double handle = 0;
  if (read_number(env, v, &handle)) {
    const TensorRef* t = state->lookup(handle);
    if (!t) return fail(Code::disposed, "session: an input was disposed or belongs to another thread");
    bool same = t->dtype == want.dtype && t->rank == want.rank;
    for (int i = 0; same && i < t->rank; i++) same = t->shape[i] == want.shape[i];
    if (!same) return fail(Code::shape, "session: an input must be %s, got %s", TERSOR_TEXT(want), TERSOR_TEXT(*t));
    return transfer("session", *t, tensor_place(*t), to, place);
  }
  napi_typedarray_type type;
  void* data = nullptr;
  size_t bytes = 0;
  TERSOR_TRY(typed_bytes(env, "session", v, &type, &data, &bytes));
  if (!array_fits(want.dtype, type)) return fail(Code::dtype, "session: the array of an input does not fit %s", TERSOR_TEXT(want));
  if (static_cast<int64_t>(bytes) != want.bytes())
    return fail(Code::shape, "session: the array of an input has %lld bytes, %s has %lld", static_cast<long long>(bytes), TERSOR_TEXT(want), static_cast<long long>(want.bytes()));
  if (place) return place->upload(to, data, want.bytes());
  if (bytes) memcpy(to, data, bytes);
  return {};
}

// A plan that is done sooner than another thread has been woken and has answered runs here: the way there takes this thread about as long. That a loop of such
// runs lets others have the thread now and then is the session's concern (ts/runtime/turns.ts).
constexpr int64_t kShortRun = 100'000;  // nanoseconds
bool runs_here(Env* state, const Plan& plan) {
  const int64_t usual = plan.usual_time();
  return !plan.place() && usual > 0 && usual <= kShortRun && state->pending_ == 0;
}

// planRun(plan, inputs, flags) -> [outputs..., times?], or -1. flags: 1 outputs as handles, 2 times. planRunAsync: the same as a promise, or null; a list where the run was
// too short to hand over.
napi_value run_plan(napi_env env, napi_callback_info info, bool async) {
  return guarded(env, [&]() -> napi_value {
    napi_value argv[3];
    size_t argc;
    Env* state = arguments(env, info, argv, &argc);
    if (!state) return nullptr;
    std::unique_ptr<Run> run(new Run);
    bool away = async;
    const auto body = [&]() -> Status {
      int64_t flags = 0;
      uint32_t n = 0;
      const std::shared_ptr<const Plan> plan = find(env, state, argv[0]);
      if (!plan) return fail(Code::disposed, "session: the plan was disposed or belongs to another thread");
      if (state->recording_) state->recording_->refuse(fail(Code::unsupported, "another session runs inside the model"));
      if (!read_int(env, argv[2], &flags) || napi_get_array_length(env, argv[1], &n) != napi_ok || n != plan->inputs().size())
        return fail(Code::option, "session: the plan takes %d inputs", static_cast<int>(plan->inputs().size()));
      run->as_tensors = flags & 1;
      TERSOR_TRY(run->open(plan, flags & 2));
      for (uint32_t i = 0; i < n; i++) {
        napi_value v = nullptr;
        napi_get_element(env, argv[1], i, &v);
        TERSOR_TRY(copy_input(env, state, v, plan->inputs()[i], const_cast<void*>(run->inputs[i]), plan->place()));
      }
      if (async && runs_here(state, *plan)) away = false;
      if (!away) {
        run->flag = state->cancel();  // of the job that a worker works for, in stretches that may be interrupted
        run->work();
      }
      return run->status;
    };
    const Status s = body();
    napi_value none = nullptr;
    napi_get_null(env, &none);
    if (!s.ok()) {
      run->abandon();
      state->fail(s);
      return none;
    }
    if (away) return submit(env, state, std::move(run));
    napi_value list = run->result(env, state);
    if (!list) state->fail(no_memory_for_result(env));
    return list ? list : none;
  });
}

napi_value plan_run(napi_env env, napi_callback_info info) { return run_plan(env, info, false); }
napi_value plan_run_async(napi_env env, napi_callback_info info) { return run_plan(env, info, true); }

void set_number(napi_env env, napi_value object, const char* name, int64_t v) {
  napi_set_named_property(env, object, name, make_number(env, static_cast<double>(v)));
}

// One line for each tensor of a kind: "f32[128,768] u8[..]".
napi_value describe(napi_env env, const Step& step, bool results) {
  std::string text;
  each_tensor(step, [&](char kind, const TensorRef& t) {
    if ((kind == 'R') != results) return;
    if (!text.empty()) text += " ";
    text += TERSOR_TEXT(t);
  });
  return make_string(env, text.c_str());
}

// planInfo(plan) -> what it is made of.
napi_value plan_info(napi_env env, napi_callback_info info) {
  return guarded(env, [&]() -> napi_value {
    napi_value argv[1], object = nullptr, steps = nullptr, outputs = nullptr;
    size_t argc;
    Env* state = arguments(env, info, argv, &argc);
    if (!state) return nullptr;
    const std::shared_ptr<const Plan> plan = find(env, state, argv[0]);
    if (!plan) return make_number(env, state->fail(fail(Code::disposed, "session: the plan was disposed or belongs to another thread")));
    const PlanStats stats = plan->stats();
    napi_create_object(env, &object);
    set_number(env, object, "arenaBytes", stats.arena_bytes);
    set_number(env, object, "separateBytes", stats.separate_bytes);
    set_number(env, object, "constantBytes", stats.constant_bytes);
    set_number(env, object, "inPlace", stats.in_place);
    set_number(env, object, "frames", stats.frames);
    napi_create_array(env, &steps);
    uint32_t i = 0;
    for (const Step& step : plan->program().steps) {
      napi_value one = nullptr;
      napi_create_object(env, &one);
      napi_set_named_property(env, one, "op", make_string(env, step.entry->name));
      napi_set_named_property(env, one, "inputs", describe(env, step, false));
      napi_set_named_property(env, one, "results", describe(env, step, true));
      set_number(env, one, "label", step.label);
      napi_set_element(env, steps, i++, one);
    }
    napi_set_named_property(env, object, "steps", steps);
    napi_create_array(env, &outputs);
    i = 0;
    for (const TensorRef& t : plan->outputs()) napi_set_element(env, outputs, i++, make_string(env, TERSOR_TEXT(t)));
    napi_set_named_property(env, object, "outputs", outputs);
    return object;
  });
}

// planRelease(plan): runs in flight end on their own reference.
napi_value plan_release(napi_env env, napi_callback_info info) {
  return guarded(env, [&]() -> napi_value {
    napi_value argv[1];
    size_t argc;
    int64_t number = 0;
    Env* state = arguments(env, info, argv, &argc);
    if (state && read_int(env, argv[0], &number)) state->plans_.erase(static_cast<uint32_t>(number));
    if (state) state->packs_.sweep();
    if (state) state->packs_due_ = state->pending_ > 0;
    return nullptr;
  });
}

}  // namespace

void register_plan_functions(napi_env env, napi_value exports, Env* state) {
  define_function(env, exports, "planBegin", plan_begin, state);
  define_function(env, exports, "planMark", plan_mark, state);
  define_function(env, exports, "planEnd", plan_end, state);
  define_function(env, exports, "planDrop", plan_drop, state);
  define_function(env, exports, "planRun", plan_run, state);
  define_function(env, exports, "planRunAsync", plan_run_async, state);
  define_function(env, exports, "planInfo", plan_info, state);
  define_function(env, exports, "planRelease", plan_release, state);
}

}  // namespace bindings
}  // namespace tersor
