// Masks with a fixed number of ones per row or per group of the last axis; the rules of order are those of topk_mask.
//   topk_mask_rows(scores[...,C], k, magnitude): k ones in every row of C.
//   nm_mask(scores[...,C], n, m, magnitude):     n ones in every group of m adjacent elements; m divides C, m <= 64.
#include "kernels/topk/topk.h"
#include "ops/slots.h"
#include "ops/topk_keys.h"
#include "ops/util.h"

namespace tersor {
namespace {

constexpr int kMaxGroup = 64;

void set_mask(TensorRef& mask, int64_t n) {
  const int64_t bytes = n / 8 + (n % 8 != 0);
  set_shape(mask, DType::u8, &bytes, 1);
}

Status expect_axis(const char* op, const TensorRef& scores) {
  TERSOR_TRY(expect_float(op, "scores", scores));
  if (scores.rank >= 1) return {};
  return fail(Code::shape, "%s: scores must have rank 1 or more, got %s", op, TERSOR_TEXT(scores));
}

// Sets bits [at, at + n) of a mask whose bits there are 0: the k largest of x.
template <class T> void mark_row(const T* x, int64_t n, int64_t k, bool magnitude, KeyOf<T>* keys, uint8_t* mask, int64_t at) {
  using Key = KeyOf<T>;
  Key lo = ~Key(0), hi = 0;
  for (int64_t i = 0; i < n; i++) {
    keys[i] = keys[n + i] = key_of(x[i], magnitude);
    lo = keys[i] < lo ? keys[i] : lo;
    hi = keys[i] > hi ? keys[i] : hi;
  }
  const Threshold<Key> t = k < n ? select_key(keys + n, n, k, lo, hi) : Threshold<Key>{0, -1};
  int64_t ties = k < n ? k - t.above : n;
  for (int64_t i = 0; i < n; i++) {
    const bool tie = keys[i] == t.key && ties > 0, on = keys[i] > t.key || tie;
    ties -= tie;
    mask[(at + i) / 8] = static_cast<uint8_t>(mask[(at + i) / 8] | static_cast<unsigned>(on) << ((at + i) % 8));
  }
}

template <class T> Status rows_of(topk_mask_rows_args& a, const T* x, const Cancel* cancel) {
  const int64_t cols = a.scores.dim(-1), rows = a.scores.size() / cols;
  const int64_t grain = grain_for(8 * cols) * 8;  // eight rows are whole bytes
  ScratchSlots slots;
  TERSOR_TRY(slots.reserve("topk_mask_rows", 2 * cols * static_cast<int64_t>(sizeof(T)), (rows + grain - 1) / grain));
  uint8_t* mask = a.mask.as<uint8_t>();
  return parallel_for(rows, grain, cancel, [&](int64_t begin, int64_t end) {
    const ScratchSlots::Lease slot(slots);
    for (int64_t r = begin; r < end; r++) mark_row(x + r * cols, cols, a.k, a.magnitude, slot.as<KeyOf<T>>(), mask, r * cols);
  });
}

template <class T> Status groups_of(nm_mask_args& a, const T* x, const Cancel* cancel) {
  const int64_t total = a.scores.size();
  const int64_t grain = int64_t(8) * a.m * (1 + 8192 / a.m);  // whole groups, whole bytes
  const bool by_kernel = sizeof(T) == 4 && (a.m == 2 || a.m == 4 || a.m == 8);
  return parallel_for(total, grain, cancel, [&](int64_t begin, int64_t end) {
    if (by_kernel) {
      TopkArgs args{};
      args.x = x + begin;
      args.n = end - begin;
      args.magnitude = a.magnitude;
      args.mask = a.mask.as<uint8_t>() + begin / 8;
      args.m = static_cast<int>(a.m);
      args.keep = static_cast<int>(a.n);
      topk_kernels().nm(args);
      return;
    }
    KeyOf<T> keys[2 * kMaxGroup];
    for (int64_t g = begin; g < end; g += a.m)
      if (a.n > 0) mark_row(x + g, a.m, a.n, a.magnitude, keys, a.mask.as<uint8_t>(), g);
  });
}

}  // namespace

Status topk_mask_rows_infer(topk_mask_rows_args& a) {
  TERSOR_TRY(expect_axis("topk_mask_rows", a.scores));
  if (a.k < 0 || a.k > a.scores.dim(-1))
    return fail(Code::option, "topk_mask_rows: k must be in [0, %lld], got %lld (scores: %s)", static_cast<long long>(a.scores.dim(-1)),
                static_cast<long long>(a.k), TERSOR_TEXT(a.scores));
  set_mask(a.mask, a.scores.size());
  return {};
}

Status topk_mask_rows_cpu(topk_mask_rows_args& a, Context& ctx) {
  memset(a.mask.as<uint8_t>(), 0, static_cast<size_t>(a.mask.shape[0]));
  if (a.scores.size() == 0 || a.k == 0) return {};
  Contiguous x;
  TERSOR_TRY(x.open("topk_mask_rows", a.scores, ctx.cancel));
  return a.scores.dtype == DType::f64 ? rows_of(a, x.as<double>(), ctx.cancel) : rows_of(a, x.as<float>(), ctx.cancel);
}

Status nm_mask_infer(nm_mask_args& a) {
  TERSOR_TRY(expect_axis("nm_mask", a.scores));
  if (a.m < 1 || a.m > kMaxGroup || a.n < 0 || a.n > a.m)
    return fail(Code::option, "nm_mask: 0 <= n <= m and 1 <= m <= %d must hold, got %lld:%lld", kMaxGroup, static_cast<long long>(a.n),
                static_cast<long long>(a.m));
  if (a.scores.dim(-1) % a.m != 0)
    return fail(Code::shape, "nm_mask: m must divide the last dimension, got %lld:%lld (scores: %s)", static_cast<long long>(a.n),
                static_cast<long long>(a.m), TERSOR_TEXT(a.scores));
  set_mask(a.mask, a.scores.size());
  return {};
}

Status nm_mask_cpu(nm_mask_args& a, Context& ctx) {
  memset(a.mask.as<uint8_t>(), 0, static_cast<size_t>(a.mask.shape[0]));
  if (a.scores.size() == 0) return {};
  Contiguous x;
  TERSOR_TRY(x.open("nm_mask", a.scores, ctx.cancel));
  return a.scores.dtype == DType::f64 ? groups_of(a, x.as<double>(), ctx.cancel) : groups_of(a, x.as<float>(), ctx.cancel);
}

}  // namespace tersor
