#include "plan/convolutions.h"

#include <algorithm>

#include "plan/winograd.h"

namespace tersor {
namespace {

bool is_whole(const Program& program, const TensorRef& t) {
  return place_of(t) == 0 && t.contiguous() && t.bytes() == program.slots[at(slot_of(t))].bytes;
}
// A whole slot that one step writes: its order of memory is that step's to choose.
bool is_own(const Program& program, const TensorRef& y) { return is_whole(program, y) && Uses(program).writes[at(slot_of(y))] == 1; }

constexpr int64_t kMostTaps = 4096;  // of a pool: each place of a window is a pointer for every pixel of a task

Status rewrite(Program& program, Packs& packs, size_t i, const ConvPlan& plan, bool direct) {
  conv2d_last_args& to = program.steps[i].as<conv2d_last_args>();
  const size_t channels = plan.scale.size();
  std::vector<float> scale(channels);
  bool scaled = false;
  for (size_t c = 0; c < channels; c++) scale[c] = static_cast<float>(plan.scale[c]), scaled = scaled || scale[c] != 1;
  Storage *packed = nullptr, *bias = nullptr;
  const int64_t tile = direct ? 0 : winograd_tile(to);
  const TensorRef filters = constant_of(program, to.packed);
  const float* const times = scaled ? scale.data() : nullptr;
  TERSOR_TRY(tile ? packs.winograd(filters, times, tile, &packed) : packs.filters(filters, times, to.groups, &packed));
  set_shape(to.packed, DType::u8, &packed->bytes, 1);
  set_place(to.packed, program.add_constant(packed), 0);
  if (std::any_of(plan.shift.begin(), plan.shift.end(), [](double d) { return d != 0; })) {
    const int64_t n = static_cast<int64_t>(channels);
    TERSOR_TRY(Storage::create("session", n * 4, &bias));
    for (size_t c = 0; c < channels; c++) static_cast<float*>(bias->data)[c] = static_cast<float>(plan.shift[c]);
    set_shape(to.bias, DType::f32, &n, 1);
    set_place(to.bias, program.add_constant(bias), 0);
  }
  to.x = channels_last(to.x);
  if (to.residual.owner) to.residual = channels_last(to.residual);
  to.act = plan.act, to.lo = plan.lo, to.hi = plan.hi, to.scale = plan.after_scale, to.shift = plan.after_shift;
  if (tile) {
    program.steps[i] = winograd_step(program.steps[i], tile);
    turn_channels_last(program, i, program.steps[i].as<conv2d_winograd_args>().y);
  } else {
    turn_channels_last(program, i, to.y);
  }
  return {};
}

Status rewrite_codes(Program& program, size_t i, const ConvPlan& plan) {
  qconv2d_last_args& to = program.steps[i].as<qconv2d_last_args>();
  TERSOR_TRY(finish_codes(program, to, plan));
  to.x = channels_last(to.x);
  if (to.residual.owner) to.residual = channels_last(to.residual);
  turn_channels_last(program, i, to.y);
  return {};
}

bool is_elementwise(Op op) {
  switch (op) {
#define TERSOR_UNARY(name, formula) case Op::name:
#include "kernels/elementwise/unary.def"
#undef TERSOR_UNARY
#define TERSOR_BINARY(name, formula, integer) case Op::name:
#include "kernels/elementwise/binary.def"
#undef TERSOR_BINARY
    case Op::nonlinear: return true;
    default: return false;
  }
}

// t against [B,C,H,W]: four dimensions, as broadcasting adds them, then channels last.
TensorRef broadcast_last(const TensorRef& t) {
  TensorRef four = t;
  four.rank = 4;
  for (int i = 0; i < 4; i++) {
    const int from = i - (4 - t.rank);
    four.shape[i] = from < 0 ? 1 : t.shape[from];
    four.stride[i] = from < 0 ? 0 : t.stride[from];
  }
  return channels_last(four);
}

// A step that works on elements, where a tensor of the result's shape has channels last: its result has too.
void pass_on_elementwise(Program& program, size_t i) {
  bool turned = false, fits = true;
  TensorRef* y = nullptr;
  each_tensor(program.steps[i], [&](char kind, TensorRef& t) {
    if (kind == 'R') y = &t;
    fits = fits && kind != 'M' && t.dtype == DType::f32 && t.rank <= 4;
  });
  if (!fits || !y || y->rank != 4 || !is_own(program, *y)) return;
  each_tensor(program.steps[i], [&](char kind, const TensorRef& t) { turned = turned || (kind != 'R' && lies_channels_last(t) && t.size() == y->size()); });
  if (!turned) return;
  each_tensor(program.steps[i], [&](char kind, TensorRef& t) { if (kind != 'R') t = broadcast_last(t); });
  turn_channels_last(program, i, *y);
}

void pass_on_concat(Program& program, size_t i) {
  concat2_args& a = program.steps[i].as<concat2_args>();
  if (a.y.dtype != DType::f32 || a.y.rank != 4 || (a.axis != 1 && a.axis != -3) || !is_own(program, a.y)) return;
  if (!lies_channels_last(a.a) && !lies_channels_last(a.b)) return;
  a.a = channels_last(a.a), a.b = channels_last(a.b), a.axis = 3;
  turn_channels_last(program, i, a.y);
}

template <class Args> void pool_with(Program& program, size_t i, pool2d_last_args to) {
  const Args& a = program.steps[i].as<Args>();
  if (a.x.dtype != DType::f32 || !lies_channels_last(a.x) || !is_own(program, a.y)) return;
  if (a.kernel.v[0] * a.kernel.v[1] > kMostTaps) return;
  to.x = channels_last(a.x), to.kernel = a.kernel, to.stride = a.stride, to.padding = a.padding, to.ceil = a.ceil, to.y = a.y;
  const int label = program.steps[i].label;
  program.steps[i] = make_step(Op::pool2d_last, to);
  program.steps[i].label = label;
  turn_channels_last(program, i, program.steps[i].as<pool2d_last_args>().y);
}

}  // namespace

Status rewrite_convolutions(Program& program, Packs& packs, bool direct) {
  const ConvPlans plans = absorb_into_convolutions(program);
  if (plans.empty()) return {};
  for (size_t i = 0; i < program.steps.size(); i++) {
    const Step& step = program.steps[i];
    const auto found = plans.find(step.args.get());
    pool2d_last_args pool{};
    if (found != plans.end()) {
      TERSOR_TRY(step.op() == Op::qconv2d_last ? rewrite_codes(program, i, found->second) : rewrite(program, packs, i, found->second, direct));
    } else if (step.op() == Op::concat2) {
      pass_on_concat(program, i);
    } else if (step.op() == Op::max_pool2d) {
      if (Uses(program).reads[at(slot_of(step.as<max_pool2d_args>().index))] == 0) pool_with<max_pool2d_args>(program, i, pool);
    } else if (step.op() == Op::avg_pool2d) {
      pool.average = true, pool.count_padding = step.as<avg_pool2d_args>().count_padding;
      pool_with<avg_pool2d_args>(program, i, pool);
    } else if (is_elementwise(step.op())) {
      pass_on_elementwise(program, i);
    }
  }
  drop_dead_steps(program);
  keep_codes(program);
  return {};
}

}  // namespace tersor
