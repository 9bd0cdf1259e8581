// CSR x dense: every row usable here against double sums, with unreadable pages around all operands; then the ops csr_from_dense,
// csr_to_dense and csr_linear, damaged structures included.
#include <algorithm>

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

void check_gather(const SpmmRow& row, const Matrix& w, bool wide, bool quantized, Side side) {
  std::vector<uint16_t> narrow(w.columns.begin(), w.columns.end());
  std::vector<int8_t> small(w.values.begin(), w.values.end());
  const Guarded columns(wide ? bytes_of(w.columns) : bytes_of(narrow), side), values(quantized ? bytes_of(small) : bytes_of(w.values), side),
      indptr(bytes_of(w.indptr), side);
  GuardedBuffer x(static_cast<size_t>(w.cols) * 4, side), y(static_cast<size_t>(w.rows) * 4, side), scale(static_cast<size_t>(w.rows) * 4, side),
      bias(static_cast<size_t>(w.rows) * 4, side);
  for (int64_t i = 0; i < w.cols; i++) x.as<float>()[i] = static_cast<float>(random_in(-1000, 1000)) * 1e-3f;
  for (int64_t i = 0; i < w.rows; i++) scale.as<float>()[i] = 0.5f + static_cast<float>(i % 3), bias.as<float>()[i] = static_cast<float>(i % 7);
  SpmmArgs s;
  s.rows = w.rows, s.cols = w.cols, s.indptr = indptr.as<int32_t>(), s.columns = columns.as<void>(), s.values = values.as<void>();
  s.wide = wide, s.quantized = quantized, s.x = x.as<float>(), s.y = y.as<float>();
  const bool scaled = random_in(0, 1), biased = random_in(0, 1);
  if (scaled) s.scale = scale.as<float>(), s.scale_step = 1;
  if (biased) s.bias = bias.as<float>();
  row.gather(s);
  for (int64_t r = 0; r < w.rows; r++) {
    double want = 0, size = 0;
    for (int32_t e = w.indptr[static_cast<size_t>(r)]; e < w.indptr[static_cast<size_t>(r) + 1]; e++) {
      const double t = static_cast<double>(w.values[static_cast<size_t>(e)]) * static_cast<double>(x.as<float>()[w.columns[static_cast<size_t>(e)]]);
      want += t, size += std::fabs(t);
    }
    if (scaled) want *= static_cast<double>(scale.as<float>()[r]), size *= 3;
    if (biased) want += static_cast<double>(bias.as<float>()[r]), size += 8;
    const double got = static_cast<double>(y.as<float>()[r]);
    CHECK_MSG(std::fabs(got - want) <= 200 * 6e-8 * size + 1e-30, "%s row %lld: got %g, want %g", row.function, (long long)r, got, want);
  }
  uint32_t most = 0;
  for (const int32_t c : w.columns) most = static_cast<uint32_t>(c) > most ? static_cast<uint32_t>(c) : most;
  CHECK(row.max_column(columns.as<void>(), wide, static_cast<int64_t>(w.columns.size())) == most);
}

