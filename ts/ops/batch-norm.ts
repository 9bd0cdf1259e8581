/**
 * Batch normalisation of x [B, C, ...] per channel as one op (Ioffe, Szegedy 2015, algorithm 1), if asked for together with the sum and the ReLU that follow
 * it in residual nets. First derivatives run in one native call; when an outer tape records the rule it is spelled out in elementary ops of x.
 */
import { defineOp, reshape, sum } from '../autograd/index.js'
import type { Tensor } from '../tensor/index.js'
import { mul, scaleShift, sub } from './arithmetic.js'
import { gate } from './piecewise.js'
import { reciprocal, sqrt } from './smooth.js'

/** @internal y, and mean and variance of the batch, which are constant to the tape. See `batchNorm`. */
export const batchNormOp = defineOp('batch_norm', {
  grad: ({ args: [x, gamma, , residual, eps, clamped], y, results: [, mean, variance], higher }, dy) => {
    if (!higher) {
      const gated = clamped && residual !== null
      const [dx, dgamma, dbeta, dresidual] = batchNormGrad(x, gamma, mean!, variance!, clamped ? y : null, dy, eps, gated)
      return { x: () => dx, gamma: () => dgamma, beta: () => dbeta, residual: () => (gated ? dresidual : dy) }
    }
    const channels = x.shape[1]!
    const axes = x.shape.map((_, i) => i).filter((i) => i !== 1)
    const average = (t: Tensor): Tensor => scaleShift(sum(t, axes, true), channels / x.size)
    const wide = (t: Tensor): Tensor =>
      reshape(
        t,
        x.shape.map((_, i) => (i === 1 ? channels : 1)),
      )
    const dz = clamped ? gate(dy, y) : dy
    const centred = sub(x, average(x))
    const scale = reciprocal(sqrt(scaleShift(average(mul(centred, centred)), 1, eps)))
    const normal = mul(centred, scale)
    return {
      x: () => {
        const g = gamma ? mul(dz, wide(gamma)) : dz
        return mul(scale, sub(sub(g, average(g)), mul(normal, average(mul(g, normal)))))
      },
      gamma: () => sum(mul(dz, normal), axes, false),
      beta: () => sum(dz, axes, false),
      residual: () => dz,
    }
  },
  flops: ({ args: [x] }) => 8 * x.size,
  samples: (s) => [
    [s.normal(3, 2, 4), s.normal(2), s.normal(2), null, 1e-3, false],
    [s.normal(2, 2, 3, 2), null, null, null, 0.1, false],
    [s.normal(4, 3), s.normal(3), null, s.normal(4, 3), 1e-3, false],
    // Before the ReLU nothing lies near 0: |norm| <= 3.3, the residual is 4 or more.
    [s.uniform([3, 2, 2], -1, 1), s.uniform([2], 0.5, 1), s.uniform([2], -1, 1), scaleShift(s.away(3, 2, 2), 40, 0), 0.1, true],
  ],
})

/** Gradients of all inputs in one call. Constant to the tape: only first derivatives use it, and nothing records those. */
const batchNormGrad = defineOp('batch_norm_grad', {
  grad: null,
  flops: ({ args: [x] }) => 11 * x.size,
  samples: (s) => [
    [s.normal(3, 2, 4), s.normal(2), s.normal(2), s.uniform([2], 0.5, 2), null, s.normal(3, 2, 4), 1e-3, false],
    [s.normal(3, 2, 4), null, s.normal(2), s.uniform([2], 0.5, 2), s.normal(3, 2, 4), s.normal(3, 2, 4), 0.1, true],
  ],
})
