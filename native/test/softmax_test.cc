// Softmax rows against the scalar row (equal bits) and both ops against long double.
#include "kernels/softmax/softmax.h"

#include "test/op_call.h"

namespace tersor {
namespace {

using test::GuardedBuffer;
using test::random_float;
using test::view;

constexpr double kUnit = 1.0 / (1 << 24);

template <class T> void check_row(const T* x, const T* y, int64_t n, bool log, double unit, double tiny) {
  long double m = -INFINITY, s = 0;
  for (int64_t i = 0; i < n; i++) m = x[i] > m ? static_cast<long double>(x[i]) : m;
  for (int64_t i = 0; i < n; i++) s += expl(x[i] - m);
  for (int64_t i = 0; i < n; i++) {
    const long double want = log ? x[i] - m - logl(s) : expl(x[i] - m) / s;
    // exp has an absolute error of the rounding of its argument x - m: |x - m| u.
    const long double bound = log ? 4 * unit * (1 + fabsl(want) + fabsl(x[i] - m) + logl(s)) : (8 + fabsl(x[i] - m)) * unit * want + tiny;
    CHECK_MSG(fabsl(y[i] - want) <= bound, "n %lld at %lld: x %g gives %.9g, want %.9Lg", (long long)n, (long long)i, static_cast<double>(x[i]), static_cast<double>(y[i]), want);
  }
}

}  // namespace

TERSOR_TEST(softmax_rows_match_scalar_bit_for_bit) {
  const SoftmaxRow* rows;
  const int count = softmax_table(&rows);
  for (int r = 0; r < count; r++) {
    if (rows[r].needs & ~isa::allowed()) continue;
    for (int64_t n : {0, 1, 2, 3, 5, 8, 10, 15, 16, 17, 31, 33, 63, 64, 65, 100, 129, 1001, 2048, 2049, 4099})
      for (int log = 0; log < 2; log++) {
        const int64_t height = 3;
        GuardedBuffer in(static_cast<size_t>(height * n) * 4), out(static_cast<size_t>(height * n) * 4, GuardedBuffer::Side::begin);
        float *x = in.as<float>(), *y = out.as<float>();
        for (int64_t i = 0; i < height * n; i++) x[i] = random_float(-12, 9);
        if (n > 2) x[n] = -INFINITY;
        std::vector<float> want(static_cast<size_t>(height * n));
        rows[count - 1].kernel({x, want.data(), height, n, log == 1});
        rows[r].kernel({x, y, height, n, log == 1});
        for (int64_t i = 0; i < height * n; i++) CHECK_MSG(y[i] == want[static_cast<size_t>(i)], "%s n %lld at %lld", rows[r].function, (long long)n, (long long)i);
        for (int64_t i = 0; i < height && n > 0; i++)
          if (i != 1) check_row(x + i * n, y + i * n, n, log == 1, kUnit, 1.5e-45);
        rows[r].kernel({x, x, height, n, log == 1});  // in place
        for (int64_t i = 0; i < height * n; i++) CHECK(x[i] == y[i]);
      }
  }
}

TERSOR_TEST(softmax_extremes) {
  const SoftmaxRow* rows;
  const int count = softmax_table(&rows);
  for (int r = 0; r < count; r++) {
    if (rows[r].needs & ~isa::allowed()) continue;
    float x[4] = {1e38f, -1e38f, 1e38f, 0}, y[4];
    rows[r].kernel({x, y, 1, 4, false});
    CHECK(y[0] == 0.5f && y[1] == 0 && y[2] == 0.5f && y[3] == 0);
    rows[r].kernel({x, y, 1, 4, true});
    CHECK(y[0] == std::log(0.5f) && y[1] == -2e38f && std::isfinite(y[3]));
    float none[3] = {-INFINITY, -INFINITY, -INFINITY};
    rows[r].kernel({none, y, 1, 3, false});
    CHECK(y[0] == 0 && y[1] == 0 && y[2] == 0);
    rows[r].kernel({none, y, 1, 3, true});
    CHECK(y[0] == -INFINITY && y[2] == -INFINITY);
    float masked[3] = {-INFINITY, 2, -INFINITY};
    rows[r].kernel({masked, y, 1, 3, false});
    CHECK(y[0] == 0 && y[1] == 1 && y[2] == 0);
    float bad[3] = {1, NAN, 2};
    rows[r].kernel({bad, y, 1, 3, false});
    CHECK(std::isnan(y[0]) && std::isnan(y[1]) && std::isnan(y[2]));
    float high[2] = {INFINITY, 2};
    rows[r].kernel({high, y, 1, 2, false});
    CHECK(std::isnan(y[0]));
  }
}

namespace {
template <class T> void check_ops(DType dtype, double unit, double tiny) {
  std::vector<T> x(90000);
  for (T& v : x) v = static_cast<T>(random_float(-5, 5));
  test::OpCall<softmax_args> call;
  test::OpCall<log_softmax_args> log;
  TensorRef turned = view(dtype, x, {30, 40, 50});
  turned.stride[0] = 1;
  turned.stride[1] = 30;
  turned.stride[2] = 1200;
  for (const TensorRef& t : {view(dtype, x, {90, 1000}), view(dtype, x, {9000, 10}), view(dtype, x, {1, 90000}), turned, view(dtype, x, {7}), view(dtype, x, {0, 4}), view(dtype, x, {4, 0})})
    test::for_thread_counts([&] {
      call.args.x = log.args.x = t;
      CHECK_OK(RUN_OP(call, softmax));
      CHECK_OK(RUN_OP(log, log_softmax));
      test::OpCall<copy_args> dense;
      dense.args.x = t;
      CHECK_OK(RUN_OP(dense, copy));
      const int64_t n = t.dim(-1);
      for (int64_t i = 0; n > 0 && i < t.size() / n; i += 1 + i / 50) {
        check_row(dense.args.y.as<T>() + i * n, call.args.y.as<T>() + i * n, n, false, unit, tiny);
        check_row(dense.args.y.as<T>() + i * n, log.args.y.as<T>() + i * n, n, true, unit, tiny);
      }
    });
  call.args.x = view(dtype, x, {});
  CHECK_CODE(RUN_OP(call, softmax), Code::shape);
  call.args.x = view(DType::i32, x, {4, 4});
  CHECK_CODE(RUN_OP(call, softmax), Code::dtype);
}
}  // namespace

TERSOR_TEST(softmax_ops_f32) { check_ops<float>(DType::f32, kUnit, 1.5e-45); }
TERSOR_TEST(softmax_ops_f64) { check_ops<double>(DType::f64, 1.2e-16, 5e-324); }

}  // namespace tersor
