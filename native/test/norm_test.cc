// Rows of kernels/norm and kernels/nonlinear against the scalar row (equal bits, guard pages) and, for the functions, against long double; the ops against long
// double formulas, with large offsets, and for every number of threads.
#include "kernels/norm/norm.h"

#include "kernels/nonlinear/nonlinear.h"
#include "test/op_call.h"

namespace tersor {
namespace test {
namespace {

using Side = GuardedBuffer::Side;

TERSOR_TEST(batch_norm_rows_match_scalar_bit_for_bit) {
  const NormRow<BatchNormArgs<float>>* rows;
  const NormRow<BatchNormGradArgs<float>>* grads;
  const NormRow<RmsNormArgs<float>>* rms;
  const NormRow<RmsNormGradArgs<float>>* rms_grads;
  const int count = norm_table(&rows, &grads, &rms, &rms_grads);
  for (int r = 0; r < count; r++) {
    if (rows[r].needs & ~isa::allowed()) continue;
    for (int64_t n : {1, 2, 7, 8, 9, 15, 16, 17, 31, 32, 33, 100, 1024, 1031, 3001})
      for (Side side : {Side::begin, Side::end}) {
        const int64_t runs = 3;
        const size_t bytes = static_cast<size_t>(runs * n) * 4;
        GuardedBuffer x(bytes, side), dy(bytes, side), y(bytes, side);
        for (int64_t i = 0; i < runs * n; i++) x.as<float>()[i] = random_float(-2, 3), dy.as<float>()[i] = random_float(-1, 1);
        GuardedBuffer residual(bytes, side), dresidual(bytes, side);
        for (int64_t i = 0; i < runs * n; i++) residual.as<float>()[i] = random_float(-1, 1);
        std::vector<float> y2(static_cast<size_t>(runs * n)), d2(y2.size());
        float stats[4], grad[4];
        // Bit 0: the sum; 1: the ReLU.
        for (int mode = 0; mode < 4; mode++) {
          const bool relu = mode & 2;
          const float* const more = mode & 1 ? residual.as<float>() : nullptr;
          rows[r].kernel({x.as<float>(), y.as<float>(), runs, n, n, 1.5f, -0.5f, 1e-5, stats, stats + 1, more, relu});
          rows[count - 1].kernel({x.as<float>(), y2.data(), runs, n, n, 1.5f, -0.5f, 1e-5, stats + 2, stats + 3, more, relu});
          CHECK_MSG(memcmp(y.as<float>(), y2.data(), bytes) == 0 && memcmp(stats, stats + 2, 8) == 0, "%s n %lld mode %d", rows[r].function, (long long)n, mode);
          const std::vector<float> value = y2;
          float* const dr = mode & 1 ? dresidual.as<float>() : nullptr;
          memcpy(residual.as<float>(), value.data(), bytes);  // guarded: the gradient reads y
          grads[r].kernel({x.as<float>(), dy.as<float>(), y.as<float>(), runs, n, n, 1.5f, stats[0], stats[1], 1e-5, grad, grad + 1,
                           relu ? residual.as<float>() : nullptr, dr});
          grads[count - 1].kernel({x.as<float>(), dy.as<float>(), y2.data(), runs, n, n, 1.5f, stats[0], stats[1], 1e-5, grad + 2, grad + 3,
                                   relu ? value.data() : nullptr, mode & 1 ? d2.data() : nullptr});
          CHECK_MSG(memcmp(y.as<float>(), y2.data(), bytes) == 0 && memcmp(grad, grad + 2, 8) == 0, "%s n %lld mode %d", grads[r].function, (long long)n, mode);
          if (!dr) continue;
          for (int64_t i = 0; i < runs * n; i++) {
            const float want = relu && !(value[static_cast<size_t>(i)] > 0) ? 0.0f : dy.as<float>()[i];
            CHECK_MSG(dr[i] == want && d2[static_cast<size_t>(i)] == want, "%s dresidual %lld of n %lld", grads[r].function, (long long)i, (long long)n);
          }
        }
        GuardedBuffer gamma(static_cast<size_t>(n) * 4, side), dgamma(static_cast<size_t>(n) * 4, side), rstd(static_cast<size_t>(runs) * 4, side);
        for (int64_t i = 0; i < n; i++) gamma.as<float>()[i] = random_float(-1, 2);
        for (const float* g : {static_cast<const float*>(gamma.as<float>()), static_cast<const float*>(nullptr)}) {
          std::vector<float> rstd2(3), dgamma2(static_cast<size_t>(n), 0.5f);
          for (int64_t i = 0; i < n; i++) dgamma.as<float>()[i] = 0.5f;
          rms[r].kernel({x.as<float>(), g, y.as<float>(), rstd.as<float>(), runs, n, 1e-5});
          rms[count - 1].kernel({x.as<float>(), g, y2.data(), rstd2.data(), runs, n, 1e-5});
          CHECK_MSG(memcmp(y.as<float>(), y2.data(), bytes) == 0 && memcmp(rstd.as<float>(), rstd2.data(), 12) == 0, "%s n %lld", rms[r].function, (long long)n);
          rms_grads[r].kernel({x.as<float>(), g, rstd2.data(), dy.as<float>(), y.as<float>(), dgamma.as<float>(), runs, n});
          rms_grads[count - 1].kernel({x.as<float>(), g, rstd2.data(), dy.as<float>(), y2.data(), dgamma2.data(), runs, n});
          CHECK_MSG(memcmp(y.as<float>(), y2.data(), bytes) == 0 && memcmp(dgamma.as<float>(), dgamma2.data(), dgamma2.size() * 4) == 0, "%s n %lld",
                    rms_grads[r].function, (long long)n);
        }
      }
  }
}

// y, dx, dgamma, dbeta of batch_norm by their formulas.
template <class T> void check_batch_norm(int64_t batch, int64_t channels, int64_t n, double offset) {
  const double unit = sizeof(T) == 4 ? 6e-8 : 1.2e-16, eps = 1e-5;
  const DType t = dtype_of<T>::value;
  std::vector<T> x(static_cast<size_t>(batch * channels * n)), dy(x.size()), gamma(static_cast<size_t>(channels)), beta(gamma.size());
  for (T& v : x) v = static_cast<T>(offset + random_float(-2, 2));
  for (T& v : dy) v = static_cast<T>(random_float(-1, 1));
  for (T& v : gamma) v = static_cast<T>(random_float(-2, 2));
  for (T& v : beta) v = static_cast<T>(random_float(-1, 1));
  OpCall<batch_norm_args> f;
  f.args = {view(t, x, {batch, channels, n}), view(t, gamma, {channels}), view(t, beta, {channels}), {}, eps, false, {}, {}, {}};
  OpCall<batch_norm_grad_args> g;
  for_thread_counts([&] {
    CHECK_OK(RUN_OP(f, batch_norm));
    g.args = {f.args.x, f.args.gamma, f.args.mean, f.args.variance, {}, view(t, dy, {batch, channels, n}), eps, false, {}, {}, {}, {}};
    CHECK_OK(RUN_OP(g, batch_norm_grad));
    for (int64_t c = 0; c < channels; c++) {
      const auto at = [&](int64_t b, int64_t i) { return static_cast<size_t>((b * channels + c) * n + i); };
      const double count = static_cast<double>(batch * n);
      long double mean = 0, variance = 0, sum = 0, sum_h = 0, size = 0;
      for (int64_t b = 0; b < batch; b++)
        for (int64_t i = 0; i < n; i++) mean += x[at(b, i)] / count;
      for (int64_t b = 0; b < batch; b++)
        for (int64_t i = 0; i < n; i++) variance += (x[at(b, i)] - mean) * (x[at(b, i)] - mean) / count;
      const long double s = 1 / sqrtl(variance + eps), scale = gamma[static_cast<size_t>(c)];
      for (int64_t b = 0; b < batch; b++)
        for (int64_t i = 0; i < n; i++) sum += dy[at(b, i)], sum_h += dy[at(b, i)] * (x[at(b, i)] - mean) * s, size += fabsl(static_cast<long double>(dy[at(b, i)])) * 3;
      // The mean that the gradient reads is rounded to T: with a large offset that is what limits it.
      const double lost = unit * (1 + offset);
      CHECK(fabsl(f.args.mean.as<T>()[c] - mean) <= lost && fabsl(f.args.variance.as<T>()[c] - variance) <= 64 * unit * variance + unit);
      CHECK(fabsl(g.args.dbeta.as<T>()[c] - sum) <= 64 * unit * size && fabsl(g.args.dgamma.as<T>()[c] - sum_h) <= 64 * lost * size);
      for (int64_t b = 0; b < batch; b++)
        for (int64_t i = 0; i < n; i++) {
          const long double h = (x[at(b, i)] - mean) * s, want = h * scale + beta[static_cast<size_t>(c)];
          CHECK_MSG(fabsl(f.args.y.as<T>()[at(b, i)] - want) <= 64 * unit * (1 + fabsl(h)) * (1 + fabsl(scale)), "%g, want %Lg", (double)f.args.y.as<T>()[at(b, i)], want);
          const long double dx = scale * s * (dy[at(b, i)] - sum / count - h * sum_h / count);
          CHECK_MSG(fabsl(g.args.dx.as<T>()[at(b, i)] - dx) <= 256 * lost * (1 + fabsl(scale) * s), "dx %g, want %Lg", (double)g.args.dx.as<T>()[at(b, i)], dx);
        }
    }
  });
}

TERSOR_TEST(batch_norm_ops) {
  for (int64_t n : {1, 5, 64, 200}) check_batch_norm<float>(6, 3, n, 0.3), check_batch_norm<double>(6, 3, n, 0.3);
  check_batch_norm<float>(3, 2, 1100, 1000);
}

// y = max(0, norm + residual) and its gradient against the plain op.
TERSOR_TEST(batch_norm_with_residual_and_relu) {
  for (int64_t batch : {2, 300}) {
    const int64_t channels = 2, n = batch == 2 ? 4 : 100;
    const size_t size = static_cast<size_t>(batch * channels * n);
    std::vector<float> x(size), residual(size), dy(size), gated(size);
    for (float& v : x) v = random_float(-2, 2);
    for (float& v : residual) v = random_float(-1, 1);
    for (float& v : dy) v = random_float(-1, 1);
    const TensorRef xs = view(DType::f32, x, {batch, channels, n});
    OpCall<batch_norm_args> plain, fused;
    plain.args = {xs, {}, {}, {}, 1e-5, false, {}, {}, {}};
    CHECK_OK(RUN_OP(plain, batch_norm));
    for_thread_counts([&] {
      fused.args = {xs, {}, {}, view(DType::f32, residual, {batch, channels, n}), 1e-5, true, {}, {}, {}};
      CHECK_OK(RUN_OP(fused, batch_norm));
      for (size_t i = 0; i < size; i++) {
        const float sum = plain.args.y.as<float>()[i] + residual[i], want = sum > 0 ? sum : 0.0f;
        CHECK(fused.args.y.as<float>()[i] == want);
        gated[i] = want > 0 ? dy[i] : 0.0f;
      }
      OpCall<batch_norm_grad_args> one, two;
      one.args = {xs, {}, plain.args.mean, plain.args.variance, {}, view(DType::f32, gated, {batch, channels, n}), 1e-5, false, {}, {}, {}, {}};
      CHECK_OK(RUN_OP(one, batch_norm_grad));
      for (bool wanted : {false, true}) {
        two.args = {xs, {}, plain.args.mean, plain.args.variance, fused.args.y, view(DType::f32, dy, {batch, channels, n}), 1e-5, wanted, {}, {}, {}, {}};
        CHECK_OK(RUN_OP(two, batch_norm_grad));
        CHECK(memcmp(one.args.dx.data, two.args.dx.data, size * 4) == 0 && memcmp(one.args.dgamma.data, two.args.dgamma.data, 8) == 0);
        CHECK(memcmp(one.args.dbeta.data, two.args.dbeta.data, 8) == 0 && two.args.dresidual.size() == (wanted ? static_cast<int64_t>(size) : 0));
        if (wanted) CHECK(memcmp(two.args.dresidual.data, gated.data(), size * 4) == 0);
      }
    });
  }
  const std::vector<float> x(24);
  OpCall<batch_norm_args> bad;
  bad.args = {view(DType::f32, x, {2, 3, 4}), {}, {}, view(DType::f32, x, {2, 4, 3}), 1e-5, true, {}, {}, {}};
  CHECK_CODE(RUN_OP(bad, batch_norm), Code::shape);
}

TERSOR_TEST(rms_norm_gradient_over_many_rows) {
  const int64_t rows = 300, n = 37;
  std::vector<float> x(static_cast<size_t>(rows * n)), dy(x.size()), gamma(static_cast<size_t>(n));
  for (float& v : x) v = random_float(-2, 2);
  for (float& v : dy) v = random_float(-1, 1);
  for (float& v : gamma) v = random_float(-2, 2);
  OpCall<rms_norm_args> f;
  f.args = {view(DType::f32, x, {rows, n}), view(DType::f32, gamma, {n}), 1e-6, {}, {}};
  CHECK_OK(RUN_OP(f, rms_norm));
  std::vector<double> want(static_cast<size_t>(n)), size(want.size());
  for (int64_t r = 0; r < rows; r++) {
    double square = 0, along = 0;
    for (int64_t i = 0; i < n; i++) square += static_cast<double>(x[static_cast<size_t>(r * n + i)]) * static_cast<double>(x[static_cast<size_t>(r * n + i)]) / n;
    const double s = 1 / std::sqrt(square + 1e-6);
    for (int64_t i = 0; i < n; i++) {
      const size_t k = static_cast<size_t>(r * n + i), c = static_cast<size_t>(i);
      const double h = static_cast<double>(x[k]) * s;
      want[c] += static_cast<double>(dy[k]) * h, size[c] += std::abs(static_cast<double>(dy[k]) * h);
      along += static_cast<double>(dy[k]) * static_cast<double>(gamma[c]) * h / n;
      CHECK(std::abs(static_cast<double>(f.args.y.as<float>()[k]) - h * static_cast<double>(gamma[c])) <= 1e-5);
    }
    if (r) continue;
    OpCall<rms_norm_grad_args> first;
    first.args = {view(DType::f32, x, {1, n}), f.args.gamma, view(DType::f32, std::vector<float>{}, {1}), view(DType::f32, dy, {1, n}), {}, {}};
    first.args.rstd.data = f.args.rstd.data;
    CHECK_OK(RUN_OP(first, rms_norm_grad));
    for (int64_t i = 0; i < n; i++) {
      const size_t c = static_cast<size_t>(i);
      const double dx = s * (static_cast<double>(dy[c]) * static_cast<double>(gamma[c]) - static_cast<double>(x[c]) * s * along);
      CHECK(std::abs(static_cast<double>(first.args.dx.as<float>()[c]) - dx) <= 1e-5);
    }
  }
  std::vector<float> bits;
  OpCall<rms_norm_grad_args> g;
  g.args = {f.args.x, f.args.gamma, f.args.rstd, view(DType::f32, dy, {rows, n}), {}, {}};
  for_thread_counts([&] {
    CHECK_OK(RUN_OP(g, rms_norm_grad));
    const float* d = g.args.dgamma.as<float>();
    for (size_t c = 0; c < want.size(); c++) CHECK(std::abs(static_cast<double>(d[c]) - want[c]) <= 5e-6 * size[c]);
    if (bits.empty()) bits.assign(d, d + n);
    CHECK_MSG(memcmp(bits.data(), d, bits.size() * 4) == 0, "dgamma depends on the thread count");
  });
}

double exact(NonlinearOp op, double x, double p, double q) {
  switch (op) {
    case NonlinearOp::leaky_relu: return x > 0 ? x : p * x;
    case NonlinearOp::elu: return q * (x > 0 ? x : p * std::expm1(x));
    case NonlinearOp::gelu: return 0.5 * x * std::erfc(-x * 0.70710678118654752);
    case NonlinearOp::gelu_tanh: return x / (1 + std::exp(-1.59576912160573071 * (x + 0.044715 * x * x * x)));
    case NonlinearOp::silu: return x / (1 + std::exp(-x));
    case NonlinearOp::mish: return x * std::tanh(std::log1p(std::exp(x)));
    case NonlinearOp::hard_swish: return x * std::fmin(1, std::fmax(0, x + 3) / 6);
    case NonlinearOp::hard_sigmoid: return std::fmin(1, std::fmax(0, x + 3) / 6);
    case NonlinearOp::softplus: return (std::fmax(0, p * x) + std::log1p(std::exp(-std::abs(p * x)))) / p;
    case NonlinearOp::softsign: return x / (1 + std::abs(x));
    default: return std::fmin(0, x) - std::log1p(std::exp(-std::abs(x)));
  }
}

TERSOR_TEST(nonlinear_rows_match_scalar_and_double) {
  const NonlinearRow* rows;
  const int count = nonlinear_table(&rows);
  std::vector<float> x;
  for (int e = -40; e <= 6; e++)
    for (int k = 0; k < 9; k++)
      for (float s : {-1.0f, 1.0f}) x.push_back(s * std::ldexp(1.0f + static_cast<float>(k) / 9, e));
  for (float v : {0.0f, -0.0f, 3.0f, -3.0f, 3e38f, -3e38f, NAN}) x.push_back(v);
  const size_t n = x.size();
  for (int op = 0; op < static_cast<int>(NonlinearOp::count); op++) {
    const NonlinearOp which = static_cast<NonlinearOp>(op);
    const double p = which == NonlinearOp::softplus ? 1.5 : 0.3, q = 1.25;
    std::vector<float> want(n), slope(n), dy(n, 2.0f);
    rows[count - 1].kernel({which, x.data(), nullptr, want.data(), static_cast<int64_t>(n), static_cast<float>(p), static_cast<float>(q)});
    rows[count - 1].kernel({which, x.data(), dy.data(), slope.data(), static_cast<int64_t>(n), static_cast<float>(p), static_cast<float>(q)});
    const double argument = which == NonlinearOp::softplus ? 6e-8 : 0;  // p x is rounded before the exponential
    const bool loose = which == NonlinearOp::gelu || which == NonlinearOp::mish || which == NonlinearOp::silu || which == NonlinearOp::gelu_tanh;
    for (size_t i = 0; i < n; i++) {
      const double v = static_cast<double>(x[i]), y = exact(which, v, static_cast<double>(static_cast<float>(p)), q), got = static_cast<double>(want[i]);
      if (std::isnan(v)) CHECK(std::isnan(got));
      else if (std::abs(v) > 1e6) CHECK_MSG(std::abs(y) > 3.4e38 || std::abs(got - y) <= 1e-6 * std::abs(y) + 1e-6 || std::isnan(y), "op %d at %g: %g, want %g", op, v, got, y);
      else CHECK_MSG(std::abs(got - y) <= (loose ? 4.8e-7 * std::fmax(std::abs(y), std::abs(v) / 2) : (4.8e-7 + argument * std::abs(p * v)) * std::abs(y)) + 1e-44, "op %d at %.9g: %.9g, want %.9g", op, v, got, y);
      const double kink = std::fmin(std::abs(v), std::abs(std::abs(v) - 3));
      if (std::isnan(v) || std::abs(v) > 50 || kink < 1e-3) continue;
      const double h = 1e-5, d = (exact(which, v + h, p, q) - exact(which, v - h, p, q)) / (2 * h);
      CHECK_MSG(std::abs(static_cast<double>(slope[i]) - 2 * d) <= 1e-5 * (1 + std::abs(d)), "slope of op %d at %g: %g, want %g", op, v, static_cast<double>(slope[i]), 2 * d);
    }
    for (int r = 0; r < count; r++) {
      if (rows[r].needs & ~isa::allowed()) continue;
      for (size_t cut : {n, size_t(0), size_t(1), size_t(15), size_t(17)}) {
        GuardedBuffer gx(cut * 4), gy(cut * 4, Side::begin), gd(cut * 4);
        for (size_t i = 0; i < cut; i++) gx.as<float>()[i] = x[n - cut + i], gd.as<float>()[i] = 2;
        const NonlinearArgs<float> a = {which, gx.as<float>(), nullptr, gy.as<float>(), static_cast<int64_t>(cut), static_cast<float>(p), static_cast<float>(q)};
        rows[r].kernel(a);
        for (size_t i = 0; i < cut; i++) {
          const float v = gy.as<float>()[i], w = want[n - cut + i];
          CHECK_MSG(memcmp(&v, &w, 4) == 0 || (std::isnan(v) && std::isnan(w)), "%s op %d at %g: %.9g, scalar %.9g", rows[r].function, op, static_cast<double>(x[n - cut + i]), static_cast<double>(v), static_cast<double>(w));
        }
        NonlinearArgs<float> g = a;
        g.dy = gd.as<float>();
        rows[r].kernel(g);
        for (size_t i = 0; i < cut; i++) {
          const float v = gy.as<float>()[i], w = slope[n - cut + i];
          CHECK_MSG(memcmp(&v, &w, 4) == 0 || (std::isnan(v) && std::isnan(w)), "%s slope of op %d at %g", rows[r].function, op, static_cast<double>(x[n - cut + i]));
        }
      }
    }
  }
}

}  // namespace
}  // namespace test
}  // namespace tersor
