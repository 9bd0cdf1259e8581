// count_nonfinite(x), count_nonzero(x) -> i64 []: any element type; NaN is not zero, -0 is. Integers are always finite.
#include <atomic>

#include "kernels/reduce/reduce.h"
#include "ops/util.h"

namespace tersor {
namespace {

using Counter = int64_t (*)(const void* x, int64_t n);

// Elements whose bits under `mask` are not zero.
template <class T, uint64_t mask> int64_t count_bits(const void* x, int64_t n) {
  const T* p = static_cast<const T*>(x);
  int64_t count = 0;
  for (int64_t i = 0; i < n; i++) count += (p[i] & static_cast<T>(mask)) != 0 ? 1 : 0;
  return count;
}

// 16-bit floats whose exponent bits are all set.
template <uint16_t exponent> int64_t count_special(const void* x, int64_t n) {
  const uint16_t* p = static_cast<const uint16_t*>(x);
  int64_t count = 0;
  for (int64_t i = 0; i < n; i++) count += (p[i] & exponent) == exponent ? 1 : 0;
  return count;
}

template <class T> int64_t count_nonfinite_typed(const void* x, int64_t n) {
  double sum = 0;
  ReduceArgs<T> a = {ReduceOp::count_nonfinite_rows, static_cast<const T*>(x), 1, n, n, &sum, nullptr, nullptr};
  reduce(a);
  return static_cast<int64_t>(sum);
}

Status count(const char* op, const TensorRef& x, TensorRef& out, Counter counter, const Cancel* cancel) {
  *out.as<int64_t>() = 0;
  if (!counter || x.size() == 0) return {};
  Contiguous open;
  TERSOR_TRY(open.open(op, x, cancel));
  const char* data = open.as<char>();
  const int64_t width = dtype_bytes(x.dtype);
  std::atomic<int64_t> total{0};
  TERSOR_TRY(parallel_for(x.size(), int64_t(1) << 16, cancel, [&](int64_t begin, int64_t end) { total += counter(data + begin * width, end - begin); }));
  *out.as<int64_t>() = total.load();
  return {};
}

}  // namespace

Status count_nonfinite_infer(count_nonfinite_args& a) {
  set_shape(a.count, DType::i64, nullptr, 0);
  return {};
}
Status count_nonfinite_cpu(count_nonfinite_args& a, Context& ctx) {
  Counter counter = nullptr;
  if (a.x.dtype == DType::f32) counter = count_nonfinite_typed<float>;
  if (a.x.dtype == DType::f64) counter = count_nonfinite_typed<double>;
  if (a.x.dtype == DType::f16) counter = count_special<0x7c00>;
  if (a.x.dtype == DType::bf16) counter = count_special<0x7f80>;
  return count("count_nonfinite", a.x, a.count, counter, ctx.cancel);
}

Status count_nonzero_infer(count_nonzero_args& a) {
  set_shape(a.count, DType::i64, nullptr, 0);
  return {};
}
Status count_nonzero_cpu(count_nonzero_args& a, Context& ctx) {
  const bool is_float = a.x.dtype == DType::f64 || a.x.dtype == DType::f32 || a.x.dtype == DType::f16 || a.x.dtype == DType::bf16;
  Counter counter = nullptr;
  switch (dtype_bytes(a.x.dtype)) {
    case 8: counter = is_float ? count_bits<uint64_t, INT64_MAX> : count_bits<uint64_t, UINT64_MAX>; break;
    case 4: counter = is_float ? count_bits<uint32_t, INT32_MAX> : count_bits<uint32_t, UINT32_MAX>; break;
    case 2: counter = is_float ? count_bits<uint16_t, INT16_MAX> : count_bits<uint16_t, UINT16_MAX>; break;
    default: counter = count_bits<uint8_t, UINT8_MAX>; break;
  }
  return count("count_nonzero", a.x, a.count, counter, ctx.cancel);
}

}  // namespace tersor
