/** Scaled dot-product attention with several heads (Vaswani et al. 2017, eq. 1), between projections that belong to the caller. */
import { broadcastTo, permute, reshape } from '../../autograd/index.js'
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
  /** Heads of k and v, which divide `heads`: each serves heads / keyHeads heads of q (Ainslie et al. 2023). A mask is then [T, S]. Default `heads`. */
  readonly keyHeads?: number
}

/**
 * q [B, T, C], k [B, S, C], v [B, S, D] -> [B, T, D]: softmax(q k^T scale + mask) v for each head. C and D are multiples of `heads`. With `keyHeads` k and v
 * are narrower: [B, S, C keyHeads / heads].
 *
 * - shapes that do not fit together: ERR_SHAPE
 * - p outside [0, 1): ERR_OPTION
 *
 * @example
 * const x = tensor([[[1, 0], [0, 1]]])
 * multiHeadAttention(x, x, x, { heads: 1, causal: true }).shape   // [1, 2, 2]; its first row is [1, 0]
 */
export function multiHeadAttention(q: Tensor, k: Tensor, v: Tensor, options: AttentionOptions): Tensor {
  const { heads, keyHeads = heads, mask = null, keyMask = null, causal = false, dropout = null, scale } = options
  const fits = (x: Tensor, n: number): boolean => x.rank === 3 && x.shape[2]! % n === 0
  const whole = (n: number): boolean => Number.isInteger(n) && n > 0
  if (!(whole(heads) && whole(keyHeads) && heads % keyHeads === 0) || !(fits(q, heads) && fits(k, keyHeads) && fits(v, keyHeads)))
    throw new ShapeError(
      'ERR_SHAPE',
      `multiHeadAttention: q, k, v must be [B, T, C] with C a multiple of heads, and heads one of keyHeads, got ${q}, ${k}, ${v}, ${heads} heads and ${keyHeads} of keys`,
    )
  const [b, t, c] = q.shape as [number, number, number]
  const [bk, s, ck] = k.shape as [number, number, number]
  const [bv, sv] = v.shape as [number, number, number]
  if (bk !== b || bv !== b || sv !== s || ck * heads !== c * keyHeads)
    throw new ShapeError('ERR_SHAPE', `multiHeadAttention: q [B,T,C], k [B,S,C] and v [B,S,D] do not fit together, got ${q}, ${k}, ${v}`)
  if (keyMask && !(keyMask.rank === 2 && keyMask.shape[0] === b && keyMask.shape[1] === s))
    throw new ShapeError('ERR_SHAPE', `multiHeadAttention: keyMask must be [${b}, ${s}], got ${keyMask}`)
  if (keyHeads !== heads && mask && mask.rank > 2)
    throw new ShapeError('ERR_SHAPE', `multiHeadAttention: with keyHeads the mask must be [${t}, ${s}], got ${mask}`)
  const p = dropout?.p ?? 0
  if (!(p >= 0 && p < 1)) throw new OptionError('ERR_OPTION', `multiHeadAttention: dropout.p must be in [0, 1), got ${p}`)
  const run = (query: Tensor, key: Tensor, value: Tensor, hidden: Tensor | null, n: number, late: boolean): Tensor => {
    const factor = scale ?? (c > 0 ? 1 / Math.sqrt(c / heads) : 1)
    const args = [
      narrowed(query),
      narrowed(key),
      narrowed(value),
      mask,
      hidden,
      n,
      factor,
      late,
      p,
      dropout?.seed ?? 0,
      dropout?.stream ?? 0,
    ] as const
    return narrowedResult(attentionOp(...args)[0])
  }
  return scope(() => {
    if (keyHeads === heads) return run(q, k, v, keyMask, heads, causal)
    const [group, depth] = [heads / keyHeads, c / heads]
    // Each row once for each head of keys. Four dimensions on the way: written graphs then know each size from the one before.
    const wide = keyMask && broadcastTo(reshape(keyMask, [b, 1, 1, s]), [b, keyHeads, 1, s])
    const hidden = wide && reshape(reshape(wide, [b * keyHeads, 1, 1, s]), [b * keyHeads, s])
    // Example and head of keys become one dimension.
    const parts = (x: Tensor): Tensor => {
      const width = x.shape[2]! / keyHeads
      // One text, one query (a token that is being written): keys are read where they lie.
      if (b === 1 && t === 1) return permute(reshape(x, [s, keyHeads, 1, width]), [1, 2, 0, 3])
      return reshape(permute(reshape(x, [b, s, keyHeads, width]), [0, 2, 1, 3]), [b * keyHeads, 1, s, width])
    }
    const [keys, values] = [parts(k), parts(v)]
    const width = values.shape[3]!
    // One query sees every key: the heads of a group are the rows of one product.
    if (t === 1 && !mask) {
      const y = run(reshape(q, [b * keyHeads, 1, group, depth]), keys, values, hidden, 1, false)
      return reshape(y, [b, 1, heads * width])
    }
    // A group reads its keys through a view that repeats them.
    const each = (x: Tensor): Tensor => broadcastTo(x, [b * keyHeads, group, s, x.shape[3]!])
    const asked = reshape(permute(reshape(q, [b, t, keyHeads, group, depth]), [0, 2, 3, 1, 4]), [b * keyHeads, group, t, depth])
    const y = run(asked, each(keys), each(values), hidden, group, causal)
    return reshape(permute(reshape(y, [b, keyHeads, group, t, width]), [0, 3, 1, 2, 4]), [b, t, heads * width])
  })
}
