// pack_bits(q i8, bits 2..8) -> u8 [ceil(n * bits / 8)]: q + 2^(bits-1) as unsigned fields of `bits` bits in one dense stream, element 0 in
// the lowest bits of byte 0; the bits behind the last element are 0. unpack_bits(packed, bits, size) -> i8 [size] is the inverse.
// Eight elements make `bits` whole bytes, so blocks of eight are independent. The work is that of kernels/quant.
#include <atomic>

#include "kernels/quant/quant.h"
#include "ops/shape_list.h"

namespace tersor {
namespace {

constexpr int64_t kChunk = 65536;  // elements per task, a multiple of 8

Status check_bits(const char* op, int64_t bits) {
  if (bits >= 2 && bits <= 8) return {};
  return fail(Code::option, "%s: bits must be in [2, 8], got %lld", op, static_cast<long long>(bits));
}

// n elements of `bits` bits; n < 2^59.
int64_t packed_bytes(int64_t n, int64_t bits) { return n / 8 * bits + (n % 8 * bits + 7) / 8; }

// n elements: whole blocks of eight of 4 bits by `four`, all else by `any`. in_block, out_block: bytes of eight elements.
int64_t run(QuantKernel four, QuantKernel any, int64_t bits, const void* in, int64_t in_block, void* out, int64_t out_block, int64_t n) {
  QuantArgs args{};
  args.in = in;
  args.out = out;
  args.bits = static_cast<int32_t>(bits);
  const int64_t done = bits == 4 ? n / 8 * 8 : 0;
  if (done > 0) {
    args.n = done;
    const int64_t found = four(args);
    if (found >= 0 || done == n) return found;
  }
  args.in = static_cast<const uint8_t*>(in) + done / 8 * in_block;
  args.out = static_cast<uint8_t*>(out) + done / 8 * out_block;
  args.n = n - done;
  const int64_t found = any(args);
  return found < 0 ? -1 : done + found;
}

}  // namespace

Status pack_bits_infer(pack_bits_args& a) {
  TERSOR_TRY(expect_dtype("pack_bits", "q", a.q, DType::i8));
  TERSOR_TRY(check_bits("pack_bits", a.bits));
  const int64_t bytes = packed_bytes(a.q.size(), a.bits);
  set_shape(a.packed, DType::u8, &bytes, 1);
  return {};
}

Status pack_bits_cpu(pack_bits_args& a, Context& ctx) {
  const int64_t n = a.q.size();
  Contiguous q;
  TERSOR_TRY(q.open("pack_bits", a.q, ctx.cancel));
  std::atomic<int64_t> bad{n};
  TERSOR_TRY(parallel_for(n, kChunk, ctx.cancel, [&](int64_t begin, int64_t end) {
    const int64_t found = run(quant_kernels().pack4, quant_kernels().pack_bits, a.bits, q.as<int8_t>() + begin, 8,
                              a.packed.as<uint8_t>() + begin / 8 * a.bits, a.bits, end - begin);
    if (found < 0) return;
    int64_t seen = bad.load();
    while (begin + found < seen && !bad.compare_exchange_weak(seen, begin + found)) {
    }
  }));
  const int64_t i = bad.load();
  if (i == n) return {};
  const int limit = 1 << (a.bits - 1);
  return fail(Code::option, "pack_bits: values of %lld bits must be in [%d, %d], got %d at position %lld", static_cast<long long>(a.bits), -limit,
              limit - 1, q.as<int8_t>()[i], static_cast<long long>(i));
}

Status unpack_bits_infer(unpack_bits_args& a) {
  TERSOR_TRY(expect_dtype("unpack_bits", "packed", a.packed, DType::u8));
  TERSOR_TRY(expect_rank("unpack_bits", "packed", a.packed, 1));
  TERSOR_TRY(check_bits("unpack_bits", a.bits));
  if (a.size < 0 || a.size >= int64_t(1) << 59)
    return fail(Code::shape, "unpack_bits: size must be in [0, 2^59), got %lld", static_cast<long long>(a.size));
  const int64_t bytes = packed_bytes(a.size, a.bits);
  TERSOR_TRY(expect_shape("unpack_bits", "packed", a.packed, &bytes, 1));
  set_shape(a.q, DType::i8, &a.size, 1);
  return {};
}

Status unpack_bits_cpu(unpack_bits_args& a, Context& ctx) {
  Contiguous packed;
  TERSOR_TRY(packed.open("unpack_bits", a.packed, ctx.cancel));
  return parallel_for(a.size, kChunk, ctx.cancel, [&](int64_t begin, int64_t end) {
    run(quant_kernels().unpack4, quant_kernels().unpack_bits, a.bits, packed.as<uint8_t>() + begin / 8 * a.bits, a.bits,
        a.q.as<int8_t>() + begin, 8, end - begin);
  });
}

}  // namespace tersor
