/** Classification: cross-entropy of the model's class scores; accuracy, macro F1 and Matthews correlation on held-out data. */
import { ConfusionMatrix } from '../../../analyze/metrics/index.js'
import { DataError, NumericError, OptionError } from '../../../base/errors.js'
import { augmentSettings } from '../../../data/augment-settings.js'
import type { Dataset, NumberDataset } from '../../../data/dataset.js'
import type { LoadedNumbers } from '../../../data/loader/contract.js'
import { openLoader } from '../../../data/loader/loader.js'
import { batchInputs, evaluationBatches, numberInputs } from '../../../models/inputs.js'
import type { Model } from '../../../nn/index.js'
import { add, argmax, crossEntropy, scaleShift } from '../../../ops/index.js'
import { scope, tensor, type Tensor } from '../../../tensor/index.js'
import type { BatchPlace, BatchSource, TrainTask } from '../task.js'
import type { TrainSettings } from '../settings.js'
import { sampleBatches, splitIndices } from './samples.js'
import { dataHash } from '../../run/fingerprint.js'

export interface ClassificationOptions {
  /** Held-out data, evaluated after each epoch. */
  readonly validation?: Dataset | undefined
}

/** Samples by index; or made by a loader, with `augment`, `workers` or `prefetch` in the settings. */
export type ClassBatch = Uint32Array | LoadedNumbers

/**
 * The task of `train`: samples with one class each. Figures on held-out data: accuracy (it decides), macroF1 and matthews (Gorodkin's R_K for more than
 * two classes).
 *
 * - a model that is not made for classification, or for another number of classes; augmentation of what are no images: ERR_OPTION
 *
 * @example
 * const { model } = await trainTask(untrained, classification(data, { validation }), { epochs: 3 })
 */
export function classification(data: Dataset, { validation }: ClassificationOptions = {}): TrainTask<ClassBatch> {
  let options: { readonly digest: string } | undefined
  return {
    kind: 'classification',
    portable: { make: 'classification', args: [data, { validation }] },
    get options() {
      return (options ??= { digest: dataHash(data) })
    },
    name: data.name,
    examples: data.size,
    check: ({ info: { task, classes, name } }, settings) => {
      checkLoading(data, settings)
      if (task !== 'classification')
        throw new OptionError('ERR_OPTION', `train: ${name} is made for ${task}; ${data.name} is for classification`)
      if (classes && classes.length !== data.classes.length)
        throw new OptionError('ERR_OPTION', `train: ${name} has ${classes.length} classes, ${data.name} has ${data.classes.length}`)
    },
    batches: (_model, settings, from) =>
      loads(settings) ? loadedBatches(data as NumberDataset, settings, from) : sampleBatches(data.size, settings, from),
    count: (batch) => ('kind' in batch ? batch.labels.length : batch.length),
    split: (batch, parts) => ('kind' in batch ? splitLoaded(batch, parts) : splitIndices(batch, parts)),
    bySample: {
      indices: (batch) => ('kind' in batch ? undefined : batch),
      input: (model, indices) => batchInputs(model, data, indices).x,
      sweep: (model) => evaluationBatches(model, data, BATCH),
    },
    loss: ({ forward, model, settings: { labelSmoothing } }, batch) => {
      const cost = (scores: Tensor, labels: Int32Array): Tensor => crossEntropy(scores, tensor(labels, [labels.length]), { labelSmoothing })
      if (!('kind' in batch)) {
        const { x, labels } = batchInputs(model, data, batch)
        return cost(forward(x), labels)
      }
      const { x, labels, mixed } = batch
      // A copy: SAM comes twice with the same batch.
      const scores = forward(numberInputs(model, data as NumberDataset, x.slice(), labels.length))
      if (!mixed) return cost(scores, labels)
      return add(scaleShift(cost(scores, labels), mixed.share, 0), scaleShift(cost(scores, mixed.labels), 1 - mixed.share, 0))
    },
    findBad: (batch, step) => {
      if ('kind' in batch) badSample(data.name, batch.x, batch.indices, step)
      else if (data.input === 'numbers') badSample(data.name, data.batch(batch).x, batch, step)
    },
    ...(validation
      ? {
          goal: { name: 'accuracy', mode: 'max' },
          figures: { accuracy: 'max', macroF1: 'max', matthews: 'max' },
          evaluate: (model, breathe) => evaluateClassifier(model, validation, breathe),
        }
      : {}),
  }
}

