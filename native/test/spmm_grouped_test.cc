// Rows in groups: every kernel row against double sums, operands between unreadable pages; then csr_group and the products that take what it packed, damaged blocks included.
#include "cpu/threads.h"
#include "ops/csr_groups.h"
#include "test/op_tensor.h"

using namespace tersor;
using namespace tersor::test;

namespace {

using Side = GuardedBuffer::Side;

int random_in(int lo, int hi) { return std::uniform_int_distribution<int>(lo, hi)(rng()); }

template <class T> struct Guarded : GuardedBuffer {
  Guarded(const std::vector<T>& v, Side side) : GuardedBuffer(v.size() * sizeof(T), side) {
    if (!v.empty()) memcpy(as<void>(), v.data(), v.size() * sizeof(T));
  }
};

void check_kernel(const SpmmGroupedRow& row, SpmmGroupForm form, int64_t rows, int64_t cols, int percent, bool accumulate, Side side) {
  const int64_t groups = (rows + form.rows - 1) / form.rows, lists = (1 << form.rows) - 1, pitch = form.lanes + random_in(0, 3), y_pitch = form.lanes + random_in(0, 3);
  std::vector<float> dense(static_cast<size_t>(rows * cols)), flat;
  for (float& v : dense) v = random_in(0, 99) < percent ? static_cast<float>(random_in(1, 127)) : 0.0f;
  std::vector<uint16_t> counts, places;
  for (int64_t g = 0; g < groups; g++)
    for (int p = 1; p <= lists; p++) {
      counts.push_back(0);
      for (int64_t c = 0; c < cols; c++) {
        int held = 0;
        for (int i = 0; i < form.rows && g * form.rows + i < rows; i++) held |= (dense[static_cast<size_t>((g * form.rows + i) * cols + c)] != 0.0f) << i;
        if (held != p) continue;
        counts.back()++, places.push_back(static_cast<uint16_t>(c));
        for (int i = 0; i < form.rows; i++)
          if (p >> i & 1) flat.push_back(dense[static_cast<size_t>((g * form.rows + i) * cols + c)]);
      }
    }
  const Guarded<uint16_t> count(counts, side), column(places, side);
  const Guarded<float> value(flat, side);
  GuardedBuffer x(static_cast<size_t>(cols > 0 ? (cols - 1) * pitch + form.lanes : 0) * 4, side), y(static_cast<size_t>(rows > 0 ? (rows - 1) * y_pitch + form.lanes : 0) * 4, side);
  for (int64_t c = 0; c < cols; c++)
    for (int i = 0; i < form.lanes; i++) x.as<float>()[c * pitch + i] = static_cast<float>(random_in(-1000, 1000)) * 1e-3f;
  for (int64_t r = 0; r < rows; r++)
    for (int i = 0; i < form.lanes; i++) y.as<float>()[r * y_pitch + i] = 2.0f;
  SpmmGroups s;
  s.group_rows = form.rows, s.lanes = form.lanes, s.groups = groups, s.rows = rows, s.counts = count.as<uint16_t>(), s.columns = column.as<uint16_t>();
  s.values = value.as<float>(), s.x = x.as<float>(), s.y = y.as<float>(), s.x_pitch = pitch, s.y_pitch = y_pitch, s.accumulate = accumulate;
  row.kernel(s);
  for (int64_t r = 0; r < rows; r++)
    for (int i = 0; i < form.lanes; i++) {
      double want = accumulate ? 2 : 0, size = 2;
      for (int64_t c = 0; c < cols; c++) {
        const double t = static_cast<double>(dense[static_cast<size_t>(r * cols + c)]) * static_cast<double>(x.as<float>()[c * pitch + i]);
        want += t, size += std::fabs(t);
      }
      const double got = static_cast<double>(y.as<float>()[r * y_pitch + i]);
      CHECK_MSG(std::fabs(got - want) <= 200 * 6e-8 * size, "%s %dx%d row %lld: got %g, want %g", row.function, form.rows, form.lanes, (long long)r, got, want);
    }
}

// A matrix as CSR arrays and, where groups pay, packed.
struct Packed {
  std::vector<float> dense;
  Array<float> values;
  Array<int32_t> indptr;
  Array<uint16_t> columns;
  csr_group_args group{};
  Result block;

