// CSR x dense: every row usable here against double sums, with unreadable pages around all operands; then the ops csr_from_dense,
// csr_to_dense and csr_linear, damaged structures included.
#include "cpu/threads.h"
#include "kernels/spmm/spmm.h"
#include "test/op_tensor.h"

using namespace tersor;
using namespace tersor::test;

namespace {

using Side = GuardedBuffer::Side;

template <class F> void each_row(F fn) {
  const SpmmRow* rows;
  const int n = spmm_all_rows(&rows);
  for (int i = 0; i < n; i++)
    if ((rows[i].needs & ~isa::allowed()) == 0) fn(rows[i]);
}

int random_in(int lo, int hi) { return std::uniform_int_distribution<int>(lo, hi)(rng()); }

struct Guarded : GuardedBuffer {
  Guarded(const std::vector<unsigned char>& bytes, Side side) : GuardedBuffer(bytes.size(), side) {
    if (!bytes.empty()) memcpy(as<void>(), bytes.data(), bytes.size());
  }
};
template <class T> std::vector<unsigned char> bytes_of(const std::vector<T>& v) {
  std::vector<unsigned char> b(v.size() * sizeof(T));
  if (!b.empty()) memcpy(b.data(), v.data(), b.size());
  return b;
}

struct Matrix {
  int64_t rows, cols;
  std::vector<int32_t> indptr{0}, columns;
  std::vector<float> values;
  Matrix(int64_t r, int64_t c, int most) : rows(r), cols(c) {
    for (int64_t i = 0; i < r; i++) {
      const int entries = c > 0 ? random_in(0, most) : 0;
      for (int e = 0; e < entries; e++) {
        columns.push_back(e == 0 ? static_cast<int32_t>(c - 1) : random_in(0, static_cast<int>(c - 1)));
        values.push_back(static_cast<float>(random_in(-127, 127)));
      }
      indptr.push_back(static_cast<int32_t>(columns.size()));
    }
  }
};

void check_row(const SpmmRow& row, const Matrix& w, bool wide, bool quantized, int width, Side side) {
  std::vector<uint16_t> narrow(w.columns.begin(), w.columns.end());
  std::vector<int8_t> small(w.values.begin(), w.values.end());
  const Guarded columns(wide ? bytes_of(w.columns) : bytes_of(narrow), side), values(quantized ? bytes_of(small) : bytes_of(w.values), side),
      indptr(bytes_of(w.indptr), side);
  const int lanes = width == 0 ? 1 : (width + 15) / 16 * 16;
  const int64_t pitch = width == 0 ? 1 : kSpmmLanes, x_size = w.cols > 0 ? (w.cols - 1) * pitch + lanes : 0, y_size = w.rows > 0 ? (w.rows - 1) * pitch + lanes : 0;
  GuardedBuffer x(static_cast<size_t>(x_size) * 4, side), y(static_cast<size_t>(y_size) * 4, side), scale(static_cast<size_t>(w.rows) * 4, side),
      bias(static_cast<size_t>(w.rows) * 4, side);
  for (int64_t i = 0; i < x_size; i++) x.as<float>()[i] = static_cast<float>(random_in(-1000, 1000)) * 1e-3f;
  for (int64_t i = 0; i < w.rows; i++) scale.as<float>()[i] = 0.5f + static_cast<float>(i % 3), bias.as<float>()[i] = static_cast<float>(i % 7);
  SpmmArgs s;
  s.rows = w.rows, s.cols = w.cols, s.indptr = indptr.as<int32_t>(), s.columns = columns.as<void>(), s.values = values.as<void>();
  s.wide = wide, s.quantized = quantized, s.x = x.as<float>(), s.y = y.as<float>(), s.width = width;
  const bool scaled = random_in(0, 1), biased = random_in(0, 1);
  if (scaled) s.scale = scale.as<float>(), s.scale_step = 1;
  if (biased) s.bias = bias.as<float>();
  width == 0 ? row.gather(s) : row.panel(s);
  for (int64_t r = 0; r < w.rows; r++)
    for (int i = 0; i < (width == 0 ? 1 : width); i++) {
      double want = 0, size = 0;
      for (int32_t e = w.indptr[static_cast<size_t>(r)]; e < w.indptr[static_cast<size_t>(r) + 1]; e++) {
        const double t = static_cast<double>(w.values[static_cast<size_t>(e)]) * static_cast<double>(x.as<float>()[w.columns[static_cast<size_t>(e)] * pitch + i]);
        want += t, size += std::fabs(t);
      }
      if (scaled) want *= static_cast<double>(scale.as<float>()[r]), size *= 3;
      if (biased) want += static_cast<double>(bias.as<float>()[r]), size += 8;
      const double got = static_cast<double>(y.as<float>()[r * pitch + i]);
      CHECK_MSG(std::fabs(got - want) <= 200 * 6e-8 * size + 1e-30, "%s width %d row %lld: got %g, want %g", row.function, width, (long long)r, got, want);
    }
  uint32_t most = 0;
  for (const int32_t c : w.columns) most = static_cast<uint32_t>(c) > most ? static_cast<uint32_t>(c) : most;
  CHECK(row.max_column(columns.as<void>(), wide, static_cast<int64_t>(w.columns.size())) == most);
}

// W [n, k] with a share of zeros, as dense tensor and as CSR tensors made by the op.
template <class T> struct Sparse {
  Array<T> dense;
  csr_from_dense_args csr{};
  Result values, indptr, columns;
  Sparse(int64_t n, int64_t k, double density) : dense(std::is_same<T, float>::value ? DType::f32 : DType::i8, {n, k}) {
    std::uniform_real_distribution<double> d(0, 1);
    for (int64_t i = 0; i < n * k; i++) dense[i] = d(rng()) < density ? static_cast<T>(random_in(1, 100)) : T(0);
    csr.w = dense.ref;
    CHECK_OK(csr_from_dense_infer(csr));
    values.attach(csr.values);
    indptr.attach(csr.indptr);
    columns.attach(csr.columns);
    Context ctx;
    CHECK_OK(csr_from_dense_cpu(csr, ctx));
    CHECK(values.intact(n * k * static_cast<int64_t>(sizeof(T))) && csr.values.shape[0] == csr.columns.shape[0]);
  }
};

template <class T> void check_ops(int64_t m, int64_t n, int64_t k, double density) {
  Sparse<T> w(n, k, density);
  CHECK(w.csr.columns.dtype == (k <= 65536 ? DType::u16 : DType::i32));
  csr_to_dense_args back{};
  back.values = w.csr.values, back.indptr = w.csr.indptr, back.columns = w.csr.columns, back.cols = k;
  CHECK_OK(csr_to_dense_infer(back));
  Result dense;
  dense.attach(back.w);
  Context ctx;
  CHECK_OK(csr_to_dense_cpu(back, ctx));
  CHECK(memcmp(dense.bytes.data(), w.dense.values.data(), static_cast<size_t>(n * k) * sizeof(T)) == 0);

  Array<float> x = Array<float>(DType::f32, {m, k}).uniform(-1, 1), bias = Array<float>(DType::f32, {n}).uniform(-1, 1), scale(DType::f32, {1});
  scale[0] = 0.25f;
  csr_linear_args a{};
  a.x = x.ref, a.values = w.csr.values, a.indptr = w.csr.indptr, a.columns = w.csr.columns, a.bias = bias.ref;
  if (sizeof(T) == 1) a.scale = scale.ref;
  std::vector<unsigned char> first;
  const int before = thread_count();
  for (int threads : {1, 2, 3, 7}) {
    CHECK_OK(set_thread_count(threads));
    CHECK_OK(csr_linear_infer(a));
    Result y;
    y.attach(a.y);
    CHECK_OK(csr_linear_cpu(a, ctx));
    CHECK(y.intact(a.y.bytes()));
    if (threads == 1) first = y.bytes;
    CHECK(first == y.bytes);
  }
  CHECK_OK(set_thread_count(before));
  const float* y = reinterpret_cast<const float*>(first.data());
  for (int64_t i = 0; i < m; i++)
    for (int64_t j = 0; j < n; j++) {
      double want = 0, size = 1;
      for (int64_t p = 0; p < k; p++) {
        const double t = static_cast<double>(x[i * k + p]) * static_cast<double>(w.dense[j * k + p]);
        want += t, size += std::fabs(t);
      }
      if (sizeof(T) == 1) want *= 0.25;
      want += static_cast<double>(bias[j]);
      CHECK(std::fabs(static_cast<double>(y[i * n + j]) - want) <= 300 * 6e-8 * size);
    }
}

}  // namespace

