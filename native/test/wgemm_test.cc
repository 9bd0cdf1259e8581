// Weight-only quantized products: every row usable here against double precision within the declared tolerance, with unreadable pages around all operands;
// then the ops wgemm_pack, wgemm_unpack and wgemm.
#include "cpu/threads.h"
#include "kernels/wgemm/wgemm.h"
#include "test/op_call.h"

using namespace tersor;
using namespace tersor::test;

namespace {

using Side = GuardedBuffer::Side;

template <class F> void each_row(F fn) {
  const WgemmRow* rows;
  const int n = wgemm_all_rows(&rows);
  for (int i = 0; i < n; i++)
    if ((rows[i].needs & ~isa::allowed()) == 0) fn(rows[i]);
}

struct Problem {
  WgemmShape s;
  int64_t m;
  std::vector<int8_t> q;
  std::vector<float> scale, zero, x;

  Problem(int64_t m_, int64_t n, int64_t k, int64_t groups, int bits, bool affine) : m(m_) {
    s.n = n, s.k = k, s.groups = groups, s.bits = bits, s.affine = affine;
    const int half = 1 << (bits - 1);
    q.resize(static_cast<size_t>(n * k));
    for (auto& v : q) v = static_cast<int8_t>(random_int(-half, half - 1));
    scale.resize(static_cast<size_t>(n * groups)), zero.resize(scale.size());
    for (auto& v : scale) v = random_float(0.01f, 0.1f) * (random_int(0, 9) == 0 ? -1.0f : 1.0f);
    for (auto& v : zero) v = random_int(0, 3) ? static_cast<float>(random_int(-half, half - 1)) : random_float(-3, 3);
    x.resize(static_cast<size_t>(m * k));
    for (auto& v : x) v = random_float(-2, 2);
  }
  float weight(int64_t n, int64_t k) const {
    const size_t f = static_cast<size_t>(n * s.groups + k / s.group());
    const float v = static_cast<float>(q[static_cast<size_t>(n * s.k + k)]);
    return (s.affine ? v - zero[f] : v) * scale[f];
  }
  // The product in double precision and the tolerance that wgemm.h declares.
  double want(int64_t i, int64_t n, double* tolerance) const {
    double y = 0, sum = 0, blocks = 0, all = 0, peak = 0;
    int64_t count = 0;
    for (int64_t g = 0; g < s.groups; g++)
      for (int64_t b = 0; b < s.group(); b += kWgemmStep * kWgemmBlockSteps, count++) {
        double top = 0, weights = 0;
        for (int64_t p = b; p < s.group() && p < b + kWgemmStep * kWgemmBlockSteps; p++) {
          const int64_t k = g * s.group() + p;
          const double v = static_cast<double>(x[static_cast<size_t>(i * s.k + k)]);
          const size_t f = static_cast<size_t>(n * s.groups + g);
          const double w = std::fabs(static_cast<double>(scale[f])) *
                           (std::abs(static_cast<int>(q[static_cast<size_t>(n * s.k + k)])) + (s.affine ? std::fabs(static_cast<double>(zero[f])) : 0));
          y += v * static_cast<double>(weight(n, k));
          sum += std::fabs(v) * w, weights += w;
          top = std::fmax(top, std::fabs(v));
        }
        blocks += top * weights, all += weights, peak = std::fmax(peak, top);
      }
    *tolerance = std::ldexp(blocks, -22) + static_cast<double>(count + 8) * std::ldexp(sum, -24) + std::ldexp(peak * all, -50);
    return y;
  }
};

struct Blob {
  GuardedBuffer memory;
  Blob(const WgemmRow& row, const Problem& p, Side side) : memory(static_cast<size_t>(wgemm_blob_bytes(row, p.s)), side) {
    WgemmSource w{p.q.data(), p.scale.data(), p.s.groups, 1, p.s.affine ? p.zero.data() : nullptr, p.s.groups, 1};
    wgemm_blob_header(row, p.s, memory.as<void>());
    CHECK(wgemm_pack_panels(row, p.s, w, 0, row.panels(p.s.n), memory.as<void>()) == -1);
    WgemmShape s;
    const int64_t bytes = wgemm_blob_bytes(row, p.s);
    CHECK(wgemm_blob_open(row, memory.as<void>(), bytes, p.s.n, p.s.k, &s) && s.groups == p.s.groups && s.bits == p.s.bits && s.affine == p.s.affine);
    CHECK(!wgemm_blob_open(row, memory.as<void>(), bytes, p.s.n + 1, p.s.k, &s) && !wgemm_blob_open(row, memory.as<void>(), bytes - 1, p.s.n, p.s.k, &s));
  }
};

void check_row(const WgemmRow& row, const Problem& p, Side side) {
  const Blob blob(row, p, side);
  const int64_t x_row = wgemm_x_bytes(p.s), n = p.s.n, k = p.s.k;
  GuardedBuffer x(static_cast<size_t>(k) * 4, side), prepared(static_cast<size_t>(p.m * x_row), side), y(static_cast<size_t>(p.m * n) * 4, side);
  for (int64_t i = 0; i < p.m; i++) {
    for (int64_t j = 0; j < k; j++) x.as<float>()[j] = p.x[static_cast<size_t>(i * k + j)];
    CHECK(row.prepare(p.s, x.as<float>(), prepared.as<char>() + i * x_row));
  }
  WgemmDot d;
  d.shape = &p.s, d.m = p.m, d.n = n;
  d.x = prepared.as<char>(), d.x_row = x_row;
  d.panels = wgemm_blob_panels(blob.memory.as<void>());
  d.y = y.as<float>(), d.y_row = n;
  row.dot(d);
  const bool scalar = row.needs == isa::scalar;
  for (int64_t i = 0; i < p.m; i++)
    for (int64_t j = 0; j < n; j++) {
      double tolerance;
      const double want = p.want(i, j, &tolerance), got = static_cast<double>(y.as<float>()[i * n + j]);
      if (scalar) tolerance += static_cast<double>(k) * tolerance;  // one chain of k additions
      CHECK_MSG(std::fabs(got - want) <= tolerance, "%s %d bits %lldx%lldx%lld / %lld%s: y[%lld,%lld] = %.9g, want %.9g +- %.2g", row.function, p.s.bits, (long long)p.m,
                (long long)n, (long long)k, (long long)p.s.groups, p.s.affine ? " affine" : "", (long long)i, (long long)j, got, want, tolerance);
    }
  // Unpacking gives the exact weights, in whole groups and in parts of one.
  GuardedBuffer w(static_cast<size_t>(k * row.nr) * 4, side);
  for (int64_t panel = 0; panel < row.panels(n); panel++) {
    WgemmUnpack u;
    u.shape = &p.s, u.panel = d.panels + panel * row.panel_bytes(p.s), u.out_row = row.nr;
    const int64_t part = p.s.group() > 64 ? 64 : p.s.group();
    for (int64_t g = 0; g < p.s.groups; g++)
      for (int64_t at = 0; at < p.s.group(); at += part) {
        u.group = g, u.step = at / kWgemmStep, u.count = p.s.group() - at < part ? p.s.group() - at : part;
        u.out = w.as<float>() + (g * p.s.group() + at) * row.nr;
        row.unpack(u);
      }
    for (int64_t q = 0; q < k; q++)
      for (int64_t j = panel * row.nr; j < n && j < (panel + 1) * row.nr; j++) CHECK(w.as<float>()[q * row.nr + j % row.nr] == p.weight(j, q));
    u.group = 0, u.step = 0, u.count = k, u.out = w.as<float>();
    row.unpack(u);
    for (int64_t q = 0; q < k; q++) CHECK(w.as<float>()[q * row.nr] == p.weight(panel * row.nr, q));
  }
}

}  // namespace

