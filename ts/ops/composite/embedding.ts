/** Looking up rows of a table. */
import { reshape } from '../../autograd/index.js'
import { OptionError, ShapeError } from '../../base/errors.js'
import { full, ones, scope, type Tensor } from '../../tensor/index.js'
import { where } from '../along.js'
import { mul, scaleShift } from '../arithmetic.js'
import { gather, scatterAdd } from '../gather.js'
import { cast, inDType } from '../memory.js'
import { equal, maximum } from '../piecewise.js'
import { reciprocal } from '../smooth.js'
import { stopGradient } from './elementary.js'

/** 1 where the index is `paddingIndex`, in the dtype of `like`, of the index's shape. */
function isPadding(index: Tensor, paddingIndex: number, like: Tensor): Tensor {
  if (!Number.isInteger(paddingIndex) || paddingIndex < 0 || paddingIndex >= like.shape[0]!)
    throw new OptionError('ERR_OPTION', `embedding: paddingIndex must be in [0, ${like.shape[0]}), got ${paddingIndex}`)
  return cast(equal(index, full([], paddingIndex, 'i32')), like.dtype)
}

export interface EmbeddingOptions {
  /** The row of this index gets no gradient, so it stays what it is. */
  readonly paddingIndex?: number
}

/**
 * Rows of `table` [N, C] for each index: i32 [...] -> [..., C]. An index outside [0, N) is ERR_SHAPE.
 *
 * @example
 * embedding(tensor([[1, 2], [3, 4]]), tensor(new Int32Array([1]))).toArray()   // [[3, 4]]
 */
export function embedding(table: Tensor, index: Tensor, { paddingIndex }: EmbeddingOptions = {}): Tensor {
  if (paddingIndex === undefined) return gather(table, index)
  return scope(() => {
    const rows = gather(table, index)
    const hidden = reshape(isPadding(index, paddingIndex, table), [...index.shape, ...table.shape.slice(1).map(() => 1)])
    return where(hidden, stopGradient(rows), rows)
  })
}

export interface EmbeddingBagOptions extends EmbeddingOptions {
  /** Default 'mean'; an empty bag gives zeros. */
  readonly mode?: 'mean' | 'sum'
}

/**
 * One row per bag: the mean or sum of the rows that it lists. index i32 [n], bag i32 [n] says in which of `bags` bags each falls. With `paddingIndex` those
 * entries do not count.
 *
 * @example
 * const [index, bag] = [tensor(new Int32Array([0, 1, 1])), tensor(new Int32Array([0, 0, 2]))]
 * embeddingBag(tensor([[2], [4]]), index, bag, 3).toArray()   // [[3], [0], [4]]
 */
export function embeddingBag(
  table: Tensor,
  index: Tensor,
  bag: Tensor,
  bags: number,
  { mode = 'mean', paddingIndex }: EmbeddingBagOptions = {},
): Tensor {
  if (table.rank !== 2 || index.rank !== 1 || !index.sameShape(bag))
    throw new ShapeError('ERR_SHAPE', `embeddingBag: table must be [N, C], index and bag [n], got ${table}, ${index} and ${bag}`)
  if (mode !== 'mean' && mode !== 'sum') throw new OptionError('ERR_OPTION', `embeddingBag: mode must be mean or sum, got ${String(mode)}`)
  return scope(() => {
    let rows = gather(table, index)
    let counted = inDType(ones([index.size, 1]), table.dtype)
    if (paddingIndex !== undefined) {
      counted = scaleShift(reshape(isPadding(index, paddingIndex, table), [index.size, 1]), -1, 1)
      rows = mul(rows, counted)
    }
    const total = scatterAdd(rows, bag, bags)
    if (mode === 'sum') return total
    const count = scatterAdd(counted, bag, bags)
    return mul(total, reciprocal(maximum(count, full([], 1, table.dtype))))
  })
}