TERSOR_TEST(spmm_rows_match_and_stay_inside) {
  each_row([](const SpmmRow& row) {
    for (int width = 0; width <= 64; width++)
      for (int types = 0; types < 4; types++) {
        const Matrix w(random_in(0, 9), random_in(1, 90), width == 0 ? 70 : 20);
        check_row(row, w, types & 1, types & 2, width, (width + types) % 2 ? Side::end : Side::begin);
      }
    for (int entries = 0; entries <= 67; entries++)
      for (int types = 0; types < 4; types++) {
        Matrix w(1, 50, 0);
        for (int e = 0; e < entries; e++) w.columns.push_back(random_in(0, 49)), w.values.push_back(static_cast<float>(random_in(-127, 127)));
        w.indptr[1] = entries;
        check_row(row, w, types & 1, types & 2, 0, types % 2 ? Side::end : Side::begin);
      }
  });
}

TERSOR_TEST(spmm_gather_never_reads_outside) {
  each_row([](const SpmmRow& row) {
    const std::vector<int32_t> wild = {0, 5, 6, 7, 1000000, -1, INT32_MIN, INT32_MAX, 3, 65535, 9, 8, 7, 6, 5, 4, 3, 2, -7};
    const std::vector<uint16_t> narrow = {0, 65535, 6, 7, 40000, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 65535};
    const std::vector<float> values(19, 1.0f);
    GuardedBuffer x(6 * 4, Side::end), y(4, Side::end);
    const int32_t indptr[] = {0, 19};
    SpmmArgs s;
    s.rows = 1, s.cols = 6, s.indptr = indptr, s.columns = wild.data(), s.values = values.data(), s.wide = true, s.x = x.as<float>(), s.y = y.as<float>();
    for (int i = 0; i < 6; i++) x.as<float>()[i] = 1.0f;
    row.gather(s);
    CHECK(y.as<float>()[0] == 19.0f);
    s.columns = narrow.data(), s.wide = false;
    row.gather(s);
    CHECK(y.as<float>()[0] == 19.0f);
  });
}

