#include <algorithm>

#include "kernels/topk/topk.h"
#include "test/op_call.h"

namespace tersor {
namespace test {
namespace {

TERSOR_TEST(topk_rows_equal_the_reference) {
  const TopkRow* rows;
  const int count = topk_table(&rows);
  const float special[] = {NAN, INFINITY, -INFINITY, 0, -0.0f, 1, 1, -1, 2, 1e-40f};
  for (int r = 0; r < count; r++) {
    if ((rows[r].needs & ~isa::detected()) != 0) continue;
    int last = r;
    while (last + 1 < count && !strcmp(rows[last + 1].variant, rows[r].variant)) last++;
    const bool reads_mask = !strcmp(rows[r].variant, "unpack") || !strcmp(rows[r].variant, "apply");
    for (int64_t n = 0; n <= 100; n++)
      for (int kind = 0; kind < 6; kind++) {
        const auto side = kind % 2 ? GuardedBuffer::Side::begin : GuardedBuffer::Side::end;
        const size_t bytes = static_cast<size_t>((n + 7) / 8);
        const int64_t capacity = kind < 4 ? n : 5;
        const size_t room = static_cast<size_t>(capacity + kTopkRoom) * 4;
        GuardedBuffer x(static_cast<size_t>(n) * 4, side), mask(bytes, side), out(static_cast<size_t>(n) * 4, side), values(room, side), positions(room, side);
        for (int64_t i = 0; i < n; i++) x.as<float>()[i] = special[random_int(0, 9)];
        for (size_t i = 0; i < bytes && reads_mask; i++) mask.as<uint8_t>()[i] = static_cast<uint8_t>(rng()());
        TopkArgs a{};
        a.x = x.as<float>(), a.n = n, a.mask = mask.as<uint8_t>(), a.out = out.as<float>();
        a.lo = kind == 2 ? -INFINITY : 0, a.hi = kind == 0 ? -0.0f : kind == 1 ? INFINITY : kind == 3 ? -INFINITY : 1;
        if (a.lo > a.hi) a.lo = a.hi;
        a.values = values.as<uint32_t>(), a.positions = positions.as<int32_t>(), a.capacity = capacity;
        TopkArgs b = a;
        std::vector<uint8_t> mask2(bytes + 1);
        std::vector<float> out2(static_cast<size_t>(n) + 1);
        std::vector<uint32_t> values2(room / 4);
        std::vector<int32_t> positions2(room / 4);
        if (reads_mask && bytes) memcpy(mask2.data(), mask.as<void>(), bytes);
        b.mask = mask2.data(), b.out = out2.data(), b.values = values2.data(), b.positions = positions2.data();
        const int64_t got = rows[r].kernel(a), want = rows[last].kernel(b);
        const size_t kept = static_cast<size_t>(std::min(b.ties, capacity)) * 4 * !strcmp(rows[r].variant, "bracket");
        const bool same = got == want && a.ties == b.ties && !memcmp(mask.as<void>(), mask2.data(), bytes) &&
                          (!reads_mask || !memcmp(out.as<void>(), out2.data(), static_cast<size_t>(n) * 4)) &&
                          !memcmp(values.as<void>(), values2.data(), kept) && !memcmp(positions.as<void>(), positions2.data(), kept);
        CHECK_MSG(same, "%s: n %lld, kind %d", rows[r].function, static_cast<long long>(n), kind);
      }
  }
}

// By sorting: larger first, NaN last, then by index.
template <class T> std::vector<size_t> reference_order(const std::vector<T>& x) {
  std::vector<size_t> order(x.size());
  for (size_t i = 0; i < x.size(); i++) order[i] = i;
  std::sort(order.begin(), order.end(), [&](size_t a, size_t b) {
    if (std::isnan(x[a]) || std::isnan(x[b])) return std::isnan(x[a]) == std::isnan(x[b]) ? a < b : std::isnan(x[b]);
    return x[a] > x[b] || (x[a] == x[b] && a < b);
  });
  return order;
}

template <class T> void check_topk(const std::vector<T>& x, const char* what) {
  const std::vector<size_t> order = reference_order(x);
  const int64_t n = static_cast<int64_t>(x.size());
  for (int64_t k : {int64_t(0), int64_t(1), n / 10, n / 2, n - n / 20, n - 1, n}) {
    if (k < 0 || k > n) continue;
    std::vector<uint8_t> want((x.size() + 7) / 8);
    for (size_t i = 0; i < static_cast<size_t>(k); i++) want[order[i] / 8] = static_cast<uint8_t>(want[order[i] / 8] | 1u << (order[i] % 8));
    for_thread_counts([&] {
      OpCall<topk_mask_args> c;
      c.args.scores = view(dtype_of<T>::value, x, {n});
      c.args.k = k;
      CHECK_OK(RUN_OP(c, topk_mask));
      CHECK_MSG(want.empty() || !memcmp(c.args.mask.data, want.data(), want.size()), "%s: n %zu, k %lld", what, x.size(), static_cast<long long>(k));
    });
  }
}

template <class T> void topk_cases() {
  for (size_t n : {size_t(0), size_t(1), size_t(2), size_t(9), size_t(100), size_t(5000), size_t(70001), size_t(200000)}) {
    std::vector<T> normal(n), ties(n), zeros(n), special(n), sorted(n), equal(n, T(3)), skewed(n), nans(n, T(NAN));
    std::normal_distribution<double> d;
    const T values[] = {T(NAN), T(INFINITY), T(-INFINITY), T(0), T(-0.0), T(1), T(-1), T(1e-40)};
    for (size_t i = 0; i < n; i++) {
      normal[i] = static_cast<T>(d(rng()));
      ties[i] = static_cast<T>(random_int(-3, 3));
      zeros[i] = static_cast<T>(random_int(0, 9) ? (random_int(0, 1) ? 0.0 : -0.0) : d(rng()));
      special[i] = values[random_int(0, 7)];
      sorted[i] = static_cast<T>(i);
      skewed[i] = static_cast<T>(std::exp(20 * d(rng())));
    }
    check_topk(normal, "normal");
    check_topk(ties, "ties");
    check_topk(zeros, "zeros");
    check_topk(special, "special");
    check_topk(sorted, "sorted");
    check_topk(equal, "equal");
    check_topk(skewed, "skewed");
    check_topk(nans, "nan");
  }
}

TERSOR_TEST(topk_mask_f32) { topk_cases<float>(); }
TERSOR_TEST(topk_mask_f64) { topk_cases<double>(); }

TERSOR_TEST(topk_mask_refuses_a_k_out_of_range) {
  std::vector<float> x(10);
  OpCall<topk_mask_args> c;
  c.args.scores = view(DType::f32, x, {2, 5});
  for (int64_t k : {-1, 11}) {
    c.args.k = k;
    CHECK_CODE(RUN_OP(c, topk_mask), Code::option);
  }
  c.args.scores.dtype = DType::i32;
  CHECK_CODE(RUN_OP(c, topk_mask), Code::dtype);
}

template <class T> void mask_cases(DType dtype) {
  for (int64_t n : {0, 1, 7, 8, 9, 63, 64, 65, 1000, 65536, 131077}) {
    std::vector<T> x(static_cast<size_t>(n));
    for (auto& v : x) v = static_cast<T>(random_int(0, 2) ? random_int(1, 100) : 0);
    if (n > 2 && dtype == DType::f32) x[0] = static_cast<T>(-0.0f), x[1] = static_cast<T>(NAN);
    OpCall<mask_pack_args> pack;
    pack.args.x = view(dtype, x, {n});
    CHECK_OK(RUN_OP(pack, mask_pack));
    int64_t ones = 0;
    for (int64_t i = 0; i < n; i++) {
      const bool bit = pack.args.mask.as<uint8_t>()[i / 8] >> (i % 8) & 1;
      ones += bit;
      CHECK(bit == (x[static_cast<size_t>(i)] != 0));
    }
    if (n % 8) CHECK(pack.args.mask.as<uint8_t>()[n / 8] >> (n % 8) == 0);
    OpCall<mask_count_args> count;
    count.args.mask = pack.args.mask, count.args.size = n;
    CHECK_OK(RUN_OP(count, mask_count));
    CHECK(count.args.count.rank == 0 && *count.args.count.as<int64_t>() == ones);
    OpCall<mask_unpack_args> unpack;
    unpack.args.mask = pack.args.mask, unpack.args.shape = list({n});
    CHECK_OK(RUN_OP(unpack, mask_unpack));
    for (int64_t i = 0; i < n; i++) CHECK(unpack.args.y.as<float>()[i] == (x[static_cast<size_t>(i)] != 0 ? 1.0f : 0.0f));
    std::vector<uint8_t> half(static_cast<size_t>((n + 7) / 8), 0x55);
    OpCall<mask_apply_args> apply;
    apply.args.x = pack.args.x, apply.args.mask = view(DType::u8, half, {(n + 7) / 8});
    CHECK_OK(RUN_OP(apply, mask_apply));
    const T zero{};
    for (int64_t i = 0; i < n; i++) CHECK(!memcmp(apply.args.y.template as<T>() + i, i % 2 ? &zero : &x[static_cast<size_t>(i)], sizeof(T)));
    apply.args.mask.shape[0]++;
    CHECK_CODE(RUN_OP(apply, mask_apply), Code::shape);
  }
}

TERSOR_TEST(mask_ops) {
  mask_cases<float>(DType::f32);
  mask_cases<double>(DType::f64);
  mask_cases<int8_t>(DType::i8);
  mask_cases<int32_t>(DType::i32);
  mask_cases<int16_t>(DType::i16);
  std::vector<uint16_t> halves = {0x8000, 0, 0x3C00, 0x7E00};  // -0, 0, 1, NaN as f16
  OpCall<mask_pack_args> pack;
  pack.args.x = view(DType::f16, halves, {4});
  CHECK_OK(RUN_OP(pack, mask_pack));
  CHECK(pack.args.mask.as<uint8_t>()[0] == 12);
  std::vector<uint8_t> dirty = {0xFF};
  OpCall<mask_count_args> count;
  count.args.mask = view(DType::u8, dirty, {1}), count.args.size = 3;
  CHECK_OK(RUN_OP(count, mask_count));
  CHECK(*count.args.count.as<int64_t>() == 3);
  count.args.size = -1;
  CHECK_CODE(RUN_OP(count, mask_count), Code::shape);
}

}  // namespace
}  // namespace test
}  // namespace tersor
