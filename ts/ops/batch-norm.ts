/**
 * Batch normalisation of x [B, C, ...] per channel as one op (Ioffe, Szegedy 2015, algorithm 1). First derivatives run in one native call; when an outer tape
 * records the rule it is spelled out in elementary ops of x.
 */
import { defineOp, reshape, sum } from '../autograd/index.js'
import type { Tensor } from '../tensor/index.js'
import { mul, scaleShift, sub } from './arithmetic.js'
import { reciprocal, sqrt } from './smooth.js'

/** @internal y, and mean and variance of the batch, which are constant to the tape. See `batchNorm`. */
export const batchNormOp = defineOp('batch_norm', {
  grad: ({ args: [x, gamma, , eps], results: [, mean, variance], higher }, dy) => {
    if (!higher) {
      const [dx, dgamma, dbeta] = batchNormGrad(x, gamma, mean!, variance!, dy, eps)
      return { x: () => dx, gamma: () => dgamma, beta: () => dbeta }
    }
    const channels = x.shape[1]!
    const axes = x.shape.map((_, i) => i).filter((i) => i !== 1)
    const average = (t: Tensor): Tensor => scaleShift(sum(t, axes, true), channels / x.size)
    const wide = (t: Tensor): Tensor =>
      reshape(
        t,
        x.shape.map((_, i) => (i === 1 ? channels : 1)),
      )
    const centred = sub(x, average(x))
    const scale = reciprocal(sqrt(scaleShift(average(mul(centred, centred)), 1, eps)))
    const normal = mul(centred, scale)
    return {
      x: () => {
        const g = gamma ? mul(dy, wide(gamma)) : dy
        return mul(scale, sub(sub(g, average(g)), mul(normal, average(mul(g, normal)))))
      },
      gamma: () => sum(mul(dy, normal), axes, false),
      beta: () => sum(dy, axes, false),
    }
  },
  flops: ({ args: [x] }) => 8 * x.size,
  samples: (s) => [
    [s.normal(3, 2, 4), s.normal(2), s.normal(2), 1e-3],
    [s.normal(2, 2, 3, 2), null, null, 0.1],
    [s.normal(4, 3), s.normal(3), null, 1e-3],
  ],
})

/** Gradients of all three inputs in one call. Constant to the tape: only first derivatives use it, and nothing records those. */
const batchNormGrad = defineOp('batch_norm_grad', {
  grad: null,
  flops: ({ args: [x] }) => 11 * x.size,
  samples: (s) => [
    [s.normal(3, 2, 4), s.normal(2), s.normal(2), s.uniform([2], 0.5, 2), s.normal(3, 2, 4), 1e-3],
    [s.normal(3, 2, 4), null, s.normal(2), s.uniform([2], 0.5, 2), s.normal(3, 2, 4), 0.1],
  ],
})
