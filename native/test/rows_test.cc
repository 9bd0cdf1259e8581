// Products of selected rows and ternary projection: every row of the table usable here against double precision, with unreadable pages around all operands
// and, for selected rows, in place of the rows that are not selected; then the ops.
#include <sys/mman.h>
#include <unistd.h>

#include "base/random.h"
#include "kernels/rows/rows.h"
#include "test/op_call.h"

using namespace tersor;
using namespace tersor::test;

namespace {

using Side = GuardedBuffer::Side;

template <class F> void each_row(F fn) {
  const RowsRow* rows;
  const int n = rows_all_rows(&rows);
  for (int i = 0; i < n; i++)
    if ((rows[i].needs & ~isa::allowed()) == 0) fn(rows[i]);
}

std::vector<int32_t> some_of(int64_t n, int percent) {
  std::vector<int32_t> list;
  for (int64_t i = 0; i < n; i++)
    if (random_int(0, 99) < percent) list.push_back(static_cast<int32_t>(i));
  return list;
}

template <class T> double value(const std::vector<T>& v, int64_t i) { return static_cast<double>(v[static_cast<size_t>(i)]); }

template <class T> void check_dot(const RowsRow& row, int64_t m, int64_t n, int64_t k, bool scatter, Side side) {
  const bool codes = sizeof(T) == 1;
  std::vector<float> xs(static_cast<size_t>(m * k)), scales(static_cast<size_t>(n)), biases(scales);
  std::vector<T> ws(static_cast<size_t>(n * k));
  for (auto& v : xs) v = random_float(-2, 2);
  for (auto& v : ws) v = codes ? static_cast<T>(random_int(-128, 127)) : static_cast<T>(random_float(-1, 1));
  for (auto& v : scales) v = random_float(0.1f, 1);
  for (auto& v : biases) v = random_float(-1, 1);
  const std::vector<int32_t> list = some_of(n, 60);
  const int64_t count = static_cast<int64_t>(list.size()), width = scatter ? n : count;
  GuardedBuffer x(xs.size() * 4, side), w(ws.size() * sizeof(T), side), index(list.size() * 4, side), y(static_cast<size_t>(m * width) * 4, side);
  std::copy(xs.begin(), xs.end(), x.as<float>());
  std::copy(ws.begin(), ws.end(), w.as<T>());
  std::copy(list.begin(), list.end(), index.as<int32_t>());
  for (int64_t i = 0; i < m * width; i++) y.as<float>()[i] = 77;
  RowsDot d;
  d.w = w.as<void>(), d.w_row = k, d.k = k;
  d.index = index.as<int32_t>(), d.count = count;
  d.x = x.as<float>(), d.m = m, d.x_row = k;
  if (codes) d.scale = scales.data(), d.scale_step = 1;
  d.bias = n % 2 ? biases.data() : nullptr;
  d.y = y.as<float>(), d.y_row = width, d.scatter = scatter;
  codes ? row.dot_i8(d) : row.dot_f32(d);
  std::vector<bool> chosen(static_cast<size_t>(n), false);
  for (int64_t s = 0; s < count; s++) {
    const int64_t r = list[static_cast<size_t>(s)];
    chosen[static_cast<size_t>(r)] = true;
    for (int64_t i = 0; i < m; i++) {
      double want = 0, size = 0;
      for (int64_t q = 0; q < k; q++) want += value(xs, i * k + q) * value(ws, r * k + q), size += std::fabs(value(xs, i * k + q) * value(ws, r * k + q));
      if (codes) want *= value(scales, r), size *= value(scales, r);
      if (d.bias) want += value(biases, r);
      const double got = static_cast<double>(y.as<float>()[i * width + (scatter ? r : s)]);
      CHECK_MSG(std::fabs(got - want) <= static_cast<double>(k + 8) * std::ldexp(size + 1, -24), "%s %s %lldx%lldx%lld row %lld: got %.9g, want %.9g", row.function,
                codes ? "i8" : "f32", (long long)m, (long long)n, (long long)k, (long long)r, got, want);
    }
  }
  for (int64_t r = 0; scatter && r < n; r++)
    for (int64_t i = 0; !chosen[static_cast<size_t>(r)] && i < m; i++) CHECK(y.as<float>()[i * n + r] == 77);
}

int sign_at(uint64_t seed, uint64_t stream, int64_t p) {
  const uint32_t r = philox4x32(static_cast<uint64_t>(p / 4), stream, seed).v[p % 4];
  return r < 715827882u ? 1 : r < 1431655764u ? -1 : 0;
}

}  // namespace

