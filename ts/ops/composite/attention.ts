/** Scaled dot-product attention with several heads (Vaswani et al. 2017, eq. 1), between projections that belong to the caller. */
import { add, permute, reshape } from '../../autograd/index.js'
import { ShapeError } from '../../base/errors.js'
import { scope, type Tensor } from '../../tensor/index.js'
import { mul, scaleShift } from '../arithmetic.js'
import { matmul } from '../matmul.js'
import { clip, step } from '../piecewise.js'
import { amax } from '../reduce.js'
import { softmaxLast } from '../softmax.js'

export interface AttentionOptions {
  readonly heads: number
  /**
   * Added to the scores; broadcasts to [B, heads, T, S], so [T, S] is shared and [B, 1, 1, S] hides padding. -Infinity (or anything below
   * -1e29) hides a position. A row that is hidden entirely gives zeros.
   */
  readonly mask?: Tensor | null
  /** Default 1 / sqrt(C / heads). */
  readonly scale?: number
}

const HIDDEN = -1e30

/** [B, T, C] -> [B, heads, T, C / heads], a view. */
function split(x: Tensor, heads: number): Tensor {
  const [b, t, c] = x.shape as [number, number, number]
  return permute(reshape(x, [b, t, heads, c / heads]), [0, 2, 1, 3])
}

/** q [B, T, C], k [B, S, C], v [B, S, D] -> [B, T, D]. C and D are multiples of `heads`. */
export function multiHeadAttention(q: Tensor, k: Tensor, v: Tensor, { heads, mask = null, scale }: AttentionOptions): Tensor {
  const fits = (x: Tensor): boolean => x.rank === 3 && x.shape[2]! % heads === 0
  if (!(Number.isInteger(heads) && heads > 0) || ![q, k, v].every(fits))
    throw new ShapeError(
      'ERR_SHAPE',
      `multiHeadAttention: q, k, v must be [B, T, C] with C a multiple of heads, got ${q}, ${k}, ${v} and ${heads} heads`,
    )
  const [b, t, c] = q.shape as [number, number, number]
  const [bk, s, ck] = k.shape as [number, number, number]
  const [bv, sv, d] = v.shape as [number, number, number]
  if (bk !== b || bv !== b || sv !== s || ck !== c)
    throw new ShapeError('ERR_SHAPE', `multiHeadAttention: q [B,T,C], k [B,S,C] and v [B,S,D] do not fit together, got ${q}, ${k}, ${v}`)
  return scope(() => {
    let scores = scaleShift(matmul(split(q, heads), split(k, heads), false, true), scale ?? (c > 0 ? 1 / Math.sqrt(c / heads) : 1))
    let seen: Tensor | undefined
    if (mask) {
      // A finite floor keeps fully hidden rows free of NaN (their softmax is even); `seen` then zeroes them.
      const bounded = clip(mask, HIDDEN, -HIDDEN)
      scores = add(scores, bounded)
      seen = step(scaleShift(amax(bounded, [-1], true), 1, -HIDDEN / 10))
    }
    let weights = softmaxLast(scores)
    if (seen) weights = mul(weights, seen)
    const heard = matmul(weights, split(v, heads))
    return reshape(permute(heard, [0, 2, 1, 3]), [b, t, d])
  })
}
