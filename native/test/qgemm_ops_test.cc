// The ops of integer products against their definitions: qgemm_pack, qgemm_s32, qlinear, qlinear_dynamic, qmatmul, qmatmul_fixed.
#include "test/qgemm_problem.h"

using namespace tersor;
using namespace tersor::test;
using namespace tersor::test::qgemm;

TERSOR_TEST(qgemm_s32_is_exact) {
  const int before = thread_count();
  for (const auto& s : {std::vector<int64_t>{1, 1, 1}, {17, 67, 131}, {1, 300, 770}, {130, 97, 64}, {600, 40, 33}, {0, 5, 3}, {5, 0, 3}, {4, 5, 0}}) {
    const Problem p(s[0], s[1], s[2]);
    for (int form = 0; form < 8; form++) {
      Product product;
      product.as_signed = form & 1, product.per_row = form & 2, product.with_w_zeros = form & 4, product.zero = random_in(0, 255);
      CHECK_OK(set_thread_count(1 + form % 3));
      CHECK_OK(product.run(p));
      CHECK(product.dtype == DType::i32 && product.y == product.want);
    }
  }
  CHECK_OK(set_thread_count(before));
  const Problem p(2, 2, 3);
  for (const int64_t zero : {-1, 256}) {
    Product product;
    product.zero = zero;
    CHECK(product.run(p).code == Code::option);
    product.as_signed = true;
    CHECK(product.run(p).code == Code::option);
  }
}

// i32 as long as every result of the forms fits, i64 beyond; exact at the extremes of both.
TERSOR_TEST(qgemm_s32_widens_where_32_bits_cannot_hold_the_result) {
  struct Depth {
    int64_t k, zero;
    DType dtype;
  };
  for (const Depth& d : {Depth{65793, 0, DType::i32}, Depth{65794, 0, DType::i64}, Depth{131071, 128, DType::i32}, Depth{131072, 128, DType::i64},
                         Depth{200000, 128, DType::i64}, Depth{200000, 255, DType::i64}})
    for (const int x : {0, 255})
      for (const int w : {-128, 127}) {
        Problem p(1, 2, d.k);
        std::fill(p.x.begin(), p.x.end(), static_cast<uint8_t>(x));
        std::fill(p.w.begin(), p.w.end(), static_cast<int8_t>(w));
        Product product;
        product.zero = d.zero, product.as_signed = d.zero == 128;
        CHECK_OK(product.run(p));
        CHECK(product.dtype == d.dtype && product.y == product.want);
      }
  Problem p(18, 3, 140000);
  Product product;
  product.per_row = product.with_w_zeros = true;
  CHECK_OK(product.run(p));
  CHECK(product.dtype == DType::i64 && product.y == product.want);
}

TERSOR_TEST(qlinear_equals_its_definition) {
  const int before = thread_count();
  for (const auto& s : {std::vector<int64_t>{1, 50, 37}, {3, 130, 64}, {300, 70, 33}, {0, 4, 5}, {4, 6, 0}})
    for (const bool per_row : {false, true}) {
      const int64_t m = s[0], n = s[1], k = s[2];
      Array<float> x = Array<float>(DType::f32, {m, k}).uniform(-2, 2), bias = Array<float>(DType::f32, {n}).uniform(-1, 1);
      Array<float> scale = Array<float>(DType::f32, {per_row ? n : 1}).uniform(0.001, 0.01);
      Array<int8_t> w = Array<int8_t>(DType::i8, {n, k}).integers(-127, 127);
      const Packed packed(w.ref);
      for (int act = 0; act < 3; act++) {
        qlinear_args a{};
        a.x = x.ref, a.packed = packed.args.packed, a.w_scale = scale.ref, a.bias = bias.ref, a.out = n, a.x_scale = 0.0157, a.x_zero = 131;
        a.act = static_cast<activation>(act);
        std::vector<unsigned char> first;
        for (int threads : {1, 2, 7}) {
          CHECK_OK(set_thread_count(threads));
          CHECK_OK(qlinear_infer(a));
          Result y;
          y.attach(a.y);
          Context ctx;
          CHECK_OK(qlinear_cpu(a, ctx));
          CHECK(y.intact(a.y.bytes()));
          if (threads == 1) first = y.bytes;
          CHECK(first == y.bytes);
        }
        const float* y = reinterpret_cast<const float*>(first.data());
        for (int64_t i = 0; i < m; i++)
          for (int64_t j = 0; j < n; j++) {
            int32_t acc = 0;
            for (int64_t p = 0; p < k; p++) acc += (quantized(x[i * k + p], 0.0157f, 131) - 131) * w[j * k + p];
            float want = static_cast<float>(acc) * (0.0157f * scale[per_row ? j : 0]);
            want = want + bias[j];
            if (act == 1) want = want > 0 ? want : 0;
            if (act < 2) CHECK(y[i * n + j] == want);
            else CHECK(std::fabs(y[i * n + j] - 0.5f * want * (1 + std::erf(want * 0.70710678f))) <= 1e-6f * (1 + std::fabs(want)));
          }
      }
    }
  CHECK_OK(set_thread_count(before));
}

