// Reads the arguments of an op from JavaScript into its argument struct (a visitor of ops/args.h). An op with a list takes two passes:
// plain values, then tensors. Reading a list may run JavaScript (a getter among its elements), which may dispose tensors; after the first
// pass none can.
#pragma once
#include "bindings/env.h"
#include "ops/args.h"

namespace tersor {
namespace bindings {

enum class Pass { values, tensors, both };

class ArgReader {
 public:
  ArgReader(Env* env, const char* op, napi_value* argv, size_t argc, Pass pass) : env_(env), op_(op), argv_(argv), argc_(argc), pass_(pass) {}

  Status tensor(const char* name, TensorRef& t) {
    napi_value v = nullptr;
    TERSOR_TRY(next(name, &v));
    if (pass_ == Pass::values) return {};
    double handle;
    if (!read_number(env_->env_, v, &handle)) return fail(Code::option, "%s: %s must be a tensor", op_, name);
    const TensorRef* found = env_->lookup(handle);
    if (!found) return fail(Code::disposed, "%s: %s was disposed or belongs to another thread", op_, name);
    copy_ref(t, *found);
    return {};
  }
  Status optional(const char* name, TensorRef& t) {
    napi_valuetype type = napi_undefined;
    if (at_ < argc_) napi_typeof(env_->env_, argv_[at_], &type);
    if (type == napi_null || type == napi_undefined) {
      at_++;
      clear_ref(t);
      return {};
    }
    return tensor(name, t);
  }
  Status mutated(const char* name, TensorRef& t) {
    TERSOR_TRY(tensor(name, t));
    if (pass_ == Pass::values) return {};
    if (storage_of(t)->readers.load() > 0) return fail(Code::busy, "%s: %s is being read by an asynchronous call", op_, name);
    if (!t.contiguous()) return fail(Code::shape, "%s: %s is changed in place and must be contiguous, got a strided view", op_, name);
    return {};
  }
  // Results stand last in a row; a handle in their place is memory to compute into, null or nothing asks for new memory.
  Status result(const char* name, TensorRef& t) {
    clear_ref(t);
    TensorRef& into = given[results_++];
    TERSOR_TRY(optional(name, into));
    if (pass_ == Pass::values || !into.present()) return {};
    any_given = true;
    if (storage_of(into)->readers.load() > 0) return fail(Code::busy, "%s: %s is being read by an asynchronous call", op_, name);
    if (!into.contiguous()) return fail(Code::shape, "%s: %s is written to and must be contiguous, got a strided view", op_, name);
    return {};
  }
  TensorRef given[Env::kMaxResults];  // as many as the op has results
  bool any_given = false;
  int results() const { return results_; }

  Status integer(const char* name, int64_t& out) {
    napi_value v = nullptr;
    TERSOR_TRY(next(name, &v));
    if (pass_ == Pass::tensors) return {};
    if (!read_int(env_->env_, v, &out)) return fail(Code::option, "%s: %s must be an integer within +-2^53", op_, name);
    return {};
  }
  Status real(const char* name, double& out) {
    napi_value v = nullptr;
    TERSOR_TRY(next(name, &v));
    if (pass_ == Pass::tensors) return {};
    if (!read_number(env_->env_, v, &out)) return fail(Code::option, "%s: %s must be a number", op_, name);
    return {};
  }
  Status boolean(const char* name, bool& out) {
    napi_value v = nullptr;
    TERSOR_TRY(next(name, &v));
    if (pass_ == Pass::tensors) return {};
    if (napi_get_value_bool(env_->env_, v, &out) != napi_ok) return fail(Code::option, "%s: %s must be true or false", op_, name);
    return {};
  }
  Status list(const char* name, IntList& out) {
    napi_value v = nullptr;
    TERSOR_TRY(next(name, &v));
    if (pass_ == Pass::tensors) return {};
    char where[96];
    snprintf(where, sizeof where, "%s: %s", op_, name);
    return read_int_list(env_->env_, v, where, &out);
  }
  Status dtype(const char* name, DType& out) {
    int64_t v = 0;
    TERSOR_TRY(integer(name, v));
    if (pass_ == Pass::tensors) return {};
    if (v < 0 || v >= static_cast<int64_t>(DType::count)) return fail(Code::dtype, "%s: %s is no element type", op_, name);
    out = static_cast<DType>(v);
    return {};
  }
  template <class Enum> Status enumeration(const char* name, Enum& out) {  // JavaScript's table of names gives the number
    int64_t v = 0;
    TERSOR_TRY(integer(name, v));
    if (pass_ == Pass::tensors) return {};
    if (v < 0 || v > 255) return fail(Code::option, "%s: %s is out of range", op_, name);
    out = static_cast<Enum>(v);
    return {};
  }

