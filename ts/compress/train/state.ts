/**
 * The state of a training as plain data: everything that the next step depends on. A training continued from it gives the same bits as one
 * that was never interrupted.
 */
import type { RawTensor } from '../../base/dtype.js'
import { CheckpointError } from '../../base/errors.js'
import type { Json, JsonObject } from '../../base/json-types.js'
import type { LossScaleState } from '../../optim/index.js'
import type { EpochRecord } from '../outcome.js'
import { plainSettings, trainSettingsSchema, type TrainSettings } from './settings.js'

export interface TrainState {
  /** Kind of the task. */
  readonly task: string
  readonly settings: TrainSettings
  /** Size of the training data: another size would shift every epoch. */
  readonly examples: number
  /** `options` of the task. */
  readonly options?: JsonObject
  /** Steps done, counted from the beginning of the schedule. */
  readonly step: number
  /** Optimizer steps done (differs from `step` after rewinding: Adam's bias correction counts them). */
  readonly updates: number
  /** Loss summed over the examples of the epoch in progress, and their number. */
  readonly lossSum: number
  readonly seen: number
  /** The epochs completed so far. */
  readonly epochs: readonly EpochRecord[]
  /** Parts of the trained weights by path and part ("fc1.weight/value", "fc1.weight/mask") and state tensors by path ("norm.mean"). */
  readonly values: ReadonlyMap<string, RawTensor>
  /** Optimizer slots by leaf path and slot name ("fc1.weight/velocity"). */
  readonly slots: ReadonlyMap<string, RawTensor>
  /** Values as above of the averaged weights, with `ema`. */
  readonly average?: ReadonlyMap<string, RawTensor>
  /** With precision f16. */
  readonly lossScale?: LossScaleState
  /** Recurrent state that goes on into the next step, by part and path ("0/rnn.h"). */
  readonly carried?: ReadonlyMap<string, RawTensor>
  /** With `keepBest`: values of the best evaluation so far. */
  readonly best?: BestState
}

export interface BestState {
  readonly epoch: number
  /** Of the figure that decides. */
  readonly value: number
  readonly values: ReadonlyMap<string, RawTensor>
}

/** States of the original training at the ends of epochs: what weight rewinding goes back to. */
export interface Snapshots {
  /** Epochs completed, ascending. */
  readonly epochs: readonly number[]
  /** undefined where there is none. */
  at(epoch: number): TrainState | undefined
}

export function snapshotsOf(states: ReadonlyMap<number, TrainState>): Snapshots {
  return { epochs: [...states.keys()].sort((a, b) => a - b), at: (epoch) => states.get(epoch) }
}

/** A state as JSON and tensors, for files. */
export interface PackedState {
  readonly json: JsonObject
  readonly tensors: Map<string, RawTensor>
}

export function packState(state: TrainState): PackedState {
  const { task, settings, examples, options, step, updates, lossSum, seen, epochs, lossScale, best } = state
  const tensors = new Map<string, RawTensor>()
  for (const [name, raw] of state.values) tensors.set(`values/${name}`, raw)
  for (const [name, raw] of state.slots) tensors.set(`slots/${name}`, raw)
  for (const [name, raw] of state.average ?? []) tensors.set(`average/${name}`, raw)
  for (const [name, raw] of state.carried ?? []) tensors.set(`carried/${name}`, raw)
  for (const [name, raw] of best?.values ?? []) tensors.set(`best/${name}`, raw)
  const records = epochs.map(plainRecord)
  return {
    json: {
      task,
      settings: plainSettings(settings),
      examples,
      ...(options ? { options } : {}),
      step,
      updates,
      lossSum,
      seen,
      epochs: records,
      ...(lossScale ? { lossScale: { ...lossScale } } : {}),
      ...(best ? { best: { epoch: best.epoch, value: best.value } } : {}),
    },
    tensors,
  }
}

