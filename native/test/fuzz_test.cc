// The fuzz targets without libFuzzer: a few thousand inputs that follow from the seed of the run.
#include "test/fuzz/input.h"
#include "test/op_call.h"

namespace tersor {
namespace test {
namespace {

// Bytes of which many are small numbers, as offsets, columns and sizes are.
std::vector<uint8_t> any_input() {
  std::vector<uint8_t> bytes(static_cast<size_t>(random_int(0, 400)));
  const int64_t top = random_int(0, 2) ? 255 : 12;
  for (uint8_t& b : bytes) b = static_cast<uint8_t>(random_int(0, 3) ? random_int(0, top) : 0);
  return bytes;
}

void try_inputs(int (*target)(const uint8_t*, size_t), int count) {
  for (int i = 0; i < count; i++) {
    const std::vector<uint8_t> bytes = any_input();
    CHECK(target(bytes.data(), bytes.size()) == 0);
  }
}

TERSOR_TEST(fuzz_sparse_code) { try_inputs(fuzz::sparse_code, 3000); }
TERSOR_TEST(fuzz_sparse_rows) { try_inputs(fuzz::sparse_rows, 3000); }

}  // namespace
}  // namespace test
}  // namespace tersor
