/** When a quantized input can meet the weight's codes in integer arithmetic, and what stands in where it cannot. */
import { clip, pair, round, scaleShift } from '../../ops/index.js'
import type { JsonObject } from '../../base/json-types.js'
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

/** x within the values of the codes that may be used, where these are not all of u8: kernels clamp to u8 only. */
export function within(x: Tensor, { scale, zero, limits }: InputQuantization): Tensor {
  return limits ? clip(x, (limits[0] - zero) * scale, (limits[1] - zero) * scale) : x
}

/** The values that the u8 codes of x stand for. */
export function onGrid(x: Tensor, { scale, zero, limits = [0, 255] }: InputQuantization): Tensor {
  return scaleShift(clip(round(scaleShift(x, 1 / scale, 0)), limits[0] - zero, limits[1] - zero), scale, 0)
}

/** For a file. */
export function plainInput({ scale, zero, limits }: InputQuantization): JsonObject {
  return { scale, zero, ...(limits ? { limits: [...limits] } : {}) }
}