/** The inverse of packState; tensors of other names are left alone. ERR_CHECKPOINT when the JSON is not that of a state. */
export function unpackState(saved: Json | undefined, tensors: ReadonlyMap<string, RawTensor>): TrainState {
  const json = objectOf(saved ?? null)
  const settings = trainSettingsSchema.safeParse(json.settings)
  const number = (name: string): number => savedNumber(json, name)
  if (!settings.success) throw damaged('settings')
  if (!Array.isArray(json.epochs)) throw damaged('epochs')
  const group = (prefix: string): Map<string, RawTensor> =>
    new Map([...tensors].filter(([name]) => name.startsWith(prefix)).map(([name, raw]) => [name.slice(prefix.length), raw]))
  const [average, carried] = [group('average/'), group('carried/')]
  const { task = 'classification' } = json
  if (typeof task !== 'string') throw damaged('task')
  return {
    task,
    settings: settings.data,
    examples: number('examples'),
    ...(json.options === undefined ? {} : { options: objectOf(json.options) }),
    step: number('step'),
    updates: number('updates'),
    lossSum: number('lossSum'),
    seen: number('seen'),
    epochs: (json.epochs as readonly Json[]).map(recordOf),
    values: group('values/'),
    slots: group('slots/'),
    ...(average.size ? { average } : {}),
    ...(json.lossScale === undefined ? {} : { lossScale: lossScaleOf(json.lossScale) }),
    ...(carried.size ? { carried } : {}),
    ...(json.best === undefined ? {} : { best: { ...bestOf(json.best), values: group('best/') } }),
  }
}

/** A number of a saved state; ERR_CHECKPOINT where it is none. */
export function savedNumber(json: JsonObject, name: string): number {
  const value = json[name]
  if (typeof value !== 'number') throw damaged(name)
  return value
}

/** A list of numbers or of objects; ERR_CHECKPOINT where it is none. */
export function savedList<K extends 'number' | 'object'>(
  json: JsonObject,
  name: string,
  kind: K,
): (K extends 'number' ? number : JsonObject)[] {
  const list = json[name]
  const fits = (v: Json): boolean => (kind === 'number' ? typeof v === 'number' : typeof v === 'object' && v !== null && !Array.isArray(v))
  if (!Array.isArray(list) || !list.every(fits)) throw damaged(name)
  return list as (K extends 'number' ? number : JsonObject)[]
}

/** JSON has no NaN and no infinity: as text. */
const plainNumber = (v: number): Json => (Number.isFinite(v) ? v : String(v))

function plainRecord({ accuracy, metrics, ...rest }: EpochRecord): JsonObject {
  return {
    ...rest,
    ...(accuracy === undefined ? {} : { accuracy: plainNumber(accuracy) }),
    ...(metrics ? { metrics: Object.fromEntries(Object.entries(metrics).map(([name, v]) => [name, plainNumber(v)])) } : {}),
  }
}

function recordOf(json: Json): EpochRecord {
  const { accuracy, metrics, ...rest } = objectOf(json)
  const numberOf = (v: Json): number => (typeof v === 'string' ? Number(v) : typeof v === 'number' ? v : NaN)
  return {
    ...(rest as unknown as EpochRecord),
    ...(accuracy === undefined ? {} : { accuracy: numberOf(accuracy) }),
    ...(metrics === undefined
      ? {}
      : { metrics: Object.fromEntries(Object.entries(objectOf(metrics)).map(([name, v]) => [name, numberOf(v)])) }),
  }
}

function objectOf(json: Json): JsonObject {
  return (typeof json === 'object' && json !== null && !Array.isArray(json) ? json : {}) as JsonObject
}

function bestOf(json: Json): Pick<BestState, 'epoch' | 'value'> {
  const { epoch, value } = objectOf(json)
  if (typeof epoch !== 'number' || typeof value !== 'number') throw damaged('best')
  return { epoch, value }
}

function lossScaleOf(json: Json): LossScaleState {
  const { scale, good } = objectOf(json)
  if (typeof scale !== 'number' || !(scale > 0) || typeof good !== 'number' || !(good >= 0)) throw damaged('lossScale')
  return { scale, good }
}

function damaged(name: string): CheckpointError {
  return new CheckpointError('ERR_CHECKPOINT', `training state: ${name} is missing or of the wrong type`, { details: { reason: name } })
}
