/**
 * Runs a recipe on a model: stages in order, in each one sweep over the data and then its passes.
 *
 * Contract: the model given is not changed. Targets, options and needs of every pass are checked before the first one runs. After each pass
 * the invariants are checked and a checkpoint is written; an interrupted run that is resumed gives the same bits and the same report
 * (apart from times) as one that was not. Errors and aborts leave the last checkpoint in place.
 */
import type { JsonObject } from '../../base/json-types.js'
import type { Model } from '../../nn/index.js'
import { parseRecipe, type Recipe } from '../recipe.js'
import { checkPlace } from '../train/contract.js'
import { CheckpointStore } from './checkpoint.js'
import { modelHash, runKey } from './fingerprint.js'
import { checkSource } from './layers.js'
import type { CompressOptions, CompressResult } from './options.js'
import { Run } from './run.js'
import { checkStep, stepsOf } from './step.js'

/**
 * Compresses a model by a recipe (an object, JSON text, or what `recipe()` gives).
 *
 * @example
 * const { model: small, report } = await compress(model, recipe([[quantize.rtn({ bits: 4, layout: 'group' })]]))
 */
export async function compress(model: Model, recipe: Recipe | JsonObject | string, options: CompressOptions = {}): Promise<CompressResult> {
  const parsed = parseRecipe(recipe)
  checkPlace('compress', model)
  checkSource(model)
  for (const step of stepsOf(parsed)) checkStep(model, step, options)
  const sourceHash = modelHash(model)
  const store =
    options.checkpointDir === undefined ? undefined : new CheckpointStore(options.checkpointDir, runKey(sourceHash, parsed, options))
  const run = new Run({ source: model, sourceHash, recipe: parsed, options, store })
  try {
    return await run.run()
  } catch (error) {
    run.fail()
    throw error
  } finally {
    store?.close()
  }
}
