/** Loss, gradients and new running statistics of one batch, in parts when that was asked for. */
import { valueAndGrad } from '../../autograd/index.js'
import type { Dataset } from '../../data/dataset.js'
import { batchInputs } from '../../models/inputs.js'
import { axpby, crossEntropy, scaleShift, withPrecision } from '../../ops/index.js'
import { scope, tensor, zeros, type Tensor } from '../../tensor/index.js'
import type { TrainSettings } from './settings.js'
import type { WorkingCopy } from './working-copy.js'

export interface Gradients {
  readonly loss: number
  /** By leaf path, times the loss scale. */
  readonly grads: ReadonlyMap<string, Tensor>
  /** New values of the state tensors. */
  readonly state: ReadonlyMap<string, Tensor>
}

/**
 * Call inside a scope. In parts, every figure is the mean over the parts, weighted by their sizes: for gradients that is the gradient of the
 * batch (batch norm takes the statistics of each part).
 */
export function gradients(
  copy: WorkingCopy,
  data: Dataset,
  indices: Uint32Array,
  settings: TrainSettings,
  step: number,
  scale: number,
): Gradients {
  const parts = Math.min(settings.accumulate ?? 1, indices.length)
  if (parts === 1) return partGradients(copy, data, indices, settings, step, scale)
  const empty = (of: ReadonlyMap<string, { readonly value: Tensor }>): Map<string, Tensor> =>
    new Map([...of].map(([path, { value }]) => [path, zeros(value.shape, value.dtype)]))
  const grads = empty(copy.leaves)
  const state = new Map<string, Tensor>()
  let loss = 0
  for (let k = 0; k < parts; k++) {
    const [begin, end] = [k, k + 1].map((i) => Math.floor((i * indices.length) / parts)) as [number, number]
    const share = (end - begin) / indices.length
    scope(() => {
      const part = partGradients(copy, data, indices.slice(begin, end), settings, step * parts + k, scale)
      loss += part.loss * share
      for (const [path, sum] of grads) axpby(sum, part.grads.get(path)!, share, 1)
      for (const [path, t] of part.state) {
        if (!state.has(path)) state.set(path, zeros(t.shape, t.dtype))
        axpby(state.get(path)!, t, share, 1)
      }
      // What is returned outlives this part.
      return [...state.values()]
    })
  }
  return { loss, grads, state }
}

function partGradients(
  copy: WorkingCopy,
  data: Dataset,
  indices: Uint32Array,
  { seed, labelSmoothing, precision = 'f32' }: TrainSettings,
  step: number,
  scale: number,
): Gradients {
  const { x, labels } = batchInputs(copy.model, data, indices)
  const target = tensor(labels, [indices.length])
  const paths = [...copy.leaves.keys()]
  const { value, grads, aux } = valueAndGrad(
    () => {
      const state = new Map<string, Tensor>()
      const logits = withPrecision(precision, () => copy.model.forward(x, { training: true, seed, step, stateUpdates: state }))
      const loss = crossEntropy(logits, target, { labelSmoothing })
      return { value: scale === 1 ? loss : scaleShift(loss, scale, 0), aux: state }
    },
    [...copy.leaves.values()].map((leaf) => leaf.value),
  )
  return { loss: value.item() / scale, grads: new Map(paths.map((path, i) => [path, grads[i]!])), state: aux }
}
