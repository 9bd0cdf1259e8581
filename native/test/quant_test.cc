#include "kernels/quant/quant.h"
#include "test/op_call.h"

namespace tersor {
namespace test {
namespace {

struct Sizes {
  size_t in, out;
};
Sizes sizes(const char* variant, int64_t n) {
  const size_t m = static_cast<size_t>(n);
  if (!strcmp(variant, "range_f32")) return {4 * m, 0};
  if (!strcmp(variant, "quantize_f32")) return {4 * m, m};
  if (!strcmp(variant, "dequantize_f32")) return {m, 4 * m};
  if (!strcmp(variant, "pack4")) return {m, m / 2};
  if (!strcmp(variant, "unpack4")) return {m / 2, m};
  return {4 * m, 4 * m};
}

const QuantRow& reference_of(const QuantRow* rows, int n, const char* variant) {
  int last = 0;
  for (int i = 0; i < n; i++)
    if (!strcmp(rows[i].variant, variant)) last = i;
  return rows[last];
}

TERSOR_TEST(quant_rows_equal_the_reference) {
  const QuantRow* rows;
  const int count = quant_table(&rows);
  for (int r = 0; r < count; r++) {
    if ((rows[r].needs & ~isa::detected()) != 0) continue;
    const char* variant = rows[r].variant;
    if (strstr(variant, "pack_bits")) continue;  // a test of their own
    const bool fours = strstr(variant, "pack4") != nullptr;
    for (int64_t n = 0; n <= 200; n += n < 140 ? 1 : 13) {
      if (fours && n % 2) continue;
      for (int kind = 0; kind < 4; kind++) {
        const auto side = kind % 2 ? GuardedBuffer::Side::begin : GuardedBuffer::Side::end;
        const Sizes size = sizes(variant, n);
        GuardedBuffer in(size.in, side), out(size.out, side);
        if (size.in == 4 * static_cast<size_t>(n) && !fours) {
          const float special[] = {NAN, INFINITY, -INFINITY, 0, 0.5f, 1.5f, -0.5f, -2.5f, 1e30f, -1e30f, 1e-40f, 127.5f, -128.5f};
          for (int64_t i = 0; i < n; i++) in.as<float>()[i] = kind < 2 ? random_float(-70, 70) : special[random_int(kind == 2, 12)];
        } else {
          for (size_t i = 0; i < size.in; i++) in.as<int8_t>()[i] = static_cast<int8_t>(!strcmp(variant, "pack4") && kind < 3 ? random_int(-8, 7) : random_int(-128, 127));
        }
        QuantArgs a{};
        a.in = in.as<void>();
        a.out = out.as<void>();
        a.n = n;
        a.scale = kind == 1 ? 0.37f : kind == 3 ? 1e-38f : 1.0f;
        a.zero = static_cast<float>(kind == 1 ? 7 : kind == 3 ? -300 : 0);
        a.qmin = kind == 1 ? -7.0f : -128.0f;
        a.qmax = kind == 1 ? 7.0f : 127.0f;
        a.origin = -50, a.inverse = 0.37, a.bins = 37;
        a.runs = strcmp(variant, "range_f32") ? 0 : kind == 0 ? 1 : n % 7;
        if (a.runs > 1) a.n = n / a.runs;
        std::vector<float> ends(static_cast<size_t>(4 * a.runs + 1));
        a.lo = ends.data();
        a.hi = a.lo + a.runs;
        QuantArgs b = a;
        std::vector<uint8_t> want(size.out + 1);
        b.out = want.data();
        b.lo = a.hi + a.runs;
        b.hi = b.lo + a.runs;
        const int64_t got = rows[r].kernel(a), expected = reference_of(rows, count, variant).kernel(b);
        CHECK_MSG(got == expected, "%s: n %lld: returned %lld, want %lld", rows[r].function, static_cast<long long>(n), static_cast<long long>(got),
                  static_cast<long long>(expected));
        bool same_range = true;
        for (int64_t i = 0; i < 2 * a.runs; i++) same_range = same_range && (a.lo[i] == b.lo[i] || (a.lo[i] != a.lo[i] && b.lo[i] != b.lo[i]));
        if (!strcmp(variant, "range_f32")) CHECK_MSG(same_range, "%s: n %lld", rows[r].function, static_cast<long long>(n));
        else if (expected < 0 || strcmp(variant, "quantize_f32") == 0) CHECK_MSG(!memcmp(out.as<void>(), want.data(), size.out), "%s: n %lld, kind %d", rows[r].function, static_cast<long long>(n), kind);
      }
    }
  }
}

// Quotients at and beside the points where the integer changes, long runs (results past the caches), outputs anywhere in a cache line.
TERSOR_TEST(quantize_rows_at_ties) {
  const QuantRow* rows;
  const int count = quant_table(&rows);
  const float scales[] = {1.0f / 127, 0.37f, 1.0f, 3.0f, 1.99999988f, 0x1p-90f, 0x1.fffffep-91f, 0x1p90f, 0x1.000002p90f, 1.2345e-12f, 7.7e17f, 1e-38f, 3e38f};
  const float zeros[] = {0, 7, -128, 32640, -32640, 32641, 1048576};
  for (int r = 0; r < count; r++) {
    if (strcmp(rows[r].variant, "quantize_f32") || (rows[r].needs & ~isa::detected()) != 0) continue;
    for (const float base : scales)
      for (const float zero : zeros)
        for (int turn = 0; turn < 4; turn++) {
          const int64_t n = 600 + random_int(0, 200), shift = turn == 0 ? 0 : random_int(0, 63);
          const float scale = turn < 2 ? base : base * random_float(0.5f, 1);
          GuardedBuffer in(static_cast<size_t>(n) * 4, GuardedBuffer::Side::end), out(static_cast<size_t>(n + shift), GuardedBuffer::Side::end);
          for (int64_t i = 0; i < n; i++) {
            const float half = static_cast<float>(random_int(-140, 140)) / 2 - (random_int(0, 1) ? zero : 0);
            float x = half * scale;
            for (int64_t steps = random_int(-3, 3), k = 0; k < std::abs(steps); k++) x = std::nextafter(x, steps < 0 ? -INFINITY : INFINITY);
            in.as<float>()[i] = random_int(0, 9) ? x : random_int(0, 1) ? random_float(-1e38f, 1e38f) : INFINITY;
          }
          if (turn == 3) in.as<float>()[random_int(0, n - 1)] = NAN;
          QuantArgs a{};
          a.in = in.as<void>(), a.out = out.as<int8_t>() + shift, a.n = n;
          a.scale = scale, a.zero = zero, a.qmin = -127, a.qmax = 100, a.stream = turn > 0;
          QuantArgs b = a;
          std::vector<int8_t> want(static_cast<size_t>(n));
          b.out = want.data();
          CHECK(rows[r].kernel(a) == reference_of(rows, count, "quantize_f32").kernel(b));
          CHECK_MSG(!memcmp(a.out, want.data(), want.size()), "%s: scale %a, zero %g, n %lld", rows[r].function, static_cast<double>(scale), static_cast<double>(zero),
                    static_cast<long long>(n));
        }
  }
}

TERSOR_TEST(dequantize_rows_past_the_caches) {
  const QuantRow* rows;
  const int count = quant_table(&rows);
  for (int r = 0; r < count; r++) {
    if (strcmp(rows[r].variant, "dequantize_f32") || (rows[r].needs & ~isa::detected()) != 0) continue;
    for (int64_t shift = 0; shift < 70; shift++) {  // bytes: also floats that are not at multiples of four
      const int64_t n = 512 + random_int(0, 100);
      GuardedBuffer in(static_cast<size_t>(n), GuardedBuffer::Side::end), out(static_cast<size_t>(n * 4 + shift), GuardedBuffer::Side::end);
      for (int64_t i = 0; i < n; i++) in.as<int8_t>()[i] = static_cast<int8_t>(random_int(-128, 127));
      QuantArgs a{};
      a.in = in.as<void>(), a.out = out.as<char>() + shift, a.n = n, a.scale = 0.37f, a.zero = 2.5f, a.stream = true;
      QuantArgs b = a;
      std::vector<float> want(static_cast<size_t>(n));
      b.out = want.data();
      rows[r].kernel(a);
      reference_of(rows, count, "dequantize_f32").kernel(b);
      CHECK_MSG(!memcmp(a.out, want.data(), want.size() * 4), "%s: n %lld, shift %lld", rows[r].function, static_cast<long long>(n), static_cast<long long>(shift));
    }
  }
}

TERSOR_TEST(range_rows_op) {
  std::vector<float> x = {1, -2, 3, 4, 5, NAN, -7, 0, 9, 9};
  OpCall<range_rows_args> c;
  c.args.x = view(DType::f32, x, {2, 5});
  c.args.groups = 2;
  for_thread_counts([&] {
    CHECK_OK(RUN_OP(c, range_rows));
    const float *lo = c.args.lo.as<float>(), *hi = c.args.hi.as<float>();
    CHECK(lo[0] == -2 && hi[0] == 3 && lo[1] == 4 && hi[1] == 5 && std::isnan(lo[2]) && std::isnan(hi[2]) && lo[3] == 9 && hi[3] == 9);
  });
  for (int64_t groups : {0, 4, 6, -1}) {  // 4 groups of 2 leave an empty one
    c.args.groups = groups;
    CHECK_CODE(RUN_OP(c, range_rows), Code::option);
  }
  std::vector<double> d = {3, -1, 2};
  c.args.x = view(DType::f64, d, {1, 3});
  c.args.groups = 1;
  CHECK_OK(RUN_OP(c, range_rows));
  CHECK(c.args.lo.as<double>()[0] == -1 && c.args.hi.as<double>()[0] == 3);
  c.args.x = view(DType::f64, d, {3, 0});
  CHECK_CODE(RUN_OP(c, range_rows), Code::shape);
  c.args.x = view(DType::f64, d, {0, 3});
  CHECK_OK(RUN_OP(c, range_rows));
}

template <class T> void quantize_cases() {
  for (int64_t cols : {1, 5, 64, 100, 40000})
    for (int64_t groups : {1, 2, 5}) {
      if (groups > cols || (groups - 1) * ((cols + groups - 1) / groups) >= cols) continue;
      const int64_t rows = cols > 1000 ? 2 : 6;
      std::vector<T> x(static_cast<size_t>(rows * cols));
      for (auto& v : x) v = static_cast<T>(random_float(-3, 3));
      std::vector<float> scale(static_cast<size_t>(rows * groups)), zero(static_cast<size_t>(rows));
      for (auto& v : scale) v = random_float(0.01f, 0.04f);
      for (auto& v : zero) v = static_cast<float>(random_int(-20, 20));
      OpCall<quantize_rows_args> c;
      c.args.x = view(dtype_of<T>::value, x, {rows, cols});
      c.args.scale = view(DType::f32, scale, {rows, groups});
      c.args.zero = view(DType::f32, zero, {rows, 1});
      c.args.qmin = -128, c.args.qmax = 127;
      for_thread_counts([&] {
        CHECK_OK(RUN_OP(c, quantize_rows));
        OpCall<dequantize_rows_args> back;
        back.args.q = c.args.q, back.args.scale = c.args.scale, back.args.zero = c.args.zero;
        CHECK_OK(RUN_OP(back, dequantize_rows));
        const int64_t run = (cols + groups - 1) / groups;
        for (int64_t i = 0; i < rows * cols; i++) {
          const float s = scale[static_cast<size_t>(i / cols * groups + i % cols / run)];
          const double z = static_cast<double>(zero[static_cast<size_t>(i / cols)]);
          const T t = x[static_cast<size_t>(i)] / static_cast<T>(s);
          const double want = std::min(127.0, std::max(-128.0, std::nearbyint(static_cast<double>(t)) + z));
          CHECK(c.args.q.template as<int8_t>()[i] == want);
          if (want > -128 && want < 127) CHECK(std::abs(static_cast<double>(back.args.x.template as<float>()[i]) - static_cast<double>(x[static_cast<size_t>(i)])) <= static_cast<double>(s) * 0.50001 + 1e-6);
        }
      });
    }
}

TERSOR_TEST(quantize_rows_op) {
  quantize_cases<float>();
  quantize_cases<double>();
  std::vector<float> x = {0.5f, 1.5f, 2.5f, -0.5f, INFINITY, -INFINITY}, scale = {1}, zero = {0};
  OpCall<quantize_rows_args> c;
  c.args.x = view(DType::f32, x, {2, 3});
  c.args.scale = view(DType::f32, scale, {1, 1});
  c.args.qmin = -8, c.args.qmax = 7;
  CHECK_OK(RUN_OP(c, quantize_rows));
  const int8_t want[] = {0, 2, 2, 0, 7, -8};
  CHECK(!memcmp(c.args.q.data, want, 6));
  x[4] = NAN;
  Status s = RUN_OP(c, quantize_rows);
  CHECK_CODE(s, Code::numeric);
  CHECK(strstr(s.message, "[1,1]"));
  x[4] = 0;
  for (float bad : {0.0f, -1.0f, NAN, INFINITY}) {
    scale[0] = bad;
    CHECK_CODE(RUN_OP(c, quantize_rows), Code::numeric);
  }
  scale[0] = 1;
  c.args.zero = view(DType::f32, zero, {1, 1});
  for (float bad : {0.5f, NAN, INFINITY, 1e9f}) {
    zero[0] = bad;
    CHECK_CODE(RUN_OP(c, quantize_rows), Code::numeric);
  }
  zero[0] = 3;
  CHECK_OK(RUN_OP(c, quantize_rows));
  c.args.qmax = 128;
  CHECK_CODE(RUN_OP(c, quantize_rows), Code::option);
  c.args.qmin = 3, c.args.qmax = 3;
  CHECK_CODE(RUN_OP(c, quantize_rows), Code::option);
  c.args.qmin = -8, c.args.qmax = 7;
  c.args.scale = view(DType::f32, x, {3, 1});
  CHECK_CODE(RUN_OP(c, quantize_rows), Code::shape);
  c.args.scale = view(DType::f64, x, {1, 1});
  CHECK_CODE(RUN_OP(c, quantize_rows), Code::dtype);
  c.args.scale = view(DType::f32, scale, {1, 1});
  c.args.x = view(DType::f32, x, {0, 3});
  CHECK_OK(RUN_OP(c, quantize_rows));
}

TERSOR_TEST(pack_bits_round_trip_and_layout) {
  for (int64_t bits = 2; bits <= 8; bits++)
    for (int64_t n : {0, 1, 2, 3, 7, 8, 9, 31, 63, 64, 65, 1000, 65536, 65541, 200003}) {
      const int64_t half = int64_t(1) << (bits - 1);
      std::vector<int8_t> q(static_cast<size_t>(n));
      for (auto& v : q) v = static_cast<int8_t>(random_int(-half, half - 1));
      OpCall<pack_bits_args> c;
      c.args.q = view(DType::i8, q, {n});
      c.args.bits = bits;
      CHECK_OK(RUN_OP(c, pack_bits));
      CHECK(c.args.packed.shape[0] == (n * bits + 7) / 8);
      std::vector<uint8_t> want(static_cast<size_t>(c.args.packed.shape[0]));
      for (int64_t i = 0; i < n * bits; i++) {
        const int64_t field = q[static_cast<size_t>(i / bits)] + half;
        want[static_cast<size_t>(i / 8)] = static_cast<uint8_t>(want[static_cast<size_t>(i / 8)] | (field >> (i % bits) & 1) << (i % 8));
      }
      CHECK_MSG(want.empty() || !memcmp(c.args.packed.data, want.data(), want.size()), "%lld values of %lld bits", static_cast<long long>(n), static_cast<long long>(bits));
      OpCall<unpack_bits_args> u;
      u.args.packed = c.args.packed, u.args.bits = bits, u.args.size = n;
      CHECK_OK(RUN_OP(u, unpack_bits));
      CHECK(q.empty() || !memcmp(u.args.q.data, q.data(), q.size()));
      u.args.size = n + 8;
      CHECK_CODE(RUN_OP(u, unpack_bits), Code::shape);
      if (n == 0 || bits == 8) continue;
      const int64_t at = random_int(0, n - 1);
      q[static_cast<size_t>(at)] = static_cast<int8_t>(half);
      const Status s = RUN_OP(c, pack_bits);
      CHECK_CODE(s, Code::option);
      CHECK(strstr(s.message, ("position " + std::to_string(at)).c_str()));
    }
  std::vector<int8_t> q(8);
  OpCall<pack_bits_args> c;
  c.args.q = view(DType::i8, q, {8});
  for (int64_t bits : {1, 9, 0, -4}) {
    c.args.bits = bits;
    CHECK_CODE(RUN_OP(c, pack_bits), Code::option);
  }
}

TERSOR_TEST(histogram_op) {
  std::vector<float> x(300000);
  for (auto& v : x) v = random_float(-2, 2);
  x[0] = INFINITY, x[1] = -INFINITY, x[2] = 1, x[3] = -1;
  OpCall<histogram_args> c;
  c.args.x = view(DType::f32, x, {300, 1000});
  c.args.lo = -1, c.args.hi = 1, c.args.bins = 64;
  std::vector<int64_t> want(64);
  for (float v : x) want[static_cast<size_t>(std::min(63.0, std::max(0.0, std::floor((static_cast<double>(v) + 1) * 32))))]++;
  for_thread_counts([&] {
    CHECK_OK(RUN_OP(c, histogram));
    CHECK(!memcmp(c.args.counts.data, want.data(), 64 * 8));
  });
  x[123456] = NAN;
  const Status s = RUN_OP(c, histogram);
  CHECK_CODE(s, Code::numeric);
  CHECK(strstr(s.message, "123456"));
  std::vector<double> d = {0, 0.1, 5};
  c.args.x = view(DType::f64, d, {3});
  CHECK_OK(RUN_OP(c, histogram));
  CHECK(c.args.counts.as<int64_t>()[32] == 1 && c.args.counts.as<int64_t>()[35] == 1 && c.args.counts.as<int64_t>()[63] == 1);
  for (double bad : {-1.0, -2.0, std::nan(""), HUGE_VAL}) {
    c.args.hi = bad;
    CHECK_CODE(RUN_OP(c, histogram), Code::option);
  }
  c.args.hi = 1, c.args.bins = 0;
  CHECK_CODE(RUN_OP(c, histogram), Code::option);
}

// One table and four, all in one bin, numbers of values around the blocks, f64, the position of a NaN.
TERSOR_TEST(histogram_counts) {
  for (int64_t bins : {1, 2048, 8192, 8193, 100000})
    for (int64_t n : {1, 7, 127, 128, 129, 1000, 70001})
      for (const bool same : {false, true}) {
        std::vector<float> x(static_cast<size_t>(n));
        for (auto& v : x) v = same ? 0.25f : random_float(-1.2f, 1.2f);
        const std::vector<double> d(x.begin(), x.end());
        std::vector<int64_t> want(static_cast<size_t>(bins));
        for (double v : d) want[static_cast<size_t>(std::min(static_cast<double>(bins - 1), std::max(0.0, std::floor((v + 1) * (static_cast<double>(bins) / 2)))))]++;
        OpCall<histogram_args> c;
        c.args.lo = -1, c.args.hi = 1, c.args.bins = bins;
        c.args.x = view(DType::f32, x, {n});
        CHECK_OK(RUN_OP(c, histogram));
        CHECK_MSG(!memcmp(c.args.counts.data, want.data(), want.size() * 8), "%lld values, %lld bins", static_cast<long long>(n), static_cast<long long>(bins));
        c.args.x = view(DType::f64, d, {n});
        CHECK_OK(RUN_OP(c, histogram));
        CHECK(!memcmp(c.args.counts.data, want.data(), want.size() * 8));
        const int64_t at = random_int(0, n - 1);
        x[static_cast<size_t>(at)] = NAN;
        c.args.x = view(DType::f32, x, {n});
        const Status s = RUN_OP(c, histogram);
        CHECK_CODE(s, Code::numeric);
        char text[40];
        snprintf(text, sizeof text, "at position %lld ", static_cast<long long>(at));
        CHECK(strstr(s.message, text));
      }
}

// Quotients at and next to k + 1/2, where the rounding of the quotient decides; scales of all sizes, zeros and limits of codes.
TERSOR_TEST(quantize_rows_round_quotients_alike) {
  const QuantRow* rows;
  const int count = quant_table(&rows);
  std::vector<float> x(512);
  std::vector<int8_t> got(512), want(512);
  for (int round = 0; round < 4000; round++) {
    QuantArgs a{};
    a.scale = std::ldexp(random_float(1, 2), static_cast<int>(round % 4 == 0 ? random_int(-126, 126) : random_int(-12, 4)));
    if (round % 16 == 1) a.scale = std::nextafter(std::ldexp(1.0f, round % 64 - 32), round % 32 == 1 ? 0.0f : 1e30f);
    a.zero = static_cast<float>(round % 3 == 0 ? random_int(-1048576, 1048576) : random_int(-128, 127));
    a.qmin = round % 2 ? -128.0f : -7.0f, a.qmax = round % 2 ? 127.0f : 7.0f;
    for (auto& v : x) {
      const float at = static_cast<float>(random_int(-130, 130)) - a.zero + 0.5f;
      v = at * a.scale;
      for (int64_t step = random_int(-3, 3); step != 0; step += step < 0 ? 1 : -1) v = std::nextafter(v, step < 0 ? -HUGE_VALF : HUGE_VALF);
    }
    a.in = x.data(), a.n = 512, a.out = want.data();
    CHECK(quant_quantize_f32_scalar(a) == -1);
    a.out = got.data();
    for (int r = 0; r < count; r++) {
      if (strcmp(rows[r].variant, "quantize_f32") != 0 || (rows[r].needs & ~isa::detected()) != 0) continue;
      CHECK(rows[r].kernel(a) == -1);
      CHECK_MSG(got == want, "%s: scale %a, zero %g", rows[r].function, static_cast<double>(a.scale), static_cast<double>(a.zero));
    }
  }
}

// Every row, all widths, all short sizes: results, positions of values that do not fit, nothing touched outside.
TERSOR_TEST(pack_bits_rows_equal_the_reference) {
  const QuantRow* rows;
  const int count = quant_table(&rows);
  for (int r = 0; r < count; r++) {
    const bool packs = !strcmp(rows[r].variant, "pack_bits");
    if ((!packs && strcmp(rows[r].variant, "unpack_bits") != 0) || (rows[r].needs & ~isa::detected()) != 0) continue;
    for (int32_t bits = 2; bits <= 8; bits++)
      for (int64_t n = 0; n <= 600; n += n < 300 ? 1 : 29)
        for (int kind = 0; kind < 4; kind++) {
          const auto side = kind % 2 ? GuardedBuffer::Side::begin : GuardedBuffer::Side::end;
          const size_t plain = static_cast<size_t>(n), dense = static_cast<size_t>((n * bits + 7) / 8), written = packs ? dense : plain;
          GuardedBuffer in(packs ? plain : dense, side), out(written, side);
          const int64_t half = int64_t(1) << (bits - 1);
          for (size_t i = 0; i < (packs ? plain : dense); i++)
            in.as<int8_t>()[i] = static_cast<int8_t>(packs ? random_int(-half, half - 1) : random_int(-128, 127));
          const bool misfit = packs && kind > 1 && n > 0 && bits < 8;
          if (misfit) in.as<int8_t>()[random_int(0, n - 1)] = static_cast<int8_t>(kind == 2 ? half : random_int(-128, -half - 1));
          QuantArgs a{};
          a.in = in.as<void>();
          a.out = out.as<void>();
          a.n = n;
          a.bits = bits;
          QuantArgs b = a;
          std::vector<uint8_t> want(written + 1);
          b.out = want.data();
          const int64_t got = rows[r].kernel(a), expected = reference_of(rows, count, rows[r].variant).kernel(b);
          CHECK_MSG(got == expected && (!packs || (expected >= 0) == misfit), "%s: %d bits, n %lld: returned %lld, want %lld", rows[r].function, bits,
                    static_cast<long long>(n), static_cast<long long>(got), static_cast<long long>(expected));
          if (!misfit) CHECK_MSG(!memcmp(out.as<void>(), want.data(), written), "%s: %d bits, n %lld", rows[r].function, bits, static_cast<long long>(n));
        }
  }
}

}  // namespace
}  // namespace test
}  // namespace tersor
