/**
 * Terms on attention: scores before softmax (TinyBERT), weights and value relations (MiniLM). q, k, v are [B, T, heads d]; `mask` [B, S] has 0 at keys that
 * are padding. Padding does not count as a query either.
 */
import {
  add,
  clip,
  div,
  exp,
  greater,
  logSoftmax,
  matmul,
  mse,
  mul,
  permute,
  reshape,
  scaleShift,
  sub,
  sum,
  where,
} from '../../../ops/index.js'
import { full, scope, tensor, type Tensor } from '../../../tensor/index.js'

const HIDDEN = -1e30

/** [B, T, C] -> [B, heads, T, C / heads]. */
function split(x: Tensor, heads: number): Tensor {
  const [b, t, c] = x.shape as [number, number, number]
  return permute(reshape(x, [b, t, heads, c / heads]), [0, 2, 1, 3])
}

/** a b^T / sqrt(d) for each head, [B, heads, T, S]; about -1e30 where a key is hidden. */
export function scores(a: Tensor, b: Tensor, heads: number, mask: Tensor | null, causal: boolean): Tensor {
  let s = scaleShift(matmul(split(a, heads), split(b, heads), false, true), 1 / Math.sqrt(a.shape[2]! / heads))
  const [batch, , t, keys] = s.shape as [number, number, number, number]
  if (mask) s = add(s, reshape(scaleShift(mask, -HIDDEN, HIDDEN), [batch, 1, 1, keys]))
  if (causal) {
    const ahead = new Float32Array(t * keys)
    for (let i = 0; i < t; i++) for (let j = i + keys - t + 1; j < keys; j++) ahead[i * keys + j] = HIDDEN
    s = add(s, tensor(ahead, [t, keys]))
  }
  return s
}

/** Mean squared difference of scores; those at or below -100 (hidden keys) count as 0, as in TinyBERT's code. */
export function scoresTerm(s: Tensor, t: Tensor): Tensor {
  return scope(() => {
    const none = full([], 0, s.dtype)
    const seen = (x: Tensor): Tensor => where(greater(x, full([], -100, x.dtype)), x, none)
    return mse(seen(s), seen(t))
  })
}

/** KL(softmax t || softmax s), the mean over heads and queries that are no padding. */
export function relationTerm(s: Tensor, t: Tensor, mask: Tensor | null): Tensor {
  return scope(() => {
    const [b, heads, rows] = s.shape as [number, number, number]
    const [logp, logq] = [logSoftmax(s), logSoftmax(t)]
    const each = sum(mul(exp(logq), sub(logq, logp)), [-1])
    if (!mask) return scaleShift(sum(each), 1 / Math.max(b * heads * rows, 1))
    return div(sum(mul(each, reshape(mask, [b, 1, rows]))), scaleShift(clip(sum(mask), 1, Infinity), heads))
  })
}
