// Transposes between images and blocks, each row against the definition, with guard pages on either side.
#include "kernels/lanes/lanes.h"
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

}  // namespace
}  // namespace test
}  // namespace tersor
