/**
 * Functions with kinks or steps. Where a derivative does not exist the rule takes a fixed side, said at each op; comparisons, sign, step and
 * round are constants to the tape (their derivative is 0 almost everywhere). Straight-through versions: composite/straight-through.ts.
 */
import { add, defineOp, type Op } from '../autograd/index.js'
import { callOp } from '../tensor/index.js'
import { mul, scaleShift } from './arithmetic.js'
import { isHalf, roundedLike, widened } from './precision.js'

/** -1, 0 or 1. Constant to the tape. */
export const sign = defineOp('sign', { grad: null, samples: (s) => [[s.away(2, 3)], [s.away()]] })

/** 1 where x > 0, else 0. Constant to the tape. */
export const step = defineOp('step', { grad: null, samples: (s) => [[s.away(2, 3)]] })

/** To the nearest integer, halves to even. Constant to the tape: the gradient that flows through is zero; see roundSte. */
export const round = defineOp('round', { grad: null, samples: (s) => [[s.uniform([2, 5], -4, 4)]] })

/** 1 where a > b, else 0, in the dtype of the inputs. Constant to the tape. */
export const greater = defineOp('greater', {
  grad: null,
  samples: (s) => [
    [s.normal(2, 3), s.normal(2, 3)],
    [s.normal(2, 3), s.normal(3)],
  ],
})

/** 1 where a = b, else 0, in the dtype of the inputs. Constant to the tape. */
export const equal = defineOp('equal', {
  grad: null,
  samples: (s) => [
    [s.normal(2, 3), s.normal(2, 3)],
    [s.normal(2, 3), s.normal()],
  ],
})

/** |x|; gradient 0 at 0. */
export const abs = defineOp('abs', {
  grad: ({ args: [x] }, dy) => ({ x: () => mul(dy, sign(x)) }),
  samples: (s) => [[s.away(2, 3)]],
})

/** a where b > 0, else 0 (whatever a is there): the gradient of relu in one pass. b is a constant to the tape. */
export const gate: Op<'gate'> = defineOp('gate', {
  grad: ({ args: [, b] }, dy) => ({ a: () => gate(dy, b), b: null }),
  samples: (s) => [
    [s.normal(2, 3), s.away(2, 3)],
    [s.normal(3, 1), s.away(2)],
  ],
})

/** max(x, 0); gradient 0 at 0. */
export const relu = defineOp('relu', {
  reads: 'arguments',
  grad: ({ args: [x], higher }, dy) => ({
    // 16-bit tensors have no gate; a leaky relu of slope 0 is one.
    x: () =>
      isHalf(x) && !higher ? callOp('nonlinear_grad', [x, roundedLike(dy, x), 'leaky_relu', 0, 0])[0]! : gate(widened(dy), widened(x)),
  }),
  samples: (s) => [[s.away(2, 3)], [s.away(5)]],
})

/** x limited to [lo, hi]; gradient 1 inside and at the limits, 0 outside. See clipSte. */
export const clip = defineOp('clip', {
  grad: ({ args: [x], y }, dy) => ({ x: () => mul(dy, equal(x, y)) }),
  samples: (s) => [
    [s.uniform([2, 4], -2, 2), -1, 1],
    [s.uniform([3], -1, 1), -Infinity, 0.25],
  ],
})

/** The larger of a and b; where they are equal each gets half of the gradient. */
export const maximum = defineOp('maximum', {
  grad: ({ args: [a, b] }, dy) => ({
    a: () => mul(dy, add(greater(a, b), scaleShift(equal(a, b), 0.5))),
    b: () => mul(dy, add(greater(b, a), scaleShift(equal(a, b), 0.5))),
  }),
  samples: (s) => [
    [s.normal(2, 3), s.normal(2, 3)],
    [s.normal(2, 3), s.normal(3)],
  ],
})

/** The smaller of a and b; where they are equal each gets half of the gradient. */
export const minimum = defineOp('minimum', {
  grad: ({ args: [a, b] }, dy) => ({
    a: () => mul(dy, add(greater(b, a), scaleShift(equal(a, b), 0.5))),
    b: () => mul(dy, add(greater(a, b), scaleShift(equal(a, b), 0.5))),
  }),
  samples: (s) => [
    [s.normal(2, 3), s.normal(2, 3)],
    [s.normal(3, 1), s.normal(2)],
  ],
})
