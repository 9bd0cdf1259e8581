/**
 * Attention without a T x S matrix (Dao et al. 2022): one native pass forward, one back, which computes the weights again. When an outer tape records the rule,
 * and for the gradient of a mask, it is spelled out (attention-rule.ts).
 */
import { defineOp, permute, reshape, sum, type Op } from '../autograd/index.js'
import { scope, type Tensor } from '../tensor/index.js'
import { mul, scaleShift, sub } from './arithmetic.js'
import { attentionWeights, type AttentionTerms } from './attention-rule.js'
import { matmul } from './matmul.js'
import { step } from './piecewise.js'

/** [B, T, C] -> [B, heads, T, C / heads]; what has heads already stays. */
function split(x: Tensor, heads: number): Tensor {
  if (x.rank === 4) return x
  const [b, t, c] = x.shape as [number, number, number]
  return permute(reshape(x, [b, t, heads, c / heads]), [0, 2, 1, 3])
}
/** Back to the form of `like`. */
function join(x: Tensor, like: Tensor): Tensor {
  return like.rank === 4 ? x : reshape(permute(x, [0, 2, 1, 3]), like.shape)
}

/**
 * q [B, T, heads D], k [B, S, heads D], v [B, S, heads E], or all [B, heads, length, D or E] -> y of q's form, lse [B, heads, T]. `multiHeadAttention` is the
 * function for users; masks, dropout and rows that see nothing: native/ops/attention.cc.
 */
export const attentionOp: Op<'attention'> = defineOp('attention', {
  grad: ({ args, y, results: [, lse], higher }, dy) => {
    const [q, k, v, mask, keyMask, heads, scale, causal, dropout, seed, stream] = args
    const terms: AttentionTerms = { mask, keyMask, scale, causal, dropout, seed, stream }
    const slopes = (): { weights: Tensor; kept: Tensor | null; ds: Tensor } => {
      const { weights, kept } = attentionWeights(split(q, heads), split(k, heads), terms)
      const product = matmul(split(dy, heads), split(v, heads), false, true)
      const dp = kept ? mul(product, kept) : product
      return { weights, kept, ds: mul(weights, sub(dp, sum(mul(dp, weights), [-1], true))) }
    }
    const maskRule = mask ? (): Tensor => slopes().ds : null
    if (!higher) {
      const [dq, dk, dv] = attentionGrad(q, k, v, mask, keyMask, y, lse!, dy, heads, scale, causal, dropout, seed, stream)
      return { q: () => dq, k: () => dk, v: () => dv, mask: maskRule, keyMask: null }
    }
    const { weights, kept, ds } = slopes()
    return {
      q: () => join(scaleShift(matmul(ds, split(k, heads)), scale), q),
      k: () => join(scaleShift(matmul(ds, split(q, heads), true), scale), k),
      v: () => join(matmul(kept ? mul(weights, kept) : weights, split(dy, heads), true), v),
      mask: mask ? () => ds : null,
      keyMask: null,
    }
  },
  flops: ({ args: [q, k, v, , , heads], results: [, lse] }) =>
    (2 * lse!.size * k.shape[k.rank - 2]! * (q.shape[q.rank - 1]! + v.shape[v.rank - 1]!)) / (q.rank === 4 ? 1 : heads),
  samples: (s) => [
    [s.normal(2, 3, 4), s.normal(2, 5, 4), s.normal(2, 5, 2), null, null, 2, 0.7, false, 0, 0, 0],
    [s.normal(1, 4, 4), s.normal(1, 4, 4), s.normal(1, 4, 4), s.normal(4, 4), null, 2, 0.5, true, 0, 0, 0],
    [s.normal(2, 2, 3, 2), s.normal(2, 2, 4, 2), s.normal(2, 2, 4, 3), s.normal(2, 1, 1, 4), step(s.normal(2, 4)), 2, 1, false, 0, 0, 0],
    [s.normal(1, 3, 2), s.normal(1, 4, 2), s.normal(1, 4, 2), null, null, 1, 0.9, false, 0.3, 5, 1],
  ],
})

type GradArgs = Parameters<Op<'attention_grad'>>

/** Gradients of q, k and v. Constant to the tape: only first derivatives use it, and nothing records those. */
const attentionGrad = defineOp('attention_grad', {
  grad: null,
  flops: ({ args: [q, k, v, , , , lse, , heads] }) =>
    (2 * lse.size * k.shape[k.rank - 2]! * (3 * q.shape[q.rank - 1]! + 2 * v.shape[v.rank - 1]!)) / (q.rank === 4 ? 1 : heads),
  samples: (s) =>
    scope(() => {
      const sample = (q: Tensor, k: Tensor, v: Tensor, heads: number, causal: boolean, dropout: number): GradArgs => {
        const [y, lse] = attentionOp(q, k, v, null, null, heads, 0.5, causal, dropout, 1, 2)
        return [q, k, v, null, null, y, lse, y, heads, 0.5, causal, dropout, 1, 2]
      }
      return [
        sample(s.normal(2, 3, 4), s.normal(2, 5, 4), s.normal(2, 5, 2), 2, false, 0),
        sample(s.normal(1, 2, 3, 2), s.normal(1, 2, 3, 2), s.normal(1, 2, 3, 2), 2, true, 0.25),
      ]
    }),
})
