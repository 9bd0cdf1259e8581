// Products by wgmma on sm_90a: tiles of 128 x 256, a persistent grid, one warpgroup that keeps the TMA busy and two that multiply, each 64 rows.
//
//   producer     for every box of 128 bytes of K of every tile of this block: wait until the stage is empty, ask the TMA for A (16 KB) and B (32 KB)
//   multipliers  wait until the stage is full, four wgmma of 32 bytes, give back the stage before last; at the end of a tile the sums go through 16 KB of
//                shared memory of their own to the epilogue, while the producer already fills the stages for the next tile
// kCluster = 2: two blocks share the tiles of B: each fetches one half and the TMA delivers it to both, so a block reads 32 KB a stage instead of 48 from L2.
//
// Limit on paper (H200, 8 bits): a stage is 2 * 128 * 256 * 128 = 8.4 M operations, 512 cycles of the tensor cores; it needs 48 KB of L2 (94 bytes a cycle and
// multiprocessor), 32 KB with kCluster = 2 (62). Shared memory: 2 x (64 + 256) x 32 bytes a wgmma pair of 256 cycles, 80 bytes a cycle of 128.
#pragma once
#include "cuda/hopper.h"
#include "cuda/product_mma.h"

namespace tersor {
namespace cuda {

struct Hopper {
  static constexpr int kRows = 128, kColumns = 256, kDepth = 128, kStages = 4, kThreads = 384;
  static constexpr int kABytes = kRows * kDepth, kBBytes = kColumns * kDepth, kStageBytes = kABytes + kBBytes;
  static constexpr int kPutBytes = 64 * kStageColumns * 4;  // of one warpgroup
  static constexpr int kBarriers = kStages * kStageBytes + 2 * kPutBytes;
  static constexpr int kSharedBytes = kBarriers + 2 * kStages * 8 + 1024;  // + 1024: boxes stand at multiples of it
};

// The tiles that belong to a block: every gridDim.x / kCluster-th pair (or single one) of tiles above each other.
template <int kCluster> struct TileWalk {
  int64_t bands, tiles_n, count, at, step;
  int rank;
  __device__ __forceinline__ TileWalk(int64_t m, int64_t n, int rank_) : rank(rank_) {
    bands = ceil_div<int64_t>(m, Hopper::kRows * kCluster), tiles_n = ceil_div<int64_t>(n, Hopper::kColumns), count = bands * tiles_n;
    at = blockIdx.x / kCluster, step = gridDim.x / kCluster;
  }
  __device__ __forceinline__ bool next(int64_t* row0, int64_t* column0) {
    if (at >= count) return false;
    int64_t band, tile_n;
    tile_place(at, bands, tiles_n, &band, &tile_n);
    *row0 = (band * kCluster + rank) * Hopper::kRows, *column0 = tile_n * Hopper::kColumns;
    at += step;
    return true;
  }
};

#if defined(TERSOR_HOPPER)
template <Kind kind> __device__ __forceinline__ void multiply_group(typename SumOf<kind>::type (&d)[128], uint64_t a, uint64_t b, bool keep) {
  if constexpr (kind == Kind::u8) wgmma_u8(d, a, b, keep);
  else if constexpr (kind == Kind::s8) wgmma_s8(d, a, b, keep);
  else if constexpr (kind == Kind::f16) wgmma_f16(d, a, b, keep);
  else wgmma_bf16(d, a, b, keep);
}

template <int kCluster>
__device__ __forceinline__ void produce(const TensorMap* a, const TensorMap* b, int64_t m, int64_t n, int boxes, unsigned char* stages, uint64_t* full, uint64_t* empty) {
  const int rank = kCluster > 1 ? static_cast<int>(cluster_rank()) : 0;
  TileWalk<kCluster> walk(m, n, rank);
  int64_t row0, column0;
  int stage = 0;
  uint32_t phase = 1;  // a new barrier lets the first round through
  while (walk.next(&row0, &column0))
    for (int box = 0; box < boxes; box++) {
      barrier_wait(empty + stage, phase);
      barrier_expect(full + stage, Hopper::kStageBytes);
      unsigned char* const to = stages + stage * Hopper::kStageBytes;
      tma_load(to, a, full + stage, box * Hopper::kDepth, static_cast<int>(row0), Hopper::kABytes);
      unsigned char* const to_b = to + Hopper::kABytes + rank * (Hopper::kBBytes / kCluster);
      const int row = static_cast<int>(column0) + rank * (Hopper::kColumns / kCluster);
      if constexpr (kCluster > 1) tma_load_multicast(to_b, b, full + stage, box * Hopper::kDepth, row, Hopper::kBBytes / kCluster, (1 << kCluster) - 1);
      else tma_load(to_b, b, full + stage, box * Hopper::kDepth, row, Hopper::kBBytes);
      if (++stage == Hopper::kStages) stage = 0, phase ^= 1;
    }
}

// By every warp: the PTX ISA lets a warp know of its own products only when it has waited for them.
template <int kCluster> __device__ __forceinline__ void give_back(uint64_t* empty, int lane) {
  if (kCluster > 1) {
    if (lane < kCluster) barrier_arrive_at(empty, static_cast<uint32_t>(lane));
  } else if (lane == 0) {
    barrier_arrive(empty);
  }
}

template <Kind kind, int kCluster, class E>
__device__ __forceinline__ void consume(const E& e, int64_t m, int64_t n, int boxes, unsigned char* stages, typename SumOf<kind>::type* put, uint64_t* full, uint64_t* empty,
                                        int group) {
  const int thread = static_cast<int>(threadIdx.x) & 127, lane = thread & 31, fragment_row = (thread >> 5) * 16 + (lane >> 2);
  TileWalk<kCluster> walk(m, n, kCluster > 1 ? static_cast<int>(cluster_rank()) : 0);
  int64_t row0, column0;
  int stage = 0;
  uint32_t phase = 0;
  while (walk.next(&row0, &column0)) {
    typename SumOf<kind>::type d[128];
    int before = -1;
    for (int box = 0; box < boxes; box++) {
      barrier_wait(full + stage, phase);
      const unsigned char* const at = stages + stage * Hopper::kStageBytes;
      const uint64_t a = wgmma_descriptor(at + group * 64 * Hopper::kDepth), b = wgmma_descriptor(at + Hopper::kABytes);
      wgmma_fence();
      TERSOR_UNROLL
      for (int k = 0; k < 4; k++) multiply_group<kind>(d, a + static_cast<uint64_t>(k) * 2, b + static_cast<uint64_t>(k) * 2, box > 0 || k > 0);
      wgmma_commit();
      wgmma_wait<1>();  // all but the four just issued
      if (before >= 0) give_back<kCluster>(empty + before, lane);
      before = stage;
      if (++stage == Hopper::kStages) stage = 0, phase ^= 1;
    }
    wgmma_wait<0>();
    if (before >= 0) give_back<kCluster>(empty + before, lane);
    TERSOR_UNROLL
    for (int c = 0; c < Hopper::kColumns / kStageColumns; c++) {
      TERSOR_UNROLL
      for (int j = 0; j < kStageColumns / 8; j++)
        TERSOR_UNROLL
        for (int i = 0; i < 2; i++) {
          typename SumOf<kind>::type* const to = put + stage_at(fragment_row + i * 8, j * 8 + (lane & 3) * 2);
          const int from = (c * (kStageColumns / 8) + j) * 4 + i * 2;
          to[0] = d[from], to[1] = d[from + 1];
        }
      named_barrier(1 + group, 128);
      put_stage(e, put, row0 + group * 64, 64, column0 + c * kStageColumns, thread, 128);
      named_barrier(1 + group, 128);
    }
  }
}
#endif

template <Kind kind, int kCluster, class E>
__global__ void TERSOR_CLUSTER(kCluster) __launch_bounds__(Hopper::kThreads, 1)
    product_wgmma(const __grid_constant__ TensorMap a, const __grid_constant__ TensorMap b, const __grid_constant__ E e, int64_t m, int64_t n, int64_t k_bytes) {
#if defined(TERSOR_HOPPER)
  unsigned char* const shared = shared_memory<unsigned char>();
  unsigned char* const stages = shared + (1024 - shared_address(shared) % 1024) % 1024;
  auto* const put = reinterpret_cast<typename SumOf<kind>::type*>(stages + Hopper::kStages * Hopper::kStageBytes);
  uint64_t* const full = reinterpret_cast<uint64_t*>(stages + Hopper::kBarriers);
  uint64_t* const empty = full + Hopper::kStages;
  const int boxes = static_cast<int>(ceil_div<int64_t>(k_bytes, Hopper::kDepth)), group = warp_id() / 4;
  if (threadIdx.x == 0) {
    for (int s = 0; s < Hopper::kStages; s++) barrier_init(full + s, 1), barrier_init(empty + s, 8 * kCluster);
    barrier_init_fence();
    tma_prefetch_map(&a), tma_prefetch_map(&b);
    e.look();
  }
  if (kCluster > 1) cluster_sync();
  else __syncthreads();
  if (group == 0) {
    give_registers<40>();
    if (threadIdx.x == 0) produce<kCluster>(&a, &b, m, n, boxes, stages, full, empty);
    __syncwarp();  // the barrier of the cluster wants whole warps
  } else {
    take_registers<232>();
    consume<kind, kCluster>(e, m, n, boxes, stages, put + (group - 1) * (Hopper::kPutBytes / 4), full, empty, group - 1);
  }
  if (kCluster > 1) cluster_sync();  // nobody leaves while the other block may still write here
#endif
}

// Describes rows x width bytes (rows row_bytes apart) in boxes of box_rows rows (hopper.cu).
Status make_tensor_map(const char* op, const void* base, int64_t rows, int64_t width, int64_t row_bytes, int box_rows, TensorMap* map);
// Which wgmma path serves on this device: 0 none (the device, TERSOR_CUDA_PATHS, or a failed self check), else the size of its clusters.
int wgmma_cluster(Stream& stream);
const char* wgmma_state(int32_t device, int cluster);

// True where the shape is worth it, a wave of tiles or the larger part of one, and rows lie as the TMA can describe them (no broadcast rows).
inline bool wgmma_fits(const KMajor& p) {
  const int64_t tiles = ceil_div<int64_t>(p.m, Hopper::kRows) * ceil_div<int64_t>(p.n, Hopper::kColumns);
  return p.batches == 1 && p.m > 64 && p.n > 64 && tiles >= 32 && p.k_bytes >= 256 && p.a_row > 0 && p.b_row > 0 && p.a_row < int64_t(1) << 40 && p.b_row < int64_t(1) << 40 && p.m < INT32_MAX && p.n < INT32_MAX && p.k_bytes < INT32_MAX;
}

template <Kind kind, int kCluster, class E> Status launch_wgmma(Stream& stream, const KMajor& p, const E& e) {
  TensorMap a, b;
  TERSOR_TRY(make_tensor_map(stream.op(), p.a, p.m, p.k_bytes, p.a_row, Hopper::kRows, &a));
  TERSOR_TRY(make_tensor_map(stream.op(), p.b, p.n, p.k_bytes, p.b_row, Hopper::kColumns / kCluster, &b));
  const int64_t work = ceil_div<int64_t>(p.m, Hopper::kRows * kCluster) * ceil_div<int64_t>(p.n, Hopper::kColumns);
  const int64_t most = stream.multiprocessors / kCluster > 0 ? stream.multiprocessors / kCluster : 1;
  return launch<product_wgmma<kind, kCluster, E>>(stream, (work < most ? work : most) * kCluster, Hopper::kThreads, Hopper::kSharedBytes, a, b, e, p.m, p.n, p.k_bytes);
}

// The product by the best path of the device.
template <Kind kind, class E> Status run_product(Stream& stream, const KMajor& p, const E& e) {
  if (wgmma_fits(p)) {
    const int cluster = wgmma_cluster(stream);
#if !defined(TERSOR_CUDA_EMULATE)
    if (cluster == 2) return launch_wgmma<kind, 2>(stream, p, e);
#endif
    if (cluster > 0) return launch_wgmma<kind, 1>(stream, p, e);
  }
  return run_mma<kind>(stream, p, e);
}

// One file holds the kernels of each kind: product_integer.cu, product_half.cu.
#if defined(TERSOR_CUDA_EMULATE)
#define TERSOR_PRODUCT_CLUSTERS(word, kind, E) word template Status launch_wgmma<kind, 1, E>(Stream&, const KMajor&, const E&);
#else
#define TERSOR_PRODUCT_CLUSTERS(word, kind, E)                                          \
  word template Status launch_wgmma<kind, 1, E>(Stream&, const KMajor&, const E&);      \
  word template Status launch_wgmma<kind, 2, E>(Stream&, const KMajor&, const E&);
#endif
#define TERSOR_PRODUCT(word, kind, E)                                         \
  word template Status run_mma<kind, E>(Stream&, const KMajor&, const E&);    \
  TERSOR_PRODUCT_CLUSTERS(word, kind, E)                                      \
  word template Status run_product<kind, E>(Stream&, const KMajor&, const E&);
TERSOR_PRODUCT(extern, Kind::u8, IntegerEpilogue)
TERSOR_PRODUCT(extern, Kind::s8, IntegerEpilogue)
TERSOR_PRODUCT(extern, Kind::f16, FloatEpilogue)
TERSOR_PRODUCT(extern, Kind::bf16, FloatEpilogue)

}  // namespace cuda
}  // namespace tersor
