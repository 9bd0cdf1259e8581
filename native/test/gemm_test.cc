// f32 matrix product: every row usable here against a double-precision sum, with unreadable pages around all operands; then the ops
// matmul, linear, linear_fused, linear_packed and gemm.
#include <memory>

#include "cpu/threads.h"
#include "kernels/gemm/gemm.h"
#include "test/op_tensor.h"

using namespace tersor;
using namespace tersor::test;

namespace {

using Side = GuardedBuffer::Side;

struct Floats : GuardedBuffer {
  Floats(int64_t n, Side side) : GuardedBuffer(static_cast<size_t>(n) * 4, side), data(as<float>()) {
    std::uniform_real_distribution<float> d(-1, 1);
    for (int64_t i = 0; i < n; i++) data[i] = d(rng());
  }
  float* data;
};

template <class F> void each_row(F fn) {
  const GemmRow<float>* rows;
  const int n = gemm_all_rows(&rows);
  for (int i = 0; i < n; i++)
    if ((rows[i].needs & ~isa::allowed()) == 0) fn(rows[i]);
}

int64_t random_in(int64_t lo, int64_t hi) { return std::uniform_int_distribution<int64_t>(lo, hi)(rng()); }

bool near(float got, double want, double size, int64_t k) {
  return std::fabs(static_cast<double>(got) - want) <= static_cast<double>(k + 8) * 6e-8 * size + 1e-30;
}

void check_strip(const GemmRow<float>& row, int m, int64_t n, int64_t k, Side side) {
  const bool transposed = random_in(0, 1), use_offset = random_in(0, 1);
  const int mode = static_cast<int>(random_in(0, 3));  // plain, accumulate, bias_n, bias_m
  const bool packed = !use_offset && random_in(0, 1);
  GemmStrip<float> s;
  s.m = m, s.n = n, s.k = k;
  s.accumulate = mode == 1;
  s.a_row = transposed ? 1 : k + random_in(0, 3), s.a_col = transposed ? m + random_in(0, 3) : 1;
  s.c_row = n + random_in(0, 5);
  const int64_t panels = (n + row.nr - 1) / row.nr;
  s.b_row = packed ? row.nr : n + random_in(0, 3);
  s.b_panel = packed ? k * row.nr : row.nr;
  std::vector<int64_t> offset(static_cast<size_t>(k));
  int64_t b_size = packed ? panels * k * row.nr : k > 0 ? (k - 1) * s.b_row + n : 0;
  if (use_offset) {  // rows overlap at random, the last one ends at the last element
    b_size = n + 40;
    for (auto& o : offset) o = random_in(0, 40);
    if (k > 0) offset[static_cast<size_t>(k - 1)] = 40;
    s.offset = offset.data();
  }
  Floats a(m > 0 && k > 0 ? (m - 1) * s.a_row + (k - 1) * s.a_col + 1 : 0, side), b(b_size, side), c(m > 0 ? (m - 1) * s.c_row + n : 0, side), bias_n(n, side), bias_m(m, side);
  s.a = a.data, s.b = b.data, s.c = c.data;
  if (mode == 2) s.bias_n = bias_n.data;
  if (mode == 3) s.bias_m = bias_m.data;
  if (packed && random_in(0, 1)) s.next = b.data;  // a hint: it changes nothing
  const std::vector<float> before(c.data, c.data + (m > 0 ? (m - 1) * s.c_row + n : 0));
  row.strip(s);
  for (int64_t i = 0; i < m; i++)
    for (int64_t j = 0; j < (i + 1 < m ? s.c_row : n); j++) {
      const float was = before[static_cast<size_t>(i * s.c_row + j)], got = c.data[i * s.c_row + j];
      if (j >= n) {
        CHECK(got == was);
        continue;
      }
      double want = mode == 1 ? was : mode == 2 ? bias_n.data[j] : mode == 3 ? bias_m.data[i] : 0, size = std::fabs(want);
      for (int64_t p = 0; p < k; p++) {
        const int64_t base = use_offset ? offset[static_cast<size_t>(p)] : p * s.b_row;
        const double t = static_cast<double>(a.data[i * s.a_row + p * s.a_col]) * static_cast<double>(b.data[j / row.nr * s.b_panel + base + j % row.nr]);
        want += t, size += std::fabs(t);
      }
      CHECK_MSG(near(got, want, size, k), "%s m%d n%lld k%lld mode %d t%d o%d p%d (%lld,%lld): got %g, want %g", row.function, m, (long long)n, (long long)k,
                mode, transposed, use_offset, packed, (long long)i, (long long)j, (double)got, want);
    }
}

void check_dot(const GemmRow<float>& row, int64_t m, int64_t n, int64_t k, int64_t groups, Side side) {
  GemmDot<float> d;
  const int mode = static_cast<int>(random_in(0, 2));
  const bool use_offset = random_in(0, 1);
  d.m = m, d.n = n, d.k = k, d.groups = groups, d.accumulate = mode == 1;
  d.a_row = k + random_in(0, 3), d.a_group = m * d.a_row;
  d.b_row = k + random_in(0, 3), d.b_group = use_offset ? k + 20 : n * d.b_row;
  d.c_row = n + random_in(0, 2);
  std::vector<int64_t> offset(static_cast<size_t>(n));
  for (auto& o : offset) o = random_in(0, 20);
  if (use_offset) d.offset = offset.data();
  const int64_t b_last = use_offset ? 20 : (n - 1) * d.b_row;
  Floats a((groups - 1) * d.a_group + (m - 1) * d.a_row + k, side), b((groups - 1) * d.b_group + b_last + k, side), c((m - 1) * d.c_row + n, side), bias(n, side);
  d.a = a.data, d.b = b.data, d.c = c.data;
  if (mode == 2) d.bias_n = bias.data;
  const std::vector<float> before(c.data, c.data + (m - 1) * d.c_row + n);
  row.dot(d);
  for (int64_t i = 0; i < m; i++)
    for (int64_t j = 0; j < n; j++) {
      double want = mode == 1 ? before[static_cast<size_t>(i * d.c_row + j)] : mode == 2 ? bias.data[j] : 0, size = std::fabs(want);
      for (int64_t g = 0; g < groups; g++)
        for (int64_t p = 0; p < k; p++) {
          const double t = static_cast<double>(a.data[g * d.a_group + i * d.a_row + p]) *
                           static_cast<double>(b.data[g * d.b_group + (use_offset ? offset[static_cast<size_t>(j)] : j * d.b_row) + p]);
          want += t, size += std::fabs(t);
        }
      CHECK_MSG(near(c.data[i * d.c_row + j], want, size, k * groups), "%s dot m%lld n%lld k%lld g%lld: got %g, want %g", row.function, (long long)m, (long long)n,
                (long long)k, (long long)groups, (double)c.data[i * d.c_row + j], want);
    }
}

struct MatmulCase {
  std::vector<int64_t> a, b;
  bool ta, tb;
};

template <class T> void check_matmul(const MatmulCase& q) {
  Array<T> a = Array<T>(float_dtype<T>(), q.a).uniform(-1, 1), b = Array<T>(float_dtype<T>(), q.b).uniform(-1, 1);
  matmul_args x{};
  x.a = a.ref, x.b = b.ref, x.transpose_a = q.ta, x.transpose_b = q.tb;
  CHECK_OK(matmul_infer(x));
  Result y;
  y.attach(x.y);
  Context ctx;
  CHECK_OK(matmul_cpu(x, ctx));
  CHECK(y.intact(x.y.bytes()));
  const int rank = x.y.rank;
  const int64_t m = x.y.shape[rank - 2], n = x.y.shape[rank - 1], k = q.ta ? x.a.dim(-2) : x.a.dim(-1);
  const double eps = sizeof(T) == 4 ? 6e-8 : 1.2e-16;
  for (int64_t i = 0; i < x.y.size(); i++) {
    int64_t batch = i / (m * n), ia = 0, ib = 0;
    for (int d = rank - 3; d >= 0; d--) {
      const int64_t at = batch % x.y.shape[d];
      batch /= x.y.shape[d];
      const int da = x.a.rank - rank + d, db = x.b.rank - rank + d;
      if (da >= 0 && x.a.shape[da] != 1) ia += at * x.a.stride[da];
      if (db >= 0 && x.b.shape[db] != 1) ib += at * x.b.stride[db];
    }
    const int64_t r = i / n % m, c = i % n;
    double want = 0, size = 0;
    for (int64_t p = 0; p < k; p++) {
      const double t = static_cast<double>(a[ia + (q.ta ? p * m + r : r * k + p)]) * static_cast<double>(b[ib + (q.tb ? c * k + p : p * n + c)]);
      want += t, size += std::fabs(t);
    }
    const double got = static_cast<double>(x.y.as<T>()[i]);
    if (!(std::fabs(got - want) <= eps * static_cast<double>(k + 8) * size + 1e-30)) {
      CHECK_MSG(false, "matmul %s x %s t%d%d at %lld: got %g, want %g", TERSOR_TEXT(a.ref), TERSOR_TEXT(b.ref), q.ta, q.tb, (long long)i, got, want);
      return;
    }
  }
  CHECK(true);
}

const MatmulCase kMatmuls[] = {
    {{3, 4}, {4, 5}, 0, 0},          {{4, 3}, {4, 5}, 1, 0},        {{3, 4}, {5, 4}, 0, 1},          {{4, 3}, {5, 4}, 1, 1},
    {{1, 700}, {33, 700}, 0, 1},     {{2, 65}, {130, 65}, 0, 1},    {{1, 300}, {300, 270}, 0, 0},    {{90, 1}, {1, 70}, 0, 0},
    {{90, 300}, {300, 1}, 0, 0},     {{61, 517}, {517, 67}, 0, 0},  {{61, 517}, {67, 517}, 0, 1},    {{517, 61}, {517, 67}, 1, 0},
    {{130, 257}, {257, 600}, 0, 0},  {{130, 512}, {600, 512}, 0, 1}, {{2, 3, 7, 5}, {2, 3, 5, 9}, 0, 0}, {{2, 1, 7, 5}, {3, 9, 5}, 0, 1},
    {{5, 1, 20, 64}, {4, 64, 90}, 0, 0}, {{4, 20, 64}, {64, 90}, 0, 0}, {{20, 64}, {4, 64, 90}, 0, 0}, {{3, 64, 20}, {3, 90, 64}, 1, 1},
    {{0, 4}, {4, 5}, 0, 0},          {{3, 0}, {0, 5}, 0, 0},        {{3, 4}, {4, 0}, 0, 0},          {{0, 3, 4}, {4, 5}, 0, 0},
    {{2, 3, 0}, {2, 0, 5}, 0, 0},    {{1, 1}, {1, 1}, 1, 1}};

}  // namespace

