/**
 * Activations that would be many passes as compositions: f and dy f' run in one pass each. When an outer tape records the rule, f' is spelled out in
 * elementary ops, so that second derivatives exist.
 */
import { add, defineOp } from '../autograd/index.js'
import type { Nonlinearity } from '../native/ops.gen.js'
import { scope, type Tensor } from '../tensor/index.js'
import { mul, scaleShift, sub } from './arithmetic.js'
import { abs, clip, relu, step } from './piecewise.js'
import { isHalf, roundedLike, widened } from './precision.js'
import { exp, geluSlope, reciprocal, sigmoid, tanh } from './smooth.js'

const inside = (x: Tensor, limit: number): Tensor => step(scaleShift(abs(x), -1, limit))

/** s (1 - s): the derivative of sigmoid from its value. */
const bump = (s: Tensor): Tensor => sub(s, mul(s, s))

/** log(1 + e^x) without overflow. */
const softplusOf = (x: Tensor): Tensor => nonlinear(x, 'softplus', 1, 0)

/** @internal The derivative of geluTanh in differentiable ops. */
export function geluTanhSlope(x: Tensor): Tensor {
  const square = mul(x, x)
  const s = sigmoid(scaleShift(mul(x, scaleShift(square, 0.044715, 1)), 2 * Math.sqrt(2 / Math.PI)))
  return add(s, mul(mul(x, bump(s)), scaleShift(square, 6 * 0.044715 * Math.sqrt(2 / Math.PI), 2 * Math.sqrt(2 / Math.PI))))
}

/** The derivative of each function in differentiable ops. */
const slopes: { readonly [K in Nonlinearity]: (x: Tensor, p: number, q: number) => Tensor } = {
  leaky_relu: (x, p) => scaleShift(step(x), 1 - p, p),
  elu: (x, p, q) => add(scaleShift(step(x), q), mul(scaleShift(step(x), -q * p, q * p), exp(clip(x, -Infinity, 0)))),
  gelu: (x) => geluSlope(x),
  gelu_tanh: (x) => geluTanhSlope(x),
  silu: (x) => {
    const s = sigmoid(x)
    return add(s, mul(x, bump(s)))
  },
  mish: (x) => {
    const t = tanh(softplusOf(x))
    return add(t, mul(mul(x, sigmoid(x)), scaleShift(mul(t, t), -1, 1)))
  },
  hard_swish: (x) => add(step(scaleShift(x, 1, -3)), mul(inside(x, 3), scaleShift(x, 1 / 3, 0.5))),
  hard_sigmoid: (x) => scaleShift(inside(x, 3), 1 / 6),
  softplus: (x, p) => sigmoid(scaleShift(x, p)),
  softsign: (x) => {
    const r = reciprocal(scaleShift(abs(x), 1, 1))
    return mul(r, r)
  },
  log_sigmoid: (x) => sigmoid(scaleShift(x, -1)),
}

/** @internal f(x; p, q) of native/kernels/nonlinear/nonlinear.def. */
export const nonlinear = defineOp('nonlinear', {
  reads: 'arguments',
  grad: ({ args: [x, kind, p, q], higher }, dy) => ({
    x: () =>
      higher ? mul(widened(dy), slopes[kind](widened(x), p, q)) : nonlinearGrad(x, isHalf(x) ? roundedLike(dy, x) : dy, kind, p, q),
  }),
  flops: ({ args: [x] }) => 10 * x.size,
  samples: (s) => [
    [s.away(2, 3), 'leaky_relu', 0.1, 0],
    [s.away(2, 3), 'elu', 0.7, 1.5],
    [s.normal(2, 3), 'gelu', 0, 0],
    [s.normal(2, 3), 'gelu_tanh', 0, 0],
    [s.normal(2, 3), 'silu', 0, 0],
    [s.normal(2, 3), 'mish', 0, 0],
    [s.uniform([2, 5], -2.9, 2.9), 'hard_swish', 0, 0],
    [s.uniform([4], 3.1, 5), 'hard_swish', 0, 0],
    [s.uniform([2, 5], -2.9, 2.9), 'hard_sigmoid', 0, 0],
    [s.normal(2, 3), 'softplus', 2, 0],
    [s.away(2, 3), 'softsign', 0, 0],
    [s.normal(2, 3), 'log_sigmoid', 0, 0],
  ],
})

/** @internal dy f'(x; p, q). Constant to the tape: only first derivatives use it, and nothing records those. */
export const nonlinearGrad = defineOp('nonlinear_grad', {
  grad: null,
  flops: ({ args: [x] }) => 12 * x.size,
  samples: (s) => [
    [s.away(2, 3), s.normal(2, 3), 'elu', 0.7, 1.5],
    [s.normal(2, 3), s.normal(2, 3), 'gelu', 0, 0],
    [s.normal(2, 3), s.normal(2, 3), 'mish', 0, 0],
    [s.uniform([2, 5], -5, 5), s.normal(2, 5), 'hard_swish', 0, 0],
  ],
})

