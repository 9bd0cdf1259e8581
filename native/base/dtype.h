// Element types: one row each in dtype.def.
#pragma once
#include <cstddef>
#include <cstdint>

namespace tersor {

enum class DType : int32_t {
#define TERSOR_DTYPE(name, bytes, type, js, st, npy) name,
#include "base/dtype.def"
#undef TERSOR_DTYPE
  count
};

constexpr int64_t dtype_bytes(DType t) {
  switch (t) {
#define TERSOR_DTYPE(name, bytes, type, js, st, npy) \
  case DType::name: return bytes;
#include "base/dtype.def"
#undef TERSOR_DTYPE
    default: return 0;
  }
}

constexpr const char* dtype_name(DType t) {
  switch (t) {
#define TERSOR_DTYPE(name, bytes, type, js, st, npy) \
  case DType::name: return #name;
#include "base/dtype.def"
#undef TERSOR_DTYPE
    default: return "?";
  }
}

template <class T> struct dtype_of;
template <> struct dtype_of<double> { static constexpr DType value = DType::f64; };
template <> struct dtype_of<float> { static constexpr DType value = DType::f32; };

}  // namespace tersor
