/**
 * Filter pruning: whole filters of convolutions go, with everything that is coupled with them (batch norms, residual sums, the columns of the next layer), and
 * what is left is a smaller dense model: nothing has to know about sparsity.
 *
 * Scores by the norm of the filters (Li et al., ICLR 2017, arXiv 1608.08710, section 3.1), to first order by what they do to the loss (Molchanov et al., ICLR
 * 2017, arXiv 1611.06440, eq. 4), by the batch norm behind (Liu et al., ICCV 2017, arXiv 1708.06519), or at random. Coupled filters have one score.
 */
import { z } from 'zod'
import { definePass } from '../pass.js'
import { lossBatches } from './structured/losses.js'
import { normalizers, oneGoal, structuredFields, structuredNeeds, unlessOne } from './structured/options.js'
import { structuredPlan } from './structured/plan.js'
import { StructuredRun } from './structured/run.js'
import { gammaScores, l1Scores, l2Scores, randomScores, taylorScores } from './structured/scores.js'

const NAME = 'prune/filters'

const options = z
  .strictObject({
    ...structuredFields,
    score: z.enum(['l1', 'l2', 'taylor', 'gamma', 'random']).default('l1'),
    scope: z.enum(['local', 'global']).default('local'),
    normalize: z.enum(normalizers).default('mean'),
  })
  .refine(oneGoal, unlessOne)

export const filters = definePass({
  name: NAME,
  version: 1,
  summary: 'takes whole filters of convolutions out of the model, with or without retraining',
  options,
  changesShapes: true,
  needs: (o) => structuredNeeds(o, o.score === 'taylor'),
  roles: ['matrix', 'kernel'],
  plan: (model, o, facts) => structuredPlan(NAME, 'filter', model, o, facts),
  apply: (model, context) =>
    new StructuredRun(model, context, {
      name: NAME,
      unit: 'filter',
      score: (groups, at, { options: { score, reduce }, rng }, round) => {
        const ways = {
          l1: () => l1Scores(groups, at, reduce),
          l2: () => l2Scores(groups, at, reduce),
          gamma: () => gammaScores(groups, at, reduce),
          random: () => randomScores(groups, rng('scores', round)),
          taylor: () => taylorScores(groups, at, lossBatches(NAME, at.model, context)),
        }
        return ways[score]()
      },
    }).run(),
})
