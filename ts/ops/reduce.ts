/** Reductions over a list of axes ([] = all; negative axes count from the end). */
import { defineOp, reshape, sum as sumOp, type Call } from '../autograd/index.js'
import { normalizeAxis, type Shape } from '../base/shape.js'
import type { Tensor } from '../tensor/index.js'
import { div, mul } from './arithmetic.js'
import { equal } from './piecewise.js'

/** Shape of x with 1 in the reduced dimensions. */
function keptShape(where: string, x: Tensor, axes: readonly number[]): Shape {
  const reduced = axes.length === 0 ? x.shape.map((_, i) => i) : axes.map((a) => normalizeAxis(where, a, x.rank))
  return x.shape.map((d, i) => (reduced.includes(i) ? 1 : d))
}

/** The gradient goes to the extreme element; equal ones share it evenly. */
function extremeGrad(where: string) {
  return (
    { args: [x, axes], y }: Call<readonly [x: Tensor, axes: readonly number[], keepDims: boolean]>,
    dy: Tensor,
  ): { x: () => Tensor } => ({
    x: () => {
      const kept = keptShape(where, x, axes)
      const hit = equal(x, reshape(y, kept))
      return mul(hit, div(reshape(dy, kept), sumOp(hit, axes, true)))
    },
  })
}

const maxOp = defineOp('amax', {
  grad: extremeGrad('amax'),
  flops: ({ args: [x] }) => x.size,
  samples: (s) => [
    [s.distinct(2, 3), [], false],
    [s.distinct(2, 3, 2), [1], true],
    [s.distinct(2, 3, 2), [0, -1], false],
  ],
})

const minOp = defineOp('amin', {
  grad: extremeGrad('amin'),
  flops: ({ args: [x] }) => x.size,
  samples: (s) => [
    [s.distinct(2, 3), [], false],
    [s.distinct(2, 3, 2), [-1], true],
  ],
})

/** Sum over `axes`. */
export function sum(x: Tensor, axes: readonly number[] = [], keepDims = false): Tensor {
  return sumOp(x, axes, keepDims)
}

/** Largest element over `axes` (NaN wins). Equal ones share the gradient. */
export function amax(x: Tensor, axes: readonly number[] = [], keepDims = false): Tensor {
  return maxOp(x, axes, keepDims)
}

/** Smallest element over `axes` (NaN wins). Equal ones share the gradient. */
export function amin(x: Tensor, axes: readonly number[] = [], keepDims = false): Tensor {
  return minOp(x, axes, keepDims)
}

/** Position of the largest element along the last axis, i32; the first of equals. Constant to the tape. */
export const argmax = defineOp('argmax', {
  grad: null,
  flops: ({ args: [x] }) => x.size,
  samples: (s) => [[s.distinct(2, 5)], [s.distinct(7)]],
})

/** How many elements are NaN or infinite. */
export const countNonfinite = defineOp('count_nonfinite', {
  grad: null,
  flops: ({ args: [x] }) => x.size,
  samples: (s) => [[s.normal(2, 3)]],
})

/** How many elements are not zero. */
export const countNonzero = defineOp('count_nonzero', {
  grad: null,
  flops: ({ args: [x] }) => x.size,
  samples: (s) => [[s.normal(2, 3)]],
})
