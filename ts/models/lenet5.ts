/**
 * LeNet-5 (LeCun et al. 1998, fig. 2) as it is built today: full connections in C3, max pooling, ReLU. On 28 x 28 images the first
 * convolution pads by 2, which gives the 32 x 32 of the paper. 61,706 parameters for MNIST.
 */
import { activation, conv2d, flatten, linear, maxPool2d, sequential } from '../nn/index.js'
import { imageShape, shrink, type Architecture, type ArchitectureOptions } from './architecture.js'

export function lenet5({ inputShape, classes }: ArchitectureOptions): Architecture {
  const [c, h, w] = imageShape('lenet5', inputShape)
  const side = (size: number): number => shrink('lenet5', shrink('lenet5', shrink('lenet5', shrink('lenet5', size + 4, 5), 2, 2), 5), 2, 2)
  const pool = maxPool2d({ kernel: [2, 2], stride: [2, 2] })
  const relu = activation({ function: 'relu' })
  return {
    inputShape: [c, h, w],
    spec: sequential({
      conv1: conv2d({ in: c, out: 6, kernel: [5, 5], stride: [1, 1], padding: [2, 2], bias: true, init: 'fanIn' }),
      relu1: relu,
      pool1: pool,
      conv2: conv2d({ in: 6, out: 16, kernel: [5, 5], stride: [1, 1], padding: [0, 0], bias: true, init: 'fanIn' }),
      relu2: relu,
      pool2: pool,
      flatten: flatten({}),
      fc1: linear({ in: 16 * side(h) * side(w), out: 120, bias: true, init: 'fanIn' }),
      relu3: relu,
      fc2: linear({ in: 120, out: 84, bias: true, init: 'fanIn' }),
      relu4: relu,
      fc3: linear({ in: 84, out: classes, bias: true, init: 'fanIn' }),
    }),
  }
}
