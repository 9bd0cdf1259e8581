// attention_grad(q, k, v, mask?, key_mask?, y, lse, dy, ...as attention) -> dq, dk, dv, of the shapes of q, k, v. Scores and weights are computed again from lse, block by
// block (Dao et al. 2022, algorithm 4): with P = exp(scores - lse), u the dropout factors and delta = sum dy y of a row,
//   dv = (u P)^T dy    dS = P (u (dy v^T) - delta) scale    dq = dS k    dk = dS^T q
// Examples and heads are the tasks: five products each. Too few of them (a pure function of the shape) are cut once by keys for dk and dv and once by queries
// for dq: seven products. The mask's own gradient is spelled out in TypeScript.
#include <atomic>

#include "ops/attention_shape.h"

namespace tersor {
namespace {

constexpr const char* kOp = "attention_grad";

template <class T> struct Backward {
  AttentionScores<T>& scores;
  const AttentionSizes& n;
  BlockProduct<T> product;
  Heads<const T> q, k, v, dy;
  Heads<T> dq, dk, dv;
  const T *lse, *delta;
  const Cancel* cancel;
  std::atomic<bool>& is_cut;
  int64_t columns, ld, depth_size, width_size, key_size, row_depth_size, row_width_size, chances;

  void plan() {
    columns = n.key_block(), ld = n.row_stride();
    depth_size = product.elements(n.depth, columns), width_size = product.elements(n.width, columns), key_size = product.elements(columns, n.depth);
    row_depth_size = product.elements(kAttentionRows, n.depth), row_width_size = product.elements(kAttentionRows, n.width);
    chances = scores.keep < 1.0f ? kAttentionRows * columns : 0;
  }
  int64_t bytes() const {
    const int64_t elements = depth_size + width_size + key_size + row_depth_size + row_width_size + 2 * kAttentionRows * ld + columns;
    return elements * static_cast<int64_t>(sizeof(T)) + chances * 4;
  }
  // Blocks of keys [j_from, j_to) against queries [i_from, i_to).
  void run(T* memory, int64_t pair, int64_t j_from, int64_t j_to, int64_t i_from, int64_t i_to, bool want_kv, bool want_q) const {
    T *const kt = memory, *const vt = kt + depth_size, *const kp = vt + width_size, *const qp = kp + key_size, *const dyp = qp + row_depth_size;
    T *const s = dyp + row_width_size, *const d = s + kAttentionRows * ld, *const bias = d + kAttentionRows * ld;
    float* const uniform = reinterpret_cast<float*>(bias + columns);
    const int64_t b = pair / n.heads, h = pair % n.heads;
    for (int64_t j0 = j_from; j0 < j_to; j0 += columns) {
      if (cancel && cancel->load(std::memory_order_relaxed)) return is_cut.store(true, std::memory_order_relaxed);
      const int64_t m = j_to - j0 < columns ? j_to - j0 : columns;
      bool first = true;
      if (scores.columns(i_from, i_to - i_from, j0, m) > 0) {
        product.pack(k.at(b, h, j0), k.row, n.depth, m, true, kt);
        product.pack(v.at(b, h, j0), v.row, n.width, m, true, vt);
        if (want_q) product.pack(k.at(b, h, j0), k.row, m, n.depth, false, kp);
        scores.fill_bias(b, j0, m, bias);
      }
      for (int64_t i0 = i_from; i0 < i_to; i0 += kAttentionRows) {
        const int64_t rows = i_to - i0 < kAttentionRows ? i_to - i0 : kAttentionRows, seen = scores.columns(i0, rows, j0, m);
        if (seen == 0) {
          if (want_q && j0 == 0) zero_rows(dq.at(b, h, i0), dq.row, rows, n.depth);
          continue;
        }
        const T *const q0 = q.at(b, h, i0), *const dy0 = dy.at(b, h, i0);
        product.run(rows, seen, n.depth, q0, q.row, 1, kt, n.depth, s, ld, false);
        product.run(rows, seen, n.width, dy0, dy.row, 1, vt, n.width, d, ld, false);
        AttentionBlock<T> block = scores.block(b, h, i0, rows, j0, seen, s, bias, uniform);
        block.d = d, block.d_ld = ld;
        block.lse = lse + pair * n.queries + i0, block.delta = const_cast<T*>(delta) + pair * n.queries + i0;
        attention_slopes(block);
        if (want_q) product.run(rows, n.depth, seen, d, ld, 1, kp, m, dq.at(b, h, i0), dq.row, j0 > 0);
        if (!want_kv) continue;
        if (first && seen < m) {  // keys that this block does not reach and later ones may
          zero_rows(dk.at(b, h, j0 + seen), dk.row, m - seen, n.depth);
          zero_rows(dv.at(b, h, j0 + seen), dv.row, m - seen, n.width);
        }
        product.pack(q0, q.row, rows, n.depth, false, qp);
        product.pack(dy0, dy.row, rows, n.width, false, dyp);
        product.run(seen, n.width, rows, s, 1, ld, dyp, rows, dv.at(b, h, j0), dv.row, !first);
        product.run(seen, n.depth, rows, d, 1, ld, qp, rows, dk.at(b, h, j0), dk.row, !first);
        first = false;
      }
      if (want_kv && first) {
        zero_rows(dk.at(b, h, j0), dk.row, m, n.depth);
        zero_rows(dv.at(b, h, j0), dv.row, m, n.width);
      }
    }
  }
};

template <class T> Status run(attention_grad_args& x, Context& ctx) {
  AttentionSizes n;
  TERSOR_TRY(attention_sizes(kOp, {x.q, x.k, x.v, x.mask, x.key_mask, x.heads, x.scale, x.dropout}, &n));
  Contiguous hold[5], hold_lse;
  Heads<const T> q, k, v, y, dy;
  TERSOR_TRY(open_heads(kOp, x.q, x.heads, ctx.cancel, &hold[0], &q));
  TERSOR_TRY(open_heads(kOp, x.k, x.heads, ctx.cancel, &hold[1], &k));
  TERSOR_TRY(open_heads(kOp, x.v, x.heads, ctx.cancel, &hold[2], &v));
  TERSOR_TRY(open_heads(kOp, x.y, x.heads, ctx.cancel, &hold[3], &y));
  TERSOR_TRY(open_heads(kOp, x.dy, x.heads, ctx.cancel, &hold[4], &dy));
  TERSOR_TRY(hold_lse.open(kOp, x.lse, ctx.cancel));
  AttentionScores<T> scores(kOp, n, x.scale, x.causal, x.dropout, x.seed, x.stream);
  TERSOR_TRY(scores.open(x.mask, x.key_mask, ctx.cancel));
  const int64_t pairs = n.batch * n.heads;
  if (pairs == 0) return {};
  Scratch delta;
  TERSOR_TRY(delta.reserve(kOp, pairs * n.queries * static_cast<int64_t>(sizeof(T))));
  std::atomic<bool> is_cut{false};  // a task may take seconds, and whoever cancels does not wait that long
  Backward<T> back = {scores, n, {gemm_row<T>()}, q, k, v, dy, heads_of<T>(x.dq, x.heads, x.dq.data), heads_of<T>(x.dk, x.heads, x.dk.data),
                      heads_of<T>(x.dv, x.heads, x.dv.data), hold_lse.as<T>(), delta.as<T>(), ctx.cancel, is_cut, 0, 0, 0, 0, 0, 0, 0, 0};
  back.plan();
  if (n.keys == 0) {
    zero_rows(x.dq.as<T>(), 0, 1, x.dq.size());
    return {};
  }
  TERSOR_TRY(parallel_for(pairs, grain_for(n.queries * n.width * 2), ctx.cancel, [&](int64_t begin, int64_t end) {
    for (int64_t p = begin; p < end; p++) {
      AttentionBlock<T> block = {};
      block.s = const_cast<T*>(dy.at(p / n.heads, p % n.heads, 0)), block.ld = dy.row, block.rows = n.queries, block.n = n.width;
      block.d = const_cast<T*>(y.at(p / n.heads, p % n.heads, 0)), block.d_ld = y.row, block.delta = delta.as<T>() + p * n.queries;
      attention_dots(block);
    }
  }));
  const bool whole = pairs >= kAttentionTasks / 2;
  const int64_t key_parts = whole ? 1 : (n.keys + back.columns - 1) / back.columns, rows = n.task_rows(), row_parts = (n.queries + rows - 1) / rows;
  ScratchSlots slots;
  TERSOR_TRY(slots.reserve(kOp, back.bytes(), pairs * (key_parts > row_parts ? key_parts : row_parts)));
  TERSOR_TRY(parallel_for(pairs * key_parts, 1, ctx.cancel, [&](int64_t begin, int64_t end) {
    const ScratchSlots::Lease slot(slots);
    for (int64_t t = begin; t < end; t++) {
      const int64_t from = whole ? 0 : t % key_parts * back.columns, to = whole || n.keys - from < back.columns ? n.keys : from + back.columns;
      back.run(slot.template as<T>(), t / key_parts, from, to, 0, n.queries, true, whole);
    }
  }));
  if (is_cut.load()) return fail(Code::aborted, "cancelled");
  if (whole) return {};
  TERSOR_TRY(parallel_for(pairs * row_parts, 1, ctx.cancel, [&](int64_t begin, int64_t end) {
    const ScratchSlots::Lease slot(slots);
    for (int64_t t = begin; t < end; t++) {
      const int64_t from = t % row_parts * rows, to = n.queries - from < rows ? n.queries : from + rows;
      back.run(slot.template as<T>(), t / row_parts, 0, n.keys, from, to, false, true);
    }
  }));
  return is_cut.load() ? fail(Code::aborted, "cancelled") : Status{};
}

}  // namespace

Status attention_grad_infer(attention_grad_args& x) {
  AttentionSizes n;
  TERSOR_TRY(attention_sizes(kOp, {x.q, x.k, x.v, x.mask, x.key_mask, x.heads, x.scale, x.dropout}, &n));
  int64_t shape[4];
  for (int i = 0; i < x.q.rank; i++) shape[i] = x.q.shape[i];
  shape[x.q.rank - 1] = x.v.dim(-1);
  const int64_t rows[3] = {n.batch, n.heads, n.queries};
  TERSOR_TRY(expect_same_dtype(kOp, x.q, x.y));
  TERSOR_TRY(expect_same_dtype(kOp, x.q, x.dy));
  TERSOR_TRY(expect_same_dtype(kOp, x.q, x.lse));
  TERSOR_TRY(expect_shape(kOp, "y", x.y, shape, x.q.rank));
  TERSOR_TRY(expect_shape(kOp, "dy", x.dy, shape, x.q.rank));
  TERSOR_TRY(expect_shape(kOp, "lse", x.lse, rows, 3));
  set_shape(x.dq, x.q.dtype, x.q.shape, x.q.rank);
  set_shape(x.dk, x.q.dtype, x.k.shape, x.k.rank);
  set_shape(x.dv, x.q.dtype, x.v.shape, x.v.rank);
  return {};
}

Status attention_grad_cpu(attention_grad_args& x, Context& ctx) { return x.q.dtype == DType::f32 ? run<float>(x, ctx) : run<double>(x, ctx); }

}  // namespace tersor
