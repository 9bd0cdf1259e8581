// matmul, linear, linear_fused, gemm, gemm_pack, linear_packed in f32 and f64 (native/ops: the same contracts). A packed weight is the row-major weight behind a
// header: nothing is gained by another order here.
#include "cuda/gemm.h"
#include "cuda/kernels.h"
#include "cuda/packed.h"

namespace tersor {
namespace cuda {
namespace {

constexpr uint32_t kPackedMagic = 0x44464754;  // "TGFD"
struct PackedHeader {
  uint32_t magic, reserved;
  int64_t n, k, unused[5];
};
static_assert(sizeof(PackedHeader) == 64, "the weight starts on a cache line");

template <class T> Status matmul_of(Stream& stream, matmul_args& x) {
  const int ra = x.a.rank, rb = x.b.rank, ta = x.transpose_a ? 1 : 0, tb = x.transpose_b ? 1 : 0;
  Gemm<T> g;
  g.m = x.y.dim(-2), g.n = x.y.dim(-1), g.k = x.a.shape[ra - 1 - ta];
  g.a = x.a.as<T>(), g.a_row = x.a.stride[ra - 2 + ta], g.a_col = x.a.stride[ra - 1 - ta];
  g.b = x.b.as<T>(), g.b_row = x.b.stride[rb - 2 + tb], g.b_col = x.b.stride[rb - 1 - tb];
  g.y = x.y.as<T>();
  TERSOR_TRY(batch_map("matmul", x.a, x.b, x.y, 1, &g.map, &g.batches));
  return run_gemm(stream, g);
}

// x [..., K] as a matrix, y = [..., n].
template <class T> Status open_rows(Stream& stream, const TensorRef& x, const TensorRef& bias, const TensorRef* residual, const TensorRef& y, int64_t n, Gemm<T>* g) {
  TensorRef dense_x;
  TERSOR_TRY(dense(stream, x, &dense_x));
  g->n = n, g->k = x.dim(-1);
  g->m = 1;
  for (int i = 0; i + 1 < x.rank; i++) g->m *= x.shape[i];
  g->a = dense_x.as<T>(), g->a_row = g->k;
  g->y = y.as<T>();
  if (bias.present()) g->bias = bias.as<T>(), g->bias_step = bias.stride[0];
  if (residual && residual->present()) {
    TensorRef r;
    TERSOR_TRY(dense(stream, *residual, &r));
    g->residual = r.as<T>();
  }
  return {};
}

template <class T> Status linear_of(Stream& stream, linear_args& x) {
  Gemm<T> g;
  TERSOR_TRY(open_rows(stream, x.x, x.bias, nullptr, x.y, x.w.shape[0], &g));
  g.b = x.w.as<T>(), g.b_row = x.w.stride[1], g.b_col = x.w.stride[0];
  return run_gemm(stream, g);
}

template <class T> Status gemm_of(Stream& stream, gemm_args& x) {
  const int ta = x.transpose_a ? 1 : 0, tb = x.transpose_b ? 1 : 0;
  Gemm<T> g;
  g.m = x.a.shape[ta], g.k = x.a.shape[1 - ta], g.n = x.b.shape[1 - tb];
  g.a = x.a.as<T>(), g.a_row = x.a.stride[ta], g.a_col = x.a.stride[1 - ta];
  g.b = x.b.as<T>(), g.b_row = x.b.stride[tb], g.b_col = x.b.stride[1 - tb];
  g.y = x.y.as<T>();
  g.alpha = static_cast<T>(x.alpha), g.beta = static_cast<T>(x.beta);
  if (x.c.present() && g.beta != T(0)) {
    g.c = x.c.as<T>();
    g.c_col = x.c.rank < 1 || x.c.dim(-1) == 1 ? 0 : x.c.stride[x.c.rank - 1];
    g.c_row = x.c.rank < 2 || x.c.dim(-2) == 1 ? 0 : x.c.stride[x.c.rank - 2];
  }
  return run_gemm(stream, g);
}

}  // namespace

Status batch_map(const char* op, const TensorRef& a, const TensorRef& b, const TensorRef& y, int64_t unit, BatchMap* map, int64_t* batches) {
  const int rank = y.rank - 2;
  *batches = 1;
  for (int i = 0; i < rank; i++) {
    const int64_t size = y.shape[i];
    *batches *= size;
    if (size == 1) continue;
    const int da = i - (y.rank - a.rank), db = i - (y.rank - b.rank);
    const int64_t sa = da < 0 || a.shape[da] == 1 ? 0 : a.stride[da] * unit, sb = db < 0 || b.shape[db] == 1 ? 0 : b.stride[db] * unit;
    const int last = map->rank - 1;
    if (last >= 0 && map->a[last] == sa * size && map->b[last] == sb * size) {  // one run with the dimension before
      map->size[last] *= size, map->a[last] = sa, map->b[last] = sb;
      continue;
    }
    if (map->rank == kMaxBatchRank) return fail(Code::unsupported, "%s: more than %d batch dimensions on the device", op, kMaxBatchRank);
    map->size[map->rank] = size, map->a[map->rank] = sa, map->b[map->rank] = sb;
    map->rank++;
  }
  return {};
}

Status matmul(Stream& stream, matmul_args& x) { return x.a.dtype == DType::f32 ? matmul_of<float>(stream, x) : matmul_of<double>(stream, x); }
Status linear(Stream& stream, linear_args& x) { return x.x.dtype == DType::f32 ? linear_of<float>(stream, x) : linear_of<double>(stream, x); }
Status gemm(Stream& stream, gemm_args& x) { return x.a.dtype == DType::f32 ? gemm_of<float>(stream, x) : gemm_of<double>(stream, x); }

Status linear_fused(Stream& stream, linear_fused_args& x) {
  Gemm<float> g;
  TERSOR_TRY(open_rows(stream, x.x, x.bias, &x.residual, x.y, x.w.shape[0], &g));
  g.b = x.w.as<float>(), g.b_row = x.w.stride[1], g.b_col = x.w.stride[0];
  g.act = static_cast<Act>(x.act);
  return run_gemm(stream, g);
}

Status gemm_pack(Stream& stream, gemm_pack_args& x) {
  const int64_t n = x.w.shape[0], k = x.w.shape[1];
  TensorRef w;
  TERSOR_TRY(packed_place("gemm_pack", x.packed));
  TERSOR_TRY(dense(stream, x.w, &w));
  TERSOR_TRY(stream.fill(x.packed.data, 0, x.packed.size()));
  TERSOR_TRY(launch<write_header<PackedHeader>>(stream, 1, 1, 0, PackedHeader{kPackedMagic, 0, n, k, {}}, static_cast<PackedHeader*>(x.packed.data)));
  return n * k > 0 ? stream.copy(x.packed.as<char>() + sizeof(PackedHeader), w.data, n * k * 4) : Status{};
}

Status linear_packed(Stream& stream, linear_packed_args& x) {
  const int64_t n = x.out, k = x.x.dim(-1);
  if (!packed_lies_well(x.packed, static_cast<int64_t>(sizeof(PackedHeader)) + n * k * 4))
    return fail(Code::option, "linear_packed: packed was not made by gemm_pack on this device for a [%lld,%lld] weight", static_cast<long long>(n), static_cast<long long>(k));
  Gemm<float> g;
  TERSOR_TRY(g.packed.open(stream, "linear_packed", x.packed.data, kPackedMagic));
  TERSOR_TRY(open_rows(stream, x.x, x.bias, &x.residual, x.y, n, &g));
  g.b = reinterpret_cast<const float*>(x.packed.as<char>() + sizeof(PackedHeader)), g.b_row = 1, g.b_col = k;
  g.act = static_cast<Act>(x.act);
  return run_gemm(stream, g);
}

}  // namespace cuda
}  // namespace tersor
