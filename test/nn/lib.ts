/** Help for the tests of modules, models and weights. */
import { expect } from 'vitest'
import { Rng } from '../../ts/base/rng.js'
import { sizeOf } from '../../ts/base/shape.js'
import { memory } from '../../ts/native/devices.js'
import { tensor, type Tensor } from '../../ts/tensor/index.js'

/** Normal values by seed. */
export function normal(shape: readonly number[], seed = 1, deviation = 1): Tensor {
  return tensor(Rng.of(seed, 'test').fillNormal(new Float32Array(sizeOf(shape)), 0, deviation), shape)
}

export function floats(t: Tensor): Float32Array {
  return t.read() as Float32Array
}

export function maxDifference(a: Tensor, b: Tensor): number {
  expect(a.shape).toEqual(b.shape)
  const y = floats(b)
  return floats(a).reduce((m, v, i) => Math.max(m, Math.abs(v - y[i]!)), 0)
}

/** Runs fn and expects that no tensor is left. */
export function leavesNothing<T>(fn: () => T): T {
  const before = memory().tensors
  const result = fn()
  expect(memory().tensors - before, 'tensors left behind').toBe(0)
  return result
}

export const code = (c: string, message = /./): unknown => expect.objectContaining({ code: c, message: expect.stringMatching(message) })
