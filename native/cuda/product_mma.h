// Products by mma.sync, for every device from sm_75 on: tiles through shared memory in stages of asynchronous copies, fragments by ldmatrix, sums in
// registers, the epilogue from shared memory. The order of a sum depends on K alone: it is the same for every tile shape, batch and device of one generation.
//
// Limit on paper (H200): 8-bit m16n8k32 through mma.sync runs at about 60 % of the 1979 TOP/s that wgmma reaches; per block and stage of 64 bytes of K a tile of 128 x
// 128 reads 16 KB of L2 for 2 * 128 * 128 * 64 operations = 128 operations a byte. docs/performance/cuda.md has the table.
#pragma once
#include "cuda/launch.h"
#include "cuda/mma.h"
#include "cuda/product.h"

namespace tersor {
namespace cuda {

// Warps along m and n, fragments of 16 x 8 a warp holds along them, stages of kStageBytes of K.
template <int kWarpsM_, int kWarpsN_, int kTilesM_, int kTilesN_, int kStages_> struct TileShape {
  static constexpr int kWarpsM = kWarpsM_, kWarpsN = kWarpsN_, kTilesM = kTilesM_, kTilesN = kTilesN_, kStages = kStages_;
  static constexpr int kRows = kWarpsM * kTilesM * 16, kColumns = kWarpsN * kTilesN * 8, kThreads = kWarpsM * kWarpsN * 32;
  static constexpr int kDepth = 64;  // bytes of K in a stage
  static constexpr int kStageBytes = (kRows + kColumns) * kDepth;
  static constexpr int kPutBytes = kRows * kStageColumns * 4;
  static constexpr int kSharedBytes = kStages * kStageBytes > kPutBytes ? kStages * kStageBytes : kPutBytes;
  static_assert(kColumns % kStageColumns == 0 && kStageColumns % (kTilesN * 8) == 0 && kTilesN % 2 == 0 && kSharedBytes <= 48 << 10, "tile");
};
using WideTile = TileShape<2, 4, 4, 4, 3>;    // 128 x 128
using NarrowTile = TileShape<2, 2, 2, 4, 4>;  // 64 x 64
using FlatTile = TileShape<1, 4, 1, 2, 8>;    // 16 x 64: few rows, bound by the bytes of B

// 16-byte piece `c` (0 to 3) of a row of a stage: eight neighbouring rows lie in eight different groups of banks.
__device__ __forceinline__ int piece_at(int row, int c) { return row * 64 + ((c ^ (row >> 1 & 3)) << 4); }

// Tiles in an order in which eight rows of tiles share what they read.
__device__ __forceinline__ void tile_place(int64_t index, int64_t tiles_m, int64_t tiles_n, int64_t* m, int64_t* n) {
  const int64_t band = 8 * tiles_n, first = index / band * 8, in = index % band;
  const int64_t height = tiles_m - first < 8 ? tiles_m - first : 8;
  *m = first + in % height, *n = in / height;
}

template <Kind kind> __device__ __forceinline__ void multiply(typename SumOf<kind>::type (&d)[4], const uint32_t (&a)[4], uint32_t b0, uint32_t b1) {
  const uint32_t b[2] = {b0, b1};
  if constexpr (kind == Kind::u8) mma_m16n8k32_u8s8(d, a, b);
  else if constexpr (kind == Kind::s8) mma_m16n8k32_s8(d, a, b);
  else if constexpr (kind == Kind::f16) mma_m16n8k16_f16(d, a, b);
  else mma_m16n8k16_bf16(d, a, b);
}

// `count` rows of kDepth bytes from k0 on, those beyond the matrix as zeros.
template <class Tile>
__device__ __forceinline__ void load_rows(unsigned char* to, const unsigned char* from, int64_t row_bytes, int64_t row0, int64_t rows, int count, int64_t k0, int64_t k_bytes) {
  for (int i = static_cast<int>(threadIdx.x); i < count * 4; i += Tile::kThreads) {
    const int r = i >> 2, c = i & 3;
    const int64_t k = k0 + c * 16;
    const bool inside = row0 + r < rows && k < k_bytes;
    cp_async_16(to + piece_at(r, c), inside ? from + (row0 + r) * row_bytes + k : from, inside ? 16 : 0);
  }
}

template <Kind kind, class Tile, class E> __global__ void __launch_bounds__(Tile::kThreads) product_mma(KMajor p, E e) {
  using Sum = typename SumOf<kind>::type;
  constexpr int kA = Tile::kRows * Tile::kDepth;
  unsigned char* const shared = shared_memory<unsigned char>();
  const int64_t tiles_m = ceil_div<int64_t>(p.m, Tile::kRows), tiles_n = ceil_div<int64_t>(p.n, Tile::kColumns);
  const int64_t index = blockIdx.x % (tiles_m * tiles_n), batch = blockIdx.x / (tiles_m * tiles_n);
  int64_t tile_m, tile_n, a_at, b_at;
  tile_place(index, tiles_m, tiles_n, &tile_m, &tile_n);
  batch_offsets(p.map, batch, &a_at, &b_at);
  const int64_t row0 = tile_m * Tile::kRows, column0 = tile_n * Tile::kColumns;
  const unsigned char* const a = p.a + a_at;
  const unsigned char* const b = p.b + b_at;
  const int steps = static_cast<int>(ceil_div<int64_t>(p.k_bytes, Tile::kDepth));
  const auto fetch = [&](int step) {
    unsigned char* const stage = shared + step % Tile::kStages * Tile::kStageBytes;
    if (step < steps) {
      load_rows<Tile>(stage, a, p.a_row, row0, p.m, Tile::kRows, int64_t(step) * Tile::kDepth, p.k_bytes);
      load_rows<Tile>(stage + kA, b, p.b_row, column0, p.n, Tile::kColumns, int64_t(step) * Tile::kDepth, p.k_bytes);
    }
    cp_async_commit();
  };
  const int warp = warp_id(), lane = lane_id();
  e.look();
  const int warp_row = warp % Tile::kWarpsM * Tile::kTilesM * 16, warp_column = warp / Tile::kWarpsM * Tile::kTilesN * 8;
  Sum sums[Tile::kTilesM][Tile::kTilesN][4] = {};
  TERSOR_UNROLL
  for (int s = 0; s < Tile::kStages - 1; s++) fetch(s);
  for (int step = 0; step < steps; step++) {
    cp_async_wait<Tile::kStages - 2>();
    __syncthreads();
    fetch(step + Tile::kStages - 1);  // into the stage that everybody has left
    const unsigned char* const stage = shared + step % Tile::kStages * Tile::kStageBytes;
    TERSOR_UNROLL
    for (int h = 0; h < 2; h++) {  // 32 bytes of K
      uint32_t fa[Tile::kTilesM][4], fb[Tile::kTilesN / 2][4];
      TERSOR_UNROLL
      for (int i = 0; i < Tile::kTilesM; i++) ldmatrix_x4(fa[i], stage + piece_at(warp_row + i * 16 + (lane & 15), h * 2 + (lane >> 4)));
      TERSOR_UNROLL
      for (int j = 0; j < Tile::kTilesN / 2; j++)
        ldmatrix_x4(fb[j], stage + kA + piece_at(warp_column + j * 16 + (lane & 7) + (lane >> 4) * 8, h * 2 + (lane >> 3 & 1)));
      TERSOR_UNROLL
      for (int i = 0; i < Tile::kTilesM; i++)
        TERSOR_UNROLL
        for (int j = 0; j < Tile::kTilesN; j++) multiply<kind>(sums[i][j], fa[i], fb[j / 2][j % 2 * 2], fb[j / 2][j % 2 * 2 + 1]);
    }
  }
  cp_async_wait<0>();
  if constexpr (!is_integer(kind)) e.y = static_cast<unsigned char*>(e.y) + batch * p.m * p.n * (e.to == FloatTo::f32 ? 4 : 2);
  Sum* const put = reinterpret_cast<Sum*>(shared);
  for (int pass = 0; pass < Tile::kColumns / kStageColumns; pass++) {
    __syncthreads();  // everybody is done with what lies there
    if (warp_column / kStageColumns == pass) {
      TERSOR_UNROLL
      for (int i = 0; i < Tile::kTilesM; i++)
        TERSOR_UNROLL
        for (int j = 0; j < Tile::kTilesN; j++)
          TERSOR_UNROLL
          for (int v = 0; v < 4; v += 2) {
            Sum* const to = put + stage_at(warp_row + i * 16 + (lane >> 2) + v * 4, warp_column % kStageColumns + j * 8 + (lane & 3) * 2);
            to[0] = sums[i][j][v], to[1] = sums[i][j][v + 1];
          }
    }
    __syncthreads();
    put_stage(e, put, row0, Tile::kRows, column0 + pass * kStageColumns, static_cast<int>(threadIdx.x), Tile::kThreads);
  }
}

// The tile by the shape alone: results of floats do not depend on it anyway.
template <Kind kind, class Tile, class E> Status launch_mma(Stream& stream, const KMajor& p, const E& e) {
  const int64_t blocks = ceil_div<int64_t>(p.m, Tile::kRows) * ceil_div<int64_t>(p.n, Tile::kColumns) * p.batches;
  return launch<product_mma<kind, Tile, E>>(stream, blocks, Tile::kThreads, Tile::kSharedBytes, p, e);
}
template <Kind kind, class E> Status run_mma(Stream& stream, const KMajor& p, const E& e) {
  if (p.m == 0 || p.n == 0 || p.batches == 0) return {};
  if (p.m <= 16) return launch_mma<kind, FlatTile>(stream, p, e);
  const int64_t wide = ceil_div<int64_t>(p.m, WideTile::kRows) * ceil_div<int64_t>(p.n, WideTile::kColumns) * p.batches;
  return wide >= 64 ? launch_mma<kind, WideTile>(stream, p, e) : launch_mma<kind, NarrowTile>(stream, p, e);
}

}  // namespace cuda
}  // namespace tersor
