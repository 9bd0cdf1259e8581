// Reductions: rows against the scalar row, error bounds against long double, every choice of axes on strided views, counts, argmax.
#include "kernels/reduce/reduce.h"

#include "test/op_call.h"

namespace tersor {
namespace {

using test::GuardedBuffer;
using test::list;
using test::random_float;
using test::random_int;
using test::view;

constexpr double kUnit = 1.0 / (1 << 24);

bool usable(const ReduceRow& row) { return (row.needs & ~isa::allowed()) == 0; }

}  // namespace

TERSOR_TEST(reduce_rows_match_scalar_bit_for_bit) {
  const ReduceRow* rows;
  const int count = reduce_table(&rows);
  for (int r = 0; r < count; r++) {
    if (!usable(rows[r])) continue;
    for (int64_t cols : {0, 1, 2, 3, 5, 7, 8, 9, 15, 16, 17, 31, 33, 63, 64, 65, 67, 127, 129, 1000, 2047, 2048, 2049, 5003})
      for (int64_t height : {1, 2, 33, 67}) {
        if (cols * height > 100000) continue;
        const int64_t stride = cols + 3;
        GuardedBuffer memory(static_cast<size_t>((height - 1) * stride + cols) * 4, height & 1 ? GuardedBuffer::Side::end : GuardedBuffer::Side::begin);
        float* x = memory.as<float>();
        for (int64_t i = 0; i < (height - 1) * stride + cols; i++) x[i] = random_float(-1, 3);
        if (cols > 4 && height == 33) x[(height - 1) * stride + cols - 1] = NAN;
        if (cols > 4 && height == 67) x[5 * stride] = INFINITY;
        for (int op = 0; op < static_cast<int>(ReduceOp::count); op++) {
          const bool columns = op == static_cast<int>(ReduceOp::sum_columns) || op == static_cast<int>(ReduceOp::max_columns) || op == static_cast<int>(ReduceOp::min_columns);
          const int64_t outs = columns ? cols : height;
          std::vector<double> sums(static_cast<size_t>(outs), 0.25), want_sums = sums;
          GuardedBuffer guarded(static_cast<size_t>(outs) * 4);
          float* extremes = guarded.as<float>();
          std::vector<float> want(static_cast<size_t>(outs));
          if (cols == 0 && op == static_cast<int>(ReduceOp::argmax_rows)) continue;
          std::vector<int32_t> index(static_cast<size_t>(outs), -1), want_index = index;
          for (int64_t i = 0; i < outs; i++) extremes[i] = want[static_cast<size_t>(i)] = random_float(-1, 3);
          rows[r].kernel({static_cast<ReduceOp>(op), x, height, cols, stride, sums.data(), extremes, index.data()});
          rows[count - 1].kernel({static_cast<ReduceOp>(op), x, height, cols, stride, want_sums.data(), want.data(), want_index.data()});
          CHECK_MSG(index == want_index, "%s %lldx%lld: argmax", rows[r].function, (long long)height, (long long)cols);
          for (int64_t i = 0; i < outs; i++) {
            const size_t k = static_cast<size_t>(i);
            CHECK_MSG(memcmp(&sums[k], &want_sums[k], 8) == 0 || sums[k] != sums[k], "%s op %d %lldx%lld: sum %lld is %.17g, want %.17g", rows[r].function, op, (long long)height,
                      (long long)cols, (long long)i, sums[k], want_sums[k]);
            CHECK_MSG(extremes[i] == want[k] || (extremes[i] != extremes[i] && want[k] != want[k]), "%s op %d %lldx%lld: extreme %lld", rows[r].function, op, (long long)height,
                      (long long)cols, (long long)i);
          }
        }
      }
  }
}

namespace {

// What the op must give, by definition: index arithmetic in long double.
struct Expected {
  std::vector<long double> sum, magnitude, max, min;
};
template <class T> Expected expect(const TensorRef& x, uint32_t bits) {
  int64_t kept = 1;
  for (int d = 0; d < x.rank; d++)
    if (!(bits & (1u << d))) kept *= x.shape[d];
  Expected e;
  const size_t n = static_cast<size_t>(kept);
  e.sum.assign(n, 0);
  e.magnitude.assign(n, 0);
  e.max.assign(n, -INFINITY);
  e.min.assign(n, INFINITY);
  for (int64_t i = 0; i < x.size(); i++) {
    int64_t rest = i, at = 0, out = 0, scale = 1;
    for (int d = x.rank - 1; d >= 0; d--) {
      const int64_t k = rest % x.shape[d];
      rest /= x.shape[d];
      at += k * x.stride[d];
      if (bits & (1u << d)) continue;
      out += k * scale;
      scale *= x.shape[d];
    }
    const long double v = x.as<T>()[at];
    const size_t o = static_cast<size_t>(out);
    e.sum[o] += v;
    e.magnitude[o] += fabsl(v);
    e.max[o] = e.max[o] < v ? v : e.max[o];
    e.min[o] = e.min[o] > v ? v : e.min[o];
  }
  return e;
}

template <class T> void check_reduction(const TensorRef& x, uint32_t bits, bool keep) {
  const Expected want = expect<T>(x, bits);
  IntList axes{};
  for (int d = 0; d < x.rank; d++)
    if (bits & (1u << d)) axes.v[axes.n++] = d % 2 ? d : d - x.rank;
  if (bits == 0 && x.rank > 0) return;
  std::vector<T> first;
  test::for_thread_counts([&] {
    test::OpCall<sum_args> sum;
    sum.args.x = x;
    sum.args.axes = axes;
    sum.args.keep_dims = keep;
    CHECK_OK(RUN_OP(sum, sum));
    CHECK(sum.args.y.size() == static_cast<int64_t>(want.sum.size()) && (!keep || sum.args.y.rank == x.rank));
    const T* y = sum.args.y.as<T>();
    const double unit = sizeof(T) == 4 ? kUnit : kUnit / (1 << 29);
    for (size_t i = 0; i < want.sum.size(); i++)
      CHECK_MSG(fabsl(y[i] - want.sum[i]) <= 40 * unit * want.magnitude[i], "sum %s axes %x at %zu: %.9g, want %.9Lg", TERSOR_TEXT(x), bits, i, static_cast<double>(y[i]), want.sum[i]);
    if (first.empty()) first.assign(y, y + want.sum.size());
    CHECK_MSG(first.empty() || memcmp(first.data(), y, first.size() * sizeof(T)) == 0, "sum depends on the thread count");
    if (x.size() == 0) return;
    test::OpCall<amax_args> amax;
    amax.args.x = x;
    amax.args.axes = axes;
    CHECK_OK(RUN_OP(amax, amax));
    test::OpCall<amin_args> amin;
    amin.args.x = x;
    amin.args.axes = axes;
    CHECK_OK(RUN_OP(amin, amin));
    for (size_t i = 0; i < want.sum.size(); i++) CHECK(amax.args.y.as<T>()[i] == want.max[i] && amin.args.y.as<T>()[i] == want.min[i]);
  });
}

TensorRef with_strides(TensorRef t, std::initializer_list<int64_t> stride) {
  int i = 0;
  for (int64_t s : stride) t.stride[i++] = s;
  return t;
}

template <class T> void check_all_axes(DType dtype) {
  std::vector<T> data(600000);
  for (T& v : data) v = static_cast<T>(random_float(-1, 1.5));
  const TensorRef inputs[] = {
      view(dtype, data, {}),
      view(dtype, data, {1}),
      view(dtype, data, {7, 11}),
      view(dtype, data, {3, 4, 5, 6}),
      view(dtype, data, {3, 1, 5, 1}),
      with_strides(view(dtype, data, {33, 17}), {1, 33}),
      with_strides(view(dtype, data, {4, 5, 6}), {1, 24, 4}),
      with_strides(view(dtype, data, {6, 5, 4}), {100, 7, 2}),
      with_strides(view(dtype, data, {6, 5, 4}), {4, 0, 1}),
      view(dtype, data, {0, 3}),
      view(dtype, data, {2, 0, 3}),
  };
  for (const TensorRef& x : inputs)
    for (uint32_t bits = 0; bits < (1u << x.rank); bits++) check_reduction<T>(x, bits, bits & 1);
  // Long enough for partial results: one result, ten, many, strided.
  const TensorRef large[] = {view(dtype, data, {590001}), view(dtype, data, {59001, 10}), view(dtype, data, {10, 59001}), view(dtype, data, {700, 800}),
                             view(dtype, data, {150, 5, 20, 20}), with_strides(view(dtype, data, {700, 800}), {1, 700}), view(dtype, data, {290000, 2})};
  for (const TensorRef& x : large)
    for (uint32_t bits = 1; bits < (1u << x.rank); bits++) check_reduction<T>(x, bits, false);
}

}  // namespace

TERSOR_TEST(reduce_every_axes_f32) { check_all_axes<float>(DType::f32); }
TERSOR_TEST(reduce_every_axes_f64) { check_all_axes<double>(DType::f64); }

TERSOR_TEST(sum_is_close_to_exact) {
  std::vector<float> x(1 << 22);
  for (float& v : x) v = 0.1f;
  test::OpCall<sum_args> call;
  call.args.x = view(DType::f32, x, {1 << 22});
  CHECK_OK(RUN_OP(call, sum));
  const double exact = static_cast<double>(0.1f) * (1 << 22);
  CHECK(std::fabs(call.args.y.as<float>()[0] - exact) <= 2e-6 * exact);  // a running float sum would be off by 1e-2
  x[5] = 1e30f;
  x[70000] = -1e30f;  // what cancels costs nothing but its own rounding
  CHECK_OK(RUN_OP(call, sum));
  CHECK(std::fabs(call.args.y.as<float>()[0] - exact) <= 40 * kUnit * 2e30);
}

TERSOR_TEST(reduce_nan_and_infinity) {
  std::vector<float> x(100000, 1.0f);
  test::OpCall<amax_args> amax;
  amax.args.x = view(DType::f32, x, {1000, 100});
  amax.args.axes = list({1});
  test::OpCall<amin_args> amin;
  amin.args.x = view(DType::f32, x, {1000, 100});
  amin.args.axes = list({0});
  x[100 * 7 + 50] = NAN;
  x[100 * 8 + 51] = -INFINITY;
  CHECK_OK(RUN_OP(amax, amax));
  CHECK_OK(RUN_OP(amin, amin));
  for (int i = 0; i < 1000; i++) CHECK(i == 7 ? std::isnan(amax.args.y.as<float>()[i]) : amax.args.y.as<float>()[i] == 1);
  for (int i = 0; i < 100; i++)
    CHECK(i == 50 ? std::isnan(amin.args.y.as<float>()[i]) : amin.args.y.as<float>()[i] == (i == 51 ? -INFINITY : 1));
  amax.args.axes = list({});
  CHECK_OK(RUN_OP(amax, amax));
  CHECK(std::isnan(amax.args.y.as<float>()[0]));
}

TERSOR_TEST(reduce_bad_arguments) {
  const std::vector<float> x(24);
  test::OpCall<amax_args> amax;
  amax.args.x = view(DType::f32, x, {0, 3});
  amax.args.axes = list({0});
  CHECK_CODE(RUN_OP(amax, amax), Code::shape);
  amax.args.axes = list({1});  // no results to give: allowed
  CHECK_OK(RUN_OP(amax, amax));
  test::OpCall<sum_args> sum;
  sum.args.x = view(DType::f32, x, {4, 6});
  sum.args.axes = list({2});
  CHECK_CODE(RUN_OP(sum, sum), Code::shape);
  sum.args.axes = list({1, -1});
  CHECK_CODE(RUN_OP(sum, sum), Code::shape);
  sum.args.axes = list({0});
  sum.args.x.dtype = DType::i32;
  CHECK_CODE(RUN_OP(sum, sum), Code::dtype);
}

TERSOR_TEST(argmax_first_of_equals) {
  for (int64_t n : {1, 2, 7, 10, 16, 17, 64, 100, 1001}) {
    std::vector<float> x(static_cast<size_t>(50 * n));
    for (float& v : x) v = static_cast<float>(random_int(-4, 4));
    if (n > 4) x[static_cast<size_t>(3 * n + 2)] = x[static_cast<size_t>(3 * n + 4)] = NAN;
    for (int64_t j = 0; j < n; j++) x[static_cast<size_t>(5 * n + j)] = -INFINITY;
    test::OpCall<argmax_args> call;
    call.args.x = view(DType::f32, x, {5, 10, n});
    test::for_thread_counts([&] {
      CHECK_OK(RUN_OP(call, argmax));
      CHECK(call.args.y.rank == 2 && call.args.y.dtype == DType::i32);
      for (int64_t r = 0; r < 50; r++) {
        int64_t want = 0;
        const float* row = &x[static_cast<size_t>(r * n)];
        for (int64_t i = 1; i < n; i++)
          if (row[want] == row[want] && (row[i] > row[want] || row[i] != row[i])) want = i;
        CHECK(call.args.y.as<int32_t>()[r] == want);
      }
    });
  }
  const std::vector<double> d = {3, 9, 9, 1, 2, 0};
  test::OpCall<argmax_args> call;
  call.args.x = view(DType::f64, d, {2, 3});
  call.args.x.stride[0] = 1;
  call.args.x.stride[1] = 2;  // rows {3, 9, 2} and {9, 1, 0}
  CHECK_OK(RUN_OP(call, argmax));
  CHECK(call.args.y.as<int32_t>()[0] == 1 && call.args.y.as<int32_t>()[1] == 0);
  call.args.x = view(DType::f64, d, {2, 0});
  CHECK_CODE(RUN_OP(call, argmax), Code::shape);
  call.args.x = view(DType::f64, d, {});
  CHECK_CODE(RUN_OP(call, argmax), Code::shape);
}

namespace {
template <class T> void check_counts(DType dtype, std::vector<T> x, int64_t nonzero, int64_t nonfinite) {
  test::OpCall<count_nonzero_args> zero;
  zero.args.x = view(dtype, x, {static_cast<int64_t>(x.size())});
  test::OpCall<count_nonfinite_args> finite;
  finite.args.x = zero.args.x;
  test::for_thread_counts([&] {
    CHECK_OK(RUN_OP(zero, count_nonzero));
    CHECK_OK(RUN_OP(finite, count_nonfinite));
    CHECK_MSG(*zero.args.count.as<int64_t>() == nonzero && *finite.args.count.as<int64_t>() == nonfinite, "%s: %lld nonzero, %lld not finite", dtype_name(dtype),
              (long long)*zero.args.count.as<int64_t>(), (long long)*finite.args.count.as<int64_t>());
    CHECK(zero.args.count.rank == 0 && zero.args.count.dtype == DType::i64);
  });
}
}  // namespace

TERSOR_TEST(count_elements) {
  std::vector<float> f(200001, 1.0f);
  f[0] = -0.0f, f[1] = 0, f[2] = NAN, f[200000] = -INFINITY, f[70000] = 1e-45f;
  check_counts(DType::f32, f, 199999, 2);
  std::vector<double> d(70001, 0.0);
  d[0] = -0.0, d[1] = 5e-324, d[2] = NAN, d[70000] = INFINITY, d[3] = 1e308;
  check_counts(DType::f64, d, 4, 2);
  check_counts(DType::f16, std::vector<uint16_t>{0, 0x8000, 1, 0x7c00, 0xfc01, 0x7bff}, 4, 2);
  check_counts(DType::bf16, std::vector<uint16_t>{0, 0x8000, 1, 0x7f80, 0xff81, 0x7f7f, 0x7c00}, 5, 2);
  check_counts(DType::i64, std::vector<int64_t>{0, INT64_MIN, 1}, 2, 0);
  check_counts(DType::i32, std::vector<int32_t>{0, INT32_MIN, 1}, 2, 0);
  check_counts(DType::u16, std::vector<uint16_t>{0, 0x8000, 1}, 2, 0);
  check_counts(DType::i8, std::vector<int8_t>{0, -128, 1}, 2, 0);
  check_counts(DType::b8, std::vector<uint8_t>{0, 1, 1}, 2, 0);
  check_counts(DType::f32, std::vector<float>{}, 0, 0);
  const std::vector<float> grid = {0, 1, 2, 3, NAN, 5};
  test::OpCall<count_nonfinite_args> call;
  call.args.x = view(DType::f32, grid, {3});
  call.args.x.stride[0] = 2;
  CHECK_OK(RUN_OP(call, count_nonfinite));
  CHECK(*call.args.count.as<int64_t>() == 1);
}

}  // namespace tersor
