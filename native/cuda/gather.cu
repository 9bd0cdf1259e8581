// gather (any element type), scatter_add, gather_along, scatter_along (f32 or f64); semantics of ops/gather.cc and ops/gather_along.cc. Nothing is added
// atomically. scatter_add: a block owns 32 rows and 128 columns of the table, finds the positions that name them in order (the list of indices lies in L2) and a warp adds up
// each of its rows in registers. scatter_along: a thread owns a column around the axis.
#include "cuda/kernels.h"
#include "cuda/nn.h"

namespace tersor {
namespace cuda {
namespace {

// Rows of `units` pieces of type U.
template <class U> __global__ void gather_rows(const U* table, const int32_t* index, U* y, int64_t n, int64_t units, IndexCheck check) {
  const int64_t at = thread_index();
  if (at >= n) return;
  const Divided place = divide(at, units);
  const int64_t row = index[place.q];
  if (check.index(place.q, row)) y[at] = table[row * units + place.r];
}

template <class U> Status gather_units(Stream& stream, const void* table, const int32_t* index, void* y, int64_t bytes, int64_t row_bytes, const IndexCheck& check) {
  const int64_t n = bytes / static_cast<int64_t>(sizeof(U));
  return launch<gather_rows<U>>(stream, Grid{blocks_for(n)}, kThreads, 0, static_cast<const U*>(table), index, static_cast<U*>(y), n,
                                row_bytes / static_cast<int64_t>(sizeof(U)), check);
}

__global__ void check_only(const int32_t* index, int64_t n, IndexCheck check) {
  const int64_t i = thread_index();
  if (i < n) check.index(i, index[i]);
}

constexpr int kScatterOwned = 32, kScatterWarps = kThreads / 32, kHits = 1024;  // rows of a block; positions it keeps at a time
constexpr int64_t kScatterColumns = 128;

template <class T> __global__ void scatter_rows(const T* dy, const int32_t* index, T* out, int64_t count, int64_t rows, int64_t width, IndexCheck check) {
  TERSOR_SHARED(int32_t, position, kHits);
  TERSOR_SHARED(int32_t, owner, kHits);
  TERSOR_SHARED(int, hits_of_warp, kScatterWarps);
  const int lane = static_cast<int>(threadIdx.x % 32), warp = static_cast<int>(threadIdx.x / 32);
  const int64_t first = static_cast<int64_t>(blockIdx.x) * kScatterOwned;
  int hits = 0;
  bool begun = false;
  for (int64_t i0 = 0; i0 < count || !begun;) {
    // Collect positions whose row is here, in order, until the list could overflow.
    for (; i0 < count && hits + kThreads <= kHits; i0 += kThreads) {
      const int64_t i = i0 + threadIdx.x, row = i < count ? index[i] - first : -1;
      if (blockIdx.x == 0 && blockIdx.y == 0 && i < count) check.index(i, index[i]);
      const bool hit = row >= 0 && row < kScatterOwned && first + row < rows;
      const uint32_t found = __ballot_sync(0xffffffffu, hit);
      if (lane == 0) hits_of_warp[warp] = __popc(found);
      __syncthreads();
      int at = hits, total = 0;
      for (int w = 0; w < kScatterWarps; w++) {
        at += w < warp ? hits_of_warp[w] : 0;
        total += hits_of_warp[w];
      }
      at += __popc(found & ((1u << lane) - 1u));
      if (hit) position[at] = static_cast<int32_t>(i), owner[at] = static_cast<int32_t>(row);
      hits += total;
      __syncthreads();
    }
    // Each warp adds its rows, a lane four columns.
    for (int r = warp; r < kScatterOwned && first + r < rows; r += kScatterWarps) {
      T* to = out + (first + r) * width;
      const int64_t j0 = static_cast<int64_t>(blockIdx.y) * kScatterColumns + lane;
      T sum[4];
      TERSOR_UNROLL
      for (int q = 0; q < 4; q++) sum[q] = begun && j0 + 32 * q < width ? to[j0 + 32 * q] : T(0);
      for (int h = 0; h < hits; h++) {
        if (owner[h] != r) continue;
        const T* from = dy + static_cast<int64_t>(position[h]) * width;
        TERSOR_UNROLL
        for (int q = 0; q < 4; q++)
          if (j0 + 32 * q < width) sum[q] += from[j0 + 32 * q];
      }
      TERSOR_UNROLL
      for (int q = 0; q < 4; q++)
        if (j0 + 32 * q < width) to[j0 + 32 * q] = sum[q];
    }
    __syncthreads();
    hits = 0;
    begun = true;
  }
}

struct Axis {
  int64_t outer, n, inner;  // n: of x or dx
  int64_t count;            // of the index at the axis
};
// An index that is a stretched list has stride 1 in `list`, else it is dense.
__device__ inline int64_t index_at(const int32_t* index, bool list, const Axis& a, int64_t o, int64_t m, int64_t i) {
  return list ? index[m] : index[(o * a.count + m) * a.inner + i];
}

template <class T> __global__ void gather_columns(Axis a, const T* x, const int32_t* index, bool list, T* y, IndexCheck check) {
  const int64_t at = thread_index();
  if (at >= a.outer * a.count * a.inner) return;
  const Place p = place_in(at, a.count, a.inner);
  const int64_t from = index_at(index, list, a, p.plane, p.row, p.column);
  if (check.index(list ? p.row : at, from)) y[at] = x[(p.plane * a.n + from) * a.inner + p.column];
}

template <class T> __global__ void scatter_columns(Axis a, const T* dy, const int32_t* index, bool list, T* dx, IndexCheck check) {
  const int64_t column = thread_index();
  if (column >= a.outer * a.inner) return;
  const int64_t o = column / a.inner, i = column % a.inner;
  T* to = dx + o * a.n * a.inner + i;
  for (int64_t k = 0; k < a.n; k++) to[k * a.inner] = T(0);
  for (int64_t m = 0; m < a.count; m++) {
    const int64_t k = index_at(index, list, a, o, m, i);
    if (check.index(list ? m : (o * a.count + m) * a.inner + i, k)) to[k * a.inner] += dy[(o * a.count + m) * a.inner + i];
  }
}

Status open_axis(Stream& stream, const char* op, const TensorRef& x, const TensorRef& index, int64_t axis, Axis* a, const int32_t** at, bool* list, IndexCheck* check) {
  const int k = static_cast<int>(axis < 0 ? axis + x.rank : axis);
  *a = {1, x.shape[k], 1, index.shape[k]};
  for (int i = 0; i < x.rank; i++) (i < k ? a->outer : i == k ? a->count : a->inner) *= i == k ? 1 : x.shape[i];
  TensorRef t = index;
  *list = true;
  for (int i = 0; i < index.rank; i++) *list = *list && (i == k || index.stride[i] == 0 || index.shape[i] == 1);
  if (*list) t.rank = 1, t.shape[0] = index.shape[k], t.stride[0] = index.stride[k];
  TERSOR_TRY(open(stream, t, at));
  return check->open(stream, op, "index", a->n);
}

template <class T> Status along(Stream& stream, gather_along_args& a) {
  Axis axis;
  const int32_t* index;
  bool list;
  IndexCheck check;
  const T* x;
  TERSOR_TRY(open_axis(stream, "gather_along", a.x, a.index, a.axis, &axis, &index, &list, &check));
  const int64_t n = a.y.size();
  if (n == 0) return {};
  TERSOR_TRY(open(stream, a.x, &x));
  return launch<gather_columns<T>>(stream, Grid{blocks_for(n)}, kThreads, 0, axis, x, index, list, a.y.as<T>(), check);
}
template <class T> Status back_along(Stream& stream, scatter_along_args& a) {
  Axis axis;
  const int32_t* index;
  bool list;
  IndexCheck check;
  const T* dy;
  TERSOR_TRY(open_axis(stream, "scatter_along", a.dx, a.index, a.axis, &axis, &index, &list, &check));
  if (a.dx.size() == 0) return {};
  TERSOR_TRY(open(stream, a.dy, &dy));
  return launch<scatter_columns<T>>(stream, Grid{blocks_for(axis.outer * axis.inner)}, kThreads, 0, axis, dy, index, list, a.dx.as<T>(), check);
}

template <class T> Status add_rows(Stream& stream, scatter_add_args& a) {
  const int64_t count = a.index.size();
  const int32_t* index;
  const T* dy;
  TERSOR_TRY(open(stream, a.index, &index));
  IndexCheck check;
  TERSOR_TRY(check.open(stream, "scatter_add", "index", a.rows));
  if (a.dtable.size() == 0) return launch<check_only>(stream, Grid{blocks_for(count)}, kThreads, 0, index, count, check);
  TERSOR_TRY(open(stream, a.dy, &dy));
  const int64_t width = a.dtable.size() / a.rows;
  const Grid grid{blocks_for(a.rows, kScatterOwned), blocks_for(width, kScatterColumns)};
  return launch<scatter_rows<T>>(stream, grid, kThreads, 0, dy, index, a.dtable.as<T>(), count, a.rows, width, check);
}

}  // namespace

Status gather(Stream& stream, gather_args& a) {
  const int64_t count = a.index.size(), rows = a.table.shape[0];
  const int32_t* index;
  TERSOR_TRY(open(stream, a.index, &index));
  if (count == 0) return {};
  IndexCheck check;
  TERSOR_TRY(check.open(stream, "gather", "index", rows));
  if (a.y.size() == 0) return launch<check_only>(stream, Grid{blocks_for(count)}, kThreads, 0, index, count, check);
  const uint8_t* table;
  TERSOR_TRY(open_bytes(stream, a.table, &table));
  const int64_t bytes = a.y.bytes(), row_bytes = bytes / count;
  if (row_bytes % 16 == 0 && is_aligned(table) && is_aligned(a.y.data)) return gather_units<uint4>(stream, table, index, a.y.data, bytes, row_bytes, check);
  const int64_t width = dtype_bytes(a.table.dtype);
  if (width == 8) return gather_units<uint64_t>(stream, table, index, a.y.data, bytes, row_bytes, check);
  if (width == 4) return gather_units<uint32_t>(stream, table, index, a.y.data, bytes, row_bytes, check);
  if (width == 2) return gather_units<uint16_t>(stream, table, index, a.y.data, bytes, row_bytes, check);
  return gather_units<uint8_t>(stream, table, index, a.y.data, bytes, row_bytes, check);
}
Status scatter_add(Stream& stream, scatter_add_args& a) { return a.dy.dtype == DType::f64 ? add_rows<double>(stream, a) : add_rows<float>(stream, a); }
Status gather_along(Stream& stream, gather_along_args& a) { return a.x.dtype == DType::f64 ? along<double>(stream, a) : along<float>(stream, a); }
Status scatter_along(Stream& stream, scatter_along_args& a) {
  return a.dy.dtype == DType::f64 ? back_along<double>(stream, a) : back_along<float>(stream, a);
}

}  // namespace cuda
}  // namespace tersor
