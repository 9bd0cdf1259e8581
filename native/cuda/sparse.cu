// Products with the other sparse formats, and their conversions: bsr (1x16, 4x4, 16x1), bitmask, two of four (contracts: ops/bsr_linear.cc, ops/bsr_convert.cc,
// ops/bitmask.cc, ops/nm_sparse.cc). A product lists the columns of all entries first (blocks also their values, row by row), in scratch memory: 2 bytes, or 6,
// an entry, small beside x for more than a few vectors; then it is the product of CSR (spmm.cu). Conversions wait where a size or a check needs it.
#include "cuda/bitset.h"
#include "cuda/offsets.h"
#include "cuda/spmm.h"

namespace tersor {
namespace cuda {
namespace {

struct Blocks {
  int64_t rows, cols;              // of the matrix
  int block_rows, block_cols;
  int64_t down, across;            // blocks
};
Blocks blocks_of(int64_t rows, int64_t cols, int64_t block_rows, int64_t block_cols) {
  return {rows, cols, static_cast<int>(block_rows), static_cast<int>(block_cols), ceil_div(rows, block_rows), ceil_div(cols, block_cols)};
}

template <class V> __device__ bool any_in_block(const V* w, const Blocks& b, int64_t i, int64_t j, V* out) {
  bool any = false;
  for (int t = 0; t < 16; t++) {
    const int64_t r = i * b.block_rows + t / b.block_cols, c = j * b.block_cols + t % b.block_cols;
    out[t] = r < b.rows && c < b.cols ? w[r * b.cols + c] : V(0);
    any = any || out[t] != V(0);
  }
  return any;
}

// values null: counts only.
template <class V>
__global__ void __launch_bounds__(256) blocks_kernel(const V* w, const Blocks b, int32_t* counts, const int32_t* indptr, V* values, uint16_t* columns) {
  const int lane = lane_id();
  for (int64_t i = warp_of_grid(); i < b.down; i += warps_of_grid()) {
    int64_t at = values ? indptr[i] : 0;
    for (int64_t base = 0; base < b.across; base += 32) {
      V block[16];
      const int64_t j = base + lane;
      const bool any = j < b.across && any_in_block(w, b, i, j, block);
      const unsigned kept = __ballot_sync(kFullMask, any);
      if (values && any) {
        const int64_t e = at + __popc(kept & ((1u << lane) - 1));
        columns[e] = static_cast<uint16_t>(j);
        for (int t = 0; t < 16; t++) values[e * 16 + t] = block[t];
      }
      at += __popc(kept);
    }
    if (!values && lane == 0) counts[i] = static_cast<int32_t>(at);
  }
}

template <class V>
__global__ void __launch_bounds__(256) check_blocks_kernel(const V* values, const int32_t* indptr, const uint16_t* columns, int64_t stored, const Blocks b, unsigned long long* place) {
  const int64_t step = int64_t(gridDim.x) * 256;
  for (int64_t i = int64_t(blockIdx.x) * 256 + threadIdx.x; i < b.down; i += step) {
    const int32_t first = indptr[i], end = indptr[i + 1];
    bool fits = first >= 0 && end >= first && end <= stored && (i > 0 || first == 0) && (i + 1 < b.down || end == stored);
    int64_t before = -1;
    for (int32_t e = first; fits && e < end; e++) {
      const int64_t j = columns[e];
      fits = j > before && j < b.across;
      before = j;
      for (int t = 0; fits && t < 16; t++)
        if ((i * b.block_rows + t / b.block_cols >= b.rows || j * b.block_cols + t % b.block_cols >= b.cols) && values[int64_t(e) * 16 + t] != V(0)) fits = false;
    }
    if (!fits) report(place, i);
  }
  if (b.down == 0 && blockIdx.x == 0 && threadIdx.x == 0 && (indptr[0] != 0 || stored != 0)) report(place, 0);
}

template <class V>
__global__ void __launch_bounds__(256) place_blocks_kernel(const V* values, const int32_t* indptr, const uint16_t* columns, const Blocks b, V* w) {
  for (int64_t i = blockIdx.x; i < b.down; i += gridDim.x) {
    const int64_t first = i * b.block_rows * b.cols, stop = (i + 1) * b.block_rows < b.rows ? (i + 1) * b.block_rows * b.cols : b.rows * b.cols;
    for (int64_t at = first + threadIdx.x; at < stop; at += 256) w[at] = V(0);
    __syncthreads();
    for (int64_t at = int64_t(indptr[i]) * 16 + threadIdx.x; at < int64_t(indptr[i + 1]) * 16; at += 256) {
      const int t = static_cast<int>(at % 16);
      const int64_t r = i * b.block_rows + t / b.block_cols, c = int64_t(columns[at / 16]) * b.block_cols + t % b.block_cols;
      if (r < b.rows && c < b.cols) w[r * b.cols + c] = values[at];
    }
    __syncthreads();
  }
}

// The entries of blocks as CSR: row r of block row i begins at indptr[i] * 16 + (r - first row) * entries of a row.
template <class V>
__global__ void __launch_bounds__(256) list_blocks_kernel(const V* values, const int32_t* indptr, const uint16_t* columns, int64_t stored, const Blocks b, int32_t* offsets,
                                                          int32_t* listed, V* out) {
  for (int64_t i = blockIdx.x; i < b.down; i += gridDim.x) {
    int64_t first = indptr[i], end = indptr[i + 1];
    const bool fits = first >= 0 && end >= first && end <= stored;
    if (!fits) first = end = 0;  // offsets that fall: the product finds that they do not match
    const int64_t per_row = (end - first) * b.block_cols;
    for (int r = threadIdx.x; r < b.block_rows; r += 256)
      if (i * b.block_rows + r < b.rows) offsets[i * b.block_rows + r] = static_cast<int32_t>(first * 16 + r * per_row);
    if (i == b.down - 1 && threadIdx.x == 0) offsets[b.rows] = static_cast<int32_t>(first * 16 + (b.rows - i * b.block_rows) * per_row);
    for (int64_t at = threadIdx.x; at < (end - first) * 16; at += 256) {
      const int64_t e = at / 16;
      const int t = static_cast<int>(at % 16);
      const int64_t to = first * 16 + t / b.block_cols * per_row + e * b.block_cols + t % b.block_cols;
      const int64_t column = fits ? int64_t(columns[first + e]) * b.block_cols + t % b.block_cols : -1;
      listed[to] = static_cast<int32_t>(column >= b.across * b.block_cols ? -1 : column);
      out[to] = values[(first + e) * 16 + t];
    }
  }
}

// Codes of x less the zero point; NaN becomes the zero point.
__global__ void __launch_bounds__(256) codes_kernel(const float* x, int64_t n, float scale, int32_t zero, int32_t* q) {
  const int64_t step = int64_t(gridDim.x) * 256;
  for (int64_t i = int64_t(blockIdx.x) * 256 + threadIdx.x; i < n; i += step) {
    float t = x[i] / scale;
    t = t == t ? t : 0.0f;
    t = t > -512.0f ? t : -512.0f;
    t = t < 512.0f ? t : 512.0f;
    int32_t code = __float2int_rn(t) + zero;
    code = code < 0 ? 0 : code > 255 ? 255 : code;
    q[i] = code - zero;
  }
}

// Columns of a row's bits; -1 (damage) where there are more places than bits.
__global__ void __launch_bounds__(256) list_bits_kernel(const int32_t* indptr, const uint8_t* bits, int64_t rows, int64_t cols, int64_t stored, int32_t* columns) {
  const int lane = lane_id();
  const int64_t bytes = (cols + 7) / 8;
  for (int64_t r = warp_of_grid(); r < rows; r += warps_of_grid()) {
    int64_t at = indptr[r], end = indptr[r + 1];
    if (at < 0 || end < at || end > stored) continue;
    bool more = false;  // bits without a value
    const int64_t first = at;
    for (int64_t base = 0; base < bytes * 8; base += 32) {
      const int64_t c = base + lane;
      const bool on = c < bytes * 8 && (bits[r * bytes + c / 8] >> (c % 8) & 1);
      const unsigned kept = __ballot_sync(kFullMask, on);
      const int64_t to = at + __popc(kept & ((1u << lane) - 1));
      if (on && to < end) columns[to] = static_cast<int32_t>(c);
      at += __popc(kept);
      more = at > end;
    }
    for (int64_t e = (at < end ? at : end) + lane; e < end; e += 32) columns[e] = -1;
    __syncwarp();
    if (more && lane == 0 && first < end) columns[first] = -1;
  }
}

constexpr int kPlaces = 4;

template <class V> __global__ void __launch_bounds__(256) take_two_kernel(const V* w, int64_t rows, int64_t cols, V* values, uint8_t* indices, unsigned long long* place) {
  const int64_t groups = (cols + 3) / 4, bytes = (groups + 1) / 2, step = int64_t(gridDim.x) * 256;
  for (int64_t i = int64_t(blockIdx.x) * 256 + threadIdx.x; i < rows * bytes; i += step) {
    const int64_t r = i / bytes;
    unsigned byte = 0;
    for (int half = 0; half < 2; half++) {
      const int64_t g = i % bytes * 2 + half;
      if (g >= groups) continue;
      V v[kPlaces];
      int first = 0, second = 1, count = 0;
      for (int j = 0; j < kPlaces; j++) {
        v[j] = 4 * g + j < cols ? w[r * cols + 4 * g + j] : V(0);
        if (v[j] == V(0)) continue;
        if (count == 0) first = j;
        if (count == 1) second = j;
        count++;
      }
      if (count > 2) report(place, r * groups + g);
      if (count == 1) {  // the other place is any free one, in order
        if (first == 3) first = 2, second = 3;
        else second = first + 1;
      }
      V low = V(0), high = V(0);
      for (int j = 0; j < kPlaces; j++) low = j == first ? v[j] : low, high = j == second ? v[j] : high;
      values[(r * groups + g) * 2] = low, values[(r * groups + g) * 2 + 1] = high;
      byte |= static_cast<unsigned>(first | second << 2) << (half * 4);
    }
    indices[i] = static_cast<uint8_t>(byte);
  }
}

template <class V> __global__ void __launch_bounds__(256) place_two_kernel(const V* values, const uint8_t* indices, int64_t rows, int64_t cols, V* w, unsigned long long* place) {
  const int64_t groups = (cols + 3) / 4, bytes = (groups + 1) / 2, step = int64_t(gridDim.x) * 256;
  for (int64_t i = int64_t(blockIdx.x) * 256 + threadIdx.x; i < rows * bytes * 2; i += step) {
    const int64_t r = i / (bytes * 2), g = i % (bytes * 2);
    const int nibble = indices[r * bytes + g / 2] >> (g % 2 * 4) & 15, first = nibble & 3, second = nibble >> 2;
    bool fits = g < groups ? first < second : nibble == 0;
    if (g < groups) {
      const V low = values[(r * groups + g) * 2], high = values[(r * groups + g) * 2 + 1];
      for (int j = 0; j < kPlaces; j++) {
        const V v = j == second ? high : j == first ? low : V(0);
        if (4 * g + j < cols) w[r * cols + 4 * g + j] = v;
        else fits = fits && v == V(0);
      }
    }
    if (!fits) report(place, i);
  }
}

__global__ void __launch_bounds__(256) list_two_kernel(const uint8_t* indices, int64_t rows, int64_t groups, int32_t* offsets, int32_t* columns) {
  const int64_t bytes = (groups + 1) / 2, step = int64_t(gridDim.x) * 256, first = int64_t(blockIdx.x) * 256 + threadIdx.x;
  for (int64_t i = first; i < rows * groups; i += step) {
    const int64_t g = i % groups;
    const int nibble = indices[i / groups * bytes + g / 2] >> (g % 2 * 4);
    columns[2 * i] = static_cast<int32_t>(4 * g + (nibble & 3)), columns[2 * i + 1] = static_cast<int32_t>(4 * g + (nibble >> 2 & 3));
  }
  for (int64_t r = first; r <= rows; r += step) offsets[r] = static_cast<int32_t>(r * groups * 2);
}

template <class V> Status bsr_from(Stream& s, bsr_from_dense_args& a, const TensorRef& w) {
  const Blocks b = blocks_of(w.shape[0], w.shape[1], a.block_rows, a.block_cols);
  int32_t *indptr = a.indptr.as<int32_t>(), total = 0;
  const Grid grid(blocks_for(s, b.down, 8));
  TERSOR_TRY(launch<blocks_kernel<V>>(s, grid, 256, 0, w.as<const V>(), b, indptr, nullptr, nullptr, nullptr));
  TERSOR_TRY(offsets_from_counts(s, indptr, b.down, indptr));
  TERSOR_TRY(launch<blocks_kernel<V>>(s, grid, 256, 0, w.as<const V>(), b, nullptr, indptr, a.values.as<V>(), a.columns.as<uint16_t>()));
  TERSOR_TRY(s.download(&total, indptr + b.down, 4));
  a.columns.shape[0] = total, a.values.shape[0] = int64_t(total) * 16;
  return {};
}

template <class V> Status bsr_to(Stream& s, bsr_to_dense_args& a, const TensorRef& values, const TensorRef& indptr, const TensorRef& columns) {
  const Blocks b = blocks_of(a.rows, a.cols, a.block_rows, a.block_cols);
  Verdict verdict;
  TERSOR_TRY(verdict.open(s));
  TERSOR_TRY(launch<check_blocks_kernel<V>>(s, blocks_for(s, b.down + 1, 256), 256, 0, values.as<const V>(), indptr.as<const int32_t>(), columns.as<const uint16_t>(),
                                            columns.shape[0], b, verdict.place));
  unsigned long long at;
  TERSOR_TRY(verdict.read(s, &at));
  if (at != Verdict::kNone)
    return fail(Code::model_format, "bsr_to_dense: offsets must rise to the number of blocks %lld, columns ascend within [0, %lld), and values outside the matrix be 0: not so in block row %lld",
                static_cast<long long>(columns.shape[0]), static_cast<long long>(b.across), static_cast<long long>(at));
  return launch<place_blocks_kernel<V>>(s, blocks_for(s, b.down, 1), 256, 0, values.as<const V>(), indptr.as<const int32_t>(), columns.as<const uint16_t>(), b, a.w.as<V>());
}

template <class V> Status list_blocks(Stream& s, const bsr_linear_args& a, const Blocks& b, const TensorRef& values, SparseMatrix* w) {
  TensorRef indptr, columns;
  TERSOR_TRY(dense(s, a.indptr, &indptr));
  TERSOR_TRY(dense(s, a.columns, &columns));
  int32_t *offsets, *listed;
  V* out;
  const int64_t stored = columns.shape[0];
  TERSOR_TRY(s.scratch(b.rows + 1, &offsets));
  TERSOR_TRY(s.scratch(stored * 16, &listed));
  TERSOR_TRY(s.scratch(stored * 16, &out));
  TERSOR_TRY(launch<list_blocks_kernel<V>>(s, blocks_for(s, b.down, 1), 256, 0, values.as<const V>(), indptr.as<const int32_t>(), columns.as<const uint16_t>(), stored, b, offsets,
                                           listed, out));
  w->indptr = offsets, w->columns = listed, w->values = out, w->stored = stored * 16;
  return {};
}

int64_t vectors_of(const TensorRef& x) {
  int64_t m = 1;
  for (int i = 0; i + 1 < x.rank; i++) m *= x.shape[i];
  return m;
}

}  // namespace

Status bsr_from_dense_cuda(Stream& s, bsr_from_dense_args& a) {
  TensorRef w;
  TERSOR_TRY(dense(s, a.w, &w));
  return w.dtype == DType::f32 ? bsr_from<float>(s, a, w) : bsr_from<int8_t>(s, a, w);
}

Status bsr_to_dense_cuda(Stream& s, bsr_to_dense_args& a) {
  TensorRef values, indptr, columns;
  TERSOR_TRY(dense(s, a.values, &values));
  TERSOR_TRY(dense(s, a.indptr, &indptr));
  TERSOR_TRY(dense(s, a.columns, &columns));
  return values.dtype == DType::f32 ? bsr_to<float>(s, a, values, indptr, columns) : bsr_to<int8_t>(s, a, values, indptr, columns);
}

Status bsr_linear_cuda(Stream& s, bsr_linear_args& a) {
  if (a.y.size() == 0) return {};
  TensorRef x, values;
  TERSOR_TRY(dense(s, a.x, &x));
  TERSOR_TRY(dense(s, a.values, &values));
  const int64_t k = a.x.dim(-1), m = vectors_of(a.x);
  const Blocks b = blocks_of(a.rows, k, a.block_rows, a.block_cols);
  SparseMatrix w;
  w.rows = a.rows, w.cols = k, w.wide = true, w.padded = true, w.quantized = values.dtype == DType::i8;
  TERSOR_TRY(w.quantized ? list_blocks<int8_t>(s, a, b, values, &w) : list_blocks<float>(s, a, b, values, &w));
  TERSOR_TRY(open_epilogue(s, a.scale, a.bias, &w));
  if (!(a.x_scale > 0)) return spmm(s, w, Vectors::rows, x.as<const float>(), m, a.y.as<float>());
  int32_t* q;
  TERSOR_TRY(s.scratch(m * k, &q));
  TERSOR_TRY(launch<codes_kernel>(s, blocks_for(s, m * k, 256), 256, 0, x.as<const float>(), m * k, static_cast<float>(a.x_scale), static_cast<int32_t>(a.x_zero), q));
  w.factor = static_cast<float>(a.x_scale);
  return spmm_s32(s, w, q, m, a.y.as<float>());
}

Status bitmask_linear_cuda(Stream& s, bitmask_linear_args& a) {
  if (a.y.size() == 0) return {};
  TensorRef x, values, indptr, bits;
  TERSOR_TRY(dense(s, a.x, &x));
  TERSOR_TRY(dense(s, a.values, &values));
  TERSOR_TRY(dense(s, a.indptr, &indptr));
  TERSOR_TRY(dense(s, a.bits, &bits));
  SparseMatrix w;
  w.rows = a.indptr.shape[0] - 1, w.cols = a.x.dim(-1), w.stored = values.shape[0], w.wide = true, w.quantized = values.dtype == DType::i8;
  int32_t* columns;
  TERSOR_TRY(s.scratch(w.stored, &columns));
  TERSOR_TRY(launch<list_bits_kernel>(s, blocks_for(s, w.rows, 8), 256, 0, indptr.as<const int32_t>(), bits.as<const uint8_t>(), w.rows, w.cols, w.stored, columns));
  w.indptr = indptr.as<const int32_t>(), w.columns = columns, w.values = values.data;
  TERSOR_TRY(open_epilogue(s, a.scale, a.bias, &w));
  return spmm(s, w, Vectors::rows, x.as<const float>(), vectors_of(a.x), a.y.as<float>());
}

Status nm_from_dense_cuda(Stream& s, nm_from_dense_args& a) {
  const int64_t rows = a.w.shape[0], cols = a.w.shape[1], groups = (cols + 3) / 4;
  if (rows * cols == 0) return {};
  TensorRef w;
  TERSOR_TRY(dense(s, a.w, &w));
  Verdict verdict;
  TERSOR_TRY(verdict.open(s));
  const Grid grid(blocks_for(s, a.indices.size(), 256));
  TERSOR_TRY(w.dtype == DType::f32
               ? launch<take_two_kernel<float>>(s, grid, 256, 0, w.as<const float>(), rows, cols, a.values.as<float>(), a.indices.as<uint8_t>(), verdict.place)
               : launch<take_two_kernel<int8_t>>(s, grid, 256, 0, w.as<const int8_t>(), rows, cols, a.values.as<int8_t>(), a.indices.as<uint8_t>(), verdict.place));
  unsigned long long at;
  TERSOR_TRY(verdict.read(s, &at));
  if (at == Verdict::kNone) return {};
  const long long g = static_cast<long long>(at) % groups, row = static_cast<long long>(at) / groups;
  return fail(Code::data, "nm_from_dense: at most 2 of 4 values may differ from 0, but columns %lld to %lld of row %lld hold more (prune 2:4 first)", g * 4, g * 4 + 3, row);
}

Status nm_to_dense_cuda(Stream& s, nm_to_dense_args& a) {
  const int64_t rows = a.values.shape[0], bytes = a.indices.shape[1];
  if (a.indices.size() == 0) return {};
  TensorRef values, indices;
  TERSOR_TRY(dense(s, a.values, &values));
  TERSOR_TRY(dense(s, a.indices, &indices));
  Verdict verdict;
  TERSOR_TRY(verdict.open(s));
  const Grid grid(blocks_for(s, rows * bytes * 2, 256));
  TERSOR_TRY(values.dtype == DType::f32
               ? launch<place_two_kernel<float>>(s, grid, 256, 0, values.as<const float>(), indices.as<const uint8_t>(), rows, a.cols, a.w.as<float>(), verdict.place)
               : launch<place_two_kernel<int8_t>>(s, grid, 256, 0, values.as<const int8_t>(), indices.as<const uint8_t>(), rows, a.cols, a.w.as<int8_t>(), verdict.place));
  unsigned long long at;
  TERSOR_TRY(verdict.read(s, &at));
  if (at == Verdict::kNone) return {};
  return fail(Code::model_format, "nm_to_dense: group %lld of row %lld: places must ascend, and nothing but 0 stand beyond column %lld", static_cast<long long>(at) % (bytes * 2),
              static_cast<long long>(at) / (bytes * 2), static_cast<long long>(a.cols - 1));
}

Status nm_linear_cuda(Stream& s, nm_linear_args& a) {
  if (a.y.size() == 0) return {};
  TensorRef x, values, indices;
  TERSOR_TRY(dense(s, a.x, &x));
  TERSOR_TRY(dense(s, a.values, &values));
  TERSOR_TRY(dense(s, a.indices, &indices));
  const int64_t rows = a.values.shape[0], groups = (a.x.dim(-1) + 3) / 4;
  SparseMatrix w;
  w.rows = rows, w.cols = a.x.dim(-1), w.stored = rows * groups * 2, w.wide = true, w.padded = true, w.quantized = values.dtype == DType::i8;
  int32_t *offsets, *columns;
  TERSOR_TRY(s.scratch(rows + 1, &offsets));
  TERSOR_TRY(s.scratch(w.stored, &columns));
  TERSOR_TRY(launch<list_two_kernel>(s, blocks_for(s, rows * groups + rows + 1, 256), 256, 0, indices.as<const uint8_t>(), rows, groups, offsets, columns));
  w.indptr = offsets, w.columns = columns, w.values = values.data;
  TERSOR_TRY(open_epilogue(s, a.scale, a.bias, &w));
  return spmm(s, w, Vectors::rows, x.as<const float>(), vectors_of(a.x), a.y.as<float>());
}

}  // namespace cuda
}  // namespace tersor
