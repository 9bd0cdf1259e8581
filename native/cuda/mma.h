// Tensor cores, asynchronous copies and packed dot products behind one name each; under g++ their twins of emulate/mma.h, which hold the same layouts.
//
// Fragments of m16n8: g = lane / 4, t = lane % 4 (PTX ISA, "Matrix Fragments for mma.m16n8k.."). A register holds neighbours along k, lowest bits first.
//   d[0] d[1]: row g, columns 2t, 2t + 1      d[2] d[3]: row g + 8
//   16-bit, k = 16:  a[0]: row g,     k = 2t, 2t + 1   a[1]: row g + 8   a[2]: row g, k + 8   a[3]: row g + 8, k + 8     b[0]: column g, k = 2t, 2t + 1  b[1]: k + 8
//   8-bit,  k = 32:  a[0]: row g,     k = 4t .. 4t + 3 a[1]: row g + 8   a[2]: row g, k + 16  a[3]: row g + 8, k + 16    b[0]: column g, k = 4t .. 4t + 3 b[1]: k + 16
//   tf32,   k = 8:   a[0]: row g,     k = t            a[1]: row g + 8   a[2]: row g, k + 4   a[3]: row g + 8, k + 4     b[0]: column g, k = t            b[1]: k + 4
// All of them add: d += a b. Integers wrap modulo 2^32 and are exact; floats are products in full precision with f32 sums in an order of the hardware's own.
// On sm_75 the 8-bit and f16 forms are made of the smaller instructions it has; bf16 and tf32 trap there: the host picks another kernel (stream.sm < 80).
// The whole warp calls.
#pragma once
#include "cuda/device.h"
#if defined(TERSOR_CUDA_EMULATE)
#include "cuda/emulate/mma.h"
#endif

namespace tersor {
namespace cuda {

#if !defined(TERSOR_CUDA_EMULATE)

__device__ __forceinline__ uint32_t shared_address(const void* p) { return static_cast<uint32_t>(__cvta_generic_to_shared(p)); }

// --- 8x8 blocks of 16-bit elements from shared memory: lanes 8 i .. 8 i + 7 give the addresses of the 16-byte rows of block i, r[i] is its fragment:
// row lane / 4, elements 2 (lane % 4) and the next; _trans: of the transposed block ---
__device__ __forceinline__ void ldmatrix_x4(uint32_t (&r)[4], const void* row) {
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0, %1, %2, %3}, [%4];" : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3]) : "r"(shared_address(row)) : "memory");
}
__device__ __forceinline__ void ldmatrix_x4_trans(uint32_t (&r)[4], const void* row) {
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0, %1, %2, %3}, [%4];" : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3]) : "r"(shared_address(row)) : "memory");
}
__device__ __forceinline__ void ldmatrix_x2(uint32_t (&r)[2], const void* row) {
  asm volatile("ldmatrix.sync.aligned.m8n8.x2.shared.b16 {%0, %1}, [%2];" : "=r"(r[0]), "=r"(r[1]) : "r"(shared_address(row)) : "memory");
}
__device__ __forceinline__ void ldmatrix_x2_trans(uint32_t (&r)[2], const void* row) {
  asm volatile("ldmatrix.sync.aligned.m8n8.x2.trans.shared.b16 {%0, %1}, [%2];" : "=r"(r[0]), "=r"(r[1]) : "r"(shared_address(row)) : "memory");
}

// --- products ---
#if __CUDA_ARCH__ >= 800
#define TERSOR_MMA_INTEGER(name, a_type, b_type)                                                                                                       \
  __device__ __forceinline__ void name(int32_t (&d)[4], const uint32_t (&a)[4], const uint32_t (&b)[2]) {                                               \
    asm volatile("mma.sync.aligned.m16n8k32.row.col.s32." a_type "." b_type ".s32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, {%0, %1, %2, %3};"      \
                 : "+r"(d[0]), "+r"(d[1]), "+r"(d[2]), "+r"(d[3])                                                                                      \
                 : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));                                                                  \
  }
#else
#define TERSOR_MMA_INTEGER(name, a_type, b_type)                                                                                                       \
  __device__ __forceinline__ void name(int32_t (&d)[4], const uint32_t (&a)[4], const uint32_t (&b)[2]) {                                               \
    TERSOR_UNROLL                                                                                                                                      \
    for (int i = 0; i < 4; i++)                                                                                                                        \
      asm volatile("mma.sync.aligned.m8n8k16.row.col.s32." a_type "." b_type ".s32 {%0, %1}, {%2}, {%3}, {%0, %1};"                                     \
                   : "+r"(d[2 * (i & 1)]), "+r"(d[2 * (i & 1) + 1])                                                                                    \
                   : "r"(a[i]), "r"(b[i / 2]));                                                                                                        \
  }
