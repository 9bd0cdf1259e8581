/**
 * AdaRound (Nagel, Amjad, van Baalen, Louizos, Blankevoort 2020, "Up or down? Adaptive rounding for post-training quantization"): whether each weight is rounded up or
 * down is learned, layer by layer, so that the layer's output on calibration data changes least. Scales are found before and stay. Linear layers and convolutions, grouped
 * ones included. Memory: K^2 numbers per layer. The error of the layer's output is never above that of rounding to nearest.
 */
import { z } from 'zod'
import type { PlacedWeight } from '../../nn/index.js'
import { convertWeights } from '../convert.js'
import type { Gram } from '../observe/gram.js'
import { definePass, type PassContext } from '../pass.js'
import { askGrams, codeOptions, codesOf, codesWeight, fitsGram, gramFor, gramGrids, gridOptions, type Codes } from './by-gram.js'
import type { Encoding } from './encode.js'
import { learnRounding } from './learned-rounding.js'

const NAME = 'quantize/adaround'

const options = z.strictObject({
  ...codeOptions,
  ...gridOptions,
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
})
type AdaroundOptions = z.output<typeof options>

export const adaround = definePass({
  name: NAME,
  version: 1,
  summary: 'learns which weights to round up or down so that outputs change least on calibration data',
  options,
  needs: () => ({ calibration: true }),
  roles: ['matrix', 'kernel'],
  ask: (o, targets) => askGrams(o, targets),
  plan: (_model, o, { targets }) => ({ layers: targets.filter(fitsGram).length, iterationsPerLayer: o.iterations }),
  apply: (model, context) =>
    convertWeights<AdaroundOptions, Codes | string>(model, context, {
      task: NAME,
      prepare: async (target) => {
        const gram = gramFor(target, context)
        return typeof gram === 'string' ? gram : roundLayer(target, gram, context)
      },
      convert: (target, codes) => (typeof codes === 'string' ? { left: codes } : codesWeight(target, codes, context)),
    }),
})

async function roundLayer(target: PlacedWeight, gram: Gram, context: PassContext<AdaroundOptions>): Promise<Codes> {
  const { options: o, breathe } = context
  const { encoding, scales, halves } = await gramGrids(NAME, target, gram, o, breathe)
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
  return codesOf(encoding, scales, halves, q, o.mode === 'symmetric')
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
