/**
 * What the training loop has to know of a task: where batches come from, the loss of one, how good a model is. The loop does everything else
 * (optimizer, precision, parts, averages, events, checkpoints) and asks no task which one it is.
 *
 * Contract: everything is a function of what is passed. The batches of a source depend on the settings and on the place alone, the loss on the batch,
 * the model and `step`: then a training that was interrupted goes on with the same bits. What a task draws it draws from (settings.seed, step).
 */
import type { JsonObject } from '../../base/json-types.js'
import type { Portable } from '../../base/portable.js'
import type { Model, ModuleInput } from '../../nn/index.js'
import type { Tensor } from '../../tensor/index.js'
import type { TrainSettings } from './settings.js'

/** Batches in the order of the training. `next` may give a promise: the loop waits for it only then. */
export interface BatchSource<B> {
  readonly batchesPerEpoch: number
  next(): B | Promise<B>
  close?(): void
}

/** The next batch of a training: `batch` of `epoch`, both from 0. */
export interface BatchPlace {
  readonly epoch: number
  readonly batch: number
}

export interface LossContext {
  /** Runs the model as the training wants it: dropout on, in its precision, with the state that is carried. Call it at least once. */
  readonly forward: (x: ModuleInput) => Tensor
  readonly model: Model
  readonly settings: TrainSettings
  /** Differs from part to part of a batch. */
  readonly step: number
}

/** The mean of `count` losses. 0: there is nothing to learn from, and the loss is 0. */
export interface CountedLoss {
  readonly loss: Tensor
  readonly count: number
}

/** Figures of an evaluation by name. */
export type Metrics = Readonly<Record<string, number>>

/** The figure that decides which model is better. */
export interface MetricGoal {
  readonly name: string
  readonly mode: 'max' | 'min'
}

export interface TrainTask<B = unknown> {
  /** For states and history: 'classification'. */
  readonly kind: string
  /** Name of the data. */
  readonly name: string
  /** What an epoch counts: samples, or tokens. */
  readonly examples: number
  /** What else batches and loss depend on (a window, a digest of the data): part of what a checkpoint or state belongs to. Asked for more than once. */
  readonly options?: JsonObject
  /** Refuses (ERR_OPTION, ERR_DATA) a model or settings that do not fit. */
  check?(model: Model, settings: TrainSettings): void
  batches(model: Model, settings: TrainSettings, from: BatchPlace): BatchSource<B>
  /** Weight of a batch in means: the number of losses that its own loss is the mean of. */
  count(batch: B): number
  /** At most `parts` parts, none empty, for `accumulate`. */
  split(batch: B, parts: number): readonly B[]
  /** Mean loss of a batch: a scalar on the tape. With its own count where `count` cannot know it, as the labelled tokens of a batch that is drawn. */
  loss(context: LossContext, batch: B): Tensor | CountedLoss
  /** Figures on held-out data; without it there is no validation. `breathe` lets other work run: await it between batches. */
  evaluate?(model: Model, breathe: () => Promise<void>): Promise<Metrics>
  /** Which figure of `evaluate` decides, when the settings name none. */
  readonly goal?: MetricGoal
  /** All figures of `evaluate`, and which way is better: those that `metric` of the settings can name. A figure that is not defined is left out. */
  readonly figures?: Readonly<Record<string, MetricGoal['mode']>>
  /**
   * With this method the recurrent state goes on from step to step (ForwardContext.carried), without gradient; true where a batch does not go on from
   * the one before and begins with zeros. Each part of a batch has a state of its own, so `split` must cut it the same way every time.
   */
  restarts?(batch: B): boolean
  /**
   * Where `trainTaskInWorker` shall train it: how another thread makes the same task. For one of your own the module that makes it,
   * `{ make: fileURLToPath(import.meta.url), args: [options] }`, whose default export gives the task (or a promise of it) for these arguments.
   */
  readonly portable?: Portable
  /** Called after a loss that is not finite: throws ERR_NUMERIC when the fault is in the data. */
  findBad?(batch: B, step: number): void
}

/** True when `value` is better than `than` by more than `margin`. NaN is never better. */
export function isBetter({ mode }: MetricGoal, value: number, than: number, margin = 0): boolean {
  return mode === 'max' ? value > than + margin : value < than - margin
}
