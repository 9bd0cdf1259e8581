/** Which elements stay: masks of the largest magnitudes or scores, over one tensor, over several together, by row, by group, by threshold. */
import { OptionError, ShapeError } from '../base/errors.js'
import { reshape, slice } from '../autograd/index.js'
import { assign, maskSlice, nmMask, thresholdMask, topkMask, topkMaskRows } from '../ops/index.js'
import { keep, scope, zeros, Tensor } from '../tensor/index.js'

/** Exactly one of k, threshold, perRow and nm. */
export interface TopKOptions {
  /** Exactly so many elements of all (of all tensors together, for a list). */
  readonly k?: number
  /** All elements that score so high or higher. */
  readonly threshold?: number
  /** Exactly so many elements of every row of the last dimension. */
  readonly perRow?: number
  /** n of every m adjacent elements of the last dimension; [2, 4] is the 2:4 pattern. m <= 64 divides the last dimension. */
  readonly nm?: readonly [n: number, m: number]
  /** What ranks them: 'magnitude' (default) |x|, 'value' x itself, or scores of x's shape (a list of them for a list). */
  readonly scores?: 'magnitude' | 'value' | Tensor | readonly Tensor[]
}

const ways = ['k', 'threshold', 'perRow', 'nm'] as const

function wayOf(o: TopKOptions): (typeof ways)[number] {
  const given = ways.filter((w) => o[w] !== undefined)
  if (given.length !== 1)
    throw new OptionError('ERR_OPTION', `topKMask: exactly one of ${ways.join(', ')} must be given, got ${given.join(' and ') || 'none'}`)
  return given[0]!
}

/** One tensor's mask by scores that are already chosen. */
function maskOf(scores: Tensor, way: (typeof ways)[number], o: TopKOptions, magnitude: boolean): Tensor {
  if (way === 'k') return topkMask(scores, o.k!, magnitude)
  if (way === 'threshold') return thresholdMask(scores, o.threshold!, magnitude)
  if (way === 'perRow') return topkMaskRows(scores, o.perRow!, magnitude)
  const [n, m] = o.nm!
  return nmMask(scores, n, m, magnitude)
}

/** All scores in one row, then the mask of the row, cut in pieces: ties go to the lowest index in the order of the list. */
function together(scores: readonly Tensor[], k: number, magnitude: boolean): Tensor[] {
  const total = scores.reduce((n, s) => n + s.size, 0)
  return scope(() => {
    const row = zeros([total], scores[0]!.dtype)
    let at = 0
    for (const s of scores) {
      assign(slice(row, [at], [s.size]), reshape(s, [s.size]))
      at += s.size
    }
    const mask = topkMask(row, k, magnitude)
    at = 0
    return scores.map((s) => {
      at += s.size
      return keep(maskSlice(mask, at - s.size, s.size))
    })
  })
}

function scoresOf(x: Tensor, own: Tensor | undefined, i: number): Tensor {
  if (!own) return x
  if (own.shape.length !== x.shape.length || own.shape.some((d, a) => d !== x.shape[a]))
    throw new ShapeError('ERR_SHAPE', `topKMask: scores must have the shape of their tensor, got ${own} for ${x} (number ${i})`)
  return own
}

/**
 * Bit set of the elements that stay: bit i % 8 of byte i / 8 is element i (see maskApply, maskUnpack, maskCount). Ties go to the lowest index,
 * NaN ranks last, -0 equals 0. A number k alone ranks the values themselves: topKMask(scores, k).
 *
 * A list of tensors gives a list of masks; k then counts over all of them, the other ways hold for each one.
 *
 * k or perRow out of range, n > m, m > 64, a NaN threshold: ERR_OPTION. A last dimension that m does not divide, scores of another shape:
 * ERR_SHAPE.
 *
 * @example
 * const w = tensor([[1, -4, 3, 0], [2, 0, -5, 1]])
 * const mask = topKMask(w, { k: 3 })
 * maskApply(w, mask).toArray()                                // [[0, -4, 3, 0], [0, 0, -5, 0]]
 * maskApply(w, topKMask(w, { nm: [2, 4] })).toArray()         // [[0, -4, 3, 0], [2, 0, -5, 0]]
 * const [a, b] = topKMask([w, tensor([9, -9])], { k: 3 })     // one k for both: 1 of w, 2 of the other
 */
export function topKMask(x: Tensor, k: number | TopKOptions): Tensor
export function topKMask(x: readonly Tensor[], k: TopKOptions): Tensor[]
export function topKMask(x: Tensor | readonly Tensor[], how: number | TopKOptions): Tensor | Tensor[] {
  if (typeof how === 'number') {
    if (!(x instanceof Tensor)) throw new OptionError('ERR_OPTION', 'topKMask: a list of tensors takes options, for example { k: 100 }')
    return topkMask(x, how)
  }
  const way = wayOf(how)
  const by = how.scores ?? 'magnitude'
  if (typeof by === 'string' && by !== 'magnitude' && by !== 'value')
    throw new OptionError('ERR_OPTION', `topKMask: scores must be 'magnitude', 'value' or tensors, got '${String(by)}'`)
  const own: readonly Tensor[] | null = typeof by === 'string' ? null : by instanceof Tensor ? [by] : by
  const list: readonly Tensor[] = x instanceof Tensor ? [x] : x
  if (own && own.length !== list.length)
    throw new OptionError('ERR_OPTION', `topKMask: as many scores as tensors are needed, got ${own.length} for ${list.length}`)
  const scores = list.map((t, i) => scoresOf(t, own?.[i], i))
  const magnitude = by === 'magnitude'
  if (x instanceof Tensor) return maskOf(scores[0]!, way, how, magnitude)
  if (way === 'k' && scores.length > 0) return together(scores, how.k!, magnitude)
  return scores.map((s) => maskOf(s, way, how, magnitude))
}