const loads = ({ augment, workers, prefetch }: TrainSettings): boolean => (augment ?? workers ?? prefetch) !== undefined

function checkLoading(data: Dataset, settings: TrainSettings): void {
  if (!loads(settings)) return
  const refuse = (name: string, why: string): never => {
    throw new OptionError('ERR_OPTION', `train: /${name}: ${why}`, { details: { pointer: `/${name}` } })
  }
  const { augment } = settings
  const name = augment ? 'augment' : settings.workers === undefined ? 'prefetch' : 'workers'
  if (data.input !== 'numbers') return refuse(name, `is for numbers, ${data.name} holds text`)
  if (augment && data.inputShape.length !== 2 && data.inputShape.length !== 3)
    refuse(name, `is for images [C, H, W] or [H, W], ${data.name} has samples [${data.inputShape.join(', ')}]`)
  // Validation and use would not do it.
  if (augment) augmentSettings(augment) // what a schema cannot say
  if (augment?.normalize) refuse('augment/normalize', 'a model that is trained normalizes by itself (normalize of its info)')
}

/** The order is that of `sampleBatches`: without augmentation the bits are the same. */
function loadedBatches(data: NumberDataset, settings: TrainSettings, { epoch, batch }: BatchPlace): BatchSource<LoadedNumbers> {
  const { batchSize, seed, augment, workers = augment ? 1 : 0, prefetch } = settings
  return openLoader(data, {
    batchSize,
    seed,
    workers,
    ...(augment ? { augment } : {}),
    ...(prefetch === undefined ? {} : { prefetch }),
    from: { size: data.size, batchSize, seed, order: 'shuffled', dropLast: false, epoch, batch },
  })
}

function splitLoaded(batch: LoadedNumbers, parts: number): LoadedNumbers[] {
  const { x, shape, labels, indices, mixed } = batch
  const n = labels.length
  const row = x.length / n
  const count = Math.min(parts, n)
  return Array.from({ length: count }, (_, k) => {
    const [begin, end] = [Math.floor((k * n) / count), Math.floor(((k + 1) * n) / count)]
    return {
      ...batch,
      x: x.subarray(begin * row, end * row),
      shape: [end - begin, ...shape.slice(1)],
      labels: labels.subarray(begin, end),
      indices: indices.subarray(begin, end),
      ...(mixed ? { mixed: { labels: mixed.labels.subarray(begin, end), share: mixed.share } } : {}),
    }
  })
}

const BATCH = 256

/** What `classification` says of held-out data. ERR_DATA when there is none. */
export async function evaluateClassifier(
  model: Model,
  data: Dataset,
  breathe: () => Promise<void>,
): Promise<{ readonly accuracy: number; readonly macroF1: number; readonly matthews: number }> {
  let matrix: ConfusionMatrix | undefined
  for (const indices of evaluationBatches(model, data, BATCH)) {
    scope(() => {
      const { x, labels } = batchInputs(model, data, indices)
      const scores = model.forward(x)
      // A model may have more outputs than the data has classes: those are predictions like others.
      matrix ??= new ConfusionMatrix(Math.max(scores.size / indices.length, data.classes.length))
      matrix.update(Array.from(argmax(scores).read(), Number), labels)
    })
    await breathe()
  }
  if (!matrix) throw new DataError('ERR_DATA', `${data.name}: has no examples`)
  const { accuracy, macro, matthews } = matrix.result()
  return { accuracy, macroF1: macro.f1, matthews }
}

/** ERR_NUMERIC when a row of x [n, ...] is not finite; `indices` are the samples in it. */
export function badSample(name: string, x: Float32Array, indices: Uint32Array, step: number): void {
  const bad = x.findIndex((v) => !Number.isFinite(v))
  if (bad < 0) return
  const index = indices[Math.floor(bad / (x.length / indices.length))]!
  throw new NumericError('ERR_NUMERIC', `train: sample ${index} of ${name} holds ${x[bad]} (step ${step})`, {
    details: { stage: 'train', tensor: name, index, step },
  })
}
