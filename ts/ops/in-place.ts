/**
 * The ops that change a tensor in place. They return nothing and no tape records them: call them between steps, not inside a function that
 * is being differentiated. The changed tensors must be contiguous, and no asynchronous call may be reading them (ERR_BUSY).
 */
import { defineOp } from '../autograd/index.js'
import type { Tensor } from '../tensor/index.js'
import { pattern } from './pattern.js'

/** Six bits. */
const mask = (): Tensor => pattern('u8', [1], 0b101101, 0b101101)

const assignOp = defineOp('assign', { grad: null, samples: (s) => [[s.normal(2, 3), s.normal(2, 3)]] })

const sgdOp = defineOp('sgd_step', {
  grad: null,
  samples: (s) => [
    [s.normal(2, 3), s.normal(2, 3), s.normal(2, 3), mask(), 0.1, 0.9, 1e-4, false],
    [s.normal(5), s.normal(5), s.normal(5), null, 0.1, 0.9, 0, true],
  ],
})

const adamwOp = defineOp('adamw_step', {
  grad: null,
  samples: (s) => [[s.normal(2, 3), s.normal(2, 3), s.normal(2, 3), s.uniform([2, 3], 0, 1), mask(), 0.1, 0.9, 0.999, 1e-8, 0.01, 3]],
})

const adamOp = defineOp('adam_step', {
  grad: null,
  samples: (s) => [[s.normal(2, 3), s.normal(2, 3), s.normal(2, 3), s.uniform([2, 3], 0, 1), mask(), 0.1, 0.9, 0.999, 1e-8, 0.01, 3]],
})

const rmspropOp = defineOp('rmsprop_step', {
  grad: null,
  samples: (s) => [
    [s.normal(2, 3), s.normal(2, 3), s.uniform([2, 3], 4, 5), s.normal(2, 3), s.normal(2, 3), mask(), 0.1, 0.99, 1e-8, 0.9, 0.01, true],
    [s.normal(5), s.normal(5), s.uniform([5], 0, 1), s.normal(0), s.normal(0), null, 0.1, 0.9, 1e-8, 0, 0, false],
  ],
})

const lambOp = defineOp('lamb_step', {
  grad: null,
  samples: (s) => [
    [s.normal(2, 3), s.normal(2, 3), s.normal(2, 3), s.uniform([2, 3], 0, 1), mask(), 0.1, 0.9, 0.999, 1e-6, 0.01, 0, 10, 3],
  ],
})

/** x := value (same shape and dtype). */
export function assign(x: Tensor, value: Tensor): void {
  assignOp(x, value)
}

export interface SgdOptions {
  readonly lr: number
  readonly momentum: number
  readonly weightDecay: number
  readonly nesterov: boolean
}

/** velocity := momentum * velocity + g + weightDecay * p; p := p - lr * velocity. Where a bit of `mask` is 0, p stays exactly 0. */
export function sgdStep(p: Tensor, g: Tensor, velocity: Tensor, mask: Tensor | null, o: SgdOptions): void {
  sgdOp(p, g, velocity, mask, o.lr, o.momentum, o.weightDecay, o.nesterov)
}

export interface AdamWOptions {
  readonly lr: number
  readonly beta1: number
  readonly beta2: number
  readonly eps: number
  readonly weightDecay: number
  /** 1 for the first step. */
  readonly step: number
}

/**
 * Adam (Kingma, Ba 2015, algorithm 1) on p with moments m and v; weightDecay * p is added to the gradient (L2). p, g, m, v of one shape and dtype
 * (f32, f64); ERR_OPTION for a beta outside [0, 1) or step < 1. Where a bit of `mask` is 0, p stays exactly 0.
 *
 * @example
 * const [p, m, v] = [tensor([1]), zeros([1]), zeros([1])]
 * ops.adamStep(p, tensor([2]), m, v, null, { lr: 0.1, beta1: 0.9, beta2: 0.999, eps: 1e-8, weightDecay: 0, step: 1 })   // p: 0.9
 */
export function adamStep(p: Tensor, g: Tensor, m: Tensor, v: Tensor, mask: Tensor | null, o: AdamWOptions): void {
  adamOp(p, g, m, v, mask, o.lr, o.beta1, o.beta2, o.eps, o.weightDecay, o.step)
}

export interface RmspropOptions {
  readonly lr: number
  /** Decay of the mean square, in [0, 1). */
  readonly alpha: number
  readonly eps: number
  readonly momentum: number
  readonly weightDecay: number
  readonly centered: boolean
}

/**
 * RMSprop (Tieleman, Hinton 2012; centered: Graves 2013, eq. 38-41), with L2 decay and momentum as torch has them: square := alpha square +
 * (1 - alpha) g^2, velocity := momentum velocity + g / (root + eps), p := p - lr velocity; root is sqrt(square), centered sqrt(square - mean^2).
 * `mean` may be [0] unless centered, `velocity` without momentum; else they are of p's shape (ERR_SHAPE). Where a bit of `mask` is 0, p stays exactly 0.
 */
export function rmspropStep(
  p: Tensor,
  g: Tensor,
  slots: { readonly square: Tensor; readonly mean: Tensor; readonly velocity: Tensor },
  mask: Tensor | null,
  o: RmspropOptions,
): void {
  rmspropOp(p, g, slots.square, slots.mean, slots.velocity, mask, o.lr, o.alpha, o.eps, o.momentum, o.weightDecay, o.centered)
}

export interface LambOptions extends AdamWOptions {
  /** phi(z) = min(max(z, phiMin), phiMax), 0 <= phiMin <= phiMax. */
  readonly phiMin: number
  readonly phiMax: number
}

/**
 * LAMB (You et al. 2020, algorithm 2) on one weight: u = m' / (sqrt(v') + eps) + weightDecay p with the corrected moments,
 * p := p - lr phi(|p|) / |u| u; the ratio is 1 where a norm is 0. Norms are summed in f64, the same for any number of threads. Where a bit of
 * `mask` is 0, p stays exactly 0 and counts in no norm.
 */
export function lambStep(p: Tensor, g: Tensor, m: Tensor, v: Tensor, mask: Tensor | null, o: LambOptions): void {
  lambOp(p, g, m, v, mask, o.lr, o.beta1, o.beta2, o.eps, o.weightDecay, o.phiMin, o.phiMax, o.step)
}

/** AdamW (Loshchilov, Hutter 2019, algorithm 2) on p with moments m and v. Where a bit of `mask` is 0, p stays exactly 0. */
export function adamwStep(p: Tensor, g: Tensor, m: Tensor, v: Tensor, mask: Tensor | null, o: AdamWOptions): void {
  adamwOp(p, g, m, v, mask, o.lr, o.beta1, o.beta2, o.eps, o.weightDecay, o.step)
}
