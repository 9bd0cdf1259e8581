// qconv2d (contract: ops/qconv2d.cc): the arithmetic of qlinear over the columns of the convolution, to the CPU's bits. x becomes codes once; the taps of pixels are
// gathered as rows for the tensor cores, some images at a time, and the products go from [pixels, O] to [O, pixels].
// Bytes: 4 a value of x and 1 of its code, kh kw times 2 a code of gathered taps (from L2 and back, a chunk stays below 32 MB), 12 a result.
#include "cuda/kernels.h"
#include "cuda/nn.h"
#include "cuda/qgemm.h"

namespace tersor {
namespace cuda {
namespace {

#if defined(TERSOR_CUDA_EMULATE)
constexpr int64_t kChunkBytes = 4096;  // so that tests see more than one chunk
#else
constexpr int64_t kChunkBytes = 32 << 20;
#endif

struct Columns {
  int64_t in, h, w, kh, kw, sh, sw, top, left, oh, ow;
  int64_t row_bytes, pixels;  // of all images together
  uint32_t zero;              // code of the padding
  __host__ __device__ int64_t depth() const { return in * kh * kw; }
};

// Four codes of a row a thread. A row is a pixel of the result, k = (c, ky, kx).
__global__ void __launch_bounds__(256) gather_kernel(const uint8_t* image, const Columns g, uint8_t* rows) {
  const int64_t words = g.row_bytes / 4, step = int64_t(gridDim.x) * 256, depth = g.depth();
  for (int64_t i = thread_index(); i < g.pixels * words; i += step) {
    const Divided at = divide(i, words);
    const Place p = place_in(at.q, g.oh, g.ow);
    const uint8_t* const from = image + p.plane * g.in * g.h * g.w;
    uint32_t word = 0;
    TERSOR_UNROLL
    for (int b = 0; b < 4; b++) {
      const int64_t k = at.r * 4 + b;
      if (k >= depth) continue;
      const Place tap = place_in(k, g.kh, g.kw);
      const int64_t y = p.row * g.sh - g.top + tap.row, x = p.column * g.sw - g.left + tap.column;
      const bool inside = y >= 0 && y < g.h && x >= 0 && x < g.w;
      word |= (inside ? static_cast<uint32_t>(from[(tap.plane * g.h + y) * g.w + x]) : g.zero) << (8 * b);
    }
    *reinterpret_cast<uint32_t*>(rows + at.q * g.row_bytes + at.r * 4) = word;
  }
}

}  // namespace

Status qconv2d(Stream& stream, qconv2d_args& a) {
  const int64_t *const xs = a.x.shape, *const ws = a.weight_shape.v, *const ys = a.y.shape, n = ws[0];
  const int64_t image = xs[1] * xs[2] * xs[3], plane = ys[2] * ys[3], depth = ws[1] * ws[2] * ws[3];
  PackedWeight w;
  TERSOR_TRY(open_packed("qconv2d", a.packed, n, depth, &w));
  if (a.y.size() == 0) return {};
  const float* x;
  TERSOR_TRY(open(stream, a.x, &x));
  Columns g{xs[1], xs[2], xs[3], ws[2], ws[3], a.stride.v[0], a.stride.v[1], a.padding.v[0], a.padding.v[1], ys[2], ys[3], ceil_div(depth, int64_t(16)) * 16, 0, 0};
  g.zero = static_cast<uint32_t>(a.x_zero);
  int64_t chunk = kChunkBytes / (g.row_bytes * plane);
  chunk = chunk < 1 ? 1 : chunk < xs[0] ? chunk : xs[0];
  const int64_t codes_bytes = ceil_div(chunk * image, int64_t(16)) * 16;
  uint8_t *codes, *rows;
  float* product;
  TERSOR_TRY(stream.scratch(codes_bytes, &codes));
  TERSOR_TRY(stream.scratch(chunk * plane * g.row_bytes, &rows));
  TERSOR_TRY(stream.scratch(chunk * plane * n, &product));
  for (int64_t b = 0; b < xs[0]; b += chunk) {
    const ScratchScope scope(stream);
    const int64_t images = xs[0] - b < chunk ? xs[0] - b : chunk;
    g.pixels = images * plane;
    TERSOR_TRY(quantize_codes(stream, x + b * image, 1, images * image, static_cast<float>(a.x_scale), static_cast<int32_t>(a.x_zero), codes, codes_bytes));
    TERSOR_TRY(launch<gather_kernel>(stream, blocks_for(stream, g.pixels * g.row_bytes / 4, 256), 256, 0, codes, g, rows));
    TensorRef taps{};
    const int64_t rows_of_codes[2] = {g.pixels, depth}, planes[3] = {images, n, plane};
    set_shape(taps, DType::u8, rows_of_codes, 2);
    taps.data = rows;
    QgemmCall c{"qconv2d", CodesFrom::codes, &taps, &a.packed, n};
    c.x_zero = a.x_zero, c.code_row = g.row_bytes;
    IntegerEpilogue e;
    e.to = IntegerTo::f32, e.y = product;
    TERSOR_TRY(open_epilogue(stream, a.w_scale, a.bias, nullptr, a.x_scale, a.act, &e));
    TERSOR_TRY(run_qgemm(stream, c, e));
    TensorRef from{}, to{};
    set_shape(from, DType::f32, planes, 3);
    to = from;
    from.data = product, from.stride[0] = plane * n, from.stride[1] = 1, from.stride[2] = n;
    to.data = a.y.as<float>() + b * n * plane;
    TERSOR_TRY(copy_strided(stream, from, to));
  }
  return {};
}

}  // namespace cuda
}  // namespace tersor
