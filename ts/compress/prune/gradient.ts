/**
 * Pruning by what the loss would lose, to first or second order: setting w to 0 changes it by -g w + h w^2 / 2. Order 1 is |g w| (Mozer, Smolensky 1989; "gradient
 * magnitude" of Blalock et al. 2020; Molchanov et al. 2017), order 2 adds the curvature, h = the mean square of the gradients of batches (diagonal of the empirical Fisher matrix; Theis
 * et al. 2018).
 */
import { z } from 'zod'
import { valuesOf } from '../values.js'
import { definePruning } from './define.js'
import { lossesOf } from '../train/task-losses.js'
import { lossGradients } from './gradients.js'
import { pruneOptions } from './options.js'

export const gradient = definePruning({
  name: 'prune/gradient',
  version: 1,
  summary: 'sets the weights to 0 that change the loss least, by its gradient, or curvature too',
  options: pruneOptions('local', {
    order: z.union([z.literal(1), z.literal(2)]).default(1),
    /** Examples whose mean loss is differentiated. */
    samples: z.int().positive().max(1e7).default(1024),
    batchSize: z.int().positive().max(65_536).default(64),
  }),
  data: 'losses',
  score: {
    of: async ({ model, targets, context, round }) => {
      const { order, samples, batchSize } = context.options
      const seed = context.rng('gradient', round).uint32()
      const losses = await lossesOf('prune/gradient', model, context, { samples, batchSize, seed })
      const found = await lossGradients(model, targets, losses, context.breathe)
      return new Map(
        targets.map(({ path, leaf }) => {
          const { mean, square } = found.get(path)!
          const w = valuesOf(leaf.value)
          return [path, w.map((x, i) => Math.abs(-mean[i]! * x + (order === 2 ? 0.5 * square[i]! * x * x : 0)))]
        }),
      )
    },
  },
})
