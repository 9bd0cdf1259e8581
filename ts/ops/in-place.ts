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

/** AdamW (Loshchilov, Hutter 2019, algorithm 2) on p with moments m and v. Where a bit of `mask` is 0, p stays exactly 0. */
export function adamwStep(p: Tensor, g: Tensor, m: Tensor, v: Tensor, mask: Tensor | null, o: AdamWOptions): void {
  adamwOp(p, g, m, v, mask, o.lr, o.beta1, o.beta2, o.eps, o.weightDecay, o.step)
}
