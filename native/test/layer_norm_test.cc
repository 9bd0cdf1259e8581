// Layer norm rows against the scalar row (equal bits); the ops against long double, the gradient against its formula and finite differences.
#include "kernels/layer_norm/layer_norm.h"

#include "test/op_call.h"

namespace tersor {
namespace {

using test::GuardedBuffer;
using test::random_float;
using test::view;

constexpr double kUnit = 1.0 / (1 << 24);

}  // namespace

TERSOR_TEST(layer_norm_rows_match_scalar_bit_for_bit) {
  const LayerNormRow<LayerNormArgs<float>>* rows;
  const LayerNormRow<LayerNormGradArgs<float>>* grads;
  const int count = layer_norm_table(&rows), grad_count = layer_norm_grad_table(&grads);
  CHECK(count == grad_count);
  for (int r = 0; r < count; r++) {
    if (rows[r].needs & ~isa::allowed()) continue;
    for (int64_t n : {1, 2, 3, 7, 8, 9, 15, 16, 17, 31, 33, 64, 65, 130, 768, 2049, 3001})
      for (int affine = 0; affine < 2; affine++) {
        const int64_t h = 3;
        GuardedBuffer gx(static_cast<size_t>(h * n) * 4), gg(static_cast<size_t>(n) * 4), gb(static_cast<size_t>(n) * 4, GuardedBuffer::Side::begin), gy(static_cast<size_t>(h * n) * 4),
            gd(static_cast<size_t>(h * n) * 4), gm(static_cast<size_t>(h) * 8);
        float *x = gx.as<float>(), *gamma = gg.as<float>(), *beta = gb.as<float>(), *y = gy.as<float>(), *dy = gd.as<float>(), *mean = gm.as<float>(), *rstd = mean + h;
        for (int64_t i = 0; i < h * n; i++) x[i] = random_float(-2, 3), dy[i] = random_float(-1, 1);
        for (int64_t i = 0; i < n; i++) gamma[i] = random_float(-1, 2), beta[i] = random_float(-1, 1);
        std::vector<float> y2(static_cast<size_t>(h * n)), mean2(static_cast<size_t>(h)), rstd2(static_cast<size_t>(h));
        rows[r].kernel({x, affine ? gamma : nullptr, affine ? beta : nullptr, y, mean, rstd, h, n, 1e-5});
        rows[count - 1].kernel({x, affine ? gamma : nullptr, affine ? beta : nullptr, y2.data(), mean2.data(), rstd2.data(), h, n, 1e-5});
        CHECK_MSG(memcmp(y, y2.data(), y2.size() * 4) == 0, "%s n %lld", rows[r].function, (long long)n);
        CHECK(memcmp(mean, mean2.data(), static_cast<size_t>(h) * 4) == 0 && memcmp(rstd, rstd2.data(), static_cast<size_t>(h) * 4) == 0);
        GuardedBuffer gdg(static_cast<size_t>(n) * 4), gdb(static_cast<size_t>(n) * 4);
        float *dgamma = gdg.as<float>(), *dbeta = gdb.as<float>();
        std::vector<float> dgamma2(static_cast<size_t>(n), 0.5f), dbeta2 = dgamma2;
        for (int64_t i = 0; i < n; i++) dgamma[i] = dbeta[i] = 0.5f;
        grads[r].kernel({x, affine ? gamma : nullptr, mean, rstd, dy, y, dgamma, dbeta, h, n});
        grads[count - 1].kernel({x, affine ? gamma : nullptr, mean, rstd, dy, y2.data(), dgamma2.data(), dbeta2.data(), h, n});
        CHECK_MSG(memcmp(y, y2.data(), y2.size() * 4) == 0, "%s n %lld", grads[r].function, (long long)n);
        CHECK(memcmp(dgamma, dgamma2.data(), static_cast<size_t>(n) * 4) == 0 && memcmp(dbeta, dbeta2.data(), static_cast<size_t>(n) * 4) == 0);
      }
  }
}

namespace {

template <class T> void check_forward(DType dtype, double unit, double offset, double spread) {
  for (int64_t n : {1, 2, 10, 96, 768, 3000}) {
    const int64_t rows = 37;
    std::vector<T> x(static_cast<size_t>(rows * n)), gamma(static_cast<size_t>(n)), beta(static_cast<size_t>(n));
    for (T& v : x) v = static_cast<T>(offset + spread * random_float(-1, 1));
    for (T& v : gamma) v = static_cast<T>(random_float(-2, 2));
    for (T& v : beta) v = static_cast<T>(random_float(-1, 1));
    test::for_thread_counts([&] {
      test::OpCall<layer_norm_args> call;
      call.args.x = view(dtype, x, {rows, n});
      call.args.gamma = view(dtype, gamma, {n});
      call.args.beta = view(dtype, beta, {n});
      call.args.eps = 1e-12;
      CHECK_OK(RUN_OP(call, layer_norm));
      for (int64_t r = 0; r < rows; r++) {
        const T* row = &x[static_cast<size_t>(r * n)];
        long double mean = 0, var = 0;
        for (int64_t i = 0; i < n; i++) mean += row[i];
        mean /= n;
        for (int64_t i = 0; i < n; i++) var += (row[i] - mean) * (row[i] - mean);
        const long double rstd = 1 / sqrtl(var / n + 1e-12L);
        CHECK(fabsl(call.args.mean.as<T>()[r] - mean) <= unit * (fabsl(mean) + 40 * spread));
        CHECK(n == 1 || fabsl(call.args.rstd.as<T>()[r] / rstd - 1) <= 48 * unit);
        for (int64_t i = 0; i < n && n > 1; i++) {
          const size_t k = static_cast<size_t>(i);
          const long double h = (row[i] - mean) * rstd, want = h * gamma[k] + beta[k];
          const long double bound = 48 * unit * (1 + fabsl(h)) * (fabsl(static_cast<long double>(gamma[k])) + 1);
          CHECK_MSG(fabsl(call.args.y.as<T>()[r * n + i] - want) <= bound, "n %lld: %.9g, want %.9Lg", (long long)n, static_cast<double>(call.args.y.as<T>()[r * n + i]), want);
        }
      }
    });
  }
}

// dx, dgamma, dbeta by their formulas in long double.
template <class T> void check_backward(DType dtype, double unit, int64_t rows, int64_t n, bool affine) {
  std::vector<T> x(static_cast<size_t>(rows * n)), dy(x.size()), gamma(static_cast<size_t>(n));
  for (T& v : x) v = static_cast<T>(random_float(-1, 2));
  for (T& v : dy) v = static_cast<T>(random_float(-1, 1));
  for (T& v : gamma) v = static_cast<T>(random_float(-2, 2));
  test::OpCall<layer_norm_args> forward;
  forward.args.x = view(dtype, x, {rows, n});
  forward.args.eps = 1e-5;
  CHECK_OK(RUN_OP(forward, layer_norm));
  std::vector<long double> dgamma(static_cast<size_t>(n), 0), dbeta = dgamma, gamma_size = dgamma, beta_size = dgamma, dx(x.size());
  for (int64_t r = 0; r < rows; r++) {
    const long double m = forward.args.mean.as<T>()[r], s = forward.args.rstd.as<T>()[r];
    long double g1 = 0, g2 = 0;
    for (int64_t i = 0; i < n; i++) {
      const size_t k = static_cast<size_t>(r * n + i), c = static_cast<size_t>(i);
      const long double h = (x[k] - m) * s, g = dy[k] * (affine ? static_cast<long double>(gamma[c]) : 1);
      g1 += g / n;
      g2 += g * h / n;
      dgamma[c] += dy[k] * h;
      dbeta[c] += dy[k];
      gamma_size[c] += fabsl(dy[k] * h);
      beta_size[c] += fabsl(static_cast<long double>(dy[k]));
    }
    for (int64_t i = 0; i < n; i++) {
      const size_t k = static_cast<size_t>(r * n + i), c = static_cast<size_t>(i);
      const long double h = (x[k] - m) * s, g = dy[k] * (affine ? static_cast<long double>(gamma[c]) : 1);
      dx[k] = s * (g - g1 - h * g2);
    }
  }
  std::vector<T> first;
  test::for_thread_counts([&] {
    test::OpCall<layer_norm_grad_args> call;
    call.args.x = forward.args.x;
    if (affine) call.args.gamma = view(dtype, gamma, {n});
    call.args.mean = forward.args.mean;
    call.args.rstd = forward.args.rstd;
    call.args.dy = view(dtype, dy, {rows, n});
    CHECK_OK(RUN_OP(call, layer_norm_grad));
    for (size_t k = 0; k < dx.size(); k++) CHECK_MSG(fabsl(call.args.dx.as<T>()[k] - dx[k]) <= 64 * unit * (4 + fabsl(dx[k])) * 4, "dx %zu: %g, want %Lg", k, static_cast<double>(call.args.dx.as<T>()[k]), dx[k]);
    for (size_t c = 0; c < dgamma.size(); c++) {
      CHECK(fabsl(call.args.dgamma.as<T>()[c] - dgamma[c]) <= 80 * unit * gamma_size[c]);
      CHECK(fabsl(call.args.dbeta.as<T>()[c] - dbeta[c]) <= 80 * unit * beta_size[c]);
    }
    const T* dg = call.args.dgamma.as<T>();
    if (first.empty()) first.assign(dg, dg + n);
    CHECK_MSG(memcmp(first.data(), dg, static_cast<size_t>(n) * sizeof(T)) == 0, "dgamma depends on the thread count");
  });
}

}  // namespace

TERSOR_TEST(layer_norm_f32) { check_forward<float>(DType::f32, kUnit, 0.3, 2); }
TERSOR_TEST(layer_norm_f32_large_offset) { check_forward<float>(DType::f32, kUnit, 1000, 2); }
TERSOR_TEST(layer_norm_f64) { check_forward<double>(DType::f64, 1.2e-16, 0.3, 2); }

TERSOR_TEST(layer_norm_grad_f32) {
  for (int64_t rows : {1, 3, 64, 65, 200})
    for (int64_t n : {2, 17, 96}) check_backward<float>(DType::f32, kUnit, rows, n, rows % 2);
  check_backward<float>(DType::f32, kUnit, 4500, 24, true);
}
TERSOR_TEST(layer_norm_grad_f64) { check_backward<double>(DType::f64, 1.2e-16, 70, 33, true); }

TERSOR_TEST(layer_norm_strided_and_empty) {
  std::vector<float> x(600);
  for (float& v : x) v = random_float(-1, 1);
  test::OpCall<layer_norm_args> call, dense;
  call.args.x = view(DType::f32, x, {20, 30});
  call.args.x.stride[0] = 1;
  call.args.x.stride[1] = 20;
  std::vector<float> turned(600);
  for (size_t i = 0; i < 20; i++)
    for (size_t j = 0; j < 30; j++) turned[i * 30 + j] = x[j * 20 + i];
  dense.args.x = view(DType::f32, turned, {20, 30});
  CHECK_OK(RUN_OP(call, layer_norm));
  CHECK_OK(RUN_OP(dense, layer_norm));
  CHECK(memcmp(call.args.y.data, dense.args.y.data, 2400) == 0);
  call.args.x = view(DType::f32, x, {0, 30});
  CHECK_OK(RUN_OP(call, layer_norm));
  test::OpCall<layer_norm_grad_args> grad;  // no rows: gradients of gamma and beta are zero
  grad.args.x = grad.args.dy = call.args.x;
  grad.args.mean = grad.args.rstd = view(DType::f32, x, {0});
  CHECK_OK(RUN_OP(grad, layer_norm_grad));
  for (int i = 0; i < 30; i++) CHECK(grad.args.dgamma.as<float>()[i] == 0 && grad.args.dbeta.as<float>()[i] == 0);
}

TERSOR_TEST(layer_norm_bad_arguments) {
  const std::vector<float> x(24);
  const std::vector<double> d(24);
  test::OpCall<layer_norm_args> call;
  call.args.x = view(DType::f32, x, {4, 6});
  call.args.eps = -1;
  CHECK_CODE(RUN_OP(call, layer_norm), Code::option);
  call.args.eps = NAN;
  CHECK_CODE(RUN_OP(call, layer_norm), Code::option);
  call.args.eps = 1e-5;
  call.args.gamma = view(DType::f32, x, {4});
  CHECK_CODE(RUN_OP(call, layer_norm), Code::shape);
  call.args.gamma = view(DType::f64, d, {6});
  CHECK_CODE(RUN_OP(call, layer_norm), Code::dtype);
  call.args.gamma = view(DType::f32, x, {6});
  call.args.beta = view(DType::f32, x, {1, 6});
  CHECK_CODE(RUN_OP(call, layer_norm), Code::shape);
  call.args.x = view(DType::f32, x, {4, 0});
  CHECK_CODE(RUN_OP(call, layer_norm), Code::shape);
  call.args.x = view(DType::f32, x, {});
  CHECK_CODE(RUN_OP(call, layer_norm), Code::shape);
  test::OpCall<layer_norm_grad_args> grad;
  grad.args.x = grad.args.dy = view(DType::f32, x, {4, 6});
  grad.args.mean = view(DType::f32, x, {4});
  grad.args.rstd = view(DType::f32, x, {6});
  CHECK_CODE(RUN_OP(grad, layer_norm_grad), Code::shape);
  grad.args.rstd = view(DType::f32, x, {4});
  grad.args.dy = view(DType::f32, x, {6, 4});
  CHECK_CODE(RUN_OP(grad, layer_norm_grad), Code::shape);
}

}  // namespace tersor
