/**
 * Batches with a mean loss each: what curvature, gradients of scores and sensitivities are measured on. Labelled examples are such batches, and so is what any
 * training task learns from (windows of a text, masked tokens, numbers to predict).
 */
import type { Dataset } from '../data/dataset.js'
import { batchInputs, evaluationBatches } from '../models/inputs.js'
import type { Model } from '../nn/index.js'
import { tensor, type Tensor } from '../tensor/index.js'

export interface LossBatch {
  /** How many losses its own is the mean of. */
  readonly count: number
  /** The mean loss of the model as in inference, on the tape. Call inside a scope. */
  readonly loss: (model: Model) => Tensor
}

export interface LossData {
  readonly name: string
  /** Losses in all. */
  readonly size: number
  readonly batches: readonly LossBatch[]
  /** Of what they were made of; measurements that are kept belong to it. */
  readonly hash?: string
}

export const isLossData = (data: Dataset | LossData): data is LossData => 'batches' in data

/** Labelled examples as such batches. */
export function labelledBatches(
  model: Model,
  data: Dataset,
  batchSize: number,
  loss: (output: Tensor, labels: Tensor) => Tensor,
): LossData {
  const batches = evaluationBatches(model, data, batchSize).map((indices): LossBatch => ({
    count: indices.length,
    loss: (of) => {
      const { x, labels } = batchInputs(of, data, indices)
      return loss(of.forward(x), tensor(labels, [indices.length]))
    },
  }))
  return { name: data.name, size: data.size, batches }
}
