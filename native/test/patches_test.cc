// Products with chosen patches, each row against the definition, with guard pages on either side.
#include "kernels/patches/patches.h"
#include <cmath>
#include <vector>

#include "test/op_call.h"

namespace tersor {
namespace test {
namespace {

using Side = GuardedBuffer::Side;

// Calls f with every row that runs here, for both sides.
template <class F> void each_row(const F& f) {
  const PatchesRow* rows;
  const int count = patches_all_rows(&rows);
  for (int r = 0; r < count; r++)
    for (Side side : {Side::end, Side::begin})
      if ((rows[r].needs & ~isa::detected()) == 0) f(rows[r], side);
}
void fill(float* x, int64_t n) {
  for (int64_t i = 0; i < n; i++) x[i] = static_cast<float>(random_int(-100, 100)) / 64;
}
bool close(double a, double b) { return std::abs(a - b) <= 1e-4 * (1 + std::abs(b)); }

TERSOR_TEST(patches_lists_keep_what_is_not_zero) {
  each_row([](const PatchesRow& row, Side side) {
    for (int64_t n : {1, 5, 16, 25, 33})
      for (int64_t pw : {1, 2, 3})
        for (bool all : {false, true}) {
          const int32_t width = 40, down = 1000, right = 8;
          const size_t bytes = static_cast<size_t>(n) * 4;
          GuardedBuffer value(bytes, side), index(bytes, side), first(bytes, side), base(bytes, side), values(bytes + 60, side), at(bytes + 60, side);
          std::vector<float> want_values;
          std::vector<int32_t> want_at;
          for (int64_t i = 0; i < n; i++) {
            const int32_t r = static_cast<int32_t>(random_int(0, 1)), c = static_cast<int32_t>(random_int(0, pw - 1));
            first.as<int32_t>()[i] = static_cast<int32_t>(3 * i), base.as<int32_t>()[i] = static_cast<int32_t>(100 * i);
            index.as<int32_t>()[i] = static_cast<int32_t>(3 * i) + r * width + c;
            value.as<float>()[i] = static_cast<float>(random_int(-1, 1));
            if (!all && value.as<float>()[i] == 0) continue;
            want_values.push_back(value.as<float>()[i]), want_at.push_back(static_cast<int32_t>(100 * i) + r * down + c * right);
          }
          const PatchList a{all ? nullptr : value.as<float>(), index.as<int32_t>(), n, 2, pw, first.as<int32_t>(), width, base.as<int32_t>(), down, right,
                            values.as<float>(), at.as<int32_t>()};
          const int64_t got = row.list(a);
          CHECK_MSG(got == static_cast<int64_t>(want_at.size()), "%s_list of %lld windows: %lld", row.function, static_cast<long long>(n), static_cast<long long>(got));
          for (size_t i = 0; i < want_at.size(); i++) CHECK(at.as<int32_t>()[i] == want_at[i] && (all || values.as<float>()[i] == want_values[i]));
          index.as<int32_t>()[n - 1] = static_cast<int32_t>(3 * (n - 1) + pw);  // the window to the right
          CHECK(row.list(a) == -1);
          index.as<int32_t>()[n - 1] = INT32_MIN;
          CHECK(row.list(a) == -1);
        }
  });
}

TERSOR_TEST(patches_products) {
  each_row([](const PatchesRow& row, Side side) {
    for (int rows : {3, 5})
      for (int vectors : {1, 2, 3})
        for (int64_t n : {0, 1, 4, 15, 16, 17, 37}) {
          const int64_t pitch = 48, width = vectors * 16, filter = rows * width, last = 31;
          GuardedBuffer plane(static_cast<size_t>((rows - 1) * pitch + last + width) * 4, side), at(static_cast<size_t>(n) * 4, side), v(static_cast<size_t>(n) * 4, side),
              w(static_cast<size_t>(filter) * 4, side), out(static_cast<size_t>(n) * 4, side);
          fill(plane.as<float>(), (rows - 1) * pitch + last + width), fill(w.as<float>(), filter), fill(v.as<float>(), n);
          for (int64_t i = 0; i < n; i++) at.as<int32_t>()[i] = static_cast<int32_t>(i == 0 ? last : random_int(0, last));
          const auto patch = [&](int64_t i, int64_t r, int64_t e) { return plane.as<float>() + at.as<int32_t>()[i] + r * pitch + e; };
          if (patch_sizes(rows, vectors)) {
            row.dot({plane.as<float>(), pitch, rows, vectors, at.as<int32_t>(), n, w.as<float>(), out.as<float>()});
            for (int64_t i = 0; i < n; i++) {
              double sum = 0;
              for (int64_t e = 0; e < filter; e++) sum += double(*patch(i, e / width, e % width)) * w.as<float>()[e];
              CHECK_MSG(close(out.as<float>()[i], sum), "%s_dot %d x %d, %lld of %lld", row.function, rows, vectors, (long long)i, (long long)n);
            }
            std::vector<double> total(w.as<float>(), w.as<float>() + filter);
            for (int64_t i = 0; i < n; i++)
              for (int64_t e = 0; e < filter; e++) total[static_cast<size_t>(e)] += double(*patch(i, e / width, e % width)) * v.as<float>()[i];
            row.sum({plane.as<float>(), pitch, rows, vectors, at.as<int32_t>(), v.as<float>(), n, w.as<float>()});
            for (int64_t e = 0; e < filter; e++) CHECK_MSG(close(w.as<float>()[e], total[static_cast<size_t>(e)]), "%s_sum %d x %d", row.function, rows, vectors);
          }
          if (!patch_spread_sizes(vectors)) continue;
          for (int64_t step : {4, 8, 16}) {
            const size_t plane_bytes = static_cast<size_t>((rows - 1) * pitch + 16 + width) * 4;
            GuardedBuffer sums(plane_bytes, side), copies(static_cast<size_t>(16 / step * filter) * 4, side);
            fill(sums.as<float>(), static_cast<int64_t>(plane_bytes / 4)), fill(copies.as<float>(), 16 / step * filter);
            std::vector<double> want(sums.as<float>(), sums.as<float>() + plane_bytes / 4);
            for (int64_t i = 0; i < n; i++) {
              const int64_t begin = at.as<int32_t>()[i] / step * step, inside = begin % 16;
              at.as<int32_t>()[i] = static_cast<int32_t>(begin);
              for (int64_t e = 0; e < filter; e++)
                want[static_cast<size_t>(begin - inside + e / width * pitch + e % width)] += double(v.as<float>()[i]) * copies.as<float>()[inside / step * filter + e];
            }
            row.spread({sums.as<float>(), pitch, rows, vectors, at.as<int32_t>(), v.as<float>(), n, copies.as<float>(), step, filter});
            for (size_t e = 0; e < want.size(); e++) CHECK_MSG(close(sums.as<float>()[e], want[e]), "%s_spread %d x %d", row.function, rows, vectors);
          }
        }
  });
}

TERSOR_TEST(patches_pixels_and_back) {
  each_row([](const PatchesRow& row, Side side) {
    for (int64_t count = 1; count <= 8; count++)
      for (int64_t n : {0, 1, 3, 4, 5, 14, 17})
        for (int64_t step : {count, int64_t(8)}) {
          const int64_t plane = n + 2;
          const size_t bytes = static_cast<size_t>(n > 0 ? (count - 1) * plane + n : 0) * 4, room = static_cast<size_t>(n > 0 ? (n - 1) * step + 8 : 0) * 4;
          GuardedBuffer channels(bytes, side), image(room, side), back(bytes, side);
          for (size_t i = 0; i < bytes / 4; i++) channels.as<float>()[i] = static_cast<float>(i) + 0.5f, back.as<float>()[i] = -7;
          row.pixels({channels.as<float>(), image.as<float>(), plane, count, n, step});
          bool same = true;
          for (int64_t p = 0; p < n; p++)
            for (int64_t c = 0; c < (p + 1 < n ? step : 8); c++)
              same = same && image.as<float>()[p * step + c] == (c < count ? static_cast<float>(c * plane + p) + 0.5f : 0.0f);
          row.images({image.as<float>(), back.as<float>(), plane, count, n, step});
          for (size_t i = 0; i < bytes / 4; i++)
            same = same && back.as<float>()[i] == (static_cast<int64_t>(i) % plane < n ? static_cast<float>(i) + 0.5f : -7.0f);
          CHECK_MSG(same, "%s: %lld channels, %lld pixels of %lld", row.function, (long long)count, (long long)n, (long long)step);
        }
  });
}

TERSOR_TEST(patches_finite) {
  each_row([](const PatchesRow& row, Side side) {
    for (int64_t n : {0, 1, 16, 37}) {
      GuardedBuffer x(static_cast<size_t>(n) * 4, side);
      for (int64_t i = 0; i < n; i++) x.as<float>()[i] = i % 2 ? 3e38f : -1e-45f;
      CHECK(row.finite(x.as<float>(), n));
      for (const float bad : {INFINITY, -INFINITY, NAN})
        if (n > 0) {
          x.as<float>()[n - 1] = bad;
          CHECK(!row.finite(x.as<float>(), n));
        }
    }
  });
}

}  // namespace
}  // namespace test
}  // namespace tersor