 private:
  Status next(const char* name, napi_value* v) {
    if (at_ >= argc_) return fail(Code::option, "%s: %s is missing", op_, name);
    *v = argv_[at_++];
    return {};
  }
  Env* env_;
  const char* op_;
  napi_value* argv_;
  size_t argc_;
  Pass pass_;
  size_t at_ = 0;
  int results_ = 0;
};

// Visitors over an argument struct whose fields are filled.
struct VisitorBase {
  Status tensor(const char*, TensorRef&) { return {}; }
  Status optional(const char*, TensorRef&) { return {}; }
  Status mutated(const char*, TensorRef&) { return {}; }
  Status result(const char*, TensorRef&) { return {}; }
  Status integer(const char*, int64_t&) { return {}; }
  Status real(const char*, double&) { return {}; }
  Status boolean(const char*, bool&) { return {}; }
  Status list(const char*, IntList&) { return {}; }
  Status dtype(const char*, DType&) { return {}; }
  template <class Enum> Status enumeration(const char*, Enum&) { return {}; }
};

// Gives the results their memory after infer: the caller's, where it fits, else new. undo() releases the new again.
struct ResultAllocator : VisitorBase {
  const char* op;
  TensorRef* done[Env::kMaxResults];
  bool mine[Env::kMaxResults];
  int64_t first[Env::kMaxResults];  // dimension 0 of a given result
  int count = 0;
  const TensorRef* given = nullptr;  // kMaxResults, or null
  explicit ResultAllocator(const char* op_name) : op(op_name) {}
  Status result(const char* name, TensorRef& t) {
    const TensorRef* into = given && given[count].present() ? &given[count] : nullptr;
    if (into) {
      bool same = into->dtype == t.dtype && into->rank == t.rank;
      for (int i = 0; same && i < t.rank; i++) same = into->shape[i] == t.shape[i];
      if (!same) return fail(Code::shape, "%s: the result %s is %s, the given one is %s", op, name, TERSOR_TEXT(t), TERSOR_TEXT(*into));
      t.data = into->data;
      t.owner = into->owner;
    } else {
      TERSOR_TRY(allocate_tensor(op, t));
    }
    mine[count] = !into;
    first[count] = t.rank ? t.shape[0] : 0;
    done[count++] = &t;
    return {};
  }
  // After the computation: a body may shrink a rank-1 result whose size depends on the data; given memory cannot shrink.
  Status check_sizes() const {
    for (int i = 0; i < count; i++)
      if (!mine[i] && done[i]->rank && done[i]->shape[0] != first[i])
        return fail(Code::unsupported, "%s: the size of result %d depends on the data (%lld here), so it cannot be given", op, i,
                    static_cast<long long>(done[i]->shape[0]));
    return {};
  }
  void undo() {
    for (int i = 0; i < count; i++)
      if (mine[i]) storage_of(*done[i])->release();
    count = 0;
  }
};

// Lists the inputs, to retain them for an asynchronous call and to check aliasing of in-place arguments.
struct InputLister : VisitorBase {
  TensorRef* inputs[12];
  TensorRef* changed[4];
  int input_count = 0, changed_count = 0;
  Status tensor(const char*, TensorRef& t) {
    inputs[input_count++] = &t;
    return {};
  }
  Status optional(const char*, TensorRef& t) {
    if (t.present()) inputs[input_count++] = &t;
    return {};
  }
  Status mutated(const char*, TensorRef& t) {
    changed[changed_count++] = &t;
    return {};
  }
};

}  // namespace bindings
}  // namespace tersor
