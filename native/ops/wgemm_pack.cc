// wgemm_pack(q i8 [N,K], scale f32, zero f32?, bits 2 | 3 | 4 | 8) -> packed u8 [bytes]: weights (q - zero) * scale in the layout of the kernel row of this
// process (opaque; do not store it). scale and zero are [N, groups], [N, 1] or [1, 1]; groups must divide K. Codes lie in [-2^(bits-1), 2^(bits-1)); a scale
// is finite, not 0, and its size in [2^-126, 2^64]; a zero is finite and at most 2^20.
// wgemm_unpack(packed, out, K) -> w f32 [out, K], exactly the values that dequantize_rows gives.
#include <atomic>

#include "ops/wgemm_run.h"

namespace tersor {
namespace {

constexpr const char* kOp = "wgemm_pack";

Status check_factor(const char* name, const TensorRef& t, const TensorRef& q) {
  TERSOR_TRY(expect_dtype(kOp, name, t, DType::f32));
  TERSOR_TRY(expect_rank(kOp, name, t, 2));
  const int64_t rows = t.shape[0], groups = t.shape[1], k = q.shape[1];
  if (rows != q.shape[0] && !(rows == 1 && groups == 1))
    return fail(Code::shape, "%s: %s must be [N, groups], [N, 1] or [1, 1], got %s (q: %s)", kOp, name, TERSOR_TEXT(t), TERSOR_TEXT(q));
  if (groups < 1 || (groups > 1 && (groups > k || k % groups != 0)))
    return fail(Code::shape, "%s: the groups of %s must divide the columns of q, got %s (q: %s)", kOp, name, TERSOR_TEXT(t), TERSOR_TEXT(q));
  return {};
}

int64_t groups_of(const wgemm_pack_args& a) {
  const int64_t s = a.scale.shape[1], z = a.zero.present() ? a.zero.shape[1] : 1;
  return s > z ? s : z;
}

Status check_values(const char* name, const TensorRef& t, float least, float most) {
  for (int64_t r = 0; r < t.shape[0]; r++)
    for (int64_t g = 0; g < t.shape[1]; g++) {
      const float v = t.as<float>()[r * t.stride[0] + g * t.stride[1]], size = v < 0 ? -v : v;
      if (!(size >= least && size <= most))
        return fail(Code::numeric, "%s: the size of %s must be in [%g, %g], got %g at [%lld,%lld]", kOp, name, static_cast<double>(least), static_cast<double>(most),
                    static_cast<double>(v), static_cast<long long>(r), static_cast<long long>(g));
    }
  return {};
}

}  // namespace

Status wgemm_pack_infer(wgemm_pack_args& a) {
  TERSOR_TRY(expect_dtype(kOp, "q", a.q, DType::i8));
  TERSOR_TRY(expect_rank(kOp, "q", a.q, 2));
  if (!wgemm_bits_known(a.bits)) return fail(Code::option, "%s: bits must be 2, 3, 4 or 8, got %lld", kOp, static_cast<long long>(a.bits));
  TERSOR_TRY(check_factor("scale", a.scale, a.q));
  if (a.zero.present()) {
    TERSOR_TRY(check_factor("zero", a.zero, a.q));
    if (a.zero.shape[1] != a.scale.shape[1] && a.zero.shape[1] != 1 && a.scale.shape[1] != 1)
      return fail(Code::shape, "%s: scale and zero must have the same groups, got %s and %s", kOp, TERSOR_TEXT(a.scale), TERSOR_TEXT(a.zero));
  }
  WgemmShape s;
  s.n = a.q.shape[0], s.k = a.q.shape[1], s.groups = groups_of(a), s.bits = static_cast<int>(a.bits), s.affine = a.zero.present();
  const int64_t bytes = wgemm_blob_bytes(wgemm_row(), s);
  set_shape(a.packed, DType::u8, &bytes, 1);
  return {};
}

Status wgemm_pack_cpu(wgemm_pack_args& a, Context& ctx) {
  TERSOR_TRY(check_values("scale", a.scale, 1.17549435e-38f, 18446744073709551616.0f));
  if (a.zero.present()) TERSOR_TRY(check_values("zero", a.zero, 0, 1048576));
  const WgemmRow& row = wgemm_row();
  WgemmShape s;
  s.n = a.q.shape[0], s.k = a.q.shape[1], s.groups = groups_of(a), s.bits = static_cast<int>(a.bits), s.affine = a.zero.present();
  Contiguous q;
  TERSOR_TRY(q.open(kOp, a.q, ctx.cancel));
  const auto row_step = [](const TensorRef& t) { return t.shape[0] == 1 ? 0 : t.stride[0]; };
  const auto col_step = [](const TensorRef& t) { return t.shape[1] == 1 ? 0 : t.stride[1]; };
  WgemmSource w{};
  w.q = q.as<int8_t>();
  w.scale = a.scale.as<float>(), w.scale_row = row_step(a.scale), w.scale_col = col_step(a.scale);
  if (s.affine) w.zero = a.zero.as<float>(), w.zero_row = row_step(a.zero), w.zero_col = col_step(a.zero);
  wgemm_blob_header(row, s, a.packed.data);
  const int64_t none = s.n * s.k;
  std::atomic<int64_t> bad{none};
  TERSOR_TRY(parallel_for(row.panels(s.n), grain_for(4 * s.k * row.nr), ctx.cancel, [&](int64_t begin, int64_t end) {
    const int64_t found = wgemm_pack_panels(row, s, w, begin, end, a.packed.data);
    int64_t seen = bad.load();
    while (found >= 0 && found < seen && !bad.compare_exchange_weak(seen, found)) {
    }
  }));
  const int64_t i = bad.load();
  if (i == none) return {};
  const int half = 1 << (s.bits - 1);
  return fail(Code::option, "%s: codes of %d bits must be in [%d, %d], got %d at [%lld,%lld]", kOp, s.bits, -half, half - 1, q.as<int8_t>()[i],
              static_cast<long long>(i / s.k), static_cast<long long>(i % s.k));
}

Status wgemm_unpack_infer(wgemm_unpack_args& a) {
  constexpr const char* op = "wgemm_unpack";
  TERSOR_TRY(wgemm_check_packed(op, a.packed, a.out, a.cols));
  const int64_t shape[2] = {a.out, a.cols};
  set_shape(a.w, DType::f32, shape, 2);
  return {};
}

Status wgemm_unpack_cpu(wgemm_unpack_args& a, Context& ctx) {
  constexpr const char* op = "wgemm_unpack";
  const WgemmRow& row = wgemm_row();
  WgemmShape s;
  TERSOR_TRY(wgemm_open(op, a.packed, a.out, a.cols, &s));
  if (a.w.size() == 0) return {};
  const int64_t panels = row.panels(s.n), part = wgemm_part(s);
  ScratchSlots slots;
  TERSOR_TRY(slots.reserve(op, part * row.nr * 4, panels));
  return parallel_for(panels, grain_for(4 * s.k * row.nr), ctx.cancel, [&](int64_t begin, int64_t end) {
    const ScratchSlots::Lease slot(slots);
    const float* from = slot.as<float>();
    for (int64_t p = begin; p < end; p++) {
      const int64_t live = s.n - p * row.nr < row.nr ? s.n - p * row.nr : row.nr;
      for (int64_t k = 0, count; k < s.k; k += count) {
        count = wgemm_part_at(s, k);
        wgemm_unpack_part(row, s, a.packed.data, p, k, slot.as<float>(), row.nr);
        for (int64_t j = 0; j < live; j++) {
          float* to = a.w.as<float>() + (p * row.nr + j) * s.k + k;
          for (int64_t i = 0; i < count; i++) to[i] = from[i * row.nr + j];
        }
      }
    }
  });
}

}  // namespace tersor
