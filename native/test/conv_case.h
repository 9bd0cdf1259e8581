// What the tests of convolutions with channels last share.
#pragma once
#include <algorithm>
#include <cmath>

#include "test/op_call.h"

namespace tersor {
namespace test {

inline size_t index(int64_t i) { return static_cast<size_t>(i); }

inline std::vector<float> random_values(int64_t n, float lo = -1, float hi = 1) {
  std::vector<float> v(index(n));
  for (float& x : v) x = random_float(lo, hi);
  return v;
}

template <class Real> Real activated(conv_activation act, Real v, Real lo, Real hi) {
  switch (act) {
    case conv_activation::clip: return std::min(std::max(v, lo), hi);
    case conv_activation::hard_swish: return v * std::min(Real(1), std::max(Real(0), v / 6 + Real(0.5)));
    case conv_activation::silu: return v / (1 + std::exp(-v));
    default: return 1 / (1 + std::exp(-v));
  }
}

// The image x [B,H,W,C] as the same tensor that lies with channels first, in `planes`.
template <class Value> TensorRef turned(const TensorRef& x, std::vector<Value>* planes) {
  const int64_t n = x.shape[0], pixels = x.shape[1] * x.shape[2], channels = x.shape[3];
  planes->resize(index(n * pixels * channels));
  const Value* from = x.as<Value>();
  for (int64_t b = 0; b < n; b++)
    for (int64_t p = 0; p < pixels; p++)
      for (int64_t c = 0; c < channels; c++) (*planes)[index((b * channels + c) * pixels + p)] = *from++;
  TensorRef t = x;
  t.data = planes->data();
  const int64_t strides[4] = {channels * pixels, x.shape[2], 1, pixels};
  for (int i = 0; i < 4; i++) t.stride[i] = strides[i];
  return t;
}

}  // namespace test
}  // namespace tersor
