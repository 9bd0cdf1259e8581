// qgemm_pack, qgemm_s32, and what every product with 8-bit weights does: x to codes, zero points, the path of the product.
#include "cuda/qgemm.h"

#include "cuda/kernels.h"
#include "cuda/product_wgmma.h"

namespace tersor {
namespace cuda {
namespace {

bool present(const TensorRef* t) { return t && t->present(); }

int64_t rows_of(const TensorRef& x) {
  int64_t m = 1;
  for (int i = 0; i + 1 < x.rank; i++) m *= x.shape[i];
  return m;
}

// What is run where the codes lie as the tensor cores take them.
Status multiply(Stream& stream, bool is_signed, const KMajor& p, const IntegerEpilogue& e) {
  return is_signed ? run_product<Kind::s8>(stream, p, e) : run_product<Kind::u8>(stream, p, e);
}

}  // namespace

Status open_packed(const char* op, const TensorRef& packed, int64_t n, int64_t k, PackedWeight* out) {
  const int64_t depth = qgemm_depth(k), bytes = qgemm_codes_at(n) + n * depth;
  if (!packed_lies_well(packed, bytes))
    return fail(Code::option, "%s: packed was not made by qgemm_pack on this device for a [%lld,%lld] weight", op, static_cast<long long>(n), static_cast<long long>(k));
  const auto* base = packed.as<unsigned char>();
  out->magic = reinterpret_cast<const uint32_t*>(base);
  out->column_sums = reinterpret_cast<const int32_t*>(base + sizeof(QgemmDeviceHeader));
  out->codes = base + qgemm_codes_at(n);
  out->row_bytes = depth;
  return {};
}

bool needs_64(const QgemmCall& c) {
  const int64_t z = c.x_zero + (c.x->dtype == DType::i8 ? 128 : 0);
  int64_t x = z > 255 - z ? z : 255 - z;
  if (present(c.x_zeros) || c.from == CodesFrom::token_affine) x = 255;
  if (c.from == CodesFrom::token_symmetric) x = 127;
  return c.x->dim(-1) > INT32_MAX / (x * (present(c.w_zeros) ? 255 : 128));
}

Status run_qgemm(Stream& stream, const QgemmCall& c, IntegerEpilogue e) {
  const int64_t m = rows_of(*c.x), n = c.n, k = c.x->dim(-1);
  PackedWeight w;
  TERSOR_TRY(open_packed(c.op, *c.packed, n, k, &w));
  if (m == 0 || n == 0) return {};
  TERSOR_TRY(e.packed.open(stream, c.op, w.magic, kQgemmDeviceMagic));
  TensorRef x = *c.x;
  if (c.code_row == 0) TERSOR_TRY(dense(stream, *c.x, &x));
  e.m = m, e.n = n, e.k = static_cast<int32_t>(k);
  e.column_sums = w.column_sums;
  e.x_zero = static_cast<int32_t>(c.x_zero);
  if (present(c.x_zeros)) e.x_zeros = c.x_zeros->as<int32_t>(), e.x_zeros_step = c.x_zeros->stride[0];
  if (present(c.x_scales)) e.x_scales = c.x_scales->as<float>(), e.x_scales_step = c.x_scales->stride[0];
  const uint8_t* codes = x.as<uint8_t>();
  int64_t row_bytes = c.code_row ? c.code_row : k;
  bool is_signed = x.dtype == DType::i8;
  const int64_t padded = (k + 15) / 16 * 16;
  if (c.from != CodesFrom::codes || row_bytes % 16 != 0 || reinterpret_cast<uintptr_t>(codes) % 16 != 0) {
    uint8_t* to;
    TERSOR_TRY(stream.scratch(m * padded, &to));
    if (c.from == CodesFrom::codes) {
      TERSOR_TRY(copy_rows(stream, codes, k, m, k, to, padded));
    } else if (c.from == CodesFrom::scale) {
      TERSOR_TRY(quantize_codes(stream, x.as<float>(), m, k, c.x_scale, static_cast<int32_t>(c.x_zero), to, padded));
    } else {
      float* scales;
      int32_t* zeros = nullptr;
      is_signed = c.from == CodesFrom::token_symmetric;
      TERSOR_TRY(stream.scratch(m, &scales));
      if (!is_signed) TERSOR_TRY(stream.scratch(m, &zeros));
      TERSOR_TRY(quantize_rows_own(stream, x.as<float>(), m, k, is_signed, to, padded, scales, zeros));
      e.x_scales = scales, e.x_scales_step = 1;
      e.x_zero = 0, e.x_zeros = zeros, e.x_zeros_step = 1;
    }
    codes = to, row_bytes = padded;
  }
  if (present(c.w_zeros)) {
    e.w_zeros = c.w_zeros->as<int32_t>(), e.w_zeros_step = c.w_zeros->stride[0];
    int32_t* sums;
    TERSOR_TRY(stream.scratch(m, &sums));
    TERSOR_TRY(sum_code_rows(stream, codes, is_signed, m, k, row_bytes, sums));
    e.row_sums = sums;
  }
  if (needs_64(c)) return run_wide(stream, codes, is_signed, row_bytes, w, e);
  KMajor p;
  p.a = codes, p.a_row = row_bytes;
  p.b = w.codes, p.b_row = w.row_bytes;
  p.m = m, p.n = n, p.k_bytes = padded;
  return multiply(stream, is_signed, p, e);
}

Status pack_rows(Stream& stream, const char* op, const TensorRef& codes, int64_t n, int64_t k, const TensorRef& packed) {
  PackedWeight w;
  TERSOR_TRY(open_packed(op, packed, n, k, &w));
  TensorRef rows;
  TERSOR_TRY(dense(stream, codes, &rows));
  TERSOR_TRY(stream.fill(packed.data, 0, packed.size()));
  TERSOR_TRY(launch<write_header<QgemmDeviceHeader>>(stream, 1, 1, 0, QgemmDeviceHeader{kQgemmDeviceMagic, 0, n, k, {}}, static_cast<QgemmDeviceHeader*>(packed.data)));
  if (n == 0 || k == 0) return {};
  TERSOR_TRY(copy_rows(stream, rows.as<uint8_t>(), k, n, k, const_cast<unsigned char*>(w.codes), w.row_bytes));
  return sum_code_rows(stream, w.codes, true, n, k, w.row_bytes, const_cast<int32_t*>(w.column_sums));
}

Status qgemm_pack(Stream& stream, qgemm_pack_args& a) { return pack_rows(stream, "qgemm_pack", a.w, a.w.shape[0], a.w.shape[1], a.packed); }

Status qgemm_s32(Stream& stream, qgemm_s32_args& a) {
  QgemmCall c{"qgemm_s32", CodesFrom::codes, &a.x, &a.packed, a.out};
  c.x_zero = a.x_zero, c.x_zeros = &a.x_zeros, c.w_zeros = &a.w_zeros;
  IntegerEpilogue e;
  e.y = a.y.data;
  return run_qgemm(stream, c, e);
}

}  // namespace cuda
}  // namespace tersor
