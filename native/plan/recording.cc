#include "plan/recording.h"

namespace tersor {
namespace {

bool is_small(const TensorRef& t) {
  switch (t.dtype) {
    case DType::f64: case DType::f32: case DType::f16: case DType::bf16: return false;
    default: return t.size() <= Recording::kSmallElements;
  }
}

bool covers_storage(const TensorRef& t) { return t.contiguous() && t.data == storage_of(t)->data && t.bytes() == storage_of(t)->bytes; }

}  // namespace

Recording::~Recording() { let_go(); }

void Recording::let_go() {
  for (Storage* s : held_) s->release();
  held_.clear();
  slots_.clear();
  fresh_.clear();
  sources_.clear();
  Program gone;
  gone.slots.swap(program_.slots);
  gone.steps.swap(program_.steps);
  gone.inputs.swap(program_.inputs);
  behind_.clear();
  marked_ = 0;
}

void Recording::read_before(Storage* s) {
  if (fresh_.count(s) > 0) return;
  hold(s);
  sources_.insert(s);
}

int Recording::known(const TensorRef& t) const {
  const auto found = slots_.find(storage_of(t));
  return found == slots_.end() ? -1 : found->second;
}

int Recording::slot_for(const TensorRef& t) {
  int slot = known(t);
  if (slot >= 0) return slot;
  Storage* s = storage_of(t);
  s->retain();
  hold(s);
  return slots_[s] = program_.add_constant(s);
}

void Recording::place(TensorRef& t) {
  const int64_t offset = static_cast<char*>(t.data) - static_cast<char*>(storage_of(t)->data);
  set_place(t, slot_for(t), offset);
}

void Recording::input(const TensorRef& t) {
  if (!why_.ok()) return;
  Storage* s = storage_of(t);
  if (known(t) >= 0) return refuse(fail(Code::unsupported, "an input stands in two places"));
  hold(s);
  program_.slots.push_back({Slot::Kind::input, t.bytes(), nullptr, static_cast<int>(program_.inputs.size())});
  slots_[s] = static_cast<int>(program_.slots.size()) - 1;
  const size_t number = program_.inputs.size();
  behind_.resize(program_.slots.size(), 0);
  behind_.back() = number < kSmallInputs && is_small(t) ? uint64_t(1) << number : kLarge;
  TensorRef at = t;
  set_place(at, slots_[s], 0);
  program_.inputs.push_back(at);
}

// Whether the call can be part of a plan, and whether it depends on the inputs.
Status Recording::check(const Step& step, bool* depends) {
  Status why;
  const auto refuse = [&](const Status& s) {
    if (why.ok()) why = s;
  };
  const char* const name = step.entry->name;
  each_tensor(step, [&](char kind, const TensorRef& t) {
    const int slot = known(t);
    const bool temporary = slot >= 0 && program_.slots[static_cast<size_t>(slot)].kind == Slot::Kind::temporary;
    if (kind != 'R' && slot >= 0 && program_.slots[static_cast<size_t>(slot)].kind != Slot::Kind::constant) *depends = true;
    if (kind == 'R' && temporary) *depends = true;  // steps before and after it see other values there: it is repeated in its place
    if (kind == 'M' && !temporary) refuse(fail(Code::unsupported, "%s changes a tensor in place that was there before the run", name));
    if (kind != 'R') return;
    // A result of the call's own has a storage that nobody has seen; a given one is fine while it is whole and of this run.
    const bool own = held_.count(storage_of(t)) == 0 && storage_of(t)->handles.load() == 0;
    if (own) return;
    if (slot >= 0 ? !temporary : fresh_.count(storage_of(t)) == 0) refuse(fail(Code::unsupported, "%s writes into a tensor that was there before the run", name));
    else if (!covers_storage(t)) refuse(fail(Code::unsupported, "%s writes into a part of a tensor", name));
  });
  // Whether or not this run's values happened to fill the result.
  if (*depends && is_sized_by_values(step.op()) && !decided_by(behind(step))) refuse(fail(Code::unsupported, "the size of a result of %s depends on values", name));
  return why;
}

Status Recording::lies_on(Place* place) {
  if (!placed_) place_ = PlaceRef(place);
  placed_ = true;
  return place_.get() == place ? Status() : fail(Code::unsupported, "the run computes on %s and on %s", place_name(place_.get()), place_name(place));
}

bool Recording::decided_by(uint64_t inputs) {
  if (!inputs || inputs & kLarge) return false;
  decisive_ |= inputs;
  return true;
}

uint64_t Recording::behind(const Step& step) const {
  uint64_t inputs = 0;
  each_tensor(step, [&](char, const TensorRef& t) {
    const int slot = known(t);
    if (slot >= 0 && static_cast<size_t>(slot) < behind_.size()) inputs |= behind_[static_cast<size_t>(slot)];
  });
  return inputs;
}

void Recording::call(const Entry& entry, const void* before) {
  if (!why_.ok()) return;
  Step step(entry, before);
  bool depends = false;
  const Status why = check(step, &depends);
  if (!why.ok()) return refuse(why);
  each_tensor(step, [&](char kind, const TensorRef& t) {
    Storage* s = storage_of(t);
    if (kind != 'R') {
      if (!depends) read_before(s);
      return;
    }
    hold(s);
    if (depends && slots_.count(s) == 0) slots_[s] = program_.add_temporary(s->bytes);
    if (!depends) fresh_.insert(s);
  });
  if (!depends) return;
  Place* place = nullptr;  // a call's tensors lie together
  each_tensor(step, [&](char, const TensorRef& t) { place = tensor_place(t); });
  const Status one = lies_on(place);
  if (!one.ok()) return refuse(one);
  const uint64_t inputs = behind(step);
  behind_.resize(program_.slots.size(), 0);
  each_tensor(step, [&](char kind, const TensorRef& t) {
    if (kind == 'R' || kind == 'M') behind_[static_cast<size_t>(known(t))] |= inputs;
  });
  each_tensor(step, [&](char, TensorRef& t) { this->place(t); });
  program_.steps.push_back(std::move(step));
}

void Recording::created(const TensorRef& t) {
  if (!why_.ok()) return;
  hold(storage_of(t));
  fresh_.insert(storage_of(t));
}

void Recording::written(const TensorRef& t) {
  if (!why_.ok()) return;
  if (known(t) >= 0) refuse(fail(Code::unsupported, "a tensor that a call has used is overwritten"));
  else if (fresh_.count(storage_of(t)) == 0) refuse(fail(Code::unsupported, "a tensor that was there before the run is overwritten"));
}

void Recording::read(const TensorRef& t) {
  if (!why_.ok()) return;
  const int slot = known(t);
  if (slot < 0 || program_.slots[static_cast<size_t>(slot)].kind == Slot::Kind::constant) return read_before(storage_of(t));
  if (!decided_by(behind_[static_cast<size_t>(slot)])) refuse(fail(Code::unsupported, "the values of %s are read in between", TERSOR_TEXT(t)));
}

void Recording::mark(int label) {
  for (; marked_ < program_.steps.size(); marked_++) program_.steps[marked_].label = label;
}

Status Recording::finish(const TensorRef* outputs, int count, Program* program) {
  if (why_.ok() && decisive_) {
    decided_ = true;
    refuse(fail(Code::unsupported, "values of inputs decide what is computed"));
  }
  for (int i = 0; i < count && why_.ok(); i++) {
    const Status one = lies_on(tensor_place(outputs[i]));
    if (!one.ok()) refuse(one);
  }
  if (!why_.ok()) return why_;
  program->place = std::move(place_);
  for (int i = 0; i < count; i++) {
    TensorRef t = outputs[i];
    place(t);
    program_.outputs.push_back(t);
  }
  program->slots.swap(program_.slots);
  program->steps.swap(program_.steps);
  program->inputs.swap(program_.inputs);
  program->outputs.swap(program_.outputs);
  drop_dead_steps(*program);
  take_out_unread_constants(*program, Unread::let_go);
  for (Storage* s : sources_) {
    s->retain();
    program->sources.push_back(s);
  }
  return {};
}

}  // namespace tersor
