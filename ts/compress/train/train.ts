/** Training for users: checked settings, checkpoints in a directory, and a note in the model's history. The loop is in training.ts. */
import { VERSION } from '../../base/version.js'
import type { Dataset } from '../../data/dataset.js'
import type { Model } from '../../nn/index.js'
import { plainSettings, trainSettings, type TrainSettingsInput } from './settings.js'
import type { TrainHooks, TrainResult, TrainStart } from './contract.js'
import type { TrainTask } from './task.js'
import { classification } from './tasks/classification.js'
import { runTraining } from './training.js'

export type { TrainHooks, TrainResult } from './contract.js'

export interface TaskOptions extends TrainSettingsInput, TrainHooks, Pick<TrainStart, 'resume'> {}

export interface TrainOptions extends TaskOptions {
  /** Held-out data, evaluated after each epoch. */
  readonly validation?: Dataset
}

/**
 * Trains a classifier and notes it in its history: `trainTask` with the task `classification`.
 *
 * @example
 * const { model } = await train(untrained, data, { epochs: 5, schedule: { kind: 'cosine', lr: 0.05 }, validation })
 */
export async function train(model: Model, data: Dataset, { validation, ...options }: TrainOptions): Promise<TrainResult> {
  return trainTask(model, classification(data, { validation }), options)
}

/**
 * Trains a model on any task: those of Tersor (`classification`, `regression`, `language`, `tokens`) or one of your own. The model given is not
 * changed; what comes back has a note in its history.
 *
 * - settings out of range, a model that does not fit the task: ERR_OPTION
 * - a state of another training: ERR_CHECKPOINT
 * - a loss, gradient or weight that is not finite: ERR_NUMERIC with stage, layer, tensor and step, before a weight moves
 *
 * @example
 * const { model } = await trainTask(untrained, regression(data), { epochs: 5, optimizer: { kind: 'adam' } })
 */
export async function trainTask<B>(model: Model, task: TrainTask<B>, options: TaskOptions): Promise<TrainResult> {
  const { label, onEvent, signal, checkpoint, snapshotEpochs, onSnapshot, resume, ...settings } = options
  const hooks = defined({ label, onEvent, signal, checkpoint, snapshotEpochs, onSnapshot })
  const result = await runTraining(model, task, trainSettings(settings), hooks, resume ? { resume } : {}, {})
  const entry = {
    kind: 'train',
    task: task.kind,
    tersor: VERSION,
    data: task.name,
    examples: task.examples,
    settings: plainSettings(result.state.settings),
  }
  const noted = (trained: Model): Model => trained.withInfo({ history: [...model.info.history, entry] })
  return {
    ...result,
    model: noted(result.model),
    ...(result.average ? { average: noted(result.average) } : {}),
    ...(result.best ? { best: { ...result.best, model: noted(result.best.model) } } : {}),
  }
}

function defined<T extends object>(record: T): { [K in keyof T]?: Exclude<T[K], undefined> } {
  return Object.fromEntries(Object.entries(record).filter(([, v]) => v !== undefined)) as { [K in keyof T]?: Exclude<T[K], undefined> }
}
