// Problems and references that the tests of integer products share.
#pragma once
#include "cpu/threads.h"
#include "kernels/qgemm/qgemm.h"
#include "test/op_tensor.h"
#include "test/qgemm_tiles.h"

namespace tersor {
namespace test {
namespace qgemm {

using Side = GuardedBuffer::Side;

template <class F> void each_row(F fn) {
  const QgemmRow* rows;
  const int n = qgemm_all_rows(&rows);
  for (int i = 0; i < n; i++)
    if ((rows[i].needs & ~isa::allowed()) == 0) fn(rows[i]);
  fn(qgemm_tiles_row());
  check_qgemm_tiles();
}

inline int random_in(int lo, int hi) { return std::uniform_int_distribution<int>(lo, hi)(rng()); }

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
inline int32_t multiply_fixed(int32_t x, int32_t multiplier, int32_t exponent) {
  const int left = exponent > 0 ? exponent : 0, right = exponent > 0 ? 0 : -exponent;
  int64_t wide = int64_t(x) * (int64_t(1) << left);
  wide = wide > INT32_MAX ? INT32_MAX : wide < INT32_MIN ? INT32_MIN : wide;
  const int64_t ab = wide * multiplier, nudge = ab >= 0 ? int64_t(1) << 30 : 1 - (int64_t(1) << 30);
  const int32_t high = static_cast<int32_t>((ab + nudge) / (int64_t(1) << 31));
  const int64_t mask = (int64_t(1) << right) - 1, remainder = high & mask, threshold = (mask >> 1) + (high < 0 ? 1 : 0);
  return static_cast<int32_t>((high >> right) + (remainder > threshold ? 1 : 0));
}

inline double act_of(QgemmAct act, double v) {
  switch (act) {
    case QgemmAct::relu: return v > 0 ? v : 0;
    case QgemmAct::gelu: return 0.5 * v * (1 + std::erf(v * 0.70710678118654752));
    case QgemmAct::tanh: return std::tanh(v);
    case QgemmAct::sigmoid: return 1 / (1 + std::exp(-v));
    case QgemmAct::gelu_tanh: return 0.5 * v * (1 + std::tanh(0.79788456080286536 * (v + 0.044715 * v * v * v)));
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
inline void check_row(const QgemmRow& row, const Problem& p, QgemmAct act, Side side) {
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
inline void check_sums(const QgemmRow& row, const Problem& p, int zero) {
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

inline int quantized(float x, float scale, int zero) {
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


}  // namespace qgemm
}  // namespace test
}  // namespace tersor
