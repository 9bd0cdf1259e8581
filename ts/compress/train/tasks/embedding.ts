/** Encoders without labels: there is no loss of their own, a teacher's embeddings are what is learned (distill). */
import { DataError } from '../../../base/errors.js'
import type { Dataset } from '../../../data/dataset.js'
import { batchInputs, evaluationBatches } from '../../../models/inputs.js'
import type { Model } from '../../../nn/index.js'
import { cosineSimilarity, mean } from '../../../ops/index.js'
import { scope, zeros } from '../../../tensor/index.js'
import { dataHash } from '../../run/fingerprint.js'
import type { TrainTask } from '../task.js'
import { sampleBatches, splitIndices } from './samples.js'

export interface EmbeddingOptions {
  readonly validation?: Dataset | undefined
  /** Whose embeddings the figures compare with. */
  readonly teacher: Model
}

const BATCH = 64

/**
 * The task of encoders that learn from a teacher: for `distilled`, with `hard: 0, soft: 1`. Figure on held-out data: `similarity`, the mean cosine between
 * both embeddings of a sample.
 *
 * @example
 * const task = distilled(embedding(texts, { teacher }), { teacher, hard: 0, soft: 1 })
 */
export function embedding(data: Dataset, { validation, teacher }: EmbeddingOptions): TrainTask<Uint32Array> {
  let options: { readonly digest: string } | undefined
  return {
    kind: 'embedding',
    get options() {
      return (options ??= { digest: dataHash(data) })
    },
    name: data.name,
    examples: data.size,
    batches: (_model, settings, from) => sampleBatches(data.size, settings, from),
    count: (indices) => indices.length,
    split: splitIndices,
    bySample: {
      indices: (indices) => indices,
      input: (model, indices) => batchInputs(model, data, indices).x,
      sweep: (model) => evaluationBatches(model, data, BATCH),
    },
    loss: ({ forward, model }, indices) => {
      forward(batchInputs(model, data, indices).x)
      return zeros([])
    },
    ...(validation
      ? {
          goal: { name: 'similarity', mode: 'max' },
          figures: { similarity: 'max' },
          evaluate: async (model, breathe) => {
            let total = 0
            if (validation.size === 0) throw new DataError('ERR_DATA', `${validation.name}: has no examples`)
            for (const indices of evaluationBatches(model, validation, BATCH)) {
              total += scope(() => {
                const [own, theirs] = [model, teacher].map((m) => m.forward(batchInputs(m, validation, indices).x)) as [never, never]
                return mean(cosineSimilarity(own, theirs)).item() * indices.length
              })
              await breathe()
            }
            return { similarity: total / validation.size }
          },
        }
      : {}),
  }
}
