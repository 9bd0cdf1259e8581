#include "plan/plan.h"

#include <chrono>
#include <new>
#include <numeric>

#include "ops/transfer.h"
#include "ops/util.h"
#include "plan/layout.h"

namespace tersor {
namespace {

// Ops that read an element before they write the one in its place, and no other: y may stand where such an input ends its life.
bool is_elementwise(Op op) {
  switch (op) {
#define TERSOR_UNARY(name, formula) case Op::name:
#include "kernels/elementwise/unary.def"
#undef TERSOR_UNARY
#define TERSOR_BINARY(name, formula, integer) case Op::name:
#include "kernels/elementwise/binary.def"
#undef TERSOR_BINARY
      return true;
    default: return false;
  }
}

bool is_whole(const Program& program, const TensorRef& t) {
  const Slot& slot = program.slots[at(slot_of(t))];
  return place_of(t) == 0 && t.contiguous() && t.bytes() == slot.bytes;
}

int64_t now() {
  return std::chrono::duration_cast<std::chrono::nanoseconds>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

}  // namespace

struct Plan::Frame {
  void* arena = nullptr;
  std::vector<std::max_align_t> args;
};

Plan::Plan(Program&& program) : program_(std::move(program)) {
  take_out_unread_constants(program_, Unread::sources);
  // What runs read, and what that was made from, must not change under them: in-place ops and writes answer ERR_BUSY. For packed weights, which Packs finds
  // by the address of their sources, this is also what keeps the values under an address the same while a plan holds the pack.
  for (const Slot& slot : program_.slots)
    if (slot.kind == Slot::Kind::constant) slot.storage->readers.fetch_add(1);
  for (Storage* s : program_.sources) s->readers.fetch_add(1);
  direct_.assign(program_.slots.size(), -1);
  for (size_t i = 0; i < program_.outputs.size(); i++) {
    const TensorRef& t = program_.outputs[i];
    int& direct = direct_[at(slot_of(t))];
    const bool is_temporary = program_.slots[at(slot_of(t))].kind == Slot::Kind::temporary;
    copied_.push_back(!is_temporary || direct >= 0 || !is_whole(program_, t));
    if (!copied_[i]) direct = static_cast<int>(i);
  }
  place_temporaries();
  make_template();
}

Plan::~Plan() {
  for (Frame* frame : free_) free_frame(frame);
  // Packs go first: a source that can be written again has no pack that another plan could find. This may run on a job thread.
  for (Slot& slot : program_.slots) {
    if (slot.kind != Slot::Kind::constant) continue;
    slot.storage->readers.fetch_sub(1);
    slot.storage->release();
    slot = {Slot::Kind::temporary, 0, nullptr, -1};
  }
  for (Storage* s : program_.sources) s->readers.fetch_sub(1);
}

// root[s]: the slot whose memory slot s uses. An elementwise step whose input ends with it writes there.
void Plan::merge_in_place(std::vector<int>& root) {
  const Uses uses(program_);
  std::vector<int> last(program_.slots.size(), -1);
  for (size_t i = 0; i < program_.steps.size(); i++) each_tensor(program_.steps[i], [&](char, const TensorRef& t) { last[at(slot_of(t))] = static_cast<int>(i); });
  for (const TensorRef& t : program_.outputs) last[at(slot_of(t))] = static_cast<int>(program_.steps.size());
  for (size_t i = 0; i < program_.steps.size(); i++) {
    if (!is_elementwise(program_.steps[i].op())) continue;
    const TensorRef *y = nullptr, *chosen = nullptr;
    each_tensor(program_.steps[i], [&](char kind, const TensorRef& t) { if (kind == 'R') y = &t; });
    if (!is_whole(program_, *y) || uses.writes[at(slot_of(*y))] != 1) continue;
    each_tensor(program_.steps[i], [&](char kind, const TensorRef& t) {
      const bool ends = kind != 'R' && last[at(slot_of(t))] == static_cast<int>(i) && program_.slots[at(slot_of(t))].kind == Slot::Kind::temporary;
      if (ends && !chosen && is_whole(program_, t) && t.bytes() == y->bytes()) chosen = &t;
    });
    if (!chosen) continue;
    bool alone = true;  // or the same memory is seen in another way too
    each_tensor(program_.steps[i], [&](char kind, const TensorRef& t) { alone = alone && (kind == 'R' || slot_of(t) != slot_of(*chosen) || is_whole(program_, t)); });
    if (!alone) continue;
    root[at(slot_of(*y))] = root[at(slot_of(*chosen))];
    in_place_++;
  }
}

void Plan::place_temporaries() {
  const size_t n = program_.slots.size();
  std::vector<int> root(n);
  std::iota(root.begin(), root.end(), 0);
  merge_in_place(root);
  // A group with an output is that output's memory. Only one slot of a group can be one: the others end inside the run.
  for (size_t s = 0; s < n; s++)
    if (direct_[s] >= 0) direct_[at(root[s])] = direct_[s];
  for (size_t s = 0; s < n; s++) direct_[s] = direct_[at(root[s])];

  const int none = static_cast<int>(program_.steps.size()) + 1;
  std::vector<Lifetime> lives(n, Lifetime{0, none, -1, 0});
  const auto touch = [&](int slot, int step) {
    const int r = root[at(slot)];
    const Slot& s = program_.slots[at(r)];
    if (s.kind != Slot::Kind::temporary || direct_[at(r)] >= 0) return;
    Lifetime& life = lives[at(r)];
    life.bytes = s.bytes;
    if (step < life.first) life.first = step;
    if (step > life.last) life.last = step;
  };
  for (size_t i = 0; i < program_.steps.size(); i++) each_tensor(program_.steps[i], [&](char, const TensorRef& t) { touch(slot_of(t), static_cast<int>(i)); });
  for (const TensorRef& t : program_.outputs) touch(slot_of(t), none - 1);
  arena_bytes_ = lay_out(lives);
  place_.resize(n);
  for (size_t s = 0; s < n; s++) place_[s] = lives[at(root[s])].offset;
  std::vector<bool> seen(n, false);
  for (const Step& step : program_.steps)
    each_tensor(step, [&](char, const TensorRef& t) {
      const size_t s = at(slot_of(t));
      if (!seen[s] && program_.slots[s].kind == Slot::Kind::temporary) separate_bytes_ += program_.slots[s].bytes;
      seen[s] = true;
    });
}

void Plan::make_template() {
  size_t units = 0;
  for (const Step& step : program_.steps) {
    step_at_.push_back(units * sizeof(std::max_align_t));
    units += step.entry->bytes / sizeof(std::max_align_t) + 1;
  }
  template_.resize(units);
  char* const base = reinterpret_cast<char*>(template_.data());
  for (size_t i = 0; i < program_.steps.size(); i++) {
    const Step& step = program_.steps[i];
    char* const args = base + step_at_[i];
    memcpy(args, step.args.get(), step.entry->bytes);
    each_tensor(step, [&](char kind, const TensorRef& t) {
      const size_t s = at(slot_of(t));
      const Slot& slot = program_.slots[s];
      const size_t offset = step_at_[i] + static_cast<size_t>(reinterpret_cast<const char*>(&t) - reinterpret_cast<const char*>(step.args.get()));
      TensorRef& filled = *reinterpret_cast<TensorRef*>(base + offset);
      filled.owner = nullptr;
      if (kind == 'R' && t.rank == 1) sizes_.push_back({i, offset + offsetof(TensorRef, shape), t.shape[0]});
      const Patch patch{offset + offsetof(TensorRef, data), place_of(t)};
      if (slot.kind == Slot::Kind::constant) filled.data = static_cast<char*>(slot.storage->data) + place_of(t);
      else if (slot.kind == Slot::Kind::input) outside_.push_back({patch, slot.input});
      else if (direct_[s] >= 0) outside_.push_back({patch, static_cast<int>(program_.inputs.size()) + direct_[s]});
      else inside_.push_back({patch.at, patch.offset + place_[s]});
    });
  }
}

Status Plan::take(Frame** frame) const {
  {
    std::lock_guard<std::mutex> lock(mutex_);
    if (!free_.empty()) {
      *frame = free_.back();
      free_.pop_back();
      return {};
    }
    frames_++;
  }
  std::unique_ptr<Frame> made;
  Status s;
  try {
    made.reset(new Frame);
    made->args = template_;
    s = place() ? place()->allocate("session", arena_bytes_, &made->arena) : allocate("session", arena_bytes_, &made->arena);
  } catch (const std::bad_alloc&) {
    s = fail(Code::memory_budget, "session: no memory for the arguments of %zu steps", program_.steps.size());
  }
  if (!s.ok()) {
    std::lock_guard<std::mutex> lock(mutex_);
    frames_--;
    return s;
  }
  char* const base = reinterpret_cast<char*>(made->args.data());
  for (const Patch& p : inside_) *reinterpret_cast<void**>(base + p.at) = static_cast<char*>(made->arena) + p.offset;
  *frame = made.release();
  return {};
}

void Plan::give(Frame* frame) const {
  {
    std::lock_guard<std::mutex> lock(mutex_);
    if (free_.size() < kKeptFrames) {
      free_.push_back(frame);
      return;
    }
    frames_--;
  }
  free_frame(frame);
}

// On a place the release stands behind the run that was queued.
void Plan::free_frame(Frame* frame) const {
  if (place()) place()->release(frame->arena, arena_bytes_);
  else deallocate(frame->arena, arena_bytes_);
  delete frame;
}

Status Plan::copy_outputs(Frame& frame, const void* const* inputs, void* const* outputs, const std::atomic<bool>* cancel) const {
  for (size_t i = 0; i < program_.outputs.size(); i++) {
    if (!copied_[i]) continue;
    TensorRef from = program_.outputs[i];
    const size_t s = at(slot_of(from));
    const Slot& slot = program_.slots[s];
    const void* base = slot.kind == Slot::Kind::constant ? slot.storage->data
                       : slot.kind == Slot::Kind::input  ? inputs[slot.input]
                       : direct_[s] >= 0                 ? outputs[direct_[s]]
                                                         : static_cast<char*>(frame.arena) + place_[s];
    from.data = const_cast<char*>(static_cast<const char*>(base)) + place_of(from);
    from.owner = nullptr;
    TERSOR_TRY(place() ? transfer("session", from, place(), outputs[i], place()) : copy_contiguous(from, outputs[i], cancel));
  }
  return {};
}

Status Plan::run(const void* const* inputs, void* const* outputs, const std::atomic<bool>* cancel, StepTime* times) const {
  Frame* frame = nullptr;
  TERSOR_TRY(take(&frame));
  const int64_t began = now();
  const Status s = run_steps(*frame, inputs, outputs, cancel, times);
  give(frame);
  if (s.ok()) {
    const int64_t usual = usual_time(), took = now() - began;
    usual_time_.store(usual > 0 ? usual + (took - usual) / 4 : took > 0 ? took : 1, std::memory_order_relaxed);
  }
  return s;
}

Status Plan::run_steps(Frame& frame, const void* const* inputs, void* const* outputs, const std::atomic<bool>* cancel, StepTime* times) const {
  char* const base = reinterpret_cast<char*>(frame.args.data());
  const int count = static_cast<int>(program_.inputs.size());
  for (const Outside& o : outside_) {
    const void* from = o.number < count ? inputs[o.number] : outputs[o.number - count];
    *reinterpret_cast<const void**>(base + o.patch.at) = static_cast<const char*>(from) + o.patch.offset;
  }
  Context context;
  context.cancel = cancel;
  Status s;
  size_t checked = 0;
  for (size_t i = 0; i < program_.steps.size(); i++) {
    if (cancel && cancel->load(std::memory_order_relaxed)) {
      s = fail(Code::aborted, "session: the run was cancelled");
      break;
    }
    if (times) times[i].begin = now();
    const Entry& entry = *program_.steps[i].entry;
    s = place() ? place()->call(op_index(entry), base + step_at_[i], context) : entry.cpu(base + step_at_[i], context);
    if (times && place() && s.ok()) s = place()->synchronize();
    if (times) times[i].end = now();
    for (; checked < sizes_.size() && sizes_[checked].step == i; checked++) {
      int64_t& size = *reinterpret_cast<int64_t*>(base + sizes_[checked].at);
      if (size == sizes_[checked].size) continue;
      if (s.ok()) s = fail(Code::unsupported, "session: the size of a result of %s depends on values", entry.name);
      size = sizes_[checked].size;  // the frame is used again
    }
    if (!s.ok()) break;
  }
  return s.ok() ? copy_outputs(frame, inputs, outputs, cancel) : s;
}

PlanStats Plan::stats() const {
  PlanStats stats{arena_bytes_, separate_bytes_, 0, static_cast<int64_t>(program_.steps.size()), in_place_, 0};
  for (const Slot& slot : program_.slots)
    if (slot.kind == Slot::Kind::constant) stats.constant_bytes += slot.bytes;
  std::lock_guard<std::mutex> lock(mutex_);
  stats.frames = frames_;
  return stats;
}

}  // namespace tersor
