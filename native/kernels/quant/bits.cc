// pack_bits, unpack_bits: the references, eight elements at a time in a 64-bit word.
#include <cstring>

#include "kernels/quant/quant.h"

namespace tersor {
namespace {

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

}  // namespace

int64_t quant_pack_bits_scalar(QuantArgs& a) {
  const int8_t* q = static_cast<const int8_t*>(a.in);
  uint8_t* out = static_cast<uint8_t*>(a.out);
  const int64_t n = a.n;  // a copy: stores of bytes may change a.n for all the compiler knows
  switch (a.bits) {
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

int64_t quant_unpack_bits_scalar(QuantArgs& a) {
  const uint8_t* in = static_cast<const uint8_t*>(a.in);
  int8_t* q = static_cast<int8_t*>(a.out);
  const int64_t n = a.n;
  switch (a.bits) {
    case 2: unpack<2>(in, q, n); break;
    case 3: unpack<3>(in, q, n); break;
    case 4: unpack<4>(in, q, n); break;
    case 5: unpack<5>(in, q, n); break;
    case 6: unpack<6>(in, q, n); break;
    case 7: unpack<7>(in, q, n); break;
    default:
      for (int64_t i = 0; i < n; i++) q[i] = static_cast<int8_t>(in[i] ^ 0x80);
  }
  return -1;
}

}  // namespace tersor
