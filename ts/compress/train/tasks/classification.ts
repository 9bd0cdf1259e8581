/** Classification: cross-entropy of the model's class scores, accuracy on held-out data. */
import { NumericError, OptionError } from '../../../base/errors.js'
import type { Dataset } from '../../../data/dataset.js'
import { batchInputs } from '../../../models/inputs.js'
import { crossEntropy } from '../../../ops/index.js'
import { tensor } from '../../../tensor/index.js'
import { accuracy } from '../accuracy.js'
import type { TrainTask } from '../task.js'
import { sampleBatches, splitIndices } from './samples.js'
import { dataHash } from '../../run/fingerprint.js'

export interface ClassificationOptions {
  /** Held-out data, evaluated after each epoch. */
  readonly validation?: Dataset | undefined
}

/**
 * The task of `train`: samples with one class each.
 *
 * - a model that is not made for classification, or for another number of classes: ERR_OPTION
 *
 * @example
 * const { model } = await trainTask(untrained, classification(data, { validation }), { epochs: 3 })
 */
export function classification(data: Dataset, { validation }: ClassificationOptions = {}): TrainTask<Uint32Array> {
  let options: { readonly digest: string } | undefined
  return {
    kind: 'classification',
    get options() {
      return (options ??= { digest: dataHash(data) })
    },
    name: data.name,
    examples: data.size,
    check: ({ info: { task, classes, name } }) => {
      if (task !== 'classification')
        throw new OptionError('ERR_OPTION', `train: ${name} is made for ${task}; ${data.name} is for classification`)
      if (classes && classes.length !== data.classes.length)
        throw new OptionError('ERR_OPTION', `train: ${name} has ${classes.length} classes, ${data.name} has ${data.classes.length}`)
    },
    batches: (_model, settings, from) => sampleBatches(data.size, settings, from),
    count: (indices) => indices.length,
    split: splitIndices,
    loss: ({ forward, model, settings: { labelSmoothing } }, indices) => {
      const { x, labels } = batchInputs(model, data, indices)
      return crossEntropy(forward(x), tensor(labels, [indices.length]), { labelSmoothing })
    },
    findBad: (indices, step) => {
      if (data.input !== 'numbers') return
      const { x } = data.batch(indices)
      badSample(data.name, x, indices, step)
    },
    ...(validation
      ? {
          goal: { name: 'accuracy', mode: 'max' },
          evaluate: async (model, breathe) => ({ accuracy: await accuracy(model, validation, breathe) }),
        }
      : {}),
  }
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
