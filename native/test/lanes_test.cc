// Transposes between images and blocks, each row against the definition, with guard pages on either side.
#include "kernels/lanes/lanes.h"
#include <cmath>
#include <vector>

#include "test/op_call.h"

namespace tersor {
namespace test {
namespace {

using Side = GuardedBuffer::Side;

TERSOR_TEST(lanes_rows_move_every_element_and_no_other) {
  const LanesRow* rows;
  const int count = lanes_all_rows(&rows);
  for (int r = 0; r < count; r++) {
    const LanesRow& row = rows[r];
    if ((row.needs & ~isa::detected()) != 0) continue;
    const int64_t lanes = row.lanes;
    for (int64_t n : {0, 1, 3, 4, 5, 7, 8, 9, 15, 16, 17, 31, 37, 64})
      for (int images : {1, row.lanes - 1, row.lanes})
        for (Side side : {Side::end, Side::begin}) {
          const int64_t step = n + 3, positions = n + 2;
          const size_t bytes = static_cast<size_t>(n > 0 ? (images - 1) * step + n : 0) * 4;
          GuardedBuffer image(bytes, side), block(static_cast<size_t>(positions * lanes) * 4, side), at(static_cast<size_t>(n) * 4, side), back(bytes, side);
          for (size_t i = 0; i < bytes / 4; i++) image.as<float>()[i] = static_cast<float>(i) + 0.5f, back.as<float>()[i] = -7;
          for (int64_t i = 0; i < positions * lanes; i++) block.as<float>()[i] = -1;
          for (int64_t p = 0; p < n; p++) at.as<int32_t>()[p] = p % 5 == 3 ? -1 : static_cast<int32_t>(n - p);  // reversed, from position 1 on
          row.gather({image.as<float>(), step, images, n, at.as<int32_t>(), block.as<float>()});
          bool same = true;
          for (int64_t e = 0; e < positions; e++)
            for (int64_t i = 0; i < lanes; i++) {
              const int64_t p = n - e;
              const bool written = e >= 1 && p >= 0 && p < n && p % 5 != 3;
              const float want = !written ? -1.0f : i < images ? static_cast<float>(i * step + p) + 0.5f : 0.0f;
              same = same && block.as<float>()[e * lanes + i] == want;
            }
          CHECK_MSG(same, "%s_gather: n %lld, images %d", row.function, static_cast<long long>(n), images);

          for (int64_t i = 0; i < positions * lanes; i++) block.as<float>()[i] = static_cast<float>(i);
          for (int64_t p = 0; p < n; p++) at.as<int32_t>()[p] = static_cast<int32_t>(n - p);
          row.scatter({block.as<float>(), at.as<int32_t>(), n, back.as<float>(), step, images});
          same = true;
          for (int i = 0; i < images; i++)
            for (int64_t p = 0; p < step; p++) {
              if (i * step + p >= static_cast<int64_t>(bytes / 4)) break;
              same = same && back.as<float>()[i * step + p] == (p < n ? static_cast<float>((n - p) * lanes + i) : -7.0f);
            }
          CHECK_MSG(same, "%s_scatter: n %lld, images %d", row.function, static_cast<long long>(n), images);
        }
  }
}

TERSOR_TEST(lanes_windows_expand_pool_and_select) {
  const LanesRow* rows;
  const int count = lanes_all_rows(&rows);
  for (int r = 0; r < count; r++) {
    const LanesRow& row = rows[r];
    if ((row.needs & ~isa::detected()) != 0) continue;
    const int64_t L = row.lanes;
    for (int64_t columns : {0, 1, 5})
      for (int64_t ph : {1, 2, 3})
        for (int64_t pw : {1, 2})
          for (Side side : {Side::end, Side::begin}) {
            const int64_t pitch = columns * pw + 1, dense_positions = columns > 0 ? (ph - 1) * pitch + columns * pw : 0, plane_row = 40;
            GuardedBuffer dense(static_cast<size_t>(dense_positions * L) * 4, side), value(static_cast<size_t>(columns * L) * 4, side),
                index(static_cast<size_t>(columns * L) * 4, side);
            const float values[] = {-INFINITY, -1, -0.0f, 0, 1, 1, 2, INFINITY, NAN};
            for (int64_t i = 0; i < dense_positions * L; i++) dense.as<float>()[i] = values[random_int(0, 8)];
            const std::vector<float> before(dense.as<float>(), dense.as<float>() + dense_positions * L);
            LanesWindows w{columns, ph, pw, 0, ph, dense.as<float>(), pitch, 400, static_cast<int32_t>(plane_row), value.as<float>(), index.as<int32_t>(), static_cast<int>(L) - 1};
            row.pool(w);
            bool same = true;
            for (int64_t e = 0; e < columns * L; e++) {
              const int64_t j = e / L, lane = e % L;
              float top = 0;
              int64_t at = -1;
              for (int64_t p = 0; p < ph; p++)
                for (int64_t q = 0; q < pw; q++) {
                  const float x = before[static_cast<size_t>((p * pitch + j * pw + q) * L + lane)];
                  if (at < 0 || (!std::isnan(top) && (std::isnan(x) || x > top))) top = x, at = 400 + p * plane_row + j * pw + q;
                }
              same = same && !memcmp(&top, value.as<float>() + e, 4) && index.as<int32_t>()[e] == at;
            }
            CHECK_MSG(same, "%s_pool: %lld windows %lldx%lld", row.function, (long long)columns, (long long)ph, (long long)pw);
            const std::vector<float> pooled(value.as<float>(), value.as<float>() + columns * L);
            for (int64_t e = 0; e < columns * L; e++) value.as<float>()[e] = -5;
            CHECK(row.select(w));
            CHECK_MSG(columns == 0 || !memcmp(pooled.data(), value.as<float>(), pooled.size() * 4), "%s_select", row.function);
            for (int64_t r0 : {int64_t(0), ph - 1}) {  // all rows of the windows, or the last one
              for (int64_t i = 0; i < dense_positions * L; i++) dense.as<float>()[i] = -9;
              w.r0 = r0;
              CHECK(row.expand(w));
              same = true;
              for (int64_t p = 0; p < ph; p++)
                for (int64_t q = 0; q < pitch && p * pitch + q < dense_positions; q++)
                  for (int64_t lane = 0; lane < L; lane++) {
                    const int64_t j = q / pw;
                    const size_t e = static_cast<size_t>(j * L + lane);
                    const float want = p < r0 || j >= columns ? -9.0f : index.as<int32_t>()[e] == 400 + p * plane_row + q ? pooled[e] : 0.0f;
                    same = same && !memcmp(&want, dense.as<float>() + (p * pitch + q) * L + lane, 4);
                  }
              CHECK_MSG(same, "%s_expand: %lld windows %lldx%lld from row %lld", row.function, (long long)columns, (long long)ph, (long long)pw, (long long)r0);
            }
            w.r0 = 0;
            if (columns == 0) continue;
            index.as<int32_t>()[columns * L - 1] = -1;  // of a lane without an image: no matter
            CHECK(row.select(w) && row.expand(w));
            index.as<int32_t>()[columns * L - 2] = static_cast<int32_t>(400 + (columns - 1) * pw - 1);  // the window to the left
            CHECK(!row.select(w) && !row.expand(w));
          }
  }
}

}  // namespace
}  // namespace test
}  // namespace tersor
