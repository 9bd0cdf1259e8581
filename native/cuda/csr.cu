// csr_from_dense, csr_to_dense, csr_group (contracts: ops/csr_convert.cc, ops/csr_group.cc), bitmask_from_dense and bitmask_to_dense (ops/bitmask.cc): a warp
// per row, 32 columns at a time. from_dense waits for the number of values (the results' size); to_dense waits for the verdict of its checks before it answers.
// Bytes: W twice (count, then write) and what is written.
#include "cuda/offsets.h"

#include "cuda/bitset.h"

namespace tersor {
namespace cuda {
namespace {

template <class V> __global__ void __launch_bounds__(256) count_rows_kernel(const V* w, int64_t rows, int64_t cols, int32_t* counts) {
  for (int64_t r = warp_of_grid(); r < rows; r += warps_of_grid()) {
    int count = 0;
    for (int64_t c = lane_id(); c < cols; c += 32) count += w[r * cols + c] != V(0);
    for (int d = 16; d > 0; d /= 2) count += __shfl_xor_sync(kFullMask, count, d);
    if (lane_id() == 0) counts[r] = count;
  }
}

// columns (u16 or i32) or bits: whichever is there.
template <class V>
__global__ void __launch_bounds__(256) take_kernel(const V* w, int64_t rows, int64_t cols, const int32_t* indptr, V* values, uint16_t* narrow, int32_t* wide, uint8_t* bits) {
  const int lane = lane_id();
  const int64_t bytes = (cols + 7) / 8;
  for (int64_t r = warp_of_grid(); r < rows; r += warps_of_grid()) {
    int64_t at = indptr[r];
    for (int64_t base = 0; base < cols; base += 32) {
      const int64_t c = base + lane;
      const V v = c < cols ? w[r * cols + c] : V(0);
      const unsigned kept = __ballot_sync(kFullMask, v != V(0));
      const int64_t place = at + __popc(kept & ((1u << lane) - 1));
      if (v != V(0)) {
        values[place] = v;
        if (narrow) narrow[place] = static_cast<uint16_t>(c);
        if (wide) wide[place] = static_cast<int32_t>(c);
      }
      if (bits && lane < 4 && base / 8 + lane < bytes) bits[r * bytes + base / 8 + lane] = static_cast<uint8_t>(kept >> (8 * lane));
      at += __popc(kept);
    }
  }
}

// The first row whose offsets, or columns, are not in order. Offsets that are out of range are not followed.
__global__ void __launch_bounds__(256) check_kernel(const int32_t* indptr, int64_t rows, int64_t stored, const uint16_t* narrow, const int32_t* wide, int64_t cols,
                                                    unsigned long long* place) {
  const int64_t step = int64_t(gridDim.x) * 256;
  for (int64_t r = int64_t(blockIdx.x) * 256 + threadIdx.x; r < rows; r += step) {
    const int32_t first = indptr[r], end = indptr[r + 1];
    bool fits = first >= 0 && end >= first && end <= stored && (r > 0 || first == 0) && (r + 1 < rows || end == stored);
    int64_t before = -1;
    for (int32_t e = first; fits && (narrow || wide) && e < end; e++) {
      const int64_t c = narrow ? int64_t(narrow[e]) : int64_t(wide[e]);
      fits = c > before && c < cols;
      before = c;
    }
    if (!fits) report(place, r);
  }
  if (rows == 0 && blockIdx.x == 0 && threadIdx.x == 0 && (indptr[0] != 0 || stored != 0)) report(place, 0);
}

template <class V>
__global__ void __launch_bounds__(256) place_kernel(const V* values, const int32_t* indptr, const uint16_t* narrow, const int32_t* wide, int64_t rows, int64_t cols, V* w) {
  const int lane = lane_id();
  for (int64_t r = warp_of_grid(); r < rows; r += warps_of_grid()) {
    for (int64_t c = lane; c < cols; c += 32) w[r * cols + c] = V(0);
    __syncwarp();
    for (int64_t e = indptr[r] + lane; e < indptr[r + 1]; e += 32) w[r * cols + (narrow ? int64_t(narrow[e]) : int64_t(wide[e]))] = values[e];
  }
}

// Rows whose bits are not as many as their values, or not 0 behind the last column, are reported; nothing outside is read for them.
template <class V>
__global__ void __launch_bounds__(256) spread_kernel(const V* values, const int32_t* indptr, const uint8_t* bits, int64_t rows, int64_t cols, V* w, unsigned long long* place) {
  const int lane = lane_id();
  const int64_t bytes = (cols + 7) / 8;
  for (int64_t r = warp_of_grid(); r < rows; r += warps_of_grid()) {
    int64_t at = indptr[r];
    const int64_t end = indptr[r + 1];
    bool fits = true;
    for (int64_t base = 0; base < bytes * 8; base += 32) {
      const int64_t c = base + lane;
      const bool on = c < bytes * 8 && (bits[r * bytes + c / 8] >> (c % 8) & 1);
      const unsigned kept = __ballot_sync(kFullMask, on);
      const int64_t from = at + __popc(kept & ((1u << lane) - 1));
      fits = fits && (!on || (c < cols && from < end));
      if (c < cols) w[r * cols + c] = on && from < end ? values[from] : V(0);
      at += __popc(kept);
    }
    if (!__all_sync(kFullMask, fits) || at != end)
      if (lane == 0) report(place, r);
  }
}

Grid rows_grid(const Stream& s, int64_t rows) { return Grid(blocks_for(s, rows, 8)); }

template <class V> Status from_dense(Stream& s, const TensorRef& w, TensorRef& values, TensorRef& indptr, uint16_t* narrow, int32_t* wide, uint8_t* bits, int32_t* total) {
  const int64_t rows = w.shape[0], cols = w.shape[1];
  int32_t* offsets = indptr.as<int32_t>();
  TERSOR_TRY(launch<count_rows_kernel<V>>(s, rows_grid(s, rows), 256, 0, w.as<const V>(), rows, cols, offsets));
  TERSOR_TRY(offsets_from_counts(s, offsets, rows, offsets));
  TERSOR_TRY(launch<take_kernel<V>>(s, rows_grid(s, rows), 256, 0, w.as<const V>(), rows, cols, offsets, values.as<V>(), narrow, wide, bits));
  return s.download(total, offsets + rows, 4);
}

Status check_structure(Stream& s, const char* op, const TensorRef& indptr, int64_t stored, const TensorRef* columns, int64_t cols) {
  const int64_t rows = indptr.shape[0] - 1;
  Verdict verdict;
  TERSOR_TRY(verdict.open(s));
  const bool narrow = columns && columns->dtype == DType::u16;
  TERSOR_TRY(launch<check_kernel>(s, Grid(blocks_for(s, rows + 1, 256)), 256, 0, indptr.as<const int32_t>(), rows, stored, narrow ? columns->as<const uint16_t>() : nullptr,
                                  columns && !narrow ? columns->as<const int32_t>() : nullptr, cols, verdict.place));
  unsigned long long at;
  TERSOR_TRY(verdict.read(s, &at));
  if (at == Verdict::kNone) return {};
  return fail(Code::model_format, "%s: offsets must begin at 0, rise, and end at the number of values %lld; columns of a row must ascend within [0, %lld): not so in row %lld",
              op, static_cast<long long>(stored), static_cast<long long>(cols), static_cast<long long>(at));
}

Status not_matching(const char* op) { return fail(Code::model_format, "%s: the bits of a row must be as many as its values, and 0 from cols on", op); }

template <class V> Status bits_to_dense(Stream& s, bitmask_to_dense_args& a, const TensorRef& values, const TensorRef& indptr, const TensorRef& bits) {
  const int64_t rows = a.w.shape[0];
  Verdict verdict;
  TERSOR_TRY(verdict.open(s));
  TERSOR_TRY(launch<spread_kernel<V>>(s, rows_grid(s, rows), 256, 0, values.as<const V>(), indptr.as<const int32_t>(), bits.as<const uint8_t>(), rows, a.cols, a.w.as<V>(),
                                      verdict.place));
  unsigned long long at;
  TERSOR_TRY(verdict.read(s, &at));
  return at == Verdict::kNone ? Status{} : not_matching("bitmask_to_dense");
}

}  // namespace

Status csr_from_dense_cuda(Stream& s, csr_from_dense_args& a) {
  TensorRef w;
  TERSOR_TRY(dense(s, a.w, &w));
  uint16_t* narrow = a.columns.dtype == DType::u16 ? a.columns.as<uint16_t>() : nullptr;
  int32_t* wide = narrow ? nullptr : a.columns.as<int32_t>();
  int32_t total = 0;
  TERSOR_TRY(w.dtype == DType::f32 ? from_dense<float>(s, w, a.values, a.indptr, narrow, wide, nullptr, &total)
                                   : from_dense<int8_t>(s, w, a.values, a.indptr, narrow, wide, nullptr, &total));
  a.values.shape[0] = a.columns.shape[0] = total;
  return {};
}

Status csr_to_dense_cuda(Stream& s, csr_to_dense_args& a) {
  TensorRef values, indptr, columns;
  TERSOR_TRY(dense(s, a.values, &values));
  TERSOR_TRY(dense(s, a.indptr, &indptr));
  TERSOR_TRY(dense(s, a.columns, &columns));
  TERSOR_TRY(check_structure(s, "csr_to_dense", indptr, values.shape[0], &columns, a.cols));
  const int64_t rows = a.w.shape[0];
  const uint16_t* narrow = columns.dtype == DType::u16 ? columns.as<const uint16_t>() : nullptr;
  const int32_t* wide = narrow ? nullptr : columns.as<const int32_t>();
  if (values.dtype == DType::f32)
    return launch<place_kernel<float>>(s, rows_grid(s, rows), 256, 0, values.as<const float>(), indptr.as<const int32_t>(), narrow, wide, rows, a.cols, a.w.as<float>());
  return launch<place_kernel<int8_t>>(s, rows_grid(s, rows), 256, 0, values.as<const int8_t>(), indptr.as<const int32_t>(), narrow, wide, rows, a.cols, a.w.as<int8_t>());
}

// The products of the device need no other order of the values: u8[0], which means none. The structure is checked as on the CPU.
Status csr_group_cuda(Stream& s, csr_group_args& a) {
  TensorRef indptr, columns;
  TERSOR_TRY(dense(s, a.indptr, &indptr));
  TERSOR_TRY(dense(s, a.columns, &columns));
  a.packed.shape[0] = 0;
  return check_structure(s, "csr_group", indptr, a.values.shape[0], &columns, a.cols);
}

Status bitmask_from_dense_cuda(Stream& s, bitmask_from_dense_args& a) {
  TensorRef w;
  TERSOR_TRY(dense(s, a.w, &w));
  int32_t total = 0;
  TERSOR_TRY(w.dtype == DType::f32 ? from_dense<float>(s, w, a.values, a.indptr, nullptr, nullptr, a.bits.as<uint8_t>(), &total)
                                   : from_dense<int8_t>(s, w, a.values, a.indptr, nullptr, nullptr, a.bits.as<uint8_t>(), &total));
  a.values.shape[0] = total;
  return {};
}

Status bitmask_to_dense_cuda(Stream& s, bitmask_to_dense_args& a) {
  TensorRef values, indptr, bits;
  TERSOR_TRY(dense(s, a.values, &values));
  TERSOR_TRY(dense(s, a.indptr, &indptr));
  TERSOR_TRY(dense(s, a.bits, &bits));
  TERSOR_TRY(check_structure(s, "bitmask_to_dense", indptr, values.shape[0], nullptr, a.cols));
  return values.dtype == DType::f32 ? bits_to_dense<float>(s, a, values, indptr, bits) : bits_to_dense<int8_t>(s, a, values, indptr, bits);
}

}  // namespace cuda
}  // namespace tersor
