// Two of each four (2:4): values f32 or i8 [rows, 2 * groups] and indices u8 [rows, ceil(groups / 2)], groups = ceil(cols / 4). The nibble of a group (the
// lower one for even groups) holds the places of its two values in two bits each, the first value's lower; the places ascend.
// nm_from_dense(w): a group with more than two nonzeros is ERR_DATA; one with fewer stores zeros. nm_to_dense checks places, zeros beyond cols and
// unused nibbles (ERR_MODEL_FORMAT); nm_linear needs no check: no index can leave its group.
#include <atomic>
#include <cstring>

#include "kernels/spmm/vector.h"
#include "ops/sparse_shape.h"

namespace tersor {
namespace {

int64_t groups_of(int64_t cols) { return (cols + 3) / 4; }

Status check_types(const char* op, const TensorRef& values, const TensorRef& indices, int64_t cols) {
  if (cols < 0 || cols > INT32_MAX) return fail(Code::option, "%s: cols must be in [0, 2^31), got %lld", op, static_cast<long long>(cols));
  if (values.dtype != DType::f32 && values.dtype != DType::i8) return fail(Code::dtype, "%s: values must be f32 or i8, got %s", op, TERSOR_TEXT(values));
  TERSOR_TRY(expect_dtype(op, "indices", indices, DType::u8));
  TERSOR_TRY(expect_rank(op, "values", values, 2));
  const int64_t groups = groups_of(cols), stored[2] = {values.shape[0], 2 * groups}, bytes[2] = {values.shape[0], (groups + 1) / 2};
  TERSOR_TRY(expect_shape(op, "values", values, stored, 2));
  return expect_shape(op, "indices", indices, bytes, 2);
}

template <class V> Status from_dense(nm_from_dense_args& a, const V* w, Context& ctx) {
  const int64_t rows = a.w.shape[0], cols = a.w.shape[1], groups = groups_of(cols), bytes = (groups + 1) / 2;
  std::atomic<int64_t> wrong{-1};
  TERSOR_TRY(parallel_for(rows, grain_for(cols), ctx.cancel, [&](int64_t begin, int64_t end) {
    for (int64_t r = begin; r < end; r++) {
      uint8_t* nibbles = a.indices.as<uint8_t>() + r * bytes;
      memset(nibbles, 0, static_cast<size_t>(bytes));
      for (int64_t g = 0; g < groups; g++) {
        int place[2] = {0, 1}, count = 0;
        for (int j = 0; j < 4 && 4 * g + j < cols; j++)
          if (w[r * cols + 4 * g + j] != V(0)) {
            if (count < 2) place[count] = j;
            count++;
          }
        if (count > 2) {
          wrong.store(r * groups + g, std::memory_order_relaxed);
          return;
        }
        if (count == 1) {  // the other place is any free one, in order
          if (place[0] == 3) place[0] = 2, place[1] = 3;
          else place[1] = place[0] + 1;
        }
        for (int t = 0; t < 2; t++) {
          const int64_t c = 4 * g + place[t];
          a.values.as<V>()[(r * groups + g) * 2 + t] = c < cols ? w[r * cols + c] : V(0);
        }
        nibbles[g / 2] = static_cast<uint8_t>(nibbles[g / 2] | (place[0] | place[1] << 2) << (g % 2 * 4));
      }
    }
  }));
  const int64_t at = wrong.load();
  if (at >= 0)
    return fail(Code::data, "nm_from_dense: at most 2 of 4 values may differ from 0, but columns %lld to %lld of row %lld hold more (prune 2:4 first)",
                static_cast<long long>(at % groups * 4), static_cast<long long>(at % groups * 4 + 3), static_cast<long long>(at / groups));
  return {};
}

template <class V> Status to_dense(nm_to_dense_args& a, const V* values, const uint8_t* indices, Context& ctx) {
  constexpr const char* op = "nm_to_dense";
  const int64_t rows = a.values.shape[0], cols = a.cols, groups = groups_of(cols), bytes = (groups + 1) / 2;
  std::atomic<int64_t> wrong{-1};
  TERSOR_TRY(parallel_for(rows, grain_for(cols), ctx.cancel, [&](int64_t begin, int64_t end) {
    for (int64_t r = begin; r < end; r++) {
      V* w = a.w.as<V>() + r * cols;
      memset(w, 0, static_cast<size_t>(cols) * sizeof(V));
      for (int64_t g = 0; g < 2 * bytes; g++) {
        const int nibble = indices[r * bytes + g / 2] >> (g % 2 * 4) & 15, first = nibble & 3, second = nibble >> 2;
        const V* v = values + (r * groups + g) * 2;
        bool fits = g < groups ? first < second : nibble == 0;
        for (int t = 0; t < 2 && g < groups; t++) {
          const int64_t c = 4 * g + (t ? second : first);
          if (c < cols) w[c] = v[t];
          else fits = fits && v[t] == V(0);
        }
        if (!fits) wrong.store(r * bytes * 2 + g, std::memory_order_relaxed);
      }
    }
  }));
  const int64_t at = wrong.load();
  if (at >= 0)
    return fail(Code::model_format, "%s: group %lld of row %lld: places must ascend, and nothing but 0 stand beyond column %lld", op,
                static_cast<long long>(at % (bytes * 2)), static_cast<long long>(at / (bytes * 2)), static_cast<long long>(cols - 1));
  return {};
}

struct Places {
  const uint8_t* indices;
  int64_t groups;
};

bool decode(const void* context, int64_t begin, int64_t end, uint16_t* out) {
  const Places& p = *static_cast<const Places*>(context);
  const int64_t bytes = (p.groups + 1) / 2;
  for (int64_t r = begin; r < end; r++)
    for (int64_t g = 0; g < p.groups; g++) {
      const int nibble = p.indices[r * bytes + g / 2] >> (g % 2 * 4);
      *out++ = static_cast<uint16_t>(4 * g + (nibble & 3));
      *out++ = static_cast<uint16_t>(4 * g + (nibble >> 2 & 3));
    }
  return true;
}

}  // namespace

Status nm_from_dense_infer(nm_from_dense_args& a) {
  constexpr const char* op = "nm_from_dense";
  if (a.w.dtype != DType::f32 && a.w.dtype != DType::i8) return fail(Code::dtype, "%s: w must be f32 or i8, got %s", op, TERSOR_TEXT(a.w));
  TERSOR_TRY(expect_rank(op, "w", a.w, 2));
  const int64_t groups = groups_of(a.w.shape[1]), stored[2] = {a.w.shape[0], 2 * groups}, bytes[2] = {a.w.shape[0], (groups + 1) / 2};
  set_shape(a.values, a.w.dtype, stored, 2);
  set_shape(a.indices, DType::u8, bytes, 2);
  return {};
}

Status nm_from_dense_cpu(nm_from_dense_args& a, Context& ctx) {
  Contiguous w;
  TERSOR_TRY(w.open("nm_from_dense", a.w, ctx.cancel));
  return a.w.dtype == DType::f32 ? from_dense(a, w.as<float>(), ctx) : from_dense(a, w.as<int8_t>(), ctx);
}

Status nm_to_dense_infer(nm_to_dense_args& a) {
  TERSOR_TRY(check_types("nm_to_dense", a.values, a.indices, a.cols));
  const int64_t shape[2] = {a.values.shape[0], a.cols};
  set_shape(a.w, a.values.dtype, shape, 2);
  return {};
}

Status nm_to_dense_cpu(nm_to_dense_args& a, Context& ctx) {
  Contiguous values, indices;
  TERSOR_TRY(values.open("nm_to_dense", a.values, ctx.cancel));
  TERSOR_TRY(indices.open("nm_to_dense", a.indices, ctx.cancel));
  return a.values.dtype == DType::f32 ? to_dense(a, values.as<float>(), indices.as<uint8_t>(), ctx) : to_dense(a, values.as<int8_t>(), indices.as<uint8_t>(), ctx);
}

Status nm_linear_infer(nm_linear_args& a) {
  constexpr const char* op = "nm_linear";
  if (a.x.rank < 1) return fail(Code::shape, "%s: x must have rank 1 or more, got %s", op, TERSOR_TEXT(a.x));
  TERSOR_TRY(check_types(op, a.values, a.indices, a.x.dim(-1)));
  if (a.x.dim(-1) > 65536) return fail(Code::limit, "%s: at most 65536 columns, got %s", op, TERSOR_TEXT(a.x));
  if (a.values.size() > INT32_MAX) return fail(Code::limit, "%s: at most 2^31 - 1 values, got %s", op, TERSOR_TEXT(a.values));
  return sparse_check_linear(op, a.x, a.values, a.scale, a.bias, a.values.shape[0], &a.y);
}

Status nm_linear_cpu(nm_linear_args& a, Context& ctx) {
  constexpr const char* op = "nm_linear";
  if (a.y.size() == 0) return {};
  const int64_t rows = a.values.shape[0];
  Contiguous indices;
  SparseOperands in;
  TERSOR_TRY(indices.open(op, a.indices, ctx.cancel));
  TERSOR_TRY(in.open(op, a.x, a.values, a.scale, a.bias, rows, ctx.cancel));
  const int64_t groups = groups_of(in.k), bytes = (groups + 1) / 2, stored = 2 * groups;
  const bool quantized = a.values.dtype == DType::i8;
  float* const y = a.y.as<float>();
  if (in.m > kSpmmFewRows) {
    Scratch offsets;
    TERSOR_TRY(offsets.reserve(op, (rows + 1) * 4));
    for (int64_t r = 0; r <= rows; r++) offsets.as<int32_t>()[r] = static_cast<int32_t>(r * stored);
    const Places places{indices.as<uint8_t>(), groups};
    SpmmMatrix w;
    w.rows = rows, w.cols = in.k, w.padded_cols = groups * 4, w.indptr = offsets.as<int32_t>(), w.values = in.values.data(), w.quantized = quantized;
    w.scale = in.scale_data, w.scale_step = in.scale_step, w.bias = in.bias_data, w.decode = decode, w.context = &places;
    return spmm_many(op, w, SpmmSide::rows, in.x.as<float>(), in.m, y, ctx.cancel);
  }
  const int64_t padded = (in.k + 31) / 32 * 32;
  const float* x;
  TERSOR_TRY(in.padded_rows(op, padded, &x));
  return parallel_for(rows, grain_for(stored), ctx.cancel, [&](int64_t begin, int64_t end) {
    for (int64_t i = 0; i < in.m; i++) {
      SpmmVector v;
      v.rows = end - begin, v.cols = in.k, v.bits = indices.as<uint8_t>() + begin * bytes, v.index_row = bytes, v.value_row = stored;
      v.values = in.values.as<char>() + begin * stored * (quantized ? 1 : 4), v.quantized = quantized;
      v.scale = in.scale_data ? in.scale_data + begin * in.scale_step : nullptr, v.scale_step = in.scale_step;
      v.bias = in.bias_data ? in.bias_data + begin : nullptr, v.x = x + i * padded, v.y = y + i * rows + begin;
      spmm_vector_kernels().two_of_four(v);
    }
  });
}

}  // namespace tersor
