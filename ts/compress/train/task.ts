/**
 * What the training loop has to know of a task: where batches come from, the loss of one, how good a model is. The loop does everything else
 * (optimizer, precision, parts, averages, events, checkpoints) and asks no task which one it is.
 *
 * Contract: everything is a function of what is passed. The batches of a source depend on the settings and on the place alone, the loss on the batch,
 * the model and `step`: then a training that was interrupted goes on with the same bits. What a task draws it draws from (settings.seed, step).
 */
import type { JsonObject } from '../../base/json-types.js'
import type { Portable } from '../../base/portable.js'
import type { ForwardContext, Model, ModuleInput } from '../../nn/index.js'
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

/** Sees what every module gives, inner modules first: hidden states for further terms of a loss. Free where it is not given. */
export type Look = NonNullable<ForwardContext['output']>

export interface LossContext {
  /** Runs the model as the training wants it: dropout on, in its precision, with the state that is carried. Call it at least once. */
  readonly forward: (x: ModuleInput, look?: Look) => Tensor
  readonly model: Model
  /** Current values of what is trained beside the model (`prepare`), on the tape. */
  readonly beside?: ReadonlyMap<string, Tensor>
  /** `own` of what `prepare` gave. */
  readonly prepared?: unknown
  /** With tasks that carry state: what goes on to the next step, saved with the training. A path that begins with "@" is never one of the model's. */
  readonly carried?: Map<string, Tensor>
  readonly settings: TrainSettings
  /** Differs from part to part of a batch. */
  readonly step: number
}

/** The mean of `count` losses. 0: there is nothing to learn from, and the loss is 0. */
export interface CountedLoss {
  readonly loss: Tensor
  readonly count: number
  /** 1 for each row of the model's output (its last axis left out) that has a loss, 0 for others. Without: all have one. */
  readonly rows?: Float32Array
}

/** A batch that is made of samples by index, and of nothing else: what is known of a sample may be computed once and kept. */
export interface BySample<B> {
  /** undefined where the input of this batch does not follow from the indices (augmentation). */
  indices(batch: B): Uint32Array | undefined
  /** The input of any model for these samples. Call inside a scope. */
  input(model: Model, indices: Uint32Array): ModuleInput
  /** All samples once, in batches that suit the model. */
  sweep(model: Model): readonly Uint32Array[]
}

/** What passes calibrate on when the run has a task and no data set: samples by index, which a model is run on without labels. */
export interface CalibrationSamples {
  readonly size: number
  /** Samples of a batch. */
  readonly batch: number
  /** Call inside a scope. */
  input(model: Model, indices: Uint32Array): ModuleInput
}

/** First values of something that is trained beside the model: row-major f32. */
export interface BesideValue {
  readonly shape: readonly number[]
  readonly values: Float32Array
}

export interface Prepared {
  /**
   * Values that are trained with the model and are no part of it (learned projections), by name. Optimizer, averages, checkpoints and resume treat
   * them as weights; the model that comes out does not have them.
   */
  readonly beside?: ReadonlyMap<string, BesideValue>
  /** What else the loss needs: comes back as `prepared` of its context. */
  readonly own?: unknown
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
  /** Awaited once before the first step, also of a training that is resumed: long work, values beside the model. The same inputs give the same values. */
  prepare?(model: Model, settings: TrainSettings, breathe: () => Promise<void>): Promise<Prepared>
  /** Where batches are made of samples by index. */
  readonly bySample?: BySample<B>
  /** For statistics of layer inputs, where it is not `bySample`. */
  readonly calibration?: CalibrationSamples
  /** Called after a loss that is not finite: throws ERR_NUMERIC when the fault is in the data. */
  findBad?(batch: B, step: number): void
}

/** True when `value` is better than `than` by more than `margin`. NaN is never better. */
export function isBetter({ mode }: MetricGoal, value: number, than: number, margin = 0): boolean {
  return mode === 'max' ? value > than + margin : value < than - margin
}
