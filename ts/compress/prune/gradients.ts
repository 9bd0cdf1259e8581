/** Gradients of a model's loss with respect to weights, over examples: their mean and the mean of their squares by batch. */
import { valueAndGrad } from '../../autograd/index.js'
import { shuffle } from '../../base/rng.js'
import { subset, type Dataset } from '../../data/dataset.js'
import { batchInputs, evaluationBatches } from '../../models/inputs.js'
import { interruptible } from '../../native/worker-job.js'
import type { Leaf, Model } from '../../nn/index.js'
import { crossEntropy } from '../../ops/index.js'
import { scope, tensor } from '../../tensor/index.js'
import { checkFinite } from '../train/working-copy.js'
import { valuesOf } from '../values.js'

export interface LossGradients {
  readonly mean: Float64Array
  /** Of batch gradients, weighted like them. */
  readonly square: Float64Array
}

/** By path. The loss is cross-entropy, the model runs as in inference. The same examples and bits for the same seed. */
export async function lossGradients(
  model: Model,
  targets: readonly { readonly path: string; readonly leaf: Leaf }[],
  data: Dataset,
  how: { readonly samples: number; readonly batchSize: number; readonly seed: number; readonly breathe: () => Promise<void> },
): Promise<Map<string, LossGradients>> {
  const { samples, batchSize, seed, breathe } = how
  const part = data.size <= samples ? data : subset(data, shuffle(data.size, seed).subarray(0, samples))
  const out = new Map(
    targets.map(({ path, leaf }) => [path, { mean: new Float64Array(leaf.value.size), square: new Float64Array(leaf.value.size) }]),
  )
  for (const indices of evaluationBatches(model, part, batchSize)) {
    const share = indices.length / part.size
    interruptible(() =>
      scope(() => {
        const { grads } = valueAndGrad(
          () => {
            const { x, labels } = batchInputs(model, part, indices)
            return { value: crossEntropy(model.forward(x), tensor(labels, [labels.length])), aux: undefined }
          },
          targets.map(({ leaf }) => leaf.value),
        )
        targets.forEach(({ path }, k) => {
          checkFinite('prune/gradient', 'gradient of', path, grads[k]!)
          const { mean, square } = out.get(path)!
          valuesOf(grads[k]!).forEach((g, i) => {
            mean[i]! += share * g
            square[i]! += share * g * g
          })
        })
      }),
    )
    await breathe()
  }
  return out
}
