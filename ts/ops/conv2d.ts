/**
 * Two-dimensional convolution (cross-correlation) and its two adjoints. All three are bilinear and each other's gradients, so the trio is
 * closed under differentiation.
 */
import { defineOp, sum, type Op } from '../autograd/index.js'

/** A size for height and width alike, or one for each. */
export type Pair = number | readonly [height: number, width: number]

export function pair(p: Pair): readonly [number, number] {
  return typeof p === 'number' ? [p, p] : p
}

/** @internal Symmetric zeros, no groups, no dilation. See `conv2d`. */
export const conv2dPlain: Op<'conv2d'> = defineOp('conv2d', {
  reads: 'arguments',
  grad: ({ args: [x, w, , stride, padding] }, dy) => ({
    x: () => conv2dGradInput(dy, w, x.shape, stride, padding),
    w: () => conv2dGradWeight(x, dy, w.shape, stride, padding),
    bias: () => sum(dy, [0, 2, 3], false),
  }),
  flops: ({ args: [, w], results: [y] }) => 2 * y!.size * w.shape[1]! * w.shape[2]! * w.shape[3]!,
  samples: (s) => [
    [s.normal(2, 2, 4, 5), s.normal(3, 2, 3, 2), s.normal(3), [1, 1], [0, 0]],
    [s.normal(1, 2, 5, 4), s.normal(2, 2, 3, 3), null, [2, 1], [1, 1]],
    [s.normal(1, 1, 6, 6), s.normal(1, 1, 2, 3), s.normal(1), [3, 2], [0, 2]],
  ],
})

/** dy [B,O,H',W'], w [O,C,kh,kw] -> dx of `inputShape`: the gradient of conv2d with respect to x. */
export const conv2dGradInput: Op<'conv2d_grad_input'> = defineOp('conv2d_grad_input', {
  grad: ({ args: [dy, w, , stride, padding] }, u) => ({
    dy: () => conv2dPlain(u, w, null, stride, padding),
    w: () => conv2dGradWeight(u, dy, w.shape, stride, padding),
  }),
  flops: ({ args: [dy, w] }) => 2 * dy.size * w.shape[1]! * w.shape[2]! * w.shape[3]!,
  samples: (s) => [
    [s.normal(2, 3, 2, 4), s.normal(3, 2, 3, 2), [2, 2, 4, 5], [1, 1], [0, 0]],
    [s.normal(1, 2, 3, 4), s.normal(2, 2, 3, 3), [1, 2, 5, 4], [2, 1], [1, 1]],
  ],
})

/** x [B,C,H,W], dy [B,O,H',W'] -> dw of `weightShape`: the gradient of conv2d with respect to w. */
export const conv2dGradWeight: Op<'conv2d_grad_weight'> = defineOp('conv2d_grad_weight', {
  grad: ({ args: [x, dy, , stride, padding] }, v) => ({
    x: () => conv2dGradInput(dy, v, x.shape, stride, padding),
    dy: () => conv2dPlain(x, v, null, stride, padding),
  }),
  flops: ({ args: [, dy, shape] }) => 2 * dy.size * shape[1]! * shape[2]! * shape[3]!,
  samples: (s) => [
    [s.normal(2, 2, 4, 5), s.normal(2, 3, 2, 4), [3, 2, 3, 2], [1, 1], [0, 0]],
    [s.normal(1, 2, 5, 4), s.normal(1, 2, 3, 4), [2, 2, 3, 3], [2, 1], [1, 1]],
  ],
})
