/** Smaller tensors out of larger ones: only some positions along some axes. Copies; any dtype of whole bytes. */
import { bytesPerElement, type RawTensor } from '../../base/dtype.js'
import { sizeOf } from '../../base/shape.js'

/** Positions to keep along each axis, ascending; null or left out: all. */
export type Keep = readonly (readonly number[] | null | undefined)[]

/** The values at the kept positions. */
export function keepRaw(raw: RawTensor, keep: Keep): RawTensor {
  const { dtype, shape: from } = raw
  const last = from.findLastIndex((_, axis) => keep[axis])
  if (last < 0) return raw
  const shape = from.map((d, axis) => keep[axis]?.length ?? d)
  const bytes = bytesPerElement(dtype)
  const block = sizeOf(from.slice(last + 1)) * bytes
  const data = new Uint8Array(sizeOf(shape) * bytes)
  // Single elements of four bytes move as numbers: a million slices of a byte array take a second.
  const words = block === 4 && raw.data.byteOffset % 4 === 0
  const [source, target] = [
    words ? new Uint32Array(raw.data.buffer, raw.data.byteOffset, raw.data.byteLength / 4) : raw.data,
    words ? new Uint32Array(data.buffer) : data,
  ]
  const step = words ? 1 : block
  let at = 0
  const copy = (axis: number, row: number): void => {
    const list = keep[axis]
    for (let i = 0; i < shape[axis]!; i++) {
      const place = row * from[axis]! + (list ? list[i]! : i)
      if (axis < last) copy(axis + 1, place)
      else if (step === 1) target[at++] = source[place]!
      else {
        target.set(source.subarray(place * step, (place + 1) * step), at)
        at += step
      }
    }
  }
  copy(0, 0)
  return { dtype, shape, data }
}

/** The bits (as in ops.def) of the elements at the kept positions of a tensor of this shape. */
export function keepBits(bits: Uint8Array, shape: readonly number[], keep: Keep): Uint8Array {
  const flags = new Uint8Array(sizeOf(shape))
  for (let i = 0; i < flags.length; i++) flags[i] = (bits[i >> 3]! >> (i & 7)) & 1
  const kept = keepRaw({ dtype: 'u8', shape, data: flags }, keep).data
  const out = new Uint8Array(Math.ceil(kept.length / 8))
  for (let i = 0; i < kept.length; i++) if (kept[i]) out[i >> 3]! |= 1 << (i & 7)
  return out
}
