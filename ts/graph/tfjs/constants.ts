/** Constants in another arrangement: computed when they are read. */
import { sizeOf, stridesOf } from '../../base/shape.js'
import type { GraphTensor } from '../graph.js'

/** Values of an f32 constant. */
export function floatsOf(t: GraphTensor): Float32Array {
  const bytes = t.read()
  return new Float32Array(bytes.buffer.slice(bytes.byteOffset, bytes.byteOffset + bytes.byteLength))
}

export function f32(shape: readonly number[], values: () => Float32Array): GraphTensor {
  return {
    dtype: 'f32',
    shape,
    read: () => {
      const v = values()
      return new Uint8Array(v.buffer, v.byteOffset, v.byteLength)
    },
  }
}

/** The constant with its axes in the order `perm`; f32 only. */
export function permuted(t: GraphTensor, perm: readonly number[]): GraphTensor {
  const shape = perm.map((p) => t.shape[p]!)
  return f32(shape, () => {
    const from = floatsOf(t)
    const out = new Float32Array(from.length)
    const strides = stridesOf(t.shape)
    const step = perm.map((p) => strides[p]!)
    const rank = shape.length
    const at = Array<number>(rank).fill(0)
    for (let i = 0, place = 0; i < out.length; i++) {
      out[i] = from[place]!
      for (let d = rank - 1; d >= 0; d--) {
        place += step[d]!
        if (++at[d]! < shape[d]!) break
        place -= step[d]! * shape[d]!
        at[d] = 0
      }
    }
    return out
  })
}

/** The constant under another shape of the same size. */
export function reshaped(t: GraphTensor, shape: readonly number[]): GraphTensor {
  return sizeOf(shape) === sizeOf(t.shape) ? { ...t, shape } : t
}
