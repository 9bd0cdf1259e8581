// histogram(x, lo, hi, bins) -> i64 [bins]: bin = floor((x - lo) * (bins / (hi - lo))) in double, values outside go to the edge bins.
// Counts of several calls may be added up, so a stream of batches needs constant memory. NaN is an error.
#include <atomic>
#include <cmath>
#include <cstring>

#include "kernels/quant/quant.h"
#include "ops/slots.h"
#include "ops/util.h"

namespace tersor {

Status histogram_infer(histogram_args& a) {
  TERSOR_TRY(expect_float("histogram", "x", a.x));
  if (a.bins < 1 || a.bins > 1 << 24) return fail(Code::option, "histogram: bins must be in [1, 2^24], got %lld", static_cast<long long>(a.bins));
  const double width = a.hi - a.lo;
  if (!std::isfinite(a.lo) || !std::isfinite(a.hi) || !(width > 0) || !std::isfinite(width) || !std::isfinite(static_cast<double>(a.bins) / width))
    return fail(Code::option, "histogram: lo and hi must be finite and lo < hi, got lo %g, hi %g", a.lo, a.hi);
  set_shape(a.counts, DType::i64, &a.bins, 1);
  return {};
}

namespace {

int64_t bins_f64(const double* x, int32_t* out, const QuantArgs& a) {
  const double top = a.bins - 1;
  for (int64_t i = 0; i < a.n; i++) {
    double b = (x[i] - a.origin) * a.inverse;
    if (b != b) return i;
    b = b > 0 ? b : 0;
    out[i] = static_cast<int32_t>(b < top ? b : top);
  }
  return -1;
}

constexpr int64_t kBlock = 128;             // values whose bins are computed at a time: few enough that this overlaps with counting
constexpr int64_t kSpread = 8192;           // up to so many bins are counted in four tables
constexpr int64_t kCall = int64_t(1) << 30;  // values after which 32-bit counts are emptied

// counts[t * bins + where[i]]++, t cycling through `Tables`: neighbours that fall into one bin (zeros, a constant) then do not wait for each other's store.
template <int Tables> void count(const int32_t* where, int64_t n, uint32_t* counts, int64_t bins) {
  uint32_t* table[Tables];
  for (int t = 0; t < Tables; t++) table[t] = counts + t * bins;
  int64_t i = 0;
  for (; i + 8 <= n; i += 8)
#if defined(__GNUC__)
#pragma GCC unroll 8
#endif
    for (int j = 0; j < 8; j++) table[j % Tables][where[i + j]]++;
  for (; i < n; i++) counts[where[i]]++;
}

// Counts of n values in `counts` (4-byte, zeros at the beginning, as many tables as `tables`). Returns the first NaN or -1.
int64_t count_values(const TensorRef& from, const Contiguous& x, int64_t begin, int64_t n, QuantArgs args, uint32_t* counts, int64_t tables) {
  const QuantKernel kernel = quant_kernels().bins;
  int32_t where[kBlock];
  args.out = where;
  for (int64_t at = 0; at < n; at += kBlock) {
    args.n = n - at < kBlock ? n - at : kBlock;
    int64_t nan;
    if (from.dtype == DType::f64) {
      nan = bins_f64(x.as<double>() + begin + at, where, args);
    } else {
      args.in = x.as<float>() + begin + at;
      nan = kernel(args);
    }
    if (nan >= 0) return at + nan;
    if (tables == 4) count<4>(where, args.n, counts, args.bins);
    else count<1>(where, args.n, counts, args.bins);
  }
  return -1;
}

}  // namespace

Status histogram_cpu(histogram_args& a, Context& ctx) {
  const int64_t n = a.x.size(), bins = a.bins;
  int64_t* total = a.counts.as<int64_t>();
  memset(total, 0, static_cast<size_t>(bins) * 8);
  if (n == 0) return {};
  Contiguous x;
  TERSOR_TRY(x.open("histogram", a.x, ctx.cancel));
  // A few large parts, each with counts of its own; not more than the counting itself is worth.
  int64_t parts = n / (4 * bins + 65536) + 1;
  if (parts > 16) parts = 16;
  const int64_t part = (n + parts - 1) / parts;
  const int64_t tables = bins <= kSpread ? 4 : 1;
  Scratch scratch;
  ScratchSlots slots;
  TERSOR_TRY(scratch.reserve("histogram", parts * bins * 8));
  TERSOR_TRY(slots.reserve("histogram", tables * bins * 4, parts));
  int64_t* partial = scratch.as<int64_t>();
  memset(partial, 0, static_cast<size_t>(parts * bins) * 8);
  QuantArgs args{};
  args.origin = a.lo;
  args.inverse = static_cast<double>(bins) / (a.hi - a.lo);
  args.bins = static_cast<int32_t>(bins);
  std::atomic<int64_t> bad{n};
  TERSOR_TRY(parallel_for(n, part, ctx.cancel, [&](int64_t begin, int64_t end) {
    const ScratchSlots::Lease slot(slots);
    uint32_t* counts = slot.as<uint32_t>();
    int64_t* sums = partial + begin / part * bins;
    for (int64_t at = begin; at < end; at += kCall) {
      memset(counts, 0, static_cast<size_t>(tables * bins) * 4);
      const int64_t nan = count_values(a.x, x, at, end - at < kCall ? end - at : kCall, args, counts, tables);
      if (nan >= 0) {
        int64_t seen = bad.load();
        while (at + nan < seen && !bad.compare_exchange_weak(seen, at + nan)) {
        }
        return;
      }
      for (int64_t t = 0; t < tables; t++)
        for (int64_t b = 0; b < bins; b++) sums[b] += counts[t * bins + b];
    }
  }));
  if (bad.load() < n)
    return fail(Code::numeric, "histogram: x is NaN at position %lld (x: %s)", static_cast<long long>(bad.load()), TERSOR_TEXT(a.x));
  for (int64_t p = 0; p < parts; p++)
    for (int64_t b = 0; b < bins; b++) total[b] += partial[p * bins + b];
  return {};
}

}  // namespace tersor
