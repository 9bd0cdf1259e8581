// matmul_half, bf16_pack, linear_bf16 (native/ops): products of 16-bit floats by tensor cores, products exact, sums in f32. Operands whose rows do not lie along K, or
// not at multiples of 16 bytes, are copied to rows that do (one pass over them: 4 bytes of traffic a value beside 2 K operations). bf16 wants sm_80.
//
// Error: tensor cores add a few products at a time to f32 sums and cut what does not fit: within 2 (k + 8) 2^-24 sum |a||b| of the exact result (the CPU's rows: half of that).
#include "cuda/kernels.h"
#include "cuda/gemm.h"
#include "cuda/product_wgmma.h"

namespace tersor {
namespace cuda {
namespace {

constexpr uint32_t kBf16DeviceMagic = 0x44474254;  // "TBGD"
struct Bf16DeviceHeader {
  uint32_t magic, reserved;
  int64_t n, k, unused[5];
};
static_assert(sizeof(Bf16DeviceHeader) == 64, "rows start on a cache line");

struct RowsFrom {  // element (r, k) of matrix i at offset(i) + r * row + k * column
  int64_t rows, k, row, column;
  BatchMap map;
};

// Tiles of 32 x 32 through shared memory, read along the dimension that is dense, written along K; values beyond k are 0.
template <bool kFromF32> __global__ void __launch_bounds__(256) rows_along_k(const void* from, RowsFrom s, uint16_t* to, int64_t to_row) {
  TERSOR_SHARED(uint16_t, tile, 32 * 34);
  const int64_t tiles_r = ceil_div<int64_t>(s.rows, 32), tiles_k = ceil_div<int64_t>(to_row, 32), index = blockIdx.x % (tiles_r * tiles_k), batch = blockIdx.x / (tiles_r * tiles_k);
  const int64_t r0 = index / tiles_k * 32, k0 = index % tiles_k * 32;
  int64_t at, unused;
  batch_offsets(s.map, batch, &at, &unused);
  const int x = static_cast<int>(threadIdx.x) & 31, y = static_cast<int>(threadIdx.x) >> 5;
  for (int i = y; i < 32; i += 8) {
    const int r = s.column == 1 ? i : x, k = s.column == 1 ? x : i;
    uint16_t v = 0;
    if (r0 + r < s.rows && k0 + k < s.k) {
      const int64_t where = at + (r0 + r) * s.row + (k0 + k) * s.column;
      v = kFromF32 ? narrow_bf16(static_cast<const float*>(from)[where]) : static_cast<const uint16_t*>(from)[where];
    }
    tile[r * 34 + k] = v;
  }
  __syncthreads();
  for (int r = y; r < 32; r += 8)
    if (r0 + r < s.rows && k0 + x < to_row) to[(batch * s.rows + r0 + r) * to_row + k0 + x] = tile[r * 34 + x];
}

Status copy_along_k(Stream& stream, bool from_f32, const void* from, const RowsFrom& s, int64_t batches, uint16_t* to, int64_t to_row) {
  const int64_t blocks = ceil_div<int64_t>(s.rows, 32) * ceil_div<int64_t>(to_row, 32) * batches;
  return from_f32 ? launch<rows_along_k<true>>(stream, blocks, 256, 0, from, s, to, to_row) : launch<rows_along_k<false>>(stream, blocks, 256, 0, from, s, to, to_row);
}

// t[..., rows, k] (or transposed) as matrices with rows along K at multiples of 16 bytes: the tensor itself or a copy in scratch memory.
Status open_operand(Stream& stream, const TensorRef& t, bool k_last, TensorRef* out) {
  const int r = t.rank - (k_last ? 2 : 1), c = t.rank - (k_last ? 1 : 2);
  *out = t;
  out->shape[t.rank - 2] = t.shape[r], out->stride[t.rank - 2] = t.stride[r];
  out->shape[t.rank - 1] = t.shape[c], out->stride[t.rank - 1] = t.stride[c];
  bool direct = t.shape[c] % 8 == 0 && t.stride[c] == 1 && aligned(t.data, 16);
  for (int i = 0; i < t.rank - 1; i++) direct = direct && (out->shape[i] <= 1 || out->stride[i] % 8 == 0);
  if (direct) return {};
  RowsFrom s{t.shape[r], t.shape[c], t.stride[r], t.stride[c], {}};
  int64_t batches = 1;
  for (int i = 0; i < t.rank - 2; i++) {
    batches *= t.shape[i];
    s.map.size[i] = t.shape[i], s.map.a[i] = t.stride[i];
  }
  s.map.rank = t.rank - 2;
  const int64_t row = ceil_div<int64_t>(s.k, 8) * 8;
  uint16_t* to;
  TERSOR_TRY(stream.scratch(batches * s.rows * row, &to));
  TERSOR_TRY(copy_along_k(stream, false, t.data, s, batches, to, row));
  int64_t step = row;
  out->stride[t.rank - 1] = 1;
  for (int i = t.rank - 2; i >= 0; i--) out->stride[i] = step, step *= out->shape[i];
  out->data = to;
  return {};
}

Status multiply_half(Stream& stream, DType dtype, const KMajor& p, const FloatEpilogue& e) {
  if (dtype == DType::f16) return run_product<Kind::f16>(stream, p, e);
  if (stream.sm < 80) return fail(Code::unsupported, "%s: bf16 products want compute capability 8.0, the device has %d.%d", stream.op(), stream.sm / 10, stream.sm % 10);
  return run_product<Kind::bf16>(stream, p, e);
}
FloatTo float_to(DType t) { return t == DType::f32 ? FloatTo::f32 : t == DType::f16 ? FloatTo::f16 : FloatTo::bf16; }

}  // namespace

Status matmul_half(Stream& stream, matmul_half_args& x) {
  if (x.y.size() == 0) return {};
  TensorRef a, b;
  TERSOR_TRY(open_operand(stream, x.a, !x.transpose_a, &a));
  TERSOR_TRY(open_operand(stream, x.b, x.transpose_b, &b));
  KMajor p;
  p.m = x.y.dim(-2), p.n = x.y.dim(-1), p.k_bytes = ceil_div<int64_t>(a.dim(-1), 8) * 16;
  p.a = a.as<unsigned char>(), p.a_row = a.stride[a.rank - 2] * 2;
  p.b = b.as<unsigned char>(), p.b_row = b.stride[b.rank - 2] * 2;
  TERSOR_TRY(batch_map("matmul_half", a, b, x.y, 2, &p.map, &p.batches));
  FloatEpilogue e;
  e.m = p.m, e.n = p.n, e.to = float_to(x.dtype), e.y = x.y.data;
  if (x.bias.present()) e.bias = x.bias.data, e.bias_type = float_to(x.bias.dtype), e.bias_step = x.bias.stride[0];
  return multiply_half(stream, x.a.dtype, p, e);
}

Status bf16_pack(Stream& stream, bf16_pack_args& x) {
  const int64_t n = x.w.shape[0], k = x.w.shape[1], row = ceil_div<int64_t>(k, 8) * 8;
  TERSOR_TRY(packed_place("bf16_pack", x.packed));
  TERSOR_TRY(stream.fill(x.packed.data, 0, x.packed.size()));
  TERSOR_TRY(launch<write_header<Bf16DeviceHeader>>(stream, 1, 1, 0, Bf16DeviceHeader{kBf16DeviceMagic, 0, n, k, {}}, static_cast<Bf16DeviceHeader*>(x.packed.data)));
  return copy_along_k(stream, x.w.dtype == DType::f32, x.w.data, RowsFrom{n, k, x.w.stride[0], x.w.stride[1], {}}, 1,
                      reinterpret_cast<uint16_t*>(x.packed.as<char>() + sizeof(Bf16DeviceHeader)), row);
}

Status linear_bf16(Stream& stream, linear_bf16_args& x) {
  const int64_t n = x.out, k = x.x.dim(-1), row = ceil_div<int64_t>(k, 8) * 8;
  if (!packed_lies_well(x.packed, static_cast<int64_t>(sizeof(Bf16DeviceHeader)) + n * row * 2))
    return fail(Code::option, "linear_bf16: packed was not made by bf16_pack on this device for a [%lld,%lld] weight", static_cast<long long>(n), static_cast<long long>(k));
  if (x.y.size() == 0) return {};
  TensorRef in;
  TERSOR_TRY(dense(stream, x.x, &in));
  KMajor p;
  p.m = x.y.size() / n, p.n = n, p.k_bytes = p.a_row = p.b_row = row * 2;
  p.a = in.as<unsigned char>();
  if (x.x.dtype == DType::f32 || k != row || !aligned(in.data, 16)) {
    uint16_t* to;
    TERSOR_TRY(stream.scratch(p.m * row, &to));
    TERSOR_TRY(copy_along_k(stream, x.x.dtype == DType::f32, in.data, RowsFrom{p.m, k, k, 1, {}}, 1, to, row));
    p.a = reinterpret_cast<unsigned char*>(to);
  }
  p.b = x.packed.as<unsigned char>() + sizeof(Bf16DeviceHeader);
  FloatEpilogue e;
  TERSOR_TRY(e.packed.open(stream, "linear_bf16", x.packed.data, kBf16DeviceMagic));
  e.m = p.m, e.n = n, e.to = float_to(x.dtype), e.y = x.y.data, e.act = static_cast<Act>(x.act);
  if (x.bias.present()) e.bias = x.bias.data, e.bias_step = x.bias.stride[0];
  return multiply_half(stream, DType::bf16, p, e);
}

}  // namespace cuda
}  // namespace tersor
