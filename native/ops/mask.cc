// Bit sets: bit i of byte i / 8 (least significant first) is element i in row-major order; the bits behind the last element are 0.
#include <atomic>
#include <cstring>

#include "kernels/topk/topk.h"
#include "ops/shape_list.h"

namespace tersor {
namespace {

constexpr int64_t kChunk = 65536;  // elements per task; whole bytes

Status expect_mask(const char* op, const TensorRef& mask, int64_t size) {
  TERSOR_TRY(expect_dtype(op, "mask", mask, DType::u8));
  const int64_t bytes = size / 8 + (size % 8 != 0);
  if (mask.rank == 1 && mask.shape[0] == bytes) return {};
  return fail(Code::shape, "%s: mask must be u8[%lld] for %lld elements, got %s", op, static_cast<long long>(bytes), static_cast<long long>(size),
              TERSOR_TEXT(mask));
}

}  // namespace

Status mask_count_infer(mask_count_args& a) {
  if (a.size < 0) return fail(Code::shape, "mask_count: size must be >= 0, got %lld", static_cast<long long>(a.size));
  TERSOR_TRY(expect_mask("mask_count", a.mask, a.size));
  set_shape(a.count, DType::i64, nullptr, 0);
  return {};
}

Status mask_count_cpu(mask_count_args& a, Context& ctx) {
  Contiguous mask;
  TERSOR_TRY(mask.open("mask_count", a.mask, ctx.cancel));
  std::atomic<int64_t> total{0};
  const uint8_t* bytes = mask.as<uint8_t>();
  TERSOR_TRY(parallel_for(a.size, 16 * kChunk, ctx.cancel, [&](int64_t begin, int64_t end) {
    const uint8_t* p = bytes + begin / 8;
    int64_t n = end - begin, sum = 0;
    for (; n >= 64; n -= 64, p += 8) {
      uint64_t v;
      memcpy(&v, p, 8);
      v -= (v >> 1) & 0x5555555555555555ull;
      v = (v & 0x3333333333333333ull) + ((v >> 2) & 0x3333333333333333ull);
      v = (v + (v >> 4)) & 0x0F0F0F0F0F0F0F0Full;
      sum += static_cast<int64_t>((v * 0x0101010101010101ull) >> 56);
    }
    for (int64_t i = 0; i < n; i++) sum += p[i / 8] >> (i % 8) & 1;
    total.fetch_add(sum);
  }));
  *a.count.as<int64_t>() = total.load();
  return {};
}

Status mask_slice_infer(mask_slice_args& a) {
  TERSOR_TRY(expect_dtype("mask_slice", "mask", a.mask, DType::u8));
  TERSOR_TRY(expect_rank("mask_slice", "mask", a.mask, 1));
  const int64_t bits = a.mask.shape[0] < int64_t(1) << 59 ? 8 * a.mask.shape[0] : int64_t(1) << 62;
  if (a.start < 0 || a.size < 0 || a.start > bits || a.size > bits - a.start)
    return fail(Code::option, "mask_slice: start and size must name bits of the mask, got start %lld, size %lld (mask: %s)",
                static_cast<long long>(a.start), static_cast<long long>(a.size), TERSOR_TEXT(a.mask));
  const int64_t bytes = a.size / 8 + (a.size % 8 != 0);
  set_shape(a.part, DType::u8, &bytes, 1);
  return {};
}

Status mask_slice_cpu(mask_slice_args& a, Context& ctx) {
  Contiguous mask;
  TERSOR_TRY(mask.open("mask_slice", a.mask, ctx.cancel));
  const int64_t bytes = a.part.shape[0], left = a.mask.shape[0] - a.start / 8;
  const uint8_t* in = mask.as<uint8_t>() + a.start / 8;
  uint8_t* out = a.part.as<uint8_t>();
  const int shift = static_cast<int>(a.start % 8);
  if (bytes == 0) return {};
  for (int64_t i = 0; i < bytes; i++) out[i] = static_cast<uint8_t>((in[i] | (i + 1 < left ? in[i + 1] << 8 : 0)) >> shift);
  if (a.size % 8) out[bytes - 1] = static_cast<uint8_t>(out[bytes - 1] & ((1u << (a.size % 8)) - 1));
  return {};
}

Status mask_unpack_infer(mask_unpack_args& a) {
  TERSOR_TRY(shape_from_list("mask_unpack", "shape", a.shape, DType::f32, a.y));
  return expect_mask("mask_unpack", a.mask, a.y.size());
}

Status mask_unpack_cpu(mask_unpack_args& a, Context& ctx) {
  Contiguous mask;
  TERSOR_TRY(mask.open("mask_unpack", a.mask, ctx.cancel));
  const TopkKernel kernel = topk_kernels().unpack;
  return parallel_for(a.y.size(), kChunk, ctx.cancel, [&](int64_t begin, int64_t end) {
    TopkArgs args{};
    args.n = end - begin;
    args.mask = const_cast<uint8_t*>(mask.as<uint8_t>()) + begin / 8;
    args.out = a.y.as<float>() + begin;
    kernel(args);
  });
}

Status mask_pack_infer(mask_pack_args& a) {
  const int64_t n = a.x.size(), bytes = n / 8 + (n % 8 != 0);
  set_shape(a.mask, DType::u8, &bytes, 1);
  return {};
}

namespace {

// Integers of the width of an element; for floats `value` leaves out the sign, so that -0 counts as zero and NaN does not.
template <class T> void pack_bits_of(const T* x, int64_t n, T value, uint8_t* mask) {
  for (int64_t i = 0; i < n; i += 8) {
    const int64_t m = n - i < 8 ? n - i : 8;
    unsigned byte = 0;
    for (int64_t j = 0; j < m; j++) byte |= static_cast<unsigned>((x[i + j] & value) != 0) << j;
    mask[i / 8] = static_cast<uint8_t>(byte);
  }
}

template <class T> void apply_bits(const T* x, const uint8_t* mask, T* y, int64_t n) {
  for (int64_t i = 0; i < n; i++) y[i] = static_cast<T>(x[i] & (T(0) - static_cast<T>(mask[i / 8] >> (i % 8) & 1)));
}

bool is_float(DType t) { return t == DType::f64 || t == DType::f32 || t == DType::f16 || t == DType::bf16; }

}  // namespace

Status mask_pack_cpu(mask_pack_args& a, Context& ctx) {
  Contiguous x;
  TERSOR_TRY(x.open("mask_pack", a.x, ctx.cancel));
  const bool drop_sign = is_float(a.x.dtype);
  const TopkKernel kernel = topk_kernels().pack;
  return parallel_for(a.x.size(), kChunk, ctx.cancel, [&](int64_t begin, int64_t end) {
    uint8_t* mask = a.mask.as<uint8_t>() + begin / 8;
    const int64_t n = end - begin;
    if (a.x.dtype == DType::f32) {
      TopkArgs args{};
      args.x = x.as<float>() + begin;
      args.n = n;
      args.mask = mask;
      kernel(args);
      return;
    }
    switch (dtype_bytes(a.x.dtype)) {
      case 8: pack_bits_of(x.as<uint64_t>() + begin, n, ~uint64_t(0) >> drop_sign, mask); break;
      case 4: pack_bits_of(x.as<uint32_t>() + begin, n, ~uint32_t(0), mask); break;
      case 2: pack_bits_of(x.as<uint16_t>() + begin, n, static_cast<uint16_t>(0xFFFF >> drop_sign), mask); break;
      default: pack_bits_of(x.as<uint8_t>() + begin, n, uint8_t(0xFF), mask); break;
    }
  });
}

Status mask_apply_infer(mask_apply_args& a) {
  TERSOR_TRY(expect_mask("mask_apply", a.mask, a.x.size()));
  set_shape(a.y, a.x.dtype, a.x.shape, a.x.rank);
  return {};
}

Status mask_apply_cpu(mask_apply_args& a, Context& ctx) {
  Contiguous x, mask;
  TERSOR_TRY(x.open("mask_apply", a.x, ctx.cancel));
  TERSOR_TRY(mask.open("mask_apply", a.mask, ctx.cancel));
  const TopkKernel kernel = topk_kernels().apply;
  return parallel_for(a.x.size(), kChunk, ctx.cancel, [&](int64_t begin, int64_t end) {
    const uint8_t* bits = mask.as<uint8_t>() + begin / 8;
    const int64_t n = end - begin;
    switch (dtype_bytes(a.x.dtype)) {
      case 8: apply_bits(x.as<uint64_t>() + begin, bits, a.y.as<uint64_t>() + begin, n); break;
      case 4: {
        TopkArgs args{};
        args.x = x.as<float>() + begin;
        args.n = n;
        args.mask = const_cast<uint8_t*>(bits);
        args.out = a.y.as<float>() + begin;
        kernel(args);
        break;
      }
      case 2: apply_bits(x.as<uint16_t>() + begin, bits, a.y.as<uint16_t>() + begin, n); break;
      default: apply_bits(x.as<uint8_t>() + begin, bits, a.y.as<uint8_t>() + begin, n); break;
    }
  });
}

}  // namespace tersor
