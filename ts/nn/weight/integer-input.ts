/** What a quantized input becomes before it meets the weight's codes, and what stands in where integers do not multiply. */
import { clip, round, scaleShift } from '../../ops/index.js'
import type { JsonObject } from '../../base/json-types.js'
import type { Tensor } from '../../tensor/index.js'
import type { InputQuantization } from './weight.js'

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
