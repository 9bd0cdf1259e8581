// Masks on the device against the CPU: bits are exact, whatever ties, NaN and infinities there are.
#include <cmath>
#include <limits>

#include "cuda/test/device_call.h"

using namespace tersor;
using namespace tersor::test;

namespace {

constexpr float kNan = std::numeric_limits<float>::quiet_NaN(), kInf = std::numeric_limits<float>::infinity();

void topk(const Arena& arena, const TensorRef& scores, int64_t k, bool magnitude) {
  DEVICE_OP(op, topk_mask);
  op.args.scores = scores, op.args.k = k, op.args.magnitude = magnitude;
  op.check(arena, exact());
}

}  // namespace

TERSOR_TEST(cuda_topk_mask_radix) {
  for (const DType t : {DType::f32, DType::f64}) {
    Arena arena;
    const TensorRef x = arena.uniform(t, {5003}, -3, 3), few = arena.uniform(t, {7}, -1, 1), bits = arena.bits(t, {2500});
    for (const int64_t k : {int64_t(0), int64_t(1), int64_t(500), int64_t(5002), int64_t(5003)})
      for (const bool magnitude : {false, true}) topk(arena, x, k, magnitude);
    for (int64_t k = 0; k <= 7; k += 3) topk(arena, few, k, true);
    for (const int64_t k : {int64_t(100), int64_t(1300), int64_t(2499)}) topk(arena, bits, k, k == 1300);
    topk(arena, Arena::transposed(arena.uniform(t, {40, 33}, -1, 1)), 200, false);
    topk(arena, Arena::sliced(x, 0, 3, 4001), 77, true);
  }
}

TERSOR_TEST(cuda_topk_mask_ties) {
  Arena arena;
  const TensorRef steps = arena.uniform(DType::i32, {6000}, -2, 2), x = arena.make(DType::f32, {6000});
  for (int64_t i = 0; i < 6000; i++) x.as<float>()[i] = static_cast<float>(steps.as<int32_t>()[i]) * 0.5f;
  x.as<float>()[5] = -0.0f;
  for (const int64_t k : {int64_t(1), int64_t(700), int64_t(3000), int64_t(5999)})
    for (const bool magnitude : {false, true}) topk(arena, x, k, magnitude);
  const TensorRef odd = arena.values({kNan, 1, -kInf, kNan, kInf, -0.0f, 0, -1, kNan, -kInf, 1, kInf}, {12});
  for (int64_t k = 0; k <= 12; k++)
    for (const bool magnitude : {false, true}) topk(arena, odd, k, magnitude);
}

TERSOR_TEST(cuda_topk_mask_bracket) {
  Arena arena;
  const int64_t n = (1 << 20) + 77;
  const TensorRef x = arena.normal({n});
  x.as<float>()[11] = kNan, x.as<float>()[n - 1] = kInf;
  topk(arena, x, n / 10, true);
  topk(arena, x, n - 1000, false);
  for (int64_t i = 0; i < n; i += 3) x.as<float>()[i] = 0.25f;  // a third are ties: the lists overflow
  topk(arena, x, n / 2, false);
}

TERSOR_TEST(cuda_topk_mask_rows) {
  Arena arena;
  for (const DType t : {DType::f32, DType::f64})
    for (const int64_t cols : {int64_t(1), int64_t(31), int64_t(300), int64_t(517)}) {
      DEVICE_OP(op, topk_mask_rows);
      op.args.scores = cols == 31 ? arena.bits(t, {7, cols}) : arena.uniform(t, {7, cols}, -1, 1);
      for (const int64_t k : {int64_t(0), cols / 3, cols}) {
        op.args.k = k, op.args.magnitude = cols != 300;
        op.check(arena, exact());
      }
    }
  DEVICE_OP(op, topk_mask_rows);
  op.args.scores = Arena::broadcast(arena.values({3, 3, 3}, {3, 1}), {3, 300});  // nothing but ties
  op.args.k = 100;
  op.check(arena, exact());
}

TERSOR_TEST(cuda_nm_and_threshold_masks) {
  Arena arena;
  for (const DType t : {DType::f32, DType::f64}) {
    for (const int64_t m : {2, 4, 8, 1, 6, 64}) {
      DEVICE_OP(op, nm_mask);
      op.args.scores = m == 4 ? arena.bits(t, {5, 52}) : arena.uniform(t, {3, m * 5}, -1, 1);
      op.args.m = m;
      for (int64_t n = 0; n <= m; n += m > 8 ? 21 : 1) {
        op.args.n = n, op.args.magnitude = n % 2 == 0;
        op.check(arena, exact());
      }
    }
    DEVICE_OP(op, threshold_mask);
    op.args.scores = arena.bits(t, {1301});
    for (const double threshold : {0.0, -0.0, 1e-3, -1.0, 0.1, std::numeric_limits<double>::infinity(), -std::numeric_limits<double>::infinity()})
      for (const bool magnitude : {false, true}) {
        op.args.threshold = threshold, op.args.magnitude = magnitude;
        op.check(arena, exact());
      }
  }
}

TERSOR_TEST(cuda_bit_sets) {
  Arena arena;
  const TensorRef bits = arena.bits(DType::u8, {710});
  for (const int64_t size : {int64_t(0), int64_t(5), int64_t(1024), int64_t(5593)}) {
    const TensorRef mask = Arena::sliced(bits, 0, size % 3, (size + 7) / 8);
    DEVICE_OP(count, mask_count);
    count.args.mask = mask, count.args.size = size;
    count.check(arena, exact());
    DEVICE_OP(unpack, mask_unpack);
    unpack.args.mask = mask, unpack.args.shape = {{size}, 1};
    unpack.check(arena, exact());
    DEVICE_OP(places, mask_indices);
    places.args.mask = mask, places.args.size = size;
    places.check(arena, exact());
    for (const DType t : {DType::f64, DType::f32, DType::bf16, DType::i32, DType::i8}) {
      DEVICE_OP(apply, mask_apply);
      apply.args.x = arena.bits(t, {size}), apply.args.mask = mask;
      apply.check(arena, exact());
      DEVICE_OP(pack, mask_pack);
      pack.args.x = apply.results.list.empty() ? apply.args.x : Arena::sliced(apply.args.x, 0, 0, size);
      for (int64_t i = 0; i < size * dtype_bytes(t); i += 2 * dtype_bytes(t)) memset(pack.args.x.as<char>() + i, 0, static_cast<size_t>(dtype_bytes(t)));
      pack.check(arena, exact());
    }
  }
  for (const int64_t start : {0, 3, 8, 1234}) {
    DEVICE_OP(op, mask_slice);
    op.args.mask = bits, op.args.start = start, op.args.size = 5680 - start - start % 2;
    op.check(arena, exact());
  }
  DEVICE_OP(large, mask_indices);
  large.args.mask = arena.bits(DType::u8, {17000}), large.args.size = 135995;
  large.check(arena, exact());
}
