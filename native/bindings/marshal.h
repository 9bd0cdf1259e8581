// Arguments of an op on their way from JavaScript into its argument struct. They come as numbers in a row, in the order of ops.def: a handle
// (0: nothing) for a tensor, 0 or 1 for a boolean, an index for an enumeration or a dtype, length and 8 entries for a list; results stand
// last, a handle in their place is memory to compute into. JavaScript writes them into the environment's page and calls without arguments that
// would need Node-API to be read; read_values makes the same row of values passed one by one.
#pragma once
#include "bindings/env.h"
#include "ops/op_table.h"

namespace tersor {
namespace bindings {

// Reading a list may run JavaScript (a getter among its elements), so this ends before the first handle is looked up.
Status read_values(napi_env env, const Entry& entry, napi_value* argv, size_t argc, double* values);

// One call: where its tensors stand in the argument struct, and which results are ours.
struct Call {
  const Entry& entry;
  char* args;
  TensorRef* inputs[kMaxInputs];
  TensorRef* changed[kMaxChanged];
  TensorRef* results[kMaxResults];
  const TensorRef* given[kMaxResults];  // memory of the caller, or null; in the handle table, so valid until the next insert
  bool mine[kMaxResults];
  int64_t first[kMaxResults];  // dimension 0 of a result as it was inferred
  int input_count = 0, changed_count = 0, result_count = 0, allocated = 0;
  bool any_given = false;
  Place* place = nullptr;  // where all tensors of the call lie; null: the processor's memory

  // storage: entry.bytes, aligned for any type. Every field is set by prepare.
  Call(const Entry& e, void* storage) : entry(e), args(static_cast<char*>(storage)) {}
  // Reads and checks the arguments, infers the results and gives them memory: the caller's where it fits, else new.
  Status prepare(Env* env, const double* values, bool async);
  Status run(Context& context) { return place ? place->call(op_index(entry), args, context) : entry.cpu(args, context); }
  // After the computation: a body may shrink a rank-1 result whose size depends on the data; given memory cannot shrink.
  Status check_sizes() const;
  bool shrunk() const;
  void undo();  // releases what prepare allocated

 private:
  Status read(Env* env, const double* values);
  Status find_place(const Env* env);
  Status mixed_devices() const;
  Status check_aliasing() const;
  Status check_given() const;
  Status allocate_results();
};

}  // namespace bindings
}  // namespace tersor
