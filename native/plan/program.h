// A list of op calls as plain data: what a recording gives, what rewrites change and what a plan is made of. Tensors of the list live in slots; a
// TensorRef inside a step names its slot in `owner` (number + 1) and its place there in `data` (bytes), so views are only other places and strides.
#pragma once
#include <cstddef>
#include <cstring>
#include <memory>
#include <vector>

#include "ops/op_table.h"
#include "tensor/storage.h"

namespace tersor {

struct Slot {
  enum class Kind : uint8_t { input, constant, temporary };
  Kind kind;
  int64_t bytes;
  Storage* storage;  // of a constant, with a reference of its own
  int input;         // number of the input
};

inline int slot_of(const TensorRef& t) { return static_cast<int>(reinterpret_cast<uintptr_t>(t.owner)) - 1; }  // -1: nothing
inline int64_t place_of(const TensorRef& t) { return static_cast<int64_t>(reinterpret_cast<intptr_t>(t.data)); }
inline void set_place(TensorRef& t, int slot, int64_t bytes) {
  t.owner = reinterpret_cast<void*>(static_cast<uintptr_t>(slot) + 1);
  t.data = reinterpret_cast<void*>(static_cast<intptr_t>(bytes));
}

// One call of an op. `args` is the op's argument struct.
struct Step {
  const Entry* entry;
  std::unique_ptr<std::max_align_t[]> args;
  int label = -1;  // of whoever records: which layer made it

  Step(const Entry& e, const void* from) : entry(&e), args(new std::max_align_t[e.bytes / sizeof(std::max_align_t) + 1]()) {
    if (from) memcpy(args.get(), from, e.bytes);
  }
  Op op() const { return op_of(*entry); }
  template <class Args> Args& as() const { return *reinterpret_cast<Args*>(args.get()); }
};

template <class Args> Step make_step(Op op, const Args& args) { return Step(op_entry(static_cast<int>(op)), &args); }

// f(kind, tensor) for every tensor that is there, in the order of the op's row. kind: T O M R of ops.def.
template <class F> void each_tensor(const Step& step, F&& f) {
  for (const Field* field = step.entry->fields; field->kind; field++) {
    if (field->kind != 'T' && field->kind != 'O' && field->kind != 'M' && field->kind != 'R') continue;
    TensorRef& t = *reinterpret_cast<TensorRef*>(reinterpret_cast<char*>(step.args.get()) + field->offset);
    if (t.owner) f(field->kind, t);
  }
}

struct Program {
  std::vector<Slot> slots;
  std::vector<Storage*> sources;  // what constants were made from before the runs (folded calls, packed weights), each with a reference of its own
  std::vector<Step> steps;
  std::vector<TensorRef> inputs, outputs;  // in slots; inputs are row-major
  PlaceRef place;                          // where all of it lies and runs

  Program() = default;
  Program(Program&&) = default;
  Program& operator=(Program&&) = delete;
  ~Program() {
    for (const Slot& s : slots)
      if (s.kind == Slot::Kind::constant) s.storage->release();
    for (Storage* s : sources) s->release();
  }
  // Takes over one reference.
  int add_constant(Storage* s) {
    slots.push_back({Slot::Kind::constant, s->bytes, s, -1});
    return static_cast<int>(slots.size()) - 1;
  }
  int add_temporary(int64_t bytes) {
    slots.push_back({Slot::Kind::temporary, bytes, nullptr, -1});
    return static_cast<int>(slots.size()) - 1;
  }
};

inline size_t at(int slot) { return static_cast<size_t>(slot); }
inline bool is_constant(const Program& program, const TensorRef& t) { return t.owner && program.slots[at(slot_of(t))].kind == Slot::Kind::constant; }

// Real addresses for a tensor that lies in a constant.
inline TensorRef constant_of(const Program& program, const TensorRef& t) {
  TensorRef real = t;
  Storage* s = program.slots[at(slot_of(t))].storage;
  real.owner = s;
  real.data = static_cast<char*>(s->data) + place_of(t);
  return real;
}

// How often each slot is read and written by steps; an output counts as a read.
struct Uses {
  std::vector<int> reads, writes;
  explicit Uses(const Program& program);
};

// Takes out steps whose results nobody reads.
void drop_dead_steps(Program& program);

// Constants that no step reads any more: the plan neither reads nor packs them (let_go), or a rewrite has made another constant of them (sources).
enum class Unread : uint8_t { let_go, sources };
void take_out_unread_constants(Program& program, Unread what);

}  // namespace tersor
