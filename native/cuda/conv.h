// Convolutions as steps of other ops: geometry, and the three products for f32 and f64. conv_tiled.cu holds the implicit matrix products, conv_direct.cu a
// thread (or block) per result for what they do not fit.
#pragma once
#include "cuda/nn.h"

namespace tersor {
namespace cuda {

// x [batch, in, h, w], w [out, group_in, kh, kw], y [batch, out, oh, ow]; dense.
struct ConvGeometry {
  int64_t batch, in, h, w, out, kh, kw, groups, group_in, group_out, sh, sw, top, left, dh, dw, oh, ow;
  __host__ __device__ int64_t taps() const { return kh * kw; }
  __host__ __device__ int64_t depth() const { return group_in * kh * kw; }
  __host__ __device__ int64_t plane() const { return h * w; }
  __host__ __device__ int64_t out_plane() const { return oh * ow; }
};

template <class T> Status conv_forward(Stream& stream, const ConvGeometry& g, const T* x, const T* w, const T* bias, T* y);
template <class T> Status conv_grad_input(Stream& stream, const ConvGeometry& g, const T* dy, const T* w, T* dx);
template <class T> Status conv_grad_weight(Stream& stream, const ConvGeometry& g, const T* x, const T* dy, T* dw);
// y [batch, out, places]: the convolution without bias at the positions index of each plane.
template <class T> Status conv_select(Stream& stream, const ConvGeometry& g, const T* x, const T* w, const int32_t* index, int64_t places, T* y);

// The tiled paths: f32 only; false where a direct kernel does better.
bool conv_is_tiled(const ConvGeometry& g);
Status conv_tiled_forward(Stream& stream, const ConvGeometry& g, const float* x, const float* w, const float* bias, float* y);
Status conv_tiled_grad_input(Stream& stream, const ConvGeometry& g, const float* dy, const float* w, float* dx);
Status conv_tiled_grad_weight(Stream& stream, const ConvGeometry& g, const float* x, const float* dy, float* dw);

}  // namespace cuda
}  // namespace tersor
