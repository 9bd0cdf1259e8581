/**
 * Optimal Brain Damage (LeCun, Denker, Solla, NIPS 1989): of a trained net the loss rises by h w^2 / 2 when w becomes 0, h the diagonal of the loss's Hessian. Estimated from
 * products with random signs (Bekas, Kokiopoulou, Saad 2007): exact where the Hessian is diagonal. What curves downwards counts as flat.
 */
import { z } from 'zod'
import { diagonal, ofModel } from '../../analyze/hessian/index.js'
import { lossesOf } from '../train/task-losses.js'
import { valuesOf } from '../values.js'
import { definePruning } from './define.js'
import { pruneOptions } from './options.js'

export const obd = definePruning({
  name: 'prune/obd',
  version: 1,
  summary: 'sets the weights to 0 that raise the loss least, by the diagonal of its Hessian',
  options: pruneOptions('global', {
    /** Random vectors, each a product with the Hessian. */
    vectors: z.int().positive().max(10_000).default(32),
    /** Examples whose mean loss is differentiated twice. */
    samples: z.int().positive().max(1e7).default(512),
    batchSize: z.int().positive().max(65_536).default(128),
  }),
  data: 'losses',
  score: {
    of: async ({ model, targets, context, round }) => {
      const { vectors, samples, batchSize } = context.options
      const seed = context.rng('obd', round).uint32()
      const losses = await lossesOf('prune/obd', model, context, { samples, batchSize, seed })
      const h = ofModel(model, losses, { layers: targets.map((t) => t.path) })
      try {
        const signal = context.signal ? { signal: context.signal } : {}
        const onProgress = ({ done, total }: { done: number; total: number }): void => context.progress('prune/obd', done, total)
        const found = await diagonal(h, { maxSamples: vectors, tolerance: 0, seed, onProgress, ...signal })
        const curvature = found.diagonal.read()
        found.diagonal.dispose()
        return new Map(
          targets.map(({ path, leaf }) => {
            const { offset } = h.parts.find((p) => p.name === path)!
            return [path, valuesOf(leaf.value).map((x, i) => 0.5 * Math.max(0, Number(curvature[offset + i])) * x * x)]
          }),
        )
      } finally {
        h.dispose()
      }
    },
  },
})
