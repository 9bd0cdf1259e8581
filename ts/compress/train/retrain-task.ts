/**
 * The task that a pass trains on: one place, so that every pass that retrains works for every task and can distil while it prunes or quantizes.
 *
 *   const task = retrainTask(context, context.options.distill)
 *   const target = stopTarget(task, await evaluateGoal(task, model, breathe), share)
 *
 * What is trained on: `task` of the run's options (language, tokens, regression, one of your own), else the classification of `data`; an encoder is
 * trained to give its teacher's embeddings, without labels. Teachers are those of the run, else the model that the recipe began with.
 */
import { OptionError } from '../../base/errors.js'
import type { Dataset } from '../../data/dataset.js'
import type { Model } from '../../nn/index.js'
import { checkDistill, distilled } from './distill/distilled.js'
import { distillSchema, type Distill } from './distill/options.js'
import type { TrainSettings } from './settings.js'
import type { MetricGoal, TrainTask } from './task.js'
import { classification } from './tasks/classification.js'
import { embedding } from './tasks/embedding.js'

/** For the options of a pass: `distill: distillOption`. Left out, nothing is distilled. */
export const distillOption = distillSchema.optional()

/** What a pass knows of the run's data and teachers: its context has it. */
export interface RetrainFacts {
  /** The model that the recipe began with. */
  readonly source: Model
  readonly data?: Dataset | undefined
  readonly validation?: Dataset | undefined
  readonly task?: TrainTask | undefined
  readonly teachers?: readonly Model[] | undefined
  /** Folder for what teachers said. */
  readonly teacherCache?: string | undefined
}

const isEncoder = ({ info }: Model): boolean => info.task === 'embedding'

/** The task of a retraining; make it once for a pass, so that teachers are asked once. ERR_OPTION where there is nothing to train on. */
export function retrainTask(facts: RetrainFacts, distill?: Distill): TrainTask {
  const { source, data, validation, teachers = [source], teacherCache } = facts
  if (!facts.task && !data) throw new OptionError('ERR_OPTION', 'retraining needs data, or a task: give the option "data" or "task"')
  if (!facts.task && isEncoder(source) && !distill)
    throw new OptionError(
      'ERR_OPTION',
      `retraining: ${source.info.name} is an encoder: it is trained to give a teacher's embeddings; give the option "distill"`,
      { details: { pointer: '/distill' } },
    )
  const plain =
    facts.task ?? (isEncoder(source) ? embedding(data!, { validation, teacher: teachers[0]! }) : classification(data!, { validation }))
  if (!distill) return plain
  const options = !facts.task && isEncoder(source) ? { ...distill, alpha: undefined, hard: 0, soft: weightOf(distill) } : distill
  return distilled(plain, { ...options, teacher: teachers, cacheDir: teacherCache })
}

/** An encoder has no labels. */
const weightOf = ({ soft }: Distill): number => (soft !== undefined && soft > 0 ? soft : 1)

/** What can be known to fail before anything runs; for the runner. */
export function checkRetrainTask(model: Model, facts: RetrainFacts, distill: Distill | undefined): void {
  if (distill) checkDistill(distill, model, facts.teachers ?? [facts.source])
}

/** Steps of an epoch of this task. */
export function stepsPerEpoch(task: TrainTask, model: Model, settings: TrainSettings): number {
  const source = task.batches(model, settings, { epoch: 0, batch: 0 })
  source.close?.()
  return source.batchesPerEpoch
}

/** True where the task can be evaluated: with validation data. */
export function hasGoal(task: TrainTask): boolean {
  return task.evaluate !== undefined && task.goal !== undefined
}

/** The figure that decides, on the validation data. ERR_OPTION without any. */
export async function evaluateGoal(task: TrainTask, model: Model, breathe: () => Promise<void>): Promise<number> {
  if (!task.evaluate || !task.goal) throw new OptionError('ERR_OPTION', `${task.name}: this needs validation data`)
  return (await task.evaluate(model, breathe))[task.goal.name] ?? NaN
}

/** The value at which a training may stop: `share` of a figure that should be high, the figure / share of one that should be low. */
export function stopValue(goal: MetricGoal, before: number, share: number): number {
  return goal.mode === 'max' ? share * before : before / share
}
