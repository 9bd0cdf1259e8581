// Integer convolutions of a program: quantized once, and codes between those that follow each other.
#include <algorithm>
#include <cmath>
#include <limits>

#include "plan/convolutions.h"

namespace tersor {
namespace {

bool is_whole(const Program& program, const TensorRef& t) {
  return place_of(t) == 0 && t.contiguous() && t.bytes() == program.slots[at(slot_of(t))].bytes;
}
// A vector of constants.
const float* values_of(const Program& program, const TensorRef& t) {
  return reinterpret_cast<const float*>(static_cast<const char*>(program.slots[at(slot_of(t))].storage->data) + place_of(t));
}
Status put_vector(Program& program, const std::vector<float>& values, TensorRef* t) {
  const int64_t n = static_cast<int64_t>(values.size());
  Storage* storage = nullptr;
  TERSOR_TRY(Storage::create("session", n * 4, &storage));
  std::copy(values.begin(), values.end(), static_cast<float*>(storage->data));
  set_shape(*t, DType::f32, &n, 1);
  set_place(*t, program.add_constant(storage), 0);
  return {};
}

}  // namespace

bool start_codes(const Program& program, const Uses& uses, Step& step, ConvPlan* plan) {
  const qconv2d_args& a = step.as<qconv2d_args>();
  if (!is_constant(program, a.packed) || !is_constant(program, a.w_scale) || (a.bias.owner && !is_constant(program, a.bias)) || a.y.size() == 0) return false;
  if (!is_whole(program, a.y) || uses.writes[at(slot_of(a.y))] != 1) return false;
  const size_t channels = static_cast<size_t>(a.y.shape[1]);
  plan->y = a.y;
  plan->scale.assign(channels, 1), plan->shift.assign(channels, 0);
  plan->lo = -std::numeric_limits<double>::infinity(), plan->hi = -plan->lo;
  if (a.bias.owner)
    for (size_t c = 0; c < channels; c++) plan->shift[c] = static_cast<double>(values_of(program, a.bias)[static_cast<int64_t>(c) * a.bias.stride[0]]);
  qconv2d_last_args to{};
  to.x = a.x, to.packed = a.packed, to.w_scale = a.w_scale, to.bias = a.bias, to.y = a.y;
  to.weight_shape = a.weight_shape, to.stride = a.stride, to.padding = a.padding, to.dilation = a.dilation, to.groups = a.groups;
  to.x_scale = a.x_scale, to.x_zero = a.x_zero, to.dtype = DType::f32, to.y_scale = 1;
  const int label = step.label;
  Step made = make_step(Op::qconv2d_last, to);
  made.label = label;
  step = std::move(made);
  return true;
}

Status finish_codes(Program& program, qconv2d_last_args& to, const ConvPlan& plan) {
  const size_t channels = plan.scale.size();
  const bool scaled = std::any_of(plan.scale.begin(), plan.scale.end(), [](double d) { return d != 1; });
  if (scaled) {
    std::vector<float> scales(channels);
    const float* const from = values_of(program, to.w_scale);
    const int64_t step = to.w_scale.shape[0] == 1 ? 0 : to.w_scale.stride[0];
    for (size_t c = 0; c < channels; c++) scales[c] = static_cast<float>(static_cast<double>(from[static_cast<int64_t>(c) * step]) * plan.scale[c]);
    TERSOR_TRY(put_vector(program, scales, &to.w_scale));
  }
  std::vector<float> shifts(channels);
  bool differs = false;  // from the bias that it has
  for (size_t c = 0; c < channels; c++) {
    shifts[c] = static_cast<float>(plan.shift[c]);
    const float now = to.bias.owner ? values_of(program, to.bias)[static_cast<int64_t>(c) * to.bias.stride[0]] : 0;
    differs = differs || shifts[c] != now;
  }
  if (differs) TERSOR_TRY(put_vector(program, shifts, &to.bias));
  to.act = plan.act, to.lo = plan.lo, to.hi = plan.hi, to.scale = plan.after_scale, to.shift = plan.after_shift;
  return {};
}

void keep_codes(Program& program) {
  const Uses uses(program);
  // Of each slot: the step that writes it as images of an integer convolution, and those that read it as nothing else.
  for (const Step& writer : program.steps) {
    if (writer.op() != Op::qconv2d_last) continue;
    qconv2d_last_args& made = writer.as<qconv2d_last_args>();
    const int slot = slot_of(made.y);
    if (made.dtype != DType::f32 || !is_whole(program, made.y) || uses.writes[at(slot)] != 1 || program.slots[at(slot)].kind != Slot::Kind::temporary) continue;
    std::vector<qconv2d_last_args*> readers;
    for (const Step& step : program.steps) {
      if (step.op() != Op::qconv2d_last) continue;
      qconv2d_last_args& reader = step.as<qconv2d_last_args>();
      if (slot_of(reader.x) == slot && is_whole(program, reader.x)) readers.push_back(&reader);
    }
    if (readers.empty() || static_cast<int>(readers.size()) != uses.reads[at(slot)]) continue;
    const double scale = readers[0]->x_scale;
    const int64_t zero = readers[0]->x_zero;
    if (std::any_of(readers.begin(), readers.end(), [&](const qconv2d_last_args* r) { return r->x_scale != scale || r->x_zero != zero; })) continue;
    made.dtype = made.y.dtype = DType::u8;
    made.y_scale = scale, made.y_zero = zero;
    for (qconv2d_last_args* r : readers) r->x.dtype = DType::u8;
    program.slots[at(slot)].bytes = made.y.bytes();
  }
}

}  // namespace tersor
