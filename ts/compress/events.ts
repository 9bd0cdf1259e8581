/**
 * What a run tells while it works: one union of plain JSON objects for progress bars, reports and workers. Events of a compression carry
 * `at`, the place in the recipe; those of a training on its own do not.
 */
import type { Json } from '../base/json-types.js'

export interface Place {
  /** From 0. */
  readonly stage: number
  readonly stages: number
  /** Index of the pass within its stage. */
  readonly pass: number
  readonly passes: number
  /** Name of the pass. */
  readonly name: string
}

interface Base {
  readonly at?: Place
}

/** A training begins (or goes on: then `step` > `firstStep`). Steps count from the beginning of the schedule, so a replay starts at T - t. */
export interface TrainStart extends Base {
  readonly type: 'train-start'
  /** What for: "train", "round 3 of 8". */
  readonly label: string
  readonly firstStep: number
  readonly step: number
  readonly steps: number
  readonly epochs: number
  readonly stepsPerEpoch: number
  readonly examples: number
}
/** At most ten a second. `loss` is the mean since the last such event. */
export interface TrainStep extends Base {
  readonly type: 'train-step'
  readonly label: string
  readonly epoch: number
  readonly step: number
  readonly steps: number
  readonly loss: number
  readonly lr: number
  readonly examplesPerSecond: number
}
/** An epoch is over. `loss` is its mean training loss; `accuracy` (of classifiers) and `metrics` are those on the validation data. */
export interface TrainEpoch extends Base {
  readonly type: 'train-epoch'
  readonly label: string
  /** Epochs completed, counted from the beginning of the schedule. */
  readonly epoch: number
  readonly epochs: number
  readonly step: number
  readonly loss: number
  readonly lr: number
  readonly seconds: number
  readonly accuracy?: number
  readonly metrics?: Readonly<Record<string, number>>
  /** The best epoch so far (only with validation). */
  readonly best?: number
}
export interface TrainEnd extends Base {
  readonly type: 'train-end'
  readonly label: string
  readonly step: number
  readonly seconds: number
}
/** A training goes on from a checkpoint. `fallback`: a newer generation that could not be used, and why. */
export interface TrainResume extends Base {
  readonly type: 'train-resume'
  readonly label: string
  readonly generation: number
  readonly step: number
  readonly fallback?: { readonly generation: number; readonly reason: string }
}
export interface CheckpointSaved extends Base {
  readonly type: 'checkpoint'
  readonly generation: number
  readonly bytes: number
}
export type TrainEvent = TrainStart | TrainStep | TrainEpoch | TrainEnd | TrainResume | CheckpointSaved

export type CompressEvent =
  | TrainEvent
  | { readonly type: 'run-start'; readonly recipe: Json; readonly stages: number; readonly parameters: number; readonly bytes: number }
  /** What is going to be done, before it is done: rounds, epochs, cost. */
  | { readonly type: 'plan'; readonly at: Place; readonly plan: Json }
  | { readonly type: 'resume'; readonly stage: number; readonly pass: number; readonly generation: number; readonly fallback: boolean }
  | { readonly type: 'stage-start'; readonly stage: number; readonly stages: number; readonly passes: readonly string[] }
  | { readonly type: 'stage-end'; readonly stage: number; readonly stages: number; readonly seconds: number }
  | { readonly type: 'pass-start'; readonly at: Place; readonly options: Json; readonly targets: readonly string[] }
  | { readonly type: 'pass-end'; readonly at: Place; readonly seconds: number; readonly bytesBefore: number; readonly bytesAfter: number }
  /** `done` of `total` units of `task`; rates and remaining time are for the listener to compute. */
  | { readonly type: 'progress'; readonly at?: Place; readonly task: string; readonly done: number; readonly total: number }
  | { readonly type: 'warning'; readonly at?: Place; readonly message: string }
  | { readonly type: 'run-end'; readonly seconds: number; readonly bytes: number }

export type OnEvent = (event: CompressEvent) => void
