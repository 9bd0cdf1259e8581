/**
 * Wanda (Sun, Liu, Bair, Kolter, ICLR 2024): |w_ij| |x_j|, the magnitude of a weight times the norm of the inputs that it multiplies, compared within each row. No gradient, no
 * second moments, no retraining needed.
 */
import { z } from 'zod'
import { columnSquares } from '../observe/columns.js'
import { calibrate, calibrationSource } from '../run/calibrate.js'
import { valuesOf } from '../values.js'
import { definePruning } from './define.js'
import { pruneOptions } from './options.js'

export const wanda = definePruning({
  name: 'prune/wanda',
  version: 1,
  summary: 'sets the weights to 0 with the smallest magnitude times norm of their inputs, row by row',
  options: pruneOptions('row', {
    /** Examples to run through the model. */
    samples: z.int().positive().max(1e7).default(128),
  }),
  data: 'inputs',
  score: {
    lacks: ({ module, name }) =>
      columnSquares(module) && name === 'weight' ? undefined : `layers of kind ${module.kind} do not say what their products see`,
    of: async ({ model, targets, context, round }) => {
      const requests = targets.map(({ layer, module }) => ({ path: layer, statistic: columnSquares(module)! }))
      const seen = await calibrate(model, calibrationSource(context.data, context.task)!, {
        ...{ requests, samples: context.options.samples, seed: context.rng('wanda', round).uint32(), breathe: context.breathe },
        progress: (done, total) => context.progress('prune/wanda', done, total),
      })
      return new Map(
        targets.map(({ path, layer, module, leaf }) => {
          const w = valuesOf(leaf.value)
          const found = seen.get(layer, columnSquares(module)!)
          if (!found || found.count === 0) {
            context.note('no example reached this layer: ranked by magnitude', path)
            return [path, w.map(Math.abs)]
          }
          const { groups, width, sums } = found
          const perGroup = w.length / width / groups
          return [path, w.map((x, i) => Math.abs(x) * Math.sqrt(sums[Math.floor(i / width / perGroup) * width + (i % width)]!))]
        }),
      )
    },
  },
})
