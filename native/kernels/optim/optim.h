// Optimizer steps over n elements, one pass over memory, in place. With g the gradient:
//   sgd (as PyTorch has it):  g += weight_decay p;  v = momentum v + g;  p -= lr (nesterov ? g + momentum v : v)
//   adam (Kingma and Ba 2015): as adamw, with g += l2 p before and decay = 1
//   adamw (Loshchilov and Hutter 2019, arXiv 1711.05101, alg. 2):  m = beta1 m + (1 - beta1) g;  v = beta2 v + (1 - beta2) g^2;
//           p = p decay - step_size m / (sqrt(v) / root + eps),  decay = 1 - lr weight_decay, step_size = lr / (1 - beta1^t), root = sqrt(1 - beta2^t)
//   rmsprop (as PyTorch has it):  g += weight_decay p;  square = alpha square + (1 - alpha) g^2;  centered (mean not null):
//           mean = alpha mean + (1 - alpha) g and the root is that of max(square - mean^2, 0);  u = g / (sqrt(square) + eps);
//           with momentum (velocity not null) velocity = momentum velocity + u and u = velocity;  p -= lr u
//   lamb, first half (You et al. 2020, arXiv 1904.00962, alg. 2):  m and v as adam's;  u = step_size m / (sqrt(v) / root + eps) + weight_decay p,
//           step_size = 1 / (1 - beta1^t); p changes only under the mask. The second half, p -= lr ratio u, is blas1's axpby.
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
  T l2;  // 0 for adamw
};
template <class T> struct RmspropArgs {
  T* p;
  const T* g;
  T* square;
  T* mean;      // null unless centered
  T* velocity;  // null without momentum
  const uint8_t* mask;
  int64_t n;
  T lr, alpha, one_minus_alpha, eps, momentum, weight_decay;
};
template <class T> struct LambArgs {
  T* p;
  const T* g;
  T* m;
  T* v;
  T* u;
  const uint8_t* mask;
  int64_t n;
  T step_size, root, beta1, one_minus_beta1, beta2, one_minus_beta2, eps, weight_decay;
};

template <class Args> struct OptimRow {
  const char* variant;
  uint32_t needs;
  const char* function;
  void (*kernel)(const Args&);
};

#define TERSOR_SGD(variant, needs, function) void function(const SgdArgs<float>& a);
#define TERSOR_ADAMW(variant, needs, function) void function(const AdamwArgs<float>& a);
#define TERSOR_RMSPROP(variant, needs, function) void function(const RmspropArgs<float>& a);
#define TERSOR_LAMB(variant, needs, function) void function(const LambArgs<float>& a);
#include "kernels/optim/kernels.inc"
#undef TERSOR_SGD
#undef TERSOR_ADAMW
#undef TERSOR_RMSPROP
#undef TERSOR_LAMB

int optim_rows(RowInfo* out, int capacity);
int optim_sgd_table(const OptimRow<SgdArgs<float>>** rows);  // all rows, for tests
int optim_adamw_table(const OptimRow<AdamwArgs<float>>** rows);
int optim_rmsprop_table(const OptimRow<RmspropArgs<float>>** rows);
int optim_lamb_table(const OptimRow<LambArgs<float>>** rows);

// The chosen row for f32; plain code for f64.
void optim_sgd(const SgdArgs<float>& a);
void optim_sgd(const SgdArgs<double>& a);
void optim_adamw(const AdamwArgs<float>& a);
void optim_adamw(const AdamwArgs<double>& a);
void optim_rmsprop(const RmspropArgs<float>& a);
void optim_rmsprop(const RmspropArgs<double>& a);
void optim_lamb(const LambArgs<float>& a);
void optim_lamb(const LambArgs<double>& a);

}  // namespace tersor
