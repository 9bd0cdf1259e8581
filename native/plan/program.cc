#include "plan/program.h"

#include <algorithm>

namespace tersor {

Uses::Uses(const Program& program) : reads(program.slots.size(), 0), writes(program.slots.size(), 0) {
  for (const Step& step : program.steps)
    each_tensor(step, [&](char kind, const TensorRef& t) {
      const size_t slot = static_cast<size_t>(slot_of(t));
      if (kind != 'R') reads[slot]++;
      if (kind == 'R' || kind == 'M') writes[slot]++;
    });
  for (const TensorRef& t : program.outputs) reads[static_cast<size_t>(slot_of(t))]++;
}

void take_out_unread_constants(Program& program, Unread what) {
  const Uses uses(program);
  for (size_t s = 0; s < program.slots.size(); s++) {
    Slot& slot = program.slots[s];
    if (slot.kind != Slot::Kind::constant || uses.reads[s] > 0) continue;
    if (what == Unread::sources) program.sources.push_back(slot.storage);
    else slot.storage->release();
    slot = {Slot::Kind::temporary, 0, nullptr, -1};
  }
}

void drop_dead_steps(Program& program) {
  std::vector<bool> live(program.slots.size(), false), kept(program.steps.size(), false);
  for (const TensorRef& t : program.outputs) live[static_cast<size_t>(slot_of(t))] = true;
  for (size_t i = program.steps.size(); i-- > 0;) {
    bool needed = false;
    each_tensor(program.steps[i], [&](char kind, const TensorRef& t) { needed = needed || ((kind == 'R' || kind == 'M') && live[static_cast<size_t>(slot_of(t))]); });
    if (!needed) continue;
    kept[i] = true;
    each_tensor(program.steps[i], [&](char kind, const TensorRef& t) {
      if (kind != 'R') live[static_cast<size_t>(slot_of(t))] = true;
    });
  }
  size_t n = 0;
  for (size_t i = 0; i < program.steps.size(); i++) {
    if (!kept[i]) continue;
    if (n != i) program.steps[n] = std::move(program.steps[i]);
    n++;
  }
  program.steps.erase(program.steps.begin() + static_cast<std::ptrdiff_t>(n), program.steps.end());
}

}  // namespace tersor
