// Blocks, bit masks and 2:4 times dense input: every row usable here against double sums (integer rows: exactly), with unreadable pages around all
// operands; then the ops of each format, damaged structures included.
#include <algorithm>

#include "kernels/spmm/block_dot.h"
#include "kernels/spmm/vector.h"
#include "test/op_call.h"

using namespace tersor;
using namespace tersor::test;

namespace {

using Side = GuardedBuffer::Side;
constexpr SpmmShape kShapes[] = {SpmmShape::row16, SpmmShape::square4, SpmmShape::column16};

template <class T> struct Guarded : GuardedBuffer {
  Guarded(const std::vector<T>& v, Side side) : GuardedBuffer(v.size() * sizeof(T), side) {
    if (!v.empty()) memcpy(as<void>(), v.data(), v.size() * sizeof(T));
  }
};

// W [rows, cols] with about `density` of its elements, in small integers so that int8 and f32 hold the same.
std::vector<float> matrix(int64_t rows, int64_t cols, double density) {
  std::vector<float> w(static_cast<size_t>(rows * cols));
  for (float& v : w) v = random_float(0, 1) < static_cast<float>(density) ? static_cast<float>(random_int(1, 127) * (random_int(0, 1) * 2 - 1)) : 0.0f;
  return w;
}
std::vector<float> floats(int64_t n, float lo, float hi) {
  std::vector<float> v(static_cast<size_t>(n));
  for (float& f : v) f = random_float(lo, hi);
  return v;
}

template <class F> void each_vector_row(const char* variant, F fn) {
  const SpmmVectorRow* rows;
  const int n = spmm_vector_table(&rows);
  for (int i = 0; i < n; i++)
    if (strcmp(rows[i].variant, variant) == 0 && (rows[i].needs & ~isa::allowed()) == 0) fn(rows[i]);
}

// Runs a row on the arrays of `base` (values as floats or codes) between guard pages and compares with the dense product.
void check_vector(const SpmmVectorRow& row, SpmmVector s, const std::vector<float>& w, const std::vector<float>& stored, int64_t padded, Side side) {
  std::vector<float> in = floats(s.cols, -1, 1);
  const std::vector<int8_t> codes(stored.begin(), stored.end());
  const Guarded<float> values(stored, side), scale(floats(s.rows, 0.5f, 2), side), bias(floats(s.rows, -1, 1), side);
  const Guarded<int8_t> small(codes, side);
  in.resize(static_cast<size_t>(padded), 0.0f);
  const Guarded<float> x(in, side);
  for (int n = 0; n < 4; n++) {
    GuardedBuffer y(static_cast<size_t>(s.rows) * 4, side);
    bool damaged = false;
    s.quantized = n % 2;
    s.values = s.quantized ? small.as<void>() : values.as<void>();
    s.x = x.as<float>(), s.y = y.as<float>(), s.damaged = &damaged;
    s.scale = n / 2 ? scale.as<float>() : nullptr, s.scale_step = 1, s.bias = n / 2 ? bias.as<float>() : nullptr;
    row.kernel(s);
    CHECK(!damaged);
    for (int64_t r = 0; r < s.rows; r++) {
      double want = 0, size = 1;
      for (int64_t c = 0; c < s.cols; c++) {
        const double t = static_cast<double>(w[static_cast<size_t>(r * s.cols + c)]) * static_cast<double>(in[static_cast<size_t>(c)]);
        want += t, size += std::fabs(t);
      }
      if (s.scale) want = want * static_cast<double>(s.scale[r]) + static_cast<double>(s.bias[r]);
      CHECK_MSG(std::fabs(static_cast<double>(s.y[r]) - want) <= 400 * 6e-8 * 2 * size, "%s row %lld: got %g, want %g", row.function, (long long)r,
                static_cast<double>(s.y[r]), want);
    }
  }
}

// Calls from_dense of a format and shows its results.
struct Blocks {
  std::vector<float> dense;
  OpCall<bsr_from_dense_args> call;
  Blocks(SpmmShape shape, int64_t rows, int64_t cols, double density) : dense(matrix(rows, cols, density)) {
    call.args.w = view(DType::f32, dense, {rows, cols});
    call.args.block_rows = spmm_block_rows(shape), call.args.block_cols = spmm_block_cols(shape);
    CHECK_OK(RUN_OP(call, bsr_from_dense));
  }
};
template <class T> std::vector<T> copy_of(const TensorRef& t) { return std::vector<T>(t.as<T>(), t.as<T>() + t.size()); }

}  // namespace

