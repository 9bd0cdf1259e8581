/**
 * Integers end to end: weights int8 per output channel, inputs of layers u8 with a scale and a zero point found on calibration data, products
 * accumulated in 32 bits. The scales are folded into the layer; everything between layers stays floating. 0 is exact on both sides, so
 * padding and pruned weights cost no error. A layer that no calibration example reaches is left as it is and reported.
 */
import { z } from 'zod'
import { QuantizedWeight, type InputQuantization, type PlacedWeight } from '../../nn/index.js'
import { tensor, type Tensor } from '../../tensor/index.js'
import { convertWeights } from '../convert.js'
import { gramOf } from '../observe/gram.js'
import { distribution, leastErrorRange, percentileRange } from '../observe/histogram.js'
import { valueRange, type ValueRange } from '../observe/ranges.js'
import { definePass, type PassContext, type StatisticRequest } from '../pass.js'
import { encode, findGrids, scalesOf, type Encoding } from './encode.js'
import { gridOf } from './grid.js'
import { outputCodes } from './output-codes.js'

const NAME = 'quantize/static-int8'

const options = z.strictObject({
  bits: z.literal(8).default(8),
  /** minmax: the whole range seen; percentile: what lies outside is clipped; mse: the range with the smallest error. */
  calibration: z.enum(['minmax', 'percentile', 'mse']).default('percentile'),
  percentile: z.number().gt(50).max(100).default(99.99),
  /** Examples to calibrate on. */
  samples: z.int().positive().max(1e7).default(512),
  /** Range of the weights. */
  range: z.enum(['max', 'mse']).default('max'),
  /** Weights: to the nearest code, or with error feedback so that the outputs of layers change least (as quantize/gptq does). */
  rounding: z.enum(['nearest', 'feedback']).default('nearest'),
})
type StaticOptions = z.output<typeof options>

const LEVELS = { qmin: 0, qmax: 255 }

export const staticInt8 = definePass({
  name: NAME,
  version: 1,
  summary: 'int8 weights and calibrated 8-bit inputs: layers compute on integers',
  options,
  needs: () => ({ calibration: true }),
  roles: ['matrix', 'kernel'],
  ask: (o, targets) => ({
    samples: o.samples,
    requests: targets.filter(fits).flatMap(({ layer, module }): readonly StatisticRequest[] => {
      const inputs = { path: layer, statistic: o.calibration === 'minmax' ? valueRange : distribution }
      const moments = o.rounding === 'feedback' ? gramOf(module) : undefined
      return moments ? [inputs, { path: layer, statistic: moments }] : [inputs]
    }),
  }),
  apply: (model, context) => {
    const { range } = context.options
    const weights = { bits: 8, symmetric: true, layout: 'channel', groupSize: 0, range } as const
    return convertWeights(model, context, {
      task: NAME,
      prepare: async (target) => {
        if (!fits(target)) return undefined
        const found = await findGrids(NAME, target.path, target.weight, weights, context.breathe)
        return { found, codes: await feedback(target, found, context) }
      },
      convert: ({ weight, layer, role }, prepared) => {
        if (!prepared) return { left: `${weight.description} with role ${role} does not multiply integers` }
        const seen = inputRange(context, layer)
        if (!seen) return { left: 'no calibration example reached this layer' }
        const { found, codes } = prepared
        return new QuantizedWeight({
          shape: weight.shape,
          bits: 8,
          layout: 'channel',
          input: inputOf(seen),
          ...(codes ? coded(found, codes) : encode(found, scalesOf(found), true)),
        })
      },
    })
  },
})

/** Codes with error feedback where that is asked for and the layer says what its products see. */
async function feedback(
  { path, layer, weight, module, name }: PlacedWeight,
  found: Encoding,
  { options: o, statistic, note, breathe }: PassContext<StaticOptions>,
): Promise<Int8Array | undefined> {
  const moments = o.rounding === 'feedback' && name === 'weight' ? gramOf(module) : undefined
  const gram = moments && statistic(layer, moments)
  if (!gram || gram.count === 0) return undefined
  const options = { damping: 0.01, order: 'activation', breathe } as const
  const { q, share } = await outputCodes(`${NAME}: ${path}`, weight, found, scalesOf(found), gram, options)
  note(`output error of the weights ${share.toFixed(3)} of that of rounding to nearest`, path)
  return q
}

const coded = (found: Encoding, q: Int8Array): { q: Tensor; scale: Tensor } => ({
  q: tensor(q, [found.rows, found.cols]),
  scale: tensor(scalesOf(found), found.shape),
})

/** Floating weights of layers that multiply. */
function fits({ weight, role }: PlacedWeight): boolean {
  return (role === 'matrix' || role === 'kernel') && weight.trainable().length > 0
}

function inputRange({ options: o, statistic }: PassContext<StaticOptions>, layer: string): ValueRange | undefined {
  if (o.calibration === 'minmax') return statistic(layer, valueRange)
  const seen = statistic(layer, distribution)
  if (!seen) return undefined
  return o.calibration === 'percentile' ? percentileRange(seen, o.percentile) : leastErrorRange(seen, LEVELS.qmax)
}

function inputOf({ min, max }: ValueRange): InputQuantization {
  const { scale, zero } = gridOf(min, max, false, LEVELS)
  return { scale, zero }
}