  Packed(int64_t rows, int64_t cols, double density) : dense(static_cast<size_t>(rows * cols)), indptr(DType::i32, {rows + 1}) {
    std::uniform_real_distribution<double> d(0, 1);
    std::vector<float> v;
    std::vector<uint16_t> c;
    for (int64_t r = 0; r < rows; r++) {
      for (int64_t j = 0; j < cols; j++)
        if (d(rng()) < density) dense[static_cast<size_t>(r * cols + j)] = static_cast<float>(random_in(1, 100)), v.push_back(dense[static_cast<size_t>(r * cols + j)]), c.push_back(static_cast<uint16_t>(j));
      indptr[r + 1] = static_cast<int32_t>(v.size());
    }
    values = Array<float>(DType::f32, {static_cast<int64_t>(v.size())});
    columns = Array<uint16_t>(DType::u16, {static_cast<int64_t>(v.size())});
    std::copy(v.begin(), v.end(), values.values.begin());
    std::copy(c.begin(), c.end(), columns.values.begin());
    group.values = values.ref, group.indptr = indptr.ref, group.columns = columns.ref, group.cols = cols;
    CHECK_OK(csr_group_infer(group));
    block.attach(group.packed);
    Context ctx;
    CHECK_OK(csr_group_cpu(group, ctx));
  }
};

void check_product(int64_t rows, int64_t cols, int64_t n, double density) {
  const Packed w(rows, cols, density);
  Array<float> x = Array<float>(DType::f32, {n, cols}).uniform(-1, 1), xt(DType::f32, {cols, n}), bias = Array<float>(DType::f32, {rows}).uniform(-1, 1);
  for (int64_t i = 0; i < n; i++)
    for (int64_t p = 0; p < cols; p++) xt[p * n + i] = x[i * cols + p];
  csr_linear_args a{};
  a.x = x.ref, a.values = w.values.ref, a.indptr = w.indptr.ref, a.columns = w.columns.ref, a.bias = bias.ref, a.packed = w.group.packed;
  csr_multiply_args b{};
  b.values = a.values, b.indptr = a.indptr, b.columns = a.columns, b.x = xt.ref, b.bias = bias.ref, b.packed = w.group.packed;
  Context ctx;
  std::vector<unsigned char> first, first_b;
  const int before = thread_count();
  for (int threads : {1, 2, 7}) {
    CHECK_OK(set_thread_count(threads));
    CHECK_OK(csr_linear_infer(a));
    CHECK_OK(csr_multiply_infer(b));
    Result y, yt;
    y.attach(a.y), yt.attach(b.y);
    CHECK_OK(csr_linear_cpu(a, ctx));
    CHECK_OK(csr_multiply_cpu(b, ctx));
    CHECK(y.intact(a.y.bytes()) && yt.intact(b.y.bytes()));
    if (threads == 1) first = y.bytes, first_b = yt.bytes;
    CHECK(first == y.bytes && first_b == yt.bytes);
  }
  CHECK_OK(set_thread_count(before));
  const float* y = reinterpret_cast<const float*>(first.data());
  const float* yt = reinterpret_cast<const float*>(first_b.data());
  for (int64_t i = 0; i < n; i++)
    for (int64_t j = 0; j < rows; j++) {
      double want = static_cast<double>(bias[j]), size = 1;
      for (int64_t p = 0; p < cols; p++) {
        const double t = static_cast<double>(x[i * cols + p]) * static_cast<double>(w.dense[static_cast<size_t>(j * cols + p)]);
        want += t, size += std::fabs(t);
      }
      CHECK(std::fabs(static_cast<double>(y[i * rows + j]) - want) <= 300 * 6e-8 * size);
      CHECK(std::fabs(static_cast<double>(yt[j * n + i]) - want) <= 300 * 6e-8 * size);
    }
}

}  // namespace

