// ctc_loss(log_probs [B,T,C], targets i32 [B,L], input_lengths i32 [B]?, target_lengths i32 [B]?, blank, zero_infinity) -> loss [B]: minus the log of the
// probability that the first input_lengths[b] frames spell the first target_lengths[b] labels, summed over all paths (Graves, Fernandez, Gomez,
// Schmidhuber 2006, eq. 5-8). Without lengths all frames and labels count; labels behind target_lengths are not looked at.
// ctc_loss_grad gives dlog_probs = -dloss * (share of the paths that emit c at t): the derivative for free log_probs; log_softmax has its own part.
//
// A target that no path can spell is an error, with zero_infinity a loss and gradient of 0. Where only probabilities of 0 stand in the way the
// loss is +Infinity and the gradient NaN, with zero_infinity both are 0.
//
// Range: the log domain's, without its exponentials. A path sum is m * 2^e with e a double of its own (0 is m = 0, e = kZero), so states multiply and add
// without log or exp; each emission is split into m and e once per frame and label. Rows are independent, every sum is one chain: threads do not show.
#include <limits>
#include <utility>

#include "base/checked.h"
#include "ops/scalar_math.h"
#include "ops/slots.h"
#include "ops/util.h"

namespace tersor {
namespace {

constexpr double kZero = -1e300;  // exponent of 0: far below what any number of emissions adds up to
constexpr double kLeast = -1e200;  // an emission below 2^kLeast is 0
constexpr int64_t kRenormalize = 64;  // frames between two, and between looks at the cancel flag: m moves by a factor in [0.7, 4.3] a frame

// 2^d for d <= 0, 0 below the normal numbers. d is a whole number or so far down that it does not matter.
inline double pow2(double d) {
  const double bounded = d < -1023.0 ? -1023.0 : d;
  const double shifted = bounded + 6755399441055744.0;
  uint64_t bits;
  memcpy(&bits, &shifted, 8);
  bits = (bits + 1023) << 52;
  double power;
  memcpy(&power, &bits, 8);
  return power;
}

// A list of numbers m * 2^e.
struct Wide {
  double *m, *e;
  Wide from(int64_t i) const { return {m + i, e + i}; }
  void zero(int64_t n) const {
    for (int64_t i = 0; i < n; i++) m[i] = 0, e[i] = kZero;
  }
  void one(int64_t i) const { m[i] = 1, e[i] = 0; }
};

// e^x as m * 2^e.
inline void split(double x, double* m, double* e) {
  const double scaled = x * 1.4426950408889634;
  if (scaled < kLeast) {
    *m = 0, *e = kZero;
    return;
  }
  if (!(scaled > -1e15 && scaled < 1e15)) {  // NaN and +Infinity become NaN, what is left has no fraction worth keeping
    *m = x - x == 0 ? 1 : x - x, *e = x - x == 0 ? scaled : 0;
    return;
  }
  const double n = (scaled + 6755399441055744.0) - 6755399441055744.0;
  *m = exp_negative((x - n * 6.93147180369123816490e-01) - n * 1.90821492927058770002e-10);
  *e = n;
}

struct Row {
  int64_t frames, labels, classes, blank;
  const int32_t* target;
  int64_t states() const { return 2 * labels + 1; }
};

// Scratch of a row: doubles.
struct Work {
  Wide emission;        // [S]
  Wide label;           // [L + 1] of one frame; the last one is the blank
  double* block;        // [S] 4 kZero where a path may not come from two states before
  Wide now, next;       // [S + 2], two zeros in front
  Wide sums;            // [S]
  Wide alphas;          // [T S], the gradient only
  const Cancel* cancel;  // a long row ends early; what it leaves is thrown away
  bool is_cancelled(int64_t t) const { return t % kRenormalize == 0 && cancel && cancel->load(std::memory_order_relaxed); }
  static bool elements(int64_t frames, int64_t labels, bool gradient, int64_t* n) {
    int64_t s, kept = 0;
    if (mul_overflows(labels, 2, &s) || mul_overflows(s + 1, 16, n)) return false;
    if (gradient && (mul_overflows(s + 1, frames, &kept) || mul_overflows(kept, 2, &kept))) return false;
    return !add_overflows(*n + 16, kept, n) && *n < (int64_t(1) << 59);
  }
  Work(double* at, const Row& r, bool gradient, const Cancel* cancel_) : cancel(cancel_) {
    const int64_t s = r.states();
    const auto take = [&at](int64_t n) {
      const Wide w{at, at + n};
      at += 2 * n;
      return w;
    };
    emission = take(s), label = take(r.labels + 1), now = take(s + 2), next = take(s + 2), sums = take(s);
    block = at, at += s;
    alphas = take(gradient ? r.frames * s : 0);
  }
};

// Emissions of a frame; state s stands for label s / 2, or for the blank where s is even. Backward: states from the end.
template <class T> void emissions(const Row& r, const T* frame, const Work& w, bool backward) {
  double bm, be;
  split(static_cast<double>(frame[r.blank]), &bm, &be);
  const int64_t s = r.states();
  for (int64_t i = 0; i < s; i += 2) w.emission.m[i] = bm, w.emission.e[i] = be;
  for (int64_t i = 0; i < r.labels; i++) split(static_cast<double>(frame[r.target[i]]), w.label.m + i, w.label.e + i);
  for (int64_t i = 0; i < r.labels; i++) {
    const int64_t from = backward ? r.labels - 1 - i : i;
    w.emission.m[2 * i + 1] = w.label.m[from], w.emission.e[2 * i + 1] = w.label.e[from];
  }
}

// From `now` to `sums`: what reaches each state before it emits (eq. 6). Exponents relative to the largest of the three.
void gather_paths(int64_t s, const Work& w) {
  const double *m = w.now.m, *e = w.now.e;
  for (int64_t i = 0; i < s; i++) {
    const double stay = e[i + 2], step = e[i + 1], jump = e[i] + w.block[i];
    double top = stay > step ? stay : step;
    top = jump > top ? jump : top;
    w.sums.m[i] = m[i + 2] * pow2(stay - top) + m[i + 1] * pow2(step - top) + m[i] * pow2(jump - top);
    w.sums.e[i] = top;
  }
}

void emit(int64_t s, const Work& w, bool renormalize) {
  for (int64_t i = 0; i < s; i++) {
    w.next.m[i + 2] = w.sums.m[i] * w.emission.m[i];
    const double e = w.sums.e[i] + w.emission.e[i];
    w.next.e[i + 2] = e > kZero ? e : kZero;
  }
  if (!renormalize) return;
  for (int64_t i = 2; i < s + 2; i++) {
    uint64_t bits;
    memcpy(&bits, w.next.m + i, 8);
    const int64_t exponent = static_cast<int64_t>(bits >> 52 & 0x7FF);
    if (exponent == 0 || exponent == 0x7FF) continue;
    bits = (bits & ~(uint64_t(0x7FF) << 52)) | (uint64_t(1023) << 52);
    memcpy(w.next.m + i, &bits, 8);
    w.next.e[i] += static_cast<double>(exponent - 1023);
  }
}

void start(const Row& r, Work& w, bool backward) {
  const int64_t s = r.states();
  w.now.zero(s + 2), w.next.zero(s + 2);
  w.now.one(1);  // the empty path stands before state 0, from where states 0 and 1 are in reach
  for (int64_t i = 0; i < s; i++) w.block[i] = 4 * kZero;  // lower than any exponent
  for (int64_t i = 0; i < r.labels; i++) {
    const int32_t *t = r.target, a = backward ? r.labels - 1 - i : i, b = backward ? a + 1 : a - 1;
    if (i == 0 || t[a] != t[b]) w.block[2 * i + 1] = 0;
  }
}

// Sum over all paths (eq. 8), alphas kept where asked for.
template <class T> void forward(const Row& r, const T* x, Work& w, bool keep, double* m, double* e) {
  const int64_t s = r.states();
  start(r, w, false);
  for (int64_t t = 0; t < r.frames; t++) {
    if (w.is_cancelled(t)) break;
    emissions(r, x + t * r.classes, w, false);
    gather_paths(s, w);
    emit(s, w, t % kRenormalize == kRenormalize - 1);
    if (keep) {
      memcpy(w.alphas.m + t * s, w.next.m + 2, static_cast<size_t>(s) * sizeof(double));
      memcpy(w.alphas.e + t * s, w.next.e + 2, static_cast<size_t>(s) * sizeof(double));
    }
    const Wide swap = w.now;
    w.now = w.next, w.next = swap;
    w.next.zero(2);
  }
  // The last two states; without frames what stands there is the empty path, which spells the empty target.
  const double *am = w.now.m + s, *ae = w.now.e + s, top = ae[0] > ae[1] ? ae[0] : ae[1];
  *m = am[0] * pow2(ae[0] - top) + am[1] * pow2(ae[1] - top);
  *e = top;
}

template <class T> T row_loss(const Row& r, const T* x, Work& w, bool zero_infinity) {
  double m, e;
  forward(r, x, w, false, &m, &e);
  if (m == 0) return zero_infinity ? T(0) : std::numeric_limits<T>::infinity();
  return static_cast<T>(0 - (log_positive(m) + e * 0.6931471805599453));
}

// dx [T, C] is zero before.
template <class T> void row_gradient(const Row& r, const T* x, Work& w, bool zero_infinity, double dloss, T* dx) {
  double m, e;
  forward(r, x, w, true, &m, &e);
  if (m == 0 && zero_infinity) return;
  const int64_t s = r.states();
  const double scale = -dloss / m;
  start(r, w, true);
  // Backward is forward on the target read from its end: beta of a state, before it emits, times alpha is the share of the paths through it.
  for (int64_t t = r.frames - 1; t >= 0; t--) {
    if (w.is_cancelled(t)) return;
    emissions(r, x + t * r.classes, w, true);
    gather_paths(s, w);
    const Wide alpha = w.alphas.from(t * s);
    T* d = dx + t * r.classes;
    double blanks = 0;
    for (int64_t i = 0; i < s; i++) {
      const int64_t j = s - 1 - i;
      const double shift = alpha.e[i] + w.sums.e[j] - e, half = shift > 1000.0 ? 1000.0 : shift;
      // Shares are at most 1, so a shift above 0 only makes up for small m.
      const double part = alpha.m[i] * w.sums.m[j] * scale * (half > 0 ? 1 / pow2(-half) : pow2(half));
      if (i % 2 == 0) blanks += part;
      else d[r.target[i / 2]] += static_cast<T>(part);
    }
    d[r.blank] += static_cast<T>(blanks);
    emit(s, w, (r.frames - t) % kRenormalize == 0);
    const Wide swap = w.now;
    w.now = w.next, w.next = swap;
    w.next.zero(2);
  }
}

Status check(const char* op, const TensorRef& x, const TensorRef& targets, const TensorRef& inputs, const TensorRef& lengths, int64_t blank) {
  TERSOR_TRY(expect_float(op, "log_probs", x));
  TERSOR_TRY(expect_rank(op, "log_probs", x, 3));
  TERSOR_TRY(expect_dtype(op, "targets", targets, DType::i32));
  TERSOR_TRY(expect_rank(op, "targets", targets, 2));
  if (targets.shape[0] != x.shape[0])
    return fail(Code::shape, "%s: targets must be [%lld, L], got %s", op, static_cast<long long>(x.shape[0]), TERSOR_TEXT(targets));
  for (const auto& given : {std::pair<const char*, const TensorRef*>{"input_lengths", &inputs}, {"target_lengths", &lengths}})
    if (given.second->present()) {
      TERSOR_TRY(expect_dtype(op, given.first, *given.second, DType::i32));
      TERSOR_TRY(expect_shape(op, given.first, *given.second, x.shape, 1));
    }
  if (blank < 0 || blank >= x.shape[2])
    return fail(Code::option, "%s: blank must be in [0, %lld), got %lld (log_probs: %s)", op, static_cast<long long>(x.shape[2]), static_cast<long long>(blank),
                TERSOR_TEXT(x));
  return {};
}

// The rows of a call, checked.
class Rows {
 public:
  Status open(const char* op, const TensorRef& x, const TensorRef& targets, const TensorRef& inputs, const TensorRef& lengths, int64_t blank, bool zero_infinity,
              const Cancel* cancel) {
    count_ = x.shape[0], frames_ = x.shape[1], classes_ = x.shape[2], wide_ = targets.shape[1], blank_ = blank;
    TERSOR_TRY(values_.open(op, x, cancel));
    TERSOR_TRY(targets_.open(op, targets, cancel));
    if (inputs.present()) TERSOR_TRY(inputs_.open(op, inputs, cancel));
    if (lengths.present()) TERSOR_TRY(lengths_.open(op, lengths, cancel));
    for (int64_t b = 0; b < count_; b++) {
      const Row r = at(b);
      const auto row = static_cast<long long>(b);
      if (r.frames < 0 || r.frames > frames_)
        return fail(Code::shape, "%s: input_lengths must be in [0, %lld], got %lld in row %lld", op, static_cast<long long>(frames_), static_cast<long long>(r.frames), row);
      if (r.labels < 0 || r.labels > wide_)
        return fail(Code::shape, "%s: target_lengths must be in [0, %lld], got %lld in row %lld", op, static_cast<long long>(wide_), static_cast<long long>(r.labels), row);
      int64_t need = r.labels;
      for (int64_t i = 0; i < r.labels; i++) {
        const int32_t label = r.target[i];
        if (label < 0 || label >= classes_ || label == blank)
          return fail(Code::shape, "%s: targets must be in [0, %lld) and not the blank %lld, got %d in row %lld", op, static_cast<long long>(classes_),
                      static_cast<long long>(blank), label, row);
        need += i > 0 && label == r.target[i - 1];
      }
      if (need > r.frames && !zero_infinity)
        return fail(Code::shape, "%s: %lld labels (%lld times the same twice) need %lld frames, got %lld in row %lld; zero_infinity leaves such a row out", op,
                    static_cast<long long>(r.labels), static_cast<long long>(need - r.labels), static_cast<long long>(need), static_cast<long long>(r.frames), row);
      longest_ = r.frames > longest_ ? r.frames : longest_;
      most_ = r.labels > most_ && need <= r.frames ? r.labels : most_;
    }
    return {};
  }
  Row at(int64_t b) const {
    const int32_t *inputs = inputs_.as<int32_t>(), *lengths = lengths_.as<int32_t>();
    return {inputs ? inputs[b] : frames_, lengths ? lengths[b] : wide_, classes_, blank_, targets_.as<int32_t>() + b * wide_};
  }
  const void* data() const { return values_.data(); }
  // body(row, b, work) of each row that a path can spell.
  template <class Body> Status each(const char* op, bool gradient, const Cancel* cancel, const Body& body) const {
    int64_t elements;
    if (!Work::elements(longest_, most_, gradient, &elements)) return fail(Code::limit, "%s: %lld frames are too many", op, static_cast<long long>(longest_));
    ScratchSlots slots;
    TERSOR_TRY(slots.reserve(op, elements * static_cast<int64_t>(sizeof(double)), count_));
    TERSOR_TRY(parallel_for(count_, grain_for(longest_ * (most_ + 1) * 64), cancel, [&](int64_t begin, int64_t end) {
      const ScratchSlots::Lease slot(slots);
      for (int64_t b = begin; b < end; b++) {
        const Row r = at(b);
        int64_t need = r.labels;
        for (int64_t i = 1; i < r.labels; i++) need += r.target[i] == r.target[i - 1];
        if (need > r.frames) continue;
        Work w(slot.as<double>(), r, gradient, cancel);
        body(r, b, w);
      }
    }));
    return cancel && cancel->load(std::memory_order_relaxed) ? fail(Code::aborted, "cancelled") : Status{};
  }

