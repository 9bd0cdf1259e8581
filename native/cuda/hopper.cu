// Tensor maps, and whether the wgmma path is trusted on a device: it is compared with the mma.sync path once, on small products of every kind, the first
// time that it could serve. Where one number differs it is withdrawn for the life of the process (wgmma_state says so; the device tests fail then).
// TERSOR_CUDA_PATHS names the paths that may serve: "mma" (neither), "wgmma" (the default), "wgmma2" (clusters of two blocks).
#include "cuda/hopper.h"

#include <atomic>
#include <cstdlib>
#include <cstring>
#include <mutex>
#include <type_traits>
#include <vector>

#include "cuda/product_wgmma.h"
#include "cuda/runtime.h"

namespace tersor {
namespace cuda {

#if defined(TERSOR_CUDA_EMULATE)

Status make_tensor_map(const char*, const void* base, int64_t rows, int64_t width, int64_t row_bytes, int box_rows, TensorMap* map) {
  *map = {static_cast<const unsigned char*>(base), rows, row_bytes, width, box_rows};
  return {};
}

#else

namespace {
using Encode = CUresult (*)(CUtensorMap*, CUtensorMapDataType, cuuint32_t, void*, const cuuint64_t*, const cuuint64_t*, const cuuint32_t*, const cuuint32_t*, CUtensorMapInterleave,
                            CUtensorMapSwizzle, CUtensorMapL2promotion, CUtensorMapFloatOOBfill);

// From the driver that is loaded: nothing links to it.
Encode encoder() {
  static const Encode found = [] {
    void* f = nullptr;
    cudaDriverEntryPointQueryResult result;
    if (cudaGetDriverEntryPointByVersion("cuTensorMapEncodeTiled", &f, 12000, cudaEnableDefault, &result) != cudaSuccess || result != cudaDriverEntryPointSuccess) f = nullptr;
    return reinterpret_cast<Encode>(f);
  }();
  return found;
}
}  // namespace

Status make_tensor_map(const char* op, const void* base, int64_t rows, int64_t width, int64_t row_bytes, int box_rows, TensorMap* map) {
  const Encode encode = encoder();
  if (!encode) return fail(Code::device, "%s: the driver has no cuTensorMapEncodeTiled", op);
  const cuuint64_t size[2] = {static_cast<cuuint64_t>(width), static_cast<cuuint64_t>(rows)}, stride[1] = {static_cast<cuuint64_t>(row_bytes)};
  const cuuint32_t box[2] = {128, static_cast<cuuint32_t>(box_rows)}, step[2] = {1, 1};
  const CUresult r = encode(&map->map, CU_TENSOR_MAP_DATA_TYPE_UINT8, 2, const_cast<void*>(base), size, stride, box, step, CU_TENSOR_MAP_INTERLEAVE_NONE, CU_TENSOR_MAP_SWIZZLE_128B,
                            CU_TENSOR_MAP_L2_PROMOTION_L2_256B, CU_TENSOR_MAP_FLOAT_OOB_FILL_NONE);
  if (r != CUDA_SUCCESS) return fail(Code::device, "%s: cuTensorMapEncodeTiled: error %d", op, static_cast<int>(r));
  return {};
}

#endif

namespace {

constexpr int kMaxDevices = 64;
enum class Trust : int { unknown, checking, good, withdrawn };
std::atomic<int> trust[kMaxDevices][3];  // by device and size of clusters
char reason[kMaxDevices][3][sizeof(Status::message) + 64];
std::mutex check_lock;

int wanted_cluster() {
  const char* paths = getenv("TERSOR_CUDA_PATHS");
#if defined(TERSOR_CUDA_EMULATE)
  return paths && strstr(paths, "wgmma") ? 1 : 0;
#else
  if (!paths || !*paths) return 1;
  return strstr(paths, "wgmma2") ? 2 : strstr(paths, "wgmma") ? 1 : 0;
#endif
}

__global__ void count_different(const uint32_t* x, const uint32_t* y, int64_t n, uint32_t* count) {
  uint32_t found = 0;
  for (int64_t i = threadIdx.x; i < n; i += blockDim.x) found += x[i] != y[i] ? 1u : 0u;
  if (found) atomicAdd(count, found);
}

// Small whole numbers, so that sums of floats are exact in any order. 16-bit kinds: two bytes a value.
void fill_random(Kind kind, bool weights, unsigned char* out, int64_t bytes, uint32_t seed) {
  for (int64_t i = 0; i < bytes; i += is_integer(kind) ? 1 : 2) {
    seed = seed * 1664525u + 1013904223u;
    if (is_integer(kind)) {
      out[i] = static_cast<unsigned char>(seed >> 24);
      continue;
    }
    const float v = static_cast<float>(static_cast<int>(seed >> 28) - 8 + (weights ? 1 : 0));
    const uint16_t h = kind == Kind::f16 ? f16_from_f32(v) : bf16_from_f32(v);
    memcpy(out + i, &h, 2);
  }
}

template <Kind kind> using CheckEpilogue = std::conditional_t<is_integer(kind), IntegerEpilogue, FloatEpilogue>;

template <Kind kind, int kCluster> Status compare(Stream& stream, uint32_t* different) {
  constexpr int64_t m = 193, n = 301, k_bytes = 656, row = 656;  // more boxes than stages, ragged in all three
  constexpr int64_t a_bytes = m * row, b_bytes = n * row;
  unsigned char *a, *b;
  uint32_t *y, *z, *count;
  TERSOR_TRY(stream.scratch(a_bytes, &a));
  TERSOR_TRY(stream.scratch(b_bytes, &b));
  TERSOR_TRY(stream.scratch(m * n, &y));
  TERSOR_TRY(stream.scratch(m * n + 1, &z));
  count = z + m * n;
  std::vector<unsigned char> host(static_cast<size_t>(b_bytes));
  fill_random(kind, false, host.data(), a_bytes, 1);
  TERSOR_TRY(stream.upload(a, host.data(), a_bytes));
  fill_random(kind, true, host.data(), b_bytes, 2);
  TERSOR_TRY(stream.upload(b, host.data(), b_bytes));
  TERSOR_TRY(stream.fill(y, 0xee, m * n * 4));
  TERSOR_TRY(stream.fill(z, 0, (m * n + 1) * 4));
  KMajor p;
  p.a = a, p.b = b, p.a_row = p.b_row = row, p.m = m, p.n = n, p.k_bytes = k_bytes;
  CheckEpilogue<kind> e;
  e.m = m, e.n = n;
  if constexpr (is_integer(kind)) {
    e.column_sums = static_cast<const int32_t*>(static_cast<const void*>(b));  // of no weight: x_zero is 0
  }
  e.y = y;
  TERSOR_TRY(run_mma<kind>(stream, p, e));
  e.y = z;
  TERSOR_TRY((launch_wgmma<kind, kCluster>(stream, p, e)));
  TERSOR_TRY(launch<count_different>(stream, 1, 256, 0, y, z, m * n, count));
  uint32_t found = 0;
  TERSOR_TRY(runtime::download(stream.queue(), &found, count, 4));  // not Stream's: what kernels of earlier calls reported is not ours to take
  *different += found;
  return {};
}

template <int kCluster> Status compare_all(Stream& stream, uint32_t* different) {
  TERSOR_TRY((compare<Kind::u8, kCluster>(stream, different)));
  TERSOR_TRY((compare<Kind::s8, kCluster>(stream, different)));
  TERSOR_TRY((compare<Kind::f16, kCluster>(stream, different)));
  return compare<Kind::bf16, kCluster>(stream, different);
}

}  // namespace

// What is known of the path on a device, for people and tests.
const char* wgmma_state(int32_t device, int cluster) {
  switch (static_cast<Trust>(trust[device % kMaxDevices][cluster].load())) {
    case Trust::good: return "checked against mma.sync";
    case Trust::withdrawn: return reason[device % kMaxDevices][cluster];
    default: return "not used yet";
  }
}

int wgmma_cluster(Stream& stream) {
  const int cluster = wanted_cluster();
  if (cluster == 0 || stream.sm != 90 || stream.device >= kMaxDevices || stream.shared_limit < Hopper::kSharedBytes) return 0;
  std::atomic<int>& state = trust[stream.device][cluster];
  if (state.load() == static_cast<int>(Trust::good)) return cluster;
  if (state.load() == static_cast<int>(Trust::withdrawn)) return 0;
  const std::lock_guard<std::mutex> lock(check_lock);
  if (state.load() != static_cast<int>(Trust::unknown)) return state.load() == static_cast<int>(Trust::good) ? cluster : 0;
  uint32_t different = 0;
#if defined(TERSOR_CUDA_EMULATE)
  const Status s = compare_all<1>(stream, &different);
#else
  const Status s = cluster == 2 ? compare_all<2>(stream, &different) : compare_all<1>(stream, &different);
#endif
  char* const why = reason[stream.device][cluster];
  if (!s.ok()) snprintf(why, sizeof reason[0][0], "withdrawn: %s", s.message);
  else snprintf(why, sizeof reason[0][0], "withdrawn: %u results differ from those of mma.sync", different);
  state.store(static_cast<int>(s.ok() && different == 0 ? Trust::good : Trust::withdrawn));
  return s.ok() && different == 0 ? cluster : 0;
}

}  // namespace cuda
}  // namespace tersor
