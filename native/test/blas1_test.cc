// Long vectors: rows against the scalar row (equal bits), sums against long double, orthogonality after two passes, any number of threads.
#include "kernels/blas1/blas1.h"

#include <cmath>

#include "test/op_call.h"

namespace tersor {
namespace {

using test::GuardedBuffer;
using test::random_float;
using test::view;

std::vector<float> floats(int64_t n) {
  std::vector<float> out(static_cast<size_t>(n));
  for (float& x : out) x = random_float(-1, 1);
  return out;
}

}  // namespace

TERSOR_TEST(blas1_rows_match_scalar_bit_for_bit) {
  const Blas1Row* rows;
  const int count = blas1_table(&rows);
  for (int r = 0; r < count; r++) {
    if (rows[r].needs & ~isa::allowed()) continue;
    for (int64_t n : {0, 1, 2, 3, 7, 8, 9, 15, 16, 17, 31, 32, 33, 100, 1023})
      for (GuardedBuffer::Side side : {GuardedBuffer::Side::end, GuardedBuffer::Side::begin}) {
        const size_t bytes = static_cast<size_t>(n) * 4;
        GuardedBuffer ga(bytes, side), gb(bytes, side);
        float *a = ga.as<float>(), *b = gb.as<float>();
        for (int64_t i = 0; i < n; i++) a[i] = random_float(-1e3f, 1e3f), b[i] = random_float(-1, 1);
        const double got = rows[r].dot(a, b, n), want = rows[count - 1].dot(a, b, n);
        CHECK_MSG(memcmp(&got, &want, 8) == 0, "%s n %lld: %.17g, not %.17g", rows[r].function, (long long)n, got, want);
        long double exact = 0;
        for (int64_t i = 0; i < n; i++) exact += static_cast<long double>(a[i]) * b[i];
        CHECK(std::fabs(static_cast<double>(exact - want)) <= 1e-12 * (1 + 1e3 * static_cast<double>(n)));
        for (float beta : {0.0f, 1.0f, -0.3f}) {
          std::vector<float> y(b, b + n);
          if (beta == 0) for (int64_t i = 0; i < n; i++) b[i] = NAN;  // not read
          rows[r].axpby(b, a, n, 0.7f, beta);
          rows[count - 1].axpby(y.data(), a, n, 0.7f, beta);
          CHECK_MSG(n == 0 || memcmp(b, y.data(), bytes) == 0, "%s n %lld beta %g", rows[r].function, (long long)n, beta);
          if (beta == 0 && n > 0) CHECK(y[0] == 0.7f * a[0]);
        }
      }
  }
}

TERSOR_TEST(inner_product_does_not_depend_on_threads) {
  const int64_t n = 100003;
  std::vector<float> a = floats(n), b = floats(n);
  double exact = 0;
  for (size_t i = 0; i < a.size(); i++) exact += static_cast<double>(a[i]) * b[i];
  double first = 0;
  for (int threads : {1, 2, 3}) {
    CHECK_OK(set_thread_count(threads));
    test::OpCall<inner_product_args> call;
    call.args.a = view(DType::f32, a, {n});
    call.args.b = view(DType::f32, b, {n});
    CHECK_OK(RUN_OP(call, inner_product));
    const double got = *call.args.y.as<double>();
    if (threads == 1) first = got;
    CHECK(got == first);
    CHECK(std::fabs(got - exact) < 1e-9);
  }
}

TERSOR_TEST(orthogonalize_twice_leaves_nothing_of_the_basis) {
  const int64_t n = 20011, rows = 5;
  std::vector<float> basis(static_cast<size_t>(rows * n));
  for (int64_t r = 0; r <= rows; r++) {
    std::vector<float> v = floats(n);
    double norm = 0;
    for (int pass = 0; pass < 2; pass++) {
      test::OpCall<orthogonalize_args> call;
      call.args.v = view(DType::f32, v, {n});
      call.args.basis = view(DType::f32, basis, {rows, n});
      call.args.rows = r;
      CHECK_OK(RUN_OP(call, orthogonalize));
      norm = *call.args.norm.as<double>();
    }
    double square = 0;
    for (float x : v) square += static_cast<double>(x) * x;
    CHECK(std::fabs(norm - std::sqrt(square)) < 1e-9 * norm);
    for (int64_t q = 0; q < r; q++) {
      double dot = 0;
      for (size_t i = 0; i < v.size(); i++) dot += static_cast<double>(v[i]) * basis[static_cast<size_t>(q * n) + i];
      CHECK_MSG(std::fabs(dot) < 1e-6 * norm, "row %lld: %g", (long long)q, dot / norm);
    }
    if (r < rows)
      for (size_t i = 0; i < v.size(); i++) basis[static_cast<size_t>(r * n) + i] = static_cast<float>(v[i] / norm);
  }
}

TERSOR_TEST(orthogonalize_refuses_a_row_of_its_basis) {
  std::vector<float> basis = floats(6);
  test::OpCall<orthogonalize_args> call;
  call.args.v = view(DType::f32, basis, {3});
  call.args.basis = view(DType::f32, basis, {2, 3});
  call.args.rows = 1;
  CHECK(orthogonalize_infer(call.args).code == Code::option);
}

}  // namespace tersor
