// The words that kernels are made of, on the emulator as on a device: collectives, fragments of tensor cores, asynchronous copies, conversions.
#include <cmath>

#include "cuda/collect.h"
#include "cuda/mma.h"
#include "cuda/numeric.h"
#include "cuda/test/kernel_test.h"

namespace tersor {
namespace cuda {
namespace {

using test::OnDevice;
using test::test_stream;

__global__ void collect_kernel(const int* x, int* sums, int* scans, float* largest, int* shuffled) {
  const int i = static_cast<int>(threadIdx.x);
  int total;
  scans[i] = block_scan<256>(x[i], &total);
  sums[i] = block_sum<256>(x[i]) - total + total;
  largest[i] = block_reduce<256>(static_cast<float>(x[i]), Largest{}, -1e30f);
  const unsigned odd = __ballot_sync(kFullMask, x[i] & 1);
  shuffled[i] = __shfl_down_sync(kFullMask, i, 3, 8) * 1000 + __popc(odd & ((1u << lane_id()) - 1u));
}

// One warp: C[16,8] = A[16,k] B[k,8] with fragments filled by hand from the tables of the PTX ISA.
template <class T, int k> __global__ void fragments_kernel(const T* a, const T* b, float* c, int which) {
  constexpr int per = 4 / static_cast<int>(sizeof(T));
  const int g = static_cast<int>(threadIdx.x) / 4, t = static_cast<int>(threadIdx.x) % 4;
  uint32_t ra[4], rb[2];
  for (int r = 0; r < 4; r++) {
    uint32_t word = 0;
    for (int i = 0; i < per; i++) {
      const int row = g + (r == 1 || r == 3 ? 8 : 0), column = t * per + i + (r >= 2 ? k / 2 : 0);
      const T v = a[row * k + column];
      uint32_t u = 0;
      memcpy(&u, &v, sizeof(T));
      word |= u << (8 * static_cast<int>(sizeof(T)) * i);
    }
    ra[r] = word;
  }
  for (int r = 0; r < 2; r++) {
    uint32_t word = 0;
    for (int i = 0; i < per; i++) {
      const T v = b[(t * per + i + (r == 1 ? k / 2 : 0)) * 8 + g];
      uint32_t u = 0;
      memcpy(&u, &v, sizeof(T));
      word |= u << (8 * static_cast<int>(sizeof(T)) * i);
    }
    rb[r] = word;
  }
  float f[4] = {1, 1, 1, 1};
  int32_t s[4] = {1, 1, 1, 1};
  if (which == 0) mma_m16n8k32_s8(s, ra, rb);
  if (which == 1) mma_m16n8k32_u8s8(s, ra, rb);
  if (which == 2) mma_m16n8k16_f16(f, ra, rb);
  if (which == 3) mma_m16n8k16_bf16(f, ra, rb);
  if (which == 4) mma_m16n8k8_tf32(f, ra, rb);
  for (int r = 0; r < 4; r++) {
    const int row = g + (r >= 2 ? 8 : 0), column = 2 * t + (r & 1);
    c[row * 8 + column] = which < 2 ? static_cast<float>(s[r]) : f[r];
  }
}

template <class T, int k, class Make, class Value> void fragments_case(int which, Make make, Value value) {
  std::vector<T> a(16 * k), b(k * 8);
  for (auto& v : a) v = make();
  for (auto& v : b) v = make();
  OnDevice<T> da(a), db(b);
  OnDevice<float> c(16 * 8);
  auto start = launch<fragments_kernel<T, k>>(test_stream(), 1, 32, 0, da.data(), db.data(), c.data(), which);
  CHECK_OK(start);
  const std::vector<float> got = c.read();
  for (size_t i = 0; i < 16; i++)
    for (size_t j = 0; j < 8; j++) {
      double sum = 1;
      for (size_t n = 0; n < k; n++) sum += value(a[i * k + n], true) * value(b[n * 8 + j], false);
      CHECK_MSG(std::fabs(got[i * 8 + j] - sum) <= 1e-3 * std::fabs(sum) + 1e-3, "product %d at (%zu, %zu): %g, not %g", which, i, j, static_cast<double>(got[i * 8 + j]), sum);
    }
}

__global__ void ldmatrix_kernel(const uint16_t* x, uint32_t* plain, uint32_t* transposed) {
  TERSOR_SHARED(uint16_t, tile, 16 * 24);  // 16 x 16 in rows of 24: four blocks
  for (int i = static_cast<int>(threadIdx.x); i < 256; i += 32) tile[i / 16 * 24 + i % 16] = x[i];
  __syncwarp();
  const int lane = lane_id();
  uint32_t r[4];
  ldmatrix_x4(r, tile + lane % 16 * 24 + lane / 16 * 8);
  for (int i = 0; i < 4; i++) plain[i * 32 + lane] = r[i];
  ldmatrix_x4_trans(r, tile + lane % 16 * 24 + lane / 16 * 8);
  for (int i = 0; i < 4; i++) transposed[i * 32 + lane] = r[i];
}

__global__ void copy_kernel(const float* x, float* y, int n) {
  TERSOR_SHARED(float, part, 2 * 128);
  const int i = static_cast<int>(threadIdx.x);
  for (int stage = 0; stage < 2; stage++) {
    const int left = n - stage * 128 - 4 * i, filled = left >= 4 ? 16 : left > 0 ? 4 * left : 0;
    cp_async_16(part + stage * 128 + 4 * i, filled > 0 ? x + stage * 128 + 4 * i : x, filled);
    cp_async_commit();
  }
  cp_async_wait<1>();
  __syncthreads();
  for (int e = i; e < 128; e += 32) y[e] = part[127 - e];
  cp_async_wait<0>();
  __syncthreads();
  for (int e = i; e < 128; e += 32) y[128 + e] = part[128 + 127 - e];
}

__global__ void convert_kernel(const float* x, uint16_t* f16, uint16_t* bf16, float* wide, int n) {
  const int i = static_cast<int>(blockIdx.x * blockDim.x + threadIdx.x);
  if (i >= n) return;
  f16[i] = narrow_f16(x[i]);
  bf16[i] = narrow_bf16(x[i]);
  wide[i] = widen_f16(static_cast<uint16_t>(i));
}

}  // namespace

TERSOR_TEST(cuda_words_collect) {
  std::vector<int> x(256);
  for (auto& v : x) v = static_cast<int>(test::rng()() % 1000);
  OnDevice<int> dx(x), sums(256), scans(256), shuffled(256);
  OnDevice<float> largest(256);
  auto start = launch<collect_kernel>(test_stream(), 1, 256, 0, dx.data(), sums.data(), scans.data(), largest.data(), shuffled.data());
  CHECK_OK(start);
  const auto s = sums.read(), c = scans.read(), h = shuffled.read();
  const auto l = largest.read();
  int running = 0, most = 0, sum = 0;
  for (int v : x) sum += v, most = v > most ? v : most;
  for (size_t i = 0; i < 256; i++) {
    running += x[i];
    int odd = 0;
    for (size_t j = i / 32 * 32; j < i; j++) odd += x[j] & 1;
    const size_t from = i % 8 + 3 < 8 ? i + 3 : i;
    CHECK(s[i] == sum && c[i] == running && l[i] == static_cast<float>(most) && h[i] == static_cast<int>(from) * 1000 + odd);
  }
}

TERSOR_TEST(cuda_words_fragments) {
  auto byte = [] { return static_cast<uint8_t>(test::rng()()); };
  fragments_case<uint8_t, 32>(0, byte, [](uint8_t v, bool) { return static_cast<double>(static_cast<int8_t>(v)); });
  fragments_case<uint8_t, 32>(1, byte, [](uint8_t v, bool left) { return left ? static_cast<double>(v) : static_cast<double>(static_cast<int8_t>(v)); });
  auto real = [] { return std::uniform_real_distribution<float>(-2, 2)(test::rng()); };
  fragments_case<uint16_t, 16>(2, [&] { return f16_from_f32(real()); }, [](uint16_t v, bool) { return static_cast<double>(f32_from_f16(v)); });
  if (test_stream().sm < 80) return test::skip_case("bf16 and tf32 need sm_80");
  fragments_case<uint16_t, 16>(3, [&] { return bf16_from_f32(real()); }, [](uint16_t v, bool) { return static_cast<double>(f32_from_bf16(v)); });
  fragments_case<float, 8>(4, [&] { return f32_from_bits(f32_bits(real()) & ~0x1fffu); }, [](float v, bool) { return static_cast<double>(v); });
}

TERSOR_TEST(cuda_words_ldmatrix) {
  std::vector<uint16_t> x(256);
  for (size_t i = 0; i < 256; i++) x[i] = static_cast<uint16_t>(i);
  OnDevice<uint16_t> dx(x);
  OnDevice<uint32_t> plain(128), transposed(128);
  auto start = launch<ldmatrix_kernel>(test_stream(), 1, 32, 0, dx.data(), plain.data(), transposed.data());
  CHECK_OK(start);
  const auto p = plain.read(), t = transposed.read();
  for (uint32_t block = 0; block < 4; block++)
    for (uint32_t lane = 0; lane < 32; lane++) {
      const uint32_t r0 = block % 2 * 8, c0 = block / 2 * 8, g = lane / 4, i = 2 * (lane % 4);
      auto at = [&](uint32_t row, uint32_t column) { return (r0 + row) * 16 + c0 + column; };
      CHECK(p[block * 32 + lane] == (at(g, i) | at(g, i + 1) << 16));
      CHECK(t[block * 32 + lane] == (at(i, g) | at(i + 1, g) << 16));
    }
}

TERSOR_TEST(cuda_words_asynchronous_copies) {
  for (const int n : {256, 199, 130, 6}) {
    std::vector<float> x(static_cast<size_t>(n));
    for (auto& v : x) v = std::uniform_real_distribution<float>(1, 2)(test::rng());
    OnDevice<float> dx(x), y(256);
    auto start = launch<copy_kernel>(test_stream(), 1, 32, 0, dx.data(), y.data(), n);
    CHECK_OK(start);
    const auto got = y.read();
    for (int i = 0; i < 256; i++) {
      const int from = i / 128 * 128 + 127 - i % 128;
      CHECK(got[static_cast<size_t>(i)] == (from < n ? x[static_cast<size_t>(from)] : 0.0f));
    }
  }
}

// Every 16-bit pattern widened, and random f32 of all exponents (NaN, infinities, subnormals) narrowed, to the bits of the CPU.
TERSOR_TEST(cuda_words_16_bit_floats) {
  const int n = 65536;
  std::vector<float> x(n);
  for (auto& v : x) v = f32_from_bits(static_cast<uint32_t>(test::rng()()));
  for (size_t i = 0; i < 2048; i++) x[i] = f32_from_bits(0x38000000u + static_cast<uint32_t>(i) * 0x1000u);  // ties and around the smallest normal f16
  OnDevice<float> dx(x), wide(n);
  OnDevice<uint16_t> f16(n), bf16(n);
  auto start = launch<convert_kernel>(test_stream(), n / 256, 256, 0, dx.data(), f16.data(), bf16.data(), wide.data(), n);
  CHECK_OK(start);
  const auto h = f16.read(), b = bf16.read();
  const auto w = wide.read();
  int wrong = 0;
  for (size_t i = 0; i < n; i++)
    wrong += h[i] != f16_from_f32(x[i]) || b[i] != bf16_from_f32(x[i]) || f32_bits(w[i]) != f32_bits(f32_from_f16(static_cast<uint16_t>(i)));
  CHECK_MSG(wrong == 0, "%d of %d differ", wrong, n);
}

}  // namespace cuda
}  // namespace tersor
