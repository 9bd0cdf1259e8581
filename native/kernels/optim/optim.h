// Optimizer steps over n elements, one pass over memory, in place. With g the gradient:
//   sgd (as PyTorch has it):  g += weight_decay p;  v = momentum v + g;  p -= lr (nesterov ? g + momentum v : v)
//   adamw (Loshchilov and Hutter 2019, arXiv 1711.05101, alg. 2):  m = beta1 m + (1 - beta1) g;  v = beta2 v + (1 - beta2) g^2;
//           p = p decay - step_size m / (sqrt(v) / root + eps),  decay = 1 - lr weight_decay, step_size = lr / (1 - beta1^t), root = sqrt(1 - beta2^t)
// mask (may be null): bit i % 8 of byte i / 8; where it is 0, p and the state become exactly +0 whatever p and g were (NaN too).
// p, g and the state do not overlap. Exactly n elements and ceil(n / 8) mask bytes are touched; no alignment is assumed.
// All rows of the table give identical bits.
#pragma once
#include "kernels/row.h"
#include "simd/target.h"

namespace tersor {

template <class T> struct SgdArgs {
  T* p;
  const T* g;
  T* velocity;
  const uint8_t* mask;
  int64_t n;
  T lr, momentum, weight_decay;
  bool nesterov;
};
template <class T> struct AdamwArgs {
  T* p;
  const T* g;
  T* m;
  T* v;
  const uint8_t* mask;
  int64_t n;
  T decay, step_size, root, beta1, one_minus_beta1, beta2, one_minus_beta2, eps;
};

template <class Args> struct OptimRow {
  const char* variant;
  uint32_t needs;
  const char* function;
  void (*kernel)(const Args&);
};

#define TERSOR_SGD(variant, needs, function) void function(const SgdArgs<float>& a);
#define TERSOR_ADAMW(variant, needs, function) void function(const AdamwArgs<float>& a);
#include "kernels/optim/kernels.inc"
#undef TERSOR_SGD
#undef TERSOR_ADAMW

int optim_rows(RowInfo* out, int capacity);
int optim_sgd_table(const OptimRow<SgdArgs<float>>** rows);  // all rows, for tests
int optim_adamw_table(const OptimRow<AdamwArgs<float>>** rows);

// The chosen row for f32; plain code for f64.
void optim_sgd(const SgdArgs<float>& a);
void optim_sgd(const SgdArgs<double>& a);
void optim_adamw(const AdamwArgs<float>& a);
void optim_adamw(const AdamwArgs<double>& a);

}  // namespace tersor
