/** Multiplication with the dense values: what every kind falls back on. */
import { conv1d, conv2d, convTranspose2d, embedding, linear, narrowed } from '../../ops/index.js'
import type { Tensor } from '../../tensor/index.js'
import type { WeightUse } from './weight.js'

export function applyDense(w: Tensor, x: Tensor, use: WeightUse): Tensor {
  switch (use.op) {
    case 'linear':
      return linear(x, w, use.bias)
    case 'conv2d':
      return narrowed(conv2d(narrowed(x), narrowed(w), narrowed(use.bias), use))
    case 'conv1d':
      return narrowed(conv1d(narrowed(x), narrowed(w), narrowed(use.bias), use))
    case 'convTranspose2d':
      return narrowed(convTranspose2d(narrowed(x), narrowed(w), narrowed(use.bias), use))
    case 'lookup':
      return narrowed(embedding(w, x, use))
  }
}