TERSOR_TEST(qlinear_rejects_what_does_not_fit) {
  Array<float> x(DType::f32, {2, 8}), scale(DType::f32, {1});
  Array<int8_t> w(DType::i8, {6, 8});
  const Packed packed(w.ref);
  const auto code = [&](auto change) {
    qlinear_args a{};
    a.x = x.ref, a.packed = packed.args.packed, a.w_scale = scale.ref, a.out = 6, a.x_scale = 1, a.x_zero = 0;
    change(a);
    Status s = qlinear_infer(a);
    if (!s.ok()) return s.code;
    Result y;
    y.attach(a.y);
    Context ctx;
    return qlinear_cpu(a, ctx).code;
  };
  CHECK(code([](qlinear_args&) {}) == Code::ok);
  CHECK(code([](qlinear_args& a) { a.x_scale = 0; }) == Code::option);
  CHECK(code([](qlinear_args& a) { a.x_scale = NAN; }) == Code::option);
  CHECK(code([](qlinear_args& a) { a.x_scale = 1e300; }) == Code::option);
  CHECK(code([](qlinear_args& a) { a.x_zero = 256; }) == Code::option);
  CHECK(code([](qlinear_args& a) { a.out = -1; }) == Code::option);
  CHECK(code([](qlinear_args& a) { a.out = 500; }) == Code::shape);
  CHECK(code([](qlinear_args& a) { a.x.dtype = DType::f64; }) == Code::dtype);
  CHECK(code([](qlinear_args& a) { a.packed.dtype = DType::i8; }) == Code::dtype);
  CHECK(code([](qlinear_args& a) { a.w_scale.shape[0] = 5; }) == Code::shape);
  // A damaged header is found before anything is computed.
  static_cast<unsigned char*>(packed.args.packed.data)[1] ^= 1;
  CHECK(code([](qlinear_args&) {}) == Code::option);
  static_cast<unsigned char*>(packed.args.packed.data)[1] ^= 1;
  CHECK(code([](qlinear_args& a) { a.packed.data = static_cast<char*>(a.packed.data) + 1; }) == Code::option);
  qgemm_pack_args p{};
  p.w = x.ref;
  CHECK(qgemm_pack_infer(p).code == Code::dtype);
}

