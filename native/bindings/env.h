// State of one JavaScript environment (main thread, worker): its handle table, its pending asynchronous calls, its last error.
// A handle is a JavaScript number: generation (16 bits), tag of the environment (10), slot (26). Use after release, or in another
// environment, is detected.
#pragma once
#include <napi.h>

#include <atomic>
#include <memory>
#include <mutex>
#include <unordered_map>
#include <vector>

#include "backend/stream.h"
#include "base/status.h"
#include "bindings/worker_job.h"
#include "plan/packs.h"
#include "plan/plan.h"
#include "plan/recording.h"
#include "tensor/storage.h"

namespace tersor {
namespace bindings {

struct Pending;

// The way back from job threads to the JavaScript thread. Job threads may outlive the environment, so they hold this by shared_ptr and
// ask under the lock whether the function still lives (Node frees it during teardown whatever threads still hold it). What is on the way when the
// environment closes is freed here: Node would hand it to the function once more, Deno forgets it.
struct Completion {
  std::mutex mutex;
  napi_threadsafe_function function = nullptr;  // null: the environment is closing
  Pending* posted = nullptr;                    // on the way to JavaScript
  bool post(Pending* pending);                  // false: the environment is closing, it stays the caller's
  void arrived(Pending* pending);
  void close();
};

class Env {
 public:
  explicit Env(napi_env env);
  ~Env();
  Env(const Env&) = delete;
  Env& operator=(const Env&) = delete;

  // Takes over one reference of t.owner.
  double insert(const TensorRef& t);
  const TensorRef* lookup(double handle) const {
    if (!(handle >= kMaxSlots) || !(handle < 4503599627370496.0)) return nullptr;
    const size_t index = static_cast<size_t>(static_cast<uint64_t>(handle) & (kMaxSlots - 1));
    if (index >= slots_.size()) return nullptr;
    const Slot& s = slots_[index];
    return s.live && s.handle == handle ? &s.tensor : nullptr;
  }
  bool release(double handle);
  int64_t live_handles() const { return live_; }
  int64_t live_bytes() const { return bytes_; }

  // The page: numbers that JavaScript and we hand each other without a call for each. It is a Float64Array over memory that nobody can detach,
  // and JavaScript keeps it to itself. [0, 66): results of a call, [handle, dtype, rank, dims 0..7] each. [72, 136): arguments of a call.
  static constexpr int kOutStride = 3 + kMaxRank;
  static constexpr int kPageArgs = 72;
  static constexpr int kPageSize = 136;
  static constexpr int kSlotBits = 26;  // of a handle
  static constexpr uint32_t kMaxSlots = uint32_t(1) << kSlotBits;
  double* out() { return page_; }
  const double* page_args() const { return page_ + kPageArgs; }
  void put_result(int index, double handle, const TensorRef& t);

  int fail(const Status& s) {
    error_ = s;
    return -1;
  }
  Status error_;
  napi_env env_;
  napi_ref page_ref_ = nullptr;
  double* page_ = nullptr;
  std::shared_ptr<Completion> done_ = std::make_shared<Completion>();
  int pending_ = 0;
  uint32_t next_ticket_ = 1;
  std::unordered_map<uint32_t, std::shared_ptr<std::atomic<bool>>> cancels_;
  std::unique_ptr<Recording> recording_;  // while a session watches an eager run
  std::unordered_map<uint32_t, std::shared_ptr<const Plan>> plans_;
  uint32_t next_plan_ = 1;
  Packs packs_;
  bool packs_due_ = false;  // a plan was released while runs were in flight: swept when they come back

  // Queues on the devices that this environment has opened, each with a reference of its own, and the one on which tensors are made that no other tensor
  // decides (null: the processor's memory).
  std::vector<Stream*> streams_;
  Place* scope_place_ = nullptr;
  // The queue of this environment on the device of `other`; opened where there is none yet.
  Status stream_like(const Place& other, Place** out);
  Status stream_on(const Library& library, int device, int* index);

  // Jobs that this environment gave to workers, and the one that it works for. Only in stretches that JavaScript marks (jobInterruptible) do synchronous
  // calls look at the flag: in between, steps are all or nothing.
  std::vector<uint32_t> opened_jobs_;
  std::shared_ptr<WorkerJob> job_;
  bool interruptible_ = false;
  const std::atomic<bool>* cancel() const { return interruptible_ && job_ ? &job_->cancelled : nullptr; }

  void account();  // tells V8 about native memory, in steps, so that its garbage collector runs in time

 private:
  const uint64_t tag_;
  struct Slot {
    TensorRef tensor;
    uint32_t generation;
    bool live;
    double handle;  // while live
  };
  std::vector<Slot> slots_;
  std::vector<uint32_t> free_;
  int64_t live_ = 0;
  int64_t bytes_ = 0;
  int64_t reported_ = 0;
};

// Defines a function property whose callback gets `data`. Returns false when the environment is closing.
bool define_function(napi_env env, napi_value object, const char* name, napi_callback callback, void* data);

// Handles, memory and data transfer; op calls; information; work for other environments. Each adds its functions to `exports`.
void register_tensor_functions(napi_env env, napi_value exports, Env* state);
void register_call_functions(napi_env env, napi_value exports, Env* state);
void register_plan_functions(napi_env env, napi_value exports, Env* state);
void register_info_functions(napi_env env, napi_value exports, Env* state);
void register_worker_functions(napi_env env, napi_value exports, Env* state);
void register_device_functions(napi_env env, napi_value exports, Env* state);

// Small readers. They use napi's own information only (no JavaScript runs) and return false on a wrong type.
bool read_number(napi_env env, napi_value v, double* out);
bool read_int(napi_env env, napi_value v, int64_t* out);  // exact integer, |v| <= 2^53
Status read_int_list(napi_env env, napi_value v, const char* where, IntList* out);
napi_value make_number(napi_env env, double v);
napi_value make_string(napi_env env, const char* text);
napi_value make_error(napi_env env, const Status& s);

// Memory of a typed array, straight from the engine (a property named `length` cannot lie here). detached: ERR_BUFFER_DETACHED.
Status typed_bytes(napi_env env, const char* where, napi_value v, napi_typedarray_type* type, void** data, size_t* bytes);
bool array_fits(DType t, napi_typedarray_type type);

// Runs f, and turns any C++ exception into a failed call: nothing leaves a callback.
template <class F> napi_value guarded(napi_env env, F&& f) {
  try {
    return f();
  } catch (const std::bad_alloc&) {
    napi_throw_error(env, "ERR_MEMORY_BUDGET", "native allocation failed");
  } catch (const std::exception& e) {
    napi_throw_error(env, "ERR_INTERNAL", e.what());
  } catch (...) {
    napi_throw_error(env, "ERR_INTERNAL", "unknown exception in the addon");
  }
  return nullptr;
}

}  // namespace bindings
}  // namespace tersor
