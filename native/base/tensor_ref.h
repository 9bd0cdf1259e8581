// A tensor as kernels' callers and device plug-ins see it: plain data, no ownership. Strides count elements and may be 0
// (broadcast) but are never negative. `owner` belongs to the tensor layer; nothing else reads it.
#pragma once
#include <cstdio>
#include <cstring>

#include "base/dtype.h"

namespace tersor {

constexpr int kMaxRank = 8;

struct IntList {
  int64_t v[kMaxRank];
  int32_t n;
};

struct TensorRef {
  void* data;
  void* owner;
  int64_t shape[kMaxRank];
  int64_t stride[kMaxRank];
  int32_t rank;
  DType dtype;

  bool present() const { return owner != nullptr || data != nullptr; }
  int64_t size() const {
    int64_t n = 1;
    for (int i = 0; i < rank; i++) n *= shape[i];
    return n;
  }
  int64_t bytes() const { return size() * dtype_bytes(dtype); }
  int64_t dim(int i) const { return shape[i < 0 ? rank + i : i]; }
  bool contiguous() const {
    int64_t s = 1;
    for (int i = rank - 1; i >= 0; i--) {
      if (shape[i] != 1 && stride[i] != s) return false;
      s *= shape[i];
    }
    return true;
  }
  template <class T> T* as() const { return static_cast<T*>(data); }
};

// What a whole-struct assignment does, without dimensions that most tensors lack: calls of ops copy a few of these each. Fixed sizes, because
// a loop over the rank becomes two calls of memmove.
inline void copy_ref(TensorRef& t, const TensorRef& from) {
  constexpr size_t half = sizeof(t.shape) / 2;
  t.data = from.data;
  t.owner = from.owner;
  t.rank = from.rank;
  t.dtype = from.dtype;
  memcpy(t.shape, from.shape, half);
  memcpy(t.stride, from.stride, half);
  if (from.rank > kMaxRank / 2) {
    memcpy(t.shape + kMaxRank / 2, from.shape + kMaxRank / 2, half);
    memcpy(t.stride + kMaxRank / 2, from.stride + kMaxRank / 2, half);
  }
}
inline void clear_ref(TensorRef& t) {
  t.data = t.owner = nullptr;
  t.rank = 0;
  t.dtype = DType::f32;
}

// Sets shape and row-major strides; data stays null until the caller of the op allocates it.
inline void set_shape(TensorRef& t, DType dtype, const int64_t* shape, int rank) {
  t.dtype = dtype;
  t.rank = rank;
  int64_t s = 1;
  for (int i = rank - 1; i >= 0; i--) {
    t.shape[i] = shape[i];
    t.stride[i] = s;
    s *= shape[i];
  }
}

// "f32[3,4]" for error messages; the buffer lives in the returned value.
struct TensorText {
  char text[96];
  explicit TensorText(const TensorRef& t) {
    int at = snprintf(text, sizeof text, "%s[", t.dtype == DType::b8 ? "bool" : dtype_name(t.dtype));
    for (int i = 0; i < t.rank && at < 80; i++)
      at += snprintf(text + at, sizeof text - static_cast<size_t>(at), i ? ",%lld" : "%lld", static_cast<long long>(t.shape[i]));
    snprintf(text + at, sizeof text - static_cast<size_t>(at), "]");
  }
};
#define TERSOR_TEXT(t) (::tersor::TensorText(t).text)

}  // namespace tersor
