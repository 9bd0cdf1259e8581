/**
 * Integers end to end: weights int8 per output channel, inputs of layers u8 with a scale and a zero point found on calibration data, products
 * accumulated in 32 bits. The scales are folded into the layer; everything between layers stays floating. 0 is exact on both sides, so
 * padding and pruned weights cost no error. A layer that no calibration example reaches is left as it is and reported.
 */
import { z } from 'zod'
import { sizeOf } from '../../base/shape.js'
import { QuantizedWeight, type InputQuantization, type PlacedWeight, type Weight } from '../../nn/index.js'
import { quantizeRows } from '../../ops/index.js'
import { tensor } from '../../tensor/index.js'
import { distribution, leastErrorRange, percentileRange } from '../observe/histogram.js'
import { valueRange, type ValueRange } from '../observe/ranges.js'
import { convertWeights } from '../convert.js'
import { definePass, type PassContext } from '../pass.js'
import { checkFinite } from '../train/working-copy.js'
import { codeRange, gridOf, gridsOf } from './grid.js'

const options = z.strictObject({
  bits: z.literal(8).default(8),
  /** minmax: the whole range seen; percentile: what lies outside is clipped; mse: the range with the smallest error. */
  calibration: z.enum(['minmax', 'percentile', 'mse']).default('percentile'),
  percentile: z.number().gt(50).max(100).default(99.99),
  /** Examples to calibrate on. */
  samples: z.int().positive().max(1e7).default(512),
  /** Range of the weights. */
  range: z.enum(['max', 'mse']).default('max'),
})
type StaticOptions = z.output<typeof options>

const LEVELS = { qmin: 0, qmax: 255 }

export const staticInt8 = definePass({
  name: 'quantize/static-int8',
  version: 1,
  summary: 'int8 weights and calibrated 8-bit inputs: layers compute on integers',
  options,
  needs: () => ({ calibration: true }),
  roles: ['matrix', 'kernel'],
  ask: (o, targets) => ({
    samples: o.samples,
    requests: targets.filter(fits).map(({ layer }) => ({ path: layer, statistic: o.calibration === 'minmax' ? valueRange : distribution })),
  }),
  apply: (model, context) =>
    convertWeights(model, context, 'quantize/static-int8', (target) => {
      const { path, weight, layer } = target
      if (!fits(target)) return { left: `${weight.description} with role ${target.role} does not multiply integers` }
      const seen = inputRange(context, layer)
      if (!seen) return { left: 'no calibration example reached this layer' }
      return quantize(path, weight, inputOf(seen), context.options)
    }),
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

function quantize(path: string, weight: Weight, input: InputQuantization, o: StaticOptions): QuantizedWeight {
  const dense = weight.dense()
  checkFinite('quantize/static-int8', 'weight', path, dense)
  const values = Float32Array.from(dense.read() as Float32Array)
  const rows = weight.shape[0]!
  const cols = sizeOf(weight.shape.slice(1))
  const codes = codeRange(8, true, o.range)
  const grids = gridsOf(values, { rows, cols, layout: 'channel', groups: 1 }, true, codes, o.range)
  const scale = tensor(
    Float32Array.from(grids, (g) => g.scale),
    [rows, 1],
  )
  const q = quantizeRows(tensor(values, [rows, cols]), scale, null, codes.qmin, codes.qmax)
  return new QuantizedWeight({ shape: weight.shape, q, scale, bits: 8, layout: 'channel', input })
}
