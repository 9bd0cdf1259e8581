// Integer matrix product: every row usable here against 64-bit sums, exact, with unreadable pages around all operands; then the ops
// qgemm_pack, qgemm_s32, qlinear and qconv2d.
#include "cpu/threads.h"
#include "kernels/qgemm/qgemm.h"
#include "test/op_tensor.h"

using namespace tersor;
using namespace tersor::test;

namespace {

using Side = GuardedBuffer::Side;

template <class F> void each_row(F fn) {
  const QgemmRow* rows;
  const int n = qgemm_all_rows(&rows);
  for (int i = 0; i < n; i++)
    if ((rows[i].needs & ~isa::allowed()) == 0) fn(rows[i]);
}

int random_in(int lo, int hi) { return std::uniform_int_distribution<int>(lo, hi)(rng()); }

struct Problem {
  int64_t m, n, k;
  std::vector<uint8_t> x;
  std::vector<int8_t> w;
  Problem(int64_t m_, int64_t n_, int64_t k_) : m(m_), n(n_), k(k_), x(static_cast<size_t>(m_ * k_)), w(static_cast<size_t>(n_ * k_)) {
    for (auto& v : x) v = static_cast<uint8_t>(random_in(0, 255));
    for (auto& v : w) v = static_cast<int8_t>(random_in(-128, 127));
  }
  void extreme() {  // signs that would saturate 16-bit pairs
    for (auto& v : x) v = 255;
    for (auto& v : w) v = random_in(0, 1) ? 127 : -128;
  }
  int64_t sum(int64_t i, int64_t j, int64_t zero) const {
    int64_t s = 0;
    for (int64_t p = 0; p < k; p++) s += (x[static_cast<size_t>(i * k + p)] - zero) * w[static_cast<size_t>(j * k + p)];
    return s;
  }
};

// Runs one row on the problem; A and outputs end (or begin) at unreadable pages, and so does the packed blob.
void check_row(const QgemmRow& row, const Problem& p, int zero, QgemmAct act, Side side) {
  const int64_t depth = row.depth(p.k), bytes = qgemm_blob_bytes(row, p.n, p.k);
  GuardedBuffer blob(static_cast<size_t>(bytes), side), a(static_cast<size_t>(p.m * depth * row.a_bytes), side), c(static_cast<size_t>(p.m * p.n) * 4, side),
      f(static_cast<size_t>(p.m * p.n) * 4, side), scale(static_cast<size_t>(p.n) * 4, side), bias(static_cast<size_t>(p.n) * 4, side);
  qgemm_blob_header(row, p.n, p.k, blob.as<void>());
  qgemm_pack_blob(row, p.w.data(), p.k, p.n, p.k, 0, row.panels(p.n), blob.as<void>());
  CHECK(qgemm_blob_fits(row, blob.as<void>(), bytes, p.n, p.k) && !qgemm_blob_fits(row, blob.as<void>(), bytes, p.n + 1, p.k));
  for (int64_t i = 0; i < p.m; i++)
    for (int64_t j = 0; j < depth; j++) {
      const uint8_t v = j < p.k ? p.x[static_cast<size_t>(i * p.k + j)] : 255;  // padding of A must not matter
      if (row.a_bytes == 1) a.as<uint8_t>()[i * depth + j] = v;
      else a.as<uint16_t>()[i * depth + j] = v;
    }
  for (int64_t j = 0; j < p.n; j++) scale.as<float>()[j] = static_cast<float>(j + 1) * 1e-5f, bias.as<float>()[j] = static_cast<float>(j % 5) - 2.0f;
  QgemmBlock q;
  q.m = p.m, q.n = p.n, q.k = p.k;
  q.a = a.as<void>(), q.a_row = depth;
  q.b = qgemm_blob_panels(row, blob.as<void>(), p.n), q.column_sum = qgemm_blob_sums(blob.as<void>());
  q.x_zero = zero;
  q.c = c.as<int32_t>(), q.c_row = p.n;
  row.block(q);
  q.c = nullptr, q.f = f.as<float>(), q.scale = scale.as<float>(), q.bias = bias.as<float>(), q.act = act;
  row.block(q);
  for (int64_t i = 0; i < p.m; i++)
    for (int64_t j = 0; j < p.n; j++) {
      const int64_t want = p.sum(i, j, zero);
      CHECK_MSG(c.as<int32_t>()[i * p.n + j] == want, "%s %lldx%lldx%lld zero %d: got %d, want %lld", row.function, (long long)p.m, (long long)p.n, (long long)p.k,
                zero, c.as<int32_t>()[i * p.n + j], (long long)want);
      float y = static_cast<float>(static_cast<int32_t>(want)) * scale.as<float>()[j];
      y = y + bias.as<float>()[j];
      const float got = f.as<float>()[i * p.n + j];
      if (act == QgemmAct::none) CHECK(got == y);
      if (act == QgemmAct::relu) CHECK(got == (y > 0 ? y : 0));
      const double d = static_cast<double>(y);
      if (act == QgemmAct::gelu) CHECK(std::fabs(static_cast<double>(got) - 0.5 * d * (1 + std::erf(d * 0.70710678118654752))) <= 5e-7 * std::fabs(d) + 1e-12);
      if (act == QgemmAct::tanh) CHECK(std::fabs(static_cast<double>(got) - std::tanh(d)) <= 5e-7);
      if (act == QgemmAct::sigmoid) CHECK(std::fabs(static_cast<double>(got) - 1 / (1 + std::exp(-d))) <= 5e-7);
    }
}

struct Packed {
  qgemm_pack_args args{};
  Result memory;
  explicit Packed(const TensorRef& w) {
    args.w = w;
    CHECK_OK(qgemm_pack_infer(args));
    memory.attach(args.packed);
    Context ctx;
    CHECK_OK(qgemm_pack_cpu(args, ctx));
    CHECK(memory.intact(args.packed.bytes()));
  }
};

int quantized(float x, float scale, int zero) {
  if (x != x) return zero;
  const double q = std::nearbyint(static_cast<double>(x / scale)) + zero;
  return q < 0 ? 0 : q > 255 ? 255 : static_cast<int>(q);
}

Status product(const Problem& p, int64_t zero, std::vector<int32_t>* out) {
  Array<uint8_t> x(DType::u8, {p.m, p.k});
  Array<int8_t> w(DType::i8, {p.n, p.k});
  std::copy(p.x.begin(), p.x.end(), x.values.begin());
  std::copy(p.w.begin(), p.w.end(), w.values.begin());
  qgemm_s32_args a{};
  a.x = x.ref, a.w = w.ref, a.x_zero = zero;
  TERSOR_TRY(qgemm_s32_infer(a));
  Result y;
  y.attach(a.y);
  Context ctx;
  TERSOR_TRY(qgemm_s32_cpu(a, ctx));
  CHECK(y.intact(a.y.bytes()));
  out->assign(a.y.as<int32_t>(), a.y.as<int32_t>() + p.m * p.n);
  return {};
}

}  // namespace

