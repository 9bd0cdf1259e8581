// Host twins of hopper.h. They decode descriptors and swizzles by the PTX ISA, so a kernel that names the wrong bytes gives wrong numbers here too:
//   - a box of the TMA arrives at some later look at a barrier, in shuffled order among those on their way; until then its place holds poison;
//   - a wgmma reads shared memory when its group is waited for, not when it is issued: a stage that is given back too early has poison in it;
//   - a thread that waits gives way; one that waits for what never comes ends the launch.
// Clusters are of one block here: what differs for two (multicast, arrivals at the other block's barriers) is compiled for devices only.
#pragma once
#include "base/float16.h"
#include "cuda/device.h"

#define TERSOR_HOPPER 1
#define TERSOR_CLUSTER(n)

namespace tersor {
namespace cuda {

struct TensorMap {
  const unsigned char* base;
  int64_t rows, row_bytes, width;  // width: bytes of a row that count
  int box_rows;
};

}  // namespace cuda

namespace emulate {

struct Phase {  // in the 8 bytes of a barrier
  uint8_t parity, arrivals, pending, live;
  int32_t bytes;
};
static_assert(sizeof(Phase) == 8, "a barrier has 8 bytes");

void barrier_init(Phase* b, int arrivals);
void barrier_arrive(Phase* b, int bytes);  // expecting `bytes` more
void barrier_wait(Phase* b, uint32_t parity);
void tma_load(void* to, const cuda::TensorMap* map, Phase* b, int byte, int row, int box_bytes);
void named_barrier(int id, int threads);

// One product of a warp's 16 rows, carried out at the wait. multiply(sums, a, b): one sum of 32 bytes.
struct WarpProduct {
  void* d;
  uint64_t a, b;
  bool keep;
  void (*multiply)(void* sum, bool keep, const unsigned char* a, const unsigned char* b);
};
void wgmma_issue(const WarpProduct& p);
void wgmma_commit();
void wgmma_wait(int left);
uint64_t wgmma_descriptor(const void* box);

}  // namespace emulate

namespace cuda {

inline uint32_t shared_address(const void* p) {
  return static_cast<uint32_t>(static_cast<const unsigned char*>(p) - static_cast<const unsigned char*>(emulate::machine.dynamic_shared()));
}
inline void barrier_init(uint64_t* b, int arrivals) { emulate::barrier_init(reinterpret_cast<emulate::Phase*>(b), arrivals); }
inline void barrier_init_fence() {}
inline void barrier_expect(uint64_t* b, uint32_t bytes) { emulate::barrier_arrive(reinterpret_cast<emulate::Phase*>(b), static_cast<int>(bytes)); }
inline void barrier_arrive(uint64_t* b) { emulate::barrier_arrive(reinterpret_cast<emulate::Phase*>(b), 0); }
inline void barrier_arrive_at(uint64_t* b, uint32_t) { barrier_arrive(b); }
inline void barrier_wait(uint64_t* b, uint32_t parity) { emulate::barrier_wait(reinterpret_cast<emulate::Phase*>(b), parity); }
inline void tma_load(void* to, const TensorMap* map, uint64_t* b, int byte, int row, int box_bytes) {
  emulate::tma_load(to, map, reinterpret_cast<emulate::Phase*>(b), byte, row, box_bytes);
}
inline void tma_load_multicast(void* to, const TensorMap* map, uint64_t* b, int byte, int row, int box_bytes, uint16_t) { tma_load(to, map, b, byte, row, box_bytes); }
inline void tma_prefetch_map(const TensorMap*) {}
inline uint64_t wgmma_descriptor(const void* box) { return emulate::wgmma_descriptor(box); }
inline void wgmma_fence() {}
inline void wgmma_commit() { emulate::wgmma_commit(); }
template <int left> inline void wgmma_wait() { emulate::wgmma_wait(left); }
template <int count> inline void give_registers() {}
template <int count> inline void take_registers() {}
inline void named_barrier(int id, int threads) { emulate::named_barrier(id, threads); }
inline uint32_t cluster_rank() { return 0; }
inline void cluster_sync() { __syncthreads(); }

template <class A> inline void multiply_bytes(void* sum, bool keep, const unsigned char* a, const unsigned char* b) {
  uint32_t s = 0;
  if (keep) memcpy(&s, sum, 4);
  for (int i = 0; i < 32; i++) s += static_cast<uint32_t>(static_cast<int32_t>(static_cast<A>(a[i])) * static_cast<int8_t>(b[i]));
  memcpy(sum, &s, 4);
}
template <float (*to_float)(uint16_t)> inline void multiply_halves(void* sum, bool keep, const unsigned char* a, const unsigned char* b) {
  float s = 0;
  if (keep) memcpy(&s, sum, 4);
  for (int i = 0; i < 32; i += 2) {
    uint16_t x, y;
    memcpy(&x, a + i, 2), memcpy(&y, b + i, 2);
    s += to_float(x) * to_float(y);
  }
  memcpy(sum, &s, 4);
}
inline float wgmma_f16_value(uint16_t h) { return f32_from_f16(h); }
inline float wgmma_bf16_value(uint16_t h) { return f32_from_bf16(h); }
inline void wgmma_u8(int32_t (&d)[128], uint64_t a, uint64_t b, bool keep) { emulate::wgmma_issue({d, a, b, keep, multiply_bytes<uint8_t>}); }
inline void wgmma_s8(int32_t (&d)[128], uint64_t a, uint64_t b, bool keep) { emulate::wgmma_issue({d, a, b, keep, multiply_bytes<int8_t>}); }
inline void wgmma_f16(float (&d)[128], uint64_t a, uint64_t b, bool keep) { emulate::wgmma_issue({d, a, b, keep, multiply_halves<wgmma_f16_value>}); }
inline void wgmma_bf16(float (&d)[128], uint64_t a, uint64_t b, bool keep) { emulate::wgmma_issue({d, a, b, keep, multiply_halves<wgmma_bf16_value>}); }

}  // namespace cuda
}  // namespace tersor
