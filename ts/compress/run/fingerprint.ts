/** What a checkpoint belongs to: the model, the recipe and the data of a run, as hashes. */
import { isLossData, type LossData } from '../../analyze/loss-data.js'
import type { JsonObject } from '../../base/json-types.js'
import { VERSION } from '../../base/version.js'
import type { Dataset } from '../../data/dataset.js'
import { sha256Hex } from '../../formats/safetensors-digest.js'
import type { Model } from '../../nn/index.js'
import type { Recipe } from '../recipe.js'
import { teachersOf, type CompressOptions } from './options.js'

/** Of regression. */
interface Targets {
  readonly size: number
  readonly inputShape: readonly number[]
  readonly outputs: number
  batch(indices: ArrayLike<number>): { readonly x: Float32Array; readonly y: Float32Array }
}

const utf8 = new TextEncoder()
const PROBES = 16

/** sha256 over architecture, configuration and every value. */
export function modelHash(model: Model): string {
  const parts: Uint8Array[] = [utf8.encode(JSON.stringify([model.spec(), model.info]))]
  for (const { path, weight } of model.weights())
    for (const [name, raw] of Object.entries(weight.parts()))
      parts.push(utf8.encode(`${path}/${name}:${weight.kind}${JSON.stringify(weight.config())}${raw.dtype}[${raw.shape}]`), raw.data)
  for (const [path, t] of model.state()) {
    const values = t.read()
    parts.push(utf8.encode(path), new Uint8Array(values.buffer, values.byteOffset, values.byteLength))
  }
  return sha256Hex(...parts)
}

const bytesOf = (a: ArrayBufferView): Uint8Array => new Uint8Array(a.buffer, a.byteOffset, a.byteLength)

/** At most `count` indices, spread over all. */
function probesOf(size: number, count: number): Uint32Array {
  return Uint32Array.from({ length: Math.min(count, size) }, (_, i) => Math.floor((i * size) / count) % size)
}

/** sha256 over every number. */
export function arrayHash(...arrays: readonly ArrayBufferView[]): string {
  return sha256Hex(...arrays.map(bytesOf))
}

/** sha256 over shapes and some samples of data with numbers to predict. */
export function targetsHash(data: Targets): string {
  const { size, inputShape, outputs } = data
  const { x, y } = data.batch(probesOf(size, 256))
  return sha256Hex(utf8.encode(JSON.stringify([size, inputShape, outputs])), bytesOf(x), bytesOf(y))
}

/** sha256 over size, classes, labels and some samples: enough to notice another data set. */
export function dataHash(data: Dataset | undefined): string {
  if (!data) return ''
  const probes = probesOf(data.size, PROBES)
  const batch = data.batch(probes)
  const samples =
    'texts' in batch ? utf8.encode(JSON.stringify(batch.texts)) : new Uint8Array(batch.x.buffer, batch.x.byteOffset, batch.x.byteLength)
  return sha256Hex(
    utf8.encode(JSON.stringify([data.name, data.size, data.classes])),
    new Uint8Array(data.labels.buffer, data.labels.byteOffset, data.labels.byteLength),
    samples,
  )
}

/** Everything that must be the same for a resumed run to give the same result. */
export interface RunKey extends JsonObject {
  readonly tersor: string
  readonly model: string
  readonly recipe: string
  readonly data: string
  readonly validation: string
  readonly snapshots: string
  /** What is trained on, where it is not the data. */
  readonly task: string
  readonly teachers: string
}

function taskHash({ task }: CompressOptions): string {
  return task ? sha256Hex(utf8.encode(JSON.stringify([task.kind, task.name, task.examples, task.options ?? {}]))) : ''
}

export function runKey(model: string, recipe: Recipe, options: CompressOptions): RunKey {
  return {
    tersor: VERSION,
    model,
    recipe: sha256Hex(utf8.encode(JSON.stringify(recipe))),
    data: dataHash(options.data),
    validation: dataHash(options.validation),
    snapshots: options.snapshots ? options.snapshots.epochs.join(',') : '',
    task: taskHash(options),
    teachers: (teachersOf(options) ?? []).map(modelHash).join(','),
  }
}

/** What long measurements of a model on data belong to. */
export function runIdentity(
  model: Model,
  data: Dataset | LossData,
): { readonly tersor: string; readonly model: string; readonly data: string } {
  return { tersor: VERSION, model: modelHash(model), data: isLossData(data) ? (data.hash ?? '') : dataHash(data) }
}