TERSOR_TEST(spmm_vector_blocks_match_and_stay_inside) {
  each_vector_row("blocks", [](const SpmmVectorRow& row) {
    for (const SpmmShape shape : kShapes)
      for (const int64_t rows : {1, 3, 4, 16, 17, 33})
        for (const int64_t cols : {1, 4, 15, 16, 50, 130})
          for (const double density : {0.0, 0.05, 0.7}) {
            const Blocks b(shape, rows, cols, density);
            const Side side = random_int(0, 1) ? Side::begin : Side::end;
            const Guarded<int32_t> indptr(copy_of<int32_t>(b.call.args.indptr), side);
            const Guarded<uint16_t> columns(copy_of<uint16_t>(b.call.args.columns), side);
            SpmmVector s;
            s.shape = shape, s.rows = rows, s.cols = cols, s.indptr = indptr.as<int32_t>(), s.index16 = columns.as<uint16_t>();
            const int64_t bc = spmm_block_cols(shape);
            check_vector(row, s, b.dense, copy_of<float>(b.call.args.values), (cols + bc - 1) / bc * bc, side);
          }
  });
}

TERSOR_TEST(spmm_vector_bitmask_matches_and_stays_inside) {
  each_vector_row("bitmask", [](const SpmmVectorRow& row) {
    for (const int64_t rows : {1, 5})
      for (int64_t cols = 1; cols <= 200; cols += cols < 70 ? 1 : 31)
        for (const double density : {0.0, 0.1, 0.5, 1.0}) {
          OpCall<bitmask_from_dense_args> call;
          const std::vector<float> dense = matrix(rows, cols, density);
          call.args.w = view(DType::f32, dense, {rows, cols});
          CHECK_OK(RUN_OP(call, bitmask_from_dense));
          const Side side = cols % 2 ? Side::begin : Side::end;
          const Guarded<int32_t> indptr(copy_of<int32_t>(call.args.indptr), side);
          std::vector<uint8_t> bytes = copy_of<uint8_t>(call.args.bits);
          const Guarded<uint8_t> bits(bytes, side);
          SpmmVector s;
          s.rows = rows, s.cols = cols, s.indptr = indptr.as<int32_t>(), s.bits = bits.as<uint8_t>(), s.index_row = (cols + 7) / 8;
          check_vector(row, s, dense, copy_of<float>(call.args.values), (cols + 63) / 64 * 64, side);
          // One bit more or less than values: said, and nothing outside is touched.
          bytes[0] = static_cast<uint8_t>(bytes[0] ^ 1);
          const Guarded<uint8_t> wrong(bytes, side);
          const std::vector<float> x(static_cast<size_t>((cols + 63) / 64 * 64), 1.0f);
          std::vector<float> y(static_cast<size_t>(rows));
          const Guarded<float> values(copy_of<float>(call.args.values), side);
          bool damaged = false;
          s.bits = wrong.as<uint8_t>(), s.values = values.as<float>(), s.x = x.data(), s.y = y.data(), s.damaged = &damaged;
          row.kernel(s);
          CHECK(damaged);
        }
  });
}

TERSOR_TEST(spmm_vector_two_of_four_matches_and_stays_inside) {
  each_vector_row("two_of_four", [](const SpmmVectorRow& row) {
    for (const int64_t rows : {1, 4})
      for (int64_t cols = 1; cols <= 140; cols++) {
        std::vector<float> dense = matrix(rows, cols, 0.7);
        for (int64_t r = 0; r < rows; r++)
          for (int64_t g = 0; g < cols; g += 4) {
            int kept = 0;
            for (int64_t c = g; c < g + 4 && c < cols; c++) {
              float& v = dense[static_cast<size_t>(r * cols + c)];
              if (v != 0.0f && ++kept > 2) v = 0.0f;
            }
          }
        OpCall<nm_from_dense_args> call;
        call.args.w = view(DType::f32, dense, {rows, cols});
        CHECK_OK(RUN_OP(call, nm_from_dense));
        const Side side = cols % 2 ? Side::begin : Side::end;
        const Guarded<uint8_t> bits(copy_of<uint8_t>(call.args.indices), side);
        SpmmVector s;
        s.rows = rows, s.cols = cols, s.bits = bits.as<uint8_t>(), s.index_row = call.args.indices.shape[1], s.value_row = call.args.values.shape[1];
        check_vector(row, s, dense, copy_of<float>(call.args.values), (cols + 31) / 32 * 32, side);
      }
  });
}