TERSOR_TEST(spmm_grouped_rows_match_and_stay_inside) {
  const SpmmGroupedRow* rows;
  const int n = spmm_grouped_table(&rows);
  for (int i = 0; i < n; i++) {
    if (rows[i].needs & ~isa::allowed()) continue;
    for (SpmmGroupForm form : {rows[i].dense, rows[i].sparse}) {
      if (form.lanes == 0) form = {2 + random_in(0, 2), 5};
      for (const int percent : {0, 5, 30, 60, 100})
        for (const int64_t count : {0, 1, 3, 4, 5, 8, 11})
          for (int k = 0; k < 4; k++) check_kernel(rows[i], form, count, k == 0 ? 0 : random_in(1, 60), percent, k & 1, k & 2 ? Side::end : Side::begin);
    }
  }
}

TERSOR_TEST(csr_groups_multiply) {
  for (const int64_t n : {1, 16, 60, 64, 128, 130, 250, 256}) check_product(90, 101, n, 0.6);
  for (const int64_t n : {112, 128, 384}) check_product(301, 130, n, 0.13);
  check_product(40, 5000, 64, 0.3);  // several panels of columns
  check_product(80, 3000, 128, 0.1);
  check_product(65, 64, 128, 1.0);
}

TERSOR_TEST(csr_groups_refuse_damage) {
  const Packed w(90, 101, 0.6);
  const SpmmGroupedRow& row = spmm_grouped_row();
  CHECK((w.group.packed.shape[0] > 0) == (row.dense.lanes > 0));
  Array<float> x = Array<float>(DType::f32, {101, 128}).uniform(-1, 1);
  Context ctx;
  csr_multiply_args b{};
  b.values = w.values.ref, b.indptr = w.indptr.ref, b.columns = w.columns.ref, b.x = x.ref;
  const auto outcome = [&](const TensorRef& packed) {
    b.packed = packed;
    Status s = csr_multiply_infer(b);
    if (!s.ok()) return s.code;
    Result y;
    y.attach(b.y);
    s = csr_multiply_cpu(b, ctx);
    CHECK(y.intact(b.y.bytes()));
    return s.code;
  };
  CHECK(outcome(x.ref) == Code::dtype);
  Array<uint8_t> junk = Array<uint8_t>(DType::u8, {100}).integers(0, 255);
  CHECK(outcome(junk.ref) == Code::option);
  csr_group_args g = w.group;
  g.cols = 65537;
  CHECK(csr_group_infer(g).code == Code::option);
  g.cols = -1;
  CHECK(csr_group_infer(g).code == Code::option);
  g.cols = 100;  // a column is out of range
  CHECK_OK(csr_group_infer(g));
  Result block;
  block.attach(g.packed);
  if (row.dense.lanes == 0) return;
  CHECK(csr_group_cpu(g, ctx).code == Code::model_format);
  CHECK(outcome(w.group.packed) == Code::ok);
  // Every byte of the index part in turn: refused, or another product, but nothing outside is touched.
  const int64_t size = w.group.packed.shape[0], values = static_cast<int64_t>(w.values.ref.shape[0]) * 4;
  CsrGroups view;
  CHECK_OK(view.open("test", w.group.packed, [&] {
    SpmmMatrix m;
    m.rows = 90, m.cols = 101, m.indptr = static_cast<const int32_t*>(w.indptr.ref.data);
    return m;
  }()));
  const int64_t from = reinterpret_cast<const char*>(view.values) - static_cast<const char*>(w.group.packed.data);
  for (int64_t i = 0; i < size; i += i >= from && i < from + values ? values : 1) {
    GuardedBuffer copy(static_cast<size_t>(size), Side::end);
    memcpy(copy.as<void>(), w.group.packed.data, static_cast<size_t>(size));
    copy.as<uint8_t>()[i] ^= static_cast<uint8_t>(1 << random_in(0, 7));
    TensorRef t = w.group.packed;
    t.data = copy.as<void>();
    const Code code = outcome(t);
    CHECK(code == Code::ok || code == Code::option);
  }
}
