/** One sweep of examples through the model for all statistics that the passes of a stage ask for. */
import type { RawTensor } from '../../base/dtype.js'
import type { Json, JsonObject } from '../../base/json-types.js'
import { shuffle } from '../../base/rng.js'
import { subset, type Dataset } from '../../data/dataset.js'
import { batchInputs, evaluationBatches } from '../../models/inputs.js'
import { interruptible } from '../../native/worker-job.js'
import type { Model, Module, ModuleInput, PlacedWeight, Weight } from '../../nn/index.js'
import { scope } from '../../tensor/index.js'
import type { Observer, Statistic } from '../observe/statistic.js'
import type { StatisticRequest } from '../pass.js'
import type { CalibrationSamples, TrainTask } from '../train/task.js'

/** Texts are long and their batches cost much: small ones keep the event loop alive. */
const BATCH = { numbers: 32, text: 8 }

const keyOf = (path: string, statistic: Statistic<unknown>): string => `${path}\n${statistic.key}`

/** Values of statistics by layer. Those of a restored run are still packed: a pass unpacks what it asks for. */
export class Statistics {
  readonly #values = new Map<string, { readonly statistic: Statistic<unknown>; readonly value: unknown }>()
  readonly #packed = new Map<string, { readonly json: Json; readonly tensors: Record<string, RawTensor> }>()

  set(path: string, statistic: Statistic<unknown>, value: unknown): void {
    this.#values.set(keyOf(path, statistic), { statistic, value })
  }

  get<T>(path: string, statistic: Statistic<T>): T | undefined {
    const key = keyOf(path, statistic)
    const packed = this.#packed.get(key)
    if (packed) this.set(path, statistic, statistic.restore(packed.json, packed.tensors))
    this.#packed.delete(key)
    return this.#values.get(key)?.value as T | undefined
  }

  /** Everything as JSON and tensors named `stat/<number>/<name>`. */
  save(tensors: Map<string, RawTensor>): Json {
    const out: Json[] = []
    const put = (key: string, json: Json, parts: Readonly<Record<string, RawTensor>>): void => {
      for (const [name, raw] of Object.entries(parts)) tensors.set(`stat/${out.length}/${name}`, raw)
      out.push({ key, json, parts: Object.keys(parts) })
    }
    for (const [key, { statistic, value }] of this.#values) {
      const { json, tensors: parts = {} } = statistic.save(value)
      put(key, json, parts)
    }
    for (const [key, { json, tensors: parts }] of this.#packed) put(key, json, parts)
    return out
  }

  static restore(json: Json, tensors: ReadonlyMap<string, RawTensor>): Statistics {
    const all = new Statistics()
    ;(json as readonly JsonObject[]).forEach(({ key, json: value, parts }, i) => {
      const own = Object.fromEntries((parts as readonly string[]).map((name) => [name, tensors.get(`stat/${i}/${name}`)!]))
      all.#packed.set(key as string, { json: value!, tensors: own })
    })
    return all
  }
}

export interface Sweep {
  readonly requests: readonly StatisticRequest[]
  readonly samples: number
  readonly seed: number
  readonly breathe: () => Promise<void>
  readonly progress: (done: number, total: number) => void
}

/** Examples by index, and batches of some of them (default: all). */
export interface CalibrationSource {
  readonly size: number
  batches(model: Model, chosen?: Uint32Array): Batch[]
}
interface Batch {
  readonly size: number
  /** Call inside a scope. */
  input(): ModuleInput
}

function fromData(data: Dataset): CalibrationSource {
  return {
    size: data.size,
    batches: (model, chosen) => {
      const part = chosen ? subset(data, chosen) : data
      return evaluationBatches(model, part, BATCH[part.input]).map((indices) => ({
        size: indices.length,
        input: () => batchInputs(model, part, indices).x,
      }))
    },
  }
}

function fromTask(samples: CalibrationSamples): CalibrationSource {
  const { size, batch } = samples
  return {
    size,
    batches: (model, chosen = Uint32Array.from({ length: size }, (_, i) => i)) =>
      Array.from({ length: Math.ceil(chosen.length / batch) }, (_, i) => {
        const indices = chosen.subarray(i * batch, (i + 1) * batch)
        return { size: indices.length, input: () => samples.input(model, indices) }
      }),
  }
}

/** What is calibrated on: `data`, else what the task has for it. */
export function calibrationSource(data: Dataset | undefined, task: TrainTask | undefined): CalibrationSource | undefined {
  if (data) return fromData(data)
  const samples: CalibrationSamples | undefined =
    task?.calibration ??
    (task?.bySample && { size: task.examples, batch: BATCH.numbers, input: (of, indices) => task.bySample!.input(of, indices) })
  return samples && fromTask(samples)
}

/**
 * Layers of a kind that multiply with one weight, by each of them. Groups decide what stands in a row of the weight; what else a layer says (stride,
 * zeros, dilation) only what it is multiplied with, so that moments of such layers add up.
 */
function sharingLayers(model: Model): Map<string, readonly PlacedWeight[]> {
  const layers = new Map<Weight, Map<string, PlacedWeight[]>>()
  for (const placed of model.weights()) {
    const { name, role, weight, module } = placed
    if (name !== 'weight' || (role !== 'matrix' && role !== 'kernel')) continue
    const ways = layers.get(weight) ?? new Map<string, PlacedWeight[]>()
    const way = `${module.kind} ${JSON.stringify(module.config.groups ?? 1)}`
    layers.set(weight, ways.set(way, [...(ways.get(way) ?? []), placed]))
  }
  return new Map(
    [...layers.values()].flatMap((ways) => [...ways.values()].flatMap((list) => list.map(({ layer }) => [layer, list] as const))),
  )
}

interface Watch {
  readonly statistic: Statistic<unknown>
  readonly observer: Observer<unknown>
  /** The layer that is watched, where its weight could be others' too. */
  readonly module: Module | undefined
}

/** Runs the sweep. What layers with one weight see is seen together. Batches are small and the observers keep constant memory, whatever the number of examples. */
export async function calibrate(model: Model, source: CalibrationSource, sweep: Sweep): Promise<Statistics> {
  const observers = new Map<string, Watch[]>()
  const wanted = new Set<string>()
  const sharing = sharingLayers(model)
  for (const { path, statistic } of sweep.requests) {
    if (wanted.has(keyOf(path, statistic))) continue
    // One weight, one rounding: it is to serve the inputs of all layers that share it.
    const observer = statistic.observe(path)
    for (const { layer, module } of sharing.get(path) ?? [{ layer: path, module: undefined }]) {
      wanted.add(keyOf(layer, statistic))
      observers.set(layer, [...(observers.get(layer) ?? []), { statistic, observer, module }])
    }
  }
  const seen = new Set<string>()
  const chosen = source.size <= sweep.samples ? undefined : shuffle(source.size, sweep.seed).subarray(0, sweep.samples)
  const total = chosen?.length ?? source.size
  let done = 0
  for (const batch of source.batches(model, chosen)) {
    interruptible(() =>
      scope(() => {
        model.forward(batch.input(), {
          observe: (path, input) => {
            const here = observers.get(path)
            if (!here) return
            seen.add(path)
            for (const { observer, module } of here) observer.see(input, module)
          },
        })
      }),
    )
    done += batch.size
    sweep.progress(done, total)
    await sweep.breathe()
  }
  const result = new Statistics()
  for (const [path, list] of observers)
    if (seen.has(path)) for (const { statistic, observer } of list) result.set(path, statistic, observer.value())
  return result
}
