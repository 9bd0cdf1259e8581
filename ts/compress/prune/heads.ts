/**
 * Attention heads go: their rows of query, key and value and their columns of the output. Importance (Michel, Levy, Neubig, NeurIPS 2019, arXiv 1905.10650,
 * section 4.1 and its code): I_h = E |ctx_h . dL/dctx_h| over tokens, with dropout off, divided by its length (L2) over the heads of a layer; the lowest of all
 * layers go first. Grouped queries go with the keys that they share.
 */
import { z } from 'zod'
import { definePass } from '../pass.js'
import { contextScores } from './structured/heads-score.js'
import { lossBatches } from './structured/losses.js'
import { normalizers, oneGoal, structuredFields, structuredNeeds, unlessOne } from './structured/options.js'
import { structuredPlan } from './structured/plan.js'
import { StructuredRun } from './structured/run.js'
import { l2Scores, randomScores } from './structured/scores.js'

const NAME = 'prune/heads'

const options = z
  .strictObject({
    ...structuredFields,
    score: z.enum(['gradient', 'magnitude', 'random']).default('gradient'),
    scope: z.enum(['local', 'global']).default('global'),
    normalize: z.enum(normalizers).default('l2'),
  })
  .refine(oneGoal, unlessOne)

export const heads = definePass({
  name: NAME,
  version: 1,
  summary: 'takes attention heads out of the model, with or without retraining',
  options,
  changesShapes: true,
  needs: (o) => structuredNeeds(o, o.score === 'gradient'),
  roles: ['matrix'],
  plan: (model, o, facts) => structuredPlan(NAME, 'head', model, o, facts),
  apply: (model, context) =>
    new StructuredRun(model, context, {
      name: NAME,
      unit: 'head',
      score: (groups, at, { options: { score, reduce }, rng }, round) => {
        const ways = {
          gradient: () => contextScores(groups, at, lossBatches(NAME, at.model, context)),
          magnitude: () => l2Scores(groups, at, reduce),
          random: () => randomScores(groups, rng('scores', round)),
        }
        return ways[score]()
      },
    }).run(),
})
