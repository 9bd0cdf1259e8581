// Moving elements without looking at them, of any element type (by its size): copies between strided tensors, and the ops made of them.
//   dense to dense: the device's own copy
//   source and result run along different dimensions: square tiles through shared memory, so that both sides are read and written in whole sectors
//   anything else: a gather, 16 bytes at a time where both sides allow it
// Bound by memory: twice the tensor's bytes.
#include "cuda/kernels.h"
#include "cuda/numeric.h"
#include "cuda/launch.h"

namespace tersor {
namespace cuda {
namespace {

constexpr int kUnroll = 4;

// Dimensions in the order of the destination's strides, largest first, neighbours merged, without those of size one.
struct Dims {
  int64_t shape[kMaxRank], from[kMaxRank], to[kMaxRank];
  int rank = 0;
};

Dims make_dims(const TensorRef& src, const TensorRef& dst) {
  Dims w;
  for (int i = 0; i < src.rank; i++) {
    if (src.shape[i] == 1) continue;
    int at = w.rank++;
    for (; at > 0 && w.to[at - 1] < dst.stride[i]; at--) {
      w.shape[at] = w.shape[at - 1];
      w.from[at] = w.from[at - 1];
      w.to[at] = w.to[at - 1];
    }
    w.shape[at] = src.shape[i];
    w.from[at] = src.stride[i];
    w.to[at] = dst.stride[i];
  }
  int n = 0;
  for (int i = 0; i < w.rank; i++) {
    const bool merges = n > 0 && w.from[n - 1] == w.from[i] * w.shape[i] && w.to[n - 1] == w.to[i] * w.shape[i];
    if (!merges) n++;
    w.shape[n - 1] = merges ? w.shape[n - 1] * w.shape[i] : w.shape[i];
    w.from[n - 1] = w.from[i];
    w.to[n - 1] = w.to[i];
  }
  w.rank = n;
  return w;
}

struct CopyArgs {
  int rank;
  uint32_t count;
  FastDivide extent[kMaxRank];
  int64_t from[kMaxRank], to[kMaxRank];
};

__device__ __forceinline__ void place(const CopyArgs& a, uint32_t i, int64_t* from, int64_t* to) {
  int64_t f = 0, t = 0;
  TERSOR_UNROLL
  for (int d = kMaxRank - 1; d > 0; d--) {
    if (d >= a.rank) continue;
    const uint32_t q = a.extent[d].quotient(i), r = i - q * a.extent[d].d;
    f += static_cast<int64_t>(r) * a.from[d];
    t += static_cast<int64_t>(r) * a.to[d];
    i = q;
  }
  *from = f + static_cast<int64_t>(i) * a.from[0];
  *to = t + static_cast<int64_t>(i) * a.to[0];
}

template <class T> __global__ void __launch_bounds__(kThreads) gather_copy_kernel(const __grid_constant__ CopyArgs a, const T* x, T* y) {
  T v[kUnroll];
  int64_t to[kUnroll];
  const uint32_t first = blockIdx.x * static_cast<uint32_t>(kThreads * kUnroll) + threadIdx.x;
  TERSOR_UNROLL
  for (int u = 0; u < kUnroll; u++) {
    const uint32_t i = first + static_cast<uint32_t>(u * kThreads);
    if (i >= a.count) continue;
    int64_t from;
    place(a, i, &from, &to[u]);
    v[u] = x[from];
  }
  TERSOR_UNROLL
  for (int u = 0; u < kUnroll; u++)
    if (first + static_cast<uint32_t>(u * kThreads) < a.count) y[to[u]] = v[u];
}

// rows x cols of each of a.count matrices: x runs along rows (step 1), y along cols (step 1). A tile has E x E elements.
template <class T> __global__ void __launch_bounds__(kThreads)
transpose_kernel(const __grid_constant__ CopyArgs a, const T* x, T* y, int64_t rows, int64_t cols, int64_t col_from, int64_t row_to, uint32_t tiles_across, uint32_t tiles_down) {
  constexpr int E = sizeof(T) >= 4 ? 32 : 64, step = kThreads / E;
  TERSOR_SHARED(T, tile, E * (E + 4 / static_cast<int>(sizeof(T) < 4 ? sizeof(T) : 4)));
  constexpr int pitch = E + 4 / static_cast<int>(sizeof(T) < 4 ? sizeof(T) : 4);
  const uint32_t matrix = blockIdx.x / (tiles_across * tiles_down), rest = blockIdx.x % (tiles_across * tiles_down);
  const int64_t r0 = static_cast<int64_t>(rest / tiles_across) * E, c0 = static_cast<int64_t>(rest % tiles_across) * E;
  int64_t from, to;
  place(a, matrix, &from, &to);
  const int fast = static_cast<int>(threadIdx.x) % E, slow = static_cast<int>(threadIdx.x) / E;
  TERSOR_UNROLL
  for (int i = 0; i < E; i += step)
    if (r0 + fast < rows && c0 + slow + i < cols) tile[(slow + i) * pitch + fast] = x[from + r0 + fast + (c0 + slow + i) * col_from];
  __syncthreads();
  TERSOR_UNROLL
  for (int i = 0; i < E; i += step)
    if (c0 + fast < cols && r0 + slow + i < rows) y[to + (r0 + slow + i) * row_to + c0 + fast] = tile[fast * pitch + slow + i];
}

struct alignas(16) Wide {
  uint64_t a, b;
};

CopyArgs make_args(const Dims& w, int dims) {
  CopyArgs a{};
  int64_t count = 1;
  for (int d = 0; d < dims; d++) {
    a.extent[d] = FastDivide(static_cast<uint32_t>(w.shape[d]));
    a.from[d] = w.from[d];
    a.to[d] = w.to[d];
    count *= w.shape[d];
  }
  a.rank = dims;
  a.count = static_cast<uint32_t>(count);
  return a;
}

template <class T> Status gather(Stream& s, const Dims& w, const T* x, T* y) {
  const CopyArgs a = make_args(w, w.rank);
  return launch<gather_copy_kernel<T>>(s, ceil_div(int64_t(a.count), int64_t(kThreads * kUnroll)), kThreads, 0, a, x, y);
}

template <class T> Status copy_typed(Stream& s, Dims w, const T* x, T* y) {
  int64_t n = 1;
  for (int d = 0; d < w.rank; d++) n *= w.shape[d];
  if (n > int64_t(1) << 30) {  // halve the outermost dimension
    const int64_t whole = w.shape[0], half = whole / 2;
    w.shape[0] = half;
    TERSOR_TRY(copy_typed(s, w, x, y));
    x += half * w.from[0];
    y += half * w.to[0];
    w.shape[0] = whole - half;
    return copy_typed(s, w, x, y);
  }
  if (w.rank == 0) {
    w.rank = 1;
    w.shape[0] = 1;
    w.from[0] = w.to[0] = 1;
  }
  const int last = w.rank - 1;
  if (w.from[last] == 1 && w.to[last] == 1) {  // rows: as wide as both sides allow
    constexpr int64_t W = 16 / static_cast<int64_t>(sizeof(T));
    bool wide = w.shape[last] % W == 0 && aligned(x, 16) && aligned(y, 16);
    for (int d = 0; d < last; d++) wide = wide && w.from[d] % W == 0 && w.to[d] % W == 0;
    if (wide) {
      w.shape[last] /= W;
      for (int d = 0; d < last; d++) {
        w.from[d] /= W;
        w.to[d] /= W;
      }
      return gather(s, w, reinterpret_cast<const Wide*>(x), reinterpret_cast<Wide*>(y));
    }
  }
  int across = -1;
  if (w.from[last] != 1 && w.to[last] == 1)
    for (int d = 0; d < last; d++)
      if (w.from[d] == 1 && w.shape[d] >= 8 && w.shape[last] >= 8) across = d;
  if (across < 0) return gather(s, w, x, y);
  constexpr int64_t E = sizeof(T) >= 4 ? 32 : 64;
  const int64_t rows = w.shape[across], row_to = w.to[across], cols = w.shape[last], col_from = w.from[last];
  Dims outer;
  for (int d = 0; d < last; d++) {
    if (d == across) continue;
    outer.shape[outer.rank] = w.shape[d];
    outer.from[outer.rank] = w.from[d];
    outer.to[outer.rank++] = w.to[d];
  }
  const CopyArgs a = make_args(outer, outer.rank);
  const int64_t tiles_across = ceil_div(cols, E), tiles_down = ceil_div(rows, E);
  return launch<transpose_kernel<T>>(s, tiles_across * tiles_down * a.count, kThreads, 0, a, x, y, rows, cols, col_from, row_to, static_cast<uint32_t>(tiles_across),
                                     static_cast<uint32_t>(tiles_down));
}

// The part of t that begins at `start` and has x's shape.
TensorRef window(const TensorRef& t, const TensorRef& x, const int64_t* start) {
  TensorRef w = t;
  int64_t offset = 0;
  for (int i = 0; i < t.rank; i++) {
    offset += start[i] * t.stride[i];
    w.shape[i] = x.shape[i];
  }
  w.data = t.as<char>() + offset * dtype_bytes(t.dtype);
  return w;
}

bool overlap(const TensorRef& a, const TensorRef& b) {
  auto end = [](const TensorRef& t) {
    int64_t last = 0;
    for (int i = 0; i < t.rank; i++) last += (t.shape[i] - 1) * t.stride[i];
    return t.as<char>() + (last + 1) * dtype_bytes(t.dtype);
  };
  return a.size() > 0 && b.size() > 0 && a.as<char>() < end(b) && b.as<char>() < end(a);
}

__global__ void __launch_bounds__(kThreads) one_hot_kernel(const int32_t* labels, float* y, int64_t n, int64_t classes, const IndexCheck check) {
  const int64_t step = static_cast<int64_t>(gridDim.x) * kThreads;
  for (int64_t i = static_cast<int64_t>(blockIdx.x) * kThreads + threadIdx.x; i < n * classes; i += step) {
    const int64_t row = i / classes, column = i - row * classes, label = labels[row];
    if (column == 0) check.index(row, label);
    y[i] = column == label ? 1.0f : 0.0f;
  }
}

}  // namespace

Status copy_strided(Stream& s, const TensorRef& src, const TensorRef& dst) {
  if (src.size() == 0) return {};
  if (src.contiguous() && dst.contiguous()) return s.copy(dst.data, src.data, src.bytes());
  const Dims w = make_dims(src, dst);
  switch (dtype_bytes(src.dtype)) {
    case 8: return copy_typed(s, w, src.as<uint64_t>(), dst.as<uint64_t>());
    case 4: return copy_typed(s, w, src.as<uint32_t>(), dst.as<uint32_t>());
    case 2: return copy_typed(s, w, src.as<uint16_t>(), dst.as<uint16_t>());
    default: return copy_typed(s, w, src.as<uint8_t>(), dst.as<uint8_t>());
  }
}

Status dense(Stream& s, const TensorRef& given, TensorRef* out) {
  const TensorRef x = given;  // which may be *out
  *out = x;
  if (x.contiguous()) return {};
  set_shape(*out, x.dtype, x.shape, x.rank);
  char* data;
  TERSOR_TRY(s.scratch(x.bytes(), &data));
  out->data = data;
  return copy_strided(s, x, *out);
}

Status copy_any(Stream& s, copy_args& a) { return copy_strided(s, a.x, a.y); }

Status assign_any(Stream& s, assign_args& a) {
  if (!overlap(a.x, a.value)) return copy_strided(s, a.value, a.x);
  TensorRef copy = a.value;  // views of one buffer: value is read whole before x changes
  set_shape(copy, a.value.dtype, a.value.shape, a.value.rank);
  char* data;
  TERSOR_TRY(s.scratch(copy.bytes(), &data));
  copy.data = data;
  TERSOR_TRY(copy_strided(s, a.value, copy));
  return copy_strided(s, copy, a.x);
}

Status concat2_any(Stream& s, concat2_args& a) {
  const int64_t axis = a.axis < 0 ? a.axis + a.a.rank : a.axis;
  int64_t start[kMaxRank] = {};
  TERSOR_TRY(copy_strided(s, a.a, window(a.y, a.a, start)));
  start[axis] = a.a.shape[axis];
  return copy_strided(s, a.b, window(a.y, a.b, start));
}

Status pad_slice_any(Stream& s, pad_slice_args& a) {
  if (a.x.size() != a.y.size()) TERSOR_TRY(s.fill(a.y.data, 0, a.y.bytes()));
  return copy_strided(s, a.x, window(a.y, a.x, a.start.v));
}

Status one_hot_i32(Stream& s, one_hot_args& a) {
  TensorRef labels;
  TERSOR_TRY(dense(s, a.labels, &labels));
  IndexCheck check;
  TERSOR_TRY(check.open(s, "one_hot", "labels", a.classes));
  return launch<one_hot_kernel>(s, blocks_for(s, a.y.size(), kThreads), kThreads, 0, labels.as<int32_t>(), a.y.as<float>(), a.labels.size(), a.classes, check);
}

}  // namespace cuda
}  // namespace tersor
