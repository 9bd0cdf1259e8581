// Elementwise ops of two inputs with NumPy broadcasting: one op for each row of kernels/elementwise/binary.def. f32, f64, and i32 where the
// table has an integer formula; both inputs have the same element type.
#include "kernels/elementwise/elementwise.h"
#include "ops/util.h"

namespace tersor {
namespace {

Status binary_infer(const char* op, BinaryOp which, const TensorRef& a, const TensorRef& b, TensorRef& y) {
  if (a.dtype != DType::i32 || !elementwise_has_i32(which)) TERSOR_TRY(expect_float(op, "a", a));
  TERSOR_TRY(expect_same_dtype(op, a, b));
  int64_t shape[kMaxRank];
  int rank;
  TERSOR_TRY(broadcast_shapes(op, a, b, shape, &rank));
  set_shape(y, a.dtype, shape, rank);
  return {};
}

// The result's dimensions, outermost first, with neighbours merged where both inputs allow it. At least two: [.., rows, cols].
struct Loop {
  int64_t shape[kMaxRank + 2], sa[kMaxRank + 2], sb[kMaxRank + 2];
  int rank = 0;

  void push(int64_t n, int64_t a, int64_t b) {
    if (rank > 0 && sa[rank - 1] == a * n && sb[rank - 1] == b * n) {
      shape[rank - 1] *= n;
      sa[rank - 1] = a;
      sb[rank - 1] = b;
      return;
    }
    shape[rank] = n;
    sa[rank] = a;
    sb[rank++] = b;
  }
};

Loop make_loop(const TensorRef& a, const TensorRef& b, const TensorRef& y) {
  const TensorRef wide_a = broadcast_to(a, y.shape, y.rank), wide_b = broadcast_to(b, y.shape, y.rank);
  Loop merged;
  for (int i = 0; i < y.rank; i++)
    if (y.shape[i] != 1) merged.push(y.shape[i], wide_a.stride[i], wide_b.stride[i]);
  Loop loop;
  for (int i = merged.rank; i < 2; i++) {
    loop.shape[loop.rank] = 1;
    loop.sa[loop.rank] = loop.sb[loop.rank] = 0;
    loop.rank++;
  }
  for (int i = 0; i < merged.rank; i++) {
    loop.shape[loop.rank] = merged.shape[i];
    loop.sa[loop.rank] = merged.sa[i];
    loop.sb[loop.rank++] = merged.sb[i];
  }
  return loop;
}

template <class T> Status run_loop(BinaryOp which, const Loop& l, const T* a, const T* b, T* y, const Cancel* cancel) {
  const int row_dim = l.rank - 2, col_dim = l.rank - 1;
  const int64_t cols = l.shape[col_dim], step_a = l.sa[col_dim], step_b = l.sb[col_dim];
  int64_t rows = 1;
  for (int i = 0; i <= row_dim; i++) rows *= l.shape[i];
  const int64_t long_row = int64_t(1) << 16;
  if (cols >= long_row && rows < 64) {  // few long rows: cut each of them
    for (int64_t r = 0; r < rows; r++) {
      int64_t rest = r, at_a = 0, at_b = 0;
      for (int i = row_dim; i >= 0; i--) {
        at_a += rest % l.shape[i] * l.sa[i];
        at_b += rest % l.shape[i] * l.sb[i];
        rest /= l.shape[i];
      }
      TERSOR_TRY(parallel_for(cols, grain_for(2), cancel, [&](int64_t begin, int64_t end) {
        elementwise_binary(BinaryArgs<T>{which, a + at_a + begin * step_a, b + at_b + begin * step_b, y + r * cols + begin, 1, end - begin, 0, 0,
                                         step_a, step_b});
      }));
    }
    return {};
  }
  return parallel_for(rows, grain_for(2 * cols), cancel, [&](int64_t begin, int64_t end) {
    for (int64_t r = begin; r < end;) {
      int64_t rest = r, at_a = 0, at_b = 0;
      for (int i = row_dim; i >= 0; i--) {
        at_a += rest % l.shape[i] * l.sa[i];
        at_b += rest % l.shape[i] * l.sb[i];
        rest /= l.shape[i];
      }
      const int64_t left = l.shape[row_dim] - r % l.shape[row_dim], count = end - r < left ? end - r : left;
      elementwise_binary(BinaryArgs<T>{which, a + at_a, b + at_b, y + r * cols, count, cols, l.sa[row_dim], l.sb[row_dim], step_a, step_b});
      r += count;
    }
  });
}

template <class T> Status binary_typed(const char* op, BinaryOp which, const TensorRef& a, const TensorRef& b, TensorRef& y, const Cancel* cancel) {
  const int64_t n = y.size();
  if (n == 0) return {};
  // The common case without further thought: both inputs dense, one of them perhaps a single number.
  const int64_t size_a = a.size(), size_b = b.size();
  if ((size_a == n || size_a == 1) && (size_b == n || size_b == 1) && a.contiguous() && b.contiguous()) {
    const int64_t step_a = size_a == n, step_b = size_b == n;
    return parallel_for(n, grain_for(2), cancel, [&](int64_t begin, int64_t end) {
      elementwise_binary(
          BinaryArgs<T>{which, a.as<T>() + begin * step_a, b.as<T>() + begin * step_b, y.as<T>() + begin, 1, end - begin, 0, 0, step_a, step_b});
    });
  }
  Loop loop = make_loop(a, b, y);
  const int last = loop.rank - 1;
  Contiguous copy_a, copy_b;
  TensorRef ra = a, rb = b;
  const T* pa = a.as<T>();
  const T* pb = b.as<T>();
  // A kernel walks a row with step 0 or 1; any other view is copied first.
  if (loop.sa[last] > 1) {
    TERSOR_TRY(copy_a.open(op, a, cancel));
    set_shape(ra, a.dtype, a.shape, a.rank);
    pa = copy_a.as<T>();
  }
  if (loop.sb[last] > 1) {
    TERSOR_TRY(copy_b.open(op, b, cancel));
    set_shape(rb, b.dtype, b.shape, b.rank);
    pb = copy_b.as<T>();
  }
  return run_loop<T>(which, make_loop(ra, rb, y), pa, pb, y.as<T>(), cancel);
}

Status binary_cpu(const char* op, BinaryOp which, const TensorRef& a, const TensorRef& b, TensorRef& y, const Cancel* cancel) {
  if (a.dtype == DType::f32) return binary_typed<float>(op, which, a, b, y, cancel);
  if (a.dtype == DType::f64) return binary_typed<double>(op, which, a, b, y, cancel);
  return binary_typed<int32_t>(op, which, a, b, y, cancel);
}

}  // namespace

#define TERSOR_BINARY(name, formula, integer)                                                           \
  Status name##_infer(name##_args& a) { return binary_infer(#name, BinaryOp::name, a.a, a.b, a.y); } \
  Status name##_cpu(name##_args& a, Context& ctx) { return binary_cpu(#name, BinaryOp::name, a.a, a.b, a.y, ctx.cancel); }
#include "kernels/elementwise/binary.def"
#undef TERSOR_BINARY

}  // namespace tersor
