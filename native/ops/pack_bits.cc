// pack_bits(q i8, bits 2..8) -> u8 [ceil(n * bits / 8)]: q + 2^(bits-1) as unsigned fields of `bits` bits in one dense stream, element 0 in
// the lowest bits of byte 0; the bits behind the last element are 0. unpack_bits(packed, bits, size) -> i8 [size] is the inverse.
// Eight elements make `bits` whole bytes, so blocks of eight are independent; 4 bits have kernel rows (kernels/quant).
#include <atomic>
#include <cstring>

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

// Eight fields, one per byte, to 8 * bits adjacent bits and back: pairs, then pairs of pairs, then the halves.
uint64_t close_up(uint64_t v, int bits) {
  v = (v & 0x00FF00FF00FF00FFull) | ((v >> 8) & 0x00FF00FF00FF00FFull) << bits;
  v = (v & 0x0000FFFF0000FFFFull) | ((v >> 16) & 0x0000FFFF0000FFFFull) << (2 * bits);
  return (v & 0x00000000FFFFFFFFull) | (v >> 32) << (4 * bits);
}

uint64_t spread_out(uint64_t v, int bits) {
  const uint64_t half = ~uint64_t(0) >> (64 - 4 * bits);
  v = (v & half) | (v >> (4 * bits) & half) << 32;
  const uint64_t quarter = (uint64_t(1) << (2 * bits)) - 1, quarters = quarter | quarter << 32;
  v = (v & quarters) | (v >> (2 * bits) & quarters) << 16;
  const uint64_t field = ((uint64_t(1) << bits) - 1) * 0x0001000100010001ull;
  return (v & field) | (v >> bits & field) << 8;
}

// Adds `offset` to each of eight bytes, without carries between them.
uint64_t add_bytes(uint64_t v, uint8_t offset) {
  const uint64_t o = offset * 0x0101010101010101ull, top = 0x8080808080808080ull;
  return ((v & ~top) + (o & ~top)) ^ ((v ^ o) & top);
}

void store_bytes(uint8_t* out, uint64_t v, int64_t n) {
  for (int64_t i = 0; i < n; i++) out[i] = static_cast<uint8_t>(v >> (8 * i));
}

uint64_t load_bytes(const uint8_t* in, int64_t n) {
  uint64_t v = 0;
  for (int64_t i = 0; i < n; i++) v |= static_cast<uint64_t>(in[i]) << (8 * i);
  return v;
}

// Packs n elements; returns the first that does not fit, or -1.
template <int bits> int64_t pack(const int8_t* q, uint8_t* out, int64_t n) {
  const uint8_t offset = static_cast<uint8_t>(1 << (bits - 1));
  const uint64_t over = 0x0101010101010101ull * (0xFFu & ~((1u << bits) - 1));
  uint64_t seen = 0;
  for (int64_t i = 0; i < n; i += 8, out += bits) {
    const int64_t m = n - i < 8 ? n - i : 8;
    uint64_t v = 0;
    memcpy(&v, q + i, static_cast<size_t>(m));
    v = add_bytes(v, offset);
    if (m < 8) v &= (uint64_t(1) << (8 * m)) - 1;
    seen |= v;
    store_bytes(out, close_up(v, bits), m == 8 ? bits : (m * bits + 7) / 8);
  }
  if ((seen & over) == 0) return -1;
  int64_t i = 0;
  while (q[i] >= -static_cast<int>(offset) && q[i] < static_cast<int>(offset)) i++;
  return i;
}

template <int bits> void unpack(const uint8_t* in, int8_t* q, int64_t n) {
  const uint8_t offset = static_cast<uint8_t>(-(1 << (bits - 1)));
  for (int64_t i = 0; i < n; i += 8, in += bits) {
    const int64_t m = n - i < 8 ? n - i : 8;
    const uint64_t v = add_bytes(spread_out(load_bytes(in, m == 8 ? bits : (m * bits + 7) / 8), bits), offset);
    memcpy(q + i, &v, static_cast<size_t>(m));
  }
}

int64_t pack_any(const int8_t* q, uint8_t* out, int64_t n, int64_t bits) {
  switch (bits) {
    case 2: return pack<2>(q, out, n);
    case 3: return pack<3>(q, out, n);
    case 4: return pack<4>(q, out, n);
    case 5: return pack<5>(q, out, n);
    case 6: return pack<6>(q, out, n);
    case 7: return pack<7>(q, out, n);
    default:
      for (int64_t i = 0; i < n; i++) out[i] = static_cast<uint8_t>(q[i] ^ -128);
      return -1;
  }
}

void unpack_any(const uint8_t* in, int8_t* q, int64_t n, int64_t bits) {
  switch (bits) {
    case 2: unpack<2>(in, q, n); break;
    case 3: unpack<3>(in, q, n); break;
    case 4: unpack<4>(in, q, n); break;
    case 5: unpack<5>(in, q, n); break;
    case 6: unpack<6>(in, q, n); break;
    case 7: unpack<7>(in, q, n); break;
    default:
      for (int64_t i = 0; i < n; i++) q[i] = static_cast<int8_t>(in[i] ^ 0x80);
  }
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
  const QuantKernel pack4 = quant_kernels().pack4;
  std::atomic<int64_t> bad{n};
  TERSOR_TRY(parallel_for(n, kChunk, ctx.cancel, [&](int64_t begin, int64_t end) {
    const int8_t* in = q.as<int8_t>() + begin;
    uint8_t* out = a.packed.as<uint8_t>() + begin / 8 * a.bits;
    int64_t found = -1, done = 0;
    if (a.bits == 4) {
      QuantArgs args{};
      args.in = in;
      args.out = out;
      args.n = done = (end - begin) / 8 * 8;
      found = pack4(args);
    }
    if (found < 0) {
      found = pack_any(in + done, out + done / 8 * a.bits, end - begin - done, a.bits);
      if (found < 0) return;
      found += done;
    }
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
  const QuantKernel unpack4 = quant_kernels().unpack4;
  return parallel_for(a.size, kChunk, ctx.cancel, [&](int64_t begin, int64_t end) {
    const uint8_t* in = packed.as<uint8_t>() + begin / 8 * a.bits;
    int8_t* out = a.q.as<int8_t>() + begin;
    int64_t done = 0;
    if (a.bits == 4) {
      QuantArgs args{};
      args.in = in;
      args.out = out;
      args.n = done = (end - begin) / 8 * 8;
      unpack4(args);
    }
    unpack_any(in + done / 8 * a.bits, out + done, end - begin - done, a.bits);
  });
}

}  // namespace tersor