TERSOR_TEST(spmm_dot_rows_are_exact_and_stay_inside) {
  const SpmmDotRow* rows;
  const int n = spmm_dot_all_rows(&rows);
  for (int at = 0; at < n; at++) {
    if (rows[at].needs & ~isa::allowed()) continue;
    for (const SpmmShape shape : kShapes)
      for (const int lanes : {16, 32, 64})
        for (int run = 0; run < 12; run++) {
          const Side side = run % 2 ? Side::begin : Side::end;
          const int br = spmm_block_rows(shape), bc = spmm_block_cols(shape), unit = shape == SpmmShape::column16 ? 4 : 1;
          const int64_t block_rows = random_int(0, 3), block_cols = random_int(1, 9), padded = (block_cols * bc + 3) / 4 * 4;
          std::vector<int32_t> begin, end;
          std::vector<uint16_t> column;
          for (int64_t r = 0; r < block_rows; r++) {
            begin.push_back(static_cast<int32_t>(column.size()) / unit);
            for (int64_t e = random_int(0, 7) * unit; e > 0; e--) column.push_back(static_cast<uint16_t>(random_int(0, block_cols - 1)));
            end.push_back(static_cast<int32_t>(column.size()) / unit);
          }
          std::vector<int8_t> value(column.size() * 16);
          for (int8_t& v : value) v = static_cast<int8_t>(run < 4 ? (random_int(0, 1) ? 127 : -128) : random_int(-128, 127));
          const int width = static_cast<int>(random_int(1, lanes));
          const int64_t cols = random_int(padded > 3 ? padded - 3 : 1, padded);
          std::vector<float> in = floats(width * cols, -3, 3);
          if (run % 3 == 0) in[0] = NAN;
          const int32_t zero = static_cast<int32_t>(random_int(0, 255));
          const Guarded<float> x(in, side);
          GuardedBuffer panel(static_cast<size_t>(padded * lanes), side), y(static_cast<size_t>(block_rows * br * lanes) * 4, side);
          GuardedBuffer sums(static_cast<size_t>(block_rows * br) * 4, side);
          SpmmQuantize q;
          q.x = x.as<float>(), q.x_row = cols, q.width = width, q.lanes = lanes, q.cols = cols, q.padded = padded;
          q.quads = shape != SpmmShape::column16, q.scale = 0.02f, q.zero = zero, q.out = panel.as<uint8_t>();
          rows[at].quantize(q);
          std::vector<uint8_t> want_panel(static_cast<size_t>(padded * lanes));
          q.out = want_panel.data();
          rows[n - 1].quantize(q);
          CHECK_MSG(memcmp(panel.as<void>(), want_panel.data(), want_panel.size()) == 0, "%s quantize", rows[at].function);
          const Guarded<int32_t> first(begin, side), last(end, side);
          const Guarded<uint16_t> columns(column, side);
          const Guarded<int8_t> values(value, side);
          SpmmDot d;
          d.shape = shape, d.rows = block_rows, d.begin = first.as<int32_t>(), d.end = last.as<int32_t>(), d.columns = columns.as<uint16_t>();
          d.values = values.as<int8_t>(), d.correction = sums.as<int32_t>(), d.x = panel.as<uint8_t>(), d.y = y.as<float>(), d.lanes = lanes;
          rows[at].sums(d, zero, sums.as<int32_t>());
          std::vector<int32_t> want_sums(static_cast<size_t>(block_rows * br));
          rows[n - 1].sums(d, zero, want_sums.data());
          CHECK_MSG(block_rows == 0 || memcmp(sums.as<void>(), want_sums.data(), want_sums.size() * 4) == 0, "%s sums", rows[at].function);
          rows[at].dot(d);
          std::vector<float> want(static_cast<size_t>(block_rows * br * lanes));
          d.y = want.data();
          rows[n - 1].dot(d);
          CHECK_MSG(want.empty() || memcmp(y.as<void>(), want.data(), want.size() * 4) == 0, "%s shape %d lanes %d", rows[at].function, static_cast<int>(shape),
                    lanes);
        }
  }
}

