/**
 * A compression pass: a function from a model to a model, described as data. `definePass` returns a factory; calling it gives a
 * `PassSpec`, plain JSON that stands in recipes. The runner reads `needs`, `roles`, `ask` and calls `apply`; it knows nothing else of a pass.
 *
 * Contract of `apply`: the model it is given is not changed; what it returns shares untouched weights with it and owns the new ones. Between
 * expensive steps it awaits `context.breathe()`, which lets other work run and throws ERR_ABORTED. A pass that works for long saves with
 * `context.checkpoint` and starts from `context.saved`; the result must be bit-identical to an unbroken run.
 */
import type { z } from 'zod'
import type { RawTensor } from '../base/dtype.js'
import type { Json, JsonObject } from '../base/json-types.js'
import type { Rng } from '../base/rng.js'
import type { Dataset } from '../data/dataset.js'
import type { Model, PlacedWeight, WeightRole } from '../nn/index.js'
import type { CompressEvent } from './events.js'
import type { Statistic } from './observe/statistic.js'
import type { Distill } from './train/distill/options.js'
import type { Snapshots } from './train/state.js'
import type { TrainTask } from './train/task.js'

/** A pass with its options, as it stands in a recipe. */
export interface PassSpec {
  readonly pass: string
  readonly version: number
  readonly options: JsonObject
  /** Patterns over weight paths, or roles as "@matrix". Without: every weight whose role the pass is made for. */
  readonly targets?: readonly string[]
  readonly ignore?: readonly string[]
}

/** What the runner must provide. */
export interface PassNeeds {
  /** The options of a distillation: checked against the teachers before anything runs. */
  readonly distill?: Distill | undefined
  /** It learns from teachers in a way that cannot be checked before. */
  readonly teachers?: boolean
  /** A sweep of data through the model before `apply`; the texts of a task do as well. */
  readonly calibration?: boolean
  /** Losses to measure or to differentiate: labelled data for a model that gives scores of classes, else a task. */
  readonly losses?: boolean
  /** Data to train on. */
  readonly training?: boolean
}

/** A wish for a statistic of the input of the layer at `path`. */
export interface StatisticRequest {
  readonly path: string
  readonly statistic: Statistic<unknown>
}

/** What a pass saves in the middle of its work, and gets back as `context.saved`. */
export interface PassState {
  readonly json: JsonObject
  readonly tensors: ReadonlyMap<string, RawTensor>
}

export interface PassContext<O> {
  readonly options: O
  /** In the model's order. */
  readonly targets: readonly PlacedWeight[]
  /** The model that the recipe began with. */
  readonly source: Model
  /** Bytes of the file that a model would make as the result of this run, its history included. */
  readonly fileBytes: (model: Model) => number
  /** The value of a statistic that `ask` asked for; undefined where the layer was never run. */
  readonly statistic: <T>(path: string, statistic: Statistic<T>) => T | undefined
  readonly data?: Dataset
  readonly validation?: Dataset
  /** What to train on, where it is not the classification of `data`; make the task of a retraining with `retrainTask(context, ...)`. */
  readonly task?: TrainTask
  /** Models to learn from, where the caller gave some. */
  readonly teachers?: readonly Model[]
  /** Folder for outputs of teachers. */
  readonly teacherCache?: string
  /** States of the original training by epoch, where the caller has them. */
  readonly snapshots?: Snapshots
  /** A generator of this pass, made of the recipe's seed, stage, place and name. */
  readonly rng: (...path: readonly (string | number)[]) => Rng
  readonly signal?: AbortSignal
  readonly saved?: PassState
  /** Saves when the last save is long enough ago (or `now`). `state` is called only then. */
  readonly checkpoint: (state: () => PassState, now?: boolean) => void
  /** Lets the event loop run when the last time is 15 ms ago; ERR_ABORTED when the signal has fired. */
  readonly breathe: () => Promise<void>
  readonly emit: (event: CompressEvent) => void
  readonly progress: (task: string, done: number, total: number) => void
  /** A remark for the report: what was left alone and why. */
  readonly note: (text: string, path?: string) => void
  readonly warn: (message: string) => void
  /** Figures for the report. */
  readonly figure: (name: string, value: Json) => void
}

/** Facts that a plan is made from. */
export interface PlanFacts {
  readonly targets: readonly PlacedWeight[]
  readonly examples: number | undefined
  readonly validated: boolean
  readonly snapshots: Snapshots | undefined
  /** What the run is given. */
  readonly data?: Dataset | undefined
  readonly validation?: Dataset | undefined
  readonly task?: TrainTask | undefined
}

export interface PassDefinition<S extends z.ZodType> {
  /** "family/method". */
  readonly name: string
  readonly version: number
  /** One line for lists. */
  readonly summary: string
  /** Of objects; unknown keys are refused with the nearest known one named. */
  readonly options: S
  readonly needs?: (options: z.output<S>) => PassNeeds
  /**
   * True where the result may have smaller tensors, or fewer of them, than the model that came in (structured pruning); 'any' where it may be another
   * architecture for the same inputs and outputs (distillation). Of all other passes the runner checks
   * that names and shapes of weights stay.
   */
  readonly changesShapes?: boolean | 'any'
  /** Roles of the weights it works on when the recipe names no targets. */
  readonly roles: readonly WeightRole[]
  /** Statistics of layer inputs, and how many examples they should see. */
  readonly ask?: (
    options: z.output<S>,
    targets: readonly PlacedWeight[],
    model: Model,
  ) => { readonly requests: readonly StatisticRequest[]; readonly samples: number }
  /** Cost before it is paid: rounds, epochs. Throws what would fail later. */
  readonly plan?: (model: Model, options: z.output<S>, facts: PlanFacts) => JsonObject | undefined
  readonly apply: (model: Model, context: PassContext<z.output<S>>) => Model | Promise<Model>
}

export type AnyPass = PassDefinition<z.ZodType<JsonObject>>

/** Where a pass works. */
export interface Where {
  readonly targets?: readonly string[]
  readonly ignore?: readonly string[]
}

export interface PassFactory<S extends z.ZodType> {
  (options?: z.input<S>, where?: Where): PassSpec
  readonly definition: PassDefinition<S>
}

const passes = new Map<string, AnyPass>()

/** Registers a pass, so that recipes can name it, and returns its factory. */
export function definePass<S extends z.ZodType>(definition: PassDefinition<S>): PassFactory<S> {
  passes.set(definition.name, definition as unknown as AnyPass)
  const make = (options?: z.input<S>, where: Where = {}): PassSpec => ({
    pass: definition.name,
    version: definition.version,
    options: options ?? {},
    ...(where.targets ? { targets: where.targets } : {}),
    ...(where.ignore ? { ignore: where.ignore } : {}),
  })
  return Object.assign(make, { definition })
}

/** Passes defined so far, by name. Lookups go through registry.ts, which knows those of the package. */
export function definedPasses(): ReadonlyMap<string, AnyPass> {
  return passes
}
