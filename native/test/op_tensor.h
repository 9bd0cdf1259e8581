// Tensors for op-level tests: memory of their own, filled with random or given values, and a call through infer and cpu.
#pragma once
#include <initializer_list>

#include "base/alloc.h"
#include "ops/args.h"
#include "test/test.h"

namespace tersor {
namespace test {

// A row-major tensor; `ref` may be changed to a strided view of it.
template <class T> struct Array {
  std::vector<T> values;
  TensorRef ref{};

  Array() = default;
  Array(DType dtype, std::initializer_list<int64_t> shape) : Array(dtype, std::vector<int64_t>(shape)) {}
  Array(DType dtype, const std::vector<int64_t>& shape) {
    set_shape(ref, dtype, shape.data(), static_cast<int>(shape.size()));
    values.resize(static_cast<size_t>(ref.size()) + 64 / sizeof(T));
    ref.data = values.data();
  }
  Array(const Array& o) : values(o.values), ref(o.ref) { ref.data = values.data(); }
  Array& operator=(const Array& o) {
    values = o.values, ref = o.ref, ref.data = values.data();
    return *this;
  }
  T& operator[](int64_t i) { return values[static_cast<size_t>(i)]; }
  const T& operator[](int64_t i) const { return values[static_cast<size_t>(i)]; }
  Array& uniform(double lo, double hi) {
    std::uniform_real_distribution<double> d(lo, hi);
    for (auto& v : values) v = static_cast<T>(d(rng()));
    return *this;
  }
  Array& integers(int lo, int hi) {
    std::uniform_int_distribution<int> d(lo, hi);
    for (auto& v : values) v = static_cast<T>(d(rng()));
    return *this;
  }
};

template <class T> DType float_dtype() { return dtype_of<T>::value; }

// Memory for a result whose shape infer has set; canaries behind it are checked by result_intact.
struct Result {
  std::vector<unsigned char> bytes;
  void attach(TensorRef& t) {
    bytes.assign(static_cast<size_t>(t.bytes()) + 64, 0xCD);
    t.data = bytes.data();
  }
  bool intact(int64_t size) const {
    for (size_t i = static_cast<size_t>(size); i < static_cast<size_t>(size) + 64; i++)
      if (bytes[i] != 0xCD) return false;
    return true;
  }
};

}  // namespace test
}  // namespace tersor
