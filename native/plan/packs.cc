#include "plan/packs.h"

#include "ops/util.h"

namespace tersor {
namespace {

// The matrices as one, row-major; `memory` holds it.
Status stack(const TensorRef* parts, int count, Scratch* memory, TensorRef* all) {
  *all = parts[0];
  if (count == 1) return {};
  int64_t shape[2] = {0, parts[0].shape[1]};
  for (int i = 0; i < count; i++) shape[0] += parts[i].shape[0];
  set_shape(*all, parts[0].dtype, shape, 2);
  TERSOR_TRY(memory->reserve("session", all->bytes()));
  all->data = memory->as<void>();
  char* at = memory->as<char>();
  for (int i = 0; i < count; i++) {
    TERSOR_TRY(copy_contiguous(parts[i], at, nullptr));
    at += parts[i].bytes();
  }
  return {};
}

template <class Args> Status run(Op op, const TensorRef& w, Storage** packed) {
  const tersor::Entry& entry = op_entry(static_cast<int>(op));
  Args args{};
  args.w = w;
  TERSOR_TRY(entry.infer(&args));
  TERSOR_TRY(allocate_tensor("session", args.packed));
  Context context;
  const Status s = entry.cpu(&args, context);
  if (s.ok()) *packed = storage_of(args.packed);
  else storage_of(args.packed)->release();
  return s;
}

}  // namespace

Packs::~Packs() {
  for (auto& entry : entries_) drop(entry.second);
}

void Packs::drop(Entry& entry) {
  for (Storage* s : entry.sources) s->release();
  entry.packed->release();
}

Status Packs::get(Op op, const TensorRef* parts, int count, Storage** packed) {
  std::string key(reinterpret_cast<const char*>(&op), sizeof op);
  for (int i = 0; i < count; i++) {
    const TensorRef& t = parts[i];
    const int64_t numbers[] = {static_cast<int64_t>(reinterpret_cast<intptr_t>(t.owner)), static_cast<int64_t>(reinterpret_cast<intptr_t>(t.data)), t.shape[0], t.shape[1], t.stride[0], t.stride[1]};
    key.append(reinterpret_cast<const char*>(numbers), sizeof numbers);
  }
  const auto found = entries_.find(key);
  if (found != entries_.end()) {
    *packed = found->second.packed;
    (*packed)->retain();
    return {};
  }
  Scratch memory;
  TensorRef all;
  TERSOR_TRY(stack(parts, count, &memory, &all));
  TERSOR_TRY(op == Op::gemm_pack ? run<gemm_pack_args>(op, all, packed) : run<qgemm_pack_args>(op, all, packed));
  Entry entry{{}, *packed};
  for (int i = 0; i < count; i++) {
    storage_of(parts[i])->retain();
    entry.sources.push_back(storage_of(parts[i]));
  }
  (*packed)->retain();
  entries_.emplace(std::move(key), std::move(entry));
  return {};
}

void Packs::sweep() {
  for (auto it = entries_.begin(); it != entries_.end();) {
    if (it->second.packed->refs.load() > 1) {
      ++it;
      continue;
    }
    drop(it->second);
    it = entries_.erase(it);
  }
}

}  // namespace tersor
