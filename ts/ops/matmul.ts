/** Matrix products; matmul and linear are differentiated through each other's transposes only, so any order of derivative works. */
import { defineOp, reshape, sum, type Op } from '../autograd/index.js'
import type { Tensor } from '../tensor/index.js'
import { narrowed } from './precision.js'

const product: Op<'matmul'> = defineOp('matmul', {
  grad: ({ args: [a, b, ta, tb] }, dy) => ({
    a: () => (ta ? product(b, dy, tb, true) : product(dy, b, false, !tb)),
    b: () => (tb ? product(dy, a, true, ta) : product(a, dy, !ta, false)),
  }),
  flops: ({ args: [a, , ta], results: [y] }) => 2 * y!.size * a.shape[a.rank - (ta ? 2 : 1)]!,
  samples: (s) => [
    [s.normal(2, 3), s.normal(3, 4), false, false],
    [s.normal(3, 2), s.normal(3, 4), true, false],
    [s.normal(2, 3), s.normal(4, 3), false, true],
    [s.normal(3, 2), s.normal(4, 3), true, true],
    [s.normal(2, 1, 2, 3), s.normal(3, 3, 2), false, false],
    [s.normal(2, 3, 2), s.normal(3, 1), true, false],
  ],
})

/** a [..., M, K] times b [..., K, N] -> [..., M, N]; leading dimensions broadcast. The flags take an operand as transposed. */
export function matmul(a: Tensor, b: Tensor, transposeA = false, transposeB = false): Tensor {
  return narrowed(product(narrowed(a), narrowed(b), transposeA, transposeB))
}
/** Into memory that exists; see {@link Op.into}. */
matmul.into = product.into

/** @internal x [..., C] as a matrix [rows, C]. */
export function rows(x: Tensor): Tensor {
  return reshape(x, [x.shape.slice(0, -1).reduce((n, d) => n * d, 1), x.shape[x.rank - 1]!])
}

const affine = defineOp('linear', {
  grad: ({ args: [x, w] }, dy) => ({
    x: () => reshape(product(rows(dy), w, false, false), x.shape),
    w: () => product(rows(dy), rows(x), true, false),
    bias: () => sum(rows(dy), [0], false),
  }),
  flops: ({ args: [x], results: [y] }) => 2 * y!.size * x.shape[x.rank - 1]!,
  samples: (s) => [
    [s.normal(2, 3), s.normal(4, 3), s.normal(4)],
    [s.normal(2, 2, 3), s.normal(2, 3), null],
    [s.normal(3), s.normal(2, 3), s.normal(2)],
  ],
})

/** x [..., K] times w^T + bias for w [N, K] and bias [N] -> [..., N]. */
export function linear(x: Tensor, w: Tensor, bias: Tensor | null = null): Tensor {
  return narrowed(affine(narrowed(x), narrowed(w), narrowed(bias)))
}
/** Into memory that exists; see {@link Op.into}. */
linear.into = affine.into
