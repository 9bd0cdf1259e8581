/** Which evaluation was the best, and when to stop: functions of the records, so that a resumed training decides the same. */
import type { EpochRecord } from '../outcome.js'
import type { TrainSettings } from './settings.js'
import { isBetter, type MetricGoal, type TrainTask } from './task.js'

/** The figure that decides: that of the settings, else that of the task. undefined where nothing does, or which way is better is not known. */
export function goalOf(task: Pick<TrainTask, 'goal' | 'figures'>, { metric }: TrainSettings): MetricGoal | undefined {
  if (!metric) return task.goal
  const mode = metric.mode ?? task.figures?.[metric.name] ?? (task.goal?.name === metric.name ? task.goal.mode : undefined)
  return mode && { name: metric.name, mode }
}

export interface BestEvaluation {
  readonly epoch: number
  readonly value: number
  /** Evaluations since then that were not better. */
  readonly since: number
}

/** Over the records of evaluations (one without the figure, where it is not defined, is not better); one must be better by more than `minDelta` to replace the best. */
export function bestOf(records: readonly EpochRecord[], goal: MetricGoal, minDelta = 0): BestEvaluation | undefined {
  let best: BestEvaluation | undefined
  for (const { epoch, metrics } of records) {
    if (!metrics) continue
    const value = metrics[goal.name] ?? NaN
    if (Number.isFinite(value) && (!best || isBetter(goal, value, best.value, minDelta))) best = { epoch, value, since: 0 }
    else if (best) best = { ...best, since: best.since + 1 }
  }
  return best
}
