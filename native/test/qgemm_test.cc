// Integer matrix product: every row usable here against 64-bit sums, exact, with unreadable pages around all operands.
#include "test/qgemm_problem.h"

using namespace tersor;
using namespace tersor::test;
using namespace tersor::test::qgemm;

TERSOR_TEST(qgemm_rows_are_exact_and_stay_inside) {
  each_row([](const QgemmRow& row) {
    const int wide = 2 * 8 * row.layout.nr + 1, tall = 2 * row.mr + 1;
    for (int n = 0; n <= wide; n += n < 40 ? 1 : 13) {
      const Problem p(random_in(0, 4), n, random_in(0, 40));
      check_row(row, p, static_cast<QgemmAct>(n % 6), n % 3 ? Side::end : Side::begin);
    }
    for (int m = 0; m <= tall; m++) {
      check_row(row, Problem(m, random_in(1, wide), random_in(1, 70)), QgemmAct::none, m % 2 ? Side::end : Side::begin);
      check_row(row, Problem(m, m % 3 ? 64 : 96, random_in(1, 70)), QgemmAct::relu, m % 2 ? Side::begin : Side::end);  // whole blocks of columns
    }
    for (int k = 0; k <= 67; k++) check_row(row, Problem(3, row.layout.nr + 5, k), QgemmAct::relu, k % 2 ? Side::end : Side::begin);
  });
}

TERSOR_TEST(qgemm_rows_do_not_saturate) {
  each_row([](const QgemmRow& row) {
    for (const int64_t k : {2, 4, 64, 259, 4096}) {
      Problem p(row.mr + 1, row.np * row.layout.nr + 3, k);
      p.extreme();
      check_sums(row, p, 0);
      check_sums(row, p, 255);
    }
  });
}

// Rows may block M, N and K in steps of their own: sizes around and beyond them, with tame, wild and mixed weights.
TERSOR_TEST(qgemm_rows_are_exact_across_blocks) {
  each_row([](const QgemmRow& row) {
    const int sizes[][3] = {{1, 145, 4132}, {2, 17, 520}, {67, 145, 530}, {130, 33, 70}, {64, 128, 512}, {5, 300, 1030}};
    for (const auto& s : sizes)
      for (const int wild : {16, 0, 4}) {  // of 16 values of k, so many may leave 16 bits in pairs
        Problem p(s[0], s[1], s[2]);
        for (size_t i = 0; i < p.w.size(); i++)
          if (static_cast<int64_t>(i) % p.k % 16 >= wild) p.w[i] = static_cast<int8_t>(p.w[i] / 2);
        check_sums(row, p, 128);
      }
  });
}

// Groups of weights on both sides of the bound where pairs of products leave 16 bits, and groups of zeros, mixed.
TERSOR_TEST(qgemm_rows_are_exact_where_pairs_touch_16_bits) {
  each_row([](const QgemmRow& row) {
    const int edge[][2] = {{64, 64}, {-64, -64}, {127, 1}, {127, 2}, {-128, 0}, {-128, -1}, {65, 64}, {127, -128}, {0, 0}};
    for (const int64_t k : {8, 130, 516, 1400}) {
      Problem p(row.mr + 2, 2 * row.layout.nr + 3, k);
      for (size_t i = 0; i < p.x.size(); i++) p.x[i] = random_in(0, 3) ? 255 : 0;
      const int rare = static_cast<int>(k % 3) * 20 + 1;
      for (size_t i = 0; i + 1 < p.w.size(); i += 2) {
        const int* e = edge[(i / 64) % 3 ? 8 : random_in(0, rare) ? 0 : random_in(0, 8)];
        p.w[i] = static_cast<int8_t>(e[0]), p.w[i + 1] = static_cast<int8_t>(e[1]);
      }
      check_sums(row, p, 0);
      check_sums(row, p, 128);
    }
  });
}

// The plain sums pass 2^31 long before the result does: they wrap, and what is left after the zero point is exact.
TERSOR_TEST(qgemm_rows_are_exact_as_long_as_the_result_fits) {
  each_row([](const QgemmRow& row) {
    for (const int64_t k : {65793, 65794, 131071}) {
      Problem p(1, 2, k);
      for (auto& v : p.x) v = 0;
      for (size_t i = 0; i < p.w.size(); i++) p.w[i] = -128;
      check_sums(row, p, 128);  // 128 * 128 * K, just below 2^31 at the last K
      for (auto& v : p.x) v = 255;
      check_sums(row, p, 128);
      if (k <= 65793) check_sums(row, p, 0);
    }
    Problem deep(2, 17, 200000);  // random signs: far from the limit of the result, far beyond that of the sums
    check_sums(row, deep, 128);
  });
}

TERSOR_TEST(qgemm_blob_headers_are_checked) {
  const QgemmLayout& layout = qgemm_layout();
  const Problem p(0, 21, 70);
  const int64_t bytes = qgemm_blob_bytes(layout, 21, 70);
  GuardedBuffer buffer(static_cast<size_t>(bytes) + 64, Side::begin);
  char* const blob = buffer.as<char>();
  qgemm_blob_header(layout, 21, 70, blob);
  qgemm_pack_blob(layout, p.w.data(), 70, 21, 70, 0, layout.panels(21), blob);
  CHECK(qgemm_blob_fits(layout, blob, bytes, 21, 70));
  CHECK(!qgemm_blob_fits(layout, blob, bytes - 64, 21, 70));
  CHECK(!qgemm_blob_fits(layout, blob, bytes, 20, 70));
  CHECK(!qgemm_blob_fits(layout, blob, bytes, 21, 69));
  memmove(blob + 8, blob, static_cast<size_t>(bytes));
  CHECK(!qgemm_blob_fits(layout, blob + 8, bytes, 21, 70));  // misaligned
  memmove(blob, blob + 8, static_cast<size_t>(bytes));
  CHECK(qgemm_blob_fits(layout, blob, bytes, 21, 70));
  for (size_t i = 0; i < sizeof(QgemmHeader); i++) {  // any changed byte of the header
    blob[i] ^= 0x40;
    CHECK(!qgemm_blob_fits(layout, blob, bytes, 21, 70));
    blob[i] ^= 0x40;
  }
}