TERSOR_TEST(rows_dot_keeps_its_tolerance_and_stays_inside) {
  each_row([](const RowsRow& row) {
    for (const bool scatter : {false, true}) {
      const Side side = scatter ? Side::begin : Side::end;
      for (int64_t k = 0; k <= 70; k++) check_dot<float>(row, 1 + k % 3, 11, k, scatter, side), check_dot<int8_t>(row, 1 + k % 3, 11, k, scatter, side);
      for (int64_t m = 0; m <= 10; m++) check_dot<float>(row, m, 30, 100, scatter, side), check_dot<int8_t>(row, m, 30, 100, scatter, side);
      for (int64_t n = 0; n <= 25; n++) check_dot<float>(row, 1, n, 257, scatter, side), check_dot<int8_t>(row, 1, n, 1030, scatter, side);
    }
  });
}

TERSOR_TEST(rows_dot_does_not_touch_other_rows) {
  const int64_t page = sysconf(_SC_PAGESIZE), n = 24;
  char* w = static_cast<char*>(mmap(nullptr, static_cast<size_t>(n * page), PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
  CHECK(w != MAP_FAILED);
  const std::vector<int32_t> list{0, 3, 4, 9, 10, 11, 17, 20, 21, 23};
  for (int64_t i = 0; i < n * page; i++) w[i] = 1;
  for (int64_t r = 0; r < n; r++) {
    bool chosen = false;
    for (const int32_t s : list) chosen = chosen || s == r;
    if (!chosen) CHECK(mprotect(w + r * page, static_cast<size_t>(page), PROT_NONE) == 0);
  }
  std::vector<float> x(static_cast<size_t>(page) * 3, 1.0f), y(30);
  each_row([&](const RowsRow& row) {
    for (const int64_t m : {1, 3}) {
      RowsDot d;
      d.w = w, d.w_row = page, d.k = page;
      d.index = list.data(), d.count = 10;
      d.x = x.data(), d.x_row = page, d.m = m, d.y = y.data(), d.y_row = 10;
      row.dot_i8(d);
      for (int64_t i = 0; i < 10 * m; i++) CHECK(y[static_cast<size_t>(i)] == static_cast<float>(page));
      d.w_row = d.k = page / 4;
      row.dot_f32(d);
    }
  });
  munmap(w, static_cast<size_t>(n * page));
}

TERSOR_TEST(rows_of_a_mask) {
  for (const int64_t size : {0, 1, 7, 8, 9, 63, 64, 65, 200}) {
    GuardedBuffer mask(static_cast<size_t>((size + 7) / 8));
    std::vector<int32_t> want;
    for (int64_t i = 0; i < (size + 7) / 8; i++) mask.as<uint8_t>()[i] = static_cast<uint8_t>(random_int(0, 255));  // also bits behind the last element
    for (int64_t i = 0; i < size; i++)
      if (mask.as<uint8_t>()[i / 8] >> (i % 8) & 1) want.push_back(static_cast<int32_t>(i));
    std::vector<int32_t> got(want.size());
    CHECK(rows_of_mask(mask.as<uint8_t>(), size, nullptr) == static_cast<int64_t>(want.size()));
    CHECK(rows_of_mask(mask.as<uint8_t>(), size, got.data()) == static_cast<int64_t>(want.size()) && got == want);
  }
}

TERSOR_TEST(ternary_rows_project) {
  each_row([](const RowsRow& row) {
    for (const int64_t n : {1, 7, 16, 17, 33, 128, 129, 145, 300})
      for (const int64_t k : {0, 1, 2, 3, 15, 18, 19, 100, 333}) {
        const Side side = k % 2 ? Side::begin : Side::end;
        const int64_t bytes = ternary_blob_bytes(row, n, k);
        GuardedBuffer blob(static_cast<size_t>(bytes), side), x(static_cast<size_t>(k) * 4, side), tables(static_cast<size_t>(row.table_floats(k)) * 4, side),
            y(static_cast<size_t>(n) * 4, side);
        std::vector<int8_t> entries(static_cast<size_t>(k));
        ternary_blob_header(row, n, k, 42, 7, blob.as<void>());
        ternary_pack_panels(row, n, k, 42, 7, 0, row.panels(n), entries.data(), blob.as<void>());
        CHECK(ternary_blob_fits(row, blob.as<void>(), bytes, n, k) && !ternary_blob_fits(row, blob.as<void>(), bytes, n, k + 1));
        for (int64_t i = 0; i < k; i++) x.as<float>()[i] = random_float(-1, 1);
        row.tables(x.as<float>(), k, tables.as<float>());
        RowsProject p;
        p.tables = tables.as<float>(), p.packed = ternary_blob_panels(blob.as<void>()), p.words = row.words(k), p.n = n, p.scale = 0.5f, p.y = y.as<float>();
        row.project(p);
        for (int64_t j = 0; j < n; j++) {
          double want = 0, size = 0;
          for (int64_t i = 0; i < k; i++) {
            const int s = sign_at(42, 7, j * k + i);
            want += 0.5 * s * static_cast<double>(x.as<float>()[i]), size += std::abs(s) * 0.5 * std::fabs(static_cast<double>(x.as<float>()[i]));
          }
          const double got = static_cast<double>(y.as<float>()[j]);
          CHECK_MSG(std::fabs(got - want) <= static_cast<double>(k + 8) * std::ldexp(size, -24), "%s %lldx%lld [%lld]: got %.9g, want %.9g", row.function, (long long)n,
                    (long long)k, (long long)j, got, want);
        }
      }
  });
}

TERSOR_TEST(rows_dot_op_selects_compacts_and_scatters) {
  const int64_t m = 3, n = 100, k = 70;
  std::vector<float> x(m * k), w(n * k), bias(n), base(m * n), scale(n);
  std::vector<int8_t> q(n * k);
  for (auto* v : {&x, &w, &bias, &base, &scale})
    for (auto& e : *v) e = random_float(-1, 1);
  for (auto& e : q) e = static_cast<int8_t>(random_int(-128, 127));
  const std::vector<int32_t> list{1, 4, 5, 30, 99}, own{1, 2, 3, 0, 99}, offsets{0, 3, 3, 5};
  const auto exact = [&](int64_t i, int64_t r, bool codes) {
    double y = 0;
    for (int64_t p = 0; p < k; p++) y += value(x, i * k + p) * (codes ? value(q, r * k + p) * value(scale, r) : value(w, r * k + p));
    return y + value(bias, r);
  };
  for (const bool codes : {false, true})
    for (const bool each : {false, true})
      for (const bool scatter : {false, true}) {
        OpCall<rows_dot_args> call;
        call.args.x = view(DType::f32, x, {m, k});
        call.args.w = codes ? view(DType::i8, q, {n, k}) : view(DType::f32, w, {n, k});
        if (codes) call.args.scale = view(DType::f32, scale, {n});
        call.args.bias = view(DType::f32, bias, {n});
        call.args.index = view(DType::i32, each ? own : list, {5});
        if (each) call.args.offsets = view(DType::i32, offsets, {m + 1});
        if (scatter) call.args.base = view(DType::f32, base, {m, n});
        for_thread_counts([&] {
          CHECK_OK(RUN_OP(call, rows_dot));
          const float* y = call.args.y.as<float>();
          CHECK(call.args.y.size() == (scatter ? m * n : each ? 5 : m * 5));
          for (int64_t i = 0; i < m; i++)
            for (int64_t r = 0; r < n; r++) {
              int64_t place = -1;
              for (int64_t s = each ? offsets[static_cast<size_t>(i)] : 0; s < (each ? offsets[static_cast<size_t>(i) + 1] : 5); s++)
                if ((each ? own : list)[static_cast<size_t>(s)] == r) place = s;
              if (place < 0) {
                if (scatter) CHECK(y[i * n + r] == base[static_cast<size_t>(i * n + r)]);
                continue;
              }
              const double got = static_cast<double>(scatter ? y[i * n + r] : each ? y[place] : y[i * 5 + place]);
              CHECK(std::fabs(got - exact(i, r, codes)) <= 1e-5 * (codes ? 128 : 1));
            }
        });
      }
}

TERSOR_TEST(rows_ops_reject_what_does_not_fit) {
  std::vector<float> x(2 * 8), w(6 * 8), scale(6), base(2 * 6);
  std::vector<int8_t> q(6 * 8);
  std::vector<int32_t> index{0, 2, 5}, offsets{0, 1, 3};
  const auto run = [&](auto change) {
    OpCall<rows_dot_args> call;
    call.args.x = view(DType::f32, x, {2, 8}), call.args.w = view(DType::f32, w, {6, 8}), call.args.index = view(DType::i32, index, {3});
    change(call.args);
    return RUN_OP(call, rows_dot);
  };
  CHECK_OK(run([](rows_dot_args&) {}));
  for (const auto& bad : {std::vector<int32_t>{0, 2, 6}, {-1, 2, 3}, {2, 0, 5}, {0, 2, 2}, {0, 1, INT32_MAX}, {INT32_MIN, 1, 2}})
    CHECK_CODE(run([&](rows_dot_args& a) { a.index = view(DType::i32, bad, {3}); }), Code::option);
  for (const auto& bad : {std::vector<int32_t>{0, 1, 2}, {1, 1, 3}, {0, 4, 3}, {0, -1, 3}, {0, 1, 4}})
    CHECK_CODE(run([&](rows_dot_args& a) { a.offsets = view(DType::i32, bad, {3}); }), Code::option);
  CHECK_OK(run([&](rows_dot_args& a) { a.offsets = view(DType::i32, offsets, {3}); }));
  CHECK_CODE(run([&](rows_dot_args& a) { a.offsets = view(DType::i32, offsets, {2}); }), Code::shape);
  CHECK_CODE(run([](rows_dot_args& a) { a.index.dtype = DType::f32; }), Code::dtype);
  CHECK_CODE(run([](rows_dot_args& a) { a.x.shape[1] = 7; }), Code::shape);
  CHECK_CODE(run([&](rows_dot_args& a) { a.scale = view(DType::f32, scale, {6}); }), Code::option);
  CHECK_CODE(run([&](rows_dot_args& a) { a.w = view(DType::i8, q, {6, 8}); }), Code::option);
  CHECK_CODE(run([&](rows_dot_args& a) { a.w = view(DType::i8, q, {6, 8}), a.scale = view(DType::f32, scale, {5}); }), Code::shape);
  CHECK_CODE(run([&](rows_dot_args& a) { a.bias = view(DType::f32, scale, {5}); }), Code::shape);
  CHECK_CODE(run([&](rows_dot_args& a) { a.base = view(DType::f32, base, {2, 5}); }), Code::shape);
  const auto indices = [](int64_t bytes, int64_t size) {
    const std::vector<uint8_t> mask(static_cast<size_t>(bytes), 0xA5);
    OpCall<mask_indices_args> call;
    call.args.mask = view(DType::u8, mask, {bytes}), call.args.size = size;
    return RUN_OP(call, mask_indices);
  };
  CHECK_OK(indices(2, 16));
  CHECK_OK(indices(0, 0));
  CHECK_CODE(indices(2, 17), Code::shape);
  CHECK_CODE(indices(2, 8), Code::shape);
  CHECK_CODE(indices(2, -1), Code::shape);
  CHECK_CODE(indices(2, (int64_t(1) << 32) + 16), Code::limit);
  const auto pack = [](int64_t out, int64_t cols) {
    OpCall<ternary_pack_args> call;
    call.args.out = out, call.args.cols = cols;
    return RUN_OP(call, ternary_pack);
  };
  CHECK_OK(pack(3, 5));
  CHECK_CODE(pack(-1, 5), Code::option);
  CHECK_CODE(pack(3, (int64_t(1) << 32) + 1), Code::option);
  OpCall<ternary_pack_args> packed;
  packed.args.out = 6, packed.args.cols = 8, packed.args.seed = 1;
  CHECK_OK(RUN_OP(packed, ternary_pack));
  const auto project = [&](auto change) {
    OpCall<ternary_project_args> call;
    call.args.x = view(DType::f32, x, {2, 8}), call.args.packed = packed.args.packed, call.args.out = 6;
    change(call.args);
    return RUN_OP(call, ternary_project);
  };
  CHECK_OK(project([](ternary_project_args&) {}));
  CHECK_CODE(project([](ternary_project_args& a) { a.out = 5; }), Code::option);
  CHECK_CODE(project([](ternary_project_args& a) { a.out = 600; }), Code::shape);
  CHECK_CODE(project([](ternary_project_args& a) { a.x.dtype = DType::i32; }), Code::dtype);
  std::vector<unsigned char> damaged(packed.args.packed.as<unsigned char>(), packed.args.packed.as<unsigned char>() + packed.args.packed.bytes());
  damaged[2] ^= 1;
  CHECK_CODE(project([&](ternary_project_args& a) { a.packed.data = damaged.data(); }), Code::option);
}

TERSOR_TEST(ternary_projection_keeps_lengths) {
  const int64_t out = 64, cols = 200;
  double ratio = 0;
  int64_t nonzero = 0;
  std::vector<float> x(static_cast<size_t>(cols));
  double length = 0;
  for (auto& v : x) v = random_float(-1, 1), length += static_cast<double>(v) * static_cast<double>(v);
  constexpr int kDraws = 1000;
  for (int draw = 0; draw < kDraws; draw++) {
    OpCall<ternary_pack_args> packed;
    packed.args.out = out, packed.args.cols = cols, packed.args.seed = draw;
    CHECK_OK(RUN_OP(packed, ternary_pack));
    OpCall<ternary_project_args> call;
    call.args.x = view(DType::f32, x, {cols}), call.args.packed = packed.args.packed, call.args.out = out;
    CHECK_OK(RUN_OP(call, ternary_project));
    for (int64_t i = 0; i < out; i++) ratio += static_cast<double>(call.args.y.as<float>()[i]) * static_cast<double>(call.args.y.as<float>()[i]) / length / kDraws;
    OpCall<ternary_unpack_args> p;
    p.args.packed = packed.args.packed, p.args.out = out, p.args.cols = cols;
    CHECK_OK(RUN_OP(p, ternary_unpack));
    for (int64_t i = 0; i < out * cols; i++) nonzero += p.args.p.as<int8_t>()[i] != 0;
  }
  CHECK(std::fabs(ratio - 1) < 0.03);  // its deviation is sqrt(2 / (64 * 1000)) = 0.0056
  CHECK(std::fabs(static_cast<double>(nonzero) / (kDraws * out * cols) - 1.0 / 3) < 0.001);
}
