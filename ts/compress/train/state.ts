/**
 * The state of a training as plain data: everything that the next step depends on. A training continued from it gives the same bits as one
 * that was never interrupted.
 */
import type { RawTensor } from '../../base/dtype.js'
import type { JsonObject } from '../../base/json-types.js'
import type { TrainSettings } from './settings.js'

export interface TrainState {
  readonly settings: TrainSettings
  /** Steps done, counted from the beginning of the schedule. */
  readonly step: number
  /** Optimizer steps done (differs from `step` after rewinding: Adam's bias correction counts them). */
  readonly updates: number
  /** Running sums of the epoch in progress. */
  readonly meter: JsonObject
  /** Values of leaves and of state tensors by path ("fc1.weight", "norm.mean"). */
  readonly values: ReadonlyMap<string, RawTensor>
  /** Optimizer slots by leaf path and slot name ("fc1.weight/velocity"). */
  readonly slots: ReadonlyMap<string, RawTensor>
}

/** States of the original training at the ends of epochs: what weight rewinding goes back to. */
export interface Snapshots {
  /** Epochs completed, ascending. */
  readonly epochs: readonly number[]
  /** undefined where there is none. */
  at(epoch: number): TrainState | undefined
}
