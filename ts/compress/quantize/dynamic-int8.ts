/**
 * Integers in linear layers without calibration: weights int8 per output channel, inputs u8 with a range of its own for each row, found while the layer
 * runs; products accumulated in 32 bits. Kernels of convolutions and tables are left as they are.
 */
import { z } from 'zod'
import { QuantizedWeight, type PlacedWeight } from '../../nn/index.js'
import { convertWeights } from '../convert.js'
import { definePass } from '../pass.js'
import { encode, findGrids, scalesOf } from './encode.js'

const NAME = 'quantize/dynamic-int8'

const options = z.strictObject({
  bits: z.literal(8).default(8),
  /** Range of the weights. */
  range: z.enum(['max', 'mse']).default('max'),
})

export const dynamicInt8 = definePass({
  name: NAME,
  version: 1,
  summary: 'int8 weights and inputs of linear layers, the inputs by the range of each row: no calibration',
  options,
  roles: ['matrix'],
  apply: (model, context) => {
    const weights = { bits: 8, symmetric: true, layout: 'channel', groupSize: 0, range: context.options.range } as const
    return convertWeights(model, context, {
      task: NAME,
      prepare: async (target) => (fits(target) ? findGrids(NAME, target.path, target.weight, weights, context.breathe) : undefined),
      convert: ({ weight, role }, found) =>
        found
          ? new QuantizedWeight({
              shape: weight.shape,
              bits: 8,
              layout: 'channel',
              input: 'dynamic',
              ...encode(found, scalesOf(found), true),
            })
          : { left: `${weight.description} with role ${role} does not multiply integers` },
    })
  },
})

/** Floating weights of linear layers. */
function fits({ weight, role }: PlacedWeight): boolean {
  return role === 'matrix' && weight.trainable().length > 0
}
