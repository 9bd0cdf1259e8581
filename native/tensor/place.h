// Where memory of tensors lies that is not the processor's: a queue of work on a device, as the layers see it that know nothing of devices (storage, plans).
// A tensor with a place has an address there in `data`, which nobody here dereferences; calls on a place run in order. The backend implements it.
#pragma once
#include <atomic>
#include <cstdint>
#include <utility>

#include "base/status.h"
#include "base/tensor_ref.h"

namespace tersor {

struct Context;

class Place {
 public:
  Place() = default;
  Place(const Place&) = delete;
  Place& operator=(const Place&) = delete;

  virtual const char* name() const = 0;                   // "cuda:0"
  virtual bool same_device(const Place& other) const = 0;  // as another environment's place
  virtual Status allocate(const char* where, int64_t bytes, void** data) = 0;
  virtual void release(void* data, int64_t bytes) = 0;    // behind the work that was queued before; from any thread
  virtual Status upload(void* to, const void* from, int64_t bytes) = 0;    // `from` may change afterwards
  virtual Status download(void* to, const void* from, int64_t bytes) = 0;  // waits for the work before
  virtual Status copy(void* to, const void* from, int64_t bytes) = 0;
  virtual Status fill(void* to, int byte, int64_t bytes) = 0;
  virtual Status synchronize() = 0;
  virtual void settle() = 0;  // waits where nobody can be told of a failure (a wrong index, say): the next call that can fail does so
  // Queues the op with this index (op_table.h). args: its argument struct, after infer, with addresses of this place.
  virtual Status call(int op, void* args, Context& context) = 0;

  void retain() { refs_.fetch_add(1, std::memory_order_relaxed); }
  void drop() {
    if (refs_.fetch_sub(1, std::memory_order_acq_rel) == 1) delete this;
  }

 protected:
  virtual ~Place() = default;

 private:
  std::atomic<int> refs_{1};
};

// A reference to a place, or to none (the processor).
class PlaceRef {
 public:
  PlaceRef() = default;
  explicit PlaceRef(Place* place) : place_(place) {
    if (place_) place_->retain();
  }
  PlaceRef(PlaceRef&& other) noexcept : place_(other.place_) { other.place_ = nullptr; }
  PlaceRef& operator=(PlaceRef&& other) noexcept {
    std::swap(place_, other.place_);
    return *this;
  }
  ~PlaceRef() {
    if (place_) place_->drop();
  }
  Place* get() const { return place_; }

 private:
  Place* place_ = nullptr;
};

inline const char* place_name(const Place* place) { return place ? place->name() : "cpu"; }

}  // namespace tersor