TERSOR_TEST(wgemm_rows_keep_their_tolerance_and_stay_inside) {
  each_row([](const WgemmRow& row) {
    for (const int bits : {2, 3, 4, 8})
      for (const bool affine : {false, true}) {
        const Side side = affine ? Side::begin : Side::end;
        for (int64_t n = 0; n <= 5 * row.nr + 1; n += n < 3 ? 1 : row.nr / 2 - 1) check_row(row, Problem(random_int(0, 3), n, 64, 2, bits, affine), side);
        for (int64_t m = 0; m <= 2 * row.tall + 1; m++) check_row(row, Problem(m, 2 * row.nr + 3, 96, 3, bits, affine), side);
        for (const int64_t k : {0, 1, 3, 31, 32, 33, 127, 128, 129, 300}) check_row(row, Problem(2, row.nr + 1, k, 1, bits, affine), side);
        check_row(row, Problem(2, row.nr, 60, 5, bits, affine), side);    // groups that are no multiple of a step
        check_row(row, Problem(1, row.nr, 400, 2, bits, affine), side);   // and of a block
        check_row(row, Problem(1, row.nr, 4096, 32, bits, affine), side);
      }
  });
}

TERSOR_TEST(wgemm_rows_hold_extreme_codes_and_values) {
  each_row([](const WgemmRow& row) {
    for (const int bits : {2, 3, 4, 8})
      for (const int sign : {-1, 1}) {
        Problem p(3, row.nr + 2, 512, 2, bits, true);
        for (auto& v : p.q) v = static_cast<int8_t>(sign < 0 ? -(1 << (bits - 1)) : (1 << (bits - 1)) - 1);
        const float tops[] = {1.9999999f, 1e17f, 1e-11f};  // all mantissa bits; near the ends of what rows hold
        for (size_t i = 0; i < p.x.size(); i++) p.x[i] = tops[i / 512] * (random_int(0, 1) ? 1.0f : -1.0f);
        check_row(row, p, Side::end);
        for (size_t i = 0; i < p.x.size(); i++) p.x[i] = tops[i / 512];
        check_row(row, p, Side::end);
        for (size_t i = 0; i < p.x.size(); i++) p.x[i] = std::ldexp(1.9f, static_cast<int>(i % 40) - 20) * (i % 3 ? 1.0f : -1.0f);
        check_row(row, p, Side::begin);
      }
    // Codes of zero give exactly zero, whatever x is.
    Problem zero(1, row.nr, 256, 2, 4, false);
    for (auto& v : zero.q) v = 0;
    const Blob blob(row, zero, Side::end);
    std::vector<char> prepared(static_cast<size_t>(wgemm_x_bytes(zero.s)));
    CHECK(row.prepare(zero.s, zero.x.data(), prepared.data()));
    std::vector<float> y(static_cast<size_t>(row.nr), 7);
    WgemmDot d;
    d.shape = &zero.s, d.m = 1, d.n = row.nr, d.x = prepared.data(), d.panels = wgemm_blob_panels(blob.memory.as<void>()), d.y = y.data(), d.y_row = row.nr;
    row.dot(d);
    for (const float v : y) CHECK(v == 0);
  });
}

