// Element conversions: f16 and bf16 against a reference by arithmetic, every pair of types through the op, rows against each other.
#include "base/float16.h"

#include <limits>

#include "kernels/elementwise/elementwise.h"
#include "test/op_call.h"

namespace tersor {
namespace {

using test::random_float;
using test::random_int;
using test::view;

// The value of a 16-bit float with `exponent_bits`, by its definition.
double value16(uint16_t h, int exponent_bits) {
  const int mantissa_bits = 15 - exponent_bits, bias = (1 << (exponent_bits - 1)) - 1;
  const int e = (h >> mantissa_bits) & ((1 << exponent_bits) - 1), m = h & ((1 << mantissa_bits) - 1);
  double v;
  if (e == (1 << exponent_bits) - 1) v = m ? NAN : INFINITY;
  else if (e == 0) v = std::ldexp(m, 1 - bias - mantissa_bits);
  else v = std::ldexp((1 << mantissa_bits) + m, e - bias - mantissa_bits);
  return h & 0x8000 ? -v : v;
}

// Nearest 16-bit float of d, ties to even: search in the ordered non-negative patterns.
uint16_t nearest16(double d, int exponent_bits) {
  const uint16_t inf = static_cast<uint16_t>(((1 << exponent_bits) - 1) << (15 - exponent_bits));
  const uint16_t sign = std::signbit(d) ? 0x8000 : 0;
  const double a = std::fabs(d);
  uint16_t lo = 0, hi = inf;
  while (hi - lo > 1) {
    const uint16_t mid = static_cast<uint16_t>((lo + hi) / 2);
    (value16(mid, exponent_bits) <= a ? lo : hi) = mid;
  }
  // Infinity rounds as if it were the next power of two.
  const double below = value16(lo, exponent_bits), above = hi == inf ? std::ldexp(1.0, 1 << (exponent_bits - 1)) : value16(hi, exponent_bits);
  const double low = a - below, high = above - a;
  uint16_t h = low < high || (low == high && (lo & 1) == 0) ? lo : hi;
  if (std::isinf(a)) h = inf;
  return h | sign;
}

struct Kind {
  int exponent_bits;
  ConvertOp widen, narrow;
};
const Kind kKinds[] = {{5, ConvertOp::f16_f32, ConvertOp::f32_f16}, {8, ConvertOp::bf16_f32, ConvertOp::f32_bf16}};

}  // namespace

TERSOR_TEST(cast_all_16_bit_patterns_round_trip) {
  const ElementwiseRow<ConvertArgs>* rows;
  const int count = elementwise_convert_table(&rows);
  std::vector<uint16_t> h(65536), back(65536);
  for (size_t i = 0; i < h.size(); i++) h[i] = static_cast<uint16_t>(i);
  for (int r = 0; r < count; r++) {
    if (rows[r].needs & ~isa::allowed()) continue;
    for (const Kind& kind : kKinds) {
      std::vector<float> f(65536);
      rows[r].kernel({kind.widen, h.data(), f.data(), 65536});
      rows[r].kernel({kind.narrow, f.data(), back.data(), 65536});
      for (size_t i = 0; i < h.size(); i++) {
        const double want = value16(h[i], kind.exponent_bits);
        CHECK_MSG(want != want ? f[i] != f[i] : (f[i] == want && std::signbit(f[i]) == std::signbit(want)), "%s: pattern %zu is %g, want %g", rows[r].function, i, f[i], want);
        CHECK_MSG(back[i] == h[i], "%s: pattern %zu comes back as %u", rows[r].function, i, back[i]);
      }
    }
  }
}

TERSOR_TEST(cast_narrowing_rounds_to_nearest_even) {
  const ElementwiseRow<ConvertArgs>* rows;
  const int count = elementwise_convert_table(&rows);
  for (const Kind& kind : kKinds) {
    std::vector<float> x;
    for (uint32_t i = 0; i < 0x7c00; i += 7) {  // values, midpoints of neighbours, and the floats beside them
      const double a = value16(static_cast<uint16_t>(i), kind.exponent_bits), b = value16(static_cast<uint16_t>(i + 1), kind.exponent_bits);
      const float mid = static_cast<float>((a + b) / 2);
      for (float v : {static_cast<float>(a), mid, std::nextafter(mid, 0.0f), std::nextafter(mid, INFINITY)}) x.push_back(i & 1 ? -v : v);
    }
    for (float v : {65504.0f, 65519.0f, 65519.996f, 65520.0f, 65536.0f, 1e30f, 3.4028235e38f, 3.3961775e38f, INFINITY, 1e-45f, 2.98e-8f, 2.9802322e-8f, 2.9802326e-8f, 6e-8f}) x.push_back(v);
    for (int i = 0; i < 20000; i++) {
      const uint32_t u = static_cast<uint32_t>(test::rng()());
      if ((u & 0x7fffffff) <= 0x7f800000) x.push_back(f32_from_bits(u));
    }
    for (int r = 0; r < count; r++) {
      if (rows[r].needs & ~isa::allowed()) continue;
      std::vector<uint16_t> y(x.size());
      rows[r].kernel({kind.narrow, x.data(), y.data(), static_cast<int64_t>(x.size())});
      for (size_t i = 0; i < x.size(); i++) {
        const uint16_t want = nearest16(x[i], kind.exponent_bits);
        CHECK_MSG(y[i] == want, "%s: %.9g -> %04x, want %04x", rows[r].function, x[i], y[i], want);
      }
    }
    for (int i = 0; i < 20000; i++) {  // one rounding from f64: next to the midpoints a second rounding would err
      const uint16_t h = static_cast<uint16_t>(random_int(0, kind.exponent_bits == 5 ? 0x7bfe : 0x7f7e));
      const double mid = (value16(h, kind.exponent_bits) + value16(static_cast<uint16_t>(h + 1), kind.exponent_bits)) / 2;
      for (double d : {mid, std::nextafter(mid, 0.0), std::nextafter(mid, INFINITY), -std::nextafter(mid, INFINITY)}) {
        const uint16_t got = kind.exponent_bits == 5 ? f16_from_f64(d) : bf16_from_f64(d);
        CHECK_MSG(got == nearest16(d, kind.exponent_bits), "%.17g -> %04x", d, got);
      }
    }
  }
}

TERSOR_TEST(cast_rows_stay_inside_their_buffers) {
  const ElementwiseRow<ConvertArgs>* rows;
  const int count = elementwise_convert_table(&rows);
  for (int r = 0; r < count; r++) {
    if (rows[r].needs & ~isa::allowed()) continue;
    for (int64_t n : {0, 1, 3, 8, 15, 16, 17, 31, 33, 67})
      for (int op = 0; op < static_cast<int>(ConvertOp::count); op++) {
        const bool narrow = op == static_cast<int>(ConvertOp::f32_f16) || op == static_cast<int>(ConvertOp::f32_bf16);
        for (test::GuardedBuffer::Side side : {test::GuardedBuffer::Side::end, test::GuardedBuffer::Side::begin}) {
          test::GuardedBuffer x(static_cast<size_t>(n) * (narrow ? 4 : 2), side), y(static_cast<size_t>(n) * (narrow ? 2 : 4), side);
          std::vector<char> want(static_cast<size_t>(n) * (narrow ? 2 : 4) + 1);
          rows[r].kernel({static_cast<ConvertOp>(op), x.as<void>(), y.as<void>(), n});
          rows[count - 1].kernel({static_cast<ConvertOp>(op), x.as<void>(), want.data(), n});
          CHECK(memcmp(y.as<void>(), want.data(), static_cast<size_t>(n) * (narrow ? 2 : 4)) == 0);
        }
      }
  }
}

namespace {

const double kSamples[] = {0, -0.0, 1, -1, 0.5, 0.9999, -0.9999, 1.5, 2.5, -2.5, 126.9, 127, 127.5, 128, -128, -128.9, -129, 255, 255.9, 256, 32767, 32768, -32769, 65535, 65536,
                           2147483647.0, 2147483648.0, -2147483648.0, -2147483649.0, 9.2e18, 9223372036854775807.0, 1e19, -9223372036854775808.0, -1e19, 1e38, -1e38, 1e300, 3.3e-5, 1e-40,
                           INFINITY, -INFINITY, NAN};

int64_t integer_limit(DType t, bool high) {
  switch (t) {
    case DType::i64: return high ? INT64_MAX : INT64_MIN;
    case DType::i32: return high ? INT32_MAX : INT32_MIN;
    case DType::i16: return high ? INT16_MAX : INT16_MIN;
    case DType::u16: return high ? UINT16_MAX : 0;
    case DType::i8: return high ? INT8_MAX : INT8_MIN;
    default: return high ? UINT8_MAX : 0;
  }
}
bool is_floating(DType t) { return t == DType::f64 || t == DType::f32 || t == DType::f16 || t == DType::bf16; }

std::vector<unsigned char> cast_bytes(const std::vector<unsigned char>& in, DType from, DType to, int64_t n) {
  test::OpCall<cast_args> call;
  set_shape(call.args.x, from, &n, 1);
  call.args.x.data = const_cast<unsigned char*>(in.data());
  call.args.dtype = to;
  CHECK_OK(RUN_OP(call, cast));
  const unsigned char* y = call.args.y.as<unsigned char>();
  return std::vector<unsigned char>(y, y + n * dtype_bytes(to));
}
long double read_value(DType t, const unsigned char* p) {
  switch (t) {
#define READ(name, type) \
  case DType::name: {    \
    type v;              \
    memcpy(&v, p, sizeof v); \
    return static_cast<long double>(v); \
  }
    READ(f64, double) READ(f32, float) READ(i64, int64_t) READ(i32, int32_t) READ(i16, int16_t) READ(u16, uint16_t) READ(i8, int8_t) READ(u8, uint8_t) READ(b8, uint8_t)
#undef READ
    default: {
      uint16_t h;
      memcpy(&h, p, 2);
      return value16(h, t == DType::f16 ? 5 : 8);
    }
  }
}
// What an exact value becomes in the target type.
long double expected(long double v, DType to) {
  if (to == DType::b8) return v != 0 ? 1 : 0;
  if (to == DType::f64) return static_cast<double>(v);
  if (to == DType::f32) return static_cast<float>(v);
  if (to == DType::f16 || to == DType::bf16) {
    if (v != v) return v;
    const int bits = to == DType::f16 ? 5 : 8;
    const double d = static_cast<double>(v);  // exact here: samples are doubles, or integers checked apart
    return value16(nearest16(d, bits), bits);
  }
  if (v != v) return 0;
  const long double lo = static_cast<long double>(integer_limit(to, false)), hi = static_cast<long double>(integer_limit(to, true));
  return v < lo ? lo : v > hi ? hi : truncl(v);
}

}  // namespace

TERSOR_TEST(cast_every_pair_of_types) {
  const int64_t n = static_cast<int64_t>(sizeof kSamples / sizeof *kSamples);
  std::vector<unsigned char> samples(sizeof kSamples);
  memcpy(samples.data(), kSamples, sizeof kSamples);
  for (int f = 0; f < static_cast<int>(DType::count); f++)
    for (int t = 0; t < static_cast<int>(DType::count); t++) {
      const DType from = static_cast<DType>(f), to = static_cast<DType>(t);
      const std::vector<unsigned char> in = cast_bytes(samples, DType::f64, from, n);
      const std::vector<unsigned char> out = cast_bytes(in, from, to, n);
      for (int64_t i = 0; i < n; i++) {
        const long double v = read_value(from, in.data() + i * dtype_bytes(from)), got = read_value(to, out.data() + i * dtype_bytes(to));
        if (is_floating(from)) {
          const long double first = expected(kSamples[i], from);
          CHECK_MSG(first != first ? v != v : v == first, "f64 %g -> %s is %Lg, want %Lg", kSamples[i], dtype_name(from), v, first);
        }
        const long double want = expected(v, to);
        CHECK_MSG(want != want ? got != got : got == want, "%s %Lg -> %s is %Lg, want %Lg", dtype_name(from), v, dtype_name(to), got, want);
      }
    }
}

TERSOR_TEST(cast_i64_to_16_bits_rounds_once) {
  for (int i = 0; i < 20000; i++) {
    const int64_t v = static_cast<int64_t>(test::rng()() >> random_int(0, 50)) * (i & 1 ? 1 : -1);
    const std::vector<int64_t> in = {v, (int64_t(0x101) << 52) + 1, (int64_t(0x101) << 52) - 1, int64_t(0x101) << 52};
    test::OpCall<cast_args> call;
    call.args.x = view(DType::i64, in, {4});
    call.args.dtype = DType::bf16;
    CHECK_OK(RUN_OP(call, cast));
    const uint16_t* y = call.args.y.as<uint16_t>();
    // 0x101 << 52 lies midway between two bf16: one more or less decides.
    CHECK(y[1] == y[3] + 1 && y[2] == y[3]);
    const long double got = value16(y[0], 8);
    const long double up = value16(static_cast<uint16_t>(y[0] + 1), 8), down = (y[0] & 0x7fff) ? value16(static_cast<uint16_t>(y[0] - 1), 8) : -up;
    CHECK(fabsl(got - v) <= fabsl(up - v) && fabsl(got - v) <= fabsl(down - v));
  }
}

TERSOR_TEST(cast_strided_and_threads) {
  std::vector<float> x(70000);
  for (float& v : x) v = random_float(-300, 300);
  test::OpCall<cast_args> call;
  call.args.x = view(DType::f32, x, {200, 350});
  call.args.x.stride[0] = 1;
  call.args.x.stride[1] = 200;
  for (DType to : {DType::i8, DType::f16, DType::f32}) {
    call.args.dtype = to;
    test::for_thread_counts([&] {
      CHECK_OK(RUN_OP(call, cast));
      for (int64_t i = 0; i < 200; i++)
        for (int64_t j = 0; j < 350; j++) {
          const float v = x[static_cast<size_t>(j * 200 + i)];
          const int64_t at = i * 350 + j;
          if (to == DType::i8) CHECK(call.args.y.as<int8_t>()[at] == static_cast<int8_t>(std::fmin(127.0f, std::fmax(-128.0f, std::trunc(v)))));
          else if (to == DType::f16) CHECK(call.args.y.as<uint16_t>()[at] == f16_from_f32(v));
          else CHECK(call.args.y.as<float>()[at] == v);
        }
    });
  }
}

}  // namespace tersor
