// The int8 products on the device, to the bit as on the CPU: shapes of all tiles, ragged edges, all forms of x, all epilogues.
#include <cstdlib>

#include "cuda/test/packed_op.h"

namespace tersor {
namespace cuda {
const char* wgmma_state(int32_t device, int cluster);  // hopper.cu
}
}  // namespace tersor

using namespace tersor;
using namespace tersor::test;

namespace {

PackedBoth pack(Arena& arena, const TensorRef& w) {
  qgemm_pack_args a{};
  a.w = w;
  return pack_both(arena, "qgemm_pack", a);
}

struct Shape {
  int64_t m, n, k;
};

}  // namespace

TERSOR_TEST(cuda_qgemm_s32_is_exact) {
  for (const Shape s : {Shape{1, 1, 1}, {3, 70, 64}, {16, 33, 200}, {17, 65, 63}, {66, 130, 129}, {5, 9, 0}, {0, 4, 8}, {4, 0, 8}}) {
    Arena arena;
    const PackedBoth w = pack(arena, arena_codes(arena, DType::i8, {s.n, s.k}));
    for (const DType t : {DType::u8, DType::i8}) {
      qgemm_s32_args a{};
      a.x = arena_codes(arena, t, {s.m, s.k});
      a.out = s.n;
      a.x_zero = t == DType::u8 ? 137 : -5;
      check_packed(arena, "qgemm_s32", a, w, exact());
      if (s.m < 8) continue;
      a.x_zeros = t == DType::u8 ? arena.uniform(DType::i32, {s.m}, 0, 255) : arena.uniform(DType::i32, {s.m}, -128, 127);
      a.w_zeros = arena.uniform(DType::i32, {s.n}, -128, 127);
      check_packed(arena, "qgemm_s32", a, w, exact());
    }
  }
}

TERSOR_TEST(cuda_qgemm_of_views_and_extremes) {
  Arena arena;
  const TensorRef wide = arena.uniform(DType::i8, {96, 40}, -128, -128);
  const PackedBoth w = pack(arena, Arena::transposed(Arena::sliced(wide, 1, 0, 20, 2)));
  qgemm_s32_args a{};
  a.x = Arena::transposed(arena_codes(arena, DType::u8, {96, 18}));
  a.out = 20;
  a.x_zero = 255;
  check_packed(arena, "qgemm_s32", a, w, exact());
}

TERSOR_TEST(cuda_qgemm_of_a_deep_k_has_64_bits) {
  Arena arena;
  const int64_t k = 66000;
  const PackedBoth w = pack(arena, arena.uniform(DType::i8, {2, k}, -128, -127));
  qgemm_s32_args a{};
  a.x = arena.uniform(DType::u8, {2, k + 64}, 250, 255);
  a.x = Arena::sliced(a.x, 1, 0, k);
  a.out = 2;
  check_packed(arena, "qgemm_s32", a, w, exact());
}

TERSOR_TEST(cuda_qlinear_has_the_bits_of_the_cpu) {
  Arena arena;
  const int64_t m = 37, n = 75, k = 130;
  const PackedBoth w = pack(arena, arena_codes(arena, DType::i8, {n, k}));
  const TensorRef x = arena.uniform(DType::f32, {m, k}, -3, 4), scale = arena.uniform(DType::f32, {n}, 0.001, 0.01), one = arena.uniform(DType::f32, {1}, 0.001, 0.01);
  for (int act = 0; act < 6; act++) {
    qlinear_args a{};
    a.x = x, a.w_scale = act % 2 ? scale : one, a.out = n, a.x_scale = 0.031, a.x_zero = 117;
    if (act != 2) a.bias = arena.uniform(DType::f32, {n}, -2, 2);
    a.act = static_cast<activation>(act);
    check_packed(arena, "qlinear", a, w, exact());
  }
  for (const bool symmetric : {true, false}) {
    qlinear_dynamic_args a{};
    a.x = arena.uniform(DType::f32, {m, k}, -3, 4), a.w_scale = scale, a.out = n, a.symmetric = symmetric;
    a.x.as<float>()[5 * k + 3] = INFINITY, a.x.as<float>()[7 * k] = NAN;
    for (int64_t i = 0; i < k; i++) a.x.as<float>()[9 * k + i] = 0;
    a.bias = arena.uniform(DType::f32, {n}, -2, 2);
    a.act = activation::gelu;
    check_packed(arena, "qlinear_dynamic", a, w, exact());
    a.residual = Arena::transposed(arena.uniform(DType::f32, {n, m}, -2, 2));
    check_packed(arena, "qlinear_dynamic", a, w, exact());
  }
}

