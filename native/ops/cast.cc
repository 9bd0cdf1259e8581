// cast(x, dtype) -> y, all pairs of element types; what becomes of a value: base/cast_value.h.
#include "base/cast_value.h"
#include "kernels/elementwise/elementwise.h"
#include "ops/strided.h"

namespace tersor {
namespace {

template <DType From, DType To> inline void cast_run(const void* x, void* y, int64_t begin, int64_t end) {
  const auto* __restrict from = static_cast<const typename Element<From>::Storage*>(x);
  auto* __restrict to = static_cast<typename Element<To>::Storage*>(y);
  for (int64_t i = begin; i < end; i++) to[i] = Write<To>::of(Element<From>::read(from[i]));
}

// Vectorised loops of all 121 pairs would be 134 kB; most pairs are rare, and plain loops for them leave 26.
#if defined(__GNUC__) && !defined(__clang__)
#define TERSOR_PLAIN_LOOP __attribute__((optimize("no-tree-vectorize")))
#else
#define TERSOR_PLAIN_LOOP
#endif
template <DType From, DType To> TERSOR_PLAIN_LOOP void cast_rare(const void* x, void* y, int64_t begin, int64_t end) {
  const auto* from = static_cast<const typename Element<From>::Storage*>(x);
  auto* to = static_cast<typename Element<To>::Storage*>(y);
  for (int64_t i = begin; i < end; i++) to[i] = Write<To>::of(Element<From>::read(from[i]));
}

// f32 from and to numbers as models hold them.
constexpr bool often(DType t) { return t == DType::f64 || t == DType::i32 || t == DType::i8 || t == DType::u8; }

template <DType From> void cast_from(DType dtype, const void* x, void* y, int64_t begin, int64_t end) {
  switch (dtype) {
#define TERSOR_DTYPE(name, bytes, type, js, st, npy)                                                                              \
  case DType::name:                                                                                                               \
    if constexpr ((From == DType::f32 && often(DType::name)) || (often(From) && DType::name == DType::f32))                       \
      return cast_run<From, DType::name>(x, y, begin, end);                                                                       \
    else                                                                                                                          \
      return cast_rare<From, DType::name>(x, y, begin, end);
#include "base/dtype.def"
#undef TERSOR_DTYPE
    default: return;
  }
}

void cast_range(DType from, DType to, const void* x, void* y, int64_t begin, int64_t end) {
  switch (from) {
#define TERSOR_DTYPE(name, bytes, type, js, st, npy) \
  case DType::name: return cast_from<DType::name>(to, x, y, begin, end);
#include "base/dtype.def"
#undef TERSOR_DTYPE
    default: return;
  }
}

// The pairs that have kernel rows.
bool convert_op(DType from, DType to, ConvertOp* op) {
  if (from == DType::f32 && to == DType::f16) *op = ConvertOp::f32_f16;
  else if (from == DType::f16 && to == DType::f32) *op = ConvertOp::f16_f32;
  else if (from == DType::f32 && to == DType::bf16) *op = ConvertOp::f32_bf16;
  else if (from == DType::bf16 && to == DType::f32) *op = ConvertOp::bf16_f32;
  else return false;
  return true;
}

}  // namespace

Status cast_infer(cast_args& a) {
  set_shape(a.y, a.dtype, a.x.shape, a.x.rank);
  return {};
}

Status cast_cpu(cast_args& a, Context& ctx) {
  if (a.x.dtype == a.dtype) return strided_copy(a.x, a.y, ctx.cancel);
  Contiguous x;
  TERSOR_TRY(x.open("cast", a.x, ctx.cancel));
  const char* from = x.as<char>();
  char* to = a.y.as<char>();
  const int64_t from_bytes = dtype_bytes(a.x.dtype), to_bytes = dtype_bytes(a.dtype);
  ConvertOp op;
  const bool has_row = convert_op(a.x.dtype, a.dtype, &op);
  return parallel_for(a.y.size(), grain_for(2), ctx.cancel, [&](int64_t begin, int64_t end) {
    if (has_row) elementwise_convert(ConvertArgs{op, from + begin * from_bytes, to + begin * to_bytes, end - begin});
    else cast_range(a.x.dtype, a.dtype, from, to, begin, end);
  });
}

}  // namespace tersor