 private:
  Contiguous values_, targets_, inputs_, lengths_;
  int64_t count_ = 0, frames_ = 0, classes_ = 0, wide_ = 0, blank_ = 0, longest_ = 0, most_ = 0;
};

template <class T> Status losses(ctc_loss_args& a, const Cancel* cancel) {
  Rows rows;
  TERSOR_TRY(rows.open("ctc_loss", a.log_probs, a.targets, a.input_lengths, a.target_lengths, a.blank, a.zero_infinity, cancel));
  const int64_t row = a.log_probs.shape[1] * a.log_probs.shape[2];
  T* loss = a.loss.as<T>();
  for (int64_t b = 0; b < a.loss.size(); b++) loss[b] = 0;
  return rows.each("ctc_loss", false, cancel, [&](const Row& r, int64_t b, Work& w) {
    loss[b] = row_loss(r, static_cast<const T*>(rows.data()) + b * row, w, a.zero_infinity);
  });
}

template <class T> Status gradients(ctc_loss_grad_args& a, const Cancel* cancel) {
  Rows rows;
  TERSOR_TRY(rows.open("ctc_loss_grad", a.log_probs, a.targets, a.input_lengths, a.target_lengths, a.blank, a.zero_infinity, cancel));
  Contiguous dloss;
  TERSOR_TRY(dloss.open("ctc_loss_grad", a.dloss, cancel));
  const int64_t row = a.log_probs.shape[1] * a.log_probs.shape[2];
  T* dx = a.dlog_probs.as<T>();
  if (a.dlog_probs.size() > 0) memset(dx, 0, static_cast<size_t>(a.dlog_probs.bytes()));
  return rows.each("ctc_loss_grad", true, cancel, [&](const Row& r, int64_t b, Work& w) {
    row_gradient(r, static_cast<const T*>(rows.data()) + b * row, w, a.zero_infinity, static_cast<double>(dloss.as<T>()[b]), dx + b * row);
  });
}

}  // namespace

Status ctc_loss_infer(ctc_loss_args& a) {
  TERSOR_TRY(check("ctc_loss", a.log_probs, a.targets, a.input_lengths, a.target_lengths, a.blank));
  set_shape(a.loss, a.log_probs.dtype, a.log_probs.shape, 1);
  return {};
}
Status ctc_loss_cpu(ctc_loss_args& a, Context& ctx) { return a.log_probs.dtype == DType::f64 ? losses<double>(a, ctx.cancel) : losses<float>(a, ctx.cancel); }

Status ctc_loss_grad_infer(ctc_loss_grad_args& a) {
  TERSOR_TRY(check("ctc_loss_grad", a.log_probs, a.targets, a.input_lengths, a.target_lengths, a.blank));
  TERSOR_TRY(expect_same_dtype("ctc_loss_grad", a.log_probs, a.dloss));
  TERSOR_TRY(expect_shape("ctc_loss_grad", "dloss", a.dloss, a.log_probs.shape, 1));
  set_shape(a.dlog_probs, a.log_probs.dtype, a.log_probs.shape, 3);
  return {};
}
Status ctc_loss_grad_cpu(ctc_loss_grad_args& a, Context& ctx) {
  return a.log_probs.dtype == DType::f64 ? gradients<double>(a, ctx.cancel) : gradients<float>(a, ctx.cancel);
}

}  // namespace tersor