// The forms of qmatmul and qlinear_dynamic against qgemm_s32's arithmetic, on codes that the test quantizes itself.
TERSOR_TEST(qmatmul_and_qlinear_dynamic_equal_their_definitions) {
  const int before = thread_count();
  for (const auto& s : {std::vector<int64_t>{1, 50, 37}, {5, 130, 64}, {100, 112, 64}, {300, 35, 40}, {2, 3, 132000}, {4, 6, 0}})
    for (int form = 0; form < 8; form++) {
      CHECK_OK(set_thread_count(1 + form / 2));
      const int64_t m = s[0], n = s[1], k = s[2];
      const bool dynamic = form & 1, second = form & 2, extras = form & 4;  // second: symmetric, or i8 codes
      Array<float> x = Array<float>(DType::f32, {m, k}).uniform(-2, 3), bias = Array<float>(DType::f32, {n}).uniform(-1, 1);
      Array<float> residual = Array<float>(DType::f32, {m, n}).uniform(-1, 1), scale = Array<float>(DType::f32, {n}).uniform(0.001, 0.01);
      Array<int8_t> w = Array<int8_t>(DType::i8, {n, k}).integers(-127, 127);
      Array<uint8_t> codes(second ? DType::i8 : DType::u8, {m, k});
      Array<float> x_scales = Array<float>(DType::f32, {m}).uniform(0.001, 0.01);
      Array<int32_t> x_zeros = Array<int32_t>(DType::i32, {m}).integers(second ? -128 : 0, second ? 127 : 255), w_zeros = Array<int32_t>(DType::i32, {n}).integers(-20, 20);
      codes.integers(0, 255);
      const Packed packed(w.ref);
      std::vector<float> want(static_cast<size_t>(m * n));
      for (int64_t i = 0; i < m; i++) {
        float step = 0.02f;
        int zero = second ? -7 : 7;
        if (dynamic) {
          float lo = 0, hi = 0;
          for (int64_t p = 0; p < k; p++) lo = std::fmin(lo, x[i * k + p]), hi = std::fmax(hi, x[i * k + p]);
          step = std::fmax(second ? std::fmax(-lo, hi) / 127.0f : hi / 255.0f - lo / 255.0f, 1.17549435e-38f);
          zero = second ? 0 : static_cast<int>(std::nearbyint(-lo / step));
        } else if (extras) {
          step = x_scales[i], zero = x_zeros[i];
        }
        for (int64_t j = 0; j < n; j++) {
          int64_t sum = 0;
          for (int64_t p = 0; p < k; p++) {
            int q = second ? static_cast<int8_t>(codes[i * k + p]) : codes[i * k + p];
            if (dynamic) {
              const float v = std::nearbyint(x[i * k + p] * (1.0f / step)) + static_cast<float>(zero), bottom = second ? -127.0f : 0.0f, top = second ? 127.0f : 255.0f;
              q = static_cast<int>(v < bottom ? bottom : v > top ? top : v);
            }
            sum += (q - zero) * (w[j * k + p] - (extras && !dynamic ? w_zeros[j] : 0));
          }
          float y = static_cast<float>(sum) * (step * scale[j]);
          y = y + bias[j];
          if (extras && y < 0) y = 0;
          want[static_cast<size_t>(i * n + j)] = extras ? y + residual[i * n + j] : y;
        }
      }
      Context ctx;
      Result y;
      if (dynamic) {
        qlinear_dynamic_args a{};
        a.x = x.ref, a.packed = packed.args.packed, a.w_scale = scale.ref, a.bias = bias.ref, a.out = n, a.symmetric = second;
        if (extras) a.residual = residual.ref, a.act = activation::relu;
        CHECK_OK(qlinear_dynamic_infer(a));
        y.attach(a.y);
        CHECK_OK(qlinear_dynamic_cpu(a, ctx));
        CHECK(y.intact(a.y.bytes()) && memcmp(a.y.data, want.data(), want.size() * 4) == 0);
        continue;
      }
      for (const DType dtype : {DType::f32, DType::u8, DType::i8}) {
        qmatmul_args a{};
        a.x = codes.ref, a.packed = packed.args.packed, a.w_scale = scale.ref, a.bias = bias.ref, a.out = n;
        a.x_scale = static_cast<double>(0.02f), a.x_zero = second ? -7 : 7, a.dtype = dtype, a.y_scale = 0.125, a.y_zero = 30;
        if (extras) a.act = activation::relu, a.residual = residual.ref, a.x_scales = x_scales.ref, a.x_zeros = x_zeros.ref, a.w_zeros = w_zeros.ref;
        CHECK_OK(qmatmul_infer(a));
        y.attach(a.y);
        CHECK_OK(qmatmul_cpu(a, ctx));
        CHECK(y.intact(a.y.bytes()));
        bool same = true;
        for (size_t i = 0; i < want.size(); i++) {
          const float q = std::nearbyint(want[i] * 8) + 30;
          if (dtype == DType::f32) same = same && a.y.as<float>()[i] == want[i];
          if (dtype == DType::u8) same = same && a.y.as<uint8_t>()[i] == (q < 0 ? 0 : q > 255 ? 255 : q);
          if (dtype == DType::i8) same = same && a.y.as<int8_t>()[i] == (q < -128 ? -128 : q > 127 ? 127 : q);
        }
        CHECK_MSG(same, "qmatmul %lldx%lldx%lld form %d to %s", (long long)m, (long long)k, (long long)n, form, dtype_name(dtype));
      }
    }
  CHECK_OK(set_thread_count(before));
}

TERSOR_TEST(qmatmul_fixed_equals_gemmlowp) {
  const int64_t m = 7, n = 33, k = 70;
  Array<uint8_t> x = Array<uint8_t>(DType::u8, {m, k}).integers(0, 255);
  Array<int8_t> w = Array<int8_t>(DType::i8, {n, k}).integers(-128, 127);
  Array<int32_t> bias = Array<int32_t>(DType::i32, {n}).integers(-5000, 5000), multiplier = Array<int32_t>(DType::i32, {n}).integers(1 << 30, INT32_MAX),
                 exponent = Array<int32_t>(DType::i32, {n}).integers(-14, -8);
  const Packed packed(w.ref);
  const auto call = [&](auto change, Result* y, qmatmul_fixed_args* out) {
    qmatmul_fixed_args a{};
    a.x = x.ref, a.packed = packed.args.packed, a.bias = bias.ref, a.multiplier = multiplier.ref, a.exponent = exponent.ref, a.out = n, a.x_zero = 100;
    a.dtype = DType::u8, a.y_zero = 110, a.lo = 100, a.hi = 250;
    change(a);
    TERSOR_TRY(qmatmul_fixed_infer(a));
    y->attach(a.y);
    Context ctx;
    TERSOR_TRY(qmatmul_fixed_cpu(a, ctx));
    CHECK(y->intact(a.y.bytes()));
    *out = a;
    return Status{};
  };
  Result y;
  qmatmul_fixed_args a{};
  CHECK_OK(call([](qmatmul_fixed_args&) {}, &y, &a));
  for (int64_t i = 0; i < m; i++)
    for (int64_t j = 0; j < n; j++) {
      int32_t sum = bias[j];
      for (int64_t p = 0; p < k; p++) sum += (x[i * k + p] - 100) * w[j * k + p];
      const int64_t q = int64_t(multiply_fixed(sum, multiplier[j], exponent[j])) + 110;
      CHECK(a.y.as<uint8_t>()[i * n + j] == (q < 100 ? 100 : q > 250 ? 250 : q));
    }
  const auto code = [&](auto change) { return call(change, &y, &a).code; };
  CHECK(code([](qmatmul_fixed_args& b) { b.dtype = DType::f32; }) == Code::dtype);
  CHECK(code([](qmatmul_fixed_args& b) { b.lo = -1; }) == Code::option);
  CHECK(code([](qmatmul_fixed_args& b) { b.hi = 99; }) == Code::option);
  CHECK(code([](qmatmul_fixed_args& b) { b.y_zero = 256; }) == Code::option);
  CHECK(code([](qmatmul_fixed_args& b) { b.multiplier.shape[0] = 2; }) == Code::shape);
  multiplier[3] = -1;
  CHECK(code([](qmatmul_fixed_args&) {}) == Code::option);
  multiplier[3] = 1, exponent[4] = 31;
  CHECK(code([](qmatmul_fixed_args&) {}) == Code::option);
}

