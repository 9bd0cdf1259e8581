// cast(x, dtype) -> y, all pairs of element types.
//   to integers: truncation towards zero, values beyond the range saturate (also from wider integers), NaN is 0
//   to bool: 1 where x is not 0 (NaN is 1)          from bool: any byte but 0 counts as 1
//   to floats: one rounding to nearest even, also for f64 and i64 to f16 and bf16; beyond the range is infinity
#include <limits>

#include "base/float16.h"
#include "kernels/elementwise/elementwise.h"
#include "ops/strided.h"

namespace tersor {
namespace {

// Storage and value type of each element type: floats are read as float or double, integers as int32_t or int64_t.
template <DType D> struct Element;
#define TERSOR_ELEMENT(dtype, storage, value, to_value) \
  template <> struct Element<DType::dtype> {            \
    using Storage = storage;                            \
    using Value = value;                                \
    static Value read(Storage s) { return to_value; }   \
  };
TERSOR_ELEMENT(f64, double, double, s)
TERSOR_ELEMENT(f32, float, float, s)
TERSOR_ELEMENT(f16, uint16_t, float, f32_from_f16(s))
TERSOR_ELEMENT(bf16, uint16_t, float, f32_from_bf16(s))
TERSOR_ELEMENT(i64, int64_t, int64_t, s)
TERSOR_ELEMENT(i32, int32_t, int32_t, s)
TERSOR_ELEMENT(i16, int16_t, int32_t, s)
TERSOR_ELEMENT(u16, uint16_t, int32_t, s)
TERSOR_ELEMENT(i8, int8_t, int32_t, s)
TERSOR_ELEMENT(u8, uint8_t, int32_t, s)
TERSOR_ELEMENT(b8, uint8_t, int32_t, s != 0 ? 1 : 0)
#undef TERSOR_ELEMENT

// A double that rounds to 16 bits as v itself would: the bits that do not fit are gathered in the last one (round to odd).
double odd_double(int64_t v) {
  uint64_t u = v < 0 ? uint64_t(0) - static_cast<uint64_t>(v) : static_cast<uint64_t>(v);
  if (u >> 53) u = (u & ~uint64_t(0xfff)) | ((u & 0xfff) ? uint64_t(0x1000) : 0);
  const double d = static_cast<double>(u);
  return v < 0 ? -d : d;
}

template <DType To> struct Write;
template <> struct Write<DType::f64> {
  template <class V> static double of(V v) { return static_cast<double>(v); }
};
template <> struct Write<DType::f32> {
  template <class V> static float of(V v) { return static_cast<float>(v); }
};
template <> struct Write<DType::f16> {
  static uint16_t of(float v) { return f16_from_f32(v); }
  static uint16_t of(double v) { return f16_from_f64(v); }
  static uint16_t of(int32_t v) { return f16_from_f64(v); }
  static uint16_t of(int64_t v) { return f16_from_f64(odd_double(v)); }
};
template <> struct Write<DType::bf16> {
  static uint16_t of(float v) { return bf16_from_f32(v); }
  static uint16_t of(double v) { return bf16_from_f64(v); }
  static uint16_t of(int32_t v) { return bf16_from_f64(v); }
  static uint16_t of(int64_t v) { return bf16_from_f64(odd_double(v)); }
};
template <> struct Write<DType::b8> {
  template <class V> static uint8_t of(V v) { return v != V(0) ? 1 : 0; }
};
// Branch-free, so that compilers vectorise the loops.
template <class I> struct WriteInteger {
  static constexpr I lo = std::numeric_limits<I>::min(), hi = std::numeric_limits<I>::max();
  static I of(int32_t v) { return static_cast<I>(v < lo ? lo : v > hi ? hi : v); }
  static I of(int64_t v) { return static_cast<I>(v < lo ? lo : v > hi ? hi : v); }
  // A float holds the limits of 8- and 16-bit integers exactly, a double those of 32-bit ones.
  static I of(float v) { return sizeof(I) <= 2 ? clamped(v) : of(static_cast<double>(v)); }
  static I of(double v) { return clamped(v); }
  template <class V> static I clamped(V v) {
    V t = v == v ? v : V(0);
    t = t < static_cast<V>(lo) ? static_cast<V>(lo) : t;
    t = t > static_cast<V>(hi) ? static_cast<V>(hi) : t;
    return static_cast<I>(static_cast<int32_t>(t));
  }
};
// 2^63 - 1 is no double: what reaches 2^63 is the largest value.
template <> inline int64_t WriteInteger<int64_t>::of(double v) {
  if (!(v > -9223372036854775808.0)) return v == v ? lo : 0;
  return v >= 9223372036854775808.0 ? hi : static_cast<int64_t>(v);
}
template <> inline int64_t WriteInteger<int64_t>::of(int32_t v) { return v; }
template <> inline int32_t WriteInteger<int32_t>::of(int32_t v) { return v; }
template <> struct Write<DType::i64> : WriteInteger<int64_t> {};
template <> struct Write<DType::i32> : WriteInteger<int32_t> {};
template <> struct Write<DType::i16> : WriteInteger<int16_t> {};
template <> struct Write<DType::u16> : WriteInteger<uint16_t> {};
template <> struct Write<DType::i8> : WriteInteger<int8_t> {};
template <> struct Write<DType::u8> : WriteInteger<uint8_t> {};

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
