/**
 * HQQ, half-quadratic quantization (Badri and Shaji 2023, "Half-quadratic quantization of large machine learning models"): no data. The zero points of groups are
 * moved so that an l_p norm (p < 1) of the error is small, which lets a few outliers be wrong instead of all values a little: in turns, the error's outliers are
 * shrunk off (their equation 6) and the zero point is the mean of what then fits best (equation 9). Zero points are not whole numbers: 4 bytes each in a file.
 */
import { z } from 'zod'
import { QuantizedWeight, type PlacedWeight } from '../../nn/index.js'
import { tensor } from '../../tensor/index.js'
import { convertWeights } from '../convert.js'
import { definePass } from '../pass.js'
import { findGrids } from './encode.js'
import { halfScales } from './half.js'

const NAME = 'quantize/hqq'

const options = z.strictObject({
  bits: z.int().min(2).max(8).default(4),
  /** Most values that share a scale and a zero point; rows that it does not divide are cut evenly. */
  groupSize: z
    .int()
    .min(2)
    .max(2 ** 20)
    .default(64),
  scales: z.enum(['f32', 'f16']).default('f16'),
  /** p of the norm. */
  norm: z.number().gt(0).max(1).default(0.7),
  iterations: z.int().min(1).max(1000).default(20),
})

/** Strength of the coupling at first, and its growth per iteration: those of the authors. */
const [BETA, KAPPA] = [10, 1.01]
/** 1.5 * 2^52: adding and subtracting it rounds a double half to even. */
const MAGIC = 6755399441055744

interface Group {
  readonly values: Float32Array
  readonly scale: number
  readonly lowest: number
  readonly highest: number
}

/** Codes at a zero point, into `q`; gives the mean absolute error. */
function code({ values, scale, lowest, highest }: Group, zero: number, q: Int8Array): number {
  let error = 0
  for (let i = 0; i < values.length; i++) {
    const t = values[i]! / scale + zero
    q[i] = (t < lowest ? lowest : t > highest ? highest : t) + MAGIC - MAGIC
    error += Math.abs(values[i]! - scale * (q[i]! - zero))
  }
  return error / values.length
}

/** The zero point with the smallest mean absolute error on the way of the half-quadratic iteration from `start`. */
export function halfQuadraticZero(group: Group, start: number, norm: number, iterations: number, q: Int8Array): number {
  const { values, scale } = group
  let zero = start
  let best = { zero, error: code(group, zero, q) }
  let beta = BETA
  for (let i = 0; i < iterations; i++, beta *= KAPPA) {
    let sum = 0
    for (let j = 0; j < values.length; j++) {
      const e = values[j]! - scale * (q[j]! - zero)
      const size = Math.abs(e)
      const shrunk = size === 0 ? 0 : Math.sign(e) * Math.max(0, size - size ** (norm - 1) / beta)
      sum += q[j]! - (values[j]! - shrunk) / scale
    }
    zero = Math.fround(sum / values.length)
    const error = code(group, zero, q)
    if (!(error < best.error)) break
    best = { zero, error }
  }
  code(group, best.zero, q)
  return best.zero
}

interface Prepared {
  readonly q: Int8Array
  readonly scales: Float32Array
  readonly zeros: Float32Array
  readonly halves: boolean
  readonly shape: readonly [number, number]
  readonly matrix: readonly [number, number]
}

export const hqq = definePass({
  name: NAME,
  version: 1,
  summary: 'rounds weights to few bits with zero points that let outliers be wrong: no data',
  options,
  roles: ['matrix', 'kernel', 'table'],
  apply: (model, context) => {
    const { bits, groupSize, norm, iterations, scales: stored } = context.options
    const affine = { bits, symmetric: false, layout: 'group', groupSize, range: 'max' } as const
    return convertWeights(model, context, {
      task: NAME,
      byFactor: true,
      prepare: async ({ path, weight }): Promise<Prepared | string> => {
        if (!floating(weight)) return `${weight.description} is not a floating matrix`
        // A zero point between two codes would make zeros of pruned weights something else.
        if (weight.trainable().some(({ mask }) => mask !== null))
          return 'its zeros must stay 0, which zero points between codes do not hold'
        const found = await findGrids(NAME, path, weight, affine, context.breathe)
        const { rows, cols, values, grids, shape, codes } = found
        const exact = Float32Array.from(grids, (g) => g.scale)
        const half = stored === 'f16' ? halfScales(exact) : undefined
        const scales = half ?? exact
        const zeros = Float32Array.from(grids, (g) => g.zero)
        const q = new Int8Array(rows * cols)
        const run = Math.ceil(cols / shape[1])
        for (let r = 0; r < rows; r++) {
          for (let g = 0; g < shape[1]; g++) {
            const [from, to] = [r * cols + g * run, r * cols + Math.min(cols, (g + 1) * run)]
            const at = r * shape[1] + g
            const group = { values: values.subarray(from, to), scale: scales[at]!, lowest: codes.qmin, highest: codes.qmax }
            zeros[at] = halfQuadraticZero(group, zeros[at]!, norm, iterations, q.subarray(from, to))
          }
          if (r % 16 === 0) await context.breathe()
        }
        return { q, scales, zeros, halves: half !== undefined, shape, matrix: [rows, cols] }
      },
      convert: ({ path, weight }, found) => {
        if (typeof found === 'string') return { left: found }
        if (stored === 'f16' && !found.halves) context.note('scales stored as f32: some lie outside the range of f16', path)
        return new QuantizedWeight({
          shape: weight.shape,
          bits,
          layout: 'group',
          scaleDtype: found.halves ? 'f16' : 'f32',
          q: tensor(found.q, found.matrix),
          scale: tensor(found.scales, found.shape),
          zero: tensor(found.zeros, found.shape),
        })
      },
    })
  },
})

function floating(w: PlacedWeight['weight']): boolean {
  return w.trainable().length > 0 && w.shape.length >= 2
}
