/** Codes of a layer's weight that disturb the layer's output least, by the second moments of its input: all groups of a layer, at scales that are given. */
import type { Weight } from '../../nn/index.js'
import type { Gram } from '../observe/gram.js'
import type { Encoding } from './encode.js'
import { roundWithFeedback, type FeedbackOptions, type Rounding } from './feedback.js'

export interface OutputCodes {
  /** [rows, cols]. */
  readonly q: Int8Array
  /** Squared error of the layer's output on the calibration data over that of rounding to nearest; at most 1. */
  readonly share: number
}

/** `where` is for messages. Zeros of masked weights stay 0. */
export async function outputCodes(
  where: string,
  weight: Weight,
  encoding: Encoding,
  scales: Float32Array,
  gram: Gram,
  options: FeedbackOptions & { readonly breathe: () => Promise<void> },
): Promise<OutputCodes> {
  const { rows, cols, values, codes } = encoding
  const q = new Int8Array(rows * cols)
  const perGroup = rows / gram.groups
  const keepZeros = weight.trainable().some(({ mask }) => mask !== null)
  let [after, nearest] = [0, 0]
  for (let g = 0; g < gram.groups; g++) {
    const at = g * perGroup
    const part = values.subarray(at * cols, (at + perGroup) * cols)
    const products = gram.products.subarray(g * cols * cols, (g + 1) * cols * cols)
    const rounding = { ...placed(encoding, scales, at), values: part, rows: perGroup, cols, codes, keepZeros }
    const done = await roundWithFeedback(where, rounding, products, options, options.breathe)
    q.set(done.q, at * cols)
    after += done.error
    nearest += done.nearest
  }
  return { q, share: nearest > 0 ? after / nearest : 1 }
}

/** Scale and zero point by place, rows counted from `first`. */
function placed({ shape: [lead, groups], cols, grids }: Encoding, scales: Float32Array, first: number): Pick<Rounding, 'scale' | 'zero'> {
  const run = Math.ceil(cols / groups)
  const index = (r: number, c: number): number => (lead === 1 ? 0 : (first + r) * groups + Math.floor(c / run))
  return { scale: (r, c) => scales[index(r, c)]!, zero: (r, c) => grids[index(r, c)]!.zero }
}

/** Mean square of each column's input, [groups * K]; none is quite 0, so that columns that were never seen have a scale. */
export function meanSquares({ groups, width, products, count }: Gram): Float32Array {
  const out = Float32Array.from({ length: groups * width }, (_, i) => products[i * width + (i % width)]! / count)
  const least = 1e-3 * (out.reduce((a, b) => a + b, 0) / out.length) || 1
  return out.map((v) => Math.max(v, least))
}
