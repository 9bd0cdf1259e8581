// bf16 product: every row usable here, and the AMX row on emulated tiles, against double-precision sums of the rounded values, with
// unreadable pages around all operands; then the ops bf16_pack and linear_bf16.
#include "base/float16.h"
#include "cpu/threads.h"
#include "kernels/gemm_bf16/gemm_bf16.h"
#include "test/op_call.h"
#include "test/tile_emulated.h"

#define TERSOR_BF16_FINISH bf16_finish_scalar
#define TERSOR_BF16_NARROW bf16_narrow_scalar
#include "kernels/gemm_bf16/tile_body.h"

using namespace tersor;
using namespace tersor::test;

namespace {

using Side = GuardedBuffer::Side;

const GemmBf16Row kEmulated = {isa::scalar, "gemm_bf16_32x32 on emulated tiles", 32, 16, 32, 2, tile_block, tile_pack};

template <class F> void each_row(F fn) {
  const GemmBf16Row* rows;
  const int n = gemm_bf16_all_rows(&rows);
  for (int i = 0; i < n; i++)
    if ((rows[i].needs & ~isa::allowed()) == 0) fn(rows[i]);
  fn(kEmulated);
}

double rounded(float x) { return static_cast<double>(f32_from_bf16(bf16_from_f32(x))); }

double activated(Act act, double y) {
  switch (act) {
    case Act::relu: return y > 0 ? y : 0;
    case Act::gelu: return 0.5 * y * (1 + std::erf(y * 0.70710678118654752));
    case Act::tanh: return std::tanh(y);
    case Act::sigmoid: return 1 / (1 + std::exp(-y));
    case Act::gelu_tanh: return 0.5 * y * (1 + std::tanh(0.79788456080286536 * (y + 0.044715 * y * y * y)));
    default: return y;
  }
}

struct Problem {
  int64_t m, n, k;
  bool x_bf16 = false, w_bf16 = false, w_transposed = false;
  std::vector<float> x, w;
  Problem(int64_t m_, int64_t n_, int64_t k_) : m(m_), n(n_), k(k_), x(static_cast<size_t>(m_ * k_)), w(static_cast<size_t>(n_ * k_)) {
    for (auto& v : x) v = random_float(-2, 2);
    for (auto& v : w) v = random_float(-1, 1);
  }
  double x_at(int64_t i, int64_t p) const { return rounded(x[static_cast<size_t>(i * k + p)]); }
  double w_at(int64_t j, int64_t p) const { return rounded(w[static_cast<size_t>(j * k + p)]); }
};

// Values as `bf16` says, behind guard pages.
struct Values : GuardedBuffer {
  Values(const std::vector<float>& from, bool bf16, Side side) : GuardedBuffer(from.size() * (bf16 ? 2 : 4), side) {
    for (size_t i = 0; i < from.size(); i++)
      if (bf16) as<uint16_t>()[i] = bf16_from_f32(from[i]);
      else as<float>()[i] = from[i];
  }
};

struct Blob : GuardedBuffer {
  Blob(const Problem& p, Side side) : GuardedBuffer(static_cast<size_t>(bf16_blob_bytes(p.n, p.k)), side) {
    std::vector<float> w = p.w;
    if (p.w_transposed)
      for (int64_t j = 0; j < p.n; j++)
        for (int64_t i = 0; i < p.k; i++) w[static_cast<size_t>(i * p.n + j)] = p.w[static_cast<size_t>(j * p.k + i)];
    const Values from(w, p.w_bf16, side);
    memset(as<char>(), 0xAB, static_cast<size_t>(bf16_blob_bytes(p.n, p.k)));  // the packing must write all of it
    bf16_blob_header(p.n, p.k, as<void>());
    bf16_pack_panels(from.as<void>(), p.w_bf16, p.w_transposed ? 1 : p.k, p.w_transposed ? p.n : 1, p.n, p.k, 0, bf16_panels(p.n), as<void>());
  }
};

void check_row(const GemmBf16Row& row, const Problem& p, bool use_bias, Act act, bool halves, Side side) {
  const Blob blob(p, side);
  const Values x(p.x, p.x_bf16, side);
  CHECK(bf16_blob_fits(blob.as<void>(), bf16_blob_bytes(p.n, p.k), p.n, p.k) && !bf16_blob_fits(blob.as<void>(), bf16_blob_bytes(p.n, p.k), p.n + 1, p.k));
  const int64_t a_row = row.a_row(p.k), y_row = p.n + random_int(0, 5), y_size = p.m > 0 ? (p.m - 1) * y_row + p.n : 0, width = halves ? 2 : 4;
  GuardedBuffer a(static_cast<size_t>(p.m * a_row * row.a_bytes), side), y(static_cast<size_t>(y_size * width), side), bias(static_cast<size_t>(p.n) * 4, side);
  memset(a.as<char>(), 0xFF, static_cast<size_t>(p.m * a_row * row.a_bytes));  // NaN: padding that the packing leaves shows
  memset(y.as<char>(), 0xCD, static_cast<size_t>(y_size * width));
  for (int64_t j = 0; j < p.n; j++) bias.as<float>()[j] = random_float(-3, 3);
  for (int64_t i = 0; i < p.m; i += 32) {  // in pieces, as threads do it
    const int64_t rows = p.m - i < 32 ? p.m - i : 32;
    row.pack({rows, p.k, x.as<char>() + i * p.k * (p.x_bf16 ? 2 : 4), p.k, p.x_bf16, a.as<char>() + i * a_row * row.a_bytes});
  }
  Bf16Block q;
  q.m = p.m, q.n = p.n, q.k = p.k;
  q.a = a.as<void>(), q.b = bf16_blob_panels(blob.as<void>());
  q.bias = use_bias ? bias.as<float>() : nullptr, q.act = act;
  (halves ? q.h = y.as<uint16_t>() : nullptr, halves ? nullptr : q.c = y.as<float>());
  q.y_row = y_row;
  row.block(q);
  for (int64_t i = 0; i < p.m; i++)
    for (int64_t j = 0; j < (i + 1 < p.m ? y_row : p.n); j++) {
      if (j >= p.n) {
        uint32_t gap = 0xCDCDCDCDu;
        memcpy(&gap, y.as<char>() + (i * y_row + j) * width, static_cast<size_t>(width));
        CHECK(gap == 0xCDCDCDCDu);
        continue;
      }
      double sum = 0, size = 0;
      for (int64_t k = 0; k < p.k; k++) {
        const double t = p.x_at(i, k) * p.w_at(j, k);
        sum += t, size += std::fabs(t);
      }
      const double b = use_bias ? static_cast<double>(bias.as<float>()[j]) : 0, want = activated(act, sum + b);
      double bound = static_cast<double>(p.k + 8) * 6e-8 * size + 2e-7 * (std::fabs(sum + b) + std::fabs(want)) + 1e-30;
      if (act != Act::none) bound = 1.2 * bound + 1e-6;
      const float got = halves ? f32_from_bf16(y.as<uint16_t>()[i * y_row + j]) : y.as<float>()[i * y_row + j];
      if (halves) bound += 0.00391 * std::fabs(want);
      CHECK_MSG(std::fabs(static_cast<double>(got) - want) <= bound, "%s %lldx%lldx%lld at %lld,%lld: got %g, want %g, bound %g", row.function, (long long)p.m,
                (long long)p.n, (long long)p.k, (long long)i, (long long)j, static_cast<double>(got), want, bound);
    }
}

void check_emulation() {
  CHECK_MSG(tiles.faults == 0, "%lld tile instructions would have faulted", (long long)tiles.faults);
  CHECK_MSG(!tiles.configured, "tiles were left configured");
}

}  // namespace

