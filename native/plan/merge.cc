// Products of one input as one product (the query, key and value of attention): its columns stand side by side, and each reader sees its own as a
// strided view. Only where every reader is attention, which takes such views as they lie.
#include <cstring>

#include "plan/fuse.h"

namespace tersor {
namespace {

bool same_tensor(const TensorRef& a, const TensorRef& b) {
  if (a.owner != b.owner || a.data != b.data || a.rank != b.rank || a.dtype != b.dtype) return false;
  const size_t n = sizeof(int64_t) * static_cast<size_t>(a.rank);
  return memcmp(a.shape, b.shape, n) == 0 && memcmp(a.stride, b.stride, n) == 0;
}

// A plain product whose result only attention reads, whole rows at a time.
bool is_candidate(const Program& program, const Uses& uses, const Step& step) {
  if (step.op() != Op::linear) return false;
  const linear_args& a = step.as<linear_args>();
  if (a.x.dtype != DType::f32 || !is_constant(program, a.w) || (a.bias.owner && !(is_constant(program, a.bias) && a.bias.contiguous()))) return false;
  const int slot = slot_of(a.y);
  const int64_t out = a.w.shape[0];
  if (uses.writes[at(slot)] != 1 || program.slots[at(slot)].bytes != a.y.bytes() || out == 0 || a.y.size() / out <= 16) return false;
  int readers = 0;
  for (const Step& other : program.steps)
    each_tensor(other, [&](char kind, const TensorRef& t) {
      if (kind == 'R' || slot_of(t) != slot) return;
      if (other.op() == Op::attention && t.contiguous() && place_of(t) % (out * 4) == 0 && t.rank >= 2 && t.shape[t.rank - 1] == out) readers++;
    });
  return readers > 0 && readers == uses.reads[at(slot)];
}

Status biases(const Program& program, const std::vector<size_t>& group, Storage** made) {
  int64_t columns = 0;
  for (const size_t i : group) columns += program.steps[i].as<linear_args>().w.shape[0];
  TERSOR_TRY(Storage::create("session", columns * 4, made));
  float* to = static_cast<float*>((*made)->data);
  for (const size_t i : group) {
    const linear_args& a = program.steps[i].as<linear_args>();
    const size_t bytes = static_cast<size_t>(a.w.shape[0]) * 4;
    if (a.bias.owner) memcpy(to, constant_of(program, a.bias).data, bytes);
    else memset(to, 0, bytes);
    to += a.w.shape[0];
  }
  return {};
}

Status merge(Program& program, Packs& packs, const std::vector<size_t>& group) {
  std::vector<TensorRef> weights;
  int64_t columns = 0;
  for (const size_t i : group) {
    weights.push_back(constant_of(program, program.steps[i].as<linear_args>().w));
    columns += weights.back().shape[0];
  }
  Storage *packed = nullptr, *bias = nullptr;
  TERSOR_TRY(packs.get(Op::gemm_pack, weights.data(), static_cast<int>(weights.size()), &packed));
  linear_packed_args to{};
  set_shape(to.packed, DType::u8, &packed->bytes, 1);
  set_place(to.packed, program.add_constant(packed), 0);
  TERSOR_TRY(biases(program, group, &bias));
  set_shape(to.bias, DType::f32, &columns, 1);
  set_place(to.bias, program.add_constant(bias), 0);
  const linear_args& first = program.steps[group[0]].as<linear_args>();
  to.x = first.x, to.out = columns, to.act = activation::none;
  int64_t shape[kMaxRank];
  for (int i = 0; i < first.y.rank; i++) shape[i] = first.y.shape[i];
  shape[first.y.rank - 1] = columns;
  set_shape(to.y, DType::f32, shape, first.y.rank);
  const int slot = program.add_temporary(to.y.bytes());
  set_place(to.y, slot, 0);
  int64_t column = 0;
  for (const size_t i : group) {
    const linear_args& a = program.steps[i].as<linear_args>();
    const int64_t out = a.w.shape[0];
    for (const Step& reader : program.steps)
      each_tensor(reader, [&](char kind, TensorRef& t) {
        if (kind == 'R' || slot_of(t) != slot_of(a.y)) return;
        set_place(t, slot, place_of(t) / out * columns + column * 4);
        for (int d = 0; d + 1 < t.rank; d++) t.stride[d] = t.stride[d] / out * columns;
      });
    column += out;
  }
  const int label = program.steps[group.back()].label;
  program.steps[group[0]] = make_step(Op::linear_packed, to);
  program.steps[group[0]].label = label;
  return {};
}

}  // namespace

Status merge_products(Program& program, Packs& packs) {
  const Uses uses(program);
  for (size_t i = 0; i < program.steps.size(); i++) {
    if (!is_candidate(program, uses, program.steps[i])) continue;
    std::vector<size_t> group{i};
    const linear_args& first = program.steps[i].as<linear_args>();
    if (uses.writes[at(slot_of(first.x))] > 1) continue;
    for (size_t j = i + 1; j < program.steps.size(); j++) {
      if (!is_candidate(program, uses, program.steps[j])) continue;
      const linear_args& a = program.steps[j].as<linear_args>();
      if (same_tensor(a.x, first.x) && a.w.shape[1] == first.w.shape[1]) group.push_back(j);
    }
    if (group.size() > 1) TERSOR_TRY(merge(program, packs, group));
  }
  drop_dead_steps(program);
  return {};
}

}  // namespace tersor
