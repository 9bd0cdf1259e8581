/** A model on its way to another thread: architecture and facts as plain data, tensors lent through the job (no copy), other weight kinds as their parts. */
import type { RawTensor } from '../../base/dtype.js'
import type { Json } from '../../base/json-types.js'
import { InternalError } from '../../base/errors.js'
import { device, onDevice, type Device, type DeviceSpec } from '../../native/device.js'
import type { WorkerJob } from '../../native/worker-job.js'
import { build, Model, placesOf, weightKind, type ModelInfo, type ModuleSpec, type Weight } from '../../nn/index.js'
import { callOp, scope, tensorFromPage, type Tensor } from '../../tensor/index.js'

interface ParcelWeight {
  readonly kind: string
  readonly config: Json
  readonly shape: readonly number[]
  /** Numbers of tensors in the job. */
  readonly lent?: Readonly<Record<string, number>>
  readonly parts?: Readonly<Record<string, RawTensor>>
  /** The path of the layer that has it already. */
  readonly same?: string
}

export interface ModelParcel {
  readonly spec: ModuleSpec
  readonly info: ModelInfo
  readonly extras: Readonly<Record<string, RawTensor>>
  readonly weights: ReadonlyMap<string, ParcelWeight>
  readonly state: ReadonlyMap<string, number>
  /** Where it lies, and whether ops without a kernel there run on the processor. */
  readonly device: string
  readonly fallback: boolean
}

function lend(job: WorkerJob, t: Tensor): number {
  return t.contiguous ? job.lend(t) : scope(() => job.lend(callOp('copy', [t])[0]!))
}

/** The model stays usable here; until the job is closed its tensors cannot be written to (ERR_BUSY). */
export function packModel(job: WorkerJob, model: Model): ModelParcel {
  const weights = new Map<string, ParcelWeight>()
  const places = placesOf(model)
  for (const { path, weight } of model.weights()) {
    const [first] = places.get(weight)!
    if (first !== path) {
      weights.set(path, { kind: weight.kind, config: {}, shape: weight.shape, same: first! })
      continue
    }
    const tensors = weightKind(weight.kind).adopt && weight.tensors?.()
    const values = tensors
      ? { lent: Object.fromEntries(Object.entries(tensors).map(([name, t]) => [name, lend(job, t)])) }
      : { parts: onDevice(model.device, () => weight.parts()) }
    weights.set(path, { kind: weight.kind, config: weight.config(), shape: weight.shape, ...values })
  }
  const state = new Map([...model.state()].map(([path, t]) => [path, lend(job, t)]))
  const { name, fallback } = model.device
  return { spec: model.spec(), info: model.info, extras: model.extras, weights, state, device: name, fallback }
}

/** This thread's queue on the device of a model that comes from another thread. */
export const parcelDevice = (parcel: ModelParcel): Device => device(parcel.device as DeviceSpec, { fallback: parcel.fallback })

/** The caller's to dispose. What was lent is shared with the other side, not copied. */
export function unpackModel(job: WorkerJob, parcel: ModelParcel): Model {
  const { spec, info, extras, weights, state } = parcel
  const entry = <T>(of: ReadonlyMap<string, T>, path: string): T => {
    const found = of.get(path)
    if (found === undefined) throw new InternalError('ERR_INTERNAL', `worker: ${path} of ${info.name} did not arrive`)
    return found
  }
  const take = (index: number): Tensor => tensorFromPage(job.take(index))
  const made = new Map<string, Weight>()
  const weight = (path: string): Weight => {
    const w = arrived(entry(weights, path))
    made.set(path, w)
    return w
  }
  const arrived = ({ kind, config, shape, lent, parts, same }: ParcelWeight): Weight => {
    if (same !== undefined) return entry(made, same)
    if (parts) return weightKind(kind).restore(parts, config, shape)
    return weightKind(kind).adopt!(Object.fromEntries(Object.entries(lent!).map(([name, index]) => [name, take(index)])))
  }
  return onDevice(parcelDevice(parcel), () =>
    scope(() => new Model(build(spec, { weight, state: (path) => take(entry(state, path)) }), info, extras)),
  )
}
