// top_k(x [..., N], k, largest) -> y [..., k], index i32 [..., k]: the k largest (or smallest) elements of each row in order, the first of equals first.
// NaN counts as larger than everything. f32 or f64.
#include <algorithm>

#include "ops/slots.h"
#include "ops/util.h"

namespace tersor {
namespace {

// Whether element i comes before j: a total order, since equals are told apart by their place.
template <class T, bool LARGEST> struct Before {
  const T* x;
  bool operator()(int32_t i, int32_t j) const {
    const T a = LARGEST ? x[i] : x[j], b = LARGEST ? x[j] : x[i];
    const bool nan_a = a != a, nan_b = b != b;
    if (nan_a || nan_b) return nan_a != nan_b ? nan_a : i < j;
    return a > b || (a == b && i < j);
  }
};

template <class Order> void select(Order before, int64_t n, int64_t k, int32_t* order) {
  for (int64_t i = 0; i < n; i++) order[i] = static_cast<int32_t>(i);
  if (k < n) std::nth_element(order, order + k, order + n, before);
  std::sort(order, order + k, before);
}

template <class T> Status run(top_k_args& a, const Cancel* cancel) {
  const int64_t n = a.x.dim(-1), k = a.k, rows = n == 0 ? 0 : a.x.size() / n;
  if (a.y.size() == 0) return {};
  Contiguous x;
  TERSOR_TRY(x.open("top_k", a.x, cancel));
  ScratchSlots slots;
  TERSOR_TRY(slots.reserve("top_k", n * 4, rows));
  return parallel_for(rows, grain_for(8 * n), cancel, [&](int64_t begin, int64_t end) {
    const ScratchSlots::Lease slot(slots);
    int32_t* const order = slot.template as<int32_t>();
    for (int64_t r = begin; r < end; r++) {
      const T* row = x.as<T>() + r * n;
      if (a.largest) select(Before<T, true>{row}, n, k, order);
      else select(Before<T, false>{row}, n, k, order);
      for (int64_t i = 0; i < k; i++) {
        a.y.as<T>()[r * k + i] = row[order[i]];
        a.index.as<int32_t>()[r * k + i] = order[i];
      }
    }
  });
}

}  // namespace

Status top_k_infer(top_k_args& a) {
  TERSOR_TRY(expect_float("top_k", "x", a.x));
  if (a.x.rank < 1) return fail(Code::shape, "top_k: x must have rank >= 1, got %s", TERSOR_TEXT(a.x));
  if (a.x.dim(-1) > INT32_MAX) return fail(Code::limit, "top_k: a row must have fewer than 2^31 elements, got %s", TERSOR_TEXT(a.x));
  if (a.k < 0 || a.k > a.x.dim(-1))
    return fail(Code::option, "top_k: k must be in [0, %lld], got %lld (x: %s)", static_cast<long long>(a.x.dim(-1)), static_cast<long long>(a.k), TERSOR_TEXT(a.x));
  int64_t shape[kMaxRank];
  for (int i = 0; i < a.x.rank; i++) shape[i] = i + 1 < a.x.rank ? a.x.shape[i] : a.k;
  set_shape(a.y, a.x.dtype, shape, a.x.rank);
  set_shape(a.index, DType::i32, shape, a.x.rank);
  return {};
}
Status top_k_cpu(top_k_args& a, Context& ctx) { return a.x.dtype == DType::f32 ? run<float>(a, ctx.cancel) : run<double>(a, ctx.cancel); }

}  // namespace tersor
