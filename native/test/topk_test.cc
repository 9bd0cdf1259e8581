#include <algorithm>
#include <limits>

#include "kernels/topk/topk.h"
#include "test/op_call.h"

namespace tersor {
namespace test {
namespace {

template <class T> void check_rows(const TopkRow& row, const TopkRow& reference) {
  const float special[] = {NAN, INFINITY, -INFINITY, 0, -0.0f, 1, 1, -1, 2, 1e-40f};
  const auto is = [&](const char* variant) { return !strcmp(row.variant, variant); };
  const bool reads_mask = is("unpack") || is("apply") || is("deposit"), lists = !strncmp(row.variant, "bracket", 7);
  for (int64_t n = 0; n <= 150; n++)
    for (int kind = 0; kind < 6; kind++) {
      TopkArgs a{};
      a.m = 2 << random_int(0, 2);
      if (is("nm") && n % a.m) continue;
      const auto side = kind % 2 ? GuardedBuffer::Side::begin : GuardedBuffer::Side::end;
      const size_t bytes = static_cast<size_t>((n + 7) / 8);
      const int64_t capacity = kind < 4 ? n : 5;
      const size_t room = static_cast<size_t>(capacity + kTopkRoom) * sizeof(T), size = static_cast<size_t>(n) * sizeof(T);
      GuardedBuffer x(size, side), mask(bytes, side), inside(bytes, side), out(size, side), values(room, side);
      for (int64_t i = 0; i < n; i++) x.as<T>()[i] = static_cast<T>(special[random_int(0, 9)]);
      for (size_t i = 0; i < bytes && reads_mask; i++) mask.as<uint8_t>()[i] = static_cast<uint8_t>(rng()());
      a.x = x.as<T>(), a.n = n, a.mask = mask.as<uint8_t>(), a.inside = inside.as<uint8_t>(), a.out = out.as<float>();
      a.lo = kind == 2 ? -INFINITY : 0, a.hi = kind == 0 ? -0.0 : kind == 1 ? INFINITY : kind == 3 ? -INFINITY : 1;
      if (a.lo > a.hi) a.lo = a.hi;
      a.values = values.as<void>(), a.capacity = capacity;
      a.magnitude = random_int(0, 1), a.keep = static_cast<int>(random_int(0, a.m));
      for (size_t i = 0; i < bytes && is("deposit"); i++) inside.as<uint8_t>()[i] = static_cast<uint8_t>(rng()());
      if (is("deposit") && n % 8) inside.as<uint8_t>()[bytes - 1] = static_cast<uint8_t>(inside.as<uint8_t>()[bytes - 1] & ((1u << (n % 8)) - 1));
      std::vector<uint8_t> take(bytes + 8);
      for (auto& t : take) t = static_cast<uint8_t>(rng()());
      TopkArgs b = a;
      std::vector<uint8_t> mask2(bytes + 1), inside2(bytes + 1), values2(room);
      std::vector<float> out2(static_cast<size_t>(n) + 1);
      if (reads_mask && bytes) memcpy(mask2.data(), mask.as<void>(), bytes);
      b.mask = mask2.data(), b.inside = inside2.data(), b.out = out2.data(), b.values = values2.data();
      if (is("deposit")) b.inside = a.inside, a.values = b.values = take.data();
      const int64_t got = row.kernel(a), want = reference.kernel(b);
      const size_t kept = static_cast<size_t>(std::min(b.ties, capacity)) * sizeof(T) * lists;
      const bool same = got == want && a.ties == b.ties && !memcmp(mask.as<void>(), mask2.data(), bytes) &&
                        (!reads_mask || is("deposit") || !memcmp(out.as<void>(), out2.data(), size)) && (!lists || !memcmp(inside.as<void>(), inside2.data(), bytes)) &&
                        !memcmp(values.as<void>(), values2.data(), kept);
      CHECK_MSG(same, "%s: n %lld, kind %d, magnitude %d, %d:%d", row.function, static_cast<long long>(n), kind, a.magnitude, a.keep, a.m);
    }
}

TERSOR_TEST(topk_rows_equal_the_reference) {
  const TopkRow* rows;
  const int count = topk_table(&rows);
  for (int r = 0; r < count; r++) {
    if ((rows[r].needs & ~isa::detected()) != 0) continue;
    int last = r;
    while (last + 1 < count && !strcmp(rows[last + 1].variant, rows[r].variant)) last++;
    if (strstr(rows[r].variant, "_f64")) check_rows<double>(rows[r], rows[last]);
    else check_rows<float>(rows[r], rows[last]);
  }
}

// By sorting: larger first, NaN last, then by index.
template <class T> std::vector<size_t> reference_order(std::vector<T> x, bool magnitude = false) {
  if (magnitude)
    for (T& v : x) v = std::abs(v);
  std::vector<size_t> order(x.size());
  for (size_t i = 0; i < x.size(); i++) order[i] = i;
  std::sort(order.begin(), order.end(), [&](size_t a, size_t b) {
    if (std::isnan(x[a]) || std::isnan(x[b])) return std::isnan(x[a]) == std::isnan(x[b]) ? a < b : std::isnan(x[b]);
    return x[a] > x[b] || (x[a] == x[b] && a < b);
  });
  return order;
}

template <class T> void check_topk(const std::vector<T>& x, const char* what) {
  const bool magnitude = random_int(0, 1);
  const std::vector<size_t> order = reference_order(x, magnitude);
  const int64_t n = static_cast<int64_t>(x.size());
  for (int64_t k : {int64_t(0), int64_t(1), n / 10, n / 2, n - n / 20, n - 1, n}) {
    if (k < 0 || k > n) continue;
    std::vector<uint8_t> want((x.size() + 7) / 8);
    for (size_t i = 0; i < static_cast<size_t>(k); i++) want[order[i] / 8] = static_cast<uint8_t>(want[order[i] / 8] | 1u << (order[i] % 8));
    for_thread_counts([&] {
      OpCall<topk_mask_args> c;
      c.args.scores = view(dtype_of<T>::value, x, {n});
      c.args.k = k;
      c.args.magnitude = magnitude;
      CHECK_OK(RUN_OP(c, topk_mask));
      CHECK_MSG(want.empty() || !memcmp(c.args.mask.data, want.data(), want.size()), "%s: n %zu, k %lld", what, x.size(), static_cast<long long>(k));
    });
  }
}

template <class T> void topk_cases() {
  for (size_t n : {size_t(0), size_t(1), size_t(2), size_t(9), size_t(100), size_t(5000), size_t(70001), size_t(200000)}) {
    std::vector<T> normal(n), ties(n), zeros(n), special(n), sorted(n), equal(n, T(3)), skewed(n), nans(n, T(NAN)), two(n), pruned(n), denormal(n), below(n);
    std::normal_distribution<double> d;
    const T values[] = {T(NAN), T(INFINITY), T(-INFINITY), T(0), T(-0.0), T(1), T(-1), T(1e-40)};
    for (size_t i = 0; i < n; i++) {
      normal[i] = static_cast<T>(d(rng()));
      ties[i] = static_cast<T>(random_int(-3, 3));
      zeros[i] = static_cast<T>(random_int(0, 9) ? (random_int(0, 1) ? 0.0 : -0.0) : d(rng()));
      special[i] = values[random_int(0, 7)];
      two[i] = random_int(0, 9) ? T(1) : T(2);
      pruned[i] = i % 10 ? T(0) : normal[i];
      denormal[i] = static_cast<T>(random_int(-1000, 1000)) * std::numeric_limits<T>::denorm_min();
      below[i] = random_int(0, 1) ? -std::numeric_limits<T>::denorm_min() : static_cast<T>(d(rng()));
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
    check_topk(two, "two values");
    check_topk(pruned, "pruned");
    check_topk(denormal, "denormal");
    check_topk(below, "half just below zero");
  }
}

TERSOR_TEST(topk_mask_f32) { topk_cases<float>(); }
TERSOR_TEST(topk_mask_f64) { topk_cases<double>(); }

template <class T> void row_cases() {
  const T values[] = {T(NAN), T(INFINITY), T(-INFINITY), T(0), T(-0.0), T(1), T(-1), T(1e-40), T(2), T(-3)};
  for (int64_t cols : {1, 3, 4, 8, 12, 64, 700, 5000})
    for (int kind = 0; kind < 3; kind++) {
      const int64_t rows = cols > 1000 ? 5 : 37, n = rows * cols;
      std::vector<T> x(static_cast<size_t>(n));
      for (T& v : x) v = kind ? static_cast<T>(random_float(-2, 2)) : values[random_int(0, 9)];
      const bool magnitude = kind == 2;
      const auto wanted = [&](int64_t group, int64_t k) {
        std::vector<uint8_t> want(static_cast<size_t>((n + 7) / 8));
        for (int64_t g = 0; g < n; g += group) {
          const std::vector<size_t> order = reference_order(std::vector<T>(x.begin() + g, x.begin() + g + group), magnitude);
          for (int64_t i = 0; i < k; i++) {
            const size_t at = static_cast<size_t>(g) + order[static_cast<size_t>(i)];
            want[at / 8] = static_cast<uint8_t>(want[at / 8] | 1u << (at % 8));
          }
        }
        return want;
      };
      for (int64_t k : {int64_t(0), int64_t(1), cols / 2, cols - 1, cols}) {
        const std::vector<uint8_t> want = wanted(cols, k);
        for_thread_counts([&] {
          OpCall<topk_mask_rows_args> c;
          c.args.scores = view(dtype_of<T>::value, x, {rows, cols});
          c.args.k = k, c.args.magnitude = magnitude;
          CHECK_OK(RUN_OP(c, topk_mask_rows));
          CHECK_MSG(!memcmp(c.args.mask.data, want.data(), want.size()), "rows of %lld, k %lld", static_cast<long long>(cols), static_cast<long long>(k));
        });
      }
      for (int64_t m = 1; m <= 64; m++)
        for (int64_t keep : {int64_t(0), int64_t(1), m / 2, m}) {
          if (cols % m) continue;
          const std::vector<uint8_t> want = wanted(m, keep);
          OpCall<nm_mask_args> c;
          c.args.scores = view(dtype_of<T>::value, x, {rows, cols});
          c.args.n = keep, c.args.m = m, c.args.magnitude = magnitude;
          CHECK_OK(RUN_OP(c, nm_mask));
          CHECK_MSG(!memcmp(c.args.mask.data, want.data(), want.size()), "%lld:%lld of rows of %lld", static_cast<long long>(keep), static_cast<long long>(m), static_cast<long long>(cols));
        }
    }
}

TERSOR_TEST(topk_by_row_and_group) {
  row_cases<float>();
  row_cases<double>();
  std::vector<float> x(300000);
  for (float& v : x) v = random_float(-1, 1);
  OpCall<nm_mask_args> c;
  c.args.scores = view(DType::f32, x, {30, 10000}), c.args.n = 2, c.args.m = 4;
  for_thread_counts([&] {
    CHECK_OK(RUN_OP(c, nm_mask));
    for (size_t i = 0; i < x.size() / 8; i++) CHECK(__builtin_popcount(c.args.mask.as<uint8_t>()[i] & 15) == 2 && __builtin_popcount(c.args.mask.as<uint8_t>()[i]) == 4);
  });
  for (int64_t m : {0, -4, 65, 3}) {
    c.args.m = m;
    CHECK_CODE(RUN_OP(c, nm_mask), m == 3 ? Code::shape : Code::option);
  }
  c.args.m = 4;
  for (int64_t n : {-1, 5}) {
    c.args.n = n;
    CHECK_CODE(RUN_OP(c, nm_mask), Code::option);
  }
  OpCall<topk_mask_rows_args> r;
  r.args.scores = view(DType::f32, x, {30, 10000});
  for (int64_t k : {-1, 10001}) {
    r.args.k = k;
    CHECK_CODE(RUN_OP(r, topk_mask_rows), Code::option);
  }
  r.args.scores.rank = 0;
  CHECK_CODE(RUN_OP(r, topk_mask_rows), Code::shape);
}

template <class T> void threshold_cases() {
  const T values[] = {T(NAN), T(INFINITY), T(-INFINITY), T(0), T(-0.0), T(1), T(-1), T(1e-40), T(0.1), T(-0.1)};
  std::vector<T> x(70003);
  for (T& v : x) v = values[random_int(0, 9)];
  for (double t : {0.0, -0.0, 0.1, -0.1, 1.0, 1e300, -1e300, 1e-300, -1e-300, HUGE_VAL, -HUGE_VAL})
    for (bool magnitude : {false, true}) {
      OpCall<threshold_mask_args> c;
      c.args.scores = view(dtype_of<T>::value, x, {static_cast<int64_t>(x.size())});
      c.args.threshold = t, c.args.magnitude = magnitude;
      for_thread_counts([&] {
        CHECK_OK(RUN_OP(c, threshold_mask));
        for (size_t i = 0; i < x.size(); i++) {
          const double v = static_cast<double>(magnitude ? std::abs(x[i]) : x[i]);
          CHECK_MSG((c.args.mask.template as<uint8_t>()[i / 8] >> (i % 8) & 1) == (v >= t), "%g >= %g", v, t);
        }
      });
    }
}

TERSOR_TEST(threshold_mask_op) {
  threshold_cases<float>();
  threshold_cases<double>();
  std::vector<float> x(3);
  OpCall<threshold_mask_args> c;
  c.args.scores = view(DType::f32, x, {3});
  c.args.threshold = NAN;
  CHECK_CODE(RUN_OP(c, threshold_mask), Code::option);
}

TERSOR_TEST(mask_slice_op) {
  std::vector<uint8_t> bits(20);
  for (auto& b : bits) b = static_cast<uint8_t>(rng()());
  OpCall<mask_slice_args> c;
  c.args.mask = view(DType::u8, bits, {20});
  for (int64_t start = 0; start <= 160; start += 3)
    for (int64_t size = 0; size <= 160 - start; size += 5) {
      c.args.start = start, c.args.size = size;
      CHECK_OK(RUN_OP(c, mask_slice));
      CHECK(c.args.part.shape[0] == (size + 7) / 8);
      for (int64_t i = 0; i < c.args.part.shape[0] * 8; i++) {
        const int64_t at = start + i;
        CHECK((c.args.part.as<uint8_t>()[i / 8] >> (i % 8) & 1) == (i < size ? bits[static_cast<size_t>(at / 8)] >> (at % 8) & 1 : 0));
      }
    }
  for (auto bad : {std::pair<int64_t, int64_t>{-1, 1}, {0, 161}, {161, 0}, {100, 61}, {0, -1}}) {
    c.args.start = bad.first, c.args.size = bad.second;
    CHECK_CODE(RUN_OP(c, mask_slice), Code::option);
  }
}

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
