/** Gradients of a model's loss with respect to weights, over examples: their mean and the mean of their squares by batch. */
import { valueAndGrad } from '../../autograd/index.js'
import type { LossData } from '../../analyze/loss-data.js'
import { interruptible } from '../../native/worker-job.js'
import type { Leaf, Model } from '../../nn/index.js'
import { scope } from '../../tensor/index.js'
import { checkFinite } from '../train/working-copy.js'
import { valuesOf } from '../values.js'

export interface LossGradients {
  readonly mean: Float64Array
  /** Of batch gradients, weighted like them. */
  readonly square: Float64Array
}

/** By path. The model runs as in inference. */
export async function lossGradients(
  model: Model,
  targets: readonly { readonly path: string; readonly leaf: Leaf }[],
  data: LossData,
  breathe: () => Promise<void>,
): Promise<Map<string, LossGradients>> {
  const out = new Map(
    targets.map(({ path, leaf }) => [path, { mean: new Float64Array(leaf.value.size), square: new Float64Array(leaf.value.size) }]),
  )
  for (const batch of data.batches) {
    const share = batch.count / data.size
    interruptible(() =>
      scope(() => {
        const { grads } = valueAndGrad(
          () => ({ value: batch.loss(model), aux: undefined }),
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
