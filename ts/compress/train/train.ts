/** Training for users: checked settings, and a note in the model's history. The loop is in training.ts. */
import { VERSION } from '../../base/version.js'
import type { Dataset } from '../../data/dataset.js'
import type { Model } from '../../nn/index.js'
import { plainSettings, trainSettings, type TrainSettingsInput } from './settings.js'
import type { TrainHooks, TrainResult, TrainStart } from './contract.js'
import { runTraining } from './training.js'

export type { TrainHooks, TrainResult } from './contract.js'

export type TrainOptions = TrainSettingsInput & TrainHooks

/**
 * Trains a model and notes it in its history.
 *
 * @example
 * const { model } = await train(untrained, data, { epochs: 5, schedule: { kind: 'cosine', lr: 0.05 }, validation })
 */
export async function train(model: Model, data: Dataset, options: TrainOptions & Pick<TrainStart, 'resume'>): Promise<TrainResult> {
  const { label, validation, onEvent, signal, checkpoint, snapshotEpochs, onSnapshot, resume, ...settings } = options
  const hooks = defined({ label, validation, onEvent, signal, checkpoint, snapshotEpochs, onSnapshot })
  const result = await runTraining(model, data, trainSettings(settings), hooks, resume ? { resume } : {}, {})
  const entry = { kind: 'train', tersor: VERSION, data: data.name, examples: data.size, settings: plainSettings(result.state.settings) }
  const noted = (trained: Model): Model => trained.withInfo({ history: [...model.info.history, entry] })
  return { ...result, model: noted(result.model), ...(result.average ? { average: noted(result.average) } : {}) }
}

function defined<T extends object>(record: T): { [K in keyof T]?: Exclude<T[K], undefined> } {
  return Object.fromEntries(Object.entries(record).filter(([, v]) => v !== undefined)) as { [K in keyof T]?: Exclude<T[K], undefined> }
}
