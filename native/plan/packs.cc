#include "plan/packs.h"

#include "kernels/qgemm/qgemm.h"
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

template <class Args> Status run(Op op, Args& args, Storage** packed) {
  const tersor::Entry& entry = op_entry(static_cast<int>(op));
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

std::string Packs::key_of(int what, const TensorRef* parts, int count) {
  std::string key(reinterpret_cast<const char*>(&what), sizeof what);
  for (int i = 0; i < count; i++) {
    const TensorRef& t = parts[i];
    const int64_t numbers[] = {static_cast<int64_t>(reinterpret_cast<intptr_t>(t.owner)), static_cast<int64_t>(reinterpret_cast<intptr_t>(t.data)), t.rank};
    key.append(reinterpret_cast<const char*>(numbers), sizeof numbers);
    key.append(reinterpret_cast<const char*>(t.shape), sizeof(int64_t) * static_cast<size_t>(t.rank));
    key.append(reinterpret_cast<const char*>(t.stride), sizeof(int64_t) * static_cast<size_t>(t.rank));
  }
  return key;
}

bool Packs::find(const std::string& key, Storage** packed) {
  const auto found = entries_.find(key);
  if (found == entries_.end()) return false;
  *packed = found->second.packed;
  (*packed)->retain();
  return true;
}

void Packs::keep(std::string&& key, const TensorRef* parts, int count, Storage* packed) {
  Entry entry{{}, packed};
  for (int i = 0; i < count; i++) {
    storage_of(parts[i])->retain();
    entry.sources.push_back(storage_of(parts[i]));
  }
  packed->retain();
  entries_.emplace(std::move(key), std::move(entry));
}

Status Packs::get(Op op, const TensorRef* parts, int count, Storage** packed) {
  std::string key = key_of(static_cast<int>(op), parts, count);
  if (find(key, packed)) return {};
  Scratch memory;
  TensorRef all;
  TERSOR_TRY(stack(parts, count, &memory, &all));
  if (op == Op::gemm_pack) {
    gemm_pack_args args{};
    args.w = all;
    TERSOR_TRY(run(op, args, packed));
  } else {
    qgemm_pack_args args{};
    args.w = all;
    TERSOR_TRY(run(op, args, packed));
  }
  keep(std::move(key), parts, count, *packed);
  return {};
}

Status Packs::join(const TensorRef* blobs, const int64_t* out, int count, int64_t k, Storage** joined) {
  std::string key = key_of(-1, blobs, count);
  if (find(key, joined)) return {};
  const QgemmLayout& layout = qgemm_layout();
  std::vector<const void*> data;
  int64_t all = 0;
  for (int i = 0; i < count; i++) data.push_back(blobs[i].data), all += out[i];
  TERSOR_TRY(Storage::create("session", qgemm_blob_bytes(layout, all, k), joined));
  qgemm_join_blobs(layout, data.data(), out, count, k, (*joined)->data);
  keep(std::move(key), blobs, count, *joined);
  return {};
}

// args: of `op`, complete but for the scale. form: what else tells two packs of one w apart.
template <class Args> Status Packs::pack_filters(Op op, Args& args, const float* scale, int64_t form, Storage** packed) {
  const TensorRef w = args.w;
  const int64_t n = w.shape[0];
  std::string key = key_of(static_cast<int>(op), &w, 1);
  key.append(reinterpret_cast<const char*>(&form), sizeof form);
  if (scale) key.append(reinterpret_cast<const char*>(scale), static_cast<size_t>(n) * 4);
  if (find(key, packed)) return {};
  if (scale) {
    set_shape(args.scale, DType::f32, &n, 1);
    args.scale.data = const_cast<float*>(scale);
  }
  TERSOR_TRY(run(op, args, packed));
  keep(std::move(key), &w, 1, *packed);
  return {};
}

Status Packs::filters(const TensorRef& w, const float* scale, int64_t groups, Storage** packed) {
  conv2d_last_pack_args args{};
  args.w = w, args.groups = groups;
  return pack_filters(Op::conv2d_last_pack, args, scale, groups, packed);
}

Status Packs::winograd(const TensorRef& w, const float* scale, int64_t tile, Storage** packed) {
  conv2d_winograd_pack_args args{};
  args.w = w, args.tile = tile;
  return pack_filters(Op::conv2d_winograd_pack, args, scale, tile, packed);
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
