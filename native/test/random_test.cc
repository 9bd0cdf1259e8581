// Random numbers: known answers, positions, equal bits on every row and thread count, and the first moments.
#include "kernels/random/random.h"

#include "base/random.h"
#include "test/op_call.h"

namespace tersor {
namespace {

using test::list;

bool usable(const RandomRow& row) { return (row.needs & ~isa::allowed()) == 0; }

}  // namespace

TERSOR_TEST(philox_known_answers) {
  // From the reference implementation's kat_vectors (Random123): counter, key, result.
  struct Answer {
    uint64_t low, high, key;
    uint32_t v[4];
  };
  const Answer answers[] = {
      {0, 0, 0, {0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8}},
      {UINT64_MAX, UINT64_MAX, UINT64_MAX, {0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd}},
      {0x85a308d3243f6a88u, 0x0370734413198a2eu, 0x299f31d0a4093822u, {0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1}},
  };
  for (const Answer& a : answers) {
    const Philox p = philox4x32(a.low, a.high, a.key);
    for (int i = 0; i < 4; i++) CHECK_MSG(p.v[i] == a.v[i], "word %d is %08x, want %08x", i, p.v[i], a.v[i]);
  }
}

TERSOR_TEST(random_rows_follow_the_documented_layout) {
  const RandomRow* rows;
  const int count = random_table(&rows);
  const uint64_t seed = 0x123456789abcdef0u, stream = 0xfedcba9876543210u;
  for (int r = 0; r < count; r++) {
    if (!usable(rows[r])) continue;
    for (int64_t first : {int64_t(0), int64_t(64), int64_t(640), int64_t(1) << 34, (int64_t(1) << 34) - 64})
      for (int64_t n : {0, 1, 15, 16, 17, 63, 64, 65, 200}) {
        test::GuardedBuffer uniform(static_cast<size_t>(n) * 4), normal(static_cast<size_t>(n) * 4, test::GuardedBuffer::Side::begin);
        rows[r].kernel({uniform.as<float>(), first, n, seed, stream, false});
        rows[r].kernel({normal.as<float>(), first, n, seed, stream, true});
        for (int64_t k = 0; k < n; k++) {
          const int64_t i = first + k;
          const Philox p = philox4x32(static_cast<uint64_t>(i / 64 * 16 + i % 16), stream, seed);
          const int word = static_cast<int>(i / 16 % 4);
          CHECK_MSG(uniform.as<float>()[k] == static_cast<float>(p.v[word] >> 8) * 0x1p-24f, "%s at %lld", rows[r].function, (long long)i);
          const double u = ((p.v[word & 2] >> 8) + 1.0) * 0x1p-24, t = 6.283185307179586 * (p.v[word | 1] >> 8) * 0x1p-24;
          const double want = std::sqrt(-2 * std::log(u)) * (word & 1 ? std::sin(t) : std::cos(t));
          CHECK_MSG(std::fabs(normal.as<float>()[k] - want) <= 3e-6, "%s at %lld: %g, want %g", rows[r].function, (long long)i, normal.as<float>()[k], want);
        }
      }
  }
}

TERSOR_TEST(random_rows_are_bit_equal) {
  const RandomRow* rows;
  const int count = random_table(&rows);
  std::vector<float> want(100000), y(100000);
  for (int normal = 0; normal < 2; normal++) {
    rows[count - 1].kernel({want.data(), 0, 100000, 7, 1, normal == 1});
    for (int r = 0; r < count; r++) {
      if (!usable(rows[r])) continue;
      rows[r].kernel({y.data(), 0, 100000, 7, 1, normal == 1});
      CHECK_MSG(memcmp(y.data(), want.data(), 400000) == 0, "%s", rows[r].function);
    }
  }
}

TERSOR_TEST(random_ops) {
  std::vector<float> first;
  test::for_thread_counts([&] {
    test::OpCall<random_normal_args> call;
    call.args.shape = list({1000, 333});
    call.args.seed = -5;
    call.args.stream = 9;
    CHECK_OK(RUN_OP(call, random_normal));
    const float* y = call.args.y.as<float>();
    if (first.empty()) first.assign(y, y + 333000);
    CHECK(memcmp(first.data(), y, first.size() * 4) == 0);
  });
  double sum = 0, square = 0, cube = 0, fourth = 0, lag = 0;
  for (size_t i = 0; i < first.size(); i++) {
    const double v = first[i];
    sum += v, square += v * v, cube += v * v * v, fourth += v * v * v * v, lag += i ? v * first[i - 1] : 0;
    CHECK(std::fabs(v) < 5.8);
  }
  const double n = static_cast<double>(first.size()), sigma = 1 / std::sqrt(n);  // bounds: five standard errors
  CHECK(std::fabs(sum / n) < 5 * sigma && std::fabs(square / n - 1) < 5 * sigma * std::sqrt(2.0) && std::fabs(cube / n) < 5 * sigma * std::sqrt(15.0));
  CHECK(std::fabs(fourth / n - 3) < 5 * sigma * std::sqrt(96.0) && std::fabs(lag / n) < 5 * sigma);

  test::OpCall<random_uniform_args> uniform;
  uniform.args.shape = list({200000});
  CHECK_OK(RUN_OP(uniform, random_uniform));
  double mean = 0;
  int bins[16] = {};
  for (int i = 0; i < 200000; i++) {
    const float v = uniform.args.y.as<float>()[i];
    CHECK(v >= 0 && v < 1);
    mean += v;
    bins[static_cast<int>(v * 16)]++;
  }
  CHECK(std::fabs(mean / 200000 - 0.5) < 5 * std::sqrt(1 / 12.0 / 200000));
  double chi = 0;
  for (int b : bins) chi += (b - 12500.0) * (b - 12500.0) / 12500;
  CHECK(chi < 45);  // 15 degrees of freedom: beyond 45 once in 13,000

  std::vector<float> a(uniform.args.y.as<float>(), uniform.args.y.as<float>() + 1000);
  uniform.args.stream = 1;
  CHECK_OK(RUN_OP(uniform, random_uniform));
  CHECK(memcmp(a.data(), uniform.args.y.data, 4000) != 0);
  uniform.args.stream = 0;
  uniform.args.shape = list({10, 100});  // a value depends on its position, not on the shape
  CHECK_OK(RUN_OP(uniform, random_uniform));
  CHECK(memcmp(a.data(), uniform.args.y.data, 4000) == 0);
  uniform.args.shape = list({3, -1});
  CHECK_CODE(RUN_OP(uniform, random_uniform), Code::shape);
  uniform.args.shape = list({INT64_MAX, 2});
  CHECK_CODE(RUN_OP(uniform, random_uniform), Code::limit);
  uniform.args.shape = list({0, 5});
  CHECK_OK(RUN_OP(uniform, random_uniform));
}

}  // namespace tersor
