// Sparse matrices as a bit set: bits u8 [rows, ceil(cols / 8)] (bit c % 8 of byte c / 8, least significant first, says that the element is stored; bits
// from cols on are 0), values f32 or i8 in row-major order, indptr i32 [rows + 1]: where the values of each row begin.
// bitmask_from_dense(w) keeps what is not zero (NaN is kept; -0 is a zero). bitmask_to_dense and bitmask_linear check the offsets and that each row
// has as many bits as values: ERR_MODEL_FORMAT.
#include <atomic>
#include <cstring>

#include "kernels/spmm/vector.h"
#include "ops/sparse_shape.h"

namespace tersor {
namespace {

Status check_types(const char* op, const TensorRef& values, const TensorRef& indptr, const TensorRef& bits, int64_t cols) {
  if (values.dtype != DType::f32 && values.dtype != DType::i8) return fail(Code::dtype, "%s: values must be f32 or i8, got %s", op, TERSOR_TEXT(values));
  TERSOR_TRY(expect_dtype(op, "indptr", indptr, DType::i32));
  TERSOR_TRY(expect_dtype(op, "bits", bits, DType::u8));
  TERSOR_TRY(expect_rank(op, "values", values, 1));
  TERSOR_TRY(expect_rank(op, "indptr", indptr, 1));
  if (indptr.shape[0] < 1) return fail(Code::shape, "%s: indptr must have rows + 1 entries, got none", op);
  const int64_t shape[2] = {indptr.shape[0] - 1, (cols + 7) / 8};
  return expect_shape(op, "bits", bits, shape, 2);
}

Status check_cols(const char* op, int64_t cols) {
  if (cols < 0) return fail(Code::option, "%s: cols must be >= 0, got %lld", op, static_cast<long long>(cols));
  if (cols > 65536) return fail(Code::limit, "%s: at most 65536 columns, got %lld", op, static_cast<long long>(cols));
  return {};
}

Status not_matching(const char* op) { return fail(Code::model_format, "%s: the bits of a row must be as many as its values, and 0 from cols on", op); }

int lowest_bit(uint64_t word) {
#if defined(__GNUC__)
  return __builtin_ctzll(word);
#else
  int n = 0;
  for (; !(word & 1); word >>= 1) n++;
  return n;
#endif
}

constexpr uint64_t kEach16 = 0x0001000100010001u;

// The places of a byte's bits as 16-bit numbers, the lowest first, and how many they are.
struct ByteTable {
  uint16_t places[256][8];
  uint8_t count[256];
  ByteTable() {
    for (int byte = 0; byte < 256; byte++) {
      int n = 0;
      for (int bit = 0; bit < 8; bit++)
        if (byte >> bit & 1) places[byte][n++] = static_cast<uint16_t>(bit);
      count[byte] = static_cast<uint8_t>(n);
      while (n < 8) places[byte][n++] = 0;
    }
  }
};
const ByteTable& byte_table() {
  static const ByteTable table;
  return table;
}

struct Index {
  const int32_t* indptr;
  const uint8_t* bits;
  int64_t cols;
};

uint64_t word_at(const uint8_t* bits, int64_t b, int64_t bytes) {
  uint64_t word = 0;
  if (b + 8 <= bytes) memcpy(&word, bits + b, 8);
  else
    for (int64_t i = b; i < bytes; i++) word |= static_cast<uint64_t>(bits[i]) << (8 * (i - b));
  return word;
}

// Columns of the stored elements of rows [begin, end); false where their number is not what indptr says. A byte at a time and without a branch, which
// writes up to 8 numbers too many that the next ones overwrite; near the end, where nothing may be overwritten, one by one.
bool decode(const void* context, int64_t begin, int64_t end, uint16_t* out) {
  const Index& index = *static_cast<const Index*>(context);
  const ByteTable& table = byte_table();
  const int64_t bytes = (index.cols + 7) / 8;
  const uint16_t* const stop = out + (index.indptr[end] - index.indptr[begin]);
  for (int64_t r = begin; r < end; r++) {
    const uint8_t* bits = index.bits + r * bytes;
    const uint16_t* const next = out + (index.indptr[r + 1] - index.indptr[r]);
    for (int64_t b = 0; b < bytes; b += 8) {
      uint64_t word = word_at(bits, b, bytes);
      if (stop - out >= 72) {
        uint64_t first = static_cast<uint64_t>(b) * 8 * kEach16;
        for (int i = 0; i < 8; i++, word >>= 8, first += 8 * kEach16) {
          uint64_t four[2];
          memcpy(four, table.places[word & 255], 16);
          four[0] += first, four[1] += first;
          memcpy(out, four, 16);
          out += table.count[word & 255];
        }
      } else {
        for (; word; word &= word - 1) {
          if (out == stop) return false;
          *out++ = static_cast<uint16_t>(b * 8 + lowest_bit(word));
        }
      }
    }
    if (out != next || (index.cols % 8 && bits[index.cols / 8] >> (index.cols % 8))) return false;
  }
  return true;
}

template <class V> Status from_dense(bitmask_from_dense_args& a, const V* w, Context& ctx) {
  const int64_t rows = a.w.shape[0], cols = a.w.shape[1], bytes = (cols + 7) / 8;
  int32_t* indptr = a.indptr.as<int32_t>();
  indptr[0] = 0;
  TERSOR_TRY(parallel_for(rows, grain_for(cols), ctx.cancel, [&](int64_t begin, int64_t end) {
    for (int64_t r = begin; r < end; r++) {
      uint8_t* bits = a.bits.as<uint8_t>() + r * bytes;
      memset(bits, 0, static_cast<size_t>(bytes));
      int32_t count = 0;
      for (int64_t c = 0; c < cols; c++) {
        const bool kept = w[r * cols + c] != V(0);
        bits[c / 8] = static_cast<uint8_t>(bits[c / 8] | kept << (c % 8));
        count += kept;
      }
      indptr[r + 1] = count;
    }
  }));
  for (int64_t r = 0; r < rows; r++) indptr[r + 1] += indptr[r];
  TERSOR_TRY(parallel_for(rows, grain_for(cols), ctx.cancel, [&](int64_t begin, int64_t end) {
    for (int64_t r = begin; r < end; r++) {
      V* value = a.values.as<V>() + indptr[r];
      for (int64_t c = 0; c < cols; c++)
        if (w[r * cols + c] != V(0)) *value++ = w[r * cols + c];
    }
  }));
  a.values.shape[0] = indptr[rows];
  return {};
}

template <class V> Status to_dense(bitmask_to_dense_args& a, const V* values, const Index& index, Context& ctx) {
  constexpr const char* op = "bitmask_to_dense";
  const int64_t rows = a.indptr.shape[0] - 1, cols = a.cols;
  int64_t most = 0;
  for (int64_t r = 0; r < rows; r++) most = index.indptr[r + 1] - index.indptr[r] > most ? index.indptr[r + 1] - index.indptr[r] : most;
  if (most > cols) return not_matching(op);
  std::atomic<bool> damaged{false};
  TERSOR_TRY(parallel_for(rows, grain_for(cols), ctx.cancel, [&](int64_t begin, int64_t end) {
    for (int64_t r = begin; r < end; r++) {
      V* w = a.w.as<V>() + r * cols;
      memset(w, 0, static_cast<size_t>(cols) * sizeof(V));
      const uint8_t* bits = index.bits + r * ((cols + 7) / 8);
      int32_t at = index.indptr[r];
      bool fits = cols % 8 == 0 || bits[cols / 8] >> (cols % 8) == 0;
      for (int64_t c = 0; c < cols && fits; c++)
        if (bits[c / 8] >> (c % 8) & 1) {
          fits = at < index.indptr[r + 1];
          if (fits) w[c] = values[at++];
        }
      if (!fits || at != index.indptr[r + 1]) damaged.store(true, std::memory_order_relaxed);
    }
  }));
  return damaged.load() ? not_matching(op) : Status{};
}

}  // namespace

Status bitmask_from_dense_infer(bitmask_from_dense_args& a) {
  constexpr const char* op = "bitmask_from_dense";
  if (a.w.dtype != DType::f32 && a.w.dtype != DType::i8) return fail(Code::dtype, "%s: w must be f32 or i8, got %s", op, TERSOR_TEXT(a.w));
  TERSOR_TRY(expect_rank(op, "w", a.w, 2));
  TERSOR_TRY(check_cols(op, a.w.shape[1]));
  const int64_t size = a.w.size(), offsets = a.w.shape[0] + 1, bits[2] = {a.w.shape[0], (a.w.shape[1] + 7) / 8};
  if (size > INT32_MAX) return fail(Code::limit, "%s: row offsets are 32-bit: w must have at most 2^31 - 1 elements, got %s", op, TERSOR_TEXT(a.w));
  set_shape(a.values, a.w.dtype, &size, 1);
  set_shape(a.indptr, DType::i32, &offsets, 1);
  set_shape(a.bits, DType::u8, bits, 2);
  return {};
}

Status bitmask_from_dense_cpu(bitmask_from_dense_args& a, Context& ctx) {
  Contiguous w;
  TERSOR_TRY(w.open("bitmask_from_dense", a.w, ctx.cancel));
  return a.w.dtype == DType::f32 ? from_dense(a, w.as<float>(), ctx) : from_dense(a, w.as<int8_t>(), ctx);
}

Status bitmask_to_dense_infer(bitmask_to_dense_args& a) {
  constexpr const char* op = "bitmask_to_dense";
  TERSOR_TRY(check_cols(op, a.cols));
  TERSOR_TRY(check_types(op, a.values, a.indptr, a.bits, a.cols));
  const int64_t shape[2] = {a.indptr.shape[0] - 1, a.cols};
  set_shape(a.w, a.values.dtype, shape, 2);
  return {};
}

Status bitmask_to_dense_cpu(bitmask_to_dense_args& a, Context& ctx) {
  constexpr const char* op = "bitmask_to_dense";
  Contiguous values, indptr, bits;
  TERSOR_TRY(values.open(op, a.values, ctx.cancel));
  TERSOR_TRY(indptr.open(op, a.indptr, ctx.cancel));
  TERSOR_TRY(bits.open(op, a.bits, ctx.cancel));
  TERSOR_TRY(csr_check_indptr(op, indptr.as<int32_t>(), a.indptr.shape[0] - 1, a.values.shape[0]));
  const Index index{indptr.as<int32_t>(), bits.as<uint8_t>(), a.cols};
  return a.values.dtype == DType::f32 ? to_dense(a, values.as<float>(), index, ctx) : to_dense(a, values.as<int8_t>(), index, ctx);
}

Status bitmask_linear_infer(bitmask_linear_args& a) {
  constexpr const char* op = "bitmask_linear";
  if (a.x.rank < 1) return fail(Code::shape, "%s: x must have rank 1 or more, got %s", op, TERSOR_TEXT(a.x));
  TERSOR_TRY(check_cols(op, a.x.dim(-1)));
  TERSOR_TRY(check_types(op, a.values, a.indptr, a.bits, a.x.dim(-1)));
  return sparse_check_linear(op, a.x, a.values, a.scale, a.bias, a.indptr.shape[0] - 1, &a.y);
}

Status bitmask_linear_cpu(bitmask_linear_args& a, Context& ctx) {
  constexpr const char* op = "bitmask_linear";
  Contiguous indptr, bits;
  SparseOperands in;
  const int64_t rows = a.indptr.shape[0] - 1;
  TERSOR_TRY(indptr.open(op, a.indptr, ctx.cancel));
  TERSOR_TRY(csr_check_indptr(op, indptr.as<int32_t>(), rows, a.values.shape[0]));
  if (a.y.size() == 0) return {};
  TERSOR_TRY(bits.open(op, a.bits, ctx.cancel));
  TERSOR_TRY(in.open(op, a.x, a.values, a.scale, a.bias, rows, ctx.cancel));
  const Index index{indptr.as<int32_t>(), bits.as<uint8_t>(), in.k};
  SpmmMatrix w;
  w.rows = rows, w.cols = in.k, w.indptr = index.indptr, w.values = in.values.data(), w.quantized = a.values.dtype == DType::i8;
  w.scale = in.scale_data, w.scale_step = in.scale_step, w.bias = in.bias_data, w.decode = decode, w.context = &index;
  if (in.m > kSpmmFewRows) return spmm_many(op, w, SpmmSide::rows, in.x.as<float>(), in.m, a.y.as<float>(), ctx.cancel);

  const int64_t padded = (in.k + 63) / 64 * 64, bytes = (in.k + 7) / 8;
  const float* x;
  TERSOR_TRY(in.padded_rows(op, padded, &x));
  SpmmTasks tasks;
  TERSOR_TRY(tasks.cut(op, w.indptr, rows, 1024, 1 << 14, 1));
  std::atomic<bool> damaged{false};
  TERSOR_TRY(parallel_for(tasks.count, 1, ctx.cancel, [&](int64_t begin, int64_t end) {
    bool wrong = false;
    for (int64_t t = begin; t < end; t++)
      for (int64_t i = 0; i < in.m; i++) {
        const int64_t first = tasks.first[t];
        SpmmVector v;
        v.rows = tasks.first[t + 1] - first, v.cols = in.k, v.indptr = w.indptr + first, v.bits = index.bits + first * bytes, v.index_row = bytes;
        v.values = w.values, v.quantized = w.quantized, v.scale = w.scale ? w.scale + first * w.scale_step : nullptr, v.scale_step = w.scale_step;
        v.bias = w.bias ? w.bias + first : nullptr, v.x = x + i * padded, v.y = a.y.as<float>() + i * rows + first, v.damaged = &wrong;
        spmm_vector_kernels().bitmask(v);
      }
    if (wrong) damaged.store(true, std::memory_order_relaxed);
  }));
  return damaged.load() ? not_matching(op) : Status{};
}

}  // namespace tersor
