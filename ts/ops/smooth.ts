/** Smooth element-wise functions. Each rule is built of differentiable ops, so every derivative that exists can be taken. */
import { add, defineOp, type Op } from '../autograd/index.js'
import type { Tensor } from '../tensor/index.js'
import { div, mul, neg, scaleShift, sub } from './arithmetic.js'

export const exp = defineOp('exp', {
  grad: ({ y }, dy) => ({ x: () => mul(dy, y) }),
  samples: (s) => [[s.normal(2, 3)]],
})

/** Natural logarithm. */
export const log = defineOp('log', {
  grad: ({ args: [x] }, dy) => ({ x: () => div(dy, x) }),
  samples: (s) => [[s.uniform([2, 3], 0.5, 3)]],
})

export const sqrt = defineOp('sqrt', {
  grad: ({ y }, dy) => ({ x: () => div(scaleShift(dy, 0.5), y) }),
  samples: (s) => [[s.uniform([2, 3], 0.5, 3)]],
})

/** 1 / x */
export const reciprocal = defineOp('reciprocal', {
  grad: ({ y }, dy) => ({ x: () => neg(mul(dy, mul(y, y))) }),
  samples: (s) => [[s.uniform([2, 3], 0.5, 3)]],
})

export const sin: Op<'sin'> = defineOp('sin', {
  grad: ({ args: [x] }, dy) => ({ x: () => mul(dy, cos(x)) }),
  samples: (s) => [[s.normal(2, 3)]],
})

export const cos: Op<'cos'> = defineOp('cos', {
  grad: ({ args: [x] }, dy) => ({ x: () => neg(mul(dy, sin(x))) }),
  samples: (s) => [[s.normal(2, 3)]],
})

export const tanh = defineOp('tanh', {
  grad: ({ y }, dy) => ({ x: () => sub(dy, mul(dy, mul(y, y))) }),
  samples: (s) => [[s.normal(2, 3)]],
})

/** 1 / (1 + exp(-x)) */
export const sigmoid = defineOp('sigmoid', {
  grad: ({ y }, dy) => ({ x: () => mul(dy, sub(y, mul(y, y))) }),
  samples: (s) => [[s.normal(2, 3)]],
})

/** 2 / sqrt(pi) times the integral of exp(-t^2) from 0 to x. */
export const erf = defineOp('erf', {
  grad: ({ args: [x] }, dy) => ({ x: () => mul(dy, scaleShift(exp(neg(mul(x, x))), 2 / Math.sqrt(Math.PI))) }),
  samples: (s) => [[s.normal(2, 3)]],
})

/** @internal Derivative of gelu. */
export function geluSlope(x: Tensor): Tensor {
  const cumulative = scaleShift(erf(scaleShift(x, Math.SQRT1_2)), 0.5, 0.5)
  const density = scaleShift(exp(scaleShift(mul(x, x), -0.5)), 1 / Math.sqrt(2 * Math.PI))
  return add(cumulative, mul(x, density))
}
