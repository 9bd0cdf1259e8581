// Moving elements without looking at them: copies between strided tensors, of any element type (by its size).
#include "cuda/kernels.h"
#include "cuda/walk.h"

namespace tersor {
namespace cuda {
namespace {

template <class T> struct Move {
  using In = T;
  using Out = T;
  static constexpr int inputs = 1;
  template <int n> __device__ void apply(const T (&x)[1][n], T (&y)[n]) const {
    TERSOR_UNROLL for (int i = 0; i < n; i++) y[i] = x[0][i];
  }
};

template <class T> Status to_dense(Stream& s, const TensorRef& src, const TensorRef& dst) {
  const TensorRef* const in[1] = {&src};
  const T* const data[1] = {src.as<T>()};
  return walk(s, Move<T>{}, walk_dims(in, dst), data, dst.as<T>());
}

}  // namespace

Status copy_strided(Stream& s, const TensorRef& src, const TensorRef& dst) {
  if (src.size() == 0) return {};
  if (src.contiguous() && dst.contiguous()) return s.copy(dst.data, src.data, src.bytes());
  if (!dst.contiguous()) return fail(Code::unsupported, "%s: strided results", s.op());
  switch (dtype_bytes(src.dtype)) {
    case 8: return to_dense<uint64_t>(s, src, dst);
    case 4: return to_dense<uint32_t>(s, src, dst);
    case 2: return to_dense<uint16_t>(s, src, dst);
    default: return to_dense<uint8_t>(s, src, dst);
  }
}

Status dense(Stream& s, const TensorRef& x, TensorRef* out) {
  *out = x;
  if (x.contiguous()) return {};
  set_shape(*out, x.dtype, x.shape, x.rank);
  char* data;
  TERSOR_TRY(s.scratch(x.bytes(), &data));
  out->data = data;
  return copy_strided(s, x, *out);
}

}  // namespace cuda
}  // namespace tersor
