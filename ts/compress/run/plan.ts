/** What a recipe is going to do and cost, before anything runs. */
import type { JsonObject } from '../../base/json-types.js'
import type { Model } from '../../nn/index.js'
import type { Place } from '../events.js'
import { parseRecipe, type Recipe } from '../recipe.js'
import type { CompressOptions } from './options.js'
import { checkStep, stepsOf } from './step.js'

export interface PassPlan {
  readonly at: Place
  /** Rounds, epochs and what else the pass can tell; undefined where it plans nothing. */
  readonly plan: JsonObject | undefined
}

/**
 * The plans of all passes of a recipe on a model: rounds and epochs of pruning, T (1 + k) in all. Nothing runs and nothing changes. Throws what `compress` would refuse, with the same
 * errors. A pass behind one that changes weights is planned as if it came first.
 *
 * @example
 * const plans = planCompression(model, recipe([[prune.magnitude({ iterative: { rounds: 8 } })]]))
 * plans[0].plan.rounds   // 8
 */
export function planCompression(model: Model, recipe: Recipe | JsonObject | string, options: CompressOptions = {}): PassPlan[] {
  return stepsOf(parseRecipe(recipe)).map((step) => ({ at: step.place, plan: checkStep(model, step, options) }))
}