TERSOR_TEST(wgemm_rows_refuse_values_that_blocks_cannot_hold) {
  each_row([](const WgemmRow& row) {
    if (row.needs == isa::scalar) return;
    Problem p(1, 1, 64, 1, 4, false);
    std::vector<char> prepared(static_cast<size_t>(wgemm_x_bytes(p.s)));
    for (const float v : {NAN, INFINITY, -INFINITY, 2e18f, 3e38f}) {
      p.x[37] = v;
      CHECK(!row.prepare(p.s, p.x.data(), prepared.data()));
    }
    for (auto& v : p.x) v = 1e-30f;
    CHECK(!row.prepare(p.s, p.x.data(), prepared.data()));
    for (auto& v : p.x) v = 0;
    CHECK(row.prepare(p.s, p.x.data(), prepared.data()));
  });
}

namespace {

struct Packed {
  OpCall<wgemm_pack_args> call;
  explicit Packed(const Problem& p) {
    call.args.q = view(DType::i8, p.q, {p.s.n, p.s.k});
    call.args.scale = view(DType::f32, p.scale, {p.s.n, p.s.groups});
    if (p.s.affine) call.args.zero = view(DType::f32, p.zero, {p.s.n, p.s.groups});
    call.args.bits = p.s.bits;
    CHECK_OK(RUN_OP(call, wgemm_pack));
  }
};

double activated(double y, int act) {
  if (act == 1) return y > 0 ? y : 0;
  if (act == 2) return 0.5 * y * (1 + std::erf(y * 0.70710678118654752));
  if (act == 3) return std::tanh(y);
  return act == 4 ? 1 / (1 + std::exp(-y)) : y;
}

}  // namespace

