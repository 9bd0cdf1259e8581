// What follows a convolution and can be part of it: constants per channel, a sum with another tensor, an activation, a scale and a shift of all.
#include <cmath>
#include <limits>

#include "plan/convolutions.h"

namespace tersor {
namespace {

using Stage = ConvPlan::Stage;

bool is_whole(const Program& program, const TensorRef& t) {
  return place_of(t) == 0 && t.contiguous() && t.bytes() == program.slots[at(slot_of(t))].bytes;
}
bool same_shape(const TensorRef& a, const TensorRef& b) {
  bool same = a.rank == b.rank && a.dtype == b.dtype;
  for (int i = 0; same && i < a.rank; i++) same = a.shape[i] == b.shape[i];
  return same;
}

// A constant with one value for each of `channels` of [B,C,H,W], or one for all of them.
bool per_channel(const Program& program, const TensorRef& t, int64_t channels, std::vector<double>* values) {
  if (!is_constant(program, t) || t.dtype != DType::f32 || t.rank > 4) return false;
  int64_t n = 1, stride = 0;
  for (int i = 0; i < t.rank; i++) {
    if (t.shape[i] == 1) continue;
    if (i != t.rank - 3 || t.shape[i] != channels) return false;
    n = channels, stride = t.stride[i];
  }
  const char* data = static_cast<const char*>(program.slots[at(slot_of(t))].storage->data) + place_of(t);
  values->resize(static_cast<size_t>(n));
  for (int64_t i = 0; i < n; i++) (*values)[static_cast<size_t>(i)] = static_cast<double>(reinterpret_cast<const float*>(data)[i * stride]);
  return true;
}

// One step that multiplies or adds constants: x * scale + shift.
struct Affine {
  TensorRef x, y;
  std::vector<double> scale, shift;
};
bool read_affine(const Program& program, const Step& step, int slot, int64_t channels, Affine* out) {
  out->scale.assign(1, 1), out->shift.assign(1, 0);
  if (step.op() == Op::scale_shift) {
    const scale_shift_args& a = step.as<scale_shift_args>();
    out->x = a.x, out->y = a.y, out->scale[0] = a.scale, out->shift[0] = a.shift;
    return true;
  }
  if (step.op() != Op::add && step.op() != Op::sub && step.op() != Op::mul && step.op() != Op::div) return false;
  const add_args& a = step.as<add_args>();  // all of them are a, b, y
  const bool first = slot_of(a.a) == slot;
  const TensorRef& other = first ? a.b : a.a;
  out->x = first ? a.a : a.b, out->y = a.y;
  std::vector<double> v;
  if (!per_channel(program, other, channels, &v)) return false;
  switch (step.op()) {
    case Op::add: out->shift = v; return true;
    case Op::mul: out->scale = v; return true;
    case Op::sub:
      if (!first) return false;
      for (double& d : v) d = -d;
      out->shift = v;
      return true;
    default:
      if (!first) return false;
      for (double& d : v) d = 1 / d;
      out->scale = v;
      return true;
  }
}

double of(const std::vector<double>& v, size_t c) { return v[v.size() == 1 ? 0 : c]; }

bool is_finite(double v) { return std::isfinite(static_cast<float>(v)); }

// False, and nothing changed, where a constant would not be finite: infinity times a sum is not the sum of infinities.
bool take_affine(ConvPlan& plan, const Affine& a) {
  if (plan.stage == Stage::linear) {
    std::vector<double> scale = plan.scale, shift = plan.shift;
    for (size_t c = 0; c < scale.size(); c++) {
      scale[c] *= of(a.scale, c);
      shift[c] = shift[c] * of(a.scale, c) + of(a.shift, c);
      if (!is_finite(scale[c]) || !is_finite(shift[c])) return false;
    }
    plan.scale.swap(scale), plan.shift.swap(shift);
  } else {
    if (a.scale.size() > 1 || a.shift.size() > 1) return false;
    const double scale = plan.after_scale * a.scale[0], shift = plan.after_shift * a.scale[0] + a.shift[0];
    if (!is_finite(scale) || !is_finite(shift)) return false;
    plan.after_scale = scale, plan.after_shift = shift;
    plan.stage = Stage::activated;
  }
  plan.y = a.y;
  return true;
}

bool take_activation(ConvPlan& plan, const Step& step) {
  if (plan.stage == Stage::activated) return false;
  TensorRef y;
  switch (step.op()) {
    case Op::relu: plan.lo = 0, y = step.as<relu_args>().y; break;
    case Op::sigmoid: plan.act = conv_activation::sigmoid, y = step.as<sigmoid_args>().y; break;
    case Op::clip: {
      const clip_args& c = step.as<clip_args>();
      if (!(c.lo <= c.hi)) return false;
      plan.lo = c.lo, plan.hi = c.hi, y = c.y;
      break;
    }
    case Op::nonlinear: {
      const nonlinear_args& n = step.as<nonlinear_args>();
      if (n.kind == nonlinearity::silu) plan.act = conv_activation::silu;
      else if (n.kind == nonlinearity::hard_swish) plan.act = conv_activation::hard_swish;
      else if (n.kind == nonlinearity::hard_sigmoid && plan.stage == Stage::linear) {
        for (size_t c = 0; c < plan.scale.size(); c++) plan.scale[c] /= 6, plan.shift[c] = plan.shift[c] / 6 + 0.5;
        plan.lo = 0, plan.hi = 1;
      } else return false;
      y = n.y;
      break;
    }
    default: return false;
  }
  plan.y = y;
  plan.stage = Stage::activated;
  return true;
}

std::vector<size_t> readers_of(const Program& program, int slot, size_t from) {
  std::vector<size_t> found;
  for (size_t j = from; j < program.steps.size(); j++) {
    bool reads = false;
    each_tensor(program.steps[j], [&](char kind, const TensorRef& t) { reads = reads || (kind != 'R' && slot_of(t) == slot); });
    if (reads) found.push_back(j);
  }
  return found;
}

// x * clip(x + 3, 0, 6) or x * sigmoid(x), written out: the steps of it, the product last; empty where it is neither.
std::vector<size_t> written_out(const Program& program, const Uses& uses, const ConvPlan& plan, const std::vector<size_t>& readers, conv_activation* act) {
  if (readers.size() != 2 || plan.stage == Stage::activated) return {};
  const int slot = slot_of(plan.y);
  const size_t product = readers[1];
  if (program.steps[product].op() != Op::mul) return {};
  const mul_args& m = program.steps[product].as<mul_args>();
  const bool first = slot_of(m.a) == slot;
  const TensorRef &mine = first ? m.a : m.b, &gate = first ? m.b : m.a;
  if (slot_of(gate) == slot || !is_whole(program, mine) || !same_shape(mine, plan.y) || !same_shape(gate, plan.y) || !is_whole(program, gate)) return {};
  std::vector<size_t> steps;
  TensorRef at_now = plan.y;
  size_t next = readers[0];
  double shift = 0;
  for (;;) {
    const Step& step = program.steps[next];
    steps.push_back(next);
    bool as_it_lies = true;  // and not another view of the same shape: transposed, broadcast
    each_tensor(step, [&](char, const TensorRef& t) { as_it_lies = as_it_lies && (slot_of(t) != slot_of(at_now) || (is_whole(program, t) && same_shape(t, plan.y))); });
    if (!as_it_lies) return {};
    Affine affine;
    TensorRef y;
    if (step.op() == Op::sigmoid && shift == 0) {
      *act = conv_activation::silu;
      y = step.as<sigmoid_args>().y;
    } else if (step.op() == Op::clip && shift == 3 && step.as<clip_args>().lo == 0 && step.as<clip_args>().hi == 6) {
      *act = conv_activation::hard_swish;
      y = step.as<clip_args>().y;
    } else if (steps.size() == 1 && read_affine(program, step, slot_of(at_now), plan.y.shape[1], &affine) && affine.shift.size() == 1 && affine.scale.size() == 1 &&
               affine.scale[0] == 1 && (affine.shift[0] == 3 || affine.shift[0] == 0) && same_shape(affine.y, plan.y) && is_whole(program, affine.y)) {
      shift = affine.shift[0];
      y = affine.y;
    } else {
      return {};
    }
    const int made = slot_of(y);
    if (uses.reads[at(made)] != 1 || uses.writes[at(made)] != 1) return {};
    const bool is_gate = step.op() == Op::sigmoid || step.op() == Op::clip;
    if (is_gate) {
      if (made != slot_of(gate)) return {};
      steps.push_back(product);
      return steps;
    }
    const std::vector<size_t> more = readers_of(program, made, next + 1);
    if (more.size() != 1) return {};
    next = more[0], at_now = y;
  }
}

// What both forms of a convolution have at their end.
struct ConvEnd {
  TensorRef &residual, &y;
};
ConvEnd conv_end(const Step& step) {
  if (step.op() == Op::qconv2d_last) return {step.as<qconv2d_last_args>().residual, step.as<qconv2d_last_args>().y};
  return {step.as<conv2d_last_args>().residual, step.as<conv2d_last_args>().y};
}

// The steps taken in, the last one where the convolution then stands; empty when nothing could be.
std::vector<size_t> take_next(Program& program, const Uses& uses, size_t i, ConvPlan& plan) {
  const int slot = slot_of(plan.y);
  if (uses.writes[at(slot)] != 1 || !is_whole(program, plan.y)) return {};
  bool steady = true;  // nothing that the convolution reads is overwritten in between
  each_tensor(program.steps[i], [&](char kind, const TensorRef& t) { steady = steady && kind != 'M' && (kind == 'R' || uses.writes[at(slot_of(t))] <= 1); });
  const std::vector<size_t> readers = readers_of(program, slot, i + 1);
  if (!steady || static_cast<int>(readers.size()) != uses.reads[at(slot)]) return {};
  // Nor is anything else written where the result then goes: that memory will have channels last.
  bool alone = true;
  each_tensor(program.steps[readers.empty() ? i : readers.back()], [&](char kind, const TensorRef& t) { alone = alone && (kind != 'R' || uses.writes[at(slot_of(t))] == 1); });
  if (!alone) return {};
  conv_activation act{};
  std::vector<size_t> steps = written_out(program, uses, plan, readers, &act);
  if (!steps.empty()) {
    plan.act = act;
    if (act == conv_activation::hard_swish) plan.after_scale = 6;  // what is written out divides by 6 in a step of its own
    plan.stage = Stage::activated;
    plan.y = program.steps[steps.back()].as<mul_args>().y;
    return steps;
  }
  if (readers.size() != 1) return {};
  const Step& next = program.steps[readers[0]];
  const TensorRef before = plan.y;
  Affine affine;
  if (read_affine(program, next, slot, plan.y.shape[1], &affine)) {
    if (!is_whole(program, affine.x) || !same_shape(affine.x, before) || !same_shape(affine.y, before) || !take_affine(plan, affine)) return {};
    return readers;
  }
  if (next.op() == Op::add && plan.stage == Stage::linear) {
    const add_args& a = next.as<add_args>();
    const bool first = slot_of(a.a) == slot;
    const TensorRef &mine = first ? a.a : a.b, &other = first ? a.b : a.a;
    if (slot_of(other) == slot || !is_whole(program, mine) || !same_shape(mine, before) || !same_shape(other, before) || !same_shape(a.y, before)) return {};
    conv_end(program.steps[i]).residual = other;
    plan.y = a.y, plan.stage = Stage::summed;
    return readers;
  }
  TensorRef x{};
  each_tensor(next, [&](char kind, const TensorRef& t) { if (kind == 'T') x = t; });
  if (!x.owner || !is_whole(program, x) || !same_shape(x, before) || !take_activation(plan, next)) return {};
  return readers;
}

// The step becomes conv2d_last at once, still with images as [B,C,H,W] and with the filters themselves where the packed ones will stand.
template <class Args> bool start(const Program& program, const Uses& uses, Step& step, int64_t groups, ConvPlan* plan) {
  const Args& a = step.as<Args>();
  if (a.x.dtype != DType::f32 || !is_constant(program, a.w) || (a.bias.owner && !(is_constant(program, a.bias) && a.bias.rank == 1)) || a.y.size() == 0) return false;
  if (!is_whole(program, a.y) || uses.writes[at(slot_of(a.y))] != 1) return false;
  const size_t channels = static_cast<size_t>(a.y.shape[1]);
  plan->y = a.y;
  plan->scale.assign(channels, 1), plan->shift.assign(channels, 0);
  plan->lo = -std::numeric_limits<double>::infinity(), plan->hi = -plan->lo;
  if (a.bias.owner) {
    const float* bias = reinterpret_cast<const float*>(static_cast<const char*>(program.slots[at(slot_of(a.bias))].storage->data) + place_of(a.bias));
    for (size_t c = 0; c < channels; c++) plan->shift[c] = static_cast<double>(bias[static_cast<int64_t>(c) * a.bias.stride[0]]);
  }
  conv2d_last_args to{};
  to.x = a.x, to.packed = a.w, to.y = a.y;
  to.weight_shape.n = to.padding.n = 4, to.dilation.n = 2;
  for (int i = 0; i < 4; i++) to.weight_shape.v[i] = a.w.shape[i];
  to.stride = a.stride, to.groups = groups;
  for (int i = 0; i < 4; i++) to.padding.v[i] = a.padding.v[a.padding.n == 4 ? i : i / 2];
  to.dilation.v[0] = to.dilation.v[1] = 1;
  const int label = step.label;
  Step made = make_step(Op::conv2d_last, to);
  made.label = label;
  step = std::move(made);
  return true;
}

bool start(const Program& program, const Uses& uses, Step& step, ConvPlan* plan) {
  if (step.op() == Op::qconv2d) return start_codes(program, uses, step, plan);
  if (step.op() == Op::conv2d) return start<conv2d_args>(program, uses, step, 1, plan);
  if (step.op() != Op::conv2d_grouped) return false;
  const IntList dilation = step.as<conv2d_grouped_args>().dilation;
  if (!start<conv2d_grouped_args>(program, uses, step, step.as<conv2d_grouped_args>().groups, plan)) return false;
  step.as<conv2d_last_args>().dilation = dilation;
  return true;
}

}  // namespace

ConvPlans absorb_into_convolutions(Program& program) {
  ConvPlans plans;
  const Uses before(program);
  for (Step& step : program.steps) {
    ConvPlan plan;
    if (start(program, before, step, &plan)) plans.emplace(step.args.get(), std::move(plan));
  }
  for (size_t i = 0; i < program.steps.size() && !plans.empty(); i++) {
    const auto found = plans.find(program.steps[i].args.get());
    if (found == plans.end()) continue;
    const Uses uses(program);
    const std::vector<size_t> taken = take_next(program, uses, i, found->second);
    if (taken.empty()) continue;
    // The convolution moves to the last of them and writes what that wrote; it is met again there.
    conv_end(program.steps[i]).y = found->second.y;
    program.steps[taken.back()] = std::move(program.steps[i]);
    for (size_t k = taken.size() - 1; k-- > 0;) program.steps.erase(program.steps.begin() + static_cast<std::ptrdiff_t>(taken[k]));
    program.steps.erase(program.steps.begin() + static_cast<std::ptrdiff_t>(i));
    i--;
  }
  return plans;
}

}  // namespace tersor
