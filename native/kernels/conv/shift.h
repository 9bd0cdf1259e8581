// Convolutions as matrix products without im2col. The images of a convolution are copied into planes (zero padded, one plane per
// phase of the stride) so that, for a fixed kernel tap, the values that meet all output positions are one run of memory: row k of the
// "column matrix" is the plane shifted by offset[k]. kernels/gemm takes such rows directly (GemmStrip::offset). The price is that
// output rows are computed `pitch` wide instead of `out_w`: the excess columns hold garbage and are dropped when the result is stored.
#pragma once
#include <cstdint>
#include <cstring>

namespace tersor {

// Planes of one image, or of a band of its rows: element (c, fy, fx, r, j) is source pixel (y, x) = ((r0 + r) * sh + fy - top,
// j * sw + fx - left), or 0 outside the image.
struct ConvPlanes {
  int64_t channels, height, width;  // the source image
  int64_t sh, sw;                   // stride
  int64_t phases_y, phases_x;       // planes per channel: the phases that have a tap, min(stride, kernel) in each direction
  int64_t top, left;                // padding; negative crops
  int64_t pitch;                    // columns of a plane
  int64_t plane(int64_t rows) const { return rows * pitch; }
  int64_t elements(int64_t rows) const { return channels * phases_y * phases_x * rows * pitch; }
};

template <class T> void conv_fill_planes(const ConvPlanes& p, const T* image, int64_t r0, int64_t rows, T* out) {
  for (int64_t c = 0; c < p.channels; c++)
    for (int64_t fy = 0; fy < p.phases_y; fy++)
      for (int64_t fx = 0; fx < p.phases_x; fx++)
        for (int64_t r = 0; r < rows; r++, out += p.pitch) {
          const int64_t y = (r0 + r) * p.sh + fy - p.top;
          if (y < 0 || y >= p.height) {
            memset(out, 0, sizeof(T) * static_cast<size_t>(p.pitch));
            continue;
          }
          // First and last column of the row that lie inside the image.
          const int64_t x0 = fx - p.left;
          int64_t first = x0 >= 0 ? 0 : (-x0 + p.sw - 1) / p.sw;
          int64_t last = x0 < p.width ? (p.width - 1 - x0) / p.sw + 1 : 0;
          if (first > p.pitch) first = p.pitch;
          if (last > p.pitch) last = p.pitch;
          if (last < first) last = first;
          const T* row = image + (c * p.height + y) * p.width;
          for (int64_t j = 0; j < first; j++) out[j] = T(0);
          if (p.sw == 1) {
            if (last > first) memcpy(out + first, row + first + x0, sizeof(T) * static_cast<size_t>(last - first));
          } else {
            for (int64_t j = first; j < last; j++) out[j] = row[j * p.sw + x0];
          }
          for (int64_t j = last; j < p.pitch; j++) out[j] = T(0);
        }
}

// out[i*out_channel + y*out_row + x*out_col] = flat[i*flat_channel + y*pitch + x] for i < channels, y < rows, x < width.
template <class T>
void conv_store(const T* flat, int64_t flat_channel, int64_t pitch, int64_t channels, int64_t rows, int64_t width, T* out, int64_t out_channel,
                int64_t out_row, int64_t out_col) {
  for (int64_t i = 0; i < channels; i++)
    for (int64_t y = 0; y < rows; y++) {
      const T* from = flat + i * flat_channel + y * pitch;
      T* to = out + i * out_channel + y * out_row;
      if (out_col == 1)
        memcpy(to, from, sizeof(T) * static_cast<size_t>(width));
      else
        for (int64_t x = 0; x < width; x++) to[x * out_col] = from[x];
    }
}

}  // namespace tersor