namespace {

// y against the dense product, the same for every number of threads, through `run(x, y)`.
template <class F> void check_product(const std::vector<float>& w, int64_t n, int64_t k, const std::vector<float>& x, const std::vector<float>& bias, double scale,
                                      double slack, F run) {
  const int64_t m = static_cast<int64_t>(x.size()) / (k > 0 ? k : 1);
  std::vector<float> first;
  for_thread_counts([&] {
    const std::vector<float> y = run();
    if (first.empty()) first = y;
    CHECK(y.size() == static_cast<size_t>(m * n) && (y.empty() || memcmp(y.data(), first.data(), y.size() * 4) == 0));
  });
  for (int64_t i = 0; i < m; i++)
    for (int64_t j = 0; j < n; j++) {
      double want = 0, size = 1;
      for (int64_t p = 0; p < k; p++) {
        const double t = static_cast<double>(x[static_cast<size_t>(i * k + p)]) * static_cast<double>(w[static_cast<size_t>(j * k + p)]);
        want += t, size += std::fabs(t);
      }
      want = want * scale + static_cast<double>(bias[static_cast<size_t>(j)]);
      CHECK_MSG(std::fabs(static_cast<double>(first[static_cast<size_t>(i * n + j)]) - want) <= slack * size, "m %lld n %lld k %lld: got %g, want %g", (long long)m,
                (long long)n, (long long)k, static_cast<double>(first[static_cast<size_t>(i * n + j)]), want);
    }
}

}  // namespace

TERSOR_TEST(bsr_ops_round_trip_and_multiply) {
  for (const SpmmShape shape : kShapes)
    for (const int64_t m : {0, 1, 3, 4, 21, 150})
      for (const double density : {0.0, 0.03, 0.4}) {
        const int64_t n = random_int(1, 70), k = random_int(1, 90);
        Blocks b(shape, n, k, density);
        OpCall<bsr_to_dense_args> back;
        back.args.values = b.call.args.values, back.args.indptr = b.call.args.indptr, back.args.columns = b.call.args.columns;
        back.args.rows = n, back.args.cols = k, back.args.block_rows = b.call.args.block_rows, back.args.block_cols = b.call.args.block_cols;
        CHECK_OK(RUN_OP(back, bsr_to_dense));
        CHECK(memcmp(back.args.w.data, b.dense.data(), b.dense.size() * 4) == 0);

        const std::vector<float> bias = floats(n, -1, 1), scale(1, 0.25f);
        std::vector<float> x = floats(m * k, -1, 1);
        const std::vector<float> stored = copy_of<float>(b.call.args.values);
        const std::vector<int8_t> codes(stored.begin(), stored.end());
        for (int kind = 0; kind < 3; kind++) {  // f32, i8, i8 with quantized x
          if (kind == 2)
            for (float& v : x) v = static_cast<float>(random_int(-60, 60)) * 0.0625f;  // on the grid: quantizing loses nothing
          OpCall<bsr_linear_args> call;
          bsr_linear_args& a = call.args;
          a.x = view(DType::f32, x, {m, k}), a.indptr = b.call.args.indptr, a.columns = b.call.args.columns, a.bias = view(DType::f32, bias, {n});
          a.values = kind ? view(DType::i8, codes, {static_cast<int64_t>(codes.size())}) : b.call.args.values;
          if (kind) a.scale = view(DType::f32, scale, {1});
          a.rows = n, a.block_rows = b.call.args.block_rows, a.block_cols = b.call.args.block_cols;
          if (kind == 2) a.x_scale = 0.0625, a.x_zero = 77;
          check_product(b.dense, n, k, x, bias, kind ? 0.25 : 1, kind == 2 ? 3e-7 : 2e-5, [&] {
            CHECK_OK(RUN_OP(call, bsr_linear));
            return copy_of<float>(a.y);
          });
        }
      }
}

