/**
 * Magnitude pruning: the weights with the smallest |w| become 0 and stay 0.
 *
 * One-shot, level by level (Li et al., ICML 2020), a share of the survivors per round (Renda, Frankle, Carbin, ICLR 2020), little by
 * little while training (Zhu, Gupta 2017), or below a threshold per layer (Han et al. 2015); each with or without training afterwards. The mask only grows; the
 * number of weights that stay is exact, ties go to the lower index; masked weights are exactly 0 after every optimizer step.
 */
import { magnitudes } from './candidates.js'
import { definePruning } from './define.js'
import { gradual, pruneOptions, quality } from './options.js'

export const magnitude = definePruning({
  name: 'prune/magnitude',
  version: 1,
  summary: 'sets the weights with the smallest magnitude to 0, with or without retraining',
  options: pruneOptions('local', { gradual: gradual.optional(), quality: quality.optional() }),
  score: {
    of: ({ targets }) => new Map(targets.map(({ path, leaf }) => [path, magnitudes(leaf)])),
    live: magnitudes,
  },
})
