/** Copies, casts, joins. */
import { defineOp, slice, type Op } from '../autograd/index.js'
import type { DType } from '../base/dtype.js'
import { normalizeAxis } from '../base/shape.js'
import type { Tensor } from '../tensor/index.js'
import { pattern } from './pattern.js'

/** A row-major copy of x (a view becomes a tensor of its own). */
export const copy = defineOp('copy', {
  reads: 'nothing',
  grad: (_, dy) => ({ x: () => dy }),
  samples: (s) => [[s.normal(2, 3)], [s.normal()]],
})

const isReal = (dtype: DType): boolean => dtype === 'f64' || dtype === 'f32' || dtype === 'bf16' || dtype === 'f16'

/** x in another dtype. Floats to integers: towards zero and saturated, NaN becomes 0. Gradients flow between floats; those of 16-bit tensors are f32. */
export const cast: Op<'cast'> = defineOp('cast', {
  reads: 'nothing',
  grad: ({ args: [x, dtype] }, dy) => ({
    x: isReal(x.dtype) && isReal(dtype) ? () => inDType(dy, x.dtype === 'f64' ? 'f64' : 'f32') : null,
  }),
  samples: (s) => [
    [s.normal(2, 3), 'f64'],
    [s.uniform([7], -200, 200), 'i8'],
    [s.index([2, 3], 9), 'u8'],
  ],
})

/** @internal x itself when it has the dtype already: for temporaries, not for results. */
export function inDType(x: Tensor, dtype: DType): Tensor {
  return x.dtype === dtype ? x : cast(x, dtype)
}

/** a and b one after the other along `axis`. See `concat` for lists. */
export const concat2 = defineOp('concat2', {
  grad: ({ args: [a, b, axis] }, dy) => {
    const at = normalizeAxis('concat2', axis, a.rank)
    const start = a.shape.map((d, i) => (i === at ? d : 0))
    return {
      a: () =>
        slice(
          dy,
          start.map(() => 0),
          a.shape,
        ),
      b: () => slice(dy, start, b.shape),
    }
  },
  samples: (s) => [
    [s.normal(2, 3), s.normal(2, 1), 1],
    [s.normal(1, 2, 2), s.normal(3, 2, 2), -3],
  ],
})

/** labels i32 [...] -> f32 [..., classes]: 1 at the label, 0 elsewhere. */
export const oneHot = defineOp('one_hot', {
  grad: null,
  samples: (s) => [
    [s.index([4], 3), 3],
    [pattern('i32', [2, 2], 0, 4), 5],
  ],
})
