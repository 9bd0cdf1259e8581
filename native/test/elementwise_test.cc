// Elementwise rows against the scalar row (equal bits), on ragged, misaligned and guarded memory; the ops against plain loops.
#include "kernels/elementwise/elementwise.h"

#include "test/op_call.h"

namespace tersor {
namespace {

using test::GuardedBuffer;
using test::list;
using test::random_float;
using test::random_int;
using test::view;

const int64_t kSizes[] = {0, 1, 2, 3, 4, 5, 7, 8, 9, 15, 16, 17, 23, 31, 32, 33, 63, 97, 257};

bool same(float a, float b) { return memcmp(&a, &b, 4) == 0 || (a != a && b != b); }

// Values of all kinds: ordinary, zeros, infinities, NaN, tiny, huge.
float any_float() {
  switch (random_int(0, 11)) {
    case 0: return 0.0f;
    case 1: return -0.0f;
    case 2: return random_int(0, 1) ? INFINITY : -INFINITY;
    case 3: return NAN;
    case 4: return random_float(-1e-40f, 1e-40f);
    case 5: return random_float(-3e38f, 3e38f);
    default: return random_float(-8, 8);
  }
}

template <class Row> bool usable(const Row& row) { return (row.needs & ~isa::allowed()) == 0; }

// A formula on plain numbers, as a second opinion on the tables.
double plain_binary(BinaryOp op, double a, double b) {
  switch (op) {
    case BinaryOp::add: return a + b;
    case BinaryOp::sub: return a - b;
    case BinaryOp::mul: return a * b;
    case BinaryOp::div: return a / b;
    case BinaryOp::maximum: return a != a || b != b ? NAN : a > b ? a : b;
    case BinaryOp::minimum: return a != a || b != b ? NAN : a < b ? a : b;
    case BinaryOp::greater: return a > b;
    case BinaryOp::gate: return b > 0 ? a : 0;
    case BinaryOp::equal: return a == b;
    default: return 0;
  }
}

}  // namespace

TERSOR_TEST(elementwise_unary_rows_are_bit_equal) {
  const ElementwiseRow<UnaryArgs<float>>* rows;
  const int count = elementwise_unary_table(&rows);
  for (int r = 0; r < count; r++) {
    if (!usable(rows[r])) continue;
    for (int64_t n : kSizes)
      for (GuardedBuffer::Side side : {GuardedBuffer::Side::end, GuardedBuffer::Side::begin}) {
        GuardedBuffer in(static_cast<size_t>(n) * 4, side), out(static_cast<size_t>(n) * 4, side);
        std::vector<float> want(static_cast<size_t>(n));
        float* x = in.as<float>();
        float* y = out.as<float>();
        for (int op = 0; op < static_cast<int>(UnaryOp::count); op++) {
          for (int64_t i = 0; i < n; i++) x[i] = any_float();
          rows[count - 1].kernel({static_cast<UnaryOp>(op), x, want.data(), n, -0.5f, 2.0f});
          rows[r].kernel({static_cast<UnaryOp>(op), x, y, n, -0.5f, 2.0f});
          for (int64_t i = 0; i < n; i++) CHECK_MSG(same(y[i], want[static_cast<size_t>(i)]), "%s op %d n %lld at %lld", rows[r].function, op, (long long)n, (long long)i);
          rows[r].kernel({static_cast<UnaryOp>(op), x, x, n, -0.5f, 2.0f});  // in place
          for (int64_t i = 0; i < n; i++) CHECK(same(x[i], y[i]));
        }
      }
  }
}

TERSOR_TEST(elementwise_binary_rows_are_bit_equal) {
  const ElementwiseRow<BinaryArgs<float>>* rows;
  const int count = elementwise_binary_table(&rows);
  for (int r = 0; r < count; r++) {
    if (!usable(rows[r])) continue;
    for (int64_t n : kSizes)
      for (int mode = 0; mode < 4; mode++) {
        const int64_t height = 3, sa = mode & 1, sb = mode >> 1;
        const int64_t size_a = n == 0 ? 0 : sa ? height * n : height, size_b = n == 0 ? 0 : sb ? n : height;
        GuardedBuffer ga(static_cast<size_t>(size_a) * 4), gb(static_cast<size_t>(size_b) * 4), gy(static_cast<size_t>(height * n) * 4);
        float *a = ga.as<float>(), *b = gb.as<float>(), *y = gy.as<float>();
        for (int64_t i = 0; i < size_a; i++) a[i] = any_float();
        for (int64_t i = 0; i < size_b; i++) b[i] = any_float();
        const int64_t row_a = sa ? n : 1, row_b = sb ? 0 : 1;
        for (int op = 0; op < static_cast<int>(BinaryOp::count); op++) {
          const BinaryOp which = static_cast<BinaryOp>(op);
          rows[r].kernel({which, a, b, y, height, n, row_a, row_b, sa, sb});
          for (int64_t i = 0; i < height; i++)
            for (int64_t j = 0; j < n; j++) {
              const float va = a[i * row_a + j * sa], vb = b[i * row_b + j * sb], want = static_cast<float>(plain_binary(which, va, vb));
              CHECK_MSG(same(y[i * n + j], want) || (y[i * n + j] == 0 && want == 0), "%s op %d (%g, %g) = %g, want %g", rows[r].function, op, va, vb, y[i * n + j], want);
            }
        }
      }
  }
}

namespace {

// y = a op b by indices, straight from the definition of broadcasting.
template <class T> std::vector<T> broadcast_reference(BinaryOp op, const TensorRef& a, const TensorRef& b, const TensorRef& y) {
  std::vector<T> out(static_cast<size_t>(y.size()));
  for (int64_t i = 0; i < y.size(); i++) {
    int64_t rest = i, at_a = 0, at_b = 0;
    for (int d = y.rank - 1; d >= 0; d--) {
      const int64_t k = rest % y.shape[d];
      rest /= y.shape[d];
      const int da = d - (y.rank - a.rank), db = d - (y.rank - b.rank);
      if (da >= 0 && a.shape[da] != 1) at_a += k * a.stride[da];
      if (db >= 0 && b.shape[db] != 1) at_b += k * b.stride[db];
    }
    const double v = plain_binary(op, static_cast<double>(a.as<T>()[at_a]), static_cast<double>(b.as<T>()[at_b]));
    out[static_cast<size_t>(i)] = static_cast<T>(v);
  }
  return out;
}

template <class Args, class T> void check_binary(BinaryOp op, Status (*infer)(Args&), Status (*cpu)(Args&, Context&), const TensorRef& a, const TensorRef& b) {
  test::for_thread_counts([&] {
    test::OpCall<Args> call;
    call.args.a = a;
    call.args.b = b;
    CHECK_OK(call.run(infer, cpu));
    const std::vector<T> want = broadcast_reference<T>(op, a, b, call.args.y);
    for (size_t i = 0; i < want.size(); i++) CHECK_MSG(call.args.y.template as<T>()[i] == want[i], "op %d at %zu of %s and %s", static_cast<int>(op), i, TERSOR_TEXT(a), TERSOR_TEXT(b));
  });
}

template <class T> void check_broadcasting(DType dtype) {
  std::vector<T> data(1 << 19), other(1 << 19);
  for (T& v : data) v = static_cast<T>(random_int(-9, 9));
  for (T& v : other) v = static_cast<T>(random_int(1, 9));
  auto run = [&](const TensorRef& a, const TensorRef& b) {
    check_binary<add_args, T>(BinaryOp::add, add_infer, add_cpu, a, b);
    check_binary<sub_args, T>(BinaryOp::sub, sub_infer, sub_cpu, b, a);
    check_binary<maximum_args, T>(BinaryOp::maximum, maximum_infer, maximum_cpu, a, b);
    check_binary<greater_args, T>(BinaryOp::greater, greater_infer, greater_cpu, a, b);
    check_binary<gate_args, T>(BinaryOp::gate, gate_infer, gate_cpu, a, b);
  };
  run(view(dtype, data, {}), view(dtype, other, {}));
  run(view(dtype, data, {7, 13}), view(dtype, other, {7, 13}));
  run(view(dtype, data, {300, 1001}), view(dtype, other, {1001}));
  run(view(dtype, data, {300, 1001}), view(dtype, other, {300, 1}));
  run(view(dtype, data, {3, 100001}), view(dtype, other, {3, 1}));
  run(view(dtype, data, {3, 1, 5}), view(dtype, other, {4, 1}));
  run(view(dtype, data, {2, 3, 4, 5}), view(dtype, other, {3, 1, 1}));
  run(view(dtype, data, {1, 17}), view(dtype, other, {19, 1}));
  run(view(dtype, data, {0, 4}), view(dtype, other, {4}));
  run(view(dtype, data, {3, 0, 1}), view(dtype, other, {1, 1, 5}));
  run(view(dtype, data, {64, 8}), view(dtype, other, {}));
  TensorRef turned = view(dtype, data, {33, 65});  // transposed and stepped views
  turned.stride[0] = 1;
  turned.stride[1] = 33;
  run(turned, view(dtype, other, {33, 65}));
  run(turned, view(dtype, other, {65}));
  TensorRef stepped = view(dtype, data, {10, 21});
  stepped.stride[0] = 100;
  stepped.stride[1] = 3;
  run(stepped, turned.shape[0] ? view(dtype, other, {10, 1}) : stepped);
  TensorRef wide = view(dtype, data, {5, 6, 7});  // a broadcast view as input
  wide.stride[0] = 7;
  wide.stride[1] = 0;
  wide.stride[2] = 1;
  run(wide, view(dtype, other, {5, 6, 1}));
}

}  // namespace

TERSOR_TEST(elementwise_ops_broadcast_f32) { check_broadcasting<float>(DType::f32); }
TERSOR_TEST(elementwise_ops_broadcast_f64) { check_broadcasting<double>(DType::f64); }
TERSOR_TEST(elementwise_ops_broadcast_i32) { check_broadcasting<int32_t>(DType::i32); }

TERSOR_TEST(elementwise_i32_wraps) {
  const std::vector<int32_t> a = {INT32_MAX, INT32_MIN, 65536, -5, 7}, b = {1, -1, 65536, 3, 7};
  test::OpCall<add_args> sum;
  sum.args.a = view(DType::i32, a, {5});
  sum.args.b = view(DType::i32, b, {5});
  CHECK_OK(RUN_OP(sum, add));
  CHECK(sum.args.y.as<int32_t>()[0] == INT32_MIN && sum.args.y.as<int32_t>()[1] == INT32_MAX);
  test::OpCall<mul_args> product;
  product.args.a = view(DType::i32, a, {5});
  product.args.b = view(DType::i32, b, {5});
  CHECK_OK(RUN_OP(product, mul));
  CHECK(product.args.y.as<int32_t>()[1] == INT32_MIN && product.args.y.as<int32_t>()[2] == 0 && product.args.y.as<int32_t>()[3] == -15);
  test::OpCall<div_args> quotient;
  quotient.args.a = view(DType::i32, a, {5});
  quotient.args.b = view(DType::i32, b, {5});
  CHECK_CODE(RUN_OP(quotient, div), Code::dtype);
}

TERSOR_TEST(elementwise_unary_ops) {
  std::vector<float> x(50001);
  for (float& v : x) v = random_float(-4, 4);
  std::vector<double> d(x.begin(), x.end());
  test::OpCall<tanh_args> f32, f64;
  f32.args.x = view(DType::f32, x, {50001});
  f64.args.x = view(DType::f64, d, {50001});
  CHECK_OK(RUN_OP(f64, tanh));
  test::for_thread_counts([&] {
    CHECK_OK(RUN_OP(f32, tanh));
    for (size_t i = 0; i < x.size(); i++) {
      CHECK(std::fabs(f64.args.y.as<double>()[i] - std::tanh(d[i])) <= 1e-15);
      CHECK(std::fabs(f32.args.y.as<float>()[i] - std::tanh(d[i])) <= 2e-7);
    }
  });
  test::OpCall<neg_args> turned;  // a transposed view comes out row-major
  turned.args.x = view(DType::f32, x, {10, 20});
  turned.args.x.stride[0] = 1;
  turned.args.x.stride[1] = 10;
  CHECK_OK(RUN_OP(turned, neg));
  for (size_t i = 0; i < 10; i++)
    for (size_t j = 0; j < 20; j++) CHECK(turned.args.y.as<float>()[i * 20 + j] == -x[j * 10 + i]);
  test::OpCall<clip_args> clip;
  clip.args.x = view(DType::f32, x, {50001});
  clip.args.lo = -1;
  clip.args.hi = 0.5;
  CHECK_OK(RUN_OP(clip, clip));
  for (size_t i = 0; i < x.size(); i++) CHECK(clip.args.y.as<float>()[i] == std::fmin(0.5f, std::fmax(-1.0f, x[i])));
  test::OpCall<scale_shift_args> line;
  line.args.x = view(DType::f64, d, {50001});
  line.args.scale = 3;
  line.args.shift = -1;
  CHECK_OK(RUN_OP(line, scale_shift));
  for (size_t i = 0; i < d.size(); i++) CHECK(line.args.y.as<double>()[i] == std::fma(d[i], 3.0, -1.0));
}

TERSOR_TEST(elementwise_bad_arguments) {
  const std::vector<float> x(24);
  const std::vector<int32_t> k(24);
  test::OpCall<clip_args> clip;
  clip.args.x = view(DType::f32, x, {24});
  clip.args.lo = 1;
  CHECK_CODE(RUN_OP(clip, clip), Code::option);
  clip.args.hi = NAN;
  CHECK_CODE(RUN_OP(clip, clip), Code::option);
  test::OpCall<exp_args> exp;
  exp.args.x = view(DType::i32, k, {24});
  CHECK_CODE(RUN_OP(exp, exp), Code::dtype);
  test::OpCall<add_args> add;
  add.args.a = view(DType::f32, x, {2, 3});
  add.args.b = view(DType::f32, x, {2, 4});
  CHECK_CODE(RUN_OP(add, add), Code::shape);
  add.args.b = view(DType::i32, k, {2, 3});
  CHECK_CODE(RUN_OP(add, add), Code::dtype);
}

TERSOR_TEST(elementwise_cancelled) {
  const std::vector<float> x(1 << 20);
  const Cancel cancel{true};
  test::OpCall<exp_args> exp;
  exp.cancel = &cancel;
  exp.args.x = view(DType::f32, x, {1 << 20});
  CHECK_CODE(RUN_OP(exp, exp), Code::aborted);
}

}  // namespace tersor
