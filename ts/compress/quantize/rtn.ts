/**
 * Round to nearest: weights become integers of 2 to 8 bits with a scale for the tensor, for each output channel, or for each group of
 * neighbouring values. Weights only: activations stay floating. Zeros stay exactly 0. Clipped ranges ("mse") after Choukroun et al. 2019.
 */
import { z } from 'zod'
import { QuantizedWeight, type Weight } from '../../nn/index.js'
import { convertWeights } from '../convert.js'
import { definePass } from '../pass.js'
import { encode, findGrids, scalesOf } from './encode.js'
import { halfScales } from './half.js'

const NAME = 'quantize/rtn'

const options = z.strictObject({
  bits: z.int().min(2).max(8).default(8),
  mode: z.enum(['symmetric', 'affine']).default('symmetric'),
  /** Values that share a scale: all, a row, a run of a row, or (as Q-BERT has it) a run of rows. */
  layout: z.enum(['tensor', 'channel', 'group', 'rows']).default('channel'),
  /** Most values that share a scale where layout is 'group'; rows that it does not divide are cut evenly. */
  groupSize: z
    .int()
    .min(2)
    .max(2 ** 20)
    .default(32),
  /** Runs of output neurons where layout is 'rows': as many, or the next number that divides them. */
  rowGroups: z
    .int()
    .min(1)
    .max(2 ** 20)
    .default(128),
  range: z.enum(['max', 'mse']).default('max'),
  /** f16 halves the cost of the scales: it pays with small groups. */
  scales: z.enum(['f32', 'f16']).default('f32'),
})
export const rtn = definePass({
  name: NAME,
  version: 1,
  summary: 'rounds weights to integers of 2 to 8 bits; activations stay floating',
  options,
  roles: ['matrix', 'kernel', 'table'],
  apply: (model, context) => {
    const o = context.options
    if (o.bits < 4 && o.layout !== 'group')
      context.warn(`${NAME}: ${o.bits} bits without groups usually ruin a model that is not trained for it`)
    const symmetric = o.mode === 'symmetric'
    return convertWeights(model, context, {
      task: NAME,
      byFactor: true,
      prepare: async ({ path, weight }) => (fits(weight) ? findGrids(NAME, path, weight, { ...o, symmetric }, context.breathe) : undefined),
      convert: ({ path, weight }, found) => {
        if (!found) return { left: `${weight.description} is not a floating matrix` }
        const halves = o.scales === 'f16' ? halfScales(scalesOf(found)) : undefined
        if (o.scales === 'f16' && !halves) context.note('scales stored as f32: some lie outside the range of f16', path)
        return new QuantizedWeight({
          shape: weight.shape,
          bits: o.bits,
          layout: o.layout,
          rowsPerScale: found.rowsPerScale ?? 1,
          scaleDtype: halves ? 'f16' : 'f32',
          ...encode(found, halves ?? scalesOf(found), symmetric),
        })
      },
    })
  },
})

function fits(w: Weight): boolean {
  return w.trainable().length > 0 && w.shape.length >= 2
}