TERSOR_TEST(gemm_bf16_rows_equal_the_definition_and_stay_inside) {
  each_row([](const GemmBf16Row& row) {
    int turn = 0;
    const auto check = [&](int64_t m, int64_t n, int64_t k) {
      Problem p(m, n, k);
      turn++;
      p.x_bf16 = turn % 3 == 0, p.w_bf16 = turn % 5 == 0, p.w_transposed = turn % 7 == 0;
      check_row(row, p, turn % 2, static_cast<Act>(turn % 4 ? 0 : turn / 4 % 6), turn % 6 == 0, turn % 2 ? Side::end : Side::begin);
    };
    for (int64_t m = 0; m <= 67; m++) check(m, random_int(1, 70), random_int(1, 70));
    for (int64_t n = 0; n <= 100; n++) check(random_int(0, 40), n, random_int(0, 40));
    for (int64_t k = 0; k <= 67; k++) check(random_int(1, 20), 37, k);
    for (const int64_t n : {31, 32, 255, 256, 257, 300}) check(1, n, 130), check(2, n, 130), check(3, n, 64);
    check(1, 5, 4096), check(33, 40, 1024), check(130, 96, 256), check(96, 96, 512);
  });
  check_emulation();
  CHECK(tiles.loads > 0 && tiles.products > 0);
}

