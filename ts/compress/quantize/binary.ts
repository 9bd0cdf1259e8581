/**
 * Binary weights (Rastegari, Ordonez, Redmon, Farhadi 2016, "XNOR-Net: ImageNet classification using binary convolutional neural networks", section 3.1): w ~ alpha b with
 * b = sign(w) and alpha = mean|w| of each output, the pair with the smallest |w - alpha b|^2 (their equation 6). One bit a weight. `inputs: 'sign'` makes the inputs of the
 * layers binary too (section 3.2): signs times their mean size. A model that was not trained for it loses nearly everything: retrain what is left floating behind this pass,
 * and keep first and last layers out, as the authors do.
 */
import { z } from 'zod'
import { sizeOf } from '../../base/shape.js'
import { BinaryWeight, type PlacedWeight } from '../../nn/index.js'
import { tensor } from '../../tensor/index.js'
import { convertWeights } from '../convert.js'
import { definePass } from '../pass.js'
import { checkFinite } from '../train/working-copy.js'
import { denseValues } from '../values.js'

const NAME = 'quantize/binary'

const options = z.strictObject({
  /** What the layers take: floats, or signs with the mean of |x|. */
  inputs: z.enum(['float', 'sign']).default('float'),
})

export const binary = definePass({
  name: NAME,
  version: 1,
  summary: 'one bit a weight: signs with a factor for each output',
  options,
  roles: ['matrix', 'kernel'],
  apply: (model, context) => {
    context.warn(`${NAME}: one bit a weight usually ruins a model that is not trained for it`)
    return convertWeights(model, context, {
      task: NAME,
      convert: ({ weight, module, path, role }) => {
        const reason = obstacle(weight)
        if (reason) return { left: reason }
        checkFinite(NAME, 'weight', path, weight.dense())
        const { bits, alpha } = binarized(denseValues(weight), weight.shape[0]!)
        const able = role !== 'table' && ['linear', 'conv1d', 'conv2d'].includes(module.kind)
        const signs = context.options.inputs === 'sign'
        if (signs && !able) context.note(`its input stays floating: layers of kind ${module.kind} take no signs`, path)
        return new BinaryWeight({ shape: weight.shape, bits: tensor(bits), alpha: tensor(alpha), input: signs && able ? 'sign' : null })
      },
    })
  },
})

function obstacle(w: PlacedWeight['weight']): string | undefined {
  if (w.trainable().length === 0 || w.shape.length < 2 || sizeOf(w.shape) === 0) return `${w.description} is not a floating matrix`
  return w.trainable().some(({ mask }) => mask !== null) ? 'its zeros must stay 0, which signs cannot' : undefined
}

/** sign(w) as bits (1 where w >= 0) and the mean |w| of each row. */
export function binarized(values: Float32Array, rows: number): { readonly bits: Uint8Array; readonly alpha: Float32Array } {
  const cols = values.length / rows
  const bits = new Uint8Array(Math.ceil(values.length / 8))
  const sums = new Float64Array(rows)
  values.forEach((w, i) => {
    if (w >= 0) bits[i >> 3]! |= 1 << (i & 7)
    sums[Math.floor(i / cols)]! += Math.abs(w)
  })
  return { bits, alpha: Float32Array.from(sums, (s) => s / cols) }
}