TERSOR_TEST(wgemm_op_equals_its_definition_for_any_number_of_threads) {
  int act = 0;
  for (const auto& s : {std::vector<int64_t>{1, 300, 256, 2}, {3, 130, 96, 3}, {17, 70, 640, 2}, {70, 520, 64, 1}, {5, 4, 6, 6}, {0, 4, 6, 1}, {4, 6, 0, 1}, {9, 1, 32, 1}})
    for (const int bits : {2, 3, 4, 8}) {
      Problem p(s[0], s[1], s[2], s[3], bits, bits % 2 == 1);
      const Packed packed(p);
      std::vector<float> bias(static_cast<size_t>(p.s.n)), residual(static_cast<size_t>(p.m * p.s.n));
      for (auto& v : bias) v = random_float(-1, 1);
      for (auto& v : residual) v = random_float(-1, 1);
      // A row that blocks of integers cannot hold is computed all the same, and only that one otherwise than the rest.
      if (p.m > 2)
        for (int64_t k = 0; k < p.s.k; k++) p.x[static_cast<size_t>(p.s.k + k)] *= 1e18f;
      OpCall<wgemm_args> call;
      call.args.x = view(DType::f32, p.x, {p.m, p.s.k});
      call.args.packed = packed.call.args.packed;
      call.args.bias = view(DType::f32, bias, {p.s.n}), call.args.residual = view(DType::f32, residual, {p.m, p.s.n});
      call.args.out = p.s.n, call.args.act = static_cast<activation>(act = (act + 1) % 5);
      std::vector<float> first;
      for_thread_counts([&] {
        CHECK_OK(RUN_OP(call, wgemm));
        const float* y = call.args.y.as<float>();
        if (first.empty()) first.assign(y, y + p.m * p.s.n);
        CHECK(std::equal(first.begin(), first.end(), y));
      });
      for (int64_t i = 0; i < p.m; i++)
        for (int64_t j = 0; j < p.s.n; j++) {
          double tolerance;
          const double sum = p.want(i, j, &tolerance) + static_cast<double>(bias[static_cast<size_t>(j)]);
          const double want = activated(sum, act) + static_cast<double>(residual[static_cast<size_t>(i * p.s.n + j)]);
          const double got = static_cast<double>(first[static_cast<size_t>(i * p.s.n + j)]);
          tolerance = tolerance * (2 + static_cast<double>(p.s.k) / 8) + 1e-6 * (1 + std::fabs(want));  // f32 sums over all of K too
          CHECK_MSG(std::fabs(got - want) <= tolerance, "%d bits %lldx%lldx%lld act %d: y[%lld,%lld] = %.9g, want %.9g +- %.2g", bits, (long long)p.m, (long long)p.s.n,
                    (long long)p.s.k, act, (long long)i, (long long)j, got, want, tolerance);
        }
    }
}

TERSOR_TEST(wgemm_op_passes_what_is_not_finite_on) {
  Problem p(4, 40, 64, 2, 4, false);
  p.x[70] = NAN, p.x[130] = INFINITY, p.x[193] = -INFINITY;
  const Packed packed(p);
  OpCall<wgemm_args> call;
  call.args.x = view(DType::f32, p.x, {4, 64});
  call.args.packed = packed.call.args.packed;
  call.args.out = 40;
  CHECK_OK(RUN_OP(call, wgemm));
  const float* y = call.args.y.as<float>();
  for (int64_t j = 0; j < 40; j++) {
    double tolerance;
    CHECK(std::fabs(static_cast<double>(y[j]) - p.want(0, j, &tolerance)) <= 10 * tolerance);
    CHECK(y[40 + j] != y[40 + j]);
    const float w2 = p.weight(j, 2), w1 = p.weight(j, 1);
    CHECK(w2 == 0 ? y[80 + j] != y[80 + j] : y[80 + j] == (w2 > 0 ? INFINITY : -INFINITY));
    CHECK(w1 == 0 ? y[120 + j] != y[120 + j] : y[120 + j] == (w1 > 0 ? -INFINITY : INFINITY));
  }
}

TERSOR_TEST(wgemm_unpack_gives_the_weights) {
  for (const int bits : {2, 3, 4, 8})
    for (const int64_t groups : {1, 3}) {
      const Problem p(1, 37, 900, groups, bits, groups == 3);
      const Packed packed(p);
      OpCall<wgemm_unpack_args> call;
      call.args.packed = packed.call.args.packed;
      call.args.out = 37, call.args.cols = 900;
      CHECK_OK(RUN_OP(call, wgemm_unpack));
      for (int64_t i = 0; i < 37 * 900; i++) CHECK(call.args.w.as<float>()[i] == p.weight(i / 900, i % 900));
    }
}

