/** Scaled dot-product attention with several heads (Vaswani et al. 2017, eq. 1), between projections that belong to the caller. */
import { OptionError, ShapeError } from '../../base/errors.js'
import { scope, type Tensor } from '../../tensor/index.js'
import { attentionOp } from '../attention.js'
import { narrowed, narrowedResult } from '../precision.js'
import type { RandomOptions } from '../random.js'

export interface AttentionOptions {
  readonly heads: number
  /**
   * Added to the scores; broadcasts to [B, heads, T, S], so [T, S] is shared and [B, 1, 1, S] hides padding. -Infinity (or anything below
   * -1e29) hides a position. A row that is hidden entirely gives zeros.
   */
  readonly mask?: Tensor | null
  /** [B, S], of the dtype of q: 0 hides a key (padding) from every query. */
  readonly keyMask?: Tensor | null
  /** Query i sees the keys j <= i + S - T: the last query sees all of them, so new queries may stand behind keys of earlier calls. */
  readonly causal?: boolean
  /** Zeroes each weight with probability p in [0, 1) and scales the others by 1 / (1 - p). The pattern depends on seed, stream and position only. */
  readonly dropout?: (RandomOptions & { readonly p: number }) | null
  /** Default 1 / sqrt(C / heads). */
  readonly scale?: number
}

/**
 * q [B, T, C], k [B, S, C], v [B, S, D] -> [B, T, D]: softmax(q k^T scale + mask) v for each head. C and D are multiples of `heads`.
 *
 * - shapes that do not fit together: ERR_SHAPE
 * - p outside [0, 1): ERR_OPTION
 *
 * @example
 * const x = tensor([[[1, 0], [0, 1]]])
 * multiHeadAttention(x, x, x, { heads: 1, causal: true }).shape   // [1, 2, 2]; its first row is [1, 0]
 */
export function multiHeadAttention(q: Tensor, k: Tensor, v: Tensor, options: AttentionOptions): Tensor {
  const { heads, mask = null, keyMask = null, causal = false, dropout = null, scale } = options
  const fits = (x: Tensor): boolean => x.rank === 3 && x.shape[2]! % heads === 0
  if (!(Number.isInteger(heads) && heads > 0) || ![q, k, v].every(fits))
    throw new ShapeError(
      'ERR_SHAPE',
      `multiHeadAttention: q, k, v must be [B, T, C] with C a multiple of heads, got ${q}, ${k}, ${v} and ${heads} heads`,
    )
  const [b, , c] = q.shape as [number, number, number]
  const [bk, s, ck] = k.shape as [number, number, number]
  const [bv, sv] = v.shape as [number, number, number]
  if (bk !== b || bv !== b || sv !== s || ck !== c)
    throw new ShapeError('ERR_SHAPE', `multiHeadAttention: q [B,T,C], k [B,S,C] and v [B,S,D] do not fit together, got ${q}, ${k}, ${v}`)
  if (keyMask && !(keyMask.rank === 2 && keyMask.shape[0] === b && keyMask.shape[1] === s))
    throw new ShapeError('ERR_SHAPE', `multiHeadAttention: keyMask must be [${b}, ${s}], got ${keyMask}`)
  const p = dropout?.p ?? 0
  if (!(p >= 0 && p < 1)) throw new OptionError('ERR_OPTION', `multiHeadAttention: dropout.p must be in [0, 1), got ${p}`)
  return scope(() => {
    const [y] = attentionOp(
      narrowed(q),
      narrowed(k),
      narrowed(v),
      mask,
      keyMask,
      heads,
      scale ?? (c > 0 ? 1 / Math.sqrt(c / heads) : 1),
      causal,
      p,
      dropout?.seed ?? 0,
      dropout?.stream ?? 0,
    )
    return narrowedResult(y)
  })
}
