// qconv2d_pack and qconv2d (contract: ops/qconv2d.cc), to the CPU's bits. x becomes codes once; of one group the taps of pixels are gathered as rows for the tensor
// cores, some images or a band of one at a time, and the products go from [pixels, O] to [O, pixels]. Of several groups, whose rows are short, a thread sums the taps of a result.
// Bytes of one group: 4 a value of x and 1 of its code, kh kw times 2 a code of gathered taps (from L2 and back, at most 32 MB of them at a time), 12 a result.
//
// Packed filters, in the bytes of the CPU's layout, which are more: of one group the packed weight [O, C kh kw] of qgemm.h; of several GroupedHeader and the codes as
// they are, [O, C/groups, kh, kw].
#include "cuda/kernels.h"
#include "cuda/nn.h"
#include "cuda/qgemm.h"

namespace tersor {
namespace cuda {
namespace {

#if defined(TERSOR_CUDA_EMULATE)
constexpr int64_t kChunkBytes = 4096;  // so that tests see more than one chunk, and images that are several
#else
constexpr int64_t kChunkBytes = 32 << 20;
#endif

constexpr uint32_t kGroupedMagic = 0x44435154;  // "TQCD"
struct GroupedHeader {
  uint32_t magic, unused[15];
};
static_assert(sizeof(GroupedHeader) == 64, "codes start on a cache line");

struct Window {
  int64_t h, w, kh, kw, sh, sw, dh, dw, top, left, oh, ow;

