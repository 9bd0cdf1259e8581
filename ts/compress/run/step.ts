/** One pass in its place in the recipe. */
import { OptionError } from '../../base/errors.js'
import type { JsonObject } from '../../base/json-types.js'
import type { Model, PlacedWeight } from '../../nn/index.js'
import type { Place } from '../events.js'
import type { AnyPass, PassSpec } from '../pass.js'
import type { Recipe } from '../recipe.js'
import { passDefinition } from '../registry.js'
import { selectTargets } from '../targets.js'
import { checkDistill } from '../train/distill/distilled.js'
import { checkLosses } from '../train/task-losses.js'
import { calibrationSource } from './calibrate.js'
import { teachersOf, type CompressOptions } from './options.js'

export interface Step {
  readonly place: Place
  readonly spec: PassSpec
  readonly definition: AnyPass
}

/** The passes of a recipe in order. */
export function stepsOf({ stages }: Recipe): Step[] {
  return stages.flatMap((stage, s) =>
    stage.map((spec, p) => ({
      place: { stage: s, stages: stages.length, pass: p, passes: stage.length, name: spec.pass },
      spec,
      definition: passDefinition(spec.pass),
    })),
  )
}

/** The weights of `model` that the pass works on. */
export function targetsOf(model: Model, { spec, definition, place }: Step): PlacedWeight[] {
  return selectTargets(model, spec, definition.roles, `/stages/${place.stage}/${place.pass}`)
}

/** What can be known to fail is told before anything runs. Gives the pass's plan, if it makes one. */
export function checkStep(model: Model, step: Step, options: CompressOptions): JsonObject | undefined {
  const { data, task, validation, snapshots } = options
  const { definition, spec } = step
  const targets = targetsOf(model, step)
  const needs = definition.needs?.(spec.options) ?? {}
  if (!data && ((needs.calibration && !calibrationSource(data, task)) || (needs.training && !task)))
    throw new OptionError(
      'ERR_OPTION',
      `${spec.pass}: needs data ${needs.training ? 'to train on' : 'for calibration'}; give it as the option "data"`,
    )
  if (needs.losses) checkLosses(spec.pass, model, options)
  if (needs.distill) checkDistill(needs.distill, model, teachersOf(options) ?? [model])
  const validated = task ? task.evaluate !== undefined : validation !== undefined
  return definition.plan?.(model, spec.options, {
    targets,
    examples: task?.examples ?? data?.size,
    validated,
    snapshots,
    data,
    validation,
    task,
  })
}
