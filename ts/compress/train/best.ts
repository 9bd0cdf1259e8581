/** Which evaluation was the best, and when to stop: functions of the records, so that a resumed training decides the same. */
import type { EpochRecord } from '../outcome.js'
import { isBetter, type MetricGoal } from './task.js'

export interface BestEvaluation {
  readonly epoch: number
  readonly value: number
  /** Evaluations since then that were not better. */
  readonly since: number
}

/** Over the records that have the figure; one must be better by more than `minDelta` to replace the best. */
export function bestOf(records: readonly EpochRecord[], goal: MetricGoal, minDelta = 0): BestEvaluation | undefined {
  let best: BestEvaluation | undefined
  for (const { epoch, metrics } of records) {
    const value = metrics?.[goal.name]
    if (value === undefined) continue
    if (Number.isFinite(value) && (!best || isBetter(goal, value, best.value, minDelta))) best = { epoch, value, since: 0 }
    else if (best) best = { ...best, since: best.since + 1 }
  }
  return best
}
