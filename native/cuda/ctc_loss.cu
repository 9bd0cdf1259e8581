// ctc_loss and ctc_loss_grad, f32 or f64; semantics of ops/ctc_loss.cc (Graves et al. 2006, eq. 5-8). A block per row, a thread per state, frame after frame;
// path sums are logarithms in f64. The gradient keeps the sums of all frames and goes back over them; labels that stand twice in a target are added by the
// thread of the first one, in order.
#include "cuda/kernels.h"
#include "cuda/collect.h"
#include "cuda/nn.h"

namespace tersor {
namespace cuda {
namespace {

template <class T> struct Ctc {
  const T* x;
  const int32_t *targets, *inputs, *lengths;  // inputs, lengths may be null
  int64_t frames, classes, wide, blank;       // T C L
  bool zero_infinity;
  double* alphas;                             // [B][T or 2][2 L + 1]
  double* betas;                              // [B][2][2 L + 1]: the gradient only
  int32_t* next;                              // [B][L] position of the next equal label, or -1; -2 - next where an equal one stands before
  const T* dloss;
  T* out;                                     // loss [B], or dx [B,T,C]
  IndexCheck check_inputs, check_lengths, check_labels, check_needs;
};

__device__ inline double add_logs(double a, double b, double c) {
  double m = a > b ? a : b;
  m = c > m ? c : m;
  if (m == -INFINITY) return a + b + c;  // -infinity, or NaN
  return m + log(exp(a - m) + exp(b - m) + exp(c - m));
}

// One row's sizes and checks, the same in all threads.
template <class T> struct CtcRow {
  int64_t frames, labels, states;
  const int32_t* target;
  const T* x;
  bool can, none;  // some path fits; nothing is asked for (a bad row)

  __device__ CtcRow(const Ctc<T>& a, int64_t b) {
    frames = a.inputs ? a.inputs[b] : a.frames, labels = a.lengths ? a.lengths[b] : a.wide;
    target = a.targets + b * a.wide, x = a.x + b * a.frames * a.classes;
    none = frames < 0 || frames > a.frames || labels < 0 || labels > a.wide;
    if (threadIdx.x == 0) {
      if (a.inputs) a.check_inputs.index(b, frames);
      if (a.lengths) a.check_lengths.index(b, labels);
    }
    states = 2 * labels + 1;
    int64_t need = labels;
    for (int64_t i = 0; i < labels && !none; i++) {
      const int32_t label = target[i];
      const bool bad = label < 0 || label >= a.classes || label == a.blank;
      if (bad && threadIdx.x == 0) a.check_labels.index(b * a.wide + i, -1);
      if (bad) none = true;
      else need += i > 0 && label == target[i - 1];
    }
    can = !none && need <= frames;
    if (!none && !can && !a.zero_infinity && threadIdx.x == 0) a.check_needs.index(b, -1);
  }
  __device__ int64_t label(const Ctc<T>& a, int64_t s) const { return s % 2 == 0 ? a.blank : target[s / 2]; }
  // Whether state s can be entered from s - 2.
  __device__ bool jumps(int64_t s) const { return s % 2 == 1 && s >= 3 && target[s / 2] != target[s / 2 - 1]; }
};

// Sums over the paths of all frames; `kept`: how many frames of alphas there are. The last frame's are at alphas + (frames - 1) % kept * states.
template <class T> __device__ double ctc_forward(const Ctc<T>& a, const CtcRow<T>& r, double* alphas, int64_t kept) {
  const int64_t pitch = 2 * a.wide + 1;
  for (int64_t t = 0; t < r.frames; t++) {
    double* now = alphas + t % kept * pitch;
    const double* before = alphas + (t + kept - 1) % kept * pitch;
    for (int64_t s = threadIdx.x; s < r.states; s += kThreads) {
      double sum;
      if (t == 0) sum = s < 2 ? 0.0 : -INFINITY;
      else sum = add_logs(before[s], s >= 1 ? before[s - 1] : -INFINITY, r.jumps(s) ? before[s - 2] : -INFINITY);
      now[s] = sum + static_cast<double>(r.x[t * a.classes + r.label(a, s)]);
    }
    __syncthreads();
  }
  if (r.frames == 0) return r.labels == 0 ? 0.0 : -INFINITY;
  const double* last = alphas + (r.frames - 1) % kept * pitch;
  return add_logs(last[r.states - 1], r.states > 1 ? last[r.states - 2] : -INFINITY, -INFINITY);
}

template <class T> __global__ void ctc_rows(Ctc<T> a) {
  const int64_t b = blockIdx.x;
  const CtcRow<T> r(a, b);
  T loss = T(0);
  if (r.can) {
    const double sum = ctc_forward(a, r, a.alphas + b * 2 * (2 * a.wide + 1), 2);
    loss = sum == -INFINITY ? (a.zero_infinity ? T(0) : static_cast<T>(INFINITY)) : static_cast<T>(0 - sum);
  }
  if (threadIdx.x == 0) a.out[b] = loss;
}

template <class T> __global__ void ctc_rows_grad(Ctc<T> a) {
  const int64_t b = blockIdx.x, pitch = 2 * a.wide + 1;
  const CtcRow<T> r(a, b);
  T* dx = a.out + b * a.frames * a.classes;
  for (int64_t i = threadIdx.x; i < a.frames * a.classes; i += kThreads) dx[i] = T(0);
  if (!r.can) return;
  int32_t* next = a.next + b * a.wide;
  for (int64_t i = threadIdx.x; i < r.labels; i += kThreads) {
    int32_t after = -1;
    bool first = true;
    for (int64_t j = 0; j < i; j++) first = first && r.target[j] != r.target[i];
    for (int64_t j = r.labels - 1; j > i; j--) after = r.target[j] == r.target[i] ? static_cast<int32_t>(j) : after;
    next[i] = first ? after : -2 - after - 1;
  }
  double* alphas = a.alphas + b * a.frames * pitch;
  double* betas = a.betas + b * 2 * pitch;
  __syncthreads();
  const double sum = ctc_forward(a, r, alphas, a.frames), scale = -static_cast<double>(a.dloss[b]);
  if (sum == -INFINITY && a.zero_infinity) return;
  for (int64_t t = r.frames - 1; t >= 0; t--) {
    double* now = betas + t % 2 * pitch;
    const double *later = betas + (t + 1) % 2 * pitch, *alpha = alphas + t * pitch;
    // beta before emission: over what can come behind this frame; a state's own emission is added when it is read a frame earlier.
    double blanks = 0;
    for (int64_t s = threadIdx.x; s < r.states; s += kThreads) {
      double v;
      if (t == r.frames - 1) {
        v = s + 2 >= r.states ? 0.0 : -INFINITY;
      } else {
        const T* x = r.x + (t + 1) * a.classes;
        const auto from = [&](int64_t q) { return later[q] + static_cast<double>(x[r.label(a, q)]); };
        v = add_logs(from(s), s + 1 < r.states ? from(s + 1) : -INFINITY, s + 2 < r.states && r.jumps(s + 2) ? from(s + 2) : -INFINITY);
      }
      now[s] = v;
      if (s % 2 == 0) blanks += exp(alpha[s] + v - sum) * scale;
    }
    blanks = block_sum<kThreads>(blanks);
    if (threadIdx.x == 0) dx[t * a.classes + a.blank] = static_cast<T>(blanks);
    for (int64_t i = threadIdx.x; i < r.labels; i += kThreads) {
      if (next[i] < -1) continue;
      double part = 0;
      for (int64_t j = i; j >= 0;) {
        part += exp(alpha[2 * j + 1] + now[2 * j + 1] - sum) * scale;
        const int32_t n = next[j];
        j = n < -1 ? -2 - n - 1 : n;
      }
      dx[t * a.classes + r.target[i]] = static_cast<T>(part);
    }
    __syncthreads();
  }
}

template <class T, class Args> Status open_ctc(Stream& stream, const char* op, const Args& a, Ctc<T>* c) {
  c->frames = a.log_probs.shape[1], c->classes = a.log_probs.shape[2], c->wide = a.targets.shape[1], c->blank = a.blank, c->zero_infinity = a.zero_infinity;
  TERSOR_TRY(open(stream, a.log_probs, &c->x));
  TERSOR_TRY(open(stream, a.targets, &c->targets));
  TERSOR_TRY(open(stream, a.input_lengths, &c->inputs));
  TERSOR_TRY(open(stream, a.target_lengths, &c->lengths));
  TERSOR_TRY(c->check_inputs.open(stream, op, "input_lengths", c->frames + 1));
  TERSOR_TRY(c->check_lengths.open(stream, op, "target_lengths", c->wide + 1));
  TERSOR_TRY(c->check_labels.open(stream, op, "targets (and not the blank)", c->classes));
  return c->check_needs.open(stream, op, "the frames that a row's labels need (zero_infinity leaves such a row out)", c->frames + 1);
}

template <class T> Status loss(Stream& stream, ctc_loss_args& a) {
  const int64_t batch = a.log_probs.shape[0];
  if (batch == 0) return {};
  Ctc<T> c{};
  TERSOR_TRY(open_ctc(stream, "ctc_loss", a, &c));
  TERSOR_TRY(stream.scratch(batch * 2 * (2 * c.wide + 1), &c.alphas));
  c.out = a.loss.as<T>();
  return launch<ctc_rows<T>>(stream, Grid{batch}, kThreads, 0, c);
}
template <class T> Status gradient(Stream& stream, ctc_loss_grad_args& a) {
  const int64_t batch = a.log_probs.shape[0];
  if (batch == 0) return {};
  Ctc<T> c{};
  TERSOR_TRY(open_ctc(stream, "ctc_loss_grad", a, &c));
  TERSOR_TRY(open(stream, a.dloss, &c.dloss));
  const int64_t pitch = 2 * c.wide + 1;
  TERSOR_TRY(stream.scratch(batch * c.frames * pitch, &c.alphas));
  TERSOR_TRY(stream.scratch(batch * 2 * pitch, &c.betas));
  TERSOR_TRY(stream.scratch(batch * c.wide, &c.next));
  c.out = a.dlog_probs.as<T>();
  return launch<ctc_rows_grad<T>>(stream, Grid{batch}, kThreads, 0, c);
}

}  // namespace

Status ctc_loss(Stream& stream, ctc_loss_args& a) { return a.log_probs.dtype == DType::f64 ? loss<double>(stream, a) : loss<float>(stream, a); }
Status ctc_loss_grad(Stream& stream, ctc_loss_grad_args& a) { return a.log_probs.dtype == DType::f64 ? gradient<double>(stream, a) : gradient<float>(stream, a); }

}  // namespace cuda
}  // namespace tersor
