/**
 * GPTQ (Frantar, Ashkboos, Hoefler, Alistarh 2022, "GPTQ: Accurate post-training quantization for generative pre-trained transformers", algorithm 1): weights of
 * 2 to 8 bits, rounded so that the layer's *output* on calibration data changes least, not the weights themselves. Linear layers and convolutions, grouped ones
 * included. Scales are found before and stay ("static groups"), so the order of the columns is free.
 *
 * Memory: K^2 numbers per layer (K columns), whatever the number of examples. The error of the layer's output is never above that of rounding to nearest.
 */
import { z } from 'zod'
import { QuantizedWeight, type PlacedWeight } from '../../nn/index.js'
import { tensor } from '../../tensor/index.js'
import { convertWeights } from '../convert.js'
import { gramOf, type Gram } from '../observe/gram.js'
import { definePass, type PassContext } from '../pass.js'
import { findGrids, type Encoding } from './encode.js'
import { halfScales } from './half.js'
import { meanSquares, outputCodes } from './output-codes.js'

const NAME = 'quantize/gptq'

const options = z.strictObject({
  bits: z.int().min(2).max(8).default(4),
  mode: z.enum(['symmetric', 'affine']).default('affine'),
  layout: z.enum(['tensor', 'channel', 'group']).default('group'),
  /** Most values that share a scale where layout is 'group'; rows that it does not divide are cut evenly. */
  groupSize: z
    .int()
    .min(2)
    .max(2 ** 20)
    .default(32),
  /** Scales: of the whole range, of the smallest squared error, or of the smallest squared error weighted by the mean square of each column's input. */
  range: z.enum(['max', 'mse', 'output']).default('output'),
  scales: z.enum(['f32', 'f16']).default('f16'),
  /** Added to the diagonal of the second moments, as a share of its mean. */
  damping: z.number().positive().max(10).default(0.01),
  /** Which columns are rounded first: those of the largest inputs, or from left to right. */
  order: z.enum(['activation', 'given']).default('activation'),
  /** Examples to calibrate on. */
  samples: z.int().positive().max(1e7).default(256),
})
type GptqOptions = z.output<typeof options>

interface Prepared {
  readonly encoding: Encoding
  readonly scales: Float32Array
  readonly halves: boolean
  readonly q: Int8Array
}

export const gptq = definePass({
  name: NAME,
  version: 1,
  summary: 'rounds weights to 2 to 8 bits so that the outputs of layers change least on calibration data',
  options,
  needs: () => ({ calibration: true }),
  roles: ['matrix', 'kernel'],
  ask: (o, targets) => ({
    samples: o.samples,
    requests: targets.filter(fits).flatMap(({ layer, module }) => {
      const statistic = gramOf(module)
      return statistic ? [{ path: layer, statistic }] : []
    }),
  }),
  apply: (model, context) => {
    const o = context.options
    const symmetric = o.mode === 'symmetric'
    return convertWeights<GptqOptions, Prepared | string>(model, context, {
      task: NAME,
      prepare: async (target) => {
        if (!fits(target)) return `${target.weight.description} with role ${target.role} is not a layer's floating weight`
        const statistic = gramOf(target.module)
        if (!statistic) return `layers of kind ${target.module.kind} do not say what their products see`
        const gram = context.statistic(target.layer, statistic)
        if (!gram || gram.count === 0) return 'no calibration example reached this layer'
        return prepare(target, gram, context)
      },
      convert: ({ path, weight }, found) => {
        if (typeof found === 'string') return { left: found }
        const { encoding, scales, halves, q } = found
        if (o.scales === 'f16' && !halves) context.note('scales stored as f32: some lie outside the range of f16', path)
        const zeros = Float32Array.from(encoding.grids, (g) => g.zero)
        return new QuantizedWeight({
          shape: weight.shape,
          bits: o.bits,
          layout: o.layout,
          scaleDtype: halves ? 'f16' : 'f32',
          q: tensor(q, [encoding.rows, encoding.cols]),
          scale: tensor(scales, encoding.shape),
          zero: symmetric ? null : tensor(zeros, encoding.shape),
        })
      },
    })

    async function prepare(target: PlacedWeight, gram: Gram, { breathe }: PassContext<GptqOptions>): Promise<Prepared> {
      const search = o.range === 'output' ? ({ range: 'mse', importance: meanSquares(gram) } as const) : { range: o.range }
      const encoding = await findGrids(NAME, target.path, target.weight, { ...o, symmetric, ...search }, breathe)
      const found = Float32Array.from(encoding.grids, (g) => g.scale)
      const half = o.scales === 'f16' ? halfScales(found) : undefined
      const scales = half ?? found
      const { q, share } = await outputCodes(`${NAME}: ${target.path}`, target.weight, encoding, scales, gram, { ...o, breathe })
      context.note(`output error ${share.toFixed(3)} of that of rounding to nearest`, target.path)
      return { encoding, scales, halves: half !== undefined, q }
    }
  },
})

/** Floating weights of layers that multiply. */
function fits({ weight, role, name }: PlacedWeight): boolean {
  return (role === 'matrix' || role === 'kernel') && name === 'weight' && weight.trainable().length > 0
}