TERSOR_TEST(bitmask_and_two_of_four_ops_round_trip_and_multiply) {
  for (const int64_t m : {0, 1, 3, 4, 40, 150})
    for (const double density : {0.0, 0.1, 0.6}) {
      const int64_t n = random_int(1, 60), k = random_int(1, 150);
      const std::vector<float> bias = floats(n, -1, 1), scale(1, 0.5f), x = floats(m * k, -1, 1);
      std::vector<float> w = matrix(n, k, density);
      {
        OpCall<bitmask_from_dense_args> from;
        from.args.w = view(DType::f32, w, {n, k});
        CHECK_OK(RUN_OP(from, bitmask_from_dense));
        OpCall<bitmask_to_dense_args> back;
        back.args.values = from.args.values, back.args.indptr = from.args.indptr, back.args.bits = from.args.bits, back.args.cols = k;
        CHECK_OK(RUN_OP(back, bitmask_to_dense));
        CHECK(memcmp(back.args.w.data, w.data(), w.size() * 4) == 0);
        const std::vector<float> stored = copy_of<float>(from.args.values);
        const std::vector<int8_t> codes(stored.begin(), stored.end());
        for (int kind = 0; kind < 2; kind++) {
          OpCall<bitmask_linear_args> call;
          call.args.x = view(DType::f32, x, {m, k}), call.args.indptr = from.args.indptr, call.args.bits = from.args.bits;
          call.args.bias = view(DType::f32, bias, {n});
          call.args.values = kind ? view(DType::i8, codes, {static_cast<int64_t>(codes.size())}) : from.args.values;
          if (kind) call.args.scale = view(DType::f32, scale, {1});
          check_product(w, n, k, x, bias, kind ? 0.5 : 1, 2e-5, [&] {
            CHECK_OK(RUN_OP(call, bitmask_linear));
            return copy_of<float>(call.args.y);
          });
        }
      }
      for (int64_t r = 0; r < n; r++)
        for (int64_t c = 0; c < k; c++)
          if (c % 4 > 1 + (r & 1)) w[static_cast<size_t>(r * k + c)] = 0;
          else if (c % 4 == 0 && (r & 1)) w[static_cast<size_t>(r * k + c)] = 0;
      OpCall<nm_from_dense_args> from;
      from.args.w = view(DType::f32, w, {n, k});
      CHECK_OK(RUN_OP(from, nm_from_dense));
      OpCall<nm_to_dense_args> back;
      back.args.values = from.args.values, back.args.indices = from.args.indices, back.args.cols = k;
      CHECK_OK(RUN_OP(back, nm_to_dense));
      CHECK(memcmp(back.args.w.data, w.data(), w.size() * 4) == 0);
      const std::vector<float> stored = copy_of<float>(from.args.values);
      const std::vector<int8_t> codes(stored.begin(), stored.end());
      for (int kind = 0; kind < 2; kind++) {
        OpCall<nm_linear_args> call;
        call.args.x = view(DType::f32, x, {m, k}), call.args.indices = from.args.indices, call.args.bias = view(DType::f32, bias, {n});
        call.args.values = kind ? view(DType::i8, codes, {n, from.args.values.shape[1]}) : from.args.values;
        if (kind) call.args.scale = view(DType::f32, scale, {1});
        check_product(w, n, k, x, bias, kind ? 0.5 : 1, 2e-5, [&] {
          CHECK_OK(RUN_OP(call, nm_linear));
          return copy_of<float>(call.args.y);
        });
      }
    }
}