TERSOR_TEST(gemm_strips_match_and_stay_inside) {
  each_row([](const GemmRow<float>& row) {
    const int64_t depths[] = {0, 1, 2, 3, 7, 8, 16, 17, 33, 64};
    for (int m = 0; m <= row.mr; m++)
      for (int64_t n = 0; n <= 2 * row.nr + 1; n++) check_strip(row, m, n, depths[random_in(0, 9)], n % 2 ? Side::end : Side::begin);
    for (const int64_t n : {127, 128, 131, 257, 300}) {
      check_strip(row, 1, n, 33, Side::end);
      check_strip(row, 2, n, 31, Side::end);
      check_strip(row, row.mr, n, 257, Side::begin);
    }
    for (int m = row.mr + 1; m <= 31; m++) check_strip(row, m, random_in(1, 5 * row.nr), depths[random_in(0, 9)], m % 2 ? Side::end : Side::begin);
  });
}

TERSOR_TEST(gemm_dot_products_match_and_stay_inside) {
  each_row([](const GemmRow<float>& row) {
    for (int64_t m = 1; m <= 9; m++)
      for (int64_t n = 1; n <= 17; n++) check_dot(row, m, n, random_in(0, 70), random_in(1, 3), n % 2 ? Side::end : Side::begin);
    for (int64_t k = 0; k <= 67; k++) check_dot(row, 5, 7, k, 2, k % 2 ? Side::end : Side::begin);
  });
}

