/**
 * SparseGPT (Frantar, Alistarh, ICML 2023, "SparseGPT: Massive language models can be accurately pruned in one-shot"): removes weights by what they do to the layer's output on
 * calibration data, and lets the weights that are left take it back. No training. Memory: K^2 numbers per layer of K columns, whatever the number of examples.
 */
import { z } from 'zod'
import { pruneColumns } from './columns.js'
import { defineFitted, keepOf } from './fitted.js'

export const sparsegpt = defineFitted({
  name: 'prune/sparsegpt',
  summary: 'sets weights to 0 and changes the others so that the outputs of layers stay; no training',
  own: {
    /** Columns whose weights are compared with each other. */
    block: z.int().min(1).max(65_536).default(128),
  },
  prune: (where, part, o, breathe) => pruneColumns(where, part, { keep: keepOf(o), damping: o.damping, block: o.block as number }, breathe),
})