#endif
TERSOR_MMA_INTEGER(mma_m16n8k32_s8, "s8", "s8")
TERSOR_MMA_INTEGER(mma_m16n8k32_u8s8, "u8", "s8")
TERSOR_MMA_INTEGER(mma_m16n8k32_s8u8, "s8", "u8")
TERSOR_MMA_INTEGER(mma_m16n8k32_u8, "u8", "u8")
#undef TERSOR_MMA_INTEGER

__device__ __forceinline__ void mma_m16n8k16_f16(float (&d)[4], const uint32_t (&a)[4], const uint32_t (&b)[2]) {
#if __CUDA_ARCH__ >= 800
  asm volatile("mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, {%0, %1, %2, %3};"
               : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
               : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
#else
  TERSOR_UNROLL
  for (int i = 0; i < 2; i++)
    asm volatile("mma.sync.aligned.m16n8k8.row.col.f32.f16.f16.f32 {%0, %1, %2, %3}, {%4, %5}, {%6}, {%0, %1, %2, %3};"
                 : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
                 : "r"(a[2 * i]), "r"(a[2 * i + 1]), "r"(b[i]));
#endif
}
__device__ __forceinline__ void mma_m16n8k16_bf16(float (&d)[4], const uint32_t (&a)[4], const uint32_t (&b)[2]) {
#if __CUDA_ARCH__ >= 800
  asm volatile("mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, {%0, %1, %2, %3};"
               : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
               : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
#else
  __trap();
#endif
}
// Operands: to_tf32 of f32 values.
__device__ __forceinline__ void mma_m16n8k8_tf32(float (&d)[4], const uint32_t (&a)[4], const uint32_t (&b)[2]) {
#if __CUDA_ARCH__ >= 800
  asm volatile("mma.sync.aligned.m16n8k8.row.col.f32.tf32.tf32.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, {%0, %1, %2, %3};"
               : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
               : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
#else
  __trap();
#endif
}
// Nearest with 10 bits of mantissa, ties away from zero.
__device__ __forceinline__ uint32_t to_tf32(float f) {
#if __CUDA_ARCH__ >= 800
  uint32_t u;
  asm("cvt.rna.tf32.f32 %0, %1;" : "=r"(u) : "f"(f));
  return u;
#else
  return __float_as_uint(f);
#endif
}

// c + sum of four products of bytes.
__device__ __forceinline__ int32_t dp4a_s8(uint32_t a, uint32_t b, int32_t c) { return __dp4a(static_cast<int>(a), static_cast<int>(b), c); }
__device__ __forceinline__ int32_t dp4a_u8s8(uint32_t a, uint32_t b, int32_t c) {
  int32_t d;
  asm("dp4a.u32.s32 %0, %1, %2, %3;" : "=r"(d) : "r"(a), "r"(b), "r"(c));
  return d;
}

// --- copies from device to shared memory that run beside the thread: 16 bytes, both addresses aligned to them; `filled` of them come from `from`, the rest is 0
// (from must be a valid address even for filled = 0). Visible to the thread after its wait, to the block after a barrier behind that ---
__device__ __forceinline__ void cp_async_16(void* to, const void* from, int filled = 16) {
#if __CUDA_ARCH__ >= 800
  asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;" ::"r"(shared_address(to)), "l"(from), "r"(filled) : "memory");
#else
  uint4 v = make_uint4(0, 0, 0, 0);
  if (filled == 16) v = *static_cast<const uint4*>(from);
  else
    for (int i = 0; i < filled; i++) reinterpret_cast<unsigned char*>(&v)[i] = static_cast<const unsigned char*>(from)[i];
  *static_cast<uint4*>(to) = v;
#endif
}
__device__ __forceinline__ void cp_async_4(void* to, const void* from, int filled = 4) {
#if __CUDA_ARCH__ >= 800
  asm volatile("cp.async.ca.shared.global [%0], [%1], 4, %2;" ::"r"(shared_address(to)), "l"(from), "r"(filled) : "memory");
#else
  *static_cast<uint32_t*>(to) = filled == 4 ? *static_cast<const uint32_t*>(from) : 0u;
#endif
}
__device__ __forceinline__ void cp_async_commit() {
#if __CUDA_ARCH__ >= 800
  asm volatile("cp.async.commit_group;" ::: "memory");
#endif
}
// Until at most `groups_left` of the committed groups are on their way.
template <int groups_left> __device__ __forceinline__ void cp_async_wait() {
#if __CUDA_ARCH__ >= 800
  asm volatile("cp.async.wait_group %0;" ::"n"(groups_left) : "memory");
#endif
}

#endif  // !TERSOR_CUDA_EMULATE

}  // namespace cuda
}  // namespace tersor
