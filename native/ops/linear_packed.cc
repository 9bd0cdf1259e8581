// gemm_pack(w f32 [N,K]) -> packed u8 [bytes]: w^T in the panels of the kernel row of this process, behind a header (opaque; do not store it).
// linear_packed(x f32 [...,K], packed, bias f32 [out]?, residual f32 [...,out]?, out, act) -> y f32 [...,out] = act(x w^T + bias) + residual, for rows of x
// beyond sixteen bit for bit what linear_fused gives; nothing is packed in the call.
#include <cstring>

#include "ops/linear_finish.h"

namespace tersor {
namespace {

constexpr const char* kPack = "gemm_pack";
constexpr const char* kOp = "linear_packed";

struct Header {
  uint32_t magic;
  int32_t nr;  // columns of a panel: what tells the layouts of the rows apart
  int64_t n, k, bytes, reserved[4];
};
static_assert(sizeof(Header) == 64, "panels start on a cache line");
constexpr uint32_t kMagic = 0x31474654;  // "TFG1"

// -1 when no memory could hold it.
int64_t blob_bytes(int64_t n, int64_t k) {
  const int64_t nr = gemm_row<float>().nr, columns = ceil_div(n, nr) * nr;
  constexpr int64_t kMost = int64_t(1) << 52;
  if (k > 0 && columns > kMost / k) return -1;
  return static_cast<int64_t>(sizeof(Header)) + columns * k * 4;
}

Header header_of(int64_t n, int64_t k) { return {kMagic, gemm_row<float>().nr, n, k, blob_bytes(n, k), {}}; }

}  // namespace

Status gemm_pack_infer(gemm_pack_args& a) {
  TERSOR_TRY(expect_dtype(kPack, "w", a.w, DType::f32));
  TERSOR_TRY(expect_rank(kPack, "w", a.w, 2));
  const int64_t bytes = blob_bytes(a.w.shape[0], a.w.shape[1]);
  if (bytes < 0) return fail(Code::limit, "%s: w is too large to pack, got %s", kPack, TERSOR_TEXT(a.w));
  set_shape(a.packed, DType::u8, &bytes, 1);
  return {};
}

Status gemm_pack_cpu(gemm_pack_args& a, Context& ctx) {
  const GemmRow<float>& row = gemm_row<float>();
  GemmMatrix<float> g;
  g.n = a.w.shape[0], g.k = a.w.shape[1];
  g.b = a.w.as<float>(), g.b_row = a.w.stride[1], g.b_col = a.w.stride[0];
  const Header header = header_of(g.n, g.k);
  memcpy(a.packed.data, &header, sizeof header);
  float* panels = reinterpret_cast<float*>(a.packed.as<char>() + sizeof header);
  if (g.k == 0) return {};
  return parallel_for(gemm_panels(row, g.n), grain_for(g.k * row.nr), ctx.cancel,
                      [&](int64_t begin, int64_t end) { gemm_pack_b(row, g, begin, end, panels); });
}

Status linear_packed_infer(linear_packed_args& a) {
  TERSOR_TRY(expect_dtype(kOp, "x", a.x, DType::f32));
  if (a.x.rank < 1) return fail(Code::shape, "%s: x must have rank 1 or more, got %s", kOp, TERSOR_TEXT(a.x));
  if (a.out < 0 || a.out > (int64_t(1) << 40)) return fail(Code::option, "%s: out must be in [0, 2^40], got %lld", kOp, static_cast<long long>(a.out));
  TERSOR_TRY(expect_dtype(kOp, "packed", a.packed, DType::u8));
  TERSOR_TRY(expect_rank(kOp, "packed", a.packed, 1));
  const int64_t k = a.x.dim(-1), bytes = blob_bytes(a.out, k);
  if (a.packed.shape[0] != bytes)
    return fail(Code::shape, "%s: packed must come from gemm_pack of a [%lld,%lld] weight in this process (%lld bytes), got %s", kOp,
                static_cast<long long>(a.out), static_cast<long long>(k), static_cast<long long>(bytes), TERSOR_TEXT(a.packed));
  return linear_finish_infer(kOp, a, a.out);
}

Status linear_packed_cpu(linear_packed_args& a, Context& ctx) {
  GemmMatrix<float> g;
  g.n = a.out, g.k = a.x.dim(-1);
  const Header want = header_of(g.n, g.k);
  if (!a.packed.contiguous() || reinterpret_cast<uintptr_t>(a.packed.data) % 64 != 0 || memcmp(a.packed.data, &want, sizeof want) != 0)
    return fail(Code::option, "%s: packed was not made by gemm_pack for a [%lld,%lld] weight and the kernel row %s", kOp, static_cast<long long>(g.n),
                static_cast<long long>(g.k), gemm_row<float>().function);
  return linear_finish_run(kOp, a, g, reinterpret_cast<const float*>(a.packed.as<char>() + sizeof want), ctx);
}

}  // namespace tersor