TERSOR_TEST(qgemm_rows_quantize_alike) {
  each_row([](const QgemmRow& row) {
    for (int n = 0; n <= 40; n++) {
      GuardedBuffer x(static_cast<size_t>(n) * 4, n % 2 ? Side::end : Side::begin), q(static_cast<size_t>(n), n % 2 ? Side::end : Side::begin);
      const int zero = random_in(0, 255);
      const float scale = n % 3 ? 0.037f : 1.0f;
      const float special[] = {NAN, INFINITY, -INFINITY, 3e38f, -3e38f, 0.5f, 1.5f, 2.5f, -0.5f, -1.5f, 1e-45f, -0.0f};
      for (int i = 0; i < n; i++) {
        const int pick = random_in(0, 30);
        x.as<float>()[i] = pick < 12 ? special[pick] : static_cast<float>(random_in(-600, 600)) * scale * 0.5f;
      }
      row.width->quantize({x.as<float>(), n, scale, zero, q.as<uint8_t>()});
      for (int i = 0; i < n; i++) {
        const int got = q.as<uint8_t>()[i];
        CHECK_MSG(got == quantized(x.as<float>()[i], scale, zero), "%s: %g / %g + %d gave %d", row.function, (double)x.as<float>()[i], (double)scale, zero, got);
      }
    }
  });
}

TERSOR_TEST(qgemm_rows_quantize_dynamically_alike) {
  each_row([](const QgemmRow& row) {
    for (int n = 0; n <= 70; n++)
      for (const bool symmetric : {false, true}) {
        const Side side = n % 2 ? Side::end : Side::begin;
        GuardedBuffer x(static_cast<size_t>(n) * 4, side), q(static_cast<size_t>(n), side);
        const float size[] = {0.0f, 1e-42f, 1e-30f, 1.0f, 3e30f};
        float lo = 0, hi = 0;
        for (int i = 0; i < n; i++) {
          x.as<float>()[i] = static_cast<float>(random_in(n % 4 == 0 ? 0 : -600, 500)) * size[n % 5];
          lo = std::fmin(lo, x.as<float>()[i]), hi = std::fmax(hi, x.as<float>()[i]);
        }
        float scale = symmetric ? std::fmax(-lo, hi) / 127.0f : hi / 255.0f - lo / 255.0f;
        scale = std::fmax(scale, 1.17549435e-38f);
        const int zero = symmetric ? 128 : static_cast<int>(std::nearbyint(-lo / scale));
        QgemmDynamic d{x.as<float>(), n, symmetric, q.as<uint8_t>(), -1, -1};
        row.width->dynamic(d);
        CHECK(d.scale == scale && d.zero == zero);
        for (int i = 0; i < n; i++) {
          const float v = std::nearbyint(x.as<float>()[i] * (1.0f / scale)) + static_cast<float>(zero), least = symmetric ? 1.0f : 0.0f;
          CHECK(static_cast<float>(q.as<uint8_t>()[i]) == (v < least ? least : v > 255 ? 255 : v));
        }
        for (const float bad : {NAN, INFINITY, -INFINITY}) {
          if (n == 0) break;
          x.as<float>()[random_in(0, n - 1)] = bad;
          row.width->dynamic(d);
          CHECK(d.scale != d.scale && d.zero >= 0 && d.zero <= 255);
        }
      }
  });
}

TERSOR_TEST(qgemm_joined_blobs_are_the_blob_of_all_rows) {
  each_row([](const QgemmRow& row) {
    for (const int64_t k : {0, 1, 67, 600}) {
      const int64_t nr = row.layout.nr, n[3] = {nr, 3 * nr, 2 * nr};
      std::vector<int8_t> w(static_cast<size_t>(6 * nr * k));
      for (int8_t& v : w) v = static_cast<int8_t>(random_in(0, 3) ? random_in(-128, 127) : 0);
      const auto blob = [&](int64_t from, int64_t rows) {
        std::vector<char> made(static_cast<size_t>(qgemm_blob_bytes(row.layout, rows, k)));
        qgemm_blob_header(row.layout, rows, k, made.data());
        qgemm_pack_blob(row.layout, w.data() + from * k, k, rows, k, 0, row.layout.panels(rows), made.data());
        return made;
      };
      const std::vector<char> whole = blob(0, 6 * nr), a = blob(0, n[0]), b = blob(n[0], n[1]), c = blob(n[0] + n[1], n[2]);
      const void* parts[] = {a.data(), b.data(), c.data()};
      GuardedBuffer joined(whole.size(), Side::begin);
      qgemm_join_blobs(row.layout, parts, n, 3, k, joined.as<void>());
      CHECK(memcmp(joined.as<void>(), whole.data(), whole.size()) == 0);
    }
  });
}
