/**
 * Convolution and max pooling as one: the convolution's result, four times the size of what pooling keeps of it, never goes through memory, in the
 * derivatives neither. Selecting positions of a convolution is linear in x and in w; the three `select` ops are each other's gradients.
 */
import { defineOp, sum, type Op, type Sampler } from '../autograd/index.js'
import { scope, type Tensor } from '../tensor/index.js'
import { pair, type Pair } from './conv2d.js'
import { maxPoolOp } from './pool2d.js'

/** A valid index for windows over a convolution's result of `shape`. */
const chosen = (s: Sampler, shape: readonly number[], pool: readonly number[]): Tensor =>
  maxPoolOp(s.distinct(...shape), pool, pool, [0, 0], false)[1]

const products = (w: Tensor, pooled: Tensor, pool: readonly number[]): number =>
  2 * pooled.size * pool[0]! * pool[1]! * w.shape[1]! * w.shape[2]! * w.shape[3]!

/** @internal Symmetric zeros as in `conv2dPlain`; windows do not overlap. See `conv2dMaxPool`. */
export const conv2dMaxPoolOp: Op<'conv2d_max_pool'> = defineOp('conv2d_max_pool', {
  grad: ({ args: [x, w, , stride, padding, pool], results: [, index] }, dy) => ({
    x: () => selectGradInput(dy, index!, w, x.shape, stride, padding, pool),
    w: () => selectGradWeight(x, dy, index!, w.shape, stride, padding, pool),
    bias: () => sum(dy, [0, 2, 3], false),
  }),
  flops: ({ args: [, w, , , , pool], results: [y] }) => products(w, y!, pool),
  samples: (s) => [
    [s.normal(2, 2, 5, 6), s.normal(3, 2, 2, 3), s.normal(3), [1, 1], [0, 0], [2, 2]],
    [s.normal(1, 2, 6, 5), s.normal(2, 2, 3, 2), null, [1, 2], [1, 0], [3, 1]],
  ],
})

const select: Op<'conv2d_select'> = defineOp('conv2d_select', {
  grad: ({ args: [x, w, index, stride, padding, pool] }, dy) => ({
    x: () => selectGradInput(dy, index, w, x.shape, stride, padding, pool),
    w: () => selectGradWeight(x, dy, index, w.shape, stride, padding, pool),
    index: null,
  }),
  flops: ({ args: [, w, , , , pool], results: [y] }) => products(w, y!, pool),
  samples: (s) => [
    [s.normal(2, 2, 4, 5), s.normal(3, 2, 3, 2), chosen(s, [2, 3, 2, 4], [2, 2]), [1, 1], [0, 0], [2, 2]],
    [s.normal(1, 1, 5, 4), s.normal(2, 1, 3, 3), chosen(s, [1, 2, 3, 4], [2, 3]), [2, 1], [1, 1], [2, 3]],
  ],
})

const selectGradInput: Op<'conv2d_select_grad_input'> = defineOp('conv2d_select_grad_input', {
  grad: ({ args: [dy, index, w, , stride, padding, pool] }, u) => ({
    dy: () => select(u, w, index, stride, padding, pool),
    index: null,
    w: () => selectGradWeight(u, dy, index, w.shape, stride, padding, pool),
  }),
  flops: ({ args: [dy, , w, , , , pool] }) => products(w, dy, pool),
  samples: (s) => [
    [s.normal(2, 3, 1, 2), chosen(s, [2, 3, 2, 4], [2, 2]), s.normal(3, 2, 3, 2), [2, 2, 4, 5], [1, 1], [0, 0], [2, 2]],
    [s.normal(1, 2, 1, 1), chosen(s, [1, 2, 3, 4], [2, 3]), s.normal(2, 1, 3, 3), [1, 1, 5, 4], [2, 1], [1, 1], [2, 3]],
  ],
})

const selectGradWeight: Op<'conv2d_select_grad_weight'> = defineOp('conv2d_select_grad_weight', {
  grad: ({ args: [x, dy, index, , stride, padding, pool] }, v) => ({
    x: () => selectGradInput(dy, index, v, x.shape, stride, padding, pool),
    dy: () => select(x, v, index, stride, padding, pool),
    index: null,
  }),
  flops: ({ args: [, dy, , shape, , , pool] }) => 2 * dy.size * pool[0]! * pool[1]! * shape[1]! * shape[2]! * shape[3]!,
  samples: (s) => [
    [s.normal(2, 2, 4, 5), s.normal(2, 3, 1, 2), chosen(s, [2, 3, 2, 4], [2, 2]), [3, 2, 3, 2], [1, 1], [0, 0], [2, 2]],
    [s.normal(1, 1, 5, 4), s.normal(1, 2, 1, 1), chosen(s, [1, 2, 3, 4], [2, 3]), [2, 1, 3, 3], [2, 1], [1, 1], [2, 3]],
  ],
})

/**
 * maxPool2d(conv2d(x, w, bias), pool) in one pass: x [B, C, H, W], w [O, C, kh, kw], bias [O] or null -> [B, O, floor(H' / ph), floor(W' / pw)] with
 * windows `pool` = [ph, pw] that do not overlap. Values and gradients are those of the two ops. The same errors: shapes that do not fit are ERR_SHAPE,
 * a stride, padding or pool out of range ERR_OPTION.
 *
 * @example
 * conv2dMaxPool(zeros([16, 1, 28, 28]), zeros([6, 1, 5, 5]), null, { padding: 2, pool: 2 }).shape   // [16, 6, 14, 14]
 */
export function conv2dMaxPool(
  x: Tensor,
  w: Tensor,
  bias: Tensor | null,
  options: { readonly pool: Pair; readonly stride?: Pair; readonly padding?: Pair },
): Tensor {
  const { pool, stride = 1, padding = 0 } = options
  return scope(() => conv2dMaxPoolOp(x, w, bias, pair(stride), pair(padding), pair(pool))[0])
}
