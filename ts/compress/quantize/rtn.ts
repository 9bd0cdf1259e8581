/**
 * Round to nearest: weights become integers of 2 to 8 bits with a scale for the tensor, for each output channel, or for each group of
 * neighbouring values. Weights only: activations stay floating. Zeros stay exactly 0. Clipped ranges ("mse") after Choukroun et al. 2019.
 */
import { z } from 'zod'
import { sizeOf } from '../../base/shape.js'
import { QuantizedWeight, type Weight } from '../../nn/index.js'
import { quantizeRows } from '../../ops/index.js'
import { tensor } from '../../tensor/index.js'
import { convertWeights } from '../convert.js'
import { definePass } from '../pass.js'
import { checkFinite } from '../train/working-copy.js'
import { codeRange, gridsOf, groupCount } from './grid.js'
import { halfScales } from './half.js'

const options = z.strictObject({
  bits: z.int().min(2).max(8).default(8),
  mode: z.enum(['symmetric', 'affine']).default('symmetric'),
  layout: z.enum(['tensor', 'channel', 'group']).default('channel'),
  /** Most values that share a scale where layout is 'group'; rows that it does not divide are cut evenly. */
  groupSize: z
    .int()
    .min(2)
    .max(2 ** 20)
    .default(32),
  range: z.enum(['max', 'mse']).default('max'),
  /** f16 halves the cost of the scales: it pays with small groups. */
  scales: z.enum(['f32', 'f16']).default('f32'),
})
type RtnOptions = z.output<typeof options>

export const rtn = definePass({
  name: 'quantize/rtn',
  version: 1,
  summary: 'rounds weights to integers of 2 to 8 bits; activations stay floating',
  options,
  roles: ['matrix', 'kernel', 'table'],
  apply: (model, context) => {
    const o = context.options
    if (o.bits < 4 && o.layout !== 'group')
      context.warn(`quantize/rtn: ${o.bits} bits without groups usually ruin a model that is not trained for it`)
    return convertWeights(model, context, 'quantize/rtn', ({ path, weight }) => {
      if (weight.trainable().length === 0 || weight.shape.length < 2) return { left: `${weight.description} is not a floating matrix` }
      const quantized = quantize(path, weight, o)
      if (quantized.scaleDtype !== o.scales) context.note('scales stored as f32: some lie outside the range of f16', path)
      return quantized
    })
  },
})

function quantize(path: string, weight: Weight, o: RtnOptions): QuantizedWeight {
  const dense = weight.dense()
  checkFinite('quantize/rtn', 'weight', path, dense)
  const values = Float32Array.from(dense.read() as Float32Array)
  const rows = weight.shape[0]!
  const cols = sizeOf(weight.shape.slice(1))
  const groups = o.layout === 'group' ? groupCount(cols, o.groupSize) : 1
  const symmetric = o.mode === 'symmetric'
  const codes = codeRange(o.bits, symmetric, o.range)
  const grids = gridsOf(values, { rows, cols, layout: o.layout, groups }, symmetric, codes, o.range)
  const shape = [o.layout === 'tensor' ? 1 : rows, groups]
  const full = Float32Array.from(grids, (g) => g.scale)
  const halves = o.scales === 'f16' ? halfScales(full) : undefined
  const scale = tensor(halves ?? full, shape)
  const zero = symmetric
    ? null
    : tensor(
        Float32Array.from(grids, (g) => g.zero),
        shape,
      )
  const q = quantizeRows(tensor(values, [rows, cols]), scale, zero, codes.qmin, codes.qmax)
  return new QuantizedWeight({ shape: weight.shape, q, scale, zero, bits: o.bits, layout: o.layout, scaleDtype: halves ? 'f16' : 'f32' })
}
