/**
 * Normalisation by the root mean square over the last axis (Zhang, Sennrich 2019, eq. 4). First derivatives run in one native call; when an outer tape
 * records the rule it is spelled out in elementary ops of x, so that second derivatives exist.
 */
import { defineOp, reshape, sum } from '../autograd/index.js'
import { scope, type Tensor } from '../tensor/index.js'
import { mul, scaleShift, sub } from './arithmetic.js'
import { reciprocal, sqrt } from './smooth.js'

const forward = defineOp('rms_norm', {
  grad: ({ args: [x, gamma, eps], results: [, rstd], higher }, dy) => {
    if (!higher) {
      const [dx, dgamma] = rmsNormGrad(x, gamma, rstd!, dy)
      return { x: () => dx, gamma: () => dgamma }
    }
    const c = x.shape[x.rank - 1]!
    const average = (t: Tensor): Tensor => scaleShift(sum(t, [-1], true), 1 / c)
    const scale = reciprocal(sqrt(scaleShift(average(mul(x, x)), 1, eps)))
    const normal = mul(x, scale)
    return {
      x: () => {
        const g = gamma ? mul(dy, gamma) : dy
        return mul(scale, sub(g, mul(normal, average(mul(g, normal)))))
      },
      gamma: () => sum(reshape(mul(dy, normal), [x.size / c, c]), [0], false),
    }
  },
  flops: ({ args: [x] }) => 5 * x.size,
  samples: (s) => [
    [s.normal(3, 4), s.normal(4), 1e-5],
    [s.normal(2, 2, 5), null, 0.1],
  ],
})

/** Both gradients in one pass. Constant to the tape: only first derivatives use it, and nothing records those. */
const rmsNormGrad = defineOp('rms_norm_grad', {
  grad: null,
  flops: ({ args: [x] }) => 9 * x.size,
  samples: (s) => [
    [s.normal(3, 4), s.normal(4), s.uniform([3], 0.5, 2), s.normal(3, 4)],
    [s.normal(3, 4), null, s.uniform([3], 0.5, 2), s.normal(3, 4)],
  ],
})

/**
 * x / sqrt(mean of x^2 + eps) * gamma over the last axis of x [..., C]; gamma [C] or null.
 *
 * @example
 * rmsNorm(tensor([[3, 3]]), null, 0).toArray()   // [[1, 1]]
 */
export function rmsNorm(x: Tensor, gamma: Tensor | null = null, eps = 1e-6): Tensor {
  return scope(() => forward(x, gamma, eps)[0])
}