  __device__ __forceinline__ bool tap(const Place& pixel, int64_t ky, int64_t kx, int64_t* at) const {
    const int64_t y = pixel.row * sh - top + ky * dh, x = pixel.column * sw - left + kx * dw;
    *at = y * w + x;
    return y >= 0 && y < h && x >= 0 && x < w;
  }
};

struct Columns : Window {
  int64_t in;
  int64_t row_bytes, first, pixels;  // of all images together, from `first` on
  uint32_t zero;                     // code of the padding
  __host__ __device__ int64_t depth() const { return in * kh * kw; }
};

// Four codes of a row a thread. A row is a pixel of the result, k = (c, ky, kx).
__global__ void __launch_bounds__(256) gather_taps_kernel(const uint8_t* image, const Columns g, uint8_t* rows) {
  const int64_t words = g.row_bytes / 4, step = int64_t(gridDim.x) * 256, depth = g.depth();
  for (int64_t i = thread_index(); i < g.pixels * words; i += step) {
    const Divided at = divide(i, words);
    const Place p = place_in(at.q + g.first, g.oh, g.ow);
    const uint8_t* const from = image + p.plane * g.in * g.h * g.w;
    uint32_t word = 0;
    TERSOR_UNROLL
    for (int b = 0; b < 4; b++) {
      const int64_t k = at.r * 4 + b;
      if (k >= depth) continue;
      const Place tap = place_in(k, g.kh, g.kw);
      int64_t pixel;
      const bool inside = g.tap(p, tap.row, tap.column, &pixel);
      word |= (inside ? static_cast<uint32_t>(from[tap.plane * g.h * g.w + pixel]) : g.zero) << (8 * b);
    }
    *reinterpret_cast<uint32_t*>(rows + at.q * g.row_bytes + at.r * 4) = word;
  }
}

struct Grouped : Window {
  int64_t out, groups, group_in, results;
  int32_t zero;
  const float *w_scale, *bias;
  int64_t w_scale_step, bias_step;
  float x_scale;
  PackedCheck packed;
};

// A result a thread: padding adds nothing, its code is the zero point.
__global__ void __launch_bounds__(256) grouped_kernel(const uint8_t* image, const int8_t* filters, const Grouped g, float* y) {
  g.packed.look();
  const int64_t step = int64_t(gridDim.x) * 256, plane = g.h * g.w, depth = g.group_in * g.kh * g.kw, group_out = g.out / g.groups;
  for (int64_t i = thread_index(); i < g.results; i += step) {
    const Place p = place_in(i, g.oh, g.ow);
    const Divided at = divide(p.plane, g.out);  // image, filter
    const int8_t* w = filters + at.r * depth;
    const uint8_t* from = image + (at.q * g.groups + at.r / group_out) * g.group_in * plane;
    int32_t sum = 0;
    for (int64_t c = 0; c < g.group_in; c++, from += plane)
      for (int64_t ky = 0; ky < g.kh; ky++)
        for (int64_t kx = 0; kx < g.kw; kx++, w++) {
          int64_t pixel;
          if (g.tap(p, ky, kx, &pixel)) sum += (static_cast<int32_t>(from[pixel]) - g.zero) * *w;
        }
    const float scale = g.x_scale * g.w_scale[at.r * g.w_scale_step];
    y[i] = static_cast<float>(sum) * scale + (g.bias ? g.bias[at.r * g.bias_step] : -0.0f);  // x + -0 = x for every x
  }
}

int64_t round16(int64_t n) { return ceil_div(n, int64_t(16)) * 16; }
constexpr int64_t kGroupedHeaderBytes = static_cast<int64_t>(sizeof(GroupedHeader));

Status open_grouped(const char* op, const TensorRef& packed, int64_t bytes) {
  if (packed_lies_well(packed, kGroupedHeaderBytes + round16(bytes))) return {};
  return fail(Code::option, "%s: packed was not made by qconv2d_pack on this device for filters of %lld codes", op, static_cast<long long>(bytes));
}

// Images whose codes, and where they are gathered whose taps, are made at a time: at least one.
int64_t chunk_of(int64_t images, int64_t bytes) {
  const int64_t chunk = bytes > 0 ? kChunkBytes / bytes : images;
  return chunk < 1 ? 1 : chunk < images ? chunk : images;
}

Status codes_of(Stream& stream, const qconv2d_args& a, const float* x, int64_t values, uint8_t* codes) {
  return quantize_codes(stream, x, 1, values, static_cast<float>(a.x_scale), static_cast<int32_t>(a.x_zero), codes, round16(values));
}

Status run_grouped(Stream& stream, qconv2d_args& a, const Window& window, const float* x) {
  const int64_t *const xs = a.x.shape, *const ws = a.weight_shape.v, image = xs[1] * xs[2] * xs[3], out = ws[0] * window.oh * window.ow;
  TERSOR_TRY(open_grouped("qconv2d", a.packed, ws[0] * ws[1] * ws[2] * ws[3]));
  IntegerEpilogue e;
  TERSOR_TRY(open_epilogue(stream, a.w_scale, a.bias, nullptr, a.x_scale, activation::none, &e));
  Grouped g{window, ws[0], a.groups, ws[1], 0, static_cast<int32_t>(a.x_zero), e.w_scale, e.bias, e.w_scale_step, e.bias_step, e.x_scale, {}};
  TERSOR_TRY(g.packed.open(stream, "qconv2d", a.packed.data, kGroupedMagic));
  const int64_t chunk = chunk_of(xs[0], image);
  uint8_t* codes;
  TERSOR_TRY(stream.scratch(round16(chunk * image), &codes));
  for (int64_t b = 0; b < xs[0]; b += chunk) {
    const int64_t images = xs[0] - b < chunk ? xs[0] - b : chunk;
    g.results = images * out;
    TERSOR_TRY(codes_of(stream, a, x + b * image, images * image, codes));
    TERSOR_TRY(launch<grouped_kernel>(stream, blocks_for(stream, g.results, 256), 256, 0, codes, a.packed.as<int8_t>() + kGroupedHeaderBytes, g, a.y.as<float>() + b * out));
  }
  return {};
}

Status run_gathered(Stream& stream, qconv2d_args& a, const Window& window, const float* x) {
  const int64_t *const xs = a.x.shape, *const ws = a.weight_shape.v, n = ws[0];
  const int64_t image = xs[1] * xs[2] * xs[3], plane = window.oh * window.ow, depth = ws[1] * ws[2] * ws[3];
  Columns g{window, ws[1], depth > 0 ? round16(depth) : 16, 0, 0, static_cast<uint32_t>(a.x_zero)};
  const int64_t chunk = chunk_of(xs[0], g.row_bytes * plane), fit = kChunkBytes / g.row_bytes;
  const int64_t band = plane <= fit ? plane : fit < 1 ? 1 : fit;  // pixels of an image
  uint8_t *codes, *rows;
  float* product;
  TERSOR_TRY(stream.scratch(round16(chunk * image), &codes));
  TERSOR_TRY(stream.scratch(chunk * band * g.row_bytes, &rows));
  TERSOR_TRY(stream.scratch(chunk * band * n, &product));
  for (int64_t b = 0; b < xs[0]; b += chunk) {
    const int64_t images = xs[0] - b < chunk ? xs[0] - b : chunk;
    TERSOR_TRY(codes_of(stream, a, x + b * image, images * image, codes));
    for (g.first = 0; g.first < plane; g.first += band) {
      const ScratchScope scope(stream);
      const int64_t wide = plane - g.first < band ? plane - g.first : band;  // several images: all of each
      g.pixels = images * wide;
      TERSOR_TRY(launch<gather_taps_kernel>(stream, blocks_for(stream, g.pixels * g.row_bytes / 4, 256), 256, 0, codes, g, rows));
      TensorRef taps{};
      const int64_t rows_of_codes[2] = {g.pixels, depth}, planes[3] = {images, n, wide};
      set_shape(taps, DType::u8, rows_of_codes, 2);
      taps.data = rows;
      QgemmCall c{"qconv2d", CodesFrom::codes, &taps, &a.packed, n};
      c.x_zero = a.x_zero, c.code_row = g.row_bytes;
      IntegerEpilogue e;
      e.to = IntegerTo::f32, e.y = product;
      TERSOR_TRY(open_epilogue(stream, a.w_scale, a.bias, nullptr, a.x_scale, activation::none, &e));
      TERSOR_TRY(run_qgemm(stream, c, e));
      TensorRef from{}, to{};
      set_shape(from, DType::f32, planes, 3);
      to = from;
      from.data = product, from.stride[0] = wide * n, from.stride[1] = 1, from.stride[2] = n;
      to.data = a.y.as<float>() + b * n * plane + g.first, to.stride[0] = n * plane, to.stride[1] = plane;
      TERSOR_TRY(copy_strided(stream, from, to));
    }
  }
  return {};
}

}  // namespace

Status qconv2d_pack(Stream& stream, qconv2d_pack_args& a) {
  const int64_t *const ws = a.w.shape, depth = ws[1] * ws[2] * ws[3], bytes = ws[0] * depth;
  if (a.groups == 1) return pack_rows(stream, "qconv2d_pack", a.w, ws[0], depth, a.packed);
  TERSOR_TRY(open_grouped("qconv2d_pack", a.packed, bytes));
  TensorRef codes;
  TERSOR_TRY(dense(stream, a.w, &codes));
  TERSOR_TRY(stream.fill(a.packed.data, 0, a.packed.size()));
  TERSOR_TRY(launch<write_header<GroupedHeader>>(stream, 1, 1, 0, GroupedHeader{kGroupedMagic, {}}, static_cast<GroupedHeader*>(a.packed.data)));
  return copy_rows(stream, codes.as<uint8_t>(), bytes, 1, bytes, a.packed.as<uint8_t>() + kGroupedHeaderBytes, round16(bytes));
}

Status qconv2d(Stream& stream, qconv2d_args& a) {
  if (a.y.size() == 0) return {};
  const float* x;
  TERSOR_TRY(open(stream, a.x, &x));
  const int64_t *const xs = a.x.shape, *const ws = a.weight_shape.v, *const ys = a.y.shape, *const padding = a.padding.v;  // top, bottom, left, right
  const Window window{xs[2], xs[3], ws[2], ws[3], a.stride.v[0], a.stride.v[1], a.dilation.v[0], a.dilation.v[1], padding[0], padding[2], ys[2], ys[3]};
  return a.groups == 1 ? run_gathered(stream, a, window, x) : run_grouped(stream, a, window, x);
}

}  // namespace cuda
}  // namespace tersor
