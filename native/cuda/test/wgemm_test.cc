// Weight-only products on the device: exact unpacking, and results within the bound of kernels/wgemm/wgemm.h of an f64 reference.
#include <cmath>

#include "cuda/test/packed_op.h"

using namespace tersor;
using namespace tersor::test;

namespace {

struct WeightCase {
  int bits;
  int64_t m, n, k, groups;
  bool affine;
};

// y against sum_k x w in f64, w as unpacked; what each row of x may be off by grows with its largest value.
void check_reference(Arena& arena, const WeightCase& c, const TensorRef& x, const TensorRef& packed, const float* w) {
  wgemm_args a{};
  a.x = x, a.packed = packed, a.out = c.n;
  a.bias = arena.uniform(DType::f32, {c.n}, -1, 1), a.residual = arena.uniform(DType::f32, {c.m, c.n}, -1, 1), a.act = activation::relu;
  Results r;
  const Status status = run_device(arena, "wgemm", &a, &r);
  CHECK_OK(status);
  if (!status.ok()) return;
  int64_t wrong = 0;
  for (int64_t i = 0; i < c.m; i++)
    for (int64_t j = 0; j < c.n; j++) {
      double sum = 0, size = 0, top = 0, weights = 0;
      for (int64_t k = 0; k < c.k; k++) {
        const double v = arena.get(x, i * c.k + k), u = static_cast<double>(w[j * c.k + k]);
        sum += v * u, size += std::fabs(v * u), top = std::max(top, std::fabs(v)), weights += 8 * std::fabs(u);
      }
      sum += arena.get(a.bias, j);
      const double y = std::max(sum, 0.0) + arena.get(a.residual, i * c.n + j), got = static_cast<double>(r.device<float>(0)[i * c.n + j]);
      const double bound = 2.4e-7 * top * (weights + 1) + 6e-8 * (static_cast<double>(c.k) / 32 + 16) * (size + 2);
      wrong += !(std::fabs(got - y) <= bound) && !(std::isnan(y) && std::isnan(got)) && !(y == got) ? 1 : 0;
    }
  CHECK_MSG(wrong == 0, "wgemm on the device leaves its bound");
}

}  // namespace

TERSOR_TEST(cuda_wgemm_within_its_bound) {
  for (const WeightCase c : {WeightCase{4, 1, 20, 256, 2, false}, {4, 9, 33, 128, 1, true}, {8, 3, 17, 256, 1, true}, {3, 2, 16, 256, 2, true}, {2, 4, 5, 128, 1, false}, {4, 12, 18, 96, 3, true}, {8, 2, 7, 50, 1, false},
                       {3, 2, 9, 70, 2, false}, {2, 3, 8, 192, 3, true}, {4, 2, 130, 1100, 1, false}, {4, 1, 3, 1, 1, false}}) {
    Arena arena;
    const int half = 1 << (c.bits - 1);
    wgemm_pack_args p{};
    p.q = arena.uniform(DType::i8, {c.n, c.k}, -half, half - 1), p.bits = c.bits, p.scale = arena.uniform(DType::f32, {c.n, c.groups}, 0.01, 0.1);
    if (c.affine) p.zero = arena.uniform(DType::f32, {c.n, 1}, -3, 3);
    const PackedBoth packed = pack_both(arena, "wgemm_pack", p);
    wgemm_unpack_args u{};
    u.out = c.n, u.cols = c.k;
    check_packed(arena, "wgemm_unpack", u, packed, exact());
    u.packed = packed.device;
    Results w;
    CHECK_OK(run_device(arena, "wgemm_unpack", &u, &w));
    TensorRef x = arena.uniform(DType::f32, {c.m, c.k}, -2, 2);
    if (c.m > 2) x.as<float>()[c.k] = 3e30f, x.as<float>()[2 * c.k] = NAN;  // rows that integers do not hold
    check_reference(arena, c, x, packed.device, w.device<float>(0));
  }
}

TERSOR_TEST(cuda_wgemm_of_many_rows) {
  Arena arena;
  const WeightCase c{4, 514, 3, 20, 1, false};
  wgemm_pack_args p{};
  p.q = arena.uniform(DType::i8, {c.n, c.k}, -8, 7), p.bits = 4, p.scale = arena.uniform(DType::f32, {1, 1}, 0.01, 0.1);
  const PackedBoth packed = pack_both(arena, "wgemm_pack", p);
  wgemm_args a{};
  a.x = arena.uniform(DType::f32, {c.m, c.k}, -1, 1), a.out = c.n;
  check_packed(arena, "wgemm", a, packed, within(0, 1e-5));
  p.q.as<int8_t>()[7] = 8;
  Results r;
  const Status status = run_device(arena, "wgemm_pack", &p, &r);
  CHECK_MSG(status.code == Code::shape && strstr(status.message, "codes"), "codes beyond the bits are refused");
}
