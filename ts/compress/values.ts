/** The values that a weight stands for, in f32 whatever it stores. */
import type { Weight } from '../nn/index.js'
import { cast } from '../ops/index.js'
import { scope, type Tensor } from '../tensor/index.js'

export function valuesOf(t: Tensor): Float32Array {
  return scope(() => (t.dtype === 'f32' ? t : cast(t, 'f32')).read()) as Float32Array
}

export function denseValues(w: Weight): Float32Array {
  return scope(() => valuesOf(w.dense()))
}