TERSOR_TEST(gemm_packs_transposed_panels) {
  each_row([](const GemmRow<float>& row) {
    for (int n = 0; n <= row.nr; n++) {
      const int64_t k = random_in(0, 35), pitch = k + random_in(0, 3);
      Floats b(n > 0 && k > 0 ? (n - 1) * pitch + k : 0, n % 2 ? Side::end : Side::begin), out(k * row.nr, n % 2 ? Side::end : Side::begin);
      row.pack_transposed(b.data, pitch, k, n, out.data);
      bool same = true;
      for (int64_t p = 0; p < k; p++)
        for (int j = 0; j < row.nr; j++) same = same && out.data[p * row.nr + j] == (j < n ? b.data[j * pitch + p] : 0.0f);
      CHECK_MSG(same, "%s n%d k%lld", row.function, n, (long long)k);
    }
  });
}

TERSOR_TEST(gemm_propagates_nan_and_infinity) {
  each_row([](const GemmRow<float>& row) {
    std::vector<float> a(64, 1.0f), b(64 * 64, 1.0f), c(64, 0.0f);
    a[5] = NAN;
    GemmStrip<float> s;
    s.m = 1, s.n = row.nr + 3, s.k = 64, s.a = a.data(), s.a_row = 64, s.b = b.data(), s.b_row = 64, s.b_panel = row.nr, s.c = c.data(), s.c_row = 64;
    row.strip(s);
    for (int64_t j = 0; j < s.n; j++) CHECK(std::isnan(c[static_cast<size_t>(j)]));
    a[5] = 1.0f, b[7 * 64 + 2] = INFINITY;
    row.strip(s);
    CHECK(c[2] == INFINITY && c[1] == 64.0f && c[3] == 64.0f);
  });
}

