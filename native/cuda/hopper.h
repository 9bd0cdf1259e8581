// What sm_90a has beyond mma.sync, as few functions: barriers in shared memory that count bytes (mbarrier), tiles copied by the tensor memory accelerator
// (TMA), products of a warpgroup from shared memory (wgmma), registers moved between warpgroups. PTX ISA 8.0 to 9.0, "Asynchronous warpgroup level matrix
// multiply-accumulate" and "Tensor". Each has a host twin with the same meaning in emulate/hopper.h: swizzle and descriptors are decoded there.
//
// Tiles. A TensorMap describes a matrix of bytes, rows `row_bytes` apart, cut in boxes of box_rows x 128 bytes. A box arrives in shared memory (1024-byte aligned) as
// rows of 128 bytes whose 16-byte pieces have changed places: piece c of row r stands at c ^ (r % 8). Bytes beyond the matrix arrive as zeros and count as bytes.
// Products. d[64 x 256] += A[64 x 32 bytes] B[256 x 32 bytes]^T by a warpgroup: A and B lie in such boxes, named by descriptors: bits 0-13 start >> 4,
// 16-29 leading offset >> 4 (1: unused beside a swizzle), 32-45 offset between groups of eight rows >> 4 (1024 bytes: 64), 62-63 the swizzle (1: 128 bytes). The
// next 32 bytes of K are 2 further. Thread t of the warpgroup holds row 16 (t / 32) + t % 32 / 4 + 8 i, column 8 j + 2 (t % 4) + c in d[4 j + 2 i + c].
#pragma once
#include "base/status.h"
#include "cuda/mma.h"
#include "cuda/product.h"

#if defined(TERSOR_CUDA_EMULATE)
#include "cuda/emulate/hopper.h"
#else
#include <cuda.h>

// Device code of these exists for sm_90a only; elsewhere the kernels that use them are empty and never launched.
#if defined(__CUDA_ARCH_FEAT_SM90_ALL)
#define TERSOR_HOPPER 1
#endif
#if !defined(__CUDA_ARCH__) || __CUDA_ARCH__ >= 900
#define TERSOR_CLUSTER(n) __cluster_dims__(n, 1, 1)
#else
#define TERSOR_CLUSTER(n)
#endif