TERSOR_TEST(qgemm_rows_are_exact_and_stay_inside) {
  each_row([](const QgemmRow& row) {
    const int wide = 2 * row.nr + 1, tall = 2 * row.mr + 1;
    for (int n = 0; n <= wide; n++) {
      const Problem p(random_in(0, tall), n, random_in(0, 40));
      check_row(row, p, random_in(0, 255), static_cast<QgemmAct>(n % 5), n % 2 ? Side::end : Side::begin);
    }
    for (int m = 0; m <= tall; m++) check_row(row, Problem(m, random_in(1, wide), random_in(1, 70)), 128, QgemmAct::none, m % 2 ? Side::end : Side::begin);
    for (int k = 0; k <= 67; k++) check_row(row, Problem(3, row.nr + 5, k), k % 256, QgemmAct::relu, k % 2 ? Side::end : Side::begin);
  });
}

TERSOR_TEST(qgemm_rows_do_not_saturate) {
  each_row([](const QgemmRow& row) {
    for (const int64_t k : {2, 4, 64, 259, 4096}) {
      Problem p(row.mr + 1, row.nr + 3, k);
      p.extreme();
      check_row(row, p, 0, QgemmAct::none, Side::end);
      check_row(row, p, 255, QgemmAct::none, Side::end);
    }
    Problem deepest(1, 2, kQgemmMaxDepth);
    deepest.extreme();
    for (size_t i = 0; i < deepest.w.size(); i++) deepest.w[i] = -128;
    check_row(row, deepest, 0, QgemmAct::none, Side::end);
    check_row(row, deepest, 255, QgemmAct::none, Side::end);
  });
}

TERSOR_TEST(qgemm_rows_quantize_alike) {
  each_row([](const QgemmRow& row) {
    for (int n = 0; n <= 40; n++) {
      GuardedBuffer x(static_cast<size_t>(n) * 4, n % 2 ? Side::end : Side::begin), q(static_cast<size_t>(n * row.a_bytes), n % 2 ? Side::end : Side::begin);
      const int zero = random_in(0, 255);
      const float scale = n % 3 ? 0.037f : 1.0f;
      const float special[] = {NAN, INFINITY, -INFINITY, 3e38f, -3e38f, 0.5f, 1.5f, 2.5f, -0.5f, -1.5f, 1e-45f, -0.0f};
      for (int i = 0; i < n; i++) {
        const int pick = random_in(0, 30);
        x.as<float>()[i] = pick < 12 ? special[pick] : static_cast<float>(random_in(-600, 600)) * scale * 0.5f;
      }
      row.quantize({x.as<float>(), n, scale, zero, q.as<void>()});
      for (int i = 0; i < n; i++) {
        const int got = row.a_bytes == 1 ? q.as<uint8_t>()[i] : q.as<uint16_t>()[i];
        CHECK_MSG(got == quantized(x.as<float>()[i], scale, zero), "%s: %g / %g + %d gave %d", row.function, (double)x.as<float>()[i], (double)scale, zero, got);
      }
    }
  });
}