TERSOR_TEST(gemm_reports_its_rows) {
  RowInfo info[16];
  const int n = gemm_rows(info, 16);
  int chosen = 0;
  for (int i = 0; i < n; i++) chosen += info[i].chosen && !strcmp(info[i].variant, "f32");
  CHECK(n >= 2 && chosen == 1);
  CHECK(gemm_rows(info, 1) == n);
}

TERSOR_TEST(matmul_matches_double_sums) {
  for (const MatmulCase& q : kMatmuls) {
    check_matmul<float>(q);
    check_matmul<double>(q);
  }
}

TERSOR_TEST(matmul_takes_strided_views) {
  // Every second batch entry, rows 3..12 of 20, columns as a transposed view.
  Array<float> a = Array<float>(DType::f32, {4, 30, 20}).uniform(-1, 1), b = Array<float>(DType::f32, {4, 40, 30}).uniform(-1, 1);
  matmul_args x{};
  x.a = a.ref, x.b = b.ref;
  x.a.shape[0] = x.b.shape[0] = 2;
  x.a.stride[0] *= 2, x.b.stride[0] *= 2;
  x.a.data = a.values.data() + 3;  // a[:, :, 3:12] transposed -> [2, 9, 30]
  x.a.shape[1] = 9, x.a.stride[1] = 1, x.a.shape[2] = 30, x.a.stride[2] = 20;
  x.b.shape[1] = 30, x.b.stride[1] = 1, x.b.shape[2] = 40, x.b.stride[2] = 30;
  CHECK_OK(matmul_infer(x));
  Result y;
  y.attach(x.y);
  Context ctx;
  CHECK_OK(matmul_cpu(x, ctx));
  for (int64_t g = 0; g < 2; g++)
    for (int64_t i = 0; i < 9; i++)
      for (int64_t j = 0; j < 40; j++) {
        double want = 0;
        for (int64_t k = 0; k < 30; k++) want += static_cast<double>(a[g * 1200 + k * 20 + 3 + i]) * static_cast<double>(b[g * 2400 + j * 30 + k]);
        CHECK(std::fabs(want - static_cast<double>(x.y.as<float>()[(g * 9 + i) * 40 + j])) < 1e-5);
      }
}

