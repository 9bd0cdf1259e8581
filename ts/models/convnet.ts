/**
 * A small convolutional net for small grey images: two cheap convolutions, then one wide layer that holds most of the parameters (as in the
 * nets that pruning papers use: there is much to remove and a step stays cheap). For MNIST 263,310 parameters and 520,320 multiply-adds. Max pooling before
 * the ReLU makes values grow, so it starts from smaller weights than He's, with which it does not train at all at some rates and seeds.
 */
import { activation, conv2d, flatten, linear, maxPool2d, sequential } from '../nn/index.js'
import { imageShape, shrink, type Architecture, type ArchitectureOptions } from './architecture.js'

export function convnet({ inputShape, classes }: ArchitectureOptions): Architecture {
  const [c, h, w] = imageShape('convnet', inputShape)
  const side = (size: number): number => shrink('convnet', shrink('convnet', shrink('convnet', shrink('convnet', size, 5), 2, 2), 3), 2, 2)
  const pool = maxPool2d({ kernel: [2, 2], stride: [2, 2] })
  const relu = activation({ function: 'relu' })
  return {
    inputShape: [c, h, w],
    spec: sequential({
      conv1: conv2d({ in: c, out: 8, kernel: [5, 5], stride: [1, 1], padding: [0, 0], bias: true, init: 'fanIn' }),
      pool1: pool,
      relu1: relu,
      conv2: conv2d({ in: 8, out: 20, kernel: [3, 3], stride: [1, 1], padding: [0, 0], bias: true, init: 'fanIn' }),
      pool2: pool,
      relu2: relu,
      flatten: flatten({}),
      fc1: linear({ in: 20 * side(h) * side(w), out: 512, bias: true, init: 'fanIn' }),
      relu3: relu,
      fc2: linear({ in: 512, out: classes, bias: true, init: 'fanIn' }),
    }),
  }
}
