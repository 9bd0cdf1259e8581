// Optimizer steps: rows against the scalar row (equal bits), the ops against the formulas in double over many steps, masks that hold zeros.
#include "kernels/optim/optim.h"

#include "test/op_call.h"

namespace tersor {
namespace {

using test::GuardedBuffer;
using test::random_float;
using test::view;

template <class Row> bool usable(const Row& row) { return (row.needs & ~isa::allowed()) == 0; }

bool kept(const std::vector<uint8_t>& mask, size_t i) { return mask.empty() || (mask[i / 8] >> (i % 8) & 1); }
bool positive_zero(double v) { return v == 0 && !std::signbit(v); }

}  // namespace

TERSOR_TEST(optim_rows_match_scalar_bit_for_bit) {
  const OptimRow<SgdArgs<float>>* sgd;
  const OptimRow<AdamwArgs<float>>* adamw;
  const int count = optim_sgd_table(&sgd);
  CHECK(optim_adamw_table(&adamw) == count);
  for (int r = 0; r < count; r++) {
    if (!usable(sgd[r])) continue;
    for (int64_t n : {0, 1, 2, 3, 4, 5, 7, 8, 9, 15, 16, 17, 24, 31, 32, 33, 100, 257})
      for (int masked = 0; masked < 2; masked++)
        for (GuardedBuffer::Side side : {GuardedBuffer::Side::end, GuardedBuffer::Side::begin}) {
          const size_t bytes = static_cast<size_t>(n) * 4, mask_bytes = static_cast<size_t>(n + 7) / 8;
          GuardedBuffer gp(bytes, side), gg(bytes, side), gm(bytes, side), gv(bytes, side), gk(mask_bytes, side);
          float *p = gp.as<float>(), *g = gg.as<float>(), *m = gm.as<float>(), *v = gv.as<float>();
          uint8_t* mask = masked ? gk.as<uint8_t>() : nullptr;
          for (int64_t i = 0; i < n; i++) p[i] = random_float(-1, 1), g[i] = random_float(-1, 1), m[i] = random_float(-1, 1), v[i] = random_float(0, 1);
          for (size_t i = 0; i < mask_bytes && masked; i++) mask[i] = static_cast<uint8_t>(test::rng()());
          std::vector<float> p2(p, p + n), m2(m, m + n), v2(v, v + n);
          for (bool nesterov : {false, true}) {
            sgd[r].kernel({p, g, m, mask, n, 0.1f, 0.9f, 0.01f, nesterov});
            sgd[count - 1].kernel({p2.data(), g, m2.data(), mask, n, 0.1f, 0.9f, 0.01f, nesterov});
          }
          adamw[r].kernel({p, g, m, v, mask, n, 0.999f, 1e-3f, 0.5f, 0.9f, 0.1f, 0.999f, 0.001f, 1e-8f, 0.0f});
          adamw[count - 1].kernel({p2.data(), g, m2.data(), v2.data(), mask, n, 0.999f, 1e-3f, 0.5f, 0.9f, 0.1f, 0.999f, 0.001f, 1e-8f, 0.0f});
          CHECK_MSG(bytes == 0 || (memcmp(p, p2.data(), bytes) == 0 && memcmp(m, m2.data(), bytes) == 0 && memcmp(v, v2.data(), bytes) == 0), "%s n %lld", sgd[r].function, (long long)n);
        }
  }
}

// Every row of rmsprop and lamb against the last one: equal bits, nothing touched outside.
TERSOR_TEST(optim_rmsprop_and_lamb_rows_match_scalar_bit_for_bit) {
  const OptimRow<RmspropArgs<float>>* rmsprop;
  const OptimRow<LambArgs<float>>* lamb;
  const int count = optim_rmsprop_table(&rmsprop);
  CHECK(optim_lamb_table(&lamb) == count);
  for (int r = 0; r < count; r++) {
    if (!usable(rmsprop[r])) continue;
    for (int64_t n : {0, 1, 3, 7, 8, 9, 15, 16, 17, 31, 33, 100, 257})
      for (int variant = 0; variant < 8; variant++)
        for (GuardedBuffer::Side side : {GuardedBuffer::Side::end, GuardedBuffer::Side::begin}) {
          const size_t bytes = static_cast<size_t>(n) * 4, mask_bytes = static_cast<size_t>(n + 7) / 8;
          GuardedBuffer gp(bytes, side), gg(bytes, side), ga(bytes, side), gb(bytes, side), gc(bytes, side), gk(mask_bytes, side);
          float *p = gp.as<float>(), *g = gg.as<float>(), *a = ga.as<float>(), *b = gb.as<float>(), *c = gc.as<float>();
          uint8_t* mask = variant & 1 ? gk.as<uint8_t>() : nullptr;
          for (int64_t i = 0; i < n; i++)
            p[i] = random_float(-1, 1), g[i] = random_float(-1, 1), a[i] = random_float(0, 1), b[i] = random_float(-2, 2), c[i] = random_float(-1, 1);
          for (size_t i = 0; i < mask_bytes && mask; i++) mask[i] = static_cast<uint8_t>(test::rng()());
          std::vector<float> p2(p, p + n), a2(a, a + n), b2(b, b + n), c2(c, c + n);
          const bool centered = variant & 2, momentum = variant & 4;
          rmsprop[r].kernel({p, g, a, centered ? b : nullptr, momentum ? c : nullptr, mask, n, 0.1f, 0.9f, 0.1f, 1e-8f, 0.5f, 0.01f});
          rmsprop[count - 1].kernel({p2.data(), g, a2.data(), centered ? b2.data() : nullptr, momentum ? c2.data() : nullptr, mask, n, 0.1f, 0.9f, 0.1f, 1e-8f,
                                     0.5f, 0.01f});
          const auto same = [&] {
            return bytes == 0 || (memcmp(p, p2.data(), bytes) == 0 && memcmp(a, a2.data(), bytes) == 0 && memcmp(b, b2.data(), bytes) == 0 &&
                                  memcmp(c, c2.data(), bytes) == 0);
          };
          CHECK_MSG(same(), "%s n %lld variant %d", rmsprop[r].function, (long long)n, variant);
          lamb[r].kernel({p, g, b, a, c, mask, n, 1.5f, 0.5f, 0.9f, 0.1f, 0.999f, 0.001f, 1e-6f, 0.01f});
          lamb[count - 1].kernel({p2.data(), g, b2.data(), a2.data(), c2.data(), mask, n, 1.5f, 0.5f, 0.9f, 0.1f, 0.999f, 0.001f, 1e-6f, 0.01f});
          CHECK_MSG(same(), "%s n %lld variant %d", lamb[r].function, (long long)n, variant);
        }
  }
}

namespace {

template <class T> void check_sgd(DType dtype, double tolerance, double momentum, double decay, bool nesterov, bool masked) {
  const int64_t n = 20011;
  std::vector<T> p(static_cast<size_t>(n)), v(p.size(), 0), g(p.size());
  std::vector<uint8_t> mask(masked ? static_cast<size_t>(n + 7) / 8 : 0);
  for (auto& b : mask) b = static_cast<uint8_t>(test::rng()());
  for (T& x : p) x = static_cast<T>(random_float(-1, 1));
  std::vector<double> p2(p.begin(), p.end()), v2(p.size(), 0);
  for (size_t i = 0; i < p.size(); i++)
    if (!kept(mask, i)) p2[i] = 0;
  for (int step = 0; step < 5; step++) {
    for (T& x : g) x = static_cast<T>(random_float(-1, 1));
    test::OpCall<sgd_step_args> call;
    call.args.p = view(dtype, p, {n});
    call.args.g = view(dtype, g, {n});
    call.args.velocity = view(dtype, v, {n});
    if (masked) call.args.mask = view(DType::u8, mask, {static_cast<int64_t>(mask.size())});
    call.args.lr = 0.1;
    call.args.momentum = momentum;
    call.args.weight_decay = decay;
    call.args.nesterov = nesterov;
    CHECK_OK(RUN_OP(call, sgd_step));
    for (size_t i = 0; i < p.size(); i++) {
      if (!kept(mask, i)) {
        CHECK(positive_zero(p[i]) && positive_zero(v[i]));
        continue;
      }
      const double grad = g[i] + decay * p2[i];
      v2[i] = momentum * v2[i] + grad;
      p2[i] -= 0.1 * (nesterov ? grad + momentum * v2[i] : v2[i]);
      CHECK(std::fabs(p[i] - p2[i]) <= tolerance && std::fabs(v[i] - v2[i]) <= 10 * tolerance);
    }
  }
}

template <class T> void check_adamw(DType dtype, double tolerance, double decay, bool masked) {
  const int64_t n = 20011;
  std::vector<T> p(static_cast<size_t>(n)), m(p.size(), 0), v(p.size(), 0), g(p.size());
  std::vector<uint8_t> mask(masked ? static_cast<size_t>(n + 7) / 8 : 0);
  for (auto& b : mask) b = static_cast<uint8_t>(test::rng()());
  for (T& x : p) x = static_cast<T>(random_float(-1, 1));
  std::vector<double> p2(p.begin(), p.end()), m2(p.size(), 0), v2(p.size(), 0);
  for (int step = 1; step <= 5; step++) {
    for (T& x : g) x = static_cast<T>(random_float(-1, 1));
    test::OpCall<adamw_step_args> call;
    call.args.p = view(dtype, p, {n});
    call.args.g = view(dtype, g, {n});
    call.args.m = view(dtype, m, {n});
    call.args.v = view(dtype, v, {n});
    if (masked) call.args.mask = view(DType::u8, mask, {static_cast<int64_t>(mask.size())});
    call.args.lr = 0.01;
    call.args.beta1 = 0.9;
    call.args.beta2 = 0.999;
    call.args.eps = 1e-8;
    call.args.weight_decay = decay;
    call.args.step = step;
    CHECK_OK(RUN_OP(call, adamw_step));
    for (size_t i = 0; i < p.size(); i++) {
      if (!kept(mask, i)) {
        CHECK(positive_zero(p[i]) && positive_zero(m[i]) && positive_zero(v[i]));
        continue;
      }
      m2[i] = 0.9 * m2[i] + 0.1 * g[i];
      v2[i] = 0.999 * v2[i] + 0.001 * static_cast<double>(g[i]) * g[i];
      p2[i] -= 0.01 * decay * p2[i];
      p2[i] -= 0.01 * (m2[i] / (1 - std::pow(0.9, step))) / (std::sqrt(v2[i] / (1 - std::pow(0.999, step))) + 1e-8);
      CHECK_MSG(std::fabs(p[i] - p2[i]) <= tolerance, "step %d at %zu: %.9g, want %.9g", step, i, static_cast<double>(p[i]), p2[i]);
    }
  }
}

}  // namespace

TERSOR_TEST(sgd_follows_its_formula) {
  check_sgd<float>(DType::f32, 3e-6, 0.9, 0.01, false, false);
  check_sgd<float>(DType::f32, 3e-6, 0.9, 0, true, true);
  check_sgd<float>(DType::f32, 3e-6, 0, 0.1, false, true);
  check_sgd<double>(DType::f64, 1e-14, 0.9, 0.01, true, true);
}

TERSOR_TEST(adamw_follows_its_formula) {
  check_adamw<float>(DType::f32, 3e-6, 0.1, false);
  check_adamw<float>(DType::f32, 3e-6, 0, true);
  check_adamw<double>(DType::f64, 1e-14, 0.1, true);
}

TERSOR_TEST(optim_mask_beats_nan_and_negative_zero) {
  std::vector<float> p = {NAN, -0.0f, 5, 1}, g = {1, -1, NAN, 1}, v = {NAN, -0.0f, INFINITY, 0};
  const std::vector<uint8_t> mask = {8};
  test::OpCall<sgd_step_args> call;
  call.args.p = view(DType::f32, p, {2, 2});
  call.args.g = view(DType::f32, g, {2, 2});
  call.args.velocity = view(DType::f32, v, {2, 2});
  call.args.mask = view(DType::u8, mask, {1});
  call.args.lr = 0.5;
  CHECK_OK(RUN_OP(call, sgd_step));
  for (size_t i = 0; i < 3; i++) CHECK(positive_zero(p[i]) && positive_zero(v[i]));
  CHECK(p[3] == 0.5f && v[3] == 1);
}

TERSOR_TEST(optim_strided_gradient_and_threads) {
  const int64_t n = 300 * 301;
  std::vector<float> g(static_cast<size_t>(n)), start(static_cast<size_t>(n)), first;
  for (float& x : g) x = random_float(-1, 1);
  for (float& x : start) x = random_float(-1, 1);
  test::for_thread_counts([&] {
    std::vector<float> p = start, v(start.size(), 0);
    test::OpCall<sgd_step_args> call;
    call.args.p = view(DType::f32, p, {300, 301});
    call.args.velocity = view(DType::f32, v, {300, 301});
    call.args.g = view(DType::f32, g, {300, 301});
    call.args.g.stride[0] = 1;
    call.args.g.stride[1] = 300;
    call.args.lr = 1;
    CHECK_OK(RUN_OP(call, sgd_step));
    CHECK(p[1] == start[1] - g[300]);
    if (first.empty()) first = p;
    CHECK(first == p);
  });
}

TERSOR_TEST(lamb_gives_the_same_bits_for_any_number_of_threads) {
  const int64_t n = 5 * 8192 + 77;
  std::vector<float> g(static_cast<size_t>(n)), start(g.size()), first;
  for (float& x : g) x = random_float(-1, 1);
  for (float& x : start) x = random_float(-1, 1);
  test::for_thread_counts([&] {
    std::vector<float> p = start, m(p.size()), v(p.size());
    for (int step = 1; step <= 3; step++) {
      test::OpCall<lamb_step_args> call;
      call.args.p = view(DType::f32, p, {n});
      call.args.g = view(DType::f32, g, {n});
      call.args.m = view(DType::f32, m, {n});
      call.args.v = view(DType::f32, v, {n});
      call.args.lr = 0.01;
      call.args.beta1 = 0.9;
      call.args.beta2 = 0.999;
      call.args.eps = 1e-6;
      call.args.weight_decay = 0.01;
      call.args.phi_max = 10;
      call.args.step = step;
      CHECK_OK(RUN_OP(call, lamb_step));
    }
    if (first.empty()) first = p;
    CHECK(first == p);
    CHECK(p != start);
  });
}

TERSOR_TEST(lamb_mask_beats_nan_in_norms_and_values) {
  std::vector<float> p = {NAN, 3, 4, 1}, g = {NAN, 1, -1, NAN}, m(4), v(4);
  const std::vector<uint8_t> mask = {6};
  test::OpCall<lamb_step_args> call;
  call.args.p = view(DType::f32, p, {4});
  call.args.g = view(DType::f32, g, {4});
  call.args.m = view(DType::f32, m, {4});
  call.args.v = view(DType::f32, v, {4});
  call.args.mask = view(DType::u8, mask, {1});
  call.args.lr = 0.1;
  call.args.phi_max = 10;
  call.args.step = 1;
  CHECK_OK(RUN_OP(call, lamb_step));
  CHECK(positive_zero(p[0]) && positive_zero(p[3]) && positive_zero(m[0]) && positive_zero(v[3]));
  // |p| = 5, u = (1, -1): ratio 5 / sqrt(2)
  CHECK(std::fabs(p[1] - (3 - 0.1 * 5 / std::sqrt(2.0))) < 1e-6 && std::fabs(p[2] - (4 + 0.1 * 5 / std::sqrt(2.0))) < 1e-6);
}

TERSOR_TEST(rmsprop_asks_for_the_state_of_its_options) {
  std::vector<float> p(24), g(24), square(24), other(24);
  const std::vector<float> none;
  test::OpCall<rmsprop_step_args> call;
  auto fresh = [&](bool mean, bool velocity) {
    call.args = {};
    call.args.p = view(DType::f32, p, {24});
    call.args.g = view(DType::f32, g, {24});
    call.args.square = view(DType::f32, square, {24});
    call.args.mean = mean ? view(DType::f32, other, {24}) : view(DType::f32, none, {0});
    call.args.velocity = velocity ? view(DType::f32, other, {24}) : view(DType::f32, none, {0});
    call.args.alpha = 0.99;
    call.args.eps = 1e-8;
  };
  fresh(false, false);
  CHECK_OK(RUN_OP(call, rmsprop_step));
  fresh(false, false);
  call.args.centered = true;
  CHECK_CODE(RUN_OP(call, rmsprop_step), Code::shape);
  fresh(false, false);
  call.args.momentum = 0.5;
  CHECK_CODE(RUN_OP(call, rmsprop_step), Code::shape);
  fresh(true, true);
  CHECK_OK(RUN_OP(call, rmsprop_step));
  for (double bad : {1.0, -0.1, double(NAN)}) {
    fresh(false, false);
    call.args.alpha = bad;
    CHECK_CODE(RUN_OP(call, rmsprop_step), Code::option);
  }
}

TERSOR_TEST(optim_bad_arguments) {
  std::vector<float> p(24), g(24), v(24), m(24);
  const std::vector<uint8_t> mask(3);
  test::OpCall<sgd_step_args> sgd;
  auto reset = [&] {
    sgd.args = {};
    sgd.args.p = view(DType::f32, p, {4, 6});
    sgd.args.g = view(DType::f32, g, {4, 6});
    sgd.args.velocity = view(DType::f32, v, {4, 6});
  };
  reset();
  CHECK_OK(RUN_OP(sgd, sgd_step));
  for (double bad : {-1.0, double(NAN), double(INFINITY)}) {
    reset();
    sgd.args.lr = bad;
    CHECK_CODE(RUN_OP(sgd, sgd_step), Code::option);
    reset();
    sgd.args.momentum = bad;
    CHECK_CODE(RUN_OP(sgd, sgd_step), Code::option);
    reset();
    sgd.args.weight_decay = bad;
    CHECK_CODE(RUN_OP(sgd, sgd_step), Code::option);
  }
  reset();
  sgd.args.g = view(DType::f32, g, {6, 4});
  CHECK_CODE(RUN_OP(sgd, sgd_step), Code::shape);
  reset();
  sgd.args.p.stride[0] = 1;
  sgd.args.p.stride[1] = 4;
  CHECK_CODE(RUN_OP(sgd, sgd_step), Code::shape);
  reset();
  sgd.args.mask = view(DType::u8, mask, {2});
  CHECK_CODE(RUN_OP(sgd, sgd_step), Code::shape);
  sgd.args.mask = view(DType::b8, mask, {3});
  CHECK_CODE(RUN_OP(sgd, sgd_step), Code::dtype);
  test::OpCall<adamw_step_args> adamw;
  auto fresh = [&] {
    adamw.args = {};
    adamw.args.p = view(DType::f32, p, {24});
    adamw.args.g = view(DType::f32, g, {24});
    adamw.args.m = view(DType::f32, m, {24});
    adamw.args.v = view(DType::f32, v, {24});
    adamw.args.eps = 1e-8;
    adamw.args.step = 1;
  };
  fresh();
  CHECK_OK(RUN_OP(adamw, adamw_step));
  fresh();
  adamw.args.step = 0;
  CHECK_CODE(RUN_OP(adamw, adamw_step), Code::option);
  fresh();
  adamw.args.beta1 = 1;
  CHECK_CODE(RUN_OP(adamw, adamw_step), Code::option);
  fresh();
  adamw.args.beta2 = NAN;
  CHECK_CODE(RUN_OP(adamw, adamw_step), Code::option);
  fresh();
  adamw.args.eps = -1;
  CHECK_CODE(RUN_OP(adamw, adamw_step), Code::option);
  fresh();
  adamw.args.m = view(DType::f32, m, {4, 6});
  CHECK_CODE(RUN_OP(adamw, adamw_step), Code::shape);
}

}  // namespace tersor