TERSOR_TEST(matmul_and_linear_do_not_depend_on_threads) {
  const int before = thread_count();
  for (const MatmulCase& q : {MatmulCase{{300, 513}, {700, 513}, 0, 1}, MatmulCase{{16, 90, 64}, {16, 64, 90}, 0, 0}, MatmulCase{{3, 4000}, {900, 4000}, 0, 1}}) {
    Array<float> a = Array<float>(DType::f32, q.a).uniform(-1, 1), b = Array<float>(DType::f32, q.b).uniform(-1, 1);
    matmul_args x{};
    x.a = a.ref, x.b = b.ref, x.transpose_a = q.ta, x.transpose_b = q.tb;
    std::vector<unsigned char> first;
    for (int threads : {1, 2, 3, 7}) {
      CHECK_OK(set_thread_count(threads));
      CHECK_OK(matmul_infer(x));
      Result y;
      y.attach(x.y);
      Context ctx;
      CHECK_OK(matmul_cpu(x, ctx));
      if (threads == 1) first = y.bytes;
      CHECK(first == y.bytes);
    }
  }
  CHECK_OK(set_thread_count(before));
}

TERSOR_TEST(linear_adds_its_bias) {
  for (const int64_t m : {0, 1, 5, 17, 70})
    for (const int64_t k : {0, 3, 300})
      for (const bool strided : {false, true}) {
        const int64_t n = 37;
        Array<float> x = Array<float>(DType::f32, {2, m, k}).uniform(-1, 1), bias = Array<float>(DType::f32, {n}).uniform(-1, 1);
        Array<float> w = strided ? Array<float>(DType::f32, {k, n}) : Array<float>(DType::f32, {n, k});
        w.uniform(-1, 1);
        linear_args a{};
        a.x = x.ref, a.w = w.ref, a.bias = bias.ref;
        if (strided) std::swap(a.w.shape[0], a.w.shape[1]), std::swap(a.w.stride[0], a.w.stride[1]);
        CHECK_OK(linear_infer(a));
        CHECK(a.y.rank == 3 && a.y.shape[2] == n);
        Result y;
        y.attach(a.y);
        Context ctx;
        CHECK_OK(linear_cpu(a, ctx));
        CHECK(y.intact(a.y.bytes()));
        for (int64_t i = 0; i < 2 * m; i++)
          for (int64_t j = 0; j < n; j++) {
            double want = static_cast<double>(bias[j]);
            for (int64_t p = 0; p < k; p++) want += static_cast<double>(x[i * k + p]) * static_cast<double>(strided ? w[p * n + j] : w[j * k + p]);
            CHECK(std::fabs(want - static_cast<double>(a.y.as<float>()[i * n + j])) < 1e-4);
          }
      }
}

TERSOR_TEST(matmul_and_linear_reject_what_does_not_fit) {
  Array<float> a(DType::f32, {3, 4}), b(DType::f32, {4, 5}), c(DType::f32, {4}), d(DType::f32, {2, 3, 4}), e(DType::f32, {3, 4, 5});
  matmul_args x{};
  x.a = a.ref, x.b = b.ref;
  CHECK(matmul_infer(x).ok());
  x.transpose_a = true;
  CHECK(matmul_infer(x).code == Code::shape);
  x.transpose_a = false, x.b = c.ref;
  CHECK(matmul_infer(x).code == Code::shape);
  x.b = b.ref, x.b.dtype = DType::f64;
  CHECK(matmul_infer(x).code == Code::dtype);
  x.a.dtype = x.b.dtype = DType::i32;
  CHECK(matmul_infer(x).code == Code::dtype);
  x.a = d.ref, x.b = e.ref;
  CHECK(matmul_infer(x).code == Code::shape);
  linear_args l{};
  l.x = a.ref, l.w = b.ref;
  CHECK(linear_infer(l).code == Code::shape);
  l.w = a.ref, l.bias = c.ref;
  CHECK(linear_infer(l).code == Code::shape);
  l.bias = {}, l.w = d.ref;
  CHECK(linear_infer(l).code == Code::shape);
}

namespace {

// Memory that starts on a cache line, as tensors do.
struct Blob {
  GuardedBuffer bytes;
  explicit Blob(int64_t size) : bytes(static_cast<size_t>((size + 63) / 64 * 64), Side::end) {}
};

template <class Args> std::vector<float> fused(Args& a, Status (*infer)(Args&), Status (*cpu)(Args&, Context&)) {
  Result y;
  Context ctx;
  CHECK_OK(infer(a));
  y.attach(a.y);
  CHECK_OK(cpu(a, ctx));
  CHECK(y.intact(a.y.bytes()));
  return std::vector<float>(a.y.template as<float>(), a.y.template as<float>() + a.y.size());
}

}  // namespace

