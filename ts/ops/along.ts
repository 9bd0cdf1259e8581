/** Elements by index along an axis, running sums, order: each with its adjoint. */
import { defineOp, permute, type Op } from '../autograd/index.js'
import { OptionError } from '../base/errors.js'
import { normalizeAxis } from '../base/shape.js'
import { scope, zeros, type Tensor } from '../tensor/index.js'
import { step } from './piecewise.js'

/**
 * y of index's shape with y[.., m, ..] = x[.., index[.., m, ..], ..] along `axis`: x and index (i32) have equal dimensions elsewhere; a stretched index moves whole runs.
 * An index outside [0, n) is ERR_SHAPE.
 *
 * @example
 * gatherAlong(tensor([[1, 2], [3, 4]]), tensor(new Int32Array([1, 0]), [2, 1]), 1).toArray()   // [[2], [3]]
 */
export const gatherAlong: Op<'gather_along'> = defineOp('gather_along', {
  grad: ({ args: [x, index, axis] }, dy) => ({
    x: () => scatterAlong(dy, index, axis, x.shape[normalizeAxis('gatherAlong', axis, x.rank)]!),
    index: null,
  }),
  flops: () => 0,
  samples: (s) => [
    [s.normal(2, 3), s.index([2, 4], 3), 1],
    [s.normal(3, 2, 2), s.index([2, 2, 2], 3), -3],
    [s.normal(2, 3, 2), s.index([1], 3).view([2, 1, 2], [0, 0, 0], 0), 1],
  ],
})

/**
 * dy added into zeros with `size` entries along `axis`, each at its index: the adjoint of gatherAlong.
 *
 * @example
 * scatterAlong(tensor([1, 2, 3]), tensor(new Int32Array([1, 1, 0])), 0, 2).toArray()   // [3, 3]
 */
export const scatterAlong: Op<'scatter_along'> = defineOp('scatter_along', {
  grad: ({ args: [, index, axis] }, u) => ({ dy: () => gatherAlong(u, index, axis), index: null }),
  samples: (s) => [
    [s.normal(2, 4), s.index([2, 4], 3), 1, 3],
    [s.normal(2, 2, 2), s.index([2, 2, 2], 3), -3, 3],
  ],
})

const cumsumOp: Op<'cumsum'> = defineOp('cumsum', {
  grad: ({ args: [, axis, exclusive, reverse] }, dy) => ({ x: () => cumsumOp(dy, axis, exclusive, !reverse) }),
  samples: (s) => [
    [s.normal(2, 3), 1, false, false],
    [s.normal(3, 2, 2), 0, true, false],
    [s.normal(4), -1, true, true],
  ],
})

/**
 * Running sum along `axis`; `exclusive` leaves each element out of its own sum, `reverse` begins at the end.
 *
 * @example
 * cumsum(tensor([1, 2, 3])).toArray()   // [1, 3, 6]
 */
export function cumsum(
  x: Tensor,
  axis = -1,
  { exclusive = false, reverse = false }: { exclusive?: boolean; reverse?: boolean } = {},
): Tensor {
  return cumsumOp(x, axis, exclusive, reverse)
}

const topKOp = defineOp('top_k', {
  grad: ({ args: [x], results: [, index] }, dy) => ({ x: () => scatterAlong(dy, index!, -1, x.shape[x.rank - 1]!) }),
  flops: ({ args: [x] }) => x.size,
  samples: (s) => [
    [s.distinct(2, 5), 3, true],
    [s.distinct(4), 4, false],
  ],
})

/** Moves `axis` to the end, runs, and moves it back. */
function atEnd(where: string, x: Tensor, axis: number, f: (x: Tensor) => readonly Tensor[]): readonly Tensor[] {
  const at = normalizeAxis(where, axis, x.rank)
  if (at === x.rank - 1) return f(x)
  const swap = x.shape.map((_, i) => (i === at ? x.rank - 1 : i === x.rank - 1 ? at : i))
  return scope(() => f(permute(x, swap)).map((t) => permute(t, swap)))
}

/**
 * The k largest elements along `axis` (smallest when not `largest`), in order, and their positions, i32. Equals keep their order; NaN is largest. Gradients flow
 * through the values.
 *
 * @example
 * topK(tensor([3, 1, 2]), 2)[0].toArray()   // [3, 2]
 */
export function topK(
  x: Tensor,
  k: number,
  { axis = -1, largest = true }: { axis?: number; largest?: boolean } = {},
): [values: Tensor, index: Tensor] {
  const [values, index] = atEnd('topK', x, axis, (t) => topKOp(t, k, largest))
  return [values!, index!]
}

/**
 * All elements along `axis` in ascending (or descending) order, and where they came from, i32.
 *
 * @example
 * sort(tensor([3, 1, 2]))[0].toArray()   // [1, 2, 3]
 */
export function sort(
  x: Tensor,
  { axis = -1, descending = false }: { axis?: number; descending?: boolean } = {},
): [values: Tensor, index: Tensor] {
  if (x.rank === 0) throw new OptionError('ERR_OPTION', `sort: x must have an axis, got ${x}`)
  return topK(x, x.shape[normalizeAxis('sort', axis, x.rank)]!, { axis, largest: descending })
}

/**
 * a where the condition is not 0, else b; all three broadcast and have one dtype. What is not chosen does not matter, not even as NaN, nor in the gradient. The
 * condition is constant to the tape.
 *
 * @example
 * where(tensor([1, 0]), tensor([5, 6]), tensor(-1)).toArray()   // [5, -1]
 */
export const where: Op<'where'> = defineOp('where', {
  grad: ({ args: [condition, a, b] }, dy) => ({
    a: () => where(condition, dy, zeros([], a.dtype)),
    b: () => where(condition, zeros([], b.dtype), dy),
    condition: null,
  }),
  samples: (s) => [
    [step(s.normal(2, 3)), s.normal(2, 3), s.normal(2, 3)],
    [step(s.normal(2, 1)), s.normal(3), s.normal()],
  ],
})
