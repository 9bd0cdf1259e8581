/** What a training takes and gives, and what it refuses before it begins. */
import type { RawTensor } from '../../base/dtype.js'
import { CheckpointError, DataError, DeviceError, OptionError } from '../../base/errors.js'
import { defaultDevice } from '../../native/device.js'
import type { Leaf, Model } from '../../nn/index.js'
import type { TrainEvent } from '../events.js'
import type { EpochRecord } from '../outcome.js'
import { goalOf } from './best.js'
import { plainSettings, type TrainSettings } from './settings.js'
import type { Snapshots, TrainState } from './state.js'
import type { TrainTask } from './task.js'

export interface TrainHooks {
  /** What the training is for, in events. Default "train". */
  readonly label?: string
  readonly onEvent?: (event: TrainEvent) => void
  /** Stops at a step boundary with ERR_ABORTED, after a last `checkpoint`. */
  readonly signal?: AbortSignal
  /** Called after every step; calls `state()` when it wants to save (that copies the weights), at once when `now`. */
  readonly checkpoint?: (state: () => TrainState, now: boolean) => void
  /** Ends of epochs whose states to keep. 0 is the beginning. */
  readonly snapshotEpochs?: readonly number[]
  /** Sees each of them at once: a training that is interrupted and resumed gives back only those of its last part. */
  readonly onSnapshot?: (epoch: number, state: TrainState) => void
}

export interface TrainStart {
  /** Epochs of the schedule to leave out: training goes from there to `settings.epochs`. Default 0. */
  readonly fromEpoch?: number
  /** Continue a training: every value comes from the state. */
  readonly resume?: TrainState
  /** Optimizer slots to begin with (learning-rate rewinding keeps the momentum). Without: zeros. */
  readonly slots?: { readonly slots: ReadonlyMap<string, RawTensor>; readonly updates: number }
  /** Values to begin with (weight rewinding). Masks of the model stay; values under a 0 are set to 0. */
  readonly values?: ReadonlyMap<string, RawTensor>
}

export interface TrainControl {
  /** Runs before step `step`: may change masks and values of the leaves in place (gradual pruning), and weights of the model that is trained. */
  readonly beforeStep?: (step: number, leaves: ReadonlyMap<string, Leaf>, model: Model) => void
  /** Ends the training early, at the first evaluation in which the figure that decides reaches `value`. */
  readonly stop?: { readonly value: number; readonly everySteps: number }
  /** Sees the rate of each step. */
  readonly onLr?: (step: number, lr: number) => void
}

export interface TrainResult {
  /** A new model; weights that were not trained are shared with the one given. */
  readonly model: Model
  /** With `ema`: the model with the averaged weights, the caller's to dispose like `model`. */
  readonly average?: Model
  /** With `keepBest`: the model of the best evaluation (with `ema`: of the average), the caller's to dispose like `model`. */
  readonly best?: { readonly model: Model; readonly epoch: number; readonly value: number }
  /** Steps left out because an f16 gradient overflowed, since this run began. */
  readonly skipped: number
  readonly state: TrainState
  readonly snapshots: Snapshots
  readonly epochs: readonly EpochRecord[]
  /** True when the stop rule ended it. */
  readonly stopped: boolean
}

/** ERR_OPTION for what cannot be trained, ERR_CHECKPOINT for a state of another training. */
export function checkTask(model: Model, task: TrainTask, settings: TrainSettings, { fromEpoch = 0, resume }: TrainStart): void {
  checkPlace('train', model)
  // Language models say more: how many tokens they need.
  if (task.kind !== 'language' && task.examples === 0) throw new DataError('ERR_DATA', `train: ${task.name} has no examples`)
  task.check?.(model, settings)
  if (model.leaves().size === 0)
    throw new OptionError('ERR_OPTION', `train: no weight of ${model.info.name} can be trained (quantized and sparse weights are final)`)
  if (!Number.isInteger(fromEpoch) || fromEpoch < 0 || fromEpoch > settings.epochs)
    throw new OptionError('ERR_OPTION', `train: must begin at an epoch in [0, ${settings.epochs}], got ${fromEpoch}`)
  const { metric, earlyStop, keepBest } = settings
  if ((metric ?? earlyStop ?? keepBest) && !(task.evaluate && (metric ?? task.goal)))
    throw new OptionError('ERR_OPTION', `train: ${metric ? 'metric' : earlyStop ? 'earlyStop' : 'keepBest'} needs validation data`)
  if (metric) checkMetric(metric.name, task, settings)
  if (resume) checkResume(resume, task, settings)
}

/** Copies and batches are made where tensors are made: elsewhere than the model they would be a silent move, or calls on two devices. */
export function checkPlace(where: string, { device, info }: Model): void {
  if (device === defaultDevice()) return
  throw new DeviceError(
    'ERR_DEVICE',
    `${where}: ${info.name} lies on ${device}, tensors are made on ${defaultDevice()}: setDefaultDevice('${device}') first, or move the model with toDevice`,
  )
}

function checkMetric(name: string, task: TrainTask, settings: TrainSettings): void {
  const refuse = (why: string): never => {
    throw new OptionError('ERR_OPTION', `train: /metric: ${why}`, { details: { pointer: '/metric' } })
  }
  if (task.figures && !Object.hasOwn(task.figures, name))
    refuse(`${task.kind} has the figures ${Object.keys(task.figures).join(', ')}, got ${JSON.stringify(name)}`)
  if (!goalOf(task, settings)) refuse(`task ${task.kind} does not say whether ${name} is better high or low: give mode 'max' or 'min'`)
}

function checkResume(resume: TrainState, task: TrainTask, settings: TrainSettings): void {
  const refuse = (reason: string, message: string): never => {
    throw new CheckpointError('ERR_CHECKPOINT', `train: the saved state ${message}`, { details: { reason } })
  }
  if (resume.task !== task.kind) refuse('task', `is of a ${resume.task} training, this is one of ${task.kind}`)
  if (resume.examples !== task.examples) refuse('examples', `was made with ${resume.examples} examples, ${task.name} has ${task.examples}`)
  const [then, now] = [JSON.stringify(resume.options ?? {}), JSON.stringify(task.options ?? {})]
  if (then !== now) refuse('options', `belongs to other options or data: ${then}, now ${now}`)
  if (JSON.stringify(plainSettings(resume.settings)) !== JSON.stringify(plainSettings(settings)))
    refuse('settings', 'belongs to other settings')
}