TERSOR_TEST(linear_fused_and_packed_finish_their_tiles) {
  for (const int64_t m : {1, 5, 16, 17, 70, 600})
    for (const int64_t n : {1, 37, 530})
      for (const int64_t k : {0, 3, 300}) {
        Array<float> x = Array<float>(DType::f32, {m, k}).uniform(-1, 1), w = Array<float>(DType::f32, {n, k}).uniform(-1, 1);
        Array<float> bias = Array<float>(DType::f32, {n}).uniform(-1, 1), residual = Array<float>(DType::f32, {m, n}).uniform(-9, 9);
        linear_fused_args f{};
        f.x = x.ref, f.w = w.ref, f.bias = bias.ref, f.residual = residual.ref, f.act = activation::relu;
        const std::vector<float> plain = fused(f, linear_fused_infer, linear_fused_cpu);
        gemm_pack_args p{};
        p.w = w.ref;
        CHECK_OK(gemm_pack_infer(p));
        Blob blob(p.packed.bytes());
        p.packed.data = blob.bytes.as<char>();
        Context ctx;
        CHECK_OK(gemm_pack_cpu(p, ctx));
        linear_packed_args q{};
        q.x = x.ref, q.packed = p.packed, q.bias = bias.ref, q.residual = residual.ref, q.out = n, q.act = activation::relu;
        const std::vector<float> packed = fused(q, linear_packed_infer, linear_packed_cpu);
        for (int64_t i = 0; i < m; i++)
          for (int64_t j = 0; j < n; j++) {
            double want = static_cast<double>(bias[j]);
            for (int64_t c = 0; c < k; c++) want += static_cast<double>(x[i * k + c]) * static_cast<double>(w[j * k + c]);
            want = (want > 0 ? want : 0) + static_cast<double>(residual[i * n + j]);
            CHECK(std::fabs(want - static_cast<double>(plain[static_cast<size_t>(i * n + j)])) < 1e-4);
            CHECK(std::fabs(want - static_cast<double>(packed[static_cast<size_t>(i * n + j)])) < 1e-4);
          }
        if (m > 16 && n > 1) CHECK(memcmp(plain.data(), packed.data(), plain.size() * 4) == 0);
        // The header of another weight.
        p.packed.as<char>()[8] ^= 1;
        CHECK(linear_packed_cpu(q, ctx).code == Code::option);
      }
}

TERSOR_TEST(gemm_scales_and_adds) {
  for (const int64_t m : {1, 17, 70})
    for (const int64_t n : {1, 33, 530})
      for (const int64_t k : {0, 7, 300})
        for (const int flags : {0, 1, 2, 3}) {
          const bool ta = flags & 1, tb = flags & 2;
          Array<float> a = Array<float>(DType::f32, {ta ? k : m, ta ? m : k}).uniform(-1, 1), b = Array<float>(DType::f32, {tb ? n : k, tb ? k : n}).uniform(-1, 1);
          Array<float> c = Array<float>(DType::f32, {m, 1}).uniform(-1, 1);
          gemm_args g{};
          g.a = a.ref, g.b = b.ref, g.c = c.ref, g.transpose_a = ta, g.transpose_b = tb, g.alpha = -2, g.beta = 0.5;
          const std::vector<float> y = fused(g, gemm_infer, gemm_cpu);
          for (int64_t i = 0; i < m; i++)
            for (int64_t j = 0; j < n; j++) {
              double sum = 0;
              for (int64_t p = 0; p < k; p++) sum += static_cast<double>(a[ta ? p * m + i : i * k + p]) * static_cast<double>(b[tb ? j * k + p : p * n + j]);
              CHECK(std::fabs(-2 * sum + 0.5 * static_cast<double>(c[i]) - static_cast<double>(y[static_cast<size_t>(i * n + j)])) < 1e-4);
            }
        }
}
