/**
 * Values of ggml's block formats (ggml-common.h: block_q8_0, block_q4_0, block_q4_1, block_q4_K, block_q6_K):
 *
 *   q8_0   f16 d | 32 x i8                       x = d q
 *   q4_0   f16 d | 16 bytes                      x = d (q - 8); low halves of the bytes are values 0-15, high halves 16-31
 *   q4_1   f16 d | f16 m | 16 bytes              x = d q + m
 *   q4_k   f16 d | f16 e | 12 bytes: 8 x (6-bit s, 6-bit m) | 128 bytes     x = d s q - e m; 8 parts of 32 values
 *   q6_k   128 bytes: low 4 bits | 64 bytes: high 2 bits | 16 x i8 s | f16 d   x = d s (q - 32); 16 parts of 16 values
 *
 * Plain JavaScript: files are readable without the addon. The ops blockEncode and blockDecode do both directions natively.
 */
import { ShapeError, UnsupportedError } from '../../base/errors.js'
import { halfToNumber } from '../dequantize.js'
import { infoOf, type GgufType } from './types.js'

/** Writes the values of `blocks` blocks. */
type Decoder = (data: Uint8Array, blocks: number, out: Float32Array) => void

let table: Float32Array | undefined
/** The value of every half. */
const halves = (): Float32Array => (table ??= Float32Array.from({ length: 65536 }, (_, bits) => halfToNumber(bits)))

const q8_0: Decoder = (data, blocks, out) => {
  const half = halves()
  const codes = new Int8Array(data.buffer, data.byteOffset, data.byteLength)
  for (let b = 0; b < blocks; b++) {
    const at = 34 * b
    const d = half[data[at]! | (data[at + 1]! << 8)]!
    for (let i = 0; i < 32; i++) out[32 * b + i] = d * codes[at + 2 + i]!
  }
}

const q4_0: Decoder = (data, blocks, out) => {
  const half = halves()
  for (let b = 0; b < blocks; b++) {
    const at = 18 * b
    const d = half[data[at]! | (data[at + 1]! << 8)]!
    for (let i = 0; i < 16; i++) {
      const two = data[at + 2 + i]!
      out[32 * b + i] = d * ((two & 15) - 8)
      out[32 * b + 16 + i] = d * ((two >> 4) - 8)
    }
  }
}

const q4_1: Decoder = (data, blocks, out) => {
  const half = halves()
  for (let b = 0; b < blocks; b++) {
    const at = 20 * b
    const d = half[data[at]! | (data[at + 1]! << 8)]!
    const m = half[data[at + 2]! | (data[at + 3]! << 8)]!
    for (let i = 0; i < 16; i++) {
      const two = data[at + 4 + i]!
      out[32 * b + i] = d * (two & 15) + m
      out[32 * b + 16 + i] = d * (two >> 4) + m
    }
  }
}

const q4_k: Decoder = (data, blocks, out) => {
  const half = halves()
  for (let b = 0; b < blocks; b++) {
    const at = 144 * b
    const d = half[data[at]! | (data[at + 1]! << 8)]!
    const e = half[data[at + 2]! | (data[at + 3]! << 8)]!
    for (let j = 0; j < 8; j++) {
      // Parts 0-3 have their 6 bits in bytes 0-3 (s) and 4-7 (m); parts 4-7 in bytes 8-11 and the high bits of the others.
      const [low, high] = [data[at + 4 + (j & 3)]!, data[at + 8 + (j & 3)]!]
      const both = data[at + 12 + (j & 3)]!
      const s = j < 4 ? low & 63 : (both & 15) | ((low >> 6) << 4)
      const m = j < 4 ? high & 63 : (both >> 4) | ((high >> 6) << 4)
      const [scale, offset, shift] = [Math.fround(d * s), Math.fround(e * m), 4 * (j & 1)]
      const [from, to] = [at + 16 + 32 * (j >> 1), 256 * b + 32 * j]
      for (let i = 0; i < 32; i++) out[to + i] = Math.fround(scale * ((data[from + i]! >> shift) & 15)) - offset
    }
  }
}

const q6_k: Decoder = (data, blocks, out) => {
  const half = halves()
  const signed = new Int8Array(data.buffer, data.byteOffset, data.byteLength)
  for (let b = 0; b < blocks; b++) {
    const at = 210 * b
    const d = half[data[at + 208]! | (data[at + 209]! << 8)]!
    for (let part = 0; part < 16; part++) {
      // Eight parts share 64 bytes of low bits and 32 of high ones; parts 4-7 are the high halves of the bytes of 0-3.
      const [h, j] = [part >> 3, part & 7]
      const scale = Math.fround(d * signed[at + 192 + part]!)
      const [low, high] = [at + 64 * h + 16 * (j & 3), at + 128 + 32 * h + 16 * (j & 1)]
      const [shift, high2] = [j < 4 ? 0 : 4, 2 * (j >> 1)]
      for (let i = 0; i < 16; i++)
        out[256 * b + 16 * part + i] = scale * ((((data[low + i]! >> shift) & 15) | (((data[high + i]! >> high2) & 3) << 4)) - 32)
    }
  }
}

const decoders = { q8_0, q4_0, q4_1, q4_k, q6_k } as const satisfies Partial<Record<GgufType, Decoder>>

/** Block formats with a codec. */
export type BlockType = keyof typeof decoders
export const blockTypes = Object.keys(decoders) as readonly BlockType[]

export function isBlockType(type: string): type is BlockType {
  return Object.hasOwn(decoders, type)
}

/**
 * Values of blocks as f32.
 *
 * - a type without codec: ERR_UNSUPPORTED; bytes that are no whole number of blocks: ERR_SHAPE
 *
 * @example
 * decodeBlocks('q8_0', new Uint8Array(34))   // 32 zeros
 */
export function decodeBlocks(type: BlockType, data: Uint8Array, where = 'decodeBlocks'): Float32Array {
  if (!isBlockType(type))
    throw new UnsupportedError('ERR_UNSUPPORTED', `${where}: no codec for ${JSON.stringify(type)}; known: ${blockTypes.join(', ')}`, {
      details: { what: type },
    })
  const { block, bytes } = infoOf(type)
  if (data.byteLength % bytes !== 0)
    throw new ShapeError('ERR_SHAPE', `${where}: ${type} takes a multiple of ${bytes} bytes, got ${data.byteLength}`)
  const out = new Float32Array((data.byteLength / bytes) * block)
  decoders[type](data, data.byteLength / bytes, out)
  return out
}
