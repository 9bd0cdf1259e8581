// wgemm_pack and wgemm_unpack (native/ops/wgemm_pack.cc). Scales and zeros are taken as they are: the CPU refuses some values of them, which a device does not look at.
#include "cuda/kernels.h"
#include "cuda/wgemm.h"

namespace tersor {
namespace cuda {
namespace {

struct Factors {
  const float* scale;
  int64_t scale_row, scale_col;
  const float* zero;
  int64_t zero_row, zero_col;
};

// One thread a step.
__global__ void pack_steps(WgemmDeviceHeader h, const int8_t* q, Factors f, unsigned char* packed, IndexCheck check) {
  const int64_t row_steps = h.row_steps(), total = h.n * row_steps, offset = int64_t(1) << (h.bits - 1);
  if (blockIdx.x == 0 && threadIdx.x == 0) *reinterpret_cast<WgemmDeviceHeader*>(packed) = h;
  for (int64_t i = blockIdx.x * int64_t(blockDim.x) + threadIdx.x; i < total; i += int64_t(gridDim.x) * blockDim.x) {
    const int64_t n = i / row_steps, s = i % row_steps, g = s / h.steps(), first = s % h.steps() * 32;
    uint32_t words[8] = {};
    for (int k = 0; k < 32 && first + k < h.group(); k++) {
      const int64_t at = n * h.k + g * h.group() + first + k, c = q[at] + offset;
      if (!check.index(at, c)) continue;
      const uint32_t u = static_cast<uint32_t>(c);
      const int quad = k / 4, b = k % 4 * 8;
      if (h.bits == 8) words[quad] |= u << b;
      else if (h.bits == 4) words[quad / 2] |= u << (b + quad % 2 * 4);
      else {
        words[quad / 4] |= (u & 3u) << (b + quad % 4 * 2);
        if (h.bits == 3) words[2] |= (u >> 2) << (b + quad);
      }
    }
    uint32_t* const to = reinterpret_cast<uint32_t*>(packed + 64) + i * h.bits;
    for (int w = 0; w < 8; w++)
      if (w < h.bits) to[w] = words[w];
    if (s % h.steps() != 0) continue;
    reinterpret_cast<float*>(packed + h.scales_at())[n * h.groups + g] = f.scale[n * f.scale_row + g * f.scale_col];
    if (h.affine) reinterpret_cast<float*>(packed + h.zeros_at())[n * h.groups + g] = f.zero[n * f.zero_row + g * f.zero_col];
  }
}

__global__ void unpack_steps(const unsigned char* packed, int64_t n, int64_t k, float* w, PackedCheck check) {
  check.look();
  const WgemmDeviceHeader h = *reinterpret_cast<const WgemmDeviceHeader*>(packed);
  if (h.magic != kWgemmDeviceMagic || h.n != n || h.k != k) return;
  const int64_t row_steps = h.row_steps(), total = n * row_steps;
  for (int64_t i = blockIdx.x * int64_t(blockDim.x) + threadIdx.x; i < total; i += int64_t(gridDim.x) * blockDim.x) {
    const int64_t row = i / row_steps, s = i % row_steps, g = s / h.steps(), first = s % h.steps() * 32;
    const float scale = reinterpret_cast<const float*>(packed + h.scales_at())[row * h.groups + g];
    const float zero = h.affine ? reinterpret_cast<const float*>(packed + h.zeros_at())[row * h.groups + g] : 0.0f;
    const uint32_t* const words = reinterpret_cast<const uint32_t*>(packed + 64) + i * h.bits;
    const int offset = 1 << (h.bits - 1);
    for (int x = 0; x < 32 && first + x < h.group(); x++) {
      const int u = static_cast<int>(wgemm_quad_any(h.bits, words, x / 4) >> (x % 4 * 8) & 255u);
      w[row * k + g * h.group() + first + x] = (static_cast<float>(u - offset) - zero) * scale;
    }
  }
}

}  // namespace

Status unpack_weight(Stream& stream, const char* op, const TensorRef& packed, int64_t n, int64_t k, float* w) {
  if (!packed_lies_well(packed, 64)) return fail(Code::option, "%s: packed was not made by wgemm_pack on this device", op);
  if (n == 0 || k == 0) return {};
  PackedCheck check;
  TERSOR_TRY(check.open(stream, op, packed.data, kWgemmDeviceMagic));
  return launch<unpack_steps>(stream, blocks_for(stream, n * (k + 31) / 32, 256), 256, 0, packed.as<unsigned char>(), n, k, w, check);
}

Status wgemm_pack(Stream& stream, wgemm_pack_args& a) {
  const int64_t s = a.scale.shape[1], z = a.zero.present() ? a.zero.shape[1] : 1;
  const WgemmDeviceHeader h{kWgemmDeviceMagic, static_cast<int32_t>(a.bits), a.zero.present() ? 1 : 0, 0, a.q.shape[0], a.q.shape[1], s > z ? s : z, {}};
  if (h.bytes() > a.packed.size()) return fail(Code::internal, "wgemm_pack: %lld bytes do not fit the %lld that the op has", static_cast<long long>(h.bytes()), static_cast<long long>(a.packed.size()));
  TensorRef q;
  TERSOR_TRY(packed_place("wgemm_pack", a.packed));
  TERSOR_TRY(dense(stream, a.q, &q));
  TERSOR_TRY(stream.fill(a.packed.data, 0, a.packed.size()));
  const auto row = [](const TensorRef& t) { return t.shape[0] == 1 ? 0 : t.stride[0]; };
  const auto col = [](const TensorRef& t) { return t.shape[1] == 1 ? 0 : t.stride[1]; };
  Factors f{a.scale.as<float>(), row(a.scale), col(a.scale), nullptr, 0, 0};
  if (h.affine) f.zero = a.zero.as<float>(), f.zero_row = row(a.zero), f.zero_col = col(a.zero);
  IndexCheck check;
  TERSOR_TRY(check.open(stream, "wgemm_pack", a.bits == 8 ? "codes + 128" : a.bits == 4 ? "codes + 8" : a.bits == 3 ? "codes + 4" : "codes + 2", int64_t(1) << a.bits));
  const int64_t blocks = blocks_for(stream, h.n * h.row_steps(), 256);
  return launch<pack_steps>(stream, blocks > 0 ? blocks : 1, 256, 0, h, q.as<int8_t>(), f, a.packed.as<unsigned char>(), check);
}

Status wgemm_unpack(Stream& stream, wgemm_unpack_args& a) { return unpack_weight(stream, "wgemm_unpack", a.packed, a.out, a.cols, a.w.as<float>()); }

}  // namespace cuda
}  // namespace tersor
