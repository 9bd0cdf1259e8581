// What the ops on rows and groups share (quantize_rows.cc, fake_quantize_rows.cc): their checks, and the walk over the runs.
#pragma once
#include "kernels/quant/quant.h"
#include "ops/util.h"

namespace tersor {

constexpr int64_t kQuantBlock = 16384;  // elements of a row per task

inline Status check_groups(const char* op, const TensorRef& x, int64_t groups) {
  const int64_t cols = x.shape[1];
  bool fits = groups >= 1 && groups <= (cols > 0 ? cols : 1);
  if (fits && cols > 0) fits = (groups - 1) * ((cols + groups - 1) / groups) < cols;
  if (fits) return {};
  return fail(Code::option, "%s: groups must cut the columns into runs of ceil(cols / groups) without an empty one, got %lld (x: %s)", op,
              static_cast<long long>(groups), TERSOR_TEXT(x));
}

// scale or zero: [rows, groups], [rows, 1] or [1, 1].
inline Status check_factor(const char* op, const char* name, const TensorRef& t, const TensorRef& x) {
  TERSOR_TRY(expect_dtype(op, name, t, DType::f32));
  TERSOR_TRY(expect_rank(op, name, t, 2));
  const bool rows = t.shape[0] == x.shape[0] || (t.shape[0] == 1 && t.shape[1] == 1);
  if (!rows) return fail(Code::shape, "%s: %s must be [rows, groups], [rows, 1] or [1, 1], got %s (x: %s)", op, name, TERSOR_TEXT(t), TERSOR_TEXT(x));
  return check_groups(op, x, t.shape[1]);
}

inline Status check_pair(const char* op, const TensorRef& scale, const TensorRef& zero, const TensorRef& x) {
  TERSOR_TRY(check_factor(op, "scale", scale, x));
  if (!zero.present()) return {};
  TERSOR_TRY(check_factor(op, "zero", zero, x));
  if (zero.shape[1] == scale.shape[1] || zero.shape[1] == 1 || scale.shape[1] == 1) return {};
  return fail(Code::shape, "%s: scale and zero must have the same groups, got %s and %s", op, TERSOR_TEXT(scale), TERSOR_TEXT(zero));
}

// Element (row, group) of scale or zero, broadcast.
struct Factor {
  const TensorRef& t;
  float at(int64_t row, int64_t group) const {
    const int64_t r = t.shape[0] == 1 ? 0 : row, g = t.shape[1] == 1 ? 0 : group;
    return t.as<float>()[r * t.stride[0] + g * t.stride[1]];
  }
};

inline Status check_scales(const char* op, const TensorRef& scale) {
  for (int64_t r = 0; r < scale.shape[0]; r++)
    for (int64_t g = 0; g < scale.shape[1]; g++) {
      const float s = Factor{scale}.at(r, g);
      if (!(s > 0) || !(s <= 3.4028235e38f))
        return fail(Code::numeric, "%s: scale must be finite and > 0, got %g at [%lld,%lld]", op, static_cast<double>(s),
                    static_cast<long long>(r), static_cast<long long>(g));
    }
  return {};
}

inline Status check_zeros(const char* op, const TensorRef& zero) {
  if (!zero.present()) return {};
  for (int64_t r = 0; r < zero.shape[0]; r++)
    for (int64_t g = 0; g < zero.shape[1]; g++) {
      const float z = Factor{zero}.at(r, g);
      if (!(z >= -1048576.0f && z <= 1048576.0f) || z != static_cast<float>(static_cast<int32_t>(z)))
        return fail(Code::numeric, "%s: zero must be an integer in [-2^20, 2^20], got %g at [%lld,%lld]", op, static_cast<double>(z),
                    static_cast<long long>(r), static_cast<long long>(g));
    }
  return {};
}

// Calls body(row, group, first column, number of columns) for all pieces of all runs, shared among threads.
template <class F> Status for_runs(int64_t rows, int64_t cols, int64_t groups, const Cancel* cancel, F body) {
  if (rows == 0 || cols == 0) return {};
  const int64_t run = (cols + groups - 1) / groups, blocks = (cols + kQuantBlock - 1) / kQuantBlock;
  const int64_t per_task = cols < kQuantBlock ? grain_for(cols) : 1;
  return parallel_for(rows * blocks, per_task, cancel, [&](int64_t begin, int64_t end) {
    for (int64_t task = begin; task < end; task++) {
      const int64_t row = task / blocks, last = (task % blocks + 1) * kQuantBlock < cols ? (task % blocks + 1) * kQuantBlock : cols;
      for (int64_t c = task % blocks * kQuantBlock; c < last;) {
        const int64_t group = c / run;
        const int64_t stop = (group + 1) * run < last ? (group + 1) * run : last;
        body(row, group, c, stop - c);
        c = stop;
      }
    }
  });
}

}  // namespace tersor