/** x P(N <= x) with the exact normal distribution: x (1 + erf(x / sqrt 2)) / 2 (Hendrycks, Gimpel 2016, not the tanh approximation). */
export const gelu = defineOp('gelu', {
  reads: 'arguments',
  grad: ({ args: [x], higher }, dy) => ({
    x: () => (higher ? mul(widened(dy), geluSlope(widened(x))) : nonlinearGrad(x, isHalf(x) ? roundedLike(dy, x) : dy, 'gelu', 0, 0)),
  }),
  samples: (s) => [[s.normal(2, 3)]],
})

/**
 * x above 0, slope x below (Maas et al. 2013); the derivative at 0 is `slope`.
 *
 * @example
 * leakyRelu(tensor([-2, 3]), 0.5).toArray()   // [-1, 3]
 */
export function leakyRelu(x: Tensor, slope = 0.01): Tensor {
  return nonlinear(x, 'leaky_relu', slope, 0)
}

/**
 * x above 0, alpha (e^x - 1) below (Clevert et al. 2016).
 *
 * @example
 * elu(tensor([0, 3])).toArray()   // [0, 3]
 */
export function elu(x: Tensor, alpha = 1): Tensor {
  return nonlinear(x, 'elu', alpha, 1)
}

/**
 * elu with the scale and alpha for which activations keep mean 0 and variance 1 (Klambauer et al. 2017).
 *
 * @example
 * selu(tensor([0])).toArray()   // [0]
 */
export function selu(x: Tensor): Tensor {
  return nonlinear(x, 'elu', 1.6732632423543772, 1.0507009873554805)
}

/**
 * x sigmoid(2 u), u = sqrt(2 / pi) (x + 0.044715 x^3): the tanh approximation of gelu (Hendrycks, Gimpel 2016), which GPT-2 uses.
 *
 * @example
 * geluTanh(tensor([0])).toArray()   // [0]
 */
export function geluTanh(x: Tensor): Tensor {
  return nonlinear(x, 'gelu_tanh', 0, 0)
}

/**
 * x sigmoid(x), also called swish (Elfwing et al. 2018; Ramachandran et al. 2017).
 *
 * @example
 * silu(tensor([0])).toArray()   // [0]
 */
export function silu(x: Tensor): Tensor {
  return nonlinear(x, 'silu', 0, 0)
}

/**
 * x tanh(log(1 + e^x)) (Misra 2019).
 *
 * @example
 * mish(tensor([0])).toArray()   // [0]
 */
export function mish(x: Tensor): Tensor {
  return nonlinear(x, 'mish', 0, 0)
}

/**
 * x hardSigmoid(x) (Howard et al. 2019).
 *
 * @example
 * hardSwish(tensor([-4, 0, 4])).toArray()   // [-0, 0, 4]
 */
export function hardSwish(x: Tensor): Tensor {
  return nonlinear(x, 'hard_swish', 0, 0)
}

/**
 * x / 6 + 1 / 2 limited to [0, 1]; the derivative at -3 and 3 is 0.
 *
 * @example
 * hardSigmoid(tensor([-4, 0, 4])).toArray()   // [0, 0.5, 1]
 */
export function hardSigmoid(x: Tensor): Tensor {
  return nonlinear(x, 'hard_sigmoid', 0, 0)
}

/**
 * log(1 + e^(beta x)) / beta without overflow, beta > 0.
 *
 * @example
 * softplus(tensor([1000])).toArray()   // [1000]
 */
export function softplus(x: Tensor, beta = 1): Tensor {
  return nonlinear(x, 'softplus', beta, 0)
}

/**
 * x / (1 + |x|)
 *
 * @example
 * softsign(tensor([-1, 3])).toArray()   // [-0.5, 0.75]
 */
export function softsign(x: Tensor): Tensor {
  return nonlinear(x, 'softsign', 0, 0)
}

/**
 * log(1 / (1 + e^-x)) without overflow.
 *
 * @example
 * logSigmoid(tensor([-1000])).toArray()   // [-1000]
 */
export function logSigmoid(x: Tensor): Tensor {
  return nonlinear(x, 'log_sigmoid', 0, 0)
}

/**
 * relu limited to 6 (Howard et al. 2017).
 *
 * @example
 * relu6(tensor([-1, 3, 9])).toArray()   // [0, 3, 6]
 */
export function relu6(x: Tensor): Tensor {
  return clip(x, 0, 6)
}

/**
 * x limited to [lo, hi].
 *
 * @example
 * hardTanh(tensor([-3, 0.5, 9])).toArray()   // [-1, 0.5, 1]
 */
export function hardTanh(x: Tensor, lo = -1, hi = 1): Tensor {
  return clip(x, lo, hi)
}

/**
 * x above 0, slope x below with a learned slope (He et al. 2015): a tensor that broadcasts against x, for one per channel of [B, C, H, W] [C, 1, 1].
 *
 * @example
 * prelu(tensor([-2, 3]), tensor(0.5)).toArray()   // [-1, 3]
 */
export function prelu(x: Tensor, slope: Tensor): Tensor {
  return scope(() => add(relu(x), mul(slope, clip(x, -Infinity, 0))))
}