TERSOR_TEST(qmatmul_rejects_what_does_not_fit) {
  Array<uint8_t> x(DType::u8, {2, 8});
  Array<int8_t> w(DType::i8, {6, 8});
  Array<float> scale(DType::f32, {6}), x_scales(DType::f32, {2}), residual(DType::f32, {2, 6});
  Array<int32_t> zeros(DType::i32, {2}), w_zeros(DType::i32, {6});
  scale.uniform(0.1, 1), x_scales.uniform(0.1, 1);
  const Packed packed(w.ref);
  const auto code = [&](auto change) {
    qmatmul_args a{};
    a.x = x.ref, a.packed = packed.args.packed, a.w_scale = scale.ref, a.out = 6, a.x_scale = 1, a.dtype = DType::f32, a.y_scale = 1;
    a.x_scales = x_scales.ref, a.x_zeros = zeros.ref, a.w_zeros = w_zeros.ref, a.residual = residual.ref;
    change(a);
    Status s = qmatmul_infer(a);
    if (!s.ok()) return s.code;
    Result y;
    y.attach(a.y);
    Context ctx;
    return qmatmul_cpu(a, ctx).code;
  };
  CHECK(code([](qmatmul_args&) {}) == Code::ok);
  CHECK(code([](qmatmul_args& a) { a.x.dtype = DType::f64; }) == Code::dtype);
  CHECK(code([](qmatmul_args& a) { a.x.shape[1] = 7; }) == Code::option);  // as long as the blob of K = 8: the header tells
  CHECK(code([](qmatmul_args& a) { a.x.shape[1] = 65; }) == Code::shape);
  CHECK(code([](qmatmul_args& a) { a.dtype = DType::i32; }) == Code::dtype);
  CHECK(code([](qmatmul_args& a) { a.dtype = DType::u8, a.y_zero = -1; }) == Code::option);
  for (const double bad : {0.0, -1.0, double(NAN), double(INFINITY), 1e-45, 1e39}) {
    CHECK(code([&](qmatmul_args& a) { a.x_scale = bad; }) == Code::option);
    CHECK(code([&](qmatmul_args& a) { a.dtype = DType::i8, a.y_scale = bad; }) == Code::option);
  }
  CHECK(code([](qmatmul_args& a) { a.x_zeros.dtype = DType::i64; }) == Code::dtype);
  CHECK(code([](qmatmul_args& a) { a.x_scales.shape[0] = 3; }) == Code::shape);
  CHECK(code([](qmatmul_args& a) { a.w_zeros.shape[0] = 1; }) == Code::shape);
  CHECK(code([](qmatmul_args& a) { a.residual.shape[1] = 5; }) == Code::shape);
  CHECK(code([](qmatmul_args& a) { a.packed.shape[0] -= 64; }) == Code::shape);
  for (const float bad : {0.0f, -1.0f, NAN, INFINITY}) {
    x_scales[1] = bad;
    CHECK(code([](qmatmul_args&) {}) == Code::option);
  }
  x_scales[1] = 1, scale[3] = NAN;
  CHECK(code([](qmatmul_args&) {}) == Code::option);
  scale[3] = 1, zeros[1] = 256;
  CHECK(code([](qmatmul_args&) {}) == Code::option);
  zeros[1] = 255, w_zeros[5] = 128;
  CHECK(code([](qmatmul_args&) {}) == Code::option);
}
