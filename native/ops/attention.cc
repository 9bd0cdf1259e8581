// attention(q, k, v, mask?, key_mask?, heads, scale, causal, dropout, seed, stream) -> y = dropout(softmax(q k^T scale + mask)) v for each head, lse [B, heads, T].
// q [B, T, heads D], k [B, S, heads D], v [B, S, heads E] -> y [B, T, heads E]; or [B, heads, T, D] and so on -> [B, heads, T, E]. f32 or f64; strided views whose
// last axis is contiguous are used where they lie. The T x S scores exist in blocks of 64 x 256 only (Dao et al. 2022): keys pass block by block, each
// row keeps its largest score and its sum (Milakov, Gimelshein 2018). mask broadcasts to [B, heads, T, S], below -1e29 it hides; key_mask [B, S] hides where it
// is 0; causal: query i sees keys j <= i + S - T. A row that sees nothing gives zeros and lse = +infinity; else lse = log sum exp of the row.
// Weight (b, h, i, j) survives dropout where element ((b heads + h) T + i) S64 + j of random_uniform(seed, stream) is below 1 - dropout, S64 = S up to a multiple of 64.
#include <atomic>
#include <cmath>

#include "ops/attention_shape.h"

namespace tersor {
namespace {

constexpr const char* kOp = "attention";

template <class T> Status run(attention_args& x, Context& ctx) {
  AttentionSizes n;
  TERSOR_TRY(attention_sizes(kOp, {x.q, x.k, x.v, x.mask, x.key_mask, x.heads, x.scale, x.dropout}, &n));
  const Heads<T> y = heads_of<T>(x.y, x.heads, x.y.data);
  T* const lse = x.lse.as<T>();
  if (n.batch * n.heads * n.queries == 0) return {};
  Contiguous hold[3];
  Heads<const T> q, k, v;
  TERSOR_TRY(open_heads(kOp, x.q, x.heads, ctx.cancel, &hold[0], &q));
  TERSOR_TRY(open_heads(kOp, x.k, x.heads, ctx.cancel, &hold[1], &k));
  TERSOR_TRY(open_heads(kOp, x.v, x.heads, ctx.cancel, &hold[2], &v));
  AttentionScores<T> scores(kOp, n, x.scale, x.causal, x.dropout, x.seed, x.stream);
  TERSOR_TRY(scores.open(x.mask, x.key_mask, ctx.cancel));

  const BlockProduct<T> product{gemm_row<T>()};
  // Each task packs the keys and values that it sees, so there are no more than keep the threads busy; a row's result is its own whatever the task.
  const int64_t threads = thread_count(), wanted = threads > 1 ? 4 * threads : 1, task_rows = n.task_rows(wanted < kAttentionTasks ? wanted : kAttentionTasks);
  const int64_t columns = n.key_block(), ld = n.row_stride(), parts = (n.queries + task_rows - 1) / task_rows;
  const int64_t k_size = product.elements(n.depth, columns), v_size = product.elements(columns, n.width);
  const int64_t chances = scores.keep < 1.0f ? kAttentionRows * columns : 0, tasks = n.batch * n.heads * parts;
  ScratchSlots slots;
  const int64_t elements = k_size + v_size + kAttentionRows * ld + columns + kAttentionRows + 2 * task_rows;
  TERSOR_TRY(slots.reserve(kOp, elements * static_cast<int64_t>(sizeof(T)) + chances * 4, tasks));
  std::atomic<bool> is_cut{false};  // a task may take seconds, and whoever cancels does not wait that long
  TERSOR_TRY(parallel_for(tasks, 1, ctx.cancel, [&](int64_t begin, int64_t end) {
    const ScratchSlots::Lease slot(slots);
    T* const packed_k = slot.template as<T>();
    T *const packed_v = packed_k + k_size, *const s = packed_v + v_size, *const bias = s + kAttentionRows * ld;
    T *const factor = bias + columns, *const top = factor + kAttentionRows, *const sum = top + task_rows;
    float* const uniform = reinterpret_cast<float*>(sum + task_rows);
    for (int64_t t = begin; t < end; t++) {
      const int64_t b = t / parts / n.heads, h = t / parts % n.heads, from = t % parts * task_rows;
      const int64_t to = n.queries - from < task_rows ? n.queries : from + task_rows;
      for (int64_t i = 0; i < to - from; i++) top[i] = static_cast<T>(-INFINITY), sum[i] = T(0);
      zero_rows(y.at(b, h, from), y.row, to - from, n.width);
      for (int64_t j0 = 0; j0 < n.keys; j0 += columns) {
        if (ctx.cancel && ctx.cancel->load(std::memory_order_relaxed)) return is_cut.store(true, std::memory_order_relaxed);
        const int64_t m = n.keys - j0 < columns ? n.keys - j0 : columns;
        if (scores.columns(from, to - from, j0, m) == 0) break;
        product.pack(k.at(b, h, j0), k.row, n.depth, m, true, packed_k);
        product.pack(v.at(b, h, j0), v.row, m, n.width, false, packed_v);
        scores.fill_bias(b, j0, m, bias);
        for (int64_t i0 = from; i0 < to; i0 += kAttentionRows) {
          const int64_t rows = to - i0 < kAttentionRows ? to - i0 : kAttentionRows, seen = scores.columns(i0, rows, j0, m);
          if (seen == 0) continue;
          product.run(rows, seen, n.depth, q.at(b, h, i0), q.row, 1, packed_k, n.depth, s, ld, false);
          AttentionBlock<T> block = scores.block(b, h, i0, rows, j0, seen, s, bias, uniform);
          block.max = top + i0 - from, block.sum = sum + i0 - from, block.factor = factor;
          attention_soften(block);
          AttentionBlock<T> out = {};
          out.s = y.at(b, h, i0), out.rows = rows, out.n = n.width, out.ld = y.row, out.factor = factor;
          if (j0 > 0) attention_scale(out);
          product.run(rows, n.width, seen, s, ld, 1, packed_v, m, out.s, y.row, j0 > 0);
        }
      }
      T* const logs = lse + (b * n.heads + h) * n.queries + from;
      for (int64_t i = 0; i < to - from; i++) {
        logs[i] = sum[i] == T(0) ? static_cast<T>(INFINITY) : top[i] + std::log(sum[i]);
        sum[i] = sum[i] == T(0) ? T(0) : T(1) / (sum[i] * static_cast<T>(scores.keep));
      }
      AttentionBlock<T> out = {};
      out.s = y.at(b, h, from), out.rows = to - from, out.n = n.width, out.ld = y.row, out.factor = sum;
      attention_scale(out);
    }
  }));
  return is_cut.load() ? fail(Code::aborted, "cancelled") : Status{};
}

}  // namespace

Status attention_sizes(const char* op, const AttentionTermsRef& x, AttentionSizes* n) {
  TERSOR_TRY(expect_float(op, "q", x.q));
  for (const TensorRef* t : {&x.k, &x.v}) TERSOR_TRY(expect_same_dtype(op, x.q, *t));
  const int rank = x.q.rank;
  if ((rank != 3 && rank != 4) || x.k.rank != rank || x.v.rank != rank)
    return fail(Code::shape, "%s: q, k, v must all be [B,T,C] or all [B,heads,T,D], got %s, %s and %s", op, TERSOR_TEXT(x.q), TERSOR_TEXT(x.k), TERSOR_TEXT(x.v));
  if (x.heads < 1) return fail(Code::option, "%s: heads must be >= 1, got %lld", op, static_cast<long long>(x.heads));
  const bool split = rank == 4;
  const int at = split ? 2 : 1;
  *n = {x.q.shape[0], x.heads, x.q.shape[at], x.k.shape[at], 0, 0};
  for (const TensorRef* t : {&x.q, &x.k, &x.v})
    if (split ? t->shape[1] != x.heads : t->dim(-1) % x.heads != 0)
      return fail(Code::shape, "%s: %s does not have %lld heads", op, TERSOR_TEXT(*t), static_cast<long long>(x.heads));
  if (x.k.shape[0] != n->batch || x.v.shape[0] != n->batch || x.v.shape[at] != n->keys || x.k.dim(-1) != x.q.dim(-1))
    return fail(Code::shape, "%s: q, k and v do not fit together, got %s, %s and %s", op, TERSOR_TEXT(x.q), TERSOR_TEXT(x.k), TERSOR_TEXT(x.v));
  n->depth = split ? x.q.shape[3] : x.q.shape[2] / x.heads, n->width = split ? x.v.shape[3] : x.v.shape[2] / x.heads;
  if (x.mask.present()) {
    TERSOR_TRY(expect_same_dtype(op, x.q, x.mask));
    const int64_t shape[4] = {n->batch, n->heads, n->queries, n->keys};
    bool fits = x.mask.rank <= 4;
    for (int i = 1; fits && i <= x.mask.rank; i++) fits = x.mask.dim(-i) == 1 || x.mask.dim(-i) == shape[4 - i];
    if (!fits)
      return fail(Code::shape, "%s: mask must broadcast to [%lld,%lld,%lld,%lld], got %s", op, static_cast<long long>(shape[0]), static_cast<long long>(shape[1]),
                  static_cast<long long>(shape[2]), static_cast<long long>(shape[3]), TERSOR_TEXT(x.mask));
  }
  if (x.key_mask.present()) {
    TERSOR_TRY(expect_same_dtype(op, x.q, x.key_mask));
    const int64_t shape[2] = {n->batch, n->keys};
    TERSOR_TRY(expect_shape(op, "key_mask", x.key_mask, shape, 2));
  }
  if (!std::isfinite(static_cast<float>(x.scale))) return fail(Code::option, "%s: scale must be finite, got %g", op, x.scale);
  if (!(x.dropout >= 0 && x.dropout < 1 && static_cast<float>(1 - x.dropout) > 0))
    return fail(Code::option, "%s: dropout must be in [0, 1), got %g", op, x.dropout);
  return {};
}

Status attention_infer(attention_args& x) {
  AttentionSizes n;
  TERSOR_TRY(attention_sizes(kOp, {x.q, x.k, x.v, x.mask, x.key_mask, x.heads, x.scale, x.dropout}, &n));
  int64_t shape[4];
  for (int i = 0; i < x.q.rank; i++) shape[i] = x.q.shape[i];
  shape[x.q.rank - 1] = x.v.dim(-1);
  set_shape(x.y, x.q.dtype, shape, x.q.rank);
  const int64_t rows[3] = {n.batch, n.heads, n.queries};
  set_shape(x.lse, x.q.dtype, rows, 3);
  return {};
}

Status attention_cpu(attention_args& x, Context& ctx) { return x.q.dtype == DType::f32 ? run<float>(x, ctx) : run<double>(x, ctx); }

}  // namespace tersor
