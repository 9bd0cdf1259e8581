// sum, amax, amin over a list of axes ([] = all), f32 or f64, strided views welcome. The order of additions depends on shape and strides only, never on threads.
//
// Dimensions are sorted by stride and neighbours of a kind merged, so the innermost runs through memory. A `strip` of up to 256 results is
// accumulated at once (doubles for sums):
//   innermost reduced: the strip lies along the last kept dimension, each result takes contiguous runs        (kernel ..._rows)
//   innermost kept:    the strip lies along it, runs are columns of the last reduced dimension                (kernel ..._columns)
// The reduced part of a strip is a list of units (index of the other reduced dimensions x piece of the run). When there are few strips the
// units are spread over the threads, each piece into its own partial result; partial results are combined in order.
#include <cmath>

#include "kernels/reduce/reduce.h"
#include "ops/util.h"

namespace tersor {
namespace {

enum class Kind { sum, max, min };

constexpr int64_t kStrip = 256, kPiece = int64_t(1) << 16, kFewStrips = 16;

Status reduce_infer(const char* op, Kind kind, const TensorRef& x, const IntList& axes, bool keep_dims, TensorRef& y) {
  TERSOR_TRY(expect_float(op, "x", x));
  uint32_t bits;
  TERSOR_TRY(axes_to_bits(op, axes, x.rank, &bits));
  int64_t shape[kMaxRank], reduced = 1, kept = 1;
  int rank = 0;
  for (int i = 0; i < x.rank; i++) {
    const bool gone = bits & (1u << i);
    (gone ? reduced : kept) *= x.shape[i];
    if (!gone || keep_dims) shape[rank++] = gone ? 1 : x.shape[i];
  }
  if (kind != Kind::sum && reduced == 0 && kept != 0) return fail(Code::shape, "%s: nothing to choose from (x: %s)", op, TERSOR_TEXT(x));
  set_shape(y, x.dtype, shape, rank);
  return {};
}

struct Dim {
  int64_t n, from, to;  // extent, stride in x, stride in y (kept only)
};
struct Dims {
  Dim d[kMaxRank];
  int n = 0;
  int64_t count() const {
    int64_t c = 1;
    for (int i = 0; i < n; i++) c *= d[i].n;
    return c;
  }
  Dim pop() { return n > 0 ? d[--n] : Dim{1, 0, 0}; }
  void offsets(int64_t index, int64_t* from, int64_t* to) const {
    *from = *to = 0;
    for (int i = n - 1; i >= 0; i--) {
      *from += index % d[i].n * d[i].from;
      *to += index % d[i].n * d[i].to;
      index /= d[i].n;
    }
  }
};

// Splits the dimensions; false when the innermost one does not run through memory (then the input is copied first).
bool split(const TensorRef& x, uint32_t bits, Dims* kept, Dims* reduced, bool* inner_kept) {
  struct Item {
    Dim dim;
    bool gone;
  } all[kMaxRank];
  int n = 0;
  int64_t out_stride = 1;
  for (int i = x.rank - 1; i >= 0; i--) {
    const bool gone = bits & (1u << i);
    const Item item = {{x.shape[i], x.stride[i], gone ? 0 : out_stride}, gone};
    if (!gone) out_stride *= x.shape[i];
    if (x.shape[i] == 1) continue;
    if (x.stride[i] == 0) return false;
    int at = n++;
    for (; at > 0 && all[at - 1].dim.from > item.dim.from; at--) all[at] = all[at - 1];
    all[at] = item;
  }
  if (n > 0 && all[0].dim.from != 1) return false;
  *inner_kept = n > 0 && !all[0].gone;
  for (int i = n - 1; i >= 0; i--) {
    Dims& list = all[i].gone ? *reduced : *kept;
    const bool neighbour = i + 1 < n && all[i + 1].gone == all[i].gone && list.n > 0;
    Dim& last = list.d[neighbour ? list.n - 1 : 0];
    const Dim& dim = all[i].dim;
    if (neighbour && last.from == dim.from * dim.n && last.to == dim.to * dim.n) last = {last.n * dim.n, dim.from, dim.to};
    else list.d[list.n++] = dim;
  }
  return true;
}

template <class T, Kind kind> struct Job {
  using Acc = double;
  const T* x;
  T* y;
  Dims kept, reduced;   // without the dimensions below
  Dim along, run;       // strip dimension (kept), run dimension (reduced)
  bool inner_kept;
  int64_t width, strips_along, strips, pieces_of_run, run_piece, units, units_per_piece, pieces;

  void plan() {
    along = kept.pop();
    run = reduced.pop();
    strips_along = (along.n + kStrip - 1) / kStrip;
    strips = kept.count() * strips_along;
    width = along.n < kStrip ? along.n : kStrip;  // of all strips but the last
    run_piece = inner_kept ? (kPiece / width > 64 ? kPiece / width : 64) : kPiece;
    pieces_of_run = (run.n + run_piece - 1) / run_piece;
    units = reduced.count() * pieces_of_run;
    const int64_t unit_cost = width * (run.n < run_piece ? run.n : run_piece);
    units_per_piece = kPiece / unit_cost > 0 ? kPiece / unit_cost : 1;
    pieces = (units + units_per_piece - 1) / units_per_piece;
  }

  static void clear(Acc* sums, T* extremes, int64_t n) {
    for (int64_t i = 0; i < n; i++) {
      if (kind == Kind::sum) sums[i] = 0;
      else extremes[i] = kind == Kind::max ? static_cast<T>(-INFINITY) : static_cast<T>(INFINITY);
    }
  }

  // Adds the units [begin, end) of a strip to its accumulators.
  void accumulate(int64_t strip, int64_t begin, int64_t end, Acc* sums, T* extremes) const {
    int64_t base, unused;
    kept.offsets(strip / strips_along, &base, &unused);
    const int64_t first = strip % strips_along * kStrip, results = along.n - first < kStrip ? along.n - first : kStrip;
    base += first * along.from;
    for (int64_t u = begin; u < end; u++) {
      int64_t offset;
      reduced.offsets(u / pieces_of_run, &offset, &unused);
      const int64_t r0 = u % pieces_of_run * run_piece, length = run.n - r0 < run_piece ? run.n - r0 : run_piece;
      const T* p = x + base + offset + r0 * run.from;
      ReduceArgs<T> a = {};
      a.x = p;
      a.sums = sums;
      a.extremes = extremes;
      if (inner_kept) {
        a.op = kind == Kind::sum ? ReduceOp::sum_columns : kind == Kind::max ? ReduceOp::max_columns : ReduceOp::min_columns;
        a.rows = length;
        a.cols = results;
        a.row_stride = run.from;
      } else {
        a.op = kind == Kind::sum ? ReduceOp::sum_rows : kind == Kind::max ? ReduceOp::max_rows : ReduceOp::min_rows;
        a.rows = results;
        a.cols = length;
        a.row_stride = along.from;
      }
      reduce(a);
    }
  }

  void finish(int64_t strip, const Acc* sums, const T* extremes) const {
    int64_t unused, at;
    kept.offsets(strip / strips_along, &unused, &at);
    const int64_t first = strip % strips_along * kStrip, results = along.n - first < kStrip ? along.n - first : kStrip;
    at += first * along.to;
    for (int64_t i = 0; i < results; i++) y[at + i * along.to] = kind == Kind::sum ? static_cast<T>(sums[i]) : extremes[i];
  }

  Status run_strips(const Cancel* cancel) const {
    const int64_t cost = units * (run.n < run_piece ? run.n : run_piece) * width;
    return parallel_for(strips, grain_for(cost), cancel, [&](int64_t begin, int64_t end) {
      Acc sums[kStrip];
      T extremes[kStrip];
      for (int64_t s = begin; s < end; s++) {
        clear(sums, extremes, width);
        accumulate(s, 0, units, sums, extremes);
        finish(s, sums, extremes);
      }
    });
  }

  // Few strips with many units: partial results per (strip, piece).
  Status run_pieces(const char* op, const Cancel* cancel) const {
    Scratch scratch;
    const int64_t items = strips * pieces;
    TERSOR_TRY(scratch.reserve(op, items * width * static_cast<int64_t>(sizeof(Acc) + sizeof(T))));
    Acc* sums = scratch.as<Acc>();
    T* extremes = reinterpret_cast<T*>(sums + items * width);
    TERSOR_TRY(parallel_for(items, 1, cancel, [&](int64_t begin, int64_t end) {
      for (int64_t i = begin; i < end; i++) {
        const int64_t u0 = i % pieces * units_per_piece, u1 = units - u0 < units_per_piece ? units : u0 + units_per_piece;
        clear(sums + i * width, extremes + i * width, width);
        accumulate(i / pieces, u0, u1, sums + i * width, extremes + i * width);
      }
    }));
    for (int64_t s = 0; s < strips; s++) {
      Acc* total = sums + s * pieces * width;
      T* best = extremes + s * pieces * width;
      for (int64_t p = 1; p < pieces; p++)
        for (int64_t i = 0; i < width; i++) {
          if (kind == Kind::sum) {
            total[i] += total[p * width + i];
            continue;
          }
          const T v = best[p * width + i];
          if (best[i] == best[i] && (v != v || (kind == Kind::max ? v > best[i] : v < best[i]))) best[i] = v;
        }
      finish(s, total, best);
    }
    return {};
  }
};

template <class T, Kind kind> Status reduce_typed(const char* op, const TensorRef& x, uint32_t bits, TensorRef& y, const Cancel* cancel) {
  if (y.size() == 0) return {};
  if (x.size() == 0) {
    for (int64_t i = 0; i < y.size(); i++) y.as<T>()[i] = T(0);
    return {};
  }
  Job<T, kind> job;
  job.y = y.as<T>();
  job.x = x.as<T>();
  Contiguous copy;
  if (!split(x, bits, &job.kept, &job.reduced, &job.inner_kept)) {
    TERSOR_TRY(copy.open(op, x, cancel));
    if (copy.data() == x.data) return fail(Code::internal, "%s: contiguous input could not be split", op);
    TensorRef dense = x;
    set_shape(dense, x.dtype, x.shape, x.rank);
    job.x = copy.as<T>();
    job.kept.n = job.reduced.n = 0;
    split(dense, bits, &job.kept, &job.reduced, &job.inner_kept);
  }
  job.plan();
  if (job.strips < kFewStrips && job.pieces > 1) return job.run_pieces(op, cancel);
  return job.run_strips(cancel);
}

template <Kind kind> Status reduce_cpu(const char* op, const TensorRef& x, const IntList& axes, TensorRef& y, const Cancel* cancel) {
  uint32_t bits;
  TERSOR_TRY(axes_to_bits(op, axes, x.rank, &bits));
  if (x.dtype == DType::f64) return reduce_typed<double, kind>(op, x, bits, y, cancel);
  return reduce_typed<float, kind>(op, x, bits, y, cancel);
}

}  // namespace

Status sum_infer(sum_args& a) { return reduce_infer("sum", Kind::sum, a.x, a.axes, a.keep_dims, a.y); }
Status sum_cpu(sum_args& a, Context& ctx) { return reduce_cpu<Kind::sum>("sum", a.x, a.axes, a.y, ctx.cancel); }
Status amax_infer(amax_args& a) { return reduce_infer("amax", Kind::max, a.x, a.axes, a.keep_dims, a.y); }
Status amax_cpu(amax_args& a, Context& ctx) { return reduce_cpu<Kind::max>("amax", a.x, a.axes, a.y, ctx.cancel); }
Status amin_infer(amin_args& a) { return reduce_infer("amin", Kind::min, a.x, a.axes, a.keep_dims, a.y); }
Status amin_cpu(amin_args& a, Context& ctx) { return reduce_cpu<Kind::min>("amin", a.x, a.axes, a.y, ctx.cancel); }

}  // namespace tersor