TERSOR_TEST(gemm_bf16_tiles_are_fed_by_one_load_per_product) {
  Problem p(64, 64, 256);
  const int64_t loads = tiles.loads, products = tiles.products, configurations = tiles.configurations;
  check_row(kEmulated, p, false, Act::none, false, Side::end);
  CHECK(tiles.products - products == 4 * 4 * 8);
  CHECK(tiles.loads - loads == tiles.products - products);
  CHECK(tiles.configurations - configurations == 1);
}

TERSOR_TEST(gemm_bf16_rows_pack_alike) {
  const float special[] = {NAN, -NAN, INFINITY, -INFINITY, 3.4e38f, 1e-40f, -1e-45f, 0.0f, -0.0f, 1.00390625f, 1.01171875f, 1.0039063f};
  uint32_t quiet_low = 0x7f800001u;  // a NaN whose payload lies below what bf16 keeps
  float nan_low;
  memcpy(&nan_low, &quiet_low, 4);
  each_row([&](const GemmBf16Row& row) {
    for (int64_t k = 0; k <= 70; k++) {
      std::vector<float> x(static_cast<size_t>(k));
      for (auto& v : x) {
        const int64_t pick = random_int(0, 24);
        v = pick < 12 ? special[pick] : pick == 12 ? nan_low : random_float(-1e3f, 1e3f);
      }
      const Values from(x, false, Side::end), halves(x, true, Side::end);
      for (const bool bf16 : {false, true}) {
        GuardedBuffer a(static_cast<size_t>(row.a_row(k) * row.a_bytes), Side::end);
        row.pack({1, k, bf16 ? halves.as<void>() : from.as<void>(), k, bf16, a.as<void>()});
        for (int64_t i = 0; i < row.a_row(k); i++) {
          uint32_t got = 0;
          memcpy(&got, a.as<char>() + i * row.a_bytes, static_cast<size_t>(row.a_bytes));
          if (row.a_bytes == 4) {
            CHECK((got & 0xffff) == 0);
            got >>= 16;
          }
          CHECK(got == (i < k ? bf16_from_f32(x[static_cast<size_t>(i)]) : 0u));
        }
      }
    }
  });
}

TERSOR_TEST(gemm_bf16_rows_pass_infinities_and_nan_on) {
  each_row([](const GemmBf16Row& row) {
    for (const int64_t m : {1, 2, 5, 40}) {
      Problem p(m, 40, 33);
      p.x[32] = INFINITY;
      p.w[3 * 33 + 7] = NAN;
      const Blob blob(p, Side::end);
      std::vector<char> a(static_cast<size_t>(m * row.a_row(33) * row.a_bytes));
      std::vector<float> y(static_cast<size_t>(m * 40));
      row.pack({m, 33, p.x.data(), 33, false, a.data()});
      Bf16Block q;
      q.m = m, q.n = 40, q.k = 33, q.a = a.data(), q.b = bf16_blob_panels(blob.as<void>()), q.c = y.data(), q.y_row = 40;
      row.block(q);
      for (int64_t i = 0; i < m; i++)
        for (int64_t j = 0; j < 40; j++) {
          const float got = y[static_cast<size_t>(i * 40 + j)];
          if (j == 3) CHECK(got != got);
          else if (i == 0) CHECK(std::isinf(got) && (got > 0) == (p.w_at(j, 32) > 0));
          else CHECK(std::isfinite(got));
        }
    }
  });
  check_emulation();
}

TERSOR_TEST(gemm_bf16_instruction_and_emulation_agree_on_blocks_of_any_rows) {
  // Each row gives a row of C the same bits whatever the block it is computed in (but for blocks of a single row).
  each_row([](const GemmBf16Row& row) {
    Problem p(96, 70, 77);
    const Blob blob(p, Side::end);
    const int64_t a_row = row.a_row(77);
    std::vector<char> a(static_cast<size_t>(96 * a_row * row.a_bytes));
    row.pack({96, 77, p.x.data(), 77, false, a.data()});
    std::vector<float> whole(96 * 70), part(96 * 70);
    Bf16Block q;
    q.m = 96, q.n = 70, q.k = 77, q.a = a.data(), q.b = bf16_blob_panels(blob.as<void>()), q.c = whole.data(), q.y_row = 70;
    row.block(q);
    for (int64_t i = 0; i < 96; i += 32)
      for (int64_t j = 0; j < 70; j += 32) {
        q.m = 32, q.n = 70 - j < 32 ? 70 - j : 32;
        q.a = a.data() + i * a_row * row.a_bytes, q.b = bf16_blob_panels(blob.as<void>()) + j / 32 * bf16_panel_elements(77);
        q.c = part.data() + i * 70 + j;
        row.block(q);
      }
    CHECK(whole == part);
  });
}
