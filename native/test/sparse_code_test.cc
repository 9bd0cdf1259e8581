#include <chrono>
#include <map>

#include "codecs/bit_model.h"
#include "codecs/crc.h"
#include "codecs/range_coder.h"
#include "test/op_call.h"

namespace tersor {
namespace test {
namespace {

TERSOR_TEST(crc32_known_values_and_continuation) {
  CHECK(crc32("123456789", 9) == 0xCBF43926u);
  CHECK(crc32("", 0) == 0);
  const char text[] = "The quick brown fox jumps over the lazy dog";
  CHECK(crc32(text, 43) == 0x414FA339u);
  for (int cut = 0; cut <= 43; cut++) CHECK(crc32(text + cut, 43 - cut, crc32(text, cut)) == 0x414FA339u);
}

TERSOR_TEST(range_coder_round_trip_at_extreme_probabilities) {
  for (int round = 0; round < 200; round++) {
    const int n = static_cast<int>(random_int(0, 3000));
    std::vector<uint32_t> p(static_cast<size_t>(n));
    std::vector<int> bits(static_cast<size_t>(n));
    double information = 0;
    for (int i = 0; i < n; i++) {
      const uint32_t choices[] = {1, 65535, 32768, static_cast<uint32_t>(random_int(1, 65535))};
      p[static_cast<size_t>(i)] = choices[round % 4 == 3 ? 3 : random_int(0, 3)];
      const bool likely = random_int(0, 65535) < p[static_cast<size_t>(i)];
      bits[static_cast<size_t>(i)] = round % 8 == 7 ? 1 - likely : likely;  // also against the odds: carries and long runs
      const double q = p[static_cast<size_t>(i)] / 65536.0;
      information -= std::log2(bits[static_cast<size_t>(i)] ? q : 1 - q);
    }
    std::vector<uint8_t> out(static_cast<size_t>(n * 2 + 16));
    RangeEncoder encoder(out.data(), static_cast<int64_t>(out.size()));
    for (int i = 0; i < n; i++) encoder.code(bits[static_cast<size_t>(i)], p[static_cast<size_t>(i)]);
    const int64_t size = encoder.finish();
    CHECK(!encoder.full());
    CHECK_MSG(static_cast<double>(size) * 8 <= information * 1.0001 + 16, "%lld bytes for %g bits", static_cast<long long>(size), information);
    RangeDecoder decoder(out.data(), size);
    bool same = true;
    for (int i = 0; i < n; i++) same = same && decoder.code(p[static_cast<size_t>(i)]) == bits[static_cast<size_t>(i)];
    CHECK(same);
    CHECK(decoder.consumed() >= size);
  }
}

TERSOR_TEST(bit_models_are_the_same_everywhere) {
  int previous = 0;
  uint32_t crc = 0;
  for (int x = -3000; x <= 3000; x++) {
    const int p = squash(x);
    CHECK(p >= 1 && p <= 65535 && p >= previous);
    const double exact = 65536 / (1 + std::exp(-x / 256.0));
    CHECK(std::abs(p - exact) <= 1 + 0.003 * std::min(exact, 65536 - exact));
    previous = p;
    crc = crc32(&p, 4, crc);
  }
  const Stretch& stretch = Stretch::get();
  for (uint32_t p = 0; p < 65536; p++) {
    const int s = stretch(p);
    if (p >= 64 && p <= 65472) CHECK(std::abs(squash(s) - static_cast<int>(p)) <= 2 + static_cast<int>(std::min(p, 65536 - p)) / 64);
    crc = crc32(&s, 4, crc);
  }
  CHECK_MSG(crc == 0xeaeda8d8u, "tables changed: codes written before can no longer be read (%08x)", crc);
}

struct Kind {
  int64_t rows, cols;
  double density, column_spread, row_spread, threshold, tail;
};

// Pruned and quantized weights as magnitude pruning leaves them: densities that differ by column (and row), |q| >= threshold with an
// exponential tail.
std::vector<int8_t> pruned_weights(const Kind& k) {
  std::normal_distribution<double> normal;
  std::vector<double> column(static_cast<size_t>(k.cols)), row(static_cast<size_t>(k.rows));
  for (auto& v : column) v = normal(rng()) * k.column_spread;
  for (auto& v : row) v = normal(rng()) * k.row_spread;
  double lo = -30, hi = 30;
  for (int step = 0; step < 40; step++) {
    double sum = 0;
    for (double c : column) sum += 1 / (1 + std::exp(-((lo + hi) / 2 + c)));
    (sum > k.density * static_cast<double>(k.cols) ? hi : lo) = (lo + hi) / 2;
  }
  std::vector<int8_t> q(static_cast<size_t>(k.rows * k.cols));
  std::uniform_real_distribution<double> u(0, 1);
  for (size_t i = 0; i < q.size(); i++) {
    if (u(rng()) >= 1 / (1 + std::exp(-(lo + column[i % column.size()] + row[i / column.size()])))) continue;
    const double size = std::min(127.0, std::round(k.threshold - k.tail * std::log(u(rng()) + 1e-12)));
    q[i] = static_cast<int8_t>(u(rng()) < 0.5 ? -size : size);
  }
  return q;
}

// Bytes that a static model would need which knows each column's density and the distribution of the values for nothing.
double ideal_bytes(const std::vector<int8_t>& q, int64_t rows, int64_t cols) {
  double bits = 0;
  std::map<int, double> counts;
  double nonzero = 0;
  for (int64_t c = 0; c < cols; c++) {
    double ones = 0;
    for (int64_t r = 0; r < rows; r++) {
      const int v = q[static_cast<size_t>(r * cols + c)];
      if (v) ones++, counts[v]++;
    }
    nonzero += ones;
    const double p = ones / static_cast<double>(rows);
    if (p > 0 && p < 1) bits -= static_cast<double>(rows) * (p * std::log2(p) + (1 - p) * std::log2(1 - p));
  }
  for (const auto& entry : counts) bits -= entry.second * std::log2(entry.second / nonzero);
  return bits / 8;
}

Status encode(const std::vector<int8_t>& q, int64_t rows, int64_t cols, std::vector<uint8_t>* code) {
  OpCall<sparse_encode_args> c;
  c.args.q = view(DType::i8, q, {rows, cols});
  TERSOR_TRY(RUN_OP(c, sparse_encode));
  code->assign(c.args.code.as<uint8_t>(), c.args.code.as<uint8_t>() + c.args.code.shape[0]);
  return {};
}

Status decode(const std::vector<uint8_t>& code, int64_t rows, int64_t cols, std::vector<int8_t>* q) {
  const std::unique_ptr<uint8_t[]> exact(new uint8_t[code.size()]);  // no slack: a sanitizer sees each byte read behind the end
  if (!code.empty()) memcpy(exact.get(), code.data(), code.size());
  OpCall<sparse_decode_args> c;
  c.args.code = view(DType::u8, code, {static_cast<int64_t>(code.size())});
  c.args.code.data = exact.get();
  c.args.shape = list({rows, cols});
  TERSOR_TRY(RUN_OP(c, sparse_decode));
  q->assign(c.args.q.as<int8_t>(), c.args.q.as<int8_t>() + c.args.q.size());
  return {};
}

TERSOR_TEST(sparse_code_size_is_near_the_entropy) {
  const Kind kinds[] = {{512, 400, 0.15, 1.2, 0, 20, 15},   {512, 400, 0.15, 1.2, 0.6, 20, 15}, {512, 400, 0.15, 0, 0, 20, 15},
                        {1000, 1000, 0.1, 1, 0, 25, 18},    {300, 784, 0.05, 1.5, 0.5, 25, 20}, {768, 768, 0.5, 0.5, 0.3, 6, 12}};
  for (const Kind& k : kinds) {
    const std::vector<int8_t> q = pruned_weights(k);
    std::vector<uint8_t> code;
    std::vector<int8_t> back;
    CHECK_OK(encode(q, k.rows, k.cols, &code));
    const auto start = std::chrono::steady_clock::now();
    CHECK_OK(decode(code, k.rows, k.cols, &back));
    const double ns = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count() * 1e9 / static_cast<double>(q.size());
    CHECK(back == q);
    const double ideal = ideal_bytes(q, k.rows, k.cols), size = static_cast<double>(code.size());
    CHECK_MSG(size <= 1.02 * ideal, "%lldx%lld, density %g: %g bytes, entropy %g", static_cast<long long>(k.rows), static_cast<long long>(k.cols),
              k.density, size, ideal);
    printf("sparse code %lldx%lld density %.2f: %.0f bytes, %+.2f %% of the static entropy, decoded in %.0f ns a weight\n",
           static_cast<long long>(k.rows), static_cast<long long>(k.cols), k.density, size, 100 * (size / ideal - 1), ns);
  }
}

TERSOR_TEST(sparse_code_round_trip_of_any_matrix) {
  for (int64_t rows : {0, 1, 2, 7, 33})
    for (int64_t cols : {0, 1, 3, 64, 129})
      for (int kind = 0; kind < 6; kind++) {
        std::vector<int8_t> q(static_cast<size_t>(rows * cols));
        for (auto& v : q) {
          if (kind == 1) v = static_cast<int8_t>(random_int(-128, 127));
          if (kind == 2) v = static_cast<int8_t>(random_int(0, 9) ? 0 : random_int(-1, 1));
          if (kind == 3) v = -128;
          if (kind == 4) v = static_cast<int8_t>(random_int(0, 3) ? 0 : random_int(0, 1) ? 127 : -128);
          if (kind == 5) v = static_cast<int8_t>(&v - q.data());
        }
        std::vector<uint8_t> code;
        std::vector<int8_t> back;
        CHECK_OK(encode(q, rows, cols, &code));
        CHECK(code.size() <= q.size() + 16);
        CHECK_OK(decode(code, rows, cols, &back));
        CHECK(back == q);
      }
}

// What a pinned matrix codes to must never change: codes are stored in files.
TERSOR_TEST(sparse_code_is_stable) {
  std::vector<int8_t> q(60 * 50);
  uint32_t state = 1;
  for (auto& v : q) {
    state = state * 1664525u + 1013904223u;
    v = state >> 28 == 0 ? static_cast<int8_t>(state >> 12 & 63) : 0;
  }
  std::vector<uint8_t> code;
  CHECK_OK(encode(q, 60, 50, &code));
  const uint32_t crc = crc32(code.data(), static_cast<int64_t>(code.size()));
  CHECK_MSG(code.size() == 294u && crc == 0x027e1164u, "%zu bytes, CRC %08x", code.size(), crc);
}

TERSOR_TEST(sparse_decode_survives_hostile_codes) {
  const Kind k = {20, 40, 0.2, 1, 0, 10, 15};
  const std::vector<int8_t> q = pruned_weights(k);
  std::vector<uint8_t> good;
  std::vector<int8_t> back;
  CHECK_OK(encode(q, k.rows, k.cols, &good));
  for (size_t n = 0; n < good.size(); n++) {
    const std::vector<uint8_t> cut(good.begin(), good.begin() + static_cast<std::ptrdiff_t>(n));
    CHECK_CODE(decode(cut, k.rows, k.cols, &back), Code::model_format);
  }
  int harmless = 0;
  for (size_t bit = 0; bit < 8 * good.size(); bit++) {
    std::vector<uint8_t> flipped = good;
    flipped[bit / 8] ^= static_cast<uint8_t>(1u << (bit % 8));
    const Status s = decode(flipped, k.rows, k.cols, &back);
    CHECK_MSG(s.ok() ? back == q : s.code == Code::model_format, "bit %zu: %s", bit, s.message);
    harmless += s.ok();
  }
  CHECK_MSG(harmless < 32, "%d flips were not seen", harmless);  // the last bits of the last byte may be free
  for (int i = 0; i < 300; i++) {
    std::vector<uint8_t> noise(static_cast<size_t>(random_int(1, 400)));
    for (auto& v : noise) v = static_cast<uint8_t>(rng()());
    noise[0] = i % 2 ? 0xA1 : 0xA0;
    if (noise.size() > 8 && i % 3) noise[1] = 20, noise[2] = 40, noise[7] = static_cast<uint8_t>(i % 9);
    CHECK_CODE(decode(noise, k.rows, k.cols, &back), Code::model_format);
  }
  std::vector<uint8_t> longer = good;
  longer.push_back(0);
  CHECK_CODE(decode(longer, k.rows, k.cols, &back), Code::model_format);
  CHECK_CODE(decode(good, k.cols, k.rows, &back), Code::model_format);
  CHECK_CODE(decode({}, 0, 0, &back), Code::model_format);
  CHECK_CODE(decode(good, -1, 4, &back), Code::shape);
  CHECK_CODE(decode(good, int64_t(1) << 40, int64_t(1) << 40, &back), Code::limit);
  CHECK_CODE(decode(good, 0, INT64_MAX, &back), Code::model_format);
}

TERSOR_TEST(sparse_code_can_be_cancelled) {
  std::vector<int8_t> q(10000, 1);
  Cancel cancel{true};
  OpCall<sparse_encode_args> c;
  c.cancel = &cancel;
  c.args.q = view(DType::i8, q, {100, 100});
  CHECK_CODE(RUN_OP(c, sparse_encode), Code::aborted);
}

}  // namespace
}  // namespace test
}  // namespace tersor
