/**
 * AdaRound (Nagel, Amjad, van Baalen, Louizos, Blankevoort 2020, "Up or down? Adaptive rounding for post-training quantization"): whether each weight is rounded up or
 * down is learned, layer by layer, so that the layer's output on calibration data changes least. Scales are found before and stay. Linear layers and convolutions, grouped
 * ones included. Memory: K^2 numbers per layer. The error of the layer's output is never above that of rounding to nearest.
 */
import { z } from 'zod'
import { QuantizedWeight, type PlacedWeight } from '../../nn/index.js'
import { tensor } from '../../tensor/index.js'
import { convertWeights } from '../convert.js'
import { gramOf, type Gram } from '../observe/gram.js'
import { definePass, type PassContext } from '../pass.js'
import { findGrids, type Encoding } from './encode.js'
import { halfScales } from './half.js'
import { learnRounding } from './learned-rounding.js'
import { meanSquares } from './output-codes.js'

const NAME = 'quantize/adaround'

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
  /** Steps of Adam for each layer. The authors take 10 000 with batches; gradients here are those of all data. */
  iterations: z.int().min(1).max(1e6).default(1000),
  learningRate: z.number().positive().max(10).default(0.02),
  /**
   * lambda: what a value that is neither up nor down costs, in mean errors of rounding to nearest: the same for every layer. (The authors' 0.01 counts in squares of
   * outputs, which differ by layer.) Below 0.3 values are still between codes at the end, and rounding them undoes what was learned.
   */
  regularization: z.number().min(0).max(1e6).default(1),
  /** Share of the iterations before that term begins, and the exponents between which it falls. */
  warmup: z.number().min(0).max(1).default(0.2),
  beta: z.tuple([z.number().min(1).max(100), z.number().min(1).max(100)]).default([20, 2]),
  /** Examples to calibrate on. */
  samples: z.int().positive().max(1e7).default(256),
})
type AdaroundOptions = z.output<typeof options>

interface Prepared {
  readonly encoding: Encoding
  readonly scales: Float32Array
  readonly halves: boolean
  readonly q: Int8Array
}

export const adaround = definePass({
  name: NAME,
  version: 1,
  summary: 'learns which weights to round up or down so that outputs change least on calibration data',
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
  plan: (_model, o, { targets }) => ({ layers: targets.filter(fits).length, iterationsPerLayer: o.iterations }),
  apply: (model, context) => {
    const o = context.options
    const symmetric = o.mode === 'symmetric'
    return convertWeights<AdaroundOptions, Prepared | string>(model, context, {
      task: NAME,
      prepare: async (target) => {
        if (!fits(target)) return `${target.weight.description} with role ${target.role} is not a layer's floating weight`
        const statistic = gramOf(target.module)
        if (!statistic) return `layers of kind ${target.module.kind} do not say what their products see`
        const gram = context.statistic(target.layer, statistic)
        if (!gram || gram.count === 0) return 'no calibration example reached this layer'
        return prepare(target, gram, symmetric, context)
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
  },
})

async function prepare(target: PlacedWeight, gram: Gram, symmetric: boolean, context: PassContext<AdaroundOptions>): Promise<Prepared> {
  const { options: o, breathe } = context
  const search = o.range === 'output' ? ({ range: 'mse', importance: meanSquares(gram) } as const) : { range: o.range }
  const encoding = await findGrids(NAME, target.path, target.weight, { ...o, symmetric, ...search }, breathe)
  const found = Float32Array.from(encoding.grids, (g) => g.scale)
  const half = o.scales === 'f16' ? halfScales(found) : undefined
  const scales = half ?? found
  const { rows, cols, values, codes } = encoding
  const spread = placed(encoding, scales)
  const keepZeros = target.weight.trainable().some(({ mask }) => mask !== null)
  const q = new Int8Array(values.length)
  const per = rows / gram.groups
  let [error, nearest] = [0, 0]
  for (let g = 0; g < gram.groups; g++) {
    const cut = (a: Float32Array): Float32Array => a.subarray(g * per * cols, (g + 1) * per * cols)
    const products = gram.products.subarray(g * cols * cols, (g + 1) * cols * cols)
    const problem = { values: cut(values), rows: per, scale: cut(spread.scale), zero: cut(spread.zero), codes, products, keepZeros }
    const done = await learnRounding(problem, o, breathe, (row) => context.progress(`${NAME} ${target.path}`, g * per + row, rows))
    q.set(done.q, g * per * cols)
    error += done.error
    nearest += done.nearest
  }
  context.note(`output error ${(nearest > 0 ? error / nearest : 1).toFixed(3)} of that of rounding to nearest`, target.path)
  return { encoding, scales, halves: half !== undefined, q }
}

/** Scale and zero point of every value. */
function placed({ rows, cols, grids, shape: [lead, groups] }: Encoding, scales: Float32Array): { scale: Float32Array; zero: Float32Array } {
  const run = Math.ceil(cols / groups)
  const scale = new Float32Array(rows * cols)
  const zero = new Float32Array(rows * cols)
  for (let r = 0; r < rows; r++)
    for (let c = 0; c < cols; c += run) {
      const at = lead === 1 ? 0 : r * groups + c / run
      const [from, to] = [r * cols + c, r * cols + Math.min(cols, c + run)]
      scale.fill(scales[at]!, from, to)
      zero.fill(grids[at]!.zero, from, to)
    }
  return { scale, zero }
}

/** Floating weights of layers that multiply. */
function fits({ weight, role, name }: PlacedWeight): boolean {
  return (role === 'matrix' || role === 'kernel') && name === 'weight' && weight.trainable().length > 0
}
