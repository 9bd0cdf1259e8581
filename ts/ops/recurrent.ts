/**
 * Recurrent layers over a whole sequence, one direction of one layer: `lstm` and `gru` of the table of ops. First derivatives run in one native call
 * (back-propagation through time, weight gradients as one product over all steps); when an outer tape records the rule, it is the gradient of the
 * unrolled form, made of differentiable ops. Layers, directions and batch-first input: composite/recurrent.ts.
 */
import { defineOp, grad, sum } from '../autograd/index.js'
import type { Tensor } from '../tensor/index.js'
import { mul } from './arithmetic.js'
import { pattern } from './pattern.js'
import { gruUnrolled, lstmUnrolled } from './recurrent-unrolled.js'

/** Gradients of <f(), dy> for the inputs that are there, computed when the first one is asked for. */
function later(f: () => Tensor, dy: Tensor, inputs: readonly (Tensor | null | undefined)[]): (i: number) => () => Tensor {
  const given = inputs.filter((x): x is Tensor => x instanceof Object)
  let found: readonly Tensor[] | undefined
  return (i) => () => (found ??= grad(() => sum(mul(f(), dy), [], false), given))[given.indexOf(inputs[i]!)]!
}

/** @internal x [T, B, C] -> [states [T + 2, B, H], gates, cells, previous]. */
export const lstmDirection = defineOp('lstm', {
  grad: ({ args, results, higher }, dy) => {
    const [x, wih, whh, bias, h0, c0, lengths, reverse] = args
    if (!higher) {
      const [, gates, cells, previous] = results
      const [dx, dwih, dwhh, dbias, dh0, dc0] = lstmGrad(x, wih, whh, c0, lengths, gates!, cells!, previous!, dy, reverse)
      return { x: () => dx, wIh: () => dwih, wHh: () => dwhh, bias: () => dbias, h0: () => dh0, c0: () => dc0, lengths: null }
    }
    const g = later(() => lstmUnrolled(...args), dy, [x, wih, whh, bias, h0, c0])
    return { x: g(0), wIh: g(1), wHh: g(2), bias: g(3), h0: g(4), c0: g(5), lengths: null }
  },
  flops: ({ args: [x, wih, whh] }) => 2 * x.shape[0]! * x.shape[1]! * (wih.size + whh.size),
  samples: (s) => [
    [s.normal(3, 2, 2), s.normal(12, 2), s.normal(12, 3), s.normal(12), s.normal(2, 3), s.normal(2, 3), pattern('i32', [2], 2, 3), false],
    [s.normal(2, 3, 1), s.normal(8, 1), s.normal(8, 2), null, null, s.normal(3, 2), null, true],
    [s.normal(3, 2, 2), s.normal(4, 2), s.normal(4, 1), s.normal(4), s.normal(2, 1), null, pattern('i32', [2], 1, 3), true],
  ],
})

/** All gradients in one call. Constant to the tape: only first derivatives use it, and nothing records those. */
const lstmGrad = defineOp('lstm_grad', {
  grad: null,
  flops: ({ args: [x, wih, whh] }) => 4 * x.shape[0]! * x.shape[1]! * (wih.size + whh.size),
  samples: (s) => [
    [
      s.normal(3, 2, 2),
      s.normal(12, 2),
      s.normal(12, 3),
      s.normal(2, 3),
      pattern('i32', [2], 2, 3),
      s.uniform([3, 2, 12], 0.1, 0.9),
      s.normal(3, 2, 3),
      s.normal(3, 2, 3),
      s.normal(5, 2, 3),
      false,
    ],
    [
      s.normal(2, 2, 1),
      s.normal(8, 1),
      s.normal(8, 2),
      null,
      null,
      s.uniform([2, 2, 8], 0.1, 0.9),
      s.normal(2, 2, 2),
      s.normal(2, 2, 2),
      s.normal(4, 2, 2),
      true,
    ],
  ],
})

/** @internal x [T, B, C] -> [states [T + 1, B, H], gates, recurrent, previous]. */
export const gruDirection = defineOp('gru', {
  grad: ({ args, results, higher }, dy) => {
    const [x, wih, whh, bih, bhh, h0, lengths, reverse] = args
    if (!higher) {
      const [, gates, recurrent, previous] = results
      const [dx, dwih, dwhh, dbih, dbhh, dh0] = gruGrad(x, wih, whh, lengths, gates!, recurrent!, previous!, dy, reverse)
      return { x: () => dx, wIh: () => dwih, wHh: () => dwhh, bIh: () => dbih, bHh: () => dbhh, h0: () => dh0, lengths: null }
    }
    const g = later(() => gruUnrolled(...args), dy, [x, wih, whh, bih, bhh, h0])
    return { x: g(0), wIh: g(1), wHh: g(2), bIh: g(3), bHh: g(4), h0: g(5), lengths: null }
  },
  flops: ({ args: [x, wih, whh] }) => 2 * x.shape[0]! * x.shape[1]! * (wih.size + whh.size),
  samples: (s) => [
    [s.normal(3, 2, 2), s.normal(9, 2), s.normal(9, 3), s.normal(9), s.normal(9), s.normal(2, 3), pattern('i32', [2], 2, 3), false],
    [s.normal(2, 3, 1), s.normal(6, 1), s.normal(6, 2), null, null, null, null, true],
    [s.normal(3, 2, 2), s.normal(3, 2), s.normal(3, 1), s.normal(3), s.normal(3), s.normal(2, 1), pattern('i32', [2], 1, 3), true],
  ],
})

const gruGrad = defineOp('gru_grad', {
  grad: null,
  flops: ({ args: [x, wih, whh] }) => 4 * x.shape[0]! * x.shape[1]! * (wih.size + whh.size),
  samples: (s) => [
    [
      s.normal(3, 2, 2),
      s.normal(9, 2),
      s.normal(9, 3),
      pattern('i32', [2], 2, 3),
      s.uniform([3, 2, 9], 0.1, 0.9),
      s.normal(3, 2, 3),
      s.normal(3, 2, 3),
      s.normal(4, 2, 3),
      false,
    ],
    [
      s.normal(2, 2, 1),
      s.normal(6, 1),
      s.normal(6, 2),
      null,
      s.uniform([2, 2, 6], 0.1, 0.9),
      s.normal(2, 2, 2),
      s.normal(2, 2, 2),
      s.normal(3, 2, 2),
      true,
    ],
  ],
})