TERSOR_TEST(sparse_formats_damage_is_found) {
  const auto bsr = [](std::vector<int32_t> indptr, std::vector<uint16_t> columns, int64_t rows, int64_t cols, float last, int64_t m) {
    std::vector<float> values(columns.size() * 16, 1.0f), x(static_cast<size_t>(m * cols), 1.0f);
    values.back() = last;
    OpCall<bsr_to_dense_args> d;
    d.args.values = view(DType::f32, values, {static_cast<int64_t>(values.size())}), d.args.indptr = view(DType::i32, indptr, {static_cast<int64_t>(indptr.size())});
    d.args.columns = view(DType::u16, columns, {static_cast<int64_t>(columns.size())}), d.args.rows = rows, d.args.cols = cols;
    d.args.block_rows = d.args.block_cols = 4;
    OpCall<bsr_linear_args> l;
    l.args.x = view(DType::f32, x, {m, cols}), l.args.values = d.args.values, l.args.indptr = d.args.indptr, l.args.columns = d.args.columns;
    l.args.rows = rows, l.args.block_rows = l.args.block_cols = 4;
    return std::make_pair(RUN_OP(d, bsr_to_dense).code, RUN_OP(l, bsr_linear).code);
  };
  using P = std::pair<Code, Code>;
  const Code bad = Code::model_format;
  for (const int64_t m : {1, 8}) {
    CHECK(bsr({0, 1, 2}, {0, 1}, 8, 8, 1, m) == P(Code::ok, Code::ok));
    CHECK(bsr({0, 1, 2}, {0, 2}, 8, 8, 1, m) == P(bad, bad));
    CHECK(bsr({0, 3, 2}, {0, 1}, 8, 8, 1, m) == P(bad, bad));
    CHECK(bsr({1, 1, 2}, {0, 1}, 8, 8, 1, m) == P(bad, bad));
    CHECK(bsr({0, -1, 2}, {0, 1}, 8, 8, 1, m) == P(bad, bad));
    CHECK(bsr({0, 2, 2}, {1, 0}, 8, 8, 1, m).first == bad);
    CHECK(bsr({0, 2, 2}, {1, 1}, 8, 8, 1, m).first == bad);
    CHECK(bsr({0, 1, 2}, {0, 1}, 7, 7, 1, m).first == bad);
    CHECK(bsr({0, 1}, {0, 1}, 8, 8, 1, m) == P(Code::shape, Code::shape));
  }
  const auto mask = [](std::vector<int32_t> indptr, std::vector<uint8_t> bits, int64_t m) {
    const std::vector<float> values(3, 1.0f), x(static_cast<size_t>(m * 9), 1.0f);
    OpCall<bitmask_to_dense_args> d;
    d.args.values = view(DType::f32, values, {3}), d.args.indptr = view(DType::i32, indptr, {3}), d.args.bits = view(DType::u8, bits, {2, 2}), d.args.cols = 9;
    OpCall<bitmask_linear_args> l;
    l.args.x = view(DType::f32, x, {m, 9}), l.args.values = d.args.values, l.args.indptr = d.args.indptr, l.args.bits = d.args.bits;
    return std::make_pair(RUN_OP(d, bitmask_to_dense).code, RUN_OP(l, bitmask_linear).code);
  };
  for (const int64_t m : {1, 8}) {
    CHECK(mask({0, 2, 3}, {0x41, 0, 0, 1}, m) == P(Code::ok, Code::ok));
    CHECK(mask({0, 2, 3}, {0x41, 0, 0, 2}, m) == P(bad, bad));  // a bit beyond the last column
    CHECK(mask({0, 2, 3}, {0x41, 0, 1, 1}, m) == P(bad, bad));
    CHECK(mask({0, 2, 3}, {0x40, 0, 0, 1}, m) == P(bad, bad));
    CHECK(mask({0, 1, 3}, {0x41, 0, 0, 1}, m) == P(bad, bad));
    CHECK(mask({0, 4, 3}, {0x41, 0, 0, 1}, m) == P(bad, bad));
    CHECK(mask({0, 2, 2}, {0x41, 0, 0, 0}, m) == P(bad, bad));
  }
  const auto nm = [](std::vector<uint8_t> indices, float last) {
    const std::vector<float> values = {1, 2, 3, last};
    OpCall<nm_to_dense_args> d;
    d.args.values = view(DType::f32, values, {1, 4}), d.args.indices = view(DType::u8, indices, {1, 1}), d.args.cols = 6;
    return RUN_OP(d, nm_to_dense).code;
  };
  CHECK(nm({0x4c}, 4) == Code::ok);
  CHECK(nm({0x43}, 4) == bad);
  CHECK(nm({0x4f}, 4) == bad);
  CHECK(nm({0xcc}, 4) == bad);
  CHECK(nm({0xcc}, 0) == Code::ok);
  const std::vector<float> full(8, 1.0f);
  OpCall<nm_from_dense_args> dense;
  dense.args.w = view(DType::f32, full, {1, 8});
  CHECK_CODE(RUN_OP(dense, nm_from_dense), Code::data);
  OpCall<bsr_from_dense_args> odd;
  odd.args.w = view(DType::f32, full, {1, 8}), odd.args.block_rows = 2, odd.args.block_cols = 8;
  CHECK_CODE(RUN_OP(odd, bsr_from_dense), Code::option);
}