TERSOR_TEST(qgemm_s32_is_exact) {
  std::vector<int32_t> y;
  for (const auto& s : {std::vector<int64_t>{1, 1, 1}, {17, 67, 131}, {1, 300, 770}, {130, 97, 64}, {0, 5, 3}, {5, 0, 3}, {4, 5, 0}}) {
    const Problem p(s[0], s[1], s[2]);
    for (const int zero : {0, 7, 255}) {
      CHECK_OK(product(p, zero, &y));
      for (int64_t i = 0; i < p.m * p.n; i++) CHECK(y[static_cast<size_t>(i)] == p.sum(i / p.n, i % p.n, zero));
    }
  }
  Problem p(1, 1, kQgemmMaxDepth + 1);
  CHECK(product(p, 0, &y).code == Code::limit);
  p = Problem(2, 2, 3);
  CHECK(product(p, -1, &y).code == Code::option);
  CHECK(product(p, 256, &y).code == Code::option);
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
  std::vector<unsigned char> damaged(packed.memory.bytes);
  damaged[1] ^= 1;
  CHECK(code([&](qlinear_args& a) { a.packed.data = damaged.data(); }) == Code::option);
  qgemm_pack_args p{};
  p.w = x.ref;
  CHECK(qgemm_pack_infer(p).code == Code::dtype);
}

TERSOR_TEST(qconv2d_equals_its_definition) {
  struct Shape {
    int64_t b, c, h, w, o, kh, kw, sh, sw, ph, pw;
  };
  for (const Shape& s : {Shape{2, 1, 28, 28, 8, 5, 5, 1, 1, 0, 0}, Shape{2, 3, 9, 11, 5, 3, 3, 1, 1, 1, 1}, Shape{1, 4, 8, 7, 50, 3, 2, 2, 3, 2, 1},
                         Shape{1, 2, 40, 40, 3, 1, 1, 2, 2, 0, 0}, Shape{1, 8, 70, 64, 9, 3, 3, 1, 1, 1, 1}, Shape{0, 2, 4, 4, 3, 3, 3, 1, 1, 0, 0}}) {
    const int64_t oh = (s.h + 2 * s.ph - s.kh) / s.sh + 1, ow = (s.w + 2 * s.pw - s.kw) / s.sw + 1, k = s.c * s.kh * s.kw;
    Array<float> x = Array<float>(DType::f32, {s.b, s.c, s.h, s.w}).uniform(-1, 3), scale = Array<float>(DType::f32, {s.o}).uniform(0.001, 0.01);
    Array<int8_t> w = Array<int8_t>(DType::i8, {s.o, k}).integers(-127, 127);
    const Packed packed(w.ref);
    qconv2d_args a{};
    a.x = x.ref, a.packed = packed.args.packed, a.w_scale = scale.ref;
    a.weight_shape = {{s.o, s.c, s.kh, s.kw}, 4}, a.stride = {{s.sh, s.sw}, 2}, a.padding = {{s.ph, s.pw}, 2};
    a.x_scale = 0.02, a.x_zero = 60, a.act = activation::relu;
    CHECK_OK(qconv2d_infer(a));
    Result y;
    y.attach(a.y);
    Context ctx;
    CHECK_OK(qconv2d_cpu(a, ctx));
    CHECK(y.intact(a.y.bytes()));
    bool same = true;
    for (int64_t b = 0; b < s.b; b++)
      for (int64_t o = 0; o < s.o; o++)
        for (int64_t i = 0; i < oh; i++)
          for (int64_t j = 0; j < ow; j++) {
            int32_t acc = 0;
            for (int64_t c = 0; c < s.c; c++)
              for (int64_t p = 0; p < s.kh; p++)
                for (int64_t q = 0; q < s.kw; q++) {
                  const int64_t yy = i * s.sh + p - s.ph, xx = j * s.sw + q - s.pw;
                  if (yy < 0 || yy >= s.h || xx < 0 || xx >= s.w) continue;
                  acc += (quantized(x[((b * s.c + c) * s.h + yy) * s.w + xx], 0.02f, 60) - 60) * w[o * k + (c * s.kh + p) * s.kw + q];
                }
            const float want = static_cast<float>(acc) * (0.02f * scale[o]);
            same = same && a.y.as<float>()[((b * s.o + o) * oh + i) * ow + j] == (want > 0 ? want : 0);
          }
    CHECK_MSG(same, "qconv2d %lldx%lldx%lldx%lld", (long long)s.b, (long long)s.c, (long long)s.h, (long long)s.w);
  }
}
