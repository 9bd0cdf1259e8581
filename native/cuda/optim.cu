// Optimizer steps in place, f32 or f64: formulas, masks and bits of kernels/optim/optim.h (the same operations in the same order; LAMB's norms are added in
// another order). One pass over memory, 16 bytes a thread; LAMB two.
#include "cuda/kernels.h"
#include "cuda/nn.h"
#include "cuda/rows.h"

namespace tersor {
namespace cuda {
namespace {

// What the formulas need; unused members stay null or 0.
template <class T> struct Step {
  T* p;
  const T* g;
  T *s0, *s1, *s2;  // state: sgd velocity; adam, lamb m v; rmsprop square mean velocity
  T* u;             // lamb: the update
  const uint8_t* mask;
  int64_t n;
  bool aligned;
  T lr, momentum, weight_decay, decay, step_size, root, beta1, one_minus_beta1, beta2, one_minus_beta2, eps, l2;
  bool nesterov;
};

template <class T> __device__ bool is_kept(const Step<T>& a, int64_t i) { return !a.mask || i >= a.n || (a.mask[i >> 3] >> (i & 7) & 1); }

template <class T> struct Sgd {
  static __device__ void run(const Step<T>& a, int64_t i) {
    Pack<T> p = load_pack(a.p, i, a.n, a.aligned), g = load_pack(a.g, i, a.n, a.aligned), v = load_pack(a.s0, i, a.n, a.aligned);
    TERSOR_UNROLL
    for (int k = 0; k < Pack<T>::kCount; k++) {
      const bool keep = is_kept(a, i + k);
      const T d = fma_of(a.weight_decay, p.v[k], g.v[k]), velocity = fma_of(a.momentum, v.v[k], d);
      const T next = fma_of(-a.lr, a.nesterov ? fma_of(a.momentum, velocity, d) : velocity, p.v[k]);
      p.v[k] = keep ? next : T(0);
      v.v[k] = keep ? velocity : T(0);
    }
    store_pack(a.p, i, a.n, a.aligned, p);
    store_pack(a.s0, i, a.n, a.aligned, v);
  }
};

template <class T> struct Adam {
  static __device__ void run(const Step<T>& a, int64_t i) {
    Pack<T> p = load_pack(a.p, i, a.n, a.aligned), m = load_pack(a.s0, i, a.n, a.aligned), v = load_pack(a.s1, i, a.n, a.aligned);
    const Pack<T> g = load_pack(a.g, i, a.n, a.aligned);
    TERSOR_UNROLL
    for (int k = 0; k < Pack<T>::kCount; k++) {
      const bool keep = is_kept(a, i + k);
      const T d = a.l2 != T(0) ? fma_of(a.l2, p.v[k], g.v[k]) : g.v[k];
      const T first = fma_of(a.beta1, m.v[k], a.one_minus_beta1 * d), second = fma_of(a.beta2, v.v[k], a.one_minus_beta2 * d * d);
      const T next = fma_of(-a.step_size, first / (sqrt_of(second) / a.root + a.eps), p.v[k] * a.decay);
      p.v[k] = keep ? next : T(0);
      m.v[k] = keep ? first : T(0);
      v.v[k] = keep ? second : T(0);
    }
    store_pack(a.p, i, a.n, a.aligned, p);
    store_pack(a.s0, i, a.n, a.aligned, m);
    store_pack(a.s1, i, a.n, a.aligned, v);
  }
};

template <class T> struct Rmsprop {
  static __device__ void run(const Step<T>& a, int64_t i) {
    Pack<T> p = load_pack(a.p, i, a.n, a.aligned), square = load_pack(a.s0, i, a.n, a.aligned), mean{}, velocity{};
    const Pack<T> g = load_pack(a.g, i, a.n, a.aligned);
    if (a.s1) mean = load_pack(a.s1, i, a.n, a.aligned);
    if (a.s2) velocity = load_pack(a.s2, i, a.n, a.aligned);
    TERSOR_UNROLL
    for (int k = 0; k < Pack<T>::kCount; k++) {
      const bool keep = is_kept(a, i + k);
      const T d = fma_of(a.weight_decay, p.v[k], g.v[k]), s = fma_of(a.beta1, square.v[k], a.one_minus_beta1 * d * d);
      T second = s;
      if (a.s1) {
        const T average = fma_of(a.beta1, mean.v[k], a.one_minus_beta1 * d), left = fma_of(-average, average, s);
        second = left > T(0) || left != left ? left : T(0);
        mean.v[k] = keep ? average : T(0);
      }
      T u = d / (sqrt_of(second) + a.eps);
      if (a.s2) {
        u = fma_of(a.momentum, velocity.v[k], u);
        velocity.v[k] = keep ? u : T(0);
      }
      const T next = fma_of(-a.lr, u, p.v[k]);
      p.v[k] = keep ? next : T(0);
      square.v[k] = keep ? s : T(0);
    }
    store_pack(a.p, i, a.n, a.aligned, p);
    store_pack(a.s0, i, a.n, a.aligned, square);
    if (a.s1) store_pack(a.s1, i, a.n, a.aligned, mean);
    if (a.s2) store_pack(a.s2, i, a.n, a.aligned, velocity);
  }
};

template <class T, template <class> class Formula> __global__ void optim_step(Step<T> a) {
  const int64_t i = thread_index() * Pack<T>::kCount;
  if (i < a.n) Formula<T>::run(a, i);
}

constexpr int64_t kLambChunk = 8192;

// First half: m, v, u, and the norms of p and u over this chunk. sums [chunks][2]
template <class T> __global__ void lamb_update(Step<T> a, double* sums) {
  constexpr int L = Pack<T>::kCount;
  const int64_t first = static_cast<int64_t>(blockIdx.x) * kLambChunk;
  double pp = 0, uu = 0;
  for (int64_t i = first + static_cast<int64_t>(threadIdx.x) * L; i < first + kLambChunk && i < a.n; i += kRowThreads * L) {
    Pack<T> p = load_pack(a.p, i, a.n, a.aligned), m = load_pack(a.s0, i, a.n, a.aligned), v = load_pack(a.s1, i, a.n, a.aligned), update;
    const Pack<T> g = load_pack(a.g, i, a.n, a.aligned);
    TERSOR_UNROLL
    for (int k = 0; k < L; k++) {
      const bool keep = is_kept(a, i + k) && i + k < a.n;
      const T d = g.v[k];
      const T mean = fma_of(a.beta1, m.v[k], a.one_minus_beta1 * d), second = fma_of(a.beta2, v.v[k], a.one_minus_beta2 * d * d);
      const T u = fma_of(a.weight_decay, p.v[k], a.step_size * mean / (sqrt_of(second) / a.root + a.eps));
      p.v[k] = keep ? p.v[k] : T(0);
      m.v[k] = keep ? mean : T(0);
      v.v[k] = keep ? second : T(0);
      update.v[k] = keep ? u : T(0);
      pp = fma(static_cast<double>(p.v[k]), static_cast<double>(p.v[k]), pp);
      uu = fma(static_cast<double>(update.v[k]), static_cast<double>(update.v[k]), uu);
    }
    if (a.mask) store_pack(a.p, i, a.n, a.aligned, p);
    store_pack(a.s0, i, a.n, a.aligned, m);
    store_pack(a.s1, i, a.n, a.aligned, v);
    store_pack(a.u, i, a.n, a.aligned, update);
  }
  pp = row_total<kRowThreads>(pp);
  uu = row_total<kRowThreads>(uu);
  if (threadIdx.x == 0) sums[2 * blockIdx.x] = pp, sums[2 * blockIdx.x + 1] = uu;
}

// Second half: p -= lr ratio u. Every block adds the chunks up, in the same order.
template <class T> __global__ void lamb_apply(T* p, const T* u, int64_t n, const double* sums, int64_t chunks, double lr, double phi_min, double phi_max) {
  double pp = 0, uu = 0;
  for (int64_t c = threadIdx.x; c < chunks; c += kRowThreads) pp += sums[2 * c], uu += sums[2 * c + 1];
  pp = row_total<kRowThreads>(pp);
  uu = row_total<kRowThreads>(uu);
  const double norm = sqrt(pp), limited = norm < phi_min ? phi_min : norm > phi_max ? phi_max : norm;
  const double ratio = limited > 0 && uu > 0 ? limited / sqrt(uu) : 1.0;
  const T factor = static_cast<T>(-lr * ratio);
  const int64_t first = static_cast<int64_t>(blockIdx.x) * kLambChunk;
  for (int64_t i = first + threadIdx.x; i < first + kLambChunk && i < n; i += kRowThreads) p[i] = fma_of(factor, u[i], p[i]);
}

template <class T> Status open_step(Stream& stream, const TensorRef& p, const TensorRef& g, const TensorRef& mask, Step<T>* a) {
  TERSOR_TRY(open(stream, g, &a->g));
  TERSOR_TRY(open(stream, mask, &a->mask));
  a->p = p.as<T>(), a->n = p.size();
  return {};
}
template <class T, template <class> class Formula> Status run_step(Stream& stream, Step<T>& a) {
  a.aligned = is_aligned(a.p) && is_aligned(a.g) && is_aligned(a.s0) && is_aligned(a.s1) && is_aligned(a.s2) && is_aligned(a.u);
  if (a.n == 0) return {};
  return launch<optim_step<T, Formula>>(stream, Grid{blocks_for(a.n, kThreads * Pack<T>::kCount)}, kThreads, 0, a);
}

template <class T> Status sgd(Stream& stream, sgd_step_args& x) {
  Step<T> a{};
  TERSOR_TRY(open_step(stream, x.p, x.g, x.mask, &a));
  a.s0 = x.velocity.as<T>();
  a.lr = static_cast<T>(x.lr), a.momentum = static_cast<T>(x.momentum), a.weight_decay = static_cast<T>(x.weight_decay), a.nesterov = x.nesterov;
  return run_step<T, Sgd>(stream, a);
}

// Moments of adam, adamw and lamb.
template <class T, class Args> void set_moments(Step<T>* a, const Args& x, double numerator) {
  const double t = static_cast<double>(x.step), correction1 = 1.0 - std::pow(x.beta1, t), correction2 = 1.0 - std::pow(x.beta2, t);
  a->s0 = x.m.template as<T>(), a->s1 = x.v.template as<T>();
  a->step_size = static_cast<T>(numerator / correction1), a->root = static_cast<T>(std::sqrt(correction2));
  a->beta1 = static_cast<T>(x.beta1), a->one_minus_beta1 = static_cast<T>(1.0 - x.beta1);
  a->beta2 = static_cast<T>(x.beta2), a->one_minus_beta2 = static_cast<T>(1.0 - x.beta2), a->eps = static_cast<T>(x.eps);
}
template <class T, class Args> Status adam(Stream& stream, bool decoupled, Args& x) {
  Step<T> a{};
  TERSOR_TRY(open_step(stream, x.p, x.g, x.mask, &a));
  set_moments(&a, x, x.lr);
  a.decay = static_cast<T>(decoupled ? 1.0 - x.lr * x.weight_decay : 1.0), a.l2 = static_cast<T>(decoupled ? 0.0 : x.weight_decay);
  return run_step<T, Adam>(stream, a);
}
template <class T> Status rmsprop(Stream& stream, rmsprop_step_args& x) {
  Step<T> a{};
  TERSOR_TRY(open_step(stream, x.p, x.g, x.mask, &a));
  a.s0 = x.square.as<T>(), a.s1 = x.centered ? x.mean.as<T>() : nullptr, a.s2 = x.momentum > 0 ? x.velocity.as<T>() : nullptr;
  a.lr = static_cast<T>(x.lr), a.beta1 = static_cast<T>(x.alpha), a.one_minus_beta1 = static_cast<T>(1.0 - x.alpha), a.eps = static_cast<T>(x.eps);
  a.momentum = static_cast<T>(x.momentum), a.weight_decay = static_cast<T>(x.weight_decay);
  return run_step<T, Rmsprop>(stream, a);
}
template <class T> Status lamb(Stream& stream, lamb_step_args& x) {
  Step<T> a{};
  TERSOR_TRY(open_step(stream, x.p, x.g, x.mask, &a));
  if (a.n == 0) return {};
  set_moments(&a, x, 1.0);
  a.weight_decay = static_cast<T>(x.weight_decay);
  const int64_t chunks = blocks_for(a.n, kLambChunk);
  double* sums;
  TERSOR_TRY(stream.scratch(a.n, &a.u));
  TERSOR_TRY(stream.scratch(2 * chunks, &sums));
  a.aligned = is_aligned(a.p) && is_aligned(a.g) && is_aligned(a.s0) && is_aligned(a.s1) && is_aligned(a.u);
  TERSOR_TRY(launch<lamb_update<T>>(stream, Grid{chunks}, kRowThreads, 0, a, sums));
  return launch<lamb_apply<T>>(stream, Grid{chunks}, kRowThreads, 0, a.p, a.u, a.n, sums, chunks, x.lr, x.phi_min, x.phi_max);
}

}  // namespace

Status sgd_step(Stream& stream, sgd_step_args& a) { return a.p.dtype == DType::f64 ? sgd<double>(stream, a) : sgd<float>(stream, a); }
Status adam_step(Stream& stream, adam_step_args& a) { return a.p.dtype == DType::f64 ? adam<double>(stream, false, a) : adam<float>(stream, false, a); }
Status adamw_step(Stream& stream, adamw_step_args& a) { return a.p.dtype == DType::f64 ? adam<double>(stream, true, a) : adam<float>(stream, true, a); }
Status rmsprop_step(Stream& stream, rmsprop_step_args& a) { return a.p.dtype == DType::f64 ? rmsprop<double>(stream, a) : rmsprop<float>(stream, a); }
Status lamb_step(Stream& stream, lamb_step_args& a) { return a.p.dtype == DType::f64 ? lamb<double>(stream, a) : lamb<float>(stream, a); }

}  // namespace cuda
}  // namespace tersor
