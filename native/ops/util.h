// Checks and helpers that op bodies share.
#pragma once
#include "base/alloc.h"
#include "base/tensor_ref.h"
#include "cpu/threads.h"
#include "ops/args.h"

namespace tersor {

// A floating tensor that ops compute in: f32 or f64.
Status expect_float(const char* op, const char* name, const TensorRef& t);
Status expect_dtype(const char* op, const char* name, const TensorRef& t, DType dtype);
Status expect_same_dtype(const char* op, const TensorRef& a, const TensorRef& b);
Status expect_rank(const char* op, const char* name, const TensorRef& t, int rank);
Status expect_shape(const char* op, const char* name, const TensorRef& t, const int64_t* shape, int rank);
Status broadcast_shapes(const char* op, const TensorRef& a, const TensorRef& b, int64_t* shape, int* rank);
// Axis list ([] = all axes) to a bit set of axes in [0, rank); negative axes count from the end, repeats are errors.
Status axes_to_bits(const char* op, const IntList& axes, int rank, uint32_t* bits);

// Row-major copy of a strided tensor into `out` (out holds x.size() elements of x.dtype).
Status copy_contiguous(const TensorRef& x, void* out, const Cancel* cancel);

// Row-major access to an input: the tensor's own memory when it is contiguous, else a scratch copy that lives as long as this object.
class Contiguous {
 public:
  Status open(const char* op, const TensorRef& x, const Cancel* cancel);
  template <class T> const T* as() const { return static_cast<const T*>(data_); }
  const void* data() const { return data_; }

 private:
  const void* data_ = nullptr;
  Scratch scratch_;
};

// Broadcasts x to `shape` by setting strides to 0; shapes were checked by broadcast_shapes.
TensorRef broadcast_to(const TensorRef& x, const int64_t* shape, int rank);

}  // namespace tersor