// A panel taken in passes of rising limits, against sums in double; operands between unreadable pages.
void check_panel(const SpmmRow& row, SpmmShape shape, Matrix w, bool wide, int lanes, int64_t step, Side side) {
  const int br = spmm_block_rows(shape), bc = spmm_block_cols(shape);
  for (size_t r = 0; r + 1 < w.indptr.size(); r++) std::sort(w.columns.begin() + w.indptr[r], w.columns.begin() + w.indptr[r + 1]);
  std::vector<uint16_t> narrow(w.columns.begin(), w.columns.end());
  std::vector<float> area(w.columns.size() * static_cast<size_t>(br * bc));
  for (float& v : area) v = static_cast<float>(random_in(-127, 127));
  const Guarded columns(wide ? bytes_of(w.columns) : bytes_of(narrow), side), values(bytes_of(area), side);
  const std::vector<int32_t> first(w.indptr.begin(), w.indptr.end() - 1), last(w.indptr.begin() + 1, w.indptr.end());
  const Guarded cursor(bytes_of(first), side), end(bytes_of(last), side);
  const int64_t pitch = lanes + (side == Side::end ? 0 : 3), y_pitch = lanes + random_in(0, 5), in = w.cols * bc, out = w.rows * br;
  GuardedBuffer x(static_cast<size_t>(in > 0 ? (in - 1) * pitch + lanes : 0) * 4, side), y(static_cast<size_t>(out > 0 ? (out - 1) * y_pitch + lanes : 0) * 4, side);
  for (int64_t c = 0; c < in; c++)
    for (int i = 0; i < lanes; i++) x.as<float>()[c * pitch + i] = static_cast<float>(random_in(-1000, 1000)) * 1e-3f;
  SpmmPanel p;
  p.shape = shape, p.rows = w.rows, p.end = end.as<int32_t>(), p.cursor = cursor.as<int32_t>(), p.columns = columns.as<void>(), p.wide = wide;
  p.values = values.as<float>(), p.x = x.as<float>(), p.y = y.as<float>(), p.x_pitch = pitch, p.y_pitch = y_pitch, p.lanes = lanes;
  for (int64_t c = 0; c == 0 || c < w.cols; c += step, p.accumulate = true) {
    p.limit = c + step < w.cols ? c + step : w.cols;
    p.last = c + step >= w.cols;
    row.panel(p);
  }
  CHECK(last.empty() || memcmp(cursor.as<void>(), last.data(), last.size() * 4) == 0);
  for (int64_t r = 0; r < out; r++)
    for (int i = 0; i < lanes; i++) {
      double want = 0, size = 0;
      for (int32_t e = w.indptr[static_cast<size_t>(r / br)]; e < w.indptr[static_cast<size_t>(r / br) + 1]; e++)
        for (int j = 0; j < bc; j++) {
          const double t = static_cast<double>(area[static_cast<size_t>((e * br + r % br) * bc + j)]) *
                           static_cast<double>(x.as<float>()[(w.columns[static_cast<size_t>(e)] * bc + j) * pitch + i]);
          want += t, size += std::fabs(t);
        }
      const double got = static_cast<double>(y.as<float>()[r * y_pitch + i]);
      CHECK_MSG(std::fabs(got - want) <= 400 * 6e-8 * size + 1e-30, "%s shape %d lanes %d row %lld: got %g, want %g", row.function, static_cast<int>(shape), lanes,
                (long long)r, got, want);
    }
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
  Array<float> xt(DType::f32, {k, m});  // the same vectors as columns
  for (int64_t i = 0; i < m; i++)
    for (int64_t p = 0; p < k; p++) xt[p * m + i] = x[i * k + p];
  scale[0] = 0.25f;
  csr_linear_args a{};
  a.x = x.ref, a.values = w.csr.values, a.indptr = w.csr.indptr, a.columns = w.csr.columns, a.bias = bias.ref;
  if (sizeof(T) == 1) a.scale = scale.ref;
  csr_multiply_args b{};
  b.values = a.values, b.indptr = a.indptr, b.columns = a.columns, b.x = xt.ref, b.scale = a.scale;
  if (m % 2) b.bias = bias.ref;
  std::vector<unsigned char> first, first_b;
  const int before = thread_count();
  for (int threads : {1, 2, 3, 7}) {
    CHECK_OK(set_thread_count(threads));
    CHECK_OK(csr_linear_infer(a));
    CHECK_OK(csr_multiply_infer(b));
    CHECK(b.y.rank == 2 && b.y.shape[0] == n && b.y.shape[1] == m);
    Result y, yt;
    y.attach(a.y);
    yt.attach(b.y);
    CHECK_OK(csr_linear_cpu(a, ctx));
    CHECK_OK(csr_multiply_cpu(b, ctx));
    CHECK(y.intact(a.y.bytes()) && yt.intact(b.y.bytes()));
    if (threads == 1) first = y.bytes, first_b = yt.bytes;
    CHECK(first == y.bytes && first_b == yt.bytes);
  }
  CHECK_OK(set_thread_count(before));
  const float* y = reinterpret_cast<const float*>(first.data());
  const float* yt = reinterpret_cast<const float*>(first_b.data());
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
      if (m % 2 == 0) want -= static_cast<double>(bias[j]);
      CHECK(std::fabs(static_cast<double>(yt[j * m + i]) - want) <= 300 * 6e-8 * size);
    }
}

}  // namespace

TERSOR_TEST(spmm_gather_matches_and_stays_inside) {
  each_row([](const SpmmRow& row) {
    for (int types = 0; types < 4; types++)
      for (int n = 0; n < 8; n++) check_gather(row, Matrix(random_in(0, 9), random_in(1, 90), 70), types & 1, types & 2, n % 2 ? Side::end : Side::begin);
    for (int entries = 0; entries <= 67; entries++)
      for (int types = 0; types < 4; types++) {
        Matrix w(1, 50, 0);
        for (int e = 0; e < entries; e++) w.columns.push_back(random_in(0, 49)), w.values.push_back(static_cast<float>(random_in(-127, 127)));
        w.indptr[1] = entries;
        check_gather(row, w, types & 1, types & 2, types % 2 ? Side::end : Side::begin);
      }
  });
}

