/**
 * Neurons go: rows of linear layers with the columns of the next layer that read them (the hidden units of feed-forward nets, of gated ones both halves), and
 * hidden units of LSTM and GRU layers with all their gates. Scores as prune/filters has them, on rows.
 */
import { z } from 'zod'
import { definePass } from '../pass.js'
import { lossBatches } from './structured/losses.js'
import { normalizers, oneGoal, structuredFields, structuredNeeds, unlessOne } from './structured/options.js'
import { structuredPlan } from './structured/plan.js'
import { StructuredRun } from './structured/run.js'
import { l1Scores, l2Scores, randomScores, taylorScores } from './structured/scores.js'

const NAME = 'prune/rows'

const options = z
  .strictObject({
    ...structuredFields,
    score: z.enum(['l1', 'l2', 'taylor', 'random']).default('l2'),
    scope: z.enum(['local', 'global']).default('local'),
    normalize: z.enum(normalizers).default('mean'),
  })
  .refine(oneGoal, unlessOne)

export const rows = definePass({
  name: NAME,
  version: 1,
  summary: 'takes hidden neurons out of linear and recurrent layers, with or without retraining',
  options,
  changesShapes: true,
  needs: (o) => structuredNeeds(o, o.score === 'taylor'),
  roles: ['matrix'],
  plan: (model, o, facts) => structuredPlan(NAME, 'neuron', model, o, facts),
  apply: (model, context) =>
    new StructuredRun(model, context, {
      name: NAME,
      unit: 'neuron',
      score: (groups, at, { options: { score, reduce }, rng }, round) => {
        const ways = {
          l1: () => l1Scores(groups, at, reduce),
          l2: () => l2Scores(groups, at, reduce),
          random: () => randomScores(groups, rng('scores', round)),
          taylor: () => taylorScores(groups, at, lossBatches(NAME, at.model, context)),
        }
        return ways[score]()
      },
    }).run(),
})