TERSOR_TEST(cuda_qconv2d_has_the_bits_of_the_cpu) {
  struct Case {
    int64_t b, c, h, w, o, kh, kw, sh, sw, top, bottom, left, right, dh, dw, groups;
  };
  for (const Case& c : {Case{2, 3, 7, 9, 5, 3, 3, 1, 1, 1, 1, 1, 1, 1, 1, 1},
                        {1, 4, 8, 8, 33, 1, 1, 2, 1, 0, 0, 0, 0, 1, 1, 1},
                        {3, 2, 5, 6, 4, 5, 2, 2, 3, 4, 1, 0, 3, 1, 1, 1},
                        {1, 16, 6, 5, 9, 3, 3, 1, 2, 2, 0, 1, 2, 1, 1, 1},
                        {2, 5, 11, 9, 7, 3, 2, 1, 2, 0, 3, 2, 1, 3, 2, 1},      // dilated
                        {3, 40, 9, 8, 40, 3, 3, 2, 1, 1, 0, 2, 1, 1, 1, 40},    // depthwise
                        {1, 20, 12, 9, 20, 5, 5, 1, 1, 4, 4, 4, 4, 2, 2, 20},   // depthwise, dilated
                        {5, 12, 30, 31, 18, 3, 3, 2, 2, 1, 1, 0, 1, 1, 2, 3},   // groups, in several chunks
                        {2, 6, 5, 5, 12, 2, 2, 1, 1, 0, 1, 1, 0, 1, 1, 6},      // two filters a channel
                        {1, 3, 4, 4, 3, 520, 1, 1, 1, 520, 3, 0, 0, 1, 1, 3}, // more taps than the CPU's depthwise path takes
                        {3, 5, 19, 23, 6, 3, 3, 1, 1, 1, 1, 1, 1, 1, 1, 1},     // the taps of one image are several chunks (emulated: 4 KB)
                        {2, 520, 2, 3, 4, 3, 3, 1, 1, 1, 1, 1, 1, 1, 1, 1},     // those of a pixel are more than one
                        {2, 0, 4, 4, 3, 1, 1, 1, 1, 0, 0, 0, 0, 1, 1, 1},       // sums of nothing
                        {0, 4, 4, 4, 4, 3, 3, 1, 1, 1, 1, 1, 1, 1, 1, 2}}) {
    Arena arena;
    qconv2d_pack_args filters{};
    const int64_t shape[4] = {c.o, c.c / c.groups, c.kh, c.kw};
    filters.w = arena_codes(arena, DType::i8, {shape[0], shape[1], shape[2], shape[3]}), filters.groups = c.groups;
    const PackedBoth w = pack_both(arena, "qconv2d_pack", filters);
    for (const bool plain : {true, false}) {
      qconv2d_args a{};
      a.x = plain ? arena.uniform(DType::f32, {c.b, c.c, c.h, c.w}, -3, 4) : Arena::permuted(arena.uniform(DType::f32, {c.b, c.h, c.w, c.c}, -3, 4), {0, 3, 1, 2});
      a.w_scale = arena.uniform(DType::f32, {plain ? c.o : 1}, 0.001, 0.01), a.x_scale = 0.031, a.x_zero = plain ? 117 : 0;
      if (plain) a.bias = arena.uniform(DType::f32, {c.o}, -2, 2);
      if (plain && a.x.size() > 3) a.x.as<float>()[0] = INFINITY, a.x.as<float>()[1] = NAN, a.x.as<float>()[2] = -INFINITY;
      a.weight_shape = {{shape[0], shape[1], shape[2], shape[3]}, 4}, a.stride = {{c.sh, c.sw}, 2}, a.padding = {{c.top, c.bottom, c.left, c.right}, 4};
      a.dilation = {{c.dh, c.dw}, 2}, a.groups = c.groups;
      check_packed(arena, "qconv2d", a, w, exact());
    }
  }
}

TERSOR_TEST(cuda_qconv2d_refuses_filters_of_other_layouts) {
  Arena arena;
  qconv2d_pack_args filters{};
  filters.w = arena_codes(arena, DType::i8, {8, 4, 3, 3}), filters.groups = 2;
  const PackedBoth grouped = pack_both(arena, "qconv2d_pack", filters);
  qconv2d_args a{};
  a.x = arena.uniform(DType::f32, {1, 8, 6, 6}, -1, 1), a.w_scale = arena.uniform(DType::f32, {1}, 0.001, 0.01), a.x_scale = 0.02, a.x_zero = 100;
  a.weight_shape = {{8, 4, 3, 3}, 4}, a.stride = {{1, 1}, 2}, a.padding = {{0, 0, 0, 0}, 4}, a.dilation = {{1, 1}, 2}, a.groups = 2;
  a.packed = arena.make(DType::u8, {grouped.cpu.shape[0]});
  memcpy(a.packed.data, grouped.cpu.data, static_cast<size_t>(grouped.cpu.shape[0]));
  Results r;
  const Status status = run_device(arena, "qconv2d", &a, &r);
  CHECK_MSG(status.code == Code::shape && strstr(status.message, "packed"), "filters that the CPU packed are refused");
}

