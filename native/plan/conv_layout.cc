// Tensors with channels last: one order of memory under the same shapes. [B,C,H,W] is taken as B, C and S = H W; a view can be turned when none of its
// dimensions runs across two of them.
#include "plan/convolutions.h"

namespace tersor {
namespace {

struct Order {
  int64_t channels, plane;  // C and S
};

// t, a view of the row-major tensor, as the same view of the one with channels last.
bool turn(const Order& o, TensorRef* t) {
  if (t->dtype != DType::f32 || place_of(*t) % 4 != 0) return false;
  const int64_t from = place_of(*t) / 4, image = o.channels * o.plane;
  int64_t channel = from / o.plane % o.channels, place = from % o.plane;
  const int64_t start = from / image * image + place * o.channels + channel;
  TensorRef turned = *t;
  for (int i = 0; i < t->rank; i++) {
    const int64_t n = t->shape[i], stride = t->stride[i];
    if (n <= 1 || stride == 0) continue;
    if (stride % image == 0) continue;
    if (stride % o.plane == 0) {
      turned.stride[i] = stride / o.plane;
      channel += (n - 1) * turned.stride[i];
    } else {
      turned.stride[i] = stride * o.channels;
      place += (n - 1) * stride;
    }
  }
  if (channel >= o.channels || place >= o.plane) return false;
  set_place(turned, slot_of(*t), start * 4);
  *t = turned;
  return true;
}

}  // namespace

TensorRef channels_last(const TensorRef& t) {
  TensorRef last = t;
  const int from[4] = {0, 2, 3, 1};
  for (int i = 0; i < 4; i++) last.shape[i] = t.shape[from[i]], last.stride[i] = t.stride[from[i]];
  return last;
}

bool lies_channels_last(const TensorRef& t) { return t.rank == 4 && !t.contiguous() && channels_last(t).contiguous(); }

bool turn_channels_last(Program& program, size_t writer, TensorRef& y) {
  const int slot = slot_of(y);
  const int64_t shape[4] = {y.shape[0], y.shape[2], y.shape[3], y.shape[1]};
  const Order order{y.shape[1], y.shape[2] * y.shape[3]};
  const TensorRef before = y;
  set_shape(y, DType::f32, shape, 4);
  if (order.channels == 1 || order.plane == 1) return false;
  int copy = -1;
  const auto one = [&](TensorRef& t) {
    if (slot_of(t) != slot || turn(order, &t)) return;
    if (copy < 0) copy = program.add_temporary(before.bytes());
    set_place(t, copy, place_of(t));
  };
  for (size_t i = 0; i < program.steps.size(); i++)
    if (i != writer) each_tensor(program.steps[i], [&](char, TensorRef& t) { one(t); });
  for (TensorRef& t : program.outputs) one(t);
  if (copy < 0) return false;
  copy_args to{};
  to.x = before, to.y = before;
  turn(order, &to.x);
  set_place(to.y, copy, 0);
  Step step = make_step(Op::copy, to);
  step.label = program.steps[writer].label;
  program.steps.insert(program.steps.begin() + static_cast<std::ptrdiff_t>(writer) + 1, std::move(step));
  return true;
}

}  // namespace tersor