TERSOR_TEST(csr_ops_round_trip_and_multiply) {
  for (const int64_t m : {0, 1, 2, 3, 4, 17, 64, 70, 300}) {
    check_ops<float>(m, 45, 70, 0.3);
    check_ops<int8_t>(m, 33, 50, 0.1);
  }
  check_ops<float>(5, 3, 70000, 0.001);
  check_ops<int8_t>(1, 3, 70000, 0.001);
  check_ops<float>(2, 0, 7, 0.5);
  check_ops<float>(2, 7, 0, 0.5);
  check_ops<float>(4, 7, 0, 0.5);
  check_ops<float>(3, 9, 9, 0.0);
  check_ops<float>(3, 9, 9, 1.0);
}

TERSOR_TEST(csr_damage_is_found) {
  const auto codes = [](auto change, int64_t m) {
    Array<float> values(DType::f32, {4}), x(DType::f32, {m, 6});
    Array<int32_t> indptr(DType::i32, {4}), columns(DType::i32, {4});
    const int32_t p[] = {0, 2, 2, 4}, c[] = {1, 5, 0, 3};
    std::copy(p, p + 4, indptr.values.begin());
    std::copy(c, c + 4, columns.values.begin());
    csr_to_dense_args d{};
    d.cols = 6;
    change(indptr, columns, d);
    d.values = values.ref, d.indptr = indptr.ref, d.columns = columns.ref;
    csr_linear_args l{};
    l.x = x.ref, l.values = values.ref, l.indptr = indptr.ref, l.columns = columns.ref;
    Context ctx;
    Result a, b;
    Status s = csr_to_dense_infer(d);
    if (s.ok()) {
      a.attach(d.w);
      s = csr_to_dense_cpu(d, ctx);
    }
    Status t = csr_linear_infer(l);
    if (t.ok()) {
      b.attach(l.y);
      t = csr_linear_cpu(l, ctx);
    }
    return std::make_pair(s.code, t.code);
  };
  using P = std::pair<Code, Code>;
  for (const int64_t m : {1, 8}) {
    const Code late = m == 1 ? Code::ok : Code::model_format;  // few rows: clamped, not checked
    CHECK(codes([](auto&, auto&, auto&) {}, m) == P(Code::ok, Code::ok));
    CHECK(codes([](auto& p, auto&, auto&) { p[0] = 1; }, m) == P(Code::model_format, Code::model_format));
    CHECK(codes([](auto& p, auto&, auto&) { p[1] = 3; }, m) == P(Code::model_format, Code::model_format));
    CHECK(codes([](auto& p, auto&, auto&) { p[3] = 5; }, m) == P(Code::model_format, Code::model_format));
    CHECK(codes([](auto& p, auto&, auto&) { p[1] = -2; }, m) == P(Code::model_format, Code::model_format));
    CHECK(codes([](auto&, auto& c, auto&) { c[1] = 6; }, m) == P(Code::model_format, late));
    CHECK(codes([](auto&, auto& c, auto&) { c[0] = -1; }, m) == P(Code::model_format, late));
    CHECK(codes([](auto&, auto& c, auto&) { c[0] = 5; }, m).first == Code::model_format);
    CHECK(codes([](auto&, auto&, auto& d) { d.cols = -1; }, m).first == Code::option);
  }
  Array<float> f(DType::f32, {4});
  Array<int8_t> v(DType::i8, {4});
  Array<int32_t> indptr(DType::i32, {2}), columns(DType::i32, {4});
  Array<float> x(DType::f32, {1, 6});
  csr_linear_args l{};
  l.x = x.ref, l.values = v.ref, l.indptr = indptr.ref, l.columns = columns.ref;
  CHECK(csr_linear_infer(l).code == Code::option);  // i8 without scale
  l.values = f.ref, l.columns = f.ref;
  CHECK(csr_linear_infer(l).code == Code::dtype);
  csr_from_dense_args d{};
  d.w = x.ref, d.w.dtype = DType::f64;
  CHECK(csr_from_dense_infer(d).code == Code::dtype);
  d.w = f.ref;
  CHECK(csr_from_dense_infer(d).code == Code::shape);
}
