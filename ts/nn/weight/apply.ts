/** Multiplication with the dense values: what every kind falls back on. */
import { conv2d, embedding, linear } from '../../ops/index.js'
import type { Tensor } from '../../tensor/index.js'
import type { WeightUse } from './weight.js'

export function applyDense(w: Tensor, x: Tensor, use: WeightUse): Tensor {
  switch (use.op) {
    case 'linear':
      return linear(x, w, use.bias)
    case 'conv2d':
      return conv2d(x, w, use.bias, use)
    case 'lookup':
      return embedding(w, x)
  }
}
