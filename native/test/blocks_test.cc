// Block formats: every row gives the bits of the scalar one, the codes are never worse than plain rounding, extremes stay finite.
#include "kernels/blocks/blocks.h"
#include <cmath>

#include "test/op_call.h"

namespace tersor {
namespace test {
namespace {

using Side = GuardedBuffer::Side;

const BlocksRow& reference_of(const BlocksRow* rows, int n, const char* variant) {
  int last = 0;
  for (int i = 0; i < n; i++)
    if (!strcmp(rows[i].variant, variant)) last = i;
  return rows[last];
}

// Distributions that a search may stumble over: wide, far from zero, constant, single outlier, tiny, huge, exact codes.
void fill(float* x, int64_t n, int kind) {
  for (int64_t i = 0; i < n; i++) switch (kind) {
      case 0: x[i] = random_float(-1, 1) * random_float(0, 1); break;
      case 1: x[i] = 100 + random_float(0, 1); break;
      case 2: x[i] = -100 + random_float(0, 1); break;
      case 3: x[i] = 0; break;
      case 4: x[i] = -0.75f; break;
      case 5: x[i] = i % 32 == 7 ? 1000.0f : random_float(-0.01f, 0.01f); break;
      case 6: x[i] = random_float(-1, 1) * 1e-41f; break;
      case 7: x[i] = random_float(-1, 1) * kLargestInBlock; break;
      case 8: x[i] = static_cast<float>(random_int(-8, 7)) * 0.5f; break;
      default: x[i] = i % 5 == 0 ? random_float(-1, 1) : 0.0f;
    }
}
constexpr int kKinds = 10;

TERSOR_TEST(blocks_rows_equal_the_reference) {
  const BlocksRow* rows;
  const int count = blocks_table(&rows);
  for (int r = 0; r < count; r++) {
    if ((rows[r].needs & ~isa::detected()) != 0) continue;
    const bool encode = !strcmp(rows[r].variant, "encode");
    const BlocksRow& reference = reference_of(rows, count, rows[r].variant);
    for (int f = 0; f < 5; f++) {
      const BlockSize size = kBlockSizes[f];
      for (int64_t blocks : {0, 1, 2, 3})
        for (int kind = 0; kind < kKinds; kind++) {
          const Side side = kind % 2 ? Side::begin : Side::end;
          const size_t values = static_cast<size_t>(blocks * size.values) * 4, bytes = static_cast<size_t>(blocks * size.bytes);
          GuardedBuffer in(encode ? values : bytes, side), out(encode ? bytes : values, side), want(encode ? bytes : values, side);
          if (encode) fill(in.as<float>(), blocks * size.values, kind);
          else
            for (size_t i = 0; i < bytes; i++) in.as<uint8_t>()[i] = static_cast<uint8_t>(random_int(0, 255));
          const BlockFormat format = static_cast<BlockFormat>(f);
          CHECK(rows[r].kernel({in.as<void>(), out.as<void>(), blocks, format}) == -1);
          CHECK(reference.kernel({in.as<void>(), want.as<void>(), blocks, format}) == -1);
          bool same = encode ? memcmp(out.as<void>(), want.as<void>(), bytes) == 0 : true;
          if (!encode)  // any bytes are legal, also scales that are NaN: those need not keep their sign and payload
            for (int64_t i = 0; i < blocks * size.values; i++) {
              const float a = out.as<float>()[i], b = want.as<float>()[i];
              same = same && (std::isnan(b) ? std::isnan(a) : memcmp(&a, &b, 4) == 0);
            }
          CHECK_MSG(same, "%s: format %d, %lld blocks, kind %d", rows[r].function, f, static_cast<long long>(blocks), kind);
        }
    }
  }
}

// What a straightforward encoder gets: the largest magnitude (the range) on the outermost codes, in parts of 32 (q6_k: 16), scales not rounded.
double plain_error(const float* x, int64_t n, BlockFormat format) {
  const bool affine = format == BlockFormat::q4_1 || format == BlockFormat::q4_k;
  const int part = format == BlockFormat::q6_k ? 16 : 32, top = format == BlockFormat::q8_0 ? 127 : format == BlockFormat::q6_k ? 31 : 7;
  double total = 0;
  for (int64_t p = 0; p < n; p += part) {
    double lo = affine && format == BlockFormat::q4_k ? 0 : x[p], hi = x[p], most = 0;
    for (int i = 0; i < part; i++) lo = std::fmin(lo, x[p + i]), hi = std::fmax(hi, x[p + i]), most = std::fmax(most, std::fabs(x[p + i]));
    const double d = affine ? (hi - lo) / 15 : most / top, m = affine ? lo : 0;
    for (int i = 0; i < part; i++) {
      const double left = x[p + i] - m - d * (d > 0 ? std::nearbyint((x[p + i] - m) / d) : 0);
      total += left * left;
    }
  }
  return total;
}

TERSOR_TEST(blocks_are_at_least_as_good_as_plain_rounding) {
  for (int f = 0; f < 5; f++) {
    const BlockFormat format = static_cast<BlockFormat>(f);
    const BlockSize size = kBlockSizes[f];
    const int64_t blocks = 4096 / size.values;
    std::vector<float> x(4096), y(4096);
    std::vector<uint8_t> out(static_cast<size_t>(blocks * size.bytes));
    for (int kind = 0; kind < kKinds; kind++) {
      fill(x.data(), 4096, kind);
      CHECK(blocks_encode({x.data(), out.data(), blocks, format}) == -1);
      blocks_decode({out.data(), y.data(), blocks, format});
      double error = 0, most = 0;
      for (int i = 0; i < 4096; i++) {
        CHECK_MSG(std::isfinite(y[i]), "format %d, kind %d: %g", f, kind, y[i]);
        error += (static_cast<double>(x[i]) - y[i]) * (static_cast<double>(x[i]) - y[i]), most = std::fmax(most, std::fabs(x[i]));
      }
      // Scales in half precision: 2^-11 of the largest value, or 2^-25 where they are that small.
      const double slack = most * 4.9e-4 + 3e-8 * 128;
      CHECK_MSG(std::sqrt(error / 4096) <= 1.02 * std::sqrt(plain_error(x.data(), 4096, format) / 4096) + slack, "format %d, kind %d: %g after %g", f, kind,
                std::sqrt(error / 4096), std::sqrt(plain_error(x.data(), 4096, format) / 4096));
    }
  }
}

TERSOR_TEST(blocks_find_the_first_value_that_no_block_holds) {
  const BlocksRow* rows;
  const int count = blocks_table(&rows);
  for (int r = 0; r < count; r++) {
    if ((rows[r].needs & ~isa::detected()) != 0 || strcmp(rows[r].variant, "encode")) continue;
    std::vector<float> x(512, 1.0f);
    std::vector<uint8_t> out(1024);
    for (float bad : {NAN, INFINITY, -INFINITY, kLargestInBlock * 1.001f, -kLargestInBlock * 1.001f}) {
      x[300] = bad, x[411] = bad;
      CHECK(rows[r].kernel({x.data(), out.data(), 16, BlockFormat::q8_0}) == 300);
      x[300] = x[411] = 1;
    }
  }
}

}  // namespace
}  // namespace test
}  // namespace tersor
