/** Multiplication with the dense values: what every kind falls back on. */
import { conv1d, conv2d, convTranspose2d, embedding, linear, narrowed, narrowedResult } from '../../ops/index.js'
import type { Tensor } from '../../tensor/index.js'
import type { WeightUse } from './weight.js'

export function applyDense(w: Tensor, x: Tensor, use: WeightUse): Tensor {
  switch (use.op) {
    case 'linear':
      return linear(x, w, use.bias)
    case 'conv2d':
      return narrowedResult(conv2d(narrowed(x), narrowed(w), narrowed(use.bias), use))
    case 'conv1d':
      return narrowedResult(conv1d(narrowed(x), narrowed(w), narrowed(use.bias), use))
    case 'convTranspose2d':
      return narrowedResult(convTranspose2d(narrowed(x), narrowed(w), narrowed(use.bias), use))
    case 'lookup':
      return narrowedResult(embedding(w, x, use))
  }
}
