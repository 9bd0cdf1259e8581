/**
 * Layer normalisation over the last axis (Ba, Kiros, Hinton 2016, eq. 4). First derivatives run in one native call; when an outer tape
 * records the rule it is spelled out in elementary ops of x, so that second derivatives exist.
 */
import { defineOp, reshape, sum } from '../autograd/index.js'
import { scope, type Tensor } from '../tensor/index.js'
import { mul, scaleShift, sub } from './arithmetic.js'
import { reciprocal, sqrt } from './smooth.js'

const forward = defineOp('layer_norm', {
  reads: 'arguments',
  grad: ({ args: [x, gamma, , eps], results: [, mean, rstd], higher }, dy) => {
    if (!higher) {
      const [dx, dgamma, dbeta] = layerNormGrad(x, gamma, mean!, rstd!, dy)
      return { x: () => dx, gamma: () => dgamma, beta: () => dbeta }
    }
    const c = x.shape[x.rank - 1]!
    const average = (t: Tensor): Tensor => scaleShift(sum(t, [-1], true), 1 / c)
    const overRows = (t: Tensor): Tensor => sum(reshape(t, [x.size / c, c]), [0], false)
    const centred = sub(x, average(x))
    const scale = reciprocal(sqrt(scaleShift(average(mul(centred, centred)), 1, eps)))
    const normal = mul(centred, scale)
    return {
      x: () => {
        const g = gamma ? mul(dy, gamma) : dy
        return mul(scale, sub(sub(g, average(g)), mul(normal, average(mul(g, normal)))))
      },
      gamma: () => overRows(mul(dy, normal)),
      beta: () => overRows(dy),
    }
  },
  flops: ({ args: [x] }) => 8 * x.size,
  samples: (s) => [
    [s.normal(3, 4), s.normal(4), s.normal(4), 1e-5],
    [s.normal(2, 2, 5), null, null, 0.1],
    [s.normal(2, 3), s.normal(3), null, 1e-3],
  ],
})

/** Gradients of all three inputs in one pass. Constant to the tape: only first derivatives use it, and nothing records those. */
const layerNormGrad = defineOp('layer_norm_grad', {
  grad: null,
  flops: ({ args: [x] }) => 12 * x.size,
  samples: (s) => [
    [s.normal(3, 4), s.normal(4), s.normal(3), s.uniform([3], 0.5, 2), s.normal(3, 4)],
    [s.normal(3, 4), null, s.normal(3), s.uniform([3], 0.5, 2), s.normal(3, 4)],
  ],
})

/** (x - mean) / sqrt(variance + eps) * gamma + beta over the last axis of x [..., C]; gamma and beta [C]. */
export function layerNorm(x: Tensor, gamma: Tensor | null = null, beta: Tensor | null = null, eps = 1e-5): Tensor {
  return scope(() => forward(x, gamma, beta, eps)[0])
}
