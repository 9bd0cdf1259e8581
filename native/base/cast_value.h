// What an element becomes in another type: Write<To>::of(Element<From>::read(stored)).
//   to integers: truncation towards zero, values beyond the range saturate (also from wider integers), NaN is 0
//   to bool: 1 where x is not 0 (NaN is 1)          from bool: any byte but 0 counts as 1
//   to floats: one rounding to nearest even, also for f64 and i64 to f16 and bf16; beyond the range is infinity
#pragma once
#include <limits>

#include "base/dtype.h"
#include "base/float16.h"

namespace tersor {
namespace {

// Storage and value type of each element type: floats are read as float or double, integers as int32_t or int64_t.
template <DType D> struct Element;
#define TERSOR_ELEMENT(dtype, storage, value, to_value) \
  template <> struct Element<DType::dtype> {            \
    using Storage = storage;                            \
    using Value = value;                                \
    TERSOR_PORTABLE static Value read(Storage s) { return to_value; }   \
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
TERSOR_PORTABLE inline double odd_double(int64_t v) {
  uint64_t u = v < 0 ? uint64_t(0) - static_cast<uint64_t>(v) : static_cast<uint64_t>(v);
  if (u >> 53) u = (u & ~uint64_t(0xfff)) | ((u & 0xfff) ? uint64_t(0x1000) : 0);
  const double d = static_cast<double>(u);
  return v < 0 ? -d : d;
}

template <DType To> struct Write;
template <> struct Write<DType::f64> {
  template <class V> TERSOR_PORTABLE static double of(V v) { return static_cast<double>(v); }
};
template <> struct Write<DType::f32> {
  template <class V> TERSOR_PORTABLE static float of(V v) { return static_cast<float>(v); }
};
template <> struct Write<DType::f16> {
  TERSOR_PORTABLE static uint16_t of(float v) { return f16_from_f32(v); }
  TERSOR_PORTABLE static uint16_t of(double v) { return f16_from_f64(v); }
  TERSOR_PORTABLE static uint16_t of(int32_t v) { return f16_from_f64(v); }
  TERSOR_PORTABLE static uint16_t of(int64_t v) { return f16_from_f64(odd_double(v)); }
};
template <> struct Write<DType::bf16> {
  TERSOR_PORTABLE static uint16_t of(float v) { return bf16_from_f32(v); }
  TERSOR_PORTABLE static uint16_t of(double v) { return bf16_from_f64(v); }
  TERSOR_PORTABLE static uint16_t of(int32_t v) { return bf16_from_f64(v); }
  TERSOR_PORTABLE static uint16_t of(int64_t v) { return bf16_from_f64(odd_double(v)); }
};
template <> struct Write<DType::b8> {
  template <class V> TERSOR_PORTABLE static uint8_t of(V v) { return v != V(0) ? 1 : 0; }
};
// Branch-free, so that compilers vectorise the loops.
template <class I> struct WriteInteger {
  static constexpr I lo = std::numeric_limits<I>::min(), hi = std::numeric_limits<I>::max();
  TERSOR_PORTABLE static I of(int32_t v) { return static_cast<I>(v < lo ? lo : v > hi ? hi : v); }
  TERSOR_PORTABLE static I of(int64_t v) { return static_cast<I>(v < lo ? lo : v > hi ? hi : v); }
  // A float holds the limits of 8- and 16-bit integers exactly, a double those of 32-bit ones.
  TERSOR_PORTABLE static I of(float v) { return sizeof(I) <= 2 ? clamped(v) : of(static_cast<double>(v)); }
  TERSOR_PORTABLE static I of(double v) { return clamped(v); }
  template <class V> TERSOR_PORTABLE static I clamped(V v) {
    V t = v == v ? v : V(0);
    t = t < static_cast<V>(lo) ? static_cast<V>(lo) : t;
    t = t > static_cast<V>(hi) ? static_cast<V>(hi) : t;
    return static_cast<I>(static_cast<int32_t>(t));
  }
};
// 2^63 - 1 is no double: what reaches 2^63 is the largest value.
template <> TERSOR_PORTABLE inline int64_t WriteInteger<int64_t>::of(double v) {
  if (!(v > -9223372036854775808.0)) return v == v ? lo : 0;
  return v >= 9223372036854775808.0 ? hi : static_cast<int64_t>(v);
}
template <> TERSOR_PORTABLE inline int64_t WriteInteger<int64_t>::of(int32_t v) { return v; }
template <> TERSOR_PORTABLE inline int32_t WriteInteger<int32_t>::of(int32_t v) { return v; }
template <> struct Write<DType::i64> : WriteInteger<int64_t> {};
template <> struct Write<DType::i32> : WriteInteger<int32_t> {};
template <> struct Write<DType::i16> : WriteInteger<int16_t> {};
template <> struct Write<DType::u16> : WriteInteger<uint16_t> {};
template <> struct Write<DType::i8> : WriteInteger<int8_t> {};
template <> struct Write<DType::u8> : WriteInteger<uint8_t> {};

}  // namespace
}  // namespace tersor
