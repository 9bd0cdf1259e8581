/**
 * The general convolution: groups, dilation and zeros of its own on each side. As in conv2d.ts the op and its two adjoints are bilinear and each
 * other's gradients, so the trio is closed under differentiation.
 */
import { defineOp, sum, type Op } from '../autograd/index.js'

/** @internal x [B,C,H,W], w [O,C/groups,kh,kw], bias [O]; padding: top, bottom, left, right. See `conv2d`. */
export const conv2dGrouped: Op<'conv2d_grouped'> = defineOp('conv2d_grouped', {
  grad: ({ args: [x, w, , stride, padding, dilation, groups] }, dy) => ({
    x: () => conv2dGroupedGradInput(dy, w, x.shape, stride, padding, dilation, groups),
    w: () => conv2dGroupedGradWeight(x, dy, w.shape, stride, padding, dilation, groups),
    bias: () => sum(dy, [0, 2, 3], false),
  }),
  flops: ({ args: [, w], results: [y] }) => 2 * y!.size * w.shape[1]! * w.shape[2]! * w.shape[3]!,
  samples: (s) => [
    [s.normal(2, 4, 4, 5), s.normal(2, 2, 2, 2), s.normal(2), [1, 1], [0, 0, 0, 0], [1, 1], 2],
    [s.normal(1, 3, 5, 4), s.normal(3, 1, 3, 3), null, [1, 1], [2, 0, 1, 1], [1, 1], 3],
    [s.normal(1, 2, 6, 5), s.normal(4, 1, 2, 2), s.normal(4), [2, 1], [1, 1, 0, 2], [1, 2], 2],
    [s.normal(1, 2, 5, 6), s.normal(3, 2, 2, 3), null, [1, 2], [1, 1, 2, 2], [3, 2], 1],
  ],
})

/** @internal The adjoint in x: dy [B,O,H',W'], w [O,C/groups,kh,kw] -> `inputShape`; the transposed convolution. */
export const conv2dGroupedGradInput: Op<'conv2d_grouped_grad_input'> = defineOp('conv2d_grouped_grad_input', {
  grad: ({ args: [dy, w, , stride, padding, dilation, groups] }, u) => ({
    dy: () => conv2dGrouped(u, w, null, stride, padding, dilation, groups),
    w: () => conv2dGroupedGradWeight(u, dy, w.shape, stride, padding, dilation, groups),
  }),
  flops: ({ args: [dy, w] }) => 2 * dy.size * w.shape[1]! * w.shape[2]! * w.shape[3]!,
  samples: (s) => [
    [s.normal(2, 2, 3, 4), s.normal(2, 2, 2, 2), [2, 4, 4, 5], [1, 1], [0, 0, 0, 0], [1, 1], 2],
    [s.normal(1, 4, 4, 5), s.normal(4, 1, 2, 2), [1, 2, 6, 5], [2, 1], [1, 1, 0, 2], [1, 2], 2],
    [s.normal(1, 2, 2, 3), s.normal(2, 1, 3, 3), [1, 2, 4, 6], [2, 2], [1, 1, 1, 1], [1, 1], 2],
  ],
})

/** @internal The adjoint in w: x [B,C,H,W], dy [B,O,H',W'] -> `weightShape`. */
export const conv2dGroupedGradWeight: Op<'conv2d_grouped_grad_weight'> = defineOp('conv2d_grouped_grad_weight', {
  grad: ({ args: [x, dy, , stride, padding, dilation, groups] }, v) => ({
    x: () => conv2dGroupedGradInput(dy, v, x.shape, stride, padding, dilation, groups),
    dy: () => conv2dGrouped(x, v, null, stride, padding, dilation, groups),
  }),
  flops: ({ args: [, dy, shape] }) => 2 * dy.size * shape[1]! * shape[2]! * shape[3]!,
  samples: (s) => [
    [s.normal(2, 4, 4, 5), s.normal(2, 2, 3, 4), [2, 2, 2, 2], [1, 1], [0, 0, 0, 0], [1, 1], 2],
    [s.normal(1, 2, 6, 5), s.normal(1, 4, 4, 5), [4, 1, 2, 2], [2, 1], [1, 1, 0, 2], [1, 2], 2],
  ],
})
