/** What is said about a run when it is over. */
import type { Json } from '../../base/json-types.js'
import { VERSION } from '../../base/version.js'
import { placesOf, type Model, type PlacedWeight } from '../../nn/index.js'
import type { CompressReport, PassOutcome } from '../outcome.js'
import type { Recipe } from '../recipe.js'
import { layerOutcome, pairs, weightBytes } from './layers.js'
import type { Recorder } from './recorder.js'
import type { Job } from './run.js'
import { stepsOf, type Step } from './step.js'

export function passOutcome(
  { place, spec, definition }: Step,
  before: Model,
  after: Model,
  targets: readonly PlacedWeight[],
  recorder: Recorder,
): PassOutcome {
  return {
    stage: place.stage,
    index: place.pass,
    pass: spec.pass,
    version: definition.version,
    options: spec.options,
    targets: targets.map((t) => t.path),
    bytesBefore: weightBytes(before),
    bytesAfter: weightBytes(after),
    layers: pairs(before, after).flatMap(({ old, now }) => (now.weight === old.weight ? [] : [layerOutcome(old, now)])),
    ...recorder.outcome(),
  }
}

/** The result knows how it was made. No times: the same run gives the same file. */
export function withHistory(model: Model, { source, sourceHash, recipe, options: { data } }: Job): Model {
  const entry = {
    kind: 'compress',
    tersor: VERSION,
    recipe: recipe as unknown as Json,
    source: { name: source.info.name, hash: sourceHash },
    ...(data ? { data: data.name, examples: data.size } : {}),
  }
  return model.withInfo({ history: [...source.info.history, entry] })
}

export interface RunFacts {
  readonly sourceHash: string
  readonly recipe: Recipe
  readonly passes: readonly PassOutcome[]
  readonly seconds: number
}

export function runReport(source: Model, result: Model, { sourceHash, recipe, passes, seconds }: RunFacts): CompressReport {
  const layers = pairs(source, result).map(({ old, now }) => layerOutcome(old, now))
  return {
    name: source.info.name,
    recipe: recipe as unknown as Json,
    seed: recipe.seed,
    sourceHash,
    versions: { tersor: VERSION, passes: Object.fromEntries(stepsOf(recipe).map((s) => [s.spec.pass, s.definition.version])) },
    bytesBefore: weightBytes(source),
    bytesAfter: weightBytes(result),
    parameters: source.parameters(),
    ...(result.parameters() === source.parameters() ? {} : { parametersAfter: result.parameters() }),
    nonzeros: [...placesOf(result).keys()].reduce((n, weight) => n + weight.nonzeros(), 0),
    seconds,
    passes,
    layers,
  }
}
