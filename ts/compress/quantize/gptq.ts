/**
 * GPTQ (Frantar, Ashkboos, Hoefler, Alistarh 2022, "GPTQ: Accurate post-training quantization for generative pre-trained transformers", algorithm 1): weights of
 * 2 to 8 bits, rounded so that the layer's *output* on calibration data changes least, not the weights themselves. Linear layers and convolutions, grouped ones
 * included. Scales are found before and stay ("static groups"), so the order of the columns is free.
 *
 * Memory: K^2 numbers per layer (K columns), whatever the number of examples. The error of the layer's output is never above that of rounding to nearest.
 */
import { z } from 'zod'
import { convertWeights } from '../convert.js'
import { definePass } from '../pass.js'
import { askGrams, codeOptions, codesOf, codesWeight, gramFor, gramGrids, gridOptions, type Codes } from './by-gram.js'
import { outputCodes } from './output-codes.js'

const NAME = 'quantize/gptq'

const options = z.strictObject({
  ...codeOptions,
  ...gridOptions,
  /** Added to the diagonal of the second moments, as a share of its mean. */
  damping: z.number().positive().max(10).default(0.01),
  /** Which columns are rounded first: those of the largest inputs, or from left to right. */
  order: z.enum(['activation', 'given']).default('activation'),
})

export const gptq = definePass({
  name: NAME,
  version: 1,
  summary: 'rounds weights to 2 to 8 bits so that the outputs of layers change least on calibration data',
  options,
  needs: () => ({ calibration: true }),
  roles: ['matrix', 'kernel'],
  ask: (o, targets) => askGrams(o, targets),
  apply: (model, context) => {
    const { options: o, breathe, note } = context
    return convertWeights<z.output<typeof options>, Codes | string>(model, context, {
      task: NAME,
      prepare: async (target) => {
        const gram = gramFor(target, context)
        if (typeof gram === 'string') return gram
        const { encoding, scales, halves } = await gramGrids(NAME, target, gram, o, breathe)
        const { q, share } = await outputCodes(`${NAME}: ${target.path}`, target.weight, encoding, scales, gram, { ...o, breathe })
        note(`output error ${share.toFixed(3)} of that of rounding to nearest`, target.path)
        return codesOf(encoding, scales, halves, q, o.mode === 'symmetric')
      },
      convert: (target, codes) => (typeof codes === 'string' ? { left: codes } : codesWeight(target, codes, context)),
    })
  },
})
