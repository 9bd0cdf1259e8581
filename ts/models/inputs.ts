/**
 * From samples of a data set to what a model takes: numbers in the model's input shape, scaled by its `normalize`; texts through its own
 * tokenizer. Training, calibration and evaluation all go through here.
 */
import type { Dataset, NumberDataset } from '../data/dataset.js'
import { DataError, ModelFormatError, UnsupportedError } from '../base/errors.js'
import { sizeOf } from '../base/shape.js'
import { onDevice } from '../native/device.js'
import type { Model, ModuleInput } from '../nn/index.js'
import { tensor, type Tensor } from '../tensor/index.js'

/** Name of the extra that holds a model's tokenizer. */
export const TOKENIZER = 'tokenizer'

/** Makes a model's input from texts. */
export interface TextEncoder {
  encode(texts: readonly string[]): ModuleInput
  /** Tokens of a text after truncation: batches of similar length waste less. */
  length(text: string): number
}

const encoders = new Map<string, (model: Model) => TextEncoder>()
const made = new WeakMap<object, TextEncoder>()

/** Says how models whose root is of this kind read text. */
export function registerTextEncoder(rootKind: string, make: (model: Model) => TextEncoder): void {
  encoders.set(rootKind, make)
}

export function textEncoder(model: Model): TextEncoder {
  const known = made.get(model.extras)
  if (known) return known
  const make = encoders.get(model.root.kind)
  if (!make) throw new UnsupportedError('ERR_UNSUPPORTED', `${model.info.name}: a model of kind ${model.root.kind} does not read text`)
  const encoder = make(model)
  made.set(model.extras, encoder) // models that share their vocabulary share its tables
  return encoder
}

/** One batch as the model's input, where the model lies, with its labels. Call inside a scope, or dispose the tensors. */
export function batchInputs(
  model: Model,
  dataset: Dataset,
  indices: ArrayLike<number>,
): { readonly x: ModuleInput; readonly labels: Int32Array } {
  if (dataset.input === 'text') {
    const { texts, labels } = dataset.batch(indices)
    return { x: onDevice(model.device, () => textEncoder(model).encode(texts)), labels }
  }
  const { x, labels } = dataset.batch(indices)
  return { x: numberInputs(model, dataset, x, indices.length), labels }
}

/** `count` samples of the data as the model's input; `x` is changed. Call inside a scope, or dispose the tensor. */
export function numberInputs(model: Model, dataset: NumberDataset, x: Float32Array, count: number): Tensor {
  const shape = model.info.inputShape ?? dataset.inputShape
  if (sizeOf(shape) !== sizeOf(dataset.inputShape))
    throw new DataError(
      'ERR_DATA',
      `${dataset.name}: samples are [${dataset.inputShape.join(', ')}], the model takes [${shape.join(', ')}]`,
    )
  normalizeInPlace(model, x, count)
  return onDevice(model.device, () => tensor(x, [count, ...shape]))
}

/** Scales `count` samples as the model's info says. Lists that do not fit a sample: ERR_MODEL_FORMAT. */
export function normalizeInPlace({ info: { name, normalize } }: Model, x: Float32Array, count: number): void {
  if (!normalize) return
  const { mean, std } = normalize
  if (typeof mean === 'number' && typeof std === 'number') {
    const factor = 1 / std
    for (let i = 0; i < x.length; i++) x[i] = (x[i]! - mean) * factor
    return
  }
  const row = x.length / Math.max(1, count)
  const list = (v: number | readonly number[]): Float64Array => {
    if (typeof v !== 'number' && v.length !== row)
      throw new ModelFormatError('ERR_MODEL_FORMAT', `${name}: normalize has ${v.length} numbers, a sample has ${row}`)
    return typeof v === 'number' ? new Float64Array(row).fill(v) : Float64Array.from(v)
  }
  const [means, factors] = [list(mean), list(std).map((v) => 1 / v)]
  for (let i = 0, k = 0; i < x.length; i++) {
    x[i] = (x[i]! - means[k]!) * factors[k]!
    if (++k === row) k = 0
  }
}

/** Indices cut into batches; texts sorted by length first, so that a batch pads little. */
export function evaluationBatches(model: Model, dataset: Dataset, size: number): Uint32Array[] {
  const order = Array.from({ length: dataset.size }, (_, i) => i)
  if (dataset.input === 'text') {
    const encoder = textEncoder(model)
    const lengths = dataset.texts.map((t) => encoder.length(t))
    order.sort((a, b) => lengths[a]! - lengths[b]! || a - b)
  }
  const batches: Uint32Array[] = []
  for (let i = 0; i < order.length; i += size) batches.push(Uint32Array.from(order.slice(i, i + size)))
  return batches
}
