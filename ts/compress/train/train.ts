/** Training for users: checked settings, checkpoints in a directory, and a note in the model's history. The loop is in training.ts. */
import { OptionError } from '../../base/errors.js'
import { VERSION } from '../../base/version.js'
import type { Dataset } from '../../data/dataset.js'
import type { Model } from '../../nn/index.js'
import { TrainCheckpoints, trainKey } from './checkpoints.js'
import { plainSettings, trainSettings, type TrainSettingsInput } from './settings.js'
import { checkTask, type TrainHooks, type TrainResult, type TrainStart } from './contract.js'
import type { TrainState } from './state.js'
import type { TrainTask } from './task.js'
import { classification } from './tasks/classification.js'
import { runTraining } from './training.js'

export type { TrainHooks, TrainResult } from './contract.js'

export interface TaskOptions extends TrainSettingsInput, TrainHooks {
  /** Directory of the training's checkpoints, made if missing, locked against a second process (ERR_BUSY). Without it nothing is written. */
  readonly checkpointDir?: string
  /** Seconds between checkpoints; default 20. One is always written at an abort and at the end. */
  readonly checkpointSeconds?: number
  /**
   * Go on from the newest good checkpoint in `checkpointDir` (from the start when there is none), or from a state. Default false: old checkpoints are
   * removed. A checkpoint of a finished training gives its result at once.
   */
  readonly resume?: boolean | TrainState
}

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
 * - settings out of range, a model that does not fit the task, `resume: true` without `checkpointDir`: ERR_OPTION
 * - a state or checkpoint of another training, or no checkpoint that is whole: ERR_CHECKPOINT with the reason; one that another run uses: ERR_BUSY
 * - a loss, gradient or weight that is not finite: ERR_NUMERIC with stage, layer, tensor and step, before a weight moves
 *
 * @example
 * const { model } = await trainTask(untrained, regression(data), { epochs: 5, optimizer: { kind: 'adam' } })
 */
export async function trainTask<B>(model: Model, task: TrainTask<B>, options: TaskOptions): Promise<TrainResult> {
  const { label, onEvent, signal, checkpoint, snapshotEpochs, onSnapshot, checkpointDir, checkpointSeconds, resume, ...input } = options
  const settings = trainSettings(input)
  const hooks = defined({ label, onEvent, signal, checkpoint, snapshotEpochs, onSnapshot })
  const run = (start: TrainStart, more: TrainHooks): Promise<TrainResult> => runTraining(model, task, settings, more, start, {})
  const given = typeof resume === 'object' ? { resume } : {}
  if (resume === true && checkpointDir === undefined)
    throw new OptionError('ERR_OPTION', 'train: resume needs checkpointDir, or a state to go on from', { details: { pointer: '/resume' } })
  if (checkpointSeconds !== undefined && !(checkpointSeconds >= 0))
    throw new OptionError('ERR_OPTION', `train: checkpointSeconds must be a number >= 0, got ${checkpointSeconds}`, {
      details: { pointer: '/checkpointSeconds' },
    })
  // Before the old checkpoints go.
  checkTask(model, task, settings, given)
  const result =
    checkpointDir === undefined
      ? await run(given, hooks)
      : await checkpointed(new TrainCheckpoints(checkpointDir, trainKey(model, task, settings)), run, given, hooks, {
          resume: resume === true,
          seconds: checkpointSeconds ?? 20,
        })
  const entry = {
    kind: 'train',
    task: task.kind,
    tersor: VERSION,
    data: task.name,
    examples: task.examples,
    settings: plainSettings(settings),
  }
  const noted = (trained: Model): Model => trained.withInfo({ history: [...model.info.history, entry] })
  return {
    ...result,
    model: noted(result.model),
    ...(result.average ? { average: noted(result.average) } : {}),
    ...(result.best ? { best: { ...result.best, model: noted(result.best.model) } } : {}),
  }
}

/** Runs a training that saves itself. The directory is unlocked behind it; the checkpoints stay until their result is safe. */
async function checkpointed(
  store: TrainCheckpoints,
  run: (start: TrainStart, hooks: TrainHooks) => Promise<TrainResult>,
  start: TrainStart,
  hooks: TrainHooks,
  { resume, seconds }: { readonly resume: boolean; readonly seconds: number },
): Promise<TrainResult> {
  let last = performance.now()
  let step = -1
  const save = (state: TrainState): void => {
    // The same step twice would push out the generation before.
    if (state.step === step) return
    const saved = store.save(state)
    step = state.step
    last = performance.now()
    hooks.onEvent?.({ type: 'checkpoint', ...saved })
  }
  try {
    const found = resume ? store.load() : undefined
    if (!resume) store.clear()
    if (found) {
      const { state, ...facts } = found
      hooks.onEvent?.({ type: 'train-resume', label: hooks.label ?? 'train', step: state.step, ...facts })
    }
    const result = await run(found ? { resume: found.state } : start, {
      ...hooks,
      checkpoint: (take, now) => {
        hooks.checkpoint?.(take, now)
        if (now || performance.now() - last >= seconds * 1000) save(take())
      },
    })
    save(result.state)
    return result
  } finally {
    store.close()
  }
}

function defined<T extends object>(record: T): { [K in keyof T]?: Exclude<T[K], undefined> } {
  return Object.fromEntries(Object.entries(record).filter(([, v]) => v !== undefined)) as { [K in keyof T]?: Exclude<T[K], undefined> }
}
