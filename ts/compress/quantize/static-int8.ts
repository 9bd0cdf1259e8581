/**
 * Integers end to end: weights int8 per output channel, inputs of layers u8 with a scale and a zero point found on calibration data, products
 * accumulated in 32 bits. The scales are folded into the layer; everything between layers stays floating. 0 is exact on both sides, so
 * padding and pruned weights cost no error. A layer that no calibration example reaches is left as it is and reported. Weights of recurrent layers become int8
 * without a range: their products are floating ones, on the values that the codes stand for.
 */
import { z } from 'zod'
import type { PlacedWeight } from '../../nn/index.js'
import { convertWeights } from '../convert.js'
import { gramOf } from '../observe/gram.js'
import type { ValueRange } from '../observe/ranges.js'
import { definePass, type PassContext, type StatisticRequest } from '../pass.js'
import { findGrids, scalesOf, type Encoding } from './encode.js'
import { inputOptions, inputQuantization, rangeStatistic } from './input-range.js'
import { integerGrid, integerWeight, isProduct, multipliesInput } from './integer-weight.js'
import { outputCodes } from './output-codes.js'

const NAME = 'quantize/static-int8'

const options = z.strictObject({
  bits: z.literal(8).default(8),
  ...inputOptions,
  /** Range of the weights. */
  range: z.enum(['max', 'mse']).default('max'),
  /** Weights: to the nearest code, or with error feedback so that the outputs of layers change least (as quantize/gptq does). */
  rounding: z.enum(['nearest', 'feedback']).default('nearest'),
})
type StaticOptions = z.output<typeof options>

export const staticInt8 = definePass({
  name: NAME,
  version: 1,
  summary: 'int8 weights and calibrated 8-bit inputs: layers compute on integers',
  options,
  needs: () => ({ calibration: true }),
  roles: ['matrix', 'kernel'],
  ask: (o, targets) => ({
    samples: o.samples,
    requests: targets
      .filter((t) => isProduct(t) && multipliesInput(t))
      .flatMap(({ layer, module }): readonly StatisticRequest[] => {
        const inputs = { path: layer, statistic: rangeStatistic(o) }
        const moments = o.rounding === 'feedback' ? gramOf(module) : undefined
        return moments ? [inputs, { path: layer, statistic: moments }] : [inputs]
      }),
  }),
  apply: (model, context) =>
    convertWeights(model, context, {
      task: NAME,
      prepare: async (target) => {
        if (!isProduct(target)) return undefined
        const found = await findGrids(NAME, target.path, target.weight, integerGrid(context.options.range), context.breathe)
        return { found, codes: await feedback(target, found, context) }
      },
      convert: (target, prepared) => {
        const { weight, layer, role, path } = target
        if (!prepared) return { left: `${weight.description} with role ${role} does not multiply integers` }
        const integers = multipliesInput(target)
        const seen = integers ? context.statistic<ValueRange>(layer, rangeStatistic(context.options)) : undefined
        if (integers && !seen) return { left: 'no calibration example reached this layer' }
        if (!integers) context.note('8-bit weight, floating products: a recurrent layer does not multiply integers', path)
        return integerWeight(target, prepared.found, seen ? inputQuantization(seen, context.options) : null, prepared.codes)
      },
    }),
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