TERSOR_TEST(spmm_panels_match_and_stay_inside) {
  each_row([](const SpmmRow& row) {
    for (const SpmmShape shape : {SpmmShape::entry, SpmmShape::row16, SpmmShape::square4, SpmmShape::column16})
      for (int lanes = 16; lanes <= row.lanes[static_cast<int>(shape)]; lanes *= 2)
        for (const int64_t step : {1, 7, 100})
          for (int n = 0; n < 4; n++) {
            const bool wide = shape == SpmmShape::entry && n % 2;
            check_panel(row, shape, Matrix(random_in(0, 5), random_in(n == 0 ? 0 : 1, 40), 20), wide, lanes, step, n / 2 ? Side::end : Side::begin);
          }
  });
}

TERSOR_TEST(spmm_transpose_matches_and_stays_inside) {
  each_row([](const SpmmRow& row) {
    for (const int64_t rows : {0, 1, 3, 4, 7, 8, 15, 16, 17, 33})
      for (const int64_t cols : {0, 1, 2, 5, 8, 11, 16, 19, 32})
        for (int n = 0; n < 6; n++) {
          const Side side = n % 2 ? Side::end : Side::begin;
          const int64_t in_row = cols + n % 3, out_row = rows + n % 2;
          GuardedBuffer in(static_cast<size_t>(rows > 0 && cols > 0 ? (rows - 1) * in_row + cols : 0) * 4, side),
              out(static_cast<size_t>(rows > 0 && cols > 0 ? (cols - 1) * out_row + rows : 0) * 4, side), scale(static_cast<size_t>(rows) * 4, side),
              bias(static_cast<size_t>(rows) * 4, side);
          SpmmTranspose t;
          t.in = in.as<float>(), t.in_row = in_row, t.rows = rows, t.cols = cols, t.out = out.as<float>(), t.out_row = out_row;
          if (n >= 2) t.scale = scale.as<float>(), t.scale_step = n == 2 ? 0 : 1;
          if (n >= 4) t.bias = bias.as<float>();
          for (int64_t r = 0; r < rows; r++) {
            scale.as<float>()[r] = 0.5f + static_cast<float>(r), bias.as<float>()[r] = static_cast<float>(r % 5);
            for (int64_t c = 0; c < cols; c++) in.as<float>()[r * in_row + c] = static_cast<float>(random_in(-100, 100));
          }
          row.transpose(t);
          bool same = true;
          for (int64_t r = 0; r < rows; r++)
            for (int64_t c = 0; c < cols; c++) {
              const float v = in.as<float>()[r * in_row + c] * (n >= 2 ? scale.as<float>()[r * t.scale_step] : 1.0f) + (n >= 4 ? bias.as<float>()[r] : 0.0f);
              same = same && out.as<float>()[c * out_row + r] == v;
            }
          CHECK_MSG(same, "%s %lld x %lld, variant %d", row.function, (long long)rows, (long long)cols, n);
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
  for (const int64_t m : {0, 1, 2, 3, 4, 16, 17, 64, 70, 128, 300}) {
    check_ops<float>(m, 45, 70, 0.3);
    check_ops<int8_t>(m, 33, 50, 0.1);
  }
  check_ops<float>(5, 3, 70000, 0.001);
  check_ops<float>(128, 40, 300, 0.6);    // several panels of columns
  check_ops<float>(128, 200, 500, 0.02);  // one
  check_ops<float>(1030, 5, 40, 0.5);
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
    Array<float> xt(DType::f32, {6, m});
    csr_multiply_args u{};
    u.x = xt.ref, u.values = values.ref, u.indptr = indptr.ref, u.columns = columns.ref;
    Context ctx;
    Result a, b, multiplied;
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
    CHECK_OK(csr_multiply_infer(u));
    multiplied.attach(u.y);
    CHECK(csr_multiply_cpu(u, ctx).code == t.code);
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
  csr_multiply_args u{};
  u.x = x.ref, u.values = v.ref, u.indptr = indptr.ref, u.columns = columns.ref;
  CHECK(csr_multiply_infer(u).code == Code::option);  // i8 without scale
  u.values = f.ref, u.x = f.ref;
  CHECK(csr_multiply_infer(u).code == Code::shape);  // x of rank 1
  l.values = f.ref, l.columns = f.ref;
  CHECK(csr_linear_infer(l).code == Code::dtype);
  csr_from_dense_args d{};
  d.w = x.ref, d.w.dtype = DType::f64;
  CHECK(csr_from_dense_infer(d).code == Code::dtype);
  d.w = f.ref;
  CHECK(csr_from_dense_infer(d).code == Code::shape);
}
