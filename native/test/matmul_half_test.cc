// matmul_half: operands between unreadable pages, all transposes, both 16-bit types, ragged sizes, empty sums and several pieces of k, against sums in double.
#include "base/float16.h"
#include "test/op_call.h"

using namespace tersor;
using namespace tersor::test;

namespace {

using Side = GuardedBuffer::Side;

float value(DType t, uint16_t bits) { return t == DType::f16 ? f32_from_f16(bits) : f32_from_bf16(bits); }
uint16_t bits_of(DType t, float x) { return t == DType::f16 ? f16_from_f32(x) : bf16_from_f32(x); }

struct Half : GuardedBuffer {
  int64_t rows, columns;
  TensorRef t{};
  Half(DType dtype, int64_t rows_, int64_t columns_, Side side) : GuardedBuffer(static_cast<size_t>(rows_ * columns_) * 2, side), rows(rows_), columns(columns_) {
    for (int64_t i = 0; i < rows * columns; i++) as<uint16_t>()[i] = bits_of(dtype, random_float(-2, 2));
    const int64_t shape[2] = {rows, columns};
    set_shape(t, dtype, shape, 2);
    t.data = as<void>();
  }
  double at(int64_t i, int64_t j, bool transposed) const {
    return static_cast<double>(value(t.dtype, as<uint16_t>()[transposed ? j * columns + i : i * columns + j]));
  }
};

void check(int64_t m, int64_t n, int64_t k, DType dtype, bool ta, bool tb, bool use_bias, bool half_result, Side side) {
  const Half a(dtype, ta ? k : m, ta ? m : k, side), b(dtype, tb ? n : k, tb ? k : n, side), bias(dtype, 1, n, side);
  OpCall<matmul_half_args> call;
  call.args.a = a.t, call.args.b = b.t, call.args.transpose_a = ta, call.args.transpose_b = tb;
  if (use_bias) set_shape(call.args.bias, dtype, &n, 1), call.args.bias.data = bias.as<void>();
  call.args.dtype = half_result ? dtype : DType::f32;
  CHECK_OK(RUN_OP(call, matmul_half));
  for (int64_t i = 0; i < m; i++)
    for (int64_t j = 0; j < n; j++) {
      double want = use_bias ? bias.at(0, j, false) : 0, size = std::fabs(want);
      for (int64_t p = 0; p < k; p++) {
        const double x = a.at(i, p, ta) * b.at(p, j, tb);
        want += x, size += std::fabs(x);
      }
      double bound = static_cast<double>(k + 8) * 6e-8 * size + 1e-30;
      if (half_result) bound += (dtype == DType::f16 ? 0.000489 : 0.00391) * std::fabs(want) + 6e-8;
      const float got = half_result ? value(dtype, call.args.y.as<uint16_t>()[i * n + j]) : call.args.y.as<float>()[i * n + j];
      CHECK_MSG(std::fabs(static_cast<double>(got) - want) <= bound, "%s %lldx%lldx%lld%s%s at %lld,%lld: got %g, want %g", dtype_name(dtype), (long long)m,
                (long long)n, (long long)k, ta ? " A^T" : "", tb ? " B^T" : "", (long long)i, (long long)j, static_cast<double>(got), want);
    }
}

}  // namespace

TERSOR_TEST(matmul_half_equals_the_definition_and_reads_nothing_else) {
  int turn = 0;
  const auto all = [&](int64_t m, int64_t n, int64_t k) {
    for (int flags = 0; flags < 8; flags++, turn++)
      check(m, n, k, flags & 4 ? DType::f16 : DType::bf16, flags & 1, flags & 2, turn % 3 == 0, turn % 2, turn % 5 < 2 ? Side::begin : Side::end);
    turn++;
  };
  for (int64_t i = 0; i < 12; i++) all(random_int(1, 40), random_int(1, 70), random_int(0, 40));
  all(1, 1, 1), all(0, 3, 2), all(3, 0, 2), all(2, 3, 0);
  all(13, 33, 511), all(12, 32, 512), all(7, 65, 513), all(3, 5, 1025), all(197, 9, 20), all(4, 530, 6);
}

TERSOR_TEST(matmul_half_gives_the_same_bytes_with_any_number_of_threads) {
  const Half a(DType::bf16, 500, 600, Side::end), b(DType::bf16, 600, 300, Side::end);
  std::vector<float> first;
  for_thread_counts([&] {
    OpCall<matmul_half_args> call;
    call.args.a = a.t, call.args.b = b.t, call.args.dtype = DType::f32;
    CHECK_OK(RUN_OP(call, matmul_half));
    const std::vector<float> y(call.args.y.as<float>(), call.args.y.as<float>() + 500 * 300);
    if (first.empty()) first = y;
    CHECK(y == first);
  });
}
