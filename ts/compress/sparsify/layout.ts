/**
 * Stores weights by their nonzero values in a layout that native kernels multiply with: a bit set, blocks, 2:4. The values themselves do not change. What would not become
 * smaller, or does not fit the layout, is left as it is and reported.
 */
import { z } from 'zod'
import { isTersorError } from '../../base/errors.js'
import { QuantizedWeight, sparseLayoutFrom, sparseLayouts, type SparseLayout, type Weight } from '../../nn/index.js'
import { convertWeights } from '../convert.js'
import { definePass } from '../pass.js'

const options = z.strictObject({
  /** 'smallest': the one with the fewest bytes of those that fit. */
  layout: z.enum(['smallest', ...sparseLayouts]).default('smallest'),
  /** Least share of the bytes that must be saved. */
  saving: z.number().min(0).lt(1).default(0),
})

/** The weight in that layout, or why it does not fit. */
function attempt(weight: Weight, layout: SparseLayout): Weight | string {
  try {
    return sparseLayoutFrom(weight, layout)
  } catch (error) {
    if (isTersorError(error) && (error.code === 'ERR_DATA' || error.code === 'ERR_LIMIT')) return error.message
    throw error
  }
}

export const layout = definePass({
  name: 'sparsify/layout',
  version: 1,
  summary: 'stores nonzero values as a bit set, in blocks or 2:4, where that is smaller',
  options,
  roles: ['matrix', 'kernel', 'table'],
  apply: (model, context) =>
    convertWeights(model, context, {
      task: 'sparsify/layout',
      convert: ({ weight }) => {
        const { layout: wanted, saving } = context.options
        if (weight.kind === 'sparse' || weight.kind === 'sparse-layout' || weight.shape.length < 2)
          return { left: `${weight.description} has no smaller form` }
        if (weight instanceof QuantizedWeight && weight.input)
          return { left: `${weight.description} quantizes its input, which a sparse weight does not` }
        const tried = (wanted === 'smallest' ? sparseLayouts : [wanted]).map((name) => attempt(weight, name))
        const made = tried.filter((w) => typeof w !== 'string').sort((a, b) => a.bytes() - b.bytes())
        const [best, ...rest] = made
        for (const w of rest) w.dispose()
        if (!best) return { left: tried.find((w) => typeof w === 'string')! }
        if (best.bytes() < weight.bytes() * (1 - saving)) return best
        const reason = { left: `${weight.bytes()} bytes as ${weight.description}, ${best.bytes()} as ${best.description}` }
        best.dispose()
        return reason
      },
    }),
})