TERSOR_TEST(wgemm_ops_reject_what_does_not_fit) {
  Problem p(2, 6, 64, 2, 4, true);
  const auto pack = [&](auto change) {
    OpCall<wgemm_pack_args> call;
    call.args.q = view(DType::i8, p.q, {6, 64});
    call.args.scale = view(DType::f32, p.scale, {6, 2}), call.args.zero = view(DType::f32, p.zero, {6, 2});
    call.args.bits = 4;
    change(call.args);
    return RUN_OP(call, wgemm_pack);
  };
  CHECK_OK(pack([](wgemm_pack_args&) {}));
  for (const int64_t bits : {-1ll, 0ll, 1ll, 5ll, 6ll, 7ll, 9ll, 16ll, (1ll << 32) + 4}) CHECK_CODE(pack([&](wgemm_pack_args& a) { a.bits = bits; }), Code::option);
  CHECK_CODE(pack([](wgemm_pack_args& a) { a.bits = 3; }), Code::option);  // codes of four bits
  CHECK_CODE(pack([](wgemm_pack_args& a) { a.q.dtype = DType::u8; }), Code::dtype);
  CHECK_CODE(pack([](wgemm_pack_args& a) { a.q.rank = 1; }), Code::shape);
  CHECK_CODE(pack([](wgemm_pack_args& a) { a.scale.dtype = DType::f64; }), Code::dtype);
  CHECK_CODE(pack([](wgemm_pack_args& a) { a.scale.shape[0] = 5; }), Code::shape);
  std::vector<float> ones(6 * 128, 1.0f);
  for (const int64_t groups : {0, 3, 5, 65, 128})
    CHECK_CODE(pack([&](wgemm_pack_args& a) { a.scale = a.zero = view(DType::f32, ones, {6, groups}); }), Code::shape);
  CHECK_CODE(pack([&](wgemm_pack_args& a) { a.scale = view(DType::f32, ones, {6, 4}); }), Code::shape);  // zero has two
  CHECK_OK(pack([&](wgemm_pack_args& a) { a.scale = view(DType::f32, ones, {1, 1}); }));
  CHECK_OK(pack([&](wgemm_pack_args& a) { a.zero = view(DType::f32, ones, {6, 1}); }));
  for (const float v : {0.0f, -0.0f, NAN, INFINITY, 1e-39f, 1e20f}) {
    std::vector<float> bad(p.scale);
    bad[7] = v;
    CHECK_CODE(pack([&](wgemm_pack_args& a) { a.scale = view(DType::f32, bad, {6, 2}); }), Code::numeric);
  }
  for (const float v : {NAN, -INFINITY, 1e7f}) {
    std::vector<float> bad(p.zero);
    bad[11] = v;
    CHECK_CODE(pack([&](wgemm_pack_args& a) { a.zero = view(DType::f32, bad, {6, 2}); }), Code::numeric);
  }
  const Packed packed(p);
  std::vector<float> more(64, 1.0f);
  const auto run = [&](auto change) {
    OpCall<wgemm_args> call;
    call.args.x = view(DType::f32, p.x, {2, 64});
    call.args.packed = packed.call.args.packed;
    call.args.out = 6;
    change(call.args);
    return RUN_OP(call, wgemm);
  };
  CHECK_OK(run([](wgemm_args&) {}));
  CHECK_CODE(run([](wgemm_args& a) { a.x.dtype = DType::f64; }), Code::dtype);
  CHECK_CODE(run([](wgemm_args& a) { a.x.rank = 0; }), Code::shape);
  CHECK_CODE(run([](wgemm_args& a) { a.x.shape[1] = 32; }), Code::option);
  CHECK_CODE(run([](wgemm_args& a) { a.out = 5; }), Code::option);
  CHECK_CODE(run([](wgemm_args& a) { a.out = -1; }), Code::option);
  CHECK_CODE(run([](wgemm_args& a) { a.out = (int64_t(1) << 32) + 6; }), Code::shape);
  CHECK_CODE(run([](wgemm_args& a) { a.out = int64_t(1) << 62; }), Code::option);
  CHECK_CODE(run([&](wgemm_args& a) { a.bias = view(DType::f32, more, {5}); }), Code::shape);
  CHECK_CODE(run([&](wgemm_args& a) { a.residual = view(DType::f32, more, {6}); }), Code::shape);
  CHECK_CODE(run([](wgemm_args& a) { a.packed.dtype = DType::i8; }), Code::dtype);
  CHECK_CODE(run([](wgemm_args& a) { a.packed.shape[0] = 63; }), Code::shape);
  CHECK_CODE(run([](wgemm_args& a) { a.packed.shape[0]--; }), Code::option);
  // A damaged header is found before anything is computed, whatever was damaged.
  const unsigned char* blob = packed.call.args.packed.as<unsigned char>();
  for (int i = 0; i < 40; i++) {
    std::vector<unsigned char> damaged(blob, blob + packed.call.args.packed.bytes());
    damaged[static_cast<size_t>(i)] ^= 0x81;
    CHECK_CODE(run([&](wgemm_args& a) { a.packed.data = damaged.data(); }), Code::option);
  }
}
