/** Pooling of images [B,C,H,W]. Both kinds are linear given the index, so gradients are adjoint pairs. */
import { defineOp, type Op } from '../autograd/index.js'

/** @internal Largest element of each window and its flat position in the plane. See `maxPool2d`. */
export const maxPoolOp = defineOp('max_pool2d', {
  grad: ({ args: [x], results: [, index] }, dy) => ({ x: () => maxUnpool2d(dy, index!, x.shape) }),
  flops: ({ args: [, kernel], results: [y] }) => y!.size * kernel[0]! * kernel[1]!,
  samples: (s) => [
    [s.distinct(2, 2, 4, 6), [2, 2], [2, 2], [0, 0], false],
    [s.distinct(1, 2, 5, 4), [3, 2], [1, 2], [0, 0], false],
    [s.distinct(1, 2, 5, 6), [3, 3], [2, 2], [1, 1], true],
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

/** @internal Mean of each window. See `avgPool2d`. */
export const avgPoolOp: Op<'avg_pool2d'> = defineOp('avg_pool2d', {
  grad: ({ args: [x, kernel, stride, padding, ceil, counted] }, dy) => ({
    x: () => avgPoolGrad(dy, x.shape, kernel, stride, padding, ceil, counted),
  }),
  flops: ({ args: [, kernel], results: [y] }) => y!.size * kernel[0]! * kernel[1]!,
  samples: (s) => [
    [s.normal(2, 2, 4, 6), [2, 2], [2, 2], [0, 0], false, true],
    [s.normal(1, 1, 5, 4), [3, 2], [1, 1], [0, 0], false, false],
    [s.normal(1, 2, 4, 5), [3, 2], [2, 2], [1, 1], true, true],
    [s.normal(1, 2, 4, 5), [3, 2], [2, 2], [1, 1], true, false],
  ],
})

const avgPoolGrad: Op<'avg_pool2d_grad'> = defineOp('avg_pool2d_grad', {
  grad: ({ args: [, , kernel, stride, padding, ceil, counted] }, u) => ({
    dy: () => avgPoolOp(u, kernel, stride, padding, ceil, counted),
  }),
  samples: (s) => [
    [s.normal(2, 2, 2, 3), [2, 2, 4, 6], [2, 2], [2, 2], [0, 0], false, true],
    [s.normal(1, 1, 3, 3), [1, 1, 5, 4], [3, 2], [1, 1], [0, 0], false, true],
    [s.normal(1, 1, 3, 3), [1, 1, 4, 4], [3, 3], [2, 2], [1, 1], true, false],
  ],
})
