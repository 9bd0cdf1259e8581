// Ref-counted memory of tensors. A TensorRef's `owner` is its Storage. Views share one Storage.
#pragma once
#include <atomic>

#include "base/alloc.h"
#include "base/tensor_ref.h"
#include "tensor/place.h"

namespace tersor {

struct Storage {
  void* data;
  int64_t bytes;
  std::atomic<int> refs;
  std::atomic<int> readers;  // asynchronous calls in flight that read it: in-place ops answer ERR_BUSY meanwhile
  std::atomic<int> handles;  // JavaScript handles that point here (for the host's memory accounting)
  Storage* parent;           // whose memory this is, where another thread has it under a record of its own; else null
  Place* place;              // with a reference of its own; null: the processor's memory

  static Status create(const char* where, int64_t bytes, Storage** out, Place* place = nullptr);
  // The same memory for another JavaScript environment, which counts its own handles and readers. place: that environment's, of the same device.
  static Storage* share(Storage* parent, Place* place = nullptr);
  // Whether something reads it that must not see it change: an asynchronous call, a plan, or whoever lent the memory.
  bool in_use() const {
    for (const Storage* s = this; s; s = s->parent)
      if (s->readers.load(std::memory_order_acquire) > 0) return true;
    return false;
  }
  void retain() { refs.fetch_add(1, std::memory_order_relaxed); }
  void release();
};

inline Storage* storage_of(const TensorRef& t) { return static_cast<Storage*>(t.owner); }
inline Place* tensor_place(const TensorRef& t) { return storage_of(t)->place; }

// Allocates the memory of a result whose shape and dtype are set. The content is not initialised.
Status allocate_tensor(const char* where, TensorRef& t, Place* place = nullptr);

// Bytes from the first element to the end of the last; 0 for an empty tensor.
int64_t extent_bytes(const TensorRef& t);

// True when the two tensors may touch a common byte.
bool may_overlap(const TensorRef& a, const TensorRef& b);

// A view must stay inside its storage: checks shape, strides (>= 0) and offset (elements), then sets `out` (owner not retained).
Status make_view(const TensorRef& base, const int64_t* shape, const int64_t* stride, int rank, int64_t offset, TensorRef* out);

}  // namespace tersor
