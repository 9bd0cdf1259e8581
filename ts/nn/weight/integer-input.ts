/** When a quantized input can meet the weight's codes in integer arithmetic, and what stands in where it cannot. */
import { clip, pair, round, scaleShift } from '../../ops/index.js'
import type { Tensor } from '../../tensor/index.js'
import type { InputQuantization, Size2d, WeightUse } from './weight.js'

/** Zeros on each side when the integer convolution has the case (no groups, no dilation, equal sides), else null. */
export function plainPadding(use: WeightUse): Size2d | null {
  if (use.op !== 'conv2d') return null
  const { padding, dilation = 1, groups = 1 } = use
  const sides = typeof padding === 'number' ? [padding, padding] : padding
  if (groups !== 1 || pair(dilation).some((d) => d !== 1) || sides === 'same') return null
  return sides.every((p) => typeof p === 'number') ? (sides as Size2d) : null
}

/** The values that the u8 codes of x stand for. */
export function onGrid(x: Tensor, { scale, zero }: InputQuantization): Tensor {
  return scaleShift(clip(round(scaleShift(x, 1 / scale, 0)), -zero, 255 - zero), scale, 0)
}
