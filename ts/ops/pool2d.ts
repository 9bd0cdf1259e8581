/** Pooling of images [B,C,H,W] without padding. Both kinds are linear given the index, so gradients are adjoint pairs. */
import { defineOp, type Op } from '../autograd/index.js'
import { scope, type Tensor } from '../tensor/index.js'
import { pair, type Pair } from './conv2d.js'

const maxOp = defineOp('max_pool2d', {
  grad: ({ args: [x], results: [, index] }, dy) => ({ x: () => maxUnpool2d(dy, index!, x.shape) }),
  flops: ({ args: [, kernel], results: [y] }) => y!.size * kernel[0]! * kernel[1]!,
  samples: (s) => [
    [s.distinct(2, 2, 4, 6), [2, 2], [2, 2]],
    [s.distinct(1, 2, 5, 4), [3, 2], [1, 2]],
  ],
})

/** dy [B,C,H',W'] added into zeros of `inputShape` at the positions that maxPool2dWithIndex gave: the adjoint of poolSelect2d. */
export const maxUnpool2d: Op<'max_unpool2d'> = defineOp('max_unpool2d', {
  grad: ({ args: [, index] }, u) => ({ dy: () => poolSelect2d(u, index), index: null }),
  samples: (s) => [[s.normal(2, 1, 2, 2), s.index([2, 1, 2, 2], 12), [2, 1, 3, 4]]],
})

/** The elements of x [B,C,H,W] at the positions of `index` [B,C,H',W']. */
export const poolSelect2d: Op<'pool_select2d'> = defineOp('pool_select2d', {
  grad: ({ args: [x, index] }, dy) => ({ x: () => maxUnpool2d(dy, index, x.shape), index: null }),
  samples: (s) => [[s.normal(2, 1, 3, 4), s.index([2, 1, 2, 2], 12)]],
})

/** Largest element of each window (the first of equals) and its flat position in the H x W plane, i32. */
export function maxPool2dWithIndex(x: Tensor, kernel: Pair, stride: Pair = kernel): [y: Tensor, index: Tensor] {
  return maxOp(x, pair(kernel), pair(stride))
}

/** Largest element of each window. */
export function maxPool2d(x: Tensor, kernel: Pair, stride: Pair = kernel): Tensor {
  return scope(() => maxPool2dWithIndex(x, kernel, stride)[0])
}

const averageOp: Op<'avg_pool2d'> = defineOp('avg_pool2d', {
  grad: ({ args: [x, kernel, stride] }, dy) => ({ x: () => averageGrad(dy, x.shape, kernel, stride) }),
  flops: ({ args: [, kernel], results: [y] }) => y!.size * kernel[0]! * kernel[1]!,
  samples: (s) => [
    [s.normal(2, 2, 4, 6), [2, 2], [2, 2]],
    [s.normal(1, 1, 5, 4), [3, 2], [1, 1]],
  ],
})

const averageGrad: Op<'avg_pool2d_grad'> = defineOp('avg_pool2d_grad', {
  grad: ({ args: [, , kernel, stride] }, u) => ({ dy: () => averageOp(u, kernel, stride) }),
  samples: (s) => [
    [s.normal(2, 2, 2, 3), [2, 2, 4, 6], [2, 2], [2, 2]],
    [s.normal(1, 1, 3, 3), [1, 1, 5, 4], [3, 2], [1, 1]],
  ],
})

/** Mean of each window. */
export function avgPool2d(x: Tensor, kernel: Pair, stride: Pair = kernel): Tensor {
  return averageOp(x, pair(kernel), pair(stride))
}
