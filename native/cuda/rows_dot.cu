// rows_dot: exact products of selected rows of a weight (contract: ops/rows.cc); ternary_pack, ternary_unpack, ternary_project (ops/ternary.cc).
//
// rows_dot: a warp takes one entry of the list and four vectors; lanes go along K four elements at a time, so a row of w is read once for four vectors and no
// other row is touched. Bytes: the selected rows of w for every four vectors.
//
// Projections. The size that the op gives to `packed` is the CPU's: 64 bytes of header, and at best a word for 18 entries of a row. On the device the entries
// stand in it row by row as digits of base 3, five a byte, 20 a word, which always fits; the header says so, and another layout is refused (ERR_OPTION).
// A product adds x or takes it away: no multiplication. Bytes: K / 5 for each output.
#include <cmath>
#include <cstring>

#include "base/random.h"
#include "cuda/bitset.h"
#include "cuda/collect.h"
#include "cuda/rows_dot.h"

namespace tersor {
namespace cuda {
namespace {

template <class V>
__global__ void __launch_bounds__(256) dot_kernel(const RowsProduct p, const V* w, const float* x, const int32_t* index, const int32_t* offsets, float* y) {
  const int64_t entry = warp_of_grid(), m0 = int64_t(blockIdx.y) * 4;
  if (entry >= p.count) return;
  const int lane = lane_id();
  int64_t first = m0, vectors = p.m - m0 < 4 ? p.m - m0 : 4;
  if (offsets) {  // the vector whose list the entry is in
    int64_t lo = 0, hi = p.m;
    while (hi - lo > 1) {
      const int64_t middle = (lo + hi) / 2;
      if (offsets[middle] <= entry) lo = middle;
      else hi = middle;
    }
    first = lo, vectors = 1;
  }
  const int64_t row = index[entry];
  const bool fits = p.check(entry, row, index, offsets, first);
  float sum[4] = {0, 0, 0, 0};
  if (fits)
    for (int64_t k = lane * 4; k < p.k; k += 128) {
      V v[4];
      load_four(w + row * p.w_row, k, p.k, v);
      TERSOR_UNROLL
      for (int m = 0; m < 4; m++) {
        if (m >= vectors) break;
        float u[4];
        load_four(x + (first + m) * p.k, k, p.k, u);
        TERSOR_UNROLL
        for (int c = 0; c < 4; c++) sum[m] = fmaf(u[c], static_cast<float>(v[c]), sum[m]);
      }
    }
  TERSOR_UNROLL
  for (int m = 0; m < 4; m++) {
    float total = warp_sum(sum[m]);
    if (lane != m || m >= vectors || !fits) continue;
    if (p.scale) total = total * p.scale[row * p.scale_step];
    if (p.bias) total = total + p.bias[row];
    y[offsets && !p.scatter ? entry : (first + m) * p.y_row + (p.scatter ? row : entry)] = total;
  }
}

__global__ void __launch_bounds__(256) check_offsets_kernel(const int32_t* offsets, int64_t m, int64_t count, const RuleCheck check) {
  const int64_t step = int64_t(gridDim.x) * 256;
  for (int64_t i = int64_t(blockIdx.x) * 256 + threadIdx.x; i < m; i += step)
    if (offsets[i] < 0 || offsets[i + 1] < offsets[i] || (i == 0 && offsets[0] != 0) || (i == m - 1 && offsets[m] != count)) check.report(i);
}

}  // namespace

Status rows_product(Stream& s, const RowsProduct& p, const TensorRef& w, const float* x, const int32_t* index, const int32_t* offsets, float* y) {
  if (p.count == 0 || p.m == 0) return {};
  const Grid grid(ceil_div(p.count, int64_t(8)), offsets ? 1 : ceil_div(p.m, int64_t(4)));
  if (grid.y > 65535) return fail(Code::limit, "%s: at most 262140 vectors at a time, got %lld", s.op(), static_cast<long long>(p.m));
  return w.dtype == DType::i8 ? launch<dot_kernel<int8_t>>(s, grid, 256, 0, p, w.as<const int8_t>(), x, index, offsets, y)
                              : launch<dot_kernel<float>>(s, grid, 256, 0, p, w.as<const float>(), x, index, offsets, y);
}

Status rows_dot_cuda(Stream& s, rows_dot_args& a) {
  TensorRef x, w = a.w, scale, bias, index, offsets, base;
  TERSOR_TRY(dense(s, a.x, &x));
  TERSOR_TRY(dense(s, a.index, &index));
  if (a.w.shape[1] > 1 && a.w.stride[1] != 1) TERSOR_TRY(dense(s, a.w, &w));
  RowsProduct p;
  p.k = a.x.shape[1], p.m = a.x.shape[0], p.n = a.w.shape[0], p.count = a.index.shape[0], p.w_row = w.stride[0], p.scatter = a.base.present();
  if (p.w_row == 0 && w.shape[0] <= 1) p.w_row = p.k;
  if (a.scale.present()) {
    TERSOR_TRY(dense(s, a.scale, &scale));
    p.scale = scale.as<const float>(), p.scale_step = a.scale.shape[0] == 1 ? 0 : 1;
  }
  if (a.bias.present()) {
    TERSOR_TRY(dense(s, a.bias, &bias));
    p.bias = bias.as<const float>();
  }
  TERSOR_TRY(p.rule.open(s, Code::option, "rows_dot: indices of a list must ascend and lie within the rows of w"));
  p.y_row = p.scatter ? p.n : p.count;
  if (p.scatter) {
    TERSOR_TRY(dense(s, a.base, &base));
    TERSOR_TRY(s.copy(a.y.data, base.data, a.y.bytes()));
  }
  if (a.offsets.present()) {
    RuleCheck check;
    TERSOR_TRY(dense(s, a.offsets, &offsets));
    TERSOR_TRY(check.open(s, Code::option, "rows_dot: offsets must rise from 0 to the number of indices"));
    TERSOR_TRY(launch<check_offsets_kernel>(s, blocks_for(s, p.m, 256), 256, 0, offsets.as<const int32_t>(), p.m, p.count, check));
  }
  return rows_product(s, p, w, x.as<const float>(), index.as<const int32_t>(), a.offsets.present() ? offsets.as<const int32_t>() : nullptr, a.y.as<float>());
}

namespace {

constexpr uint32_t kThird = 715827882u;      // floor(2^32 / 6)
constexpr uint32_t kMagic = 0x31475454;      // "TTG1"
constexpr int64_t kTernaryHeaderBytes = 64;

struct Header {  // as kernels/rows/rows.h has it, with another magic
  uint32_t magic;
  int32_t words, unused[2];
  int64_t n, k, seed, stream;
};
static_assert(sizeof(Header) <= kTernaryHeaderBytes, "the header fits");

__device__ inline Philox draw(uint64_t counter_low, uint64_t counter_high, uint64_t key) {
  uint32_t c0 = static_cast<uint32_t>(counter_low), c1 = static_cast<uint32_t>(counter_low >> 32);
  uint32_t c2 = static_cast<uint32_t>(counter_high), c3 = static_cast<uint32_t>(counter_high >> 32);
  uint32_t k0 = static_cast<uint32_t>(key), k1 = static_cast<uint32_t>(key >> 32);
  for (int round = 0; round < kPhiloxRounds; round++) {
    const uint32_t h0 = __umulhi(kPhiloxM0, c0), l0 = kPhiloxM0 * c0, h1 = __umulhi(kPhiloxM1, c2), l1 = kPhiloxM1 * c2;
    c0 = h1 ^ c1 ^ k0, c1 = l1, c2 = h0 ^ c3 ^ k1, c3 = l0;
    k0 += kPhiloxW0, k1 += kPhiloxW1;
  }
  return {{c0, c1, c2, c3}};
}
// +1, 0 or -1
__device__ inline int entry_of(int64_t p, uint64_t seed, uint64_t stream) {
  const Philox block = draw(static_cast<uint64_t>(p / 4), stream, seed);
  const int at = static_cast<int>(p % 4);
  const uint32_t r = at == 0 ? block.v[0] : at == 1 ? block.v[1] : at == 2 ? block.v[2] : block.v[3];
  return r < kThird ? 1 : r < 2 * kThird ? -1 : 0;
}

constexpr int kDigits = 20;  // of a word

// Digit 5 b + j of a word is digit j of byte b: entry + 1.
__global__ void __launch_bounds__(256) ternary_pack_kernel(Header h, uint8_t* packed) {
  uint32_t* words = reinterpret_cast<uint32_t*>(packed + kTernaryHeaderBytes);
  const int64_t step = int64_t(gridDim.x) * 256, first = int64_t(blockIdx.x) * 256 + threadIdx.x;
  if (first == 0) *reinterpret_cast<Header*>(packed) = h;
  for (int64_t i = first; i < h.n * h.words; i += step) {
    const int64_t d = i / h.words, k0 = i % h.words * kDigits;
    uint32_t word = 0;
    for (int b = 3; b >= 0; b--) {
      uint32_t byte = 0;
      for (int j = 4; j >= 0; j--) {
        const int64_t k = k0 + 5 * b + j;
        const int v = k < h.k ? entry_of(d * h.k + k, static_cast<uint64_t>(h.seed), static_cast<uint64_t>(h.stream)) : 0;
        byte = byte * 3 + static_cast<uint32_t>(v + 1);
      }
      word = word << 8 | byte;
    }
    words[i] = word;
  }
}

__device__ inline bool made_here(const uint8_t* packed, int64_t n, int64_t k) {
  const Header* h = reinterpret_cast<const Header*>(packed);
  return h->magic == kMagic && h->n == n && h->k == k;
}

__global__ void __launch_bounds__(256) ternary_unpack_kernel(const uint8_t* packed, int64_t n, int64_t k, const RuleCheck check, int8_t* p) {
  if (!made_here(packed, n, k)) {
    if (blockIdx.x == 0 && threadIdx.x == 0) check.report(0);
    return;
  }
  const uint8_t* bytes = packed + kTernaryHeaderBytes;
  const int64_t row = (k + kDigits - 1) / kDigits * 4, step = int64_t(gridDim.x) * 256;
  for (int64_t i = int64_t(blockIdx.x) * 256 + threadIdx.x; i < n * k; i += step) {
    const int64_t c = i % k;
    int v = bytes[i / k * row + c / 5];
    for (int j = static_cast<int>(c % 5); j > 0; j--) v /= 3;
    p[i] = static_cast<int8_t>(v % 3 - 1);
  }
}

// A warp makes one output of four vectors; a lane takes a word of 20 entries at a time.
__global__ void __launch_bounds__(256) ternary_project_kernel(const float* x, int64_t m, const uint8_t* packed, int64_t n, int64_t k, float scale, const RuleCheck check, float* y) {
  if (!made_here(packed, n, k)) {
    if (blockIdx.x == 0 && blockIdx.y == 0 && threadIdx.x == 0) check.report(0);
    return;
  }
  const int64_t words = (k + kDigits - 1) / kDigits, d = warp_of_grid(), m0 = int64_t(blockIdx.y) * 4;
  const uint32_t* row = reinterpret_cast<const uint32_t*>(packed + kTernaryHeaderBytes) + d * words;
  const int lane = lane_id();
  if (d >= n) return;
  float sum[4] = {0, 0, 0, 0};
  for (int64_t at = lane; at < words; at += 32) {
    const uint32_t word = row[at];
    uint32_t plus = 0, minus = 0;  // bit e: of entry e
    TERSOR_UNROLL
    for (int b = 0; b < 4; b++) {
      uint32_t v = word >> (8 * b) & 255u;
      TERSOR_UNROLL
      for (int j = 0; j < 5; j++) {
        const uint32_t q = v * 171u >> 9, digit = v - 3 * q;  // v / 3
        plus |= (digit >> 1) << (5 * b + j), minus |= static_cast<uint32_t>(digit == 0) << (5 * b + j);
        v = q;
      }
    }
    TERSOR_UNROLL
    for (int v = 0; v < 4; v++) {
      if (m0 + v >= m) break;
      TERSOR_UNROLL
      for (int e = 0; e < kDigits; e += 4) {
        float u[4];
        load_four(x + (m0 + v) * k, at * kDigits + e, k, u);
        TERSOR_UNROLL
        for (int c = 0; c < 4; c++) {
          sum[v] += plus >> (e + c) & 1 ? u[c] : 0.0f;
          sum[v] -= minus >> (e + c) & 1 ? u[c] : 0.0f;
        }
      }
    }
  }
  TERSOR_UNROLL
  for (int v = 0; v < 4; v++) {
    const float total = warp_sum(sum[v]);
    if (lane == v && m0 + v < m) y[(m0 + v) * n + d] = total * scale;
  }
}

constexpr const char* kTernaryRule = "packed projections of a device come from ternary_pack on a device, for the same sizes";

}  // namespace

Status ternary_project(Stream& s, const float* x, int64_t m, const uint8_t* packed, int64_t n, int64_t k, float* y) {
  if (m == 0 || n == 0) return {};
  RuleCheck check;
  TERSOR_TRY(check.open(s, Code::option, kTernaryRule));
  const float scale = static_cast<float>(std::sqrt(3.0 / static_cast<double>(n)));
  const int64_t most = 65535 * 4;
  for (int64_t i = 0; i < m; i += most) {
    const int64_t rows = m - i < most ? m - i : most;
    TERSOR_TRY(launch<ternary_project_kernel>(s, Grid(ceil_div(n, int64_t(8)), ceil_div(rows, int64_t(4))), 256, 0, x + i * k, rows, packed, n, k, scale, check, y + i * n));
  }
  return {};
}

Status ternary_pack_cuda(Stream& s, ternary_pack_args& a) {
  const Header h{kMagic, static_cast<int32_t>((a.cols + kDigits - 1) / kDigits), {0, 0}, a.out, a.cols, a.seed, a.stream};
  if (kTernaryHeaderBytes + a.out * h.words * 4 > a.packed.shape[0])
    return fail(Code::unsupported, "ternary_pack: a [%lld,%lld] projection does not fit into %lld bytes on a device", static_cast<long long>(a.out), static_cast<long long>(a.cols),
                static_cast<long long>(a.packed.shape[0]));
  TERSOR_TRY(packed_place("ternary_pack", a.packed));
  TERSOR_TRY(s.fill(a.packed.data, 0, a.packed.shape[0]));
  const int64_t blocks = blocks_for(s, a.out * h.words, 256);
  return launch<ternary_pack_kernel>(s, blocks < 1 ? 1 : blocks, 256, 0, h, a.packed.as<uint8_t>());
}

Status ternary_unpack_cuda(Stream& s, ternary_unpack_args& a) {
  TensorRef packed;
  RuleCheck check;
  TERSOR_TRY(dense(s, a.packed, &packed));
  TERSOR_TRY(packed_place("ternary_unpack", packed));
  TERSOR_TRY(check.open(s, Code::option, kTernaryRule));
  return launch<ternary_unpack_kernel>(s, blocks_for(s, a.p.size(), 256), 256, 0, packed.as<const uint8_t>(), a.out, a.cols, check, a.p.as<int8_t>());
}

Status ternary_project_cuda(Stream& s, ternary_project_args& a) {
  if (a.y.size() == 0) return {};
  TensorRef x, packed;
  TERSOR_TRY(dense(s, a.x, &x));
  TERSOR_TRY(dense(s, a.packed, &packed));
  TERSOR_TRY(packed_place("ternary_project", packed));
  return ternary_project(s, x.as<const float>(), a.y.size() / a.out, packed.as<const uint8_t>(), a.out, a.x.dim(-1), a.y.as<float>());
}

}  // namespace cuda
}  // namespace tersor
