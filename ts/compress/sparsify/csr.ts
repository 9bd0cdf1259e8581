/**
 * Stores weights by their nonzero values where that takes fewer bytes; the values themselves do not change. What would not become smaller is left
 * as it is and reported. A weight whose layer computes on integers keeps doing so: only its codes are stored sparsely.
 */
import { z } from 'zod'
import { QuantizedWeight, sparseFrom, withCoding, type Weight } from '../../nn/index.js'
import { convertWeights } from '../convert.js'
import { definePass } from '../pass.js'

const options = z.strictObject({
  /** Least share of the bytes that must be saved. */
  saving: z.number().min(0).lt(1).default(0),
})

/** Other ways to store the same values, the preferred one first. */
function alternatives(w: Weight): Weight[] {
  if (!(w instanceof QuantizedWeight)) return [sparseFrom(w)]
  const coded = withCoding(w, 'sparse')
  // Rows of codes multiply directly; a quantized input, groups and zero points need the codes as they are.
  return w.input || w.zero || w.layout === 'group' ? [coded] : [sparseFrom(w), coded]
}

export const csr = definePass({
  name: 'sparsify/csr',
  version: 1,
  summary: 'stores only nonzero values, where that is smaller',
  options,
  roles: ['matrix', 'kernel', 'table'],
  apply: (model, context) =>
    convertWeights(model, context, {
      task: 'sparsify/csr',
      convert: ({ weight }) => {
        if (weight.kind === 'sparse' || weight.shape.length < 2) return { left: `${weight.description} has no smaller form` }
        const [best, ...rest] = alternatives(weight).sort((a, b) => a.bytes() - b.bytes())
        for (const w of rest) w.dispose()
        if (best!.bytes() < weight.bytes() * (1 - context.options.saving)) return best!
        const reason = { left: `${weight.bytes()} bytes as ${weight.description}, ${best!.bytes()} stored sparsely` }
        best!.dispose()
        return reason
      },
    }),
})
