#include "plan/fuse.h"

#include <algorithm>

namespace tersor {
namespace {

bool is_whole(const Program& program, const TensorRef& t) {
  return place_of(t) == 0 && t.contiguous() && t.bytes() == program.slots[at(slot_of(t))].bytes;
}

bool same_shape(const TensorRef& a, const TensorRef& b) {
  if (a.rank != b.rank || a.dtype != b.dtype) return false;
  for (int i = 0; i < a.rank; i++)
    if (a.shape[i] != b.shape[i]) return false;
  return true;
}

// Where a product says what happens to its result. residual and y are null where the op has none.
struct Epilogue {
  TensorRef *residual = nullptr, *y = nullptr;
  activation* act = nullptr;
};
template <class Args> Epilogue full(const Step& step) {
  Args& a = step.as<Args>();
  return {&a.residual, &a.y, &a.act};
}
template <class Args> Epilogue without_residual(const Step& step) {
  Args& a = step.as<Args>();
  return {nullptr, &a.y, &a.act};
}
Epilogue epilogue_of(const Step& step) {
  switch (step.op()) {
    case Op::linear_fused: return full<linear_fused_args>(step);
    case Op::linear_packed: return full<linear_packed_args>(step);
    case Op::qlinear_dynamic: return full<qlinear_dynamic_args>(step);
    case Op::wgemm: return full<wgemm_args>(step);
    case Op::qlinear: return without_residual<qlinear_args>(step);
    default: return {};
  }
}

// A step that is an activation of products.
struct Activation {
  activation act = activation::none;
  const TensorRef *x = nullptr, *y = nullptr;
};
Activation activation_of(const Step& step) {
  const relu_args& a = step.as<relu_args>();  // all of one input are x, y
  switch (step.op()) {
    case Op::relu: return {activation::relu, &a.x, &a.y};
    case Op::gelu: return {activation::gelu, &a.x, &a.y};
    case Op::tanh: return {activation::tanh, &a.x, &a.y};
    case Op::sigmoid: return {activation::sigmoid, &a.x, &a.y};
    case Op::nonlinear: {
      const nonlinear_args& f = step.as<nonlinear_args>();
      if (f.kind == nonlinearity::gelu) return {activation::gelu, &f.x, &f.y};
      if (f.kind == nonlinearity::gelu_tanh) return {activation::gelu_tanh, &f.x, &f.y};
      return {};
    }
    default: return {};
  }
}

Status pack_linear(Program& program, Packs& packs, Step& step) {
  const linear_args& a = step.as<linear_args>();
  if (a.x.dtype != DType::f32) return {};
  const int64_t rows = a.w.shape[0] > 0 ? a.y.size() / a.w.shape[0] : 0;
  // A device's packed weight is the weight behind a header (cuda/linear.cu): nothing is gained there.
  if (program.place.get() || !is_constant(program, a.w) || rows < kLeastPackedRows) {
    linear_fused_args to{};
    to.x = a.x, to.w = a.w, to.bias = a.bias, to.y = a.y, to.act = activation::none;
    const int label = step.label;
    step = make_step(Op::linear_fused, to);
    step.label = label;
    return {};
  }
  const TensorRef w = constant_of(program, a.w);
  Storage* packed = nullptr;
  TERSOR_TRY(packs.get(Op::gemm_pack, &w, 1, &packed));
  linear_packed_args to{};
  to.x = a.x, to.bias = a.bias, to.y = a.y, to.out = a.w.shape[0], to.act = activation::none;
  set_shape(to.packed, DType::u8, &packed->bytes, 1);
  set_place(to.packed, program.add_constant(packed), 0);
  const int label = step.label;
  step = make_step(Op::linear_packed, to);
  step.label = label;
  return {};
}

// The only step that reads what `step` i gives, or -1; its inputs are there when i runs later, in its place.
int only_reader(const Program& program, const Uses& uses, size_t i, const TensorRef& y) {
  const int slot = slot_of(y);
  if (uses.reads[at(slot)] != 1 || uses.writes[at(slot)] != 1 || !is_whole(program, y)) return -1;
  bool steady = true;  // nothing that i reads is overwritten in between
  each_tensor(program.steps[i], [&](char kind, const TensorRef& t) { steady = steady && kind != 'M' && (kind == 'R' || uses.writes[at(slot_of(t))] <= 1); });
  if (!steady) return -1;
  for (size_t j = i + 1; j < program.steps.size(); j++) {
    bool reads = false;
    each_tensor(program.steps[j], [&](char kind, const TensorRef& t) { reads = reads || (kind != 'R' && slot_of(t) == slot); });
    if (reads) return static_cast<int>(j);
  }
  return -1;
}

// Takes step j, which reads y, into the product: true when it did. The product then stands where j stood.
bool absorb(const Program& program, const Step& next, const Epilogue& e) {
  const int slot = slot_of(*e.y);
  if (const Activation f = activation_of(next); f.x) {
    if (*e.act != activation::none || (e.residual && e.residual->owner) || !is_whole(program, *f.x) || !same_shape(*f.x, *f.y)) return false;
    *e.act = f.act;
    *e.y = *f.y;
    return true;
  }
  if (next.op() != Op::add || !e.residual || e.residual->owner) return false;
  const add_args& a = next.as<add_args>();
  const bool first = slot_of(a.a) == slot;
  const TensorRef &mine = first ? a.a : a.b, &other = first ? a.b : a.a;
  if (slot_of(other) == slot || !is_whole(program, mine) || !same_shape(mine, *e.y) || !same_shape(other, *e.y) || !same_shape(a.y, *e.y)) return false;
  *e.residual = other;
  *e.y = a.y;
  return true;
}

void absorb_all(Program& program) {
  for (size_t i = 0; i < program.steps.size(); i++) {
    const Uses uses(program);
    const Epilogue e = epilogue_of(program.steps[i]);
    if (!e.y) continue;
    const int j = only_reader(program, uses, i, *e.y);
    if (j < 0 || !absorb(program, program.steps[at(j)], e)) continue;
    program.steps[at(j)] = std::move(program.steps[i]);
    program.steps.erase(program.steps.begin() + static_cast<std::ptrdiff_t>(i));
    i--;
  }
}

}  // namespace

Status fuse(Program& program, Packs& packs) {
  if (!program.place.get()) TERSOR_TRY(merge_products(program, packs));  // it writes weights, and asks for the processor's layouts
  for (Step& step : program.steps)
    if (step.op() == Op::linear) TERSOR_TRY(pack_linear(program, packs, step));
  absorb_all(program);
  drop_dead_steps(program);
  return {};
}

}  // namespace tersor