namespace tersor {
namespace cuda {

struct TensorMap {
  CUtensorMap map;
};

#if defined(TERSOR_HOPPER)
__device__ __forceinline__ void barrier_init(uint64_t* b, int arrivals) {
  asm volatile("mbarrier.init.shared::cta.b64 [%0], %1;" ::"r"(shared_address(b)), "r"(arrivals) : "memory");
}
// After barrier_init, before others use the barriers.
__device__ __forceinline__ void barrier_init_fence() { asm volatile("fence.mbarrier_init.release.cluster;" ::: "memory"); }
__device__ __forceinline__ void barrier_expect(uint64_t* b, uint32_t bytes) {
  asm volatile("mbarrier.arrive.expect_tx.shared::cta.b64 _, [%0], %1;" ::"r"(shared_address(b)), "r"(bytes) : "memory");
}
__device__ __forceinline__ void barrier_arrive(uint64_t* b) { asm volatile("mbarrier.arrive.shared::cta.b64 _, [%0];" ::"r"(shared_address(b)) : "memory"); }
// The barrier at the same place in the shared memory of block `rank` of the cluster.
__device__ __forceinline__ void barrier_arrive_at(uint64_t* b, uint32_t rank) {
  asm volatile(
      "{\n.reg .b32 remote;\n"
      "mapa.shared::cluster.u32 remote, %0, %1;\n"
      "mbarrier.arrive.release.cluster.shared::cluster.b64 _, [remote];\n}" ::"r"(shared_address(b)),
      "r"(rank)
      : "memory");
}
// Until the phase of that parity is complete.
__device__ __forceinline__ void barrier_wait(uint64_t* b, uint32_t parity) {
  asm volatile(
      "{\n.reg .pred done;\n"
      "again: mbarrier.try_wait.parity.acquire.cluster.shared::cta.b64 done, [%0], %1;\n"
      "@!done bra again;\n}" ::"r"(shared_address(b)),
      "r"(parity)
      : "memory");
}
// The box whose first byte is (row, byte); box_bytes is what arrives.
__device__ __forceinline__ void tma_load(void* to, const TensorMap* map, uint64_t* b, int byte, int row, int box_bytes) {
  (void)box_bytes;
  asm volatile("cp.async.bulk.tensor.2d.shared::cluster.global.mbarrier::complete_tx::bytes [%0], [%1, {%3, %4}], [%2];" ::"r"(shared_address(to)), "l"(map),
               "r"(shared_address(b)), "r"(byte), "r"(row)
               : "memory");
}
// To the same place in every block of the mask, whose own barriers count the bytes.
__device__ __forceinline__ void tma_load_multicast(void* to, const TensorMap* map, uint64_t* b, int byte, int row, int box_bytes, uint16_t mask) {
  (void)box_bytes;
  asm volatile("cp.async.bulk.tensor.2d.shared::cluster.global.mbarrier::complete_tx::bytes.multicast::cluster [%0], [%1, {%3, %4}], [%2], %5;" ::"r"(shared_address(to)),
               "l"(map), "r"(shared_address(b)), "r"(byte), "r"(row), "h"(mask)
               : "memory");
}
__device__ __forceinline__ void tma_prefetch_map(const TensorMap* map) { asm volatile("prefetch.tensormap [%0];" ::"l"(map) : "memory"); }

__device__ __forceinline__ uint64_t wgmma_descriptor(const void* box) {
  return (static_cast<uint64_t>(shared_address(box) & 0x3ffffu) >> 4) | uint64_t(1) << 16 | uint64_t(64) << 32 | uint64_t(1) << 62;
}
__device__ __forceinline__ void wgmma_fence() { asm volatile("wgmma.fence.sync.aligned;" ::: "memory"); }
__device__ __forceinline__ void wgmma_commit() { asm volatile("wgmma.commit_group.sync.aligned;" ::: "memory"); }
template <int left> __device__ __forceinline__ void wgmma_wait() { asm volatile("wgmma.wait_group.sync.aligned %0;" ::"n"(left) : "memory"); }

// d = (keep ? d : 0) + A B^T
#define TERSOR_D8(c, d, i) c(d[i]), c(d[i + 1]), c(d[i + 2]), c(d[i + 3]), c(d[i + 4]), c(d[i + 5]), c(d[i + 6]), c(d[i + 7])
#define TERSOR_D32(c, d, i) TERSOR_D8(c, d, i), TERSOR_D8(c, d, i + 8), TERSOR_D8(c, d, i + 16), TERSOR_D8(c, d, i + 24)
#define TERSOR_D128(c, d) TERSOR_D32(c, d, 0), TERSOR_D32(c, d, 32), TERSOR_D32(c, d, 64), TERSOR_D32(c, d, 96)
#define TERSOR_R8(a, b, c, d, e, f, g, h) "%" #a ",%" #b ",%" #c ",%" #d ",%" #e ",%" #f ",%" #g ",%" #h
#define TERSOR_WGMMA(name, T, c, type, scales)                                                                              \
  __device__ __forceinline__ void name(T(&d)[128], uint64_t a, uint64_t b, bool keep) {                                     \
    asm volatile("{\n.reg .pred keep;\nsetp.ne.b32 keep, %130, 0;\n"                                                        \
                 "wgmma.mma_async.sync.aligned." type " {"                                                                  \
                 TERSOR_R8(0, 1, 2, 3, 4, 5, 6, 7) "," TERSOR_R8(8, 9, 10, 11, 12, 13, 14, 15) ","                          \
                 TERSOR_R8(16, 17, 18, 19, 20, 21, 22, 23) "," TERSOR_R8(24, 25, 26, 27, 28, 29, 30, 31) ","                \
                 TERSOR_R8(32, 33, 34, 35, 36, 37, 38, 39) "," TERSOR_R8(40, 41, 42, 43, 44, 45, 46, 47) ","                \
                 TERSOR_R8(48, 49, 50, 51, 52, 53, 54, 55) "," TERSOR_R8(56, 57, 58, 59, 60, 61, 62, 63) ","                \
                 TERSOR_R8(64, 65, 66, 67, 68, 69, 70, 71) "," TERSOR_R8(72, 73, 74, 75, 76, 77, 78, 79) ","                \
                 TERSOR_R8(80, 81, 82, 83, 84, 85, 86, 87) "," TERSOR_R8(88, 89, 90, 91, 92, 93, 94, 95) ","                \
                 TERSOR_R8(96, 97, 98, 99, 100, 101, 102, 103) "," TERSOR_R8(104, 105, 106, 107, 108, 109, 110, 111) ","    \
                 TERSOR_R8(112, 113, 114, 115, 116, 117, 118, 119) "," TERSOR_R8(120, 121, 122, 123, 124, 125, 126, 127)    \
                 "}, %128, %129, keep" scales ";\n}"                                                                        \
                 : TERSOR_D128(c, d)                                                                                        \
                 : "l"(a), "l"(b), "r"(static_cast<int>(keep)));                                                            \
  }
TERSOR_WGMMA(wgmma_u8, int32_t, "+r", "m64n256k32.s32.u8.s8", "")
TERSOR_WGMMA(wgmma_s8, int32_t, "+r", "m64n256k32.s32.s8.s8", "")
TERSOR_WGMMA(wgmma_f16, float, "+f", "m64n256k16.f32.f16.f16", ", 1, 1, 0, 0")
TERSOR_WGMMA(wgmma_bf16, float, "+f", "m64n256k16.f32.bf16.bf16", ", 1, 1, 0, 0")
#undef TERSOR_WGMMA
#undef TERSOR_R8
#undef TERSOR_D8
#undef TERSOR_D32
#undef TERSOR_D128

template <int count> __device__ __forceinline__ void give_registers() { asm volatile("setmaxnreg.dec.sync.aligned.u32 %0;" ::"n"(count)); }
template <int count> __device__ __forceinline__ void take_registers() { asm volatile("setmaxnreg.inc.sync.aligned.u32 %0;" ::"n"(count)); }
// A barrier of `threads` threads of the block; 0 is __syncthreads.
__device__ __forceinline__ void named_barrier(int id, int threads) { asm volatile("bar.sync %0, %1;" ::"r"(id), "r"(threads) : "memory"); }
__device__ __forceinline__ uint32_t cluster_rank() {
  uint32_t r;
  asm volatile("mov.u32 %0, %%cluster_ctarank;" : "=r"(r));
  return r;
}
__device__ __forceinline__ void cluster_sync() {
  asm volatile("barrier.cluster.arrive.release.aligned;\nbarrier.cluster.wait.acquire.aligned;" ::: "memory");
}
#endif

}  // namespace cuda
}  // namespace tersor
#endif
