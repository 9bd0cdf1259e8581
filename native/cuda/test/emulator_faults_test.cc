// That the emulator finds what it is there for: each kernel here is wrong in one way.
#include "cuda/collect.h"
#include "cuda/mma.h"
#include "cuda/test/kernel_test.h"

namespace tersor {
namespace cuda {
namespace {

using test::OnDevice;
using test::test_stream;

template <bool barrier> __global__ void reverse_kernel(const int* x, int* y) {
  TERSOR_SHARED(int, tile, 64);
  const int i = static_cast<int>(threadIdx.x);
  tile[i] = x[i];
  if (barrier) __syncthreads();
  y[i] = tile[63 - i];
}

__global__ void shared_beyond_kernel(int* y, int at) {
  TERSOR_SHARED(int, tile, 64);
  tile[threadIdx.x] = 1;
  __syncthreads();
  y[threadIdx.x] = threadIdx.x == 5 ? tile[at] : tile[0];
}

__global__ void dynamic_beyond_kernel(int* y, int at) {
  int* tile = shared_memory<int>();
  tile[threadIdx.x] = 1;
  __syncthreads();
  y[threadIdx.x] = tile[at];
}

__global__ void device_write_kernel(int* y, int at) {
  if (threadIdx.x == 3) y[at] = 7;
}

__global__ void two_barriers_kernel(int* y) {
  if (threadIdx.x < 32) {
    y[0] = 1;
    __syncthreads();
  } else {
    y[1] = 2;
    __syncthreads();
  }
}

__global__ void lost_lane_kernel(int* y) {
  if (threadIdx.x == 31) return;
  y[threadIdx.x] = __shfl_xor_sync(kFullMask, static_cast<int>(threadIdx.x), 1);
}

__global__ void foreign_lane_kernel(int* y) {
  if (threadIdx.x < 16) y[threadIdx.x] = __shfl_sync(0xffffu, 100 + static_cast<int>(threadIdx.x), static_cast<int>(threadIdx.x) + 16);
}

__global__ void uninitialized_kernel(int* y) {
  TERSOR_SHARED(int, tile, 32);
  y[threadIdx.x] = tile[threadIdx.x];
}

// Each block adds to what the one before it left: right only if blocks ran in order.
__global__ void chain_kernel(int* y) { y[blockIdx.x] = blockIdx.x == 0 ? 1 : y[blockIdx.x - 1] + 1; }

__global__ void hasty_kernel(const float* x, float* y) {
  TERSOR_SHARED(float, tile, 4);
  cp_async_16(tile, x);
  cp_async_commit();
  y[0] = tile[1];
  cp_async_wait<0>();
  y[1] = tile[1];
}

void heal() { CHECK_OK(runtime::inject(0, Fault::memory, 0)); }

// The launch fails, says these words, and the device stays failed until it is healed.
void must_fault(const Status& status, const char* words) {
  CHECK_MSG(status.code == Code::device && strstr(status.message, words), "got %s \"%s\", not \"%s\"", code_name(status.code), status.message, words);
  CHECK(runtime::health(0).code == Code::device);
  CHECK(test_stream().begin("test").code == Code::device);
  heal();
}

}  // namespace

TERSOR_TEST(cuda_emulator_finds_a_missing_barrier) {
  std::vector<int> x(64);
  for (size_t i = 0; i < 64; i++) x[i] = static_cast<int>(i) + 1;
  int wrong[2] = {};
  for (int seed = 1; seed <= 8; seed++) {
    emulate::set_seed(static_cast<uint64_t>(seed));
    for (const int barrier : {0, 1}) {
      OnDevice<int> dx(x), y(64);
      const Status status = barrier ? launch<reverse_kernel<true>>(test_stream(), 1, 64, 0, dx.data(), y.data())
                                    : launch<reverse_kernel<false>>(test_stream(), 1, 64, 0, dx.data(), y.data());
      CHECK_OK(status);
      const auto got = y.read();
      bool right = true;
      for (size_t i = 0; i < 64; i++) right = right && got[i] == x[63 - i];
      wrong[barrier] += !right;
    }
  }
  CHECK(wrong[0] == 8 && wrong[1] == 0);
}

TERSOR_TEST(cuda_emulator_finds_accesses_beyond_the_end) {
  OnDevice<int> y(64);
  auto shared = launch<shared_beyond_kernel>(test_stream(), 2, 64, 0, y.data(), 64);
  must_fault(shared, "thread (5,0,0): touches shared array 'tile' (256 bytes) at byte 256");
  auto before = launch<shared_beyond_kernel>(test_stream(), 1, 64, 0, y.data(), -1100);
  must_fault(before, "touches shared array 'tile'");
  auto dynamic = launch<dynamic_beyond_kernel>(test_stream(), 1, 64, 256, y.data(), 64);
  must_fault(dynamic, "'dynamic' (256 bytes) at byte 256");
  auto read = launch<device_write_kernel>(test_stream(), 1, 64, 0, y.data(), 64);
  must_fault(read, "touches a device allocation of 256 bytes at byte 256");
  auto fine = launch<shared_beyond_kernel>(test_stream(), 1, 64, 0, y.data(), 63);
  CHECK_OK(fine);
  CHECK(y.read()[5] == 1);
}

// Between the end of an allocation and the page there may be room: what is written there is found when the memory goes back.
TERSOR_TEST(cuda_emulator_finds_writes_just_behind_an_allocation) {
  {
    OnDevice<int> y(50);
    auto start = launch<device_write_kernel>(test_stream(), 1, 64, 0, y.data(), 50);
    CHECK_OK(start);
  }
  test_stream().allocator().trim();
  CHECK(strstr(runtime::health(0).message, "wrote outside of an allocation of 200 bytes"));
  heal();
}

TERSOR_TEST(cuda_emulator_finds_threads_that_part) {
  OnDevice<int> y(64);
  auto barriers = launch<two_barriers_kernel>(test_stream(), 1, 64, 0, y.data());
  must_fault(barriers, "__syncthreads where other threads of the block are at another one");
  auto lost = launch<lost_lane_kernel>(test_stream(), 1, 32, 0, y.data());
  must_fault(lost, "__shfl_xor_sync of lanes ffffffff waits for lanes that never come");
}

TERSOR_TEST(cuda_emulator_poisons_what_is_undefined) {
  OnDevice<int> y(64);
  auto foreign = launch<foreign_lane_kernel>(test_stream(), 1, 32, 0, y.data());
  CHECK_OK(foreign);
  CHECK(static_cast<uint32_t>(y.read()[0]) == emulate::kPoison);
  auto shared = launch<uninitialized_kernel>(test_stream(), 1, 32, 0, y.data());
  CHECK_OK(shared);
  CHECK(static_cast<uint32_t>(y.read()[7]) == emulate::kPoison);
  OnDevice<float> x(std::vector<float>{1, 2, 3, 4}), z(2);
  auto hasty = launch<hasty_kernel>(test_stream(), 1, 1, 0, x.data(), z.data());
  CHECK_OK(hasty);
  const auto got = z.read();
  CHECK(got[0] != got[0] && got[1] == 2.0f);
}

TERSOR_TEST(cuda_emulator_shuffles_blocks) {
  OnDevice<int> y(64);
  auto start = launch<chain_kernel>(test_stream(), 64, 1, 0, y.data());
  CHECK_OK(start);
  const auto got = y.read();
  bool in_order = true;
  for (size_t i = 0; i < 64; i++) in_order = in_order && got[i] == static_cast<int>(i) + 1;
  CHECK(!in_order);
}

TERSOR_TEST(cuda_launch_limits) {
  OnDevice<int> y(64);
  auto nothing = launch<uninitialized_kernel>(test_stream(), 0, 32, 0, y.data());
  CHECK_OK(nothing);
  auto tall = launch<uninitialized_kernel>(test_stream(), Grid(1, 65536), 32, 0, y.data());
  CHECK(tall.code == Code::limit);
  auto shared = launch<uninitialized_kernel>(test_stream(), 1, 32, test_stream().shared_limit + 1, y.data());
  CHECK(shared.code == Code::limit);
}

}  // namespace cuda
}  // namespace tersor
