// Products of one input as one product (the query, key and value of attention): its columns stand side by side, and each reader sees its own as a
// strided view. Only where every reader is attention, which takes such views as they lie.
#include <cstring>

#include "kernels/qgemm/qgemm.h"
#include "plan/fuse.h"

namespace tersor {
namespace {

bool same_tensor(const TensorRef& a, const TensorRef& b) {
  if (a.owner != b.owner || a.data != b.data || a.rank != b.rank || a.dtype != b.dtype) return false;
  const size_t n = sizeof(int64_t) * static_cast<size_t>(a.rank);
  return memcmp(a.shape, b.shape, n) == 0 && memcmp(a.stride, b.stride, n) == 0;
}

// A plain product with a constant weight, of either kind.
struct Product {
  Op op;
  TensorRef *x, *bias, *y;
  int64_t out;
  bool symmetric;
};
bool product_of(const Program& program, const Step& step, Product* p) {
  const auto steady = [&](const TensorRef& t) { return is_constant(program, t) && t.contiguous(); };
  if (step.op() == Op::linear) {
    linear_args& a = step.as<linear_args>();
    *p = {Op::linear, &a.x, &a.bias, &a.y, a.w.shape[0], false};
    return a.x.dtype == DType::f32 && is_constant(program, a.w) && (!a.bias.owner || steady(a.bias));
  }
  if (step.op() != Op::qlinear_dynamic) return false;
  qlinear_dynamic_args& a = step.as<qlinear_dynamic_args>();
  *p = {Op::qlinear_dynamic, &a.x, &a.bias, &a.y, a.out, a.symmetric};
  return !a.residual.owner && a.act == activation::none && steady(a.packed) && steady(a.w_scale) && (!a.bias.owner || steady(a.bias)) && a.out % qgemm_layout().nr == 0;
}

// One whose result only attention reads, whole rows at a time.
bool is_candidate(const Program& program, const Uses& uses, const Step& step, Product* p) {
  if (!product_of(program, step, p)) return false;
  const int slot = slot_of(*p->y);
  const int64_t out = p->out;
  if (uses.writes[at(slot)] != 1 || program.slots[at(slot)].bytes != p->y->bytes() || out == 0) return false;
  if (p->op == Op::linear && p->y->size() / out < kLeastPackedRows) return false;
  int readers = 0;
  for (const Step& other : program.steps)
    each_tensor(other, [&](char kind, const TensorRef& t) {
      if (kind == 'R' || slot_of(t) != slot) return;
      if (other.op() == Op::attention && t.contiguous() && place_of(t) % (out * 4) == 0 && t.rank >= 2 && t.shape[t.rank - 1] == out) readers++;
    });
  return readers > 0 && readers == uses.reads[at(slot)];
}

// One value a column for each product, side by side, as a constant at `made`. Where a product has none: `none`; where it has one for all: that.
Status side_by_side(Program& program, const std::vector<size_t>& group, const float none, const TensorRef& (*of)(const Step&), TensorRef* made) {
  int64_t columns = 0;
  Product p;
  for (const size_t i : group) columns += product_of(program, program.steps[i], &p) ? p.out : 0;
  Storage* storage = nullptr;
  TERSOR_TRY(Storage::create("session", columns * 4, &storage));
  float* to = static_cast<float*>(storage->data);
  for (const size_t i : group) {
    product_of(program, program.steps[i], &p);
    const TensorRef& t = of(program.steps[i]);
    const float* const from = t.owner ? constant_of(program, t).as<float>() : &none;
    const int64_t step = t.owner && t.shape[0] == p.out ? 1 : 0;
    for (int64_t j = 0; j < p.out; j++) *to++ = from[j * step];
  }
  set_shape(*made, DType::f32, &columns, 1);
  set_place(*made, program.add_constant(storage), 0);
  return {};
}
const TensorRef& bias_of(const Step& s) { return s.op() == Op::linear ? s.as<linear_args>().bias : s.as<qlinear_dynamic_args>().bias; }
const TensorRef& scale_of(const Step& s) { return s.as<qlinear_dynamic_args>().w_scale; }

void place_packed(Program& program, Storage* packed, TensorRef* t) {
  set_shape(*t, DType::u8, &packed->bytes, 1);
  set_place(*t, program.add_constant(packed), 0);
}

Status merged_linear(Program& program, Packs& packs, const std::vector<size_t>& group, const TensorRef& y, Step* made) {
  std::vector<TensorRef> weights;
  for (const size_t i : group) weights.push_back(constant_of(program, program.steps[i].as<linear_args>().w));
  Storage* packed = nullptr;
  TERSOR_TRY(packs.get(Op::gemm_pack, weights.data(), static_cast<int>(weights.size()), &packed));
  linear_packed_args to{};
  place_packed(program, packed, &to.packed);
  TERSOR_TRY(side_by_side(program, group, 0.0f, bias_of, &to.bias));
  to.x = program.steps[group[0]].as<linear_args>().x, to.out = y.shape[y.rank - 1], to.act = activation::none, to.y = y;
  *made = make_step(Op::linear_packed, to);
  return {};
}

Status merged_dynamic(Program& program, Packs& packs, const std::vector<size_t>& group, const TensorRef& y, Step* made) {
  std::vector<TensorRef> blobs;
  std::vector<int64_t> out;
  for (const size_t i : group) {
    const qlinear_dynamic_args& a = program.steps[i].as<qlinear_dynamic_args>();
    blobs.push_back(constant_of(program, a.packed)), out.push_back(a.out);
  }
  qlinear_dynamic_args to = program.steps[group[0]].as<qlinear_dynamic_args>();
  Storage* joined = nullptr;
  TERSOR_TRY(packs.join(blobs.data(), out.data(), static_cast<int>(out.size()), to.x.dim(-1), &joined));
  place_packed(program, joined, &to.packed);
  TERSOR_TRY(side_by_side(program, group, 1.0f, scale_of, &to.w_scale));
  TERSOR_TRY(side_by_side(program, group, -0.0f, bias_of, &to.bias));  // x + -0 = x
  to.out = y.shape[y.rank - 1], to.y = y;
  *made = make_step(Op::qlinear_dynamic, to);
  return {};
}

Status merge(Program& program, Packs& packs, const std::vector<size_t>& group) {
  Product first, p;
  int64_t columns = 0;
  for (const size_t i : group) columns += product_of(program, program.steps[i], &p) ? p.out : 0;
  product_of(program, program.steps[group[0]], &first);
  TensorRef y{};
  int64_t shape[kMaxRank];
  for (int i = 0; i < first.y->rank; i++) shape[i] = first.y->shape[i];
  shape[first.y->rank - 1] = columns;
  set_shape(y, DType::f32, shape, first.y->rank);
  const int slot = program.add_temporary(y.bytes());
  set_place(y, slot, 0);
  Step made = make_step(Op::linear_packed, linear_packed_args{});
  TERSOR_TRY(first.op == Op::linear ? merged_linear(program, packs, group, y, &made) : merged_dynamic(program, packs, group, y, &made));
  int64_t column = 0;
  for (const size_t i : group) {
    product_of(program, program.steps[i], &p);
    const int64_t out = p.out;
    const int from = slot_of(*p.y);
    for (const Step& reader : program.steps)
      each_tensor(reader, [&](char kind, TensorRef& t) {
        if (kind == 'R' || slot_of(t) != from) return;
        set_place(t, slot, place_of(t) / out * columns + column * 4);
        for (int d = 0; d + 1 < t.rank; d++) t.stride[d] = t.stride[d] / out * columns;
      });
    column += out;
  }
  made.label = program.steps[group.back()].label;
  program.steps[group[0]] = std::move(made);
  return {};
}

}  // namespace

Status merge_products(Program& program, Packs& packs) {
  const Uses uses(program);
  for (size_t i = 0; i < program.steps.size(); i++) {
    Product first, p;
    if (!is_candidate(program, uses, program.steps[i], &first)) continue;
    std::vector<size_t> group{i};
    if (uses.writes[at(slot_of(*first.x))] > 1) continue;
    for (size_t j = i + 1; j < program.steps.size(); j++)
      if (is_candidate(program, uses, program.steps[j], &p) && p.op == first.op && p.symmetric == first.symmetric && same_tensor(*p.x, *first.x)) group.push_back(j);
    if (group.size() > 1) TERSOR_TRY(merge(program, packs, group));
  }
  drop_dead_steps(program);
  return {};
}

}  // namespace tersor
