// Convolution on images whose channels lie together ([B, H, W, C]): a pixel is a run of memory, so is its product with the filters, and nothing is copied.
// Callers name the input pixels of every output pixel by pointers, `taps` in a row for each output pixel: x[i * taps + t]; what lies in the padding points at
// zeros. One layout of calls then serves any stride, dilation and padding.
//   product: y[i][n] = finish(bias[n] + sum over t, c of x[i * taps + t][c] w[(t * depth + c) * width + n] + residual[i][n]), n < columns
//   taps:    y[i][c] = finish(bias[c] + sum over t of x[i * taps + t][c] w[t * w_row + c] + residual[i][c]), c < channels (depthwise); without w a pooling
//            over the taps: their largest, or their sum times scale[i].
// Sums are one chain of fused multiply-adds in the order of t and c, from the bias or, where `first` is false, from y: all rows give equal bits in `product` and
// `taps` but for the transcendental activations, which agree as simd/math.h says. Exactly the named elements are read and written, w in whole vectors
// (width a multiple of the lanes, w_row of 16); no alignment is assumed. y overlaps nothing but residual, which may be y itself.
#pragma once
#include "kernels/row.h"
#include "simd/target.h"

namespace tersor {

// The activations, in the order of ops/enums.def: clip is min(max(v, lo), hi) and leaves everything as it is between infinities.
enum class ConvAct : int32_t { clip, hard_swish, silu, sigmoid };

// y = act(v) * scale + shift.
struct ConvFinish {
  ConvAct act = ConvAct::clip;
  float lo = 0, hi = 0, scale = 1, shift = 0;
};

struct ConvProduct {
  const float* const* x;
  int64_t from;  // first element of the pixels that is meant (of a group of channels)
  int64_t pixels, taps, first_tap, tap_count, depth;
  const float* w;  // of first_tap; what is wanted after it follows it in memory, and is asked for
  int vectors;     // of columns: width = vectors * lanes
  int64_t columns;
  const float* bias;  // [columns] or null
  const float* residual;
  int64_t residual_row;
  float* y;
  int64_t y_row;
  bool first, last;  // taps before these are in y; taps follow (then nothing is finished)
  ConvFinish finish;
};

enum class ConvTapsKind { multiply, largest, sum };
struct ConvTaps {
  ConvTapsKind kind;
  const float* const* x;
  int64_t pixels, taps, channels;
  const float* w;  // multiply: [taps, w_row]
  int64_t w_row;
  const float* bias;   // multiply: [channels] or null
  const float* scale;  // sum: [pixels]
  const float* residual;
  int64_t residual_row;
  float* y;
  int64_t y_row;
  ConvFinish finish;  // multiply
};

constexpr int kConvPixels = 6;  // of a tile; callers hand over multiples where they can

struct ConvRow {
  uint32_t needs;
  const char* function;
  int lanes, most_vectors;  // of `product`
  void (*product)(const ConvProduct&);
  void (*taps)(const ConvTaps&);
};

#define TERSOR_CHANNELS_LAST(needs, name, lanes, vectors) \
  void name(const ConvProduct&);                          \
  void name##_taps(const ConvTaps&);
#include "kernels/channels_last/kernels.inc"
#undef TERSOR_CHANNELS_LAST

const ConvRow& conv_row();                  // the chosen one
int conv_all_rows(const ConvRow** out);     // every row compiled in, best first
int channels_last_rows(RowInfo* out, int capacity);

}  // namespace tersor
