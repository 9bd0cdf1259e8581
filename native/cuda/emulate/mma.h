// The emulator's twins of mma.h: every lane brings its fragment, the last one multiplies the whole tiles, laid out as the PTX ISA says. Float products are
// summed in double and rounded once, which no hardware does; tests allow for the difference.
#pragma once
#include <cmath>
#include <cstring>

#include "base/float16.h"
#include "cuda/device.h"

namespace tersor {
namespace emulate {

template <class D> struct Product {
  D* d;
  const uint32_t* a;
  const uint32_t* b;
};

// Element `i` (0 .. 32 / bits - 1) of a register.
struct AsS8 {
  static constexpr int per_register = 4, k = 32;
  static int64_t get(uint32_t r, int i) { return static_cast<int8_t>(r >> (8 * i)); }
};
struct AsU8 {
  static constexpr int per_register = 4, k = 32;
  static int64_t get(uint32_t r, int i) { return static_cast<uint8_t>(r >> (8 * i)); }
};
struct AsF16 {
  static constexpr int per_register = 2, k = 16;
  static double get(uint32_t r, int i) { return static_cast<double>(f32_from_f16(static_cast<uint16_t>(r >> (16 * i)))); }
};
struct AsBf16 {
  static constexpr int per_register = 2, k = 16;
  static double get(uint32_t r, int i) { return static_cast<double>(f32_from_bf16(static_cast<uint16_t>(r >> (16 * i)))); }
};
struct AsTf32 {  // the low 13 bits do not count
  static constexpr int per_register = 1, k = 8;
  static double get(uint32_t r, int) { return static_cast<double>(f32_from_bits(r & ~0x1fffu)); }
};

template <class D> void need_all(uint32_t mask) {
  if (mask != 0xffffffffu) stop("a product of a warp that is not whole", 0);
}

template <class A, class B, class D> void multiply(void* const (&data)[32], uint32_t mask) {
  need_all<D>(mask);
  constexpr int k = A::k, per = A::per_register;
  using Sum = decltype(A::get(0, 0));
  Sum a[16][k], b[k][8];
  for (int lane = 0; lane < 32; lane++) {
    const auto* p = static_cast<const Product<D>*>(data[lane]);
    const int g = lane / 4, t = lane % 4;
    for (int r = 0; r < 4; r++)
      for (int i = 0; i < per; i++) a[g + 8 * (r & 1)][(r / 2) * k / 2 + per * t + i] = A::get(p->a[r], i);
    for (int r = 0; r < 2; r++)
      for (int i = 0; i < per; i++) b[r * k / 2 + per * t + i][g] = B::get(p->b[r], i);
  }
  for (int lane = 0; lane < 32; lane++) {
    auto* p = static_cast<Product<D>*>(data[lane]);
    for (int r = 0; r < 4; r++) {
      const int row = lane / 4 + 8 * (r / 2), column = 2 * (lane % 4) + (r & 1);
      Sum sum = static_cast<Sum>(p->d[r]);
      for (int i = 0; i < k; i++) sum += a[row][i] * b[i][column];
      p->d[r] = static_cast<D>(sum);
    }
  }
}

struct Rows {
  uint32_t* r;
  const void* row;
};
template <int blocks, bool transposed> void load_blocks(void* const (&data)[32], uint32_t mask) {
  need_all<int>(mask);
  for (int m = 0; m < blocks; m++) {
    uint16_t block[8][8];
    for (int i = 0; i < 8; i++) {
      const void* row = static_cast<const Rows*>(data[8 * m + i])->row;
      if (reinterpret_cast<uintptr_t>(row) % 16) stop("ldmatrix from an address that is not a multiple of 16", 0);
      memcpy(block[i], row, 16);
    }
    for (int lane = 0; lane < 32; lane++) {
      const int g = lane / 4, t = lane % 4;
      const uint32_t low = transposed ? block[2 * t][g] : block[g][2 * t], high = transposed ? block[2 * t + 1][g] : block[g][2 * t + 1];
      static_cast<Rows*>(data[lane])->r[m] = low | high << 16;
    }
  }
}

}  // namespace emulate

namespace cuda {

#define TERSOR_TWIN(name, A, B, D)                                                                                                  \
  inline void name(D (&d)[4], const uint32_t (&a)[4], const uint32_t (&b)[2], int line = __builtin_LINE()) {                       \
    emulate::Product<D> p{d, a, b};                                                                                                \
    emulate::meet(kFullMask, #name, line, &p, emulate::multiply<emulate::A, emulate::B, D>);                                       \
  }
TERSOR_TWIN(mma_m16n8k32_s8, AsS8, AsS8, int32_t)
TERSOR_TWIN(mma_m16n8k32_u8s8, AsU8, AsS8, int32_t)
TERSOR_TWIN(mma_m16n8k32_s8u8, AsS8, AsU8, int32_t)
TERSOR_TWIN(mma_m16n8k32_u8, AsU8, AsU8, int32_t)
TERSOR_TWIN(mma_m16n8k16_f16, AsF16, AsF16, float)
TERSOR_TWIN(mma_m16n8k16_bf16, AsBf16, AsBf16, float)
TERSOR_TWIN(mma_m16n8k8_tf32, AsTf32, AsTf32, float)
#undef TERSOR_TWIN

#define TERSOR_TWIN(name, blocks, transposed)                                                        \
  inline void name(uint32_t (&r)[blocks], const void* row, int line = __builtin_LINE()) {           \
    emulate::Rows rows{r, row};                                                                     \
    emulate::meet(kFullMask, #name, line, &rows, emulate::load_blocks<blocks, transposed>);         \
  }
TERSOR_TWIN(ldmatrix_x4, 4, false)
TERSOR_TWIN(ldmatrix_x4_trans, 4, true)
TERSOR_TWIN(ldmatrix_x2, 2, false)
TERSOR_TWIN(ldmatrix_x2_trans, 2, true)
#undef TERSOR_TWIN

inline uint32_t to_tf32(float f) {
  const uint32_t u = f32_bits(f);
  return (u & 0x7f800000u) == 0x7f800000u ? u : (u + 0x1000u) & ~0x1fffu;
}

inline int32_t dp4a_s8(uint32_t a, uint32_t b, int32_t c) {
  for (int i = 0; i < 4; i++) c += static_cast<int32_t>(emulate::AsS8::get(a, i) * emulate::AsS8::get(b, i));
  return c;
}
inline int32_t dp4a_u8s8(uint32_t a, uint32_t b, int32_t c) {
  for (int i = 0; i < 4; i++) c += static_cast<int32_t>(emulate::AsU8::get(a, i) * emulate::AsS8::get(b, i));
  return c;
}

inline void cp_async_16(void* to, const void* from, int filled = 16, int line = __builtin_LINE()) { emulate::copy_start(to, from, 16, filled, line); }
inline void cp_async_4(void* to, const void* from, int filled = 4, int line = __builtin_LINE()) { emulate::copy_start(to, from, 4, filled, line); }
inline void cp_async_commit() { emulate::copy_commit(); }
template <int groups_left> void cp_async_wait() { emulate::copy_wait(groups_left); }

}  // namespace cuda
}  // namespace tersor
