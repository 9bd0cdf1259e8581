/**
 * Mixed precision: inside `withPrecision('bf16' | 'f16', ...)` the operands and results of matrix products and convolutions are rounded to that
 * format, and so are the gradients that flow through those places; sums are f32. The design: docs/adr/0005-mixed-precision.md.
 */
import { defineOp, definePrimitive } from '../autograd/index.js'
import type { Tensor } from '../tensor/index.js'

export type Precision = 'f32' | 'bf16' | 'f16'
export type HalfDType = Exclude<Precision, 'f32'>

const roundOp = defineOp('round_to', {
  grad: null,
  samples: (s) => [
    [s.normal(2, 3), 'bf16'],
    [s.normal(5), 'f16'],
  ],
})

const rounded: (x: Tensor, dtype: HalfDType) => readonly Tensor[] = definePrimitive<[Tensor, HalfDType], 'x'>({
  name: 'round_to',
  inputs: { x: 0 },
  forward: (x, dtype) => [roundOp(x, dtype)],
  grad: ({ args: [, dtype] }, dy) => ({ x: () => rounded(dy, dtype)[0]! }),
})

/**
 * x (f32, any shape) with each value rounded to the nearest of a 16-bit format (ties to even; beyond f16's 65504 to infinity), still as f32.
 * Its gradient is rounded to the same format. ERR_DTYPE for another dtype of x or another format.
 *
 * @example
 * ops.roundTo(tensor([1.001, 70000]), 'f16')   // 1.0009765625, Infinity
 */
export function roundTo(x: Tensor, dtype: HalfDType): Tensor {
  return rounded(x, dtype)[0]!
}

let current: HalfDType | null = null

/**
 * Runs fn (not asynchronous) with matrix products in mixed precision. Gradients of what was recorded inside are rounded too, also when they are
 * computed after fn.
 *
 * @example
 * const y = ops.withPrecision('bf16', () => model.forward(x))
 */
export function withPrecision<T>(precision: Precision, fn: () => T): T {
  const before = current
  current = precision === 'f32' ? null : precision
  try {
    return fn()
  } finally {
    current = before
  }
}

/** @internal What an op of matrix products sees of an operand, and gives of a result: x itself unless a 16-bit precision is in force. */
export function narrowed<T extends Tensor | null>(x: T): T {
  return current && x && x.dtype === 'f32' ? (roundTo(x, current) as T) : x
}