TERSOR_TEST(cuda_qmatmul_narrows_as_the_cpu) {
  Arena arena;
  const int64_t m = 19, n = 68, k = 96;
  const PackedBoth w = pack(arena, arena_codes(arena, DType::i8, {n, k}));
  for (const DType t : {DType::u8, DType::i8, DType::f32}) {
    qmatmul_args a{};
    a.x = t == DType::f32 ? arena.uniform(t, {m, k}, -3, 3) : arena_codes(arena, t, {m, k});
    a.w_scale = arena.uniform(DType::f32, {n}, 0.0001, 0.001), a.out = n, a.x_scale = 0.02, a.x_zero = t == DType::i8 ? -7 : 120;
    a.y_scale = 0.05, a.act = activation::none;
    for (const DType y : {DType::f32, DType::u8, DType::i8}) {
      a.dtype = y, a.y_zero = y == DType::u8 ? 100 : -20;
      check_packed(arena, "qmatmul", a, w, exact());
    }
    if (t == DType::f32) continue;
    a.x_scales = arena.uniform(DType::f32, {m}, 0.01, 0.02), a.x_zeros = arena.uniform(DType::i32, {m}, 0, 100), a.w_zeros = arena.uniform(DType::i32, {n}, -20, 20);
    a.residual = arena.uniform(DType::f32, {m, n}, -1, 1), a.act = activation::relu;
    check_packed(arena, "qmatmul", a, w, exact());

    qmatmul_fixed_args f{};
    f.x = a.x, f.out = n, f.x_zero = a.x_zero, f.dtype = t, f.y_zero = t == DType::u8 ? 128 : 3, f.lo = t == DType::u8 ? 5 : -100, f.hi = 120;
    f.multiplier = arena.uniform(DType::i32, {n}, 1 << 30, INT32_MAX), f.exponent = arena.uniform(DType::i32, {n}, -14, 2);
    f.bias = arena.uniform(DType::i32, {n}, -5000, 5000);
    check_packed(arena, "qmatmul_fixed", f, w, exact());
    f.exponent = arena.integers(DType::i32, {-31}, {1});
    f.w_zeros = arena.uniform(DType::i32, {n}, -128, 127);
    check_packed(arena, "qmatmul_fixed", f, w, exact());
  }
}

TERSOR_TEST(cuda_refuses_what_the_cpu_packed) {
  Arena arena;
  const PackedBoth w = pack(arena, arena_codes(arena, DType::i8, {8, 64}));
  qgemm_s32_args a{};
  a.x = arena_codes(arena, DType::u8, {2, 64}), a.packed = arena.make(DType::u8, {w.cpu.shape[0]}), a.out = 8;
  memcpy(a.packed.data, w.cpu.data, static_cast<size_t>(w.cpu.shape[0]));
  Results r;
  const Status status = run_device(arena, "qgemm_s32", &a, &r);
  CHECK_MSG(status.code == Code::shape && strstr(status.message, "packed"), "foreign packed bytes are refused");
}

// On a device of compute capability 9.0: shapes of the wgmma path against the CPU, and that its self check did not withdraw it. The emulator has a test of its own.
TERSOR_TEST(cuda_wgmma_serves_on_its_device) {
  if (emulated() || device_sm() != 90 || getenv("TERSOR_CUDA_PATHS")) return skip_case("wants a device of compute capability 9.0 with all paths on");
  Arena arena;
  for (const Shape s : {Shape{1024, 1024, 256}, {1100, 1030, 1000}, {2100, 2420, 300}}) {  // the last: more tiles than an H200 has multiprocessors
    const PackedBoth w = pack(arena, arena_codes(arena, DType::i8, {s.n, s.k}));
    for (const DType t : {DType::u8, DType::i8}) {
      qgemm_s32_args a{};
      a.x = arena_codes(arena, t, {s.m, s.k}), a.out = s.n, a.x_zero = 3;
      check_packed(arena, "qgemm_s32", a, w, exact());
    }
  }
  CHECK_MSG(strstr(cuda::wgmma_state(0, 1), "checked") != nullptr, cuda::wgmma_state(0, 1));
}
