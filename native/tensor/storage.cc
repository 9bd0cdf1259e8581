#include "tensor/storage.h"

#include <new>

#include "base/checked.h"

namespace tersor {

Status Storage::create(const char* where, int64_t bytes, Storage** out, Place* place) {
  *out = nullptr;
  void* data = nullptr;
  TERSOR_TRY(place ? place->allocate(where, bytes, &data) : allocate(where, bytes, &data));
  Storage* s = new (std::nothrow) Storage{data, bytes, {1}, {0}, {0}, nullptr, place};
  if (!s) {
    if (place) place->release(data, bytes);
    else deallocate(data, bytes);
    return fail(Code::memory_budget, "%s: the system refused a storage record", where);
  }
  if (place) place->retain();
  *out = s;
  return {};
}

Storage* Storage::share(Storage* parent, Place* place) {
  Storage* s = new Storage{parent->data, parent->bytes, {1}, {0}, {0}, parent, place};
  parent->retain();
  if (place) place->retain();
  return s;
}

void Storage::release() {
  if (refs.fetch_sub(1, std::memory_order_acq_rel) != 1) return;
  if (parent) {
    // Work of this place may still read what the parent's place gives to its next allocation.
    if (place) place->settle();
    parent->release();
  } else if (place) {
    place->release(data, bytes);
  } else {
    deallocate(data, bytes);
  }
  if (place) place->drop();
  delete this;
}

Status allocate_tensor(const char* where, TensorRef& t, Place* place) {
  int64_t n = 1;
  for (int i = 0; i < t.rank; i++) {
    if (t.shape[i] < 0 || mul_overflows(n, t.shape[i], &n) || n > (int64_t(1) << 50))
      return fail(Code::shape, "%s: the result %s has too many elements", where, TERSOR_TEXT(t));
  }
  Storage* s = nullptr;
  TERSOR_TRY(Storage::create(where, n * dtype_bytes(t.dtype), &s, place));
  t.owner = s;
  t.data = s->data;
  return {};
}

int64_t extent_bytes(const TensorRef& t) {
  int64_t last = 0;
  for (int i = 0; i < t.rank; i++) {
    if (t.shape[i] == 0) return 0;
    last += (t.shape[i] - 1) * t.stride[i];
  }
  return (last + 1) * dtype_bytes(t.dtype);
}

bool may_overlap(const TensorRef& a, const TensorRef& b) {
  if (a.owner != b.owner || !a.owner) return false;
  const char* pa = static_cast<const char*>(a.data);
  const char* pb = static_cast<const char*>(b.data);
  return pa < pb + extent_bytes(b) && pb < pa + extent_bytes(a);
}

Status make_view(const TensorRef& base, const int64_t* shape, const int64_t* stride, int rank, int64_t offset, TensorRef* out) {
  if (rank < 0 || rank > kMaxRank) return fail(Code::shape, "view: rank must be in [0, %d], got %d", kMaxRank, rank);
  const Storage* s = storage_of(base);
  const int64_t width = dtype_bytes(base.dtype);
  const int64_t start = (static_cast<const char*>(base.data) - static_cast<const char*>(s->data)) / width + offset;
  int64_t last = start, n = 1;
  bool inside = offset >= 0;
  for (int i = 0; i < rank; i++) {
    int64_t span = 0;
    if (shape[i] < 0 || stride[i] < 0 || mul_overflows(n, shape[i], &n)) inside = false;
    if (!inside) break;
    if (shape[i] > 0 && (mul_overflows(shape[i] - 1, stride[i], &span) || add_overflows(last, span, &last))) inside = false;
  }
  if (inside && n > 0 && (start < 0 || last >= s->bytes / width)) inside = false;
  if (inside && n == 0 && start > s->bytes / width) inside = false;
  if (!inside) return fail(Code::shape, "view: shape, strides and offset leave the storage of %s", TERSOR_TEXT(base));
  *out = base;
  out->rank = rank;
  for (int i = 0; i < rank; i++) {
    out->shape[i] = shape[i];
    out->stride[i] = stride[i];
  }
  out->data = static_cast<char*>(s->data) + start * width;
  return {};
}

}  // namespace tersor
