// Integer matrix product: every row usable here against 64-bit sums, exact, with unreadable pages around all operands; then the ops
// qgemm_pack, qgemm_s32, qlinear and qconv2d.
#include "cpu/threads.h"
#include "kernels/qgemm/qgemm.h"
#include "test/op_tensor.h"
#include "test/qgemm_tiles.h"

using namespace tersor;
using namespace tersor::test;

namespace {

using Side = GuardedBuffer::Side;

template <class F> void each_row(F fn) {
  const QgemmRow* rows;
  const int n = qgemm_all_rows(&rows);
  for (int i = 0; i < n; i++)
    if ((rows[i].needs & ~isa::allowed()) == 0) fn(rows[i]);
  fn(qgemm_tiles_row());
  check_qgemm_tiles();
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

// v = saturating left shift, high multiply, rounding right shift, written from gemmlowp's definitions (fixedpoint/fixedpoint.h).
int32_t multiply_fixed(int32_t x, int32_t multiplier, int32_t exponent) {
  const int left = exponent > 0 ? exponent : 0, right = exponent > 0 ? 0 : -exponent;
  int64_t wide = int64_t(x) * (int64_t(1) << left);
  wide = wide > INT32_MAX ? INT32_MAX : wide < INT32_MIN ? INT32_MIN : wide;
  const int64_t ab = wide * multiplier, nudge = ab >= 0 ? int64_t(1) << 30 : 1 - (int64_t(1) << 30);
  const int32_t high = static_cast<int32_t>((ab + nudge) / (int64_t(1) << 31));
  const int64_t mask = (int64_t(1) << right) - 1, remainder = high & mask, threshold = (mask >> 1) + (high < 0 ? 1 : 0);
  return static_cast<int32_t>((high >> right) + (remainder > threshold ? 1 : 0));
}

double act_of(QgemmAct act, double v) {
  switch (act) {
    case QgemmAct::relu: return v > 0 ? v : 0;
    case QgemmAct::gelu: return 0.5 * v * (1 + std::erf(v * 0.70710678118654752));
    case QgemmAct::tanh: return std::tanh(v);
    case QgemmAct::sigmoid: return 1 / (1 + std::exp(-v));
    default: return v;
  }
}

// A packed weight and the buffers of a product, all of which end (or begin) at unreadable pages.
struct RowCase {
  const QgemmRow& row;
  const Problem& p;
  Side side;
  int64_t stride;
  GuardedBuffer blob, a;
  std::vector<int32_t> zeros, row_sums, w_zeros, columns;
  std::vector<float> x_scales;
  RowCase(const QgemmRow& r, const Problem& problem, Side s)
      : row(r),
        p(problem),
        side(s),
        stride(problem.k + 3),  // rows at odd addresses
        blob(static_cast<size_t>(qgemm_blob_bytes(r.layout, p.n, p.k)), s),
        a(static_cast<size_t>(p.m == 0 ? 0 : (p.m - 1) * stride + r.layout.depth(p.k)), s) {
    qgemm_blob_header(row.layout, p.n, p.k, blob.as<void>());
    qgemm_pack_blob(row.layout, p.w.data(), p.k, p.n, p.k, 0, row.layout.panels(p.n), blob.as<void>());
    memset(a.as<void>(), 0xa5, static_cast<size_t>(p.m == 0 ? 0 : (p.m - 1) * stride + row.layout.depth(p.k)));  // padding must not matter
    for (int64_t i = 0; i < p.m; i++) {
      int32_t sum = 0;
      for (int64_t k = 0; k < p.k; k++) a.as<uint8_t>()[i * stride + k] = p.x[static_cast<size_t>(i * p.k + k)], sum += p.x[static_cast<size_t>(i * p.k + k)];
      zeros.push_back(random_in(0, 255)), row_sums.push_back(sum), x_scales.push_back(static_cast<float>(random_in(1, 1000)) * 0.001f);
    }
    for (int64_t j = 0; j < p.n; j++) {
      int64_t sum = 0;
      for (int64_t k = 0; k < p.k; k++) sum += p.w[static_cast<size_t>(j * p.k + k)];
      CHECK(qgemm_blob_sums(blob.as<void>())[j] == sum);
      w_zeros.push_back(random_in(-128, 127));
      columns.push_back(static_cast<int32_t>(sum - p.k * w_zeros.back()));
    }
  }
  void run(const QgemmFinish& f) const {
    QgemmBlock q;
    q.m = p.m, q.n = p.n, q.k = p.k;
    q.a = a.as<void>(), q.a_row = stride;
    q.b = qgemm_blob_panels(blob.as<void>()), q.panel_bytes = row.layout.panel_bytes(p.k);
    q.visits = qgemm_blob_visits(blob.as<void>()), q.panel_visits = row.layout.panel_visits(p.k);
    q.out = &f;
    row.block(q);
  }
  int64_t exact(int64_t i, int64_t j, bool with_w_zero) const {
    int64_t s = 0;
    for (int64_t k = 0; k < p.k; k++)
      s += (p.x[static_cast<size_t>(i * p.k + k)] - zeros[static_cast<size_t>(i)]) *
           (p.w[static_cast<size_t>(j * p.k + k)] - (with_w_zero ? w_zeros[static_cast<size_t>(j)] : 0));
    return s;
  }
};

// One zero point per row and, in every second case, one per column of the weight: s32, f32 with activation and residual, bytes, fixed point.
void check_row(const QgemmRow& row, const Problem& p, QgemmAct act, Side side) {
  RowCase c(row, p, side);
  const bool with_w_zero = p.n % 2 == 1;
  const size_t cells = static_cast<size_t>(p.m * p.n), n = static_cast<size_t>(p.n);
  GuardedBuffer ints(cells * 4, side), floats(cells * 4, side), bytes(cells, side), residual(cells * 4, side), scale(n * 4, side), bias(n * 4, side),
      added(n * 4, side), multiplier(n * 4, side), exponent(n * 4, side);
  for (size_t j = 0; j < n; j++) {
    scale.as<float>()[j] = static_cast<float>(j + 1) * 1e-5f, bias.as<float>()[j] = static_cast<float>(j % 5) - 2.0f;
    added.as<int32_t>()[j] = random_in(-1000, 1000), multiplier.as<int32_t>()[j] = random_in(0, 9) ? random_in(1 << 30, INT32_MAX) : random_in(0, 1000);
    exponent.as<int32_t>()[j] = random_in(0, 4) ? random_in(-16, -4) : random_in(-31, 30);
  }
  for (size_t i = 0; i < cells; i++) residual.as<float>()[i] = static_cast<float>(random_in(-100, 100)) * 0.01f;

  QgemmFinish f;
  f.x_zero = c.zeros.data(), f.x_zero_step = 1, f.column = with_w_zero ? c.columns.data() : qgemm_blob_sums(c.blob.as<void>());
  if (with_w_zero) f.row_sum = c.row_sums.data(), f.w_zero = c.w_zeros.data();
  f.y = ints.as<void>(), f.y_row = p.n;
  c.run(f);
  f.to = QgemmTo::f32, f.y = floats.as<void>();
  f.x_scale = c.x_scales.data(), f.x_scale_step = 1, f.scale = scale.as<float>(), f.bias = bias.as<float>(), f.act = act;
  f.residual = residual.as<float>(), f.residual_row = p.n;
  c.run(f);
  f.to = QgemmTo::u8, f.y = bytes.as<void>(), f.y_inverse = 60.0f, f.y_zero = 90, f.lo = 0, f.hi = 255;
  c.run(f);
  for (int64_t i = 0; i < p.m; i++)
    for (int64_t j = 0; j < p.n; j++) {
      const int64_t want = c.exact(i, j, with_w_zero);
      const size_t at = static_cast<size_t>(i * p.n + j);
      CHECK_MSG(ints.as<int32_t>()[at] == want, "%s %lldx%lldx%lld: got %d, want %lld", row.function, (long long)p.m, (long long)p.n, (long long)p.k,
                ints.as<int32_t>()[at], (long long)want);
      float y = static_cast<float>(static_cast<int32_t>(want)) * (c.x_scales[static_cast<size_t>(i)] * scale.as<float>()[j]);
      y = y + bias.as<float>()[j];
      const double d = act_of(act, static_cast<double>(y));
      const float got = floats.as<float>()[at], r = residual.as<float>()[at];
      if (act == QgemmAct::none || act == QgemmAct::relu) CHECK(got == static_cast<float>(d) + r);
      else CHECK(std::fabs(static_cast<double>(got) - (d + static_cast<double>(r))) <= 6e-7 * (std::fabs(d) + 1));
      const float q = std::nearbyint(got * 60.0f) + 90.0f;
      CHECK(bytes.as<uint8_t>()[at] == (q < 0 ? 0 : q > 255 ? 255 : static_cast<int>(q)));
    }
  f.to = QgemmTo::s8, f.y_zero = -3, f.lo = -100, f.hi = 120;
  c.run(f);
  for (size_t i = 0; i < cells; i++) {
    const float q = std::nearbyint(floats.as<float>()[i] * 60.0f) - 3.0f;
    CHECK(bytes.as<int8_t>()[i] == (q < -100 ? -100 : q > 120 ? 120 : static_cast<int>(q)));
  }
  f.to = QgemmTo::fixed_s8, f.lo = -128, f.hi = 127, f.y_zero = 5;
  f.add = added.as<int32_t>(), f.multiplier = multiplier.as<int32_t>(), f.exponent = exponent.as<int32_t>();
  c.run(f);
  for (int64_t i = 0; i < p.m; i++)
    for (int64_t j = 0; j < p.n; j++) {
      const int32_t v = static_cast<int32_t>(c.exact(i, j, with_w_zero)) + added.as<int32_t>()[j];
      const int64_t q = int64_t(multiply_fixed(v, multiplier.as<int32_t>()[j], exponent.as<int32_t>()[j])) + 5;
      CHECK_MSG(bytes.as<int8_t>()[i * p.n + j] == (q < -128 ? -128 : q > 127 ? 127 : q), "%s: %d * %d * 2^%d", row.function, v, multiplier.as<int32_t>()[j],
                exponent.as<int32_t>()[j]);
    }
}

// Sums only, for depths at which the definition in 64 bits is slow to compute by hand.
void check_sums(const QgemmRow& row, const Problem& p, int zero) {
  RowCase c(row, p, Side::end);
  std::vector<int32_t> y(static_cast<size_t>(p.m * p.n));
  const int32_t x_zero = zero;
  QgemmFinish f;
  f.x_zero = &x_zero, f.column = qgemm_blob_sums(c.blob.as<void>()), f.y = y.data(), f.y_row = p.n;
  c.run(f);
  for (int64_t i = 0; i < p.m * p.n; i++) {
    const int64_t want = p.sum(i / p.n, i % p.n, zero);
    CHECK(want >= INT32_MIN && want <= INT32_MAX);
    CHECK_MSG(y[static_cast<size_t>(i)] == want, "%s K %lld zero %d: got %d, want %lld", row.function, (long long)p.k, zero, y[static_cast<size_t>(i)], (long long)want);
  }
}

// A packed weight at a 64-byte boundary, where the allocator would put it.
struct Packed {
  qgemm_pack_args args{};
  std::vector<unsigned char> memory;
  explicit Packed(const TensorRef& w) {
    args.w = w;
    CHECK_OK(qgemm_pack_infer(args));
    const size_t bytes = static_cast<size_t>(args.packed.bytes());
    memory.assign(bytes + 128, 0xCD);
    unsigned char* const at = memory.data() + (64 - reinterpret_cast<uintptr_t>(memory.data()) % 64);
    args.packed.data = at;
    Context ctx;
    CHECK_OK(qgemm_pack_cpu(args, ctx));
    for (unsigned char* p = memory.data(); p < memory.data() + memory.size(); p++) CHECK((p >= at && p < at + bytes) || *p == 0xCD);
  }
  Packed(const Packed&) = delete;
  Packed& operator=(const Packed&) = delete;
};

int quantized(float x, float scale, int zero) {
  if (x != x) return zero;
  const double q = std::nearbyint(static_cast<double>(x / scale)) + zero;
  return q < 0 ? 0 : q > 255 ? 255 : static_cast<int>(q);
}

// qgemm_s32 of codes in u8 or i8 (the same values, 128 less), zero points for all rows or one for each, with or without those of the weight.
struct Product {
  bool as_signed = false;
  int64_t zero = 0;
  bool per_row = false, with_w_zeros = false;
  DType dtype = DType::i32;
  std::vector<int64_t> y, want;
  Status run(const Problem& p) {
    Array<uint8_t> x(as_signed ? DType::i8 : DType::u8, {p.m, p.k});
    Array<int8_t> w(DType::i8, {p.n, p.k});
    for (size_t i = 0; i < p.x.size(); i++) x.values[i] = static_cast<uint8_t>(p.x[i] ^ (as_signed ? 0x80 : 0));
    std::copy(p.w.begin(), p.w.end(), w.values.begin());
    Array<int32_t> zeros(DType::i32, {p.m}), w_zeros(DType::i32, {p.n});
    const int shift = as_signed ? 128 : 0;
    for (int64_t i = 0; i < p.m; i++) zeros[i] = random_in(0, 255) - shift;
    for (int64_t j = 0; j < p.n; j++) w_zeros[j] = random_in(-128, 127);
    const Packed packed(w.ref);
    qgemm_s32_args a{};
    a.x = x.ref, a.packed = packed.args.packed, a.out = p.n, a.x_zero = zero - shift;
    if (per_row) a.x_zeros = zeros.ref;
    if (with_w_zeros) a.w_zeros = w_zeros.ref;
    TERSOR_TRY(qgemm_s32_infer(a));
    dtype = a.y.dtype;
    Result result;
    result.attach(a.y);
    Context ctx;
    TERSOR_TRY(qgemm_s32_cpu(a, ctx));
    CHECK(result.intact(a.y.bytes()));
    y.clear(), want.clear();
    for (int64_t i = 0; i < p.m; i++)
      for (int64_t j = 0; j < p.n; j++) {
        int64_t sum = 0;
        for (int64_t k = 0; k < p.k; k++)
          sum += (p.x[static_cast<size_t>(i * p.k + k)] - (per_row ? zeros[i] + shift : zero)) * (p.w[static_cast<size_t>(j * p.k + k)] - (with_w_zeros ? w_zeros[j] : 0));
        want.push_back(sum);
        y.push_back(dtype == DType::i64 ? a.y.as<int64_t>()[i * p.n + j] : a.y.as<int32_t>()[i * p.n + j]);
      }
    return {};
  }
};

}  // namespace

TERSOR_TEST(qgemm_rows_are_exact_and_stay_inside) {
  each_row([](const QgemmRow& row) {
    const int wide = 2 * 8 * row.layout.nr + 1, tall = 2 * row.mr + 1;
    for (int n = 0; n <= wide; n += n < 40 ? 1 : 13) {
      const Problem p(random_in(0, 4), n, random_in(0, 40));
      check_row(row, p, static_cast<QgemmAct>(n % 5), n % 3 ? Side::end : Side::begin);
    }
    for (int m = 0; m <= tall; m++) check_row(row, Problem(m, random_in(1, wide), random_in(1, 70)), QgemmAct::none, m % 2 ? Side::end : Side::begin);
    for (int k = 0; k <= 67; k++) check_row(row, Problem(3, row.layout.nr + 5, k), QgemmAct::relu, k % 2 ? Side::end : Side::begin);
  });
}

TERSOR_TEST(qgemm_rows_do_not_saturate) {
  each_row([](const QgemmRow& row) {
    for (const int64_t k : {2, 4, 64, 259, 4096}) {
      Problem p(row.mr + 1, row.np * row.layout.nr + 3, k);
      p.extreme();
      check_sums(row, p, 0);
      check_sums(row, p, 255);
    }
  });
}

// Groups of weights on both sides of the bound where pairs of products leave 16 bits, and groups of zeros, mixed.
TERSOR_TEST(qgemm_rows_are_exact_where_pairs_touch_16_bits) {
  each_row([](const QgemmRow& row) {
    const int edge[][2] = {{64, 64}, {-64, -64}, {127, 1}, {127, 2}, {-128, 0}, {-128, -1}, {65, 64}, {127, -128}, {0, 0}};
    for (const int64_t k : {8, 130, 516, 1400}) {
      Problem p(row.mr + 2, 2 * row.layout.nr + 3, k);
      for (size_t i = 0; i < p.x.size(); i++) p.x[i] = random_in(0, 3) ? 255 : 0;
      const int rare = static_cast<int>(k % 3) * 20 + 1;
      for (size_t i = 0; i + 1 < p.w.size(); i += 2) {
        const int* e = edge[(i / 64) % 3 ? 8 : random_in(0, rare) ? 0 : random_in(0, 8)];
        p.w[i] = static_cast<int8_t>(e[0]), p.w[i + 1] = static_cast<int8_t>(e[1]);
      }
      check_sums(row, p, 0);
      check_sums(row, p, 128);
    }
  });
}

// The plain sums pass 2^31 long before the result does: they wrap, and what is left after the zero point is exact.
TERSOR_TEST(qgemm_rows_are_exact_as_long_as_the_result_fits) {
  each_row([](const QgemmRow& row) {
    for (const int64_t k : {65793, 65794, 131071}) {
      Problem p(1, 2, k);
      for (auto& v : p.x) v = 0;
      for (size_t i = 0; i < p.w.size(); i++) p.w[i] = -128;
      check_sums(row, p, 128);  // 128 * 128 * K, just below 2^31 at the last K
      for (auto& v : p.x) v = 255;
      check_sums(row, p, 128);
      if (k <= 65793) check_sums(row, p, 0);
    }
    Problem deep(2, 17, 200000);  // random signs: far from the limit of the result, far beyond that of the sums
    check_sums(row, deep, 128);
  });
}

TERSOR_TEST(qgemm_blob_headers_are_checked) {
  const QgemmLayout& layout = qgemm_layout();
  const Problem p(0, 21, 70);
  const int64_t bytes = qgemm_blob_bytes(layout, 21, 70);
  GuardedBuffer buffer(static_cast<size_t>(bytes) + 64, Side::begin);
  char* const blob = buffer.as<char>();
  qgemm_blob_header(layout, 21, 70, blob);
  qgemm_pack_blob(layout, p.w.data(), 70, 21, 70, 0, layout.panels(21), blob);
  CHECK(qgemm_blob_fits(layout, blob, bytes, 21, 70));
  CHECK(!qgemm_blob_fits(layout, blob, bytes - 64, 21, 70));
  CHECK(!qgemm_blob_fits(layout, blob, bytes, 20, 70));
  CHECK(!qgemm_blob_fits(layout, blob, bytes, 21, 69));
  memmove(blob + 8, blob, static_cast<size_t>(bytes));
  CHECK(!qgemm_blob_fits(layout, blob + 8, bytes, 21, 70));  // misaligned
  memmove(blob, blob + 8, static_cast<size_t>(bytes));
  CHECK(qgemm_blob_fits(layout, blob, bytes, 21, 70));
  for (size_t i = 0; i < sizeof(QgemmHeader); i++) {  // any changed byte of the header
    blob[i] ^= 0x40;
    CHECK(!qgemm_blob_fits(layout, blob, bytes, 21, 70));
    blob[i] ^= 0x40;
  }
}

TERSOR_TEST(qgemm_rows_quantize_alike) {
  each_row([](const QgemmRow& row) {
    for (int n = 0; n <= 40; n++) {
      GuardedBuffer x(static_cast<size_t>(n) * 4, n % 2 ? Side::end : Side::begin), q(static_cast<size_t>(n), n % 2 ? Side::end : Side::begin);
      const int zero = random_in(0, 255);
      const float scale = n % 3 ? 0.037f : 1.0f;
      const float special[] = {NAN, INFINITY, -INFINITY, 3e38f, -3e38f, 0.5f, 1.5f, 2.5f, -0.5f, -1.5f, 1e-45f, -0.0f};
      for (int i = 0; i < n; i++) {
        const int pick = random_in(0, 30);
        x.as<float>()[i] = pick < 12 ? special[pick] : static_cast<float>(random_in(-600, 600)) * scale * 0.5f;
      }
      row.width->quantize({x.as<float>(), n, scale, zero, q.as<uint8_t>()});
      for (int i = 0; i < n; i++) {
        const int got = q.as<uint8_t>()[i];
        CHECK_MSG(got == quantized(x.as<float>()[i], scale, zero), "%s: %g / %g + %d gave %d", row.function, (double)x.as<float>()[i], (double)scale, zero, got);
      }
    }
  });
}

TERSOR_TEST(qgemm_rows_quantize_dynamically_alike) {
  each_row([](const QgemmRow& row) {
    for (int n = 0; n <= 70; n++)
      for (const bool symmetric : {false, true}) {
        const Side side = n % 2 ? Side::end : Side::begin;
        GuardedBuffer x(static_cast<size_t>(n) * 4, side), q(static_cast<size_t>(n), side);
        const float size[] = {0.0f, 1e-42f, 1e-30f, 1.0f, 3e30f};
        float lo = 0, hi = 0;
        for (int i = 0; i < n; i++) {
          x.as<float>()[i] = static_cast<float>(random_in(n % 4 == 0 ? 0 : -600, 500)) * size[n % 5];
          lo = std::fmin(lo, x.as<float>()[i]), hi = std::fmax(hi, x.as<float>()[i]);
        }
        float scale = symmetric ? std::fmax(-lo, hi) / 127.0f : hi / 255.0f - lo / 255.0f;
        scale = std::fmax(scale, 1.17549435e-38f);
        const int zero = symmetric ? 128 : static_cast<int>(std::nearbyint(-lo / scale));
        QgemmDynamic d{x.as<float>(), n, symmetric, q.as<uint8_t>(), -1, -1};
        row.width->dynamic(d);
        CHECK(d.scale == scale && d.zero == zero);
        for (int i = 0; i < n; i++) {
          const float v = std::nearbyint(x.as<float>()[i] * (1.0f / scale)) + static_cast<float>(zero), least = symmetric ? 1.0f : 0.0f;
          CHECK(static_cast<float>(q.as<uint8_t>()[i]) == (v < least ? least : v > 255 ? 255 : v));
        }
        for (const float bad : {NAN, INFINITY, -INFINITY}) {
          if (n == 0) break;
          x.as<float>()[random_in(0, n - 1)] = bad;
          row.width->dynamic(d);
          CHECK(d.scale != d.scale && d.zero >= 0 && d.zero <= 255);
        }
      }
  });
}

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
  for (const auto& s : {std::vector<int64_t>{1, 50, 37}, {5, 130, 64}, {300, 35, 40}, {2, 3, 132000}, {4, 6, 0}})
    for (int form = 0; form < 8; form++) {
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
          y = y > 0 ? y : 0;
          want[static_cast<size_t>(i * n + j)] = extras ? y + residual[i * n + j] : y;
        }
      }
      Context ctx;
      Result y;
      if (dynamic) {
        qlinear_dynamic_args a{};
        a.x = x.ref, a.packed = packed.args.packed, a.w_scale = scale.ref, a.bias = bias.ref, a.out = n, a.symmetric = second, a.act = activation::relu;
        if (extras) a.residual = residual.ref;
        CHECK_OK(qlinear_dynamic_infer(a));
        y.attach(a.y);
        CHECK_OK(qlinear_dynamic_cpu(a, ctx));
        CHECK(y.intact(a.y.bytes()) && memcmp(a.y.data, want.data(), want.size() * 4) == 0);
        continue;
      }
      for (const DType dtype : {DType::f32, DType::u8, DType::i8}) {
        qmatmul_args a{};
        a.x = codes.ref, a.packed = packed.args.packed, a.w_scale = scale.ref, a.bias = bias.ref, a.out = n, a.act = activation::relu;
        a.x_scale = static_cast<double>(0.02f), a.x_zero = second ? -7 : 7, a.dtype = dtype, a.y_scale = 0.125, a.y_zero = 30;
        if (extras) a.residual = residual.ref, a.x_scales = x_scales.ref, a.x_zeros = x_zeros.ref, a.w_zeros = w_zeros.ref;
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
