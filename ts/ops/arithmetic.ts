/** Element-wise arithmetic with NumPy broadcasting; `add` is in ts/autograd/core.ts because the tape itself needs it. */
import { defineOp, type Op } from '../autograd/index.js'
import type { Tensor } from '../tensor/index.js'

export const neg: Op<'neg'> = defineOp('neg', {
  reads: 'nothing',
  grad: (_, dy) => ({ x: () => neg(dy) }),
  samples: (s) => [[s.normal(2, 3)], [s.normal()]],
})

/** a - b */
export const sub = defineOp('sub', {
  reads: 'nothing',
  grad: (_, dy) => ({ a: () => dy, b: () => neg(dy) }),
  samples: (s) => [
    [s.normal(2, 3), s.normal(2, 3)],
    [s.normal(3), s.normal(2, 1)],
    [s.normal(2, 2), s.normal()],
  ],
})

/** a * b */
export const mul: Op<'mul'> = defineOp('mul', {
  reads: 'arguments',
  grad: ({ args: [a, b] }, dy) => ({ a: () => mul(dy, b), b: () => mul(dy, a) }),
  samples: (s) => [
    [s.normal(2, 3), s.normal(2, 3)],
    [s.normal(2, 1, 3), s.normal(4, 1)],
    [s.normal(), s.normal(2)],
  ],
})

/** a / b */
export const div: Op<'div'> = defineOp('div', {
  grad: ({ args: [, b], y }, dy) => ({ a: () => div(dy, b), b: () => neg(div(mul(dy, y), b)) }),
  samples: (s) => [
    [s.normal(2, 3), s.away(2, 3)],
    [s.normal(3), s.away(2, 1)],
    [s.normal(2, 3), s.away()],
  ],
})

const affine: Op<'scale_shift'> = defineOp('scale_shift', {
  reads: 'nothing',
  grad: ({ args: [, scale] }, dy) => ({ x: () => affine(dy, scale, 0) }),
  samples: (s) => [
    [s.normal(2, 3), 2.5, -1],
    [s.normal(3), 0, 4],
  ],
})

/** scale * x + shift with plain numbers. */
export function scaleShift(x: Tensor, scale: number, shift = 0): Tensor {
  return affine(x, scale, shift)
}
/** Into memory that exists; see {@link Op.into}. */
scaleShift.into = affine.into
