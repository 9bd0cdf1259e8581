/**
 * Matrix products; matmul and linear are differentiated through each other's transposes only, so any order of derivative works. Operands of 16 bits (both of
 * the same type) multiply with f32 sums: the result has their type, gradients are f32. Their second derivatives are those of f32 products.
 */
import { defineOp, definePrimitive, reshape, sum, type Op } from '../autograd/index.js'
import { callOp, type Tensor } from '../tensor/index.js'
import { cast } from './memory.js'
import { isHalf, narrowed, roundedLike } from './precision.js'

const product: Op<'matmul'> = defineOp('matmul', {
  reads: 'arguments',
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

/**
 * a and b (and bias [N]) of one 16-bit dtype -> y [..., M, N] f32 or of that dtype. Constant to the tape: the functions of this file differentiate it.
 */
export const matmulHalf = defineOp('matmul_half', {
  grad: null,
  flops: ({ args: [a, , , ta], results: [y] }) => 2 * y!.size * a.shape[a.rank - (ta ? 2 : 1)]!,
  samples: (s) => {
    const half = (x: Tensor, dtype: 'bf16' | 'f16'): Tensor => cast(x, dtype)
    return [
      [half(s.normal(2, 3), 'bf16'), half(s.normal(3, 4), 'bf16'), half(s.normal(4), 'bf16'), false, false, 'bf16'],
      [half(s.normal(3, 2), 'f16'), half(s.normal(4, 3), 'f16'), null, true, true, 'f32'],
      [half(s.normal(2, 1, 2, 3), 'f16'), half(s.normal(3, 3, 2), 'f16'), null, false, false, 'f16'],
      [half(s.normal(2, 3, 2), 'bf16'), half(s.normal(1, 3), 'bf16'), null, true, true, 'f32'],
    ]
  },
})

type Factors = readonly [a: Tensor, b: Tensor, transposeA: boolean, transposeB: boolean]
const halfProduct = definePrimitive<Factors, 'a' | 'b'>({
  name: 'matmul_half',
  inputs: { a: 0, b: 1 },
  reads: 'arguments',
  forward: (a, b, ta, tb) => callOp('matmul_half', [a, b, null, ta, tb, a.dtype]),
  grad: ({ args: [a, b, ta, tb], higher }, dy) => {
    const [d, p, q] = higher ? [dy, cast(a, 'f32'), cast(b, 'f32')] : [roundedLike(dy, a), a, b]
    const times = (x: Tensor, y: Tensor, tx: boolean, ty: boolean): Tensor =>
      higher ? product(x, y, tx, ty) : matmulHalf(x, y, null, tx, ty, 'f32')
    return {
      a: () => (ta ? times(q, d, tb, true) : times(d, q, false, !tb)),
      b: () => (tb ? times(d, p, true, ta) : times(p, d, !ta, false)),
    }
  },
  flops: ({ args: [a, , ta], results: [y] }) => 2 * y!.size * a.shape[a.rank - (ta ? 2 : 1)]!,
})

/**
 * a [..., M, K] times b [..., K, N] -> [..., M, N]; leading dimensions broadcast. The flags take an operand as transposed. f32, f64, or both bf16 or both f16.
 */
export function matmul(a: Tensor, b: Tensor, transposeA = false, transposeB = false): Tensor {
  const [x, y] = [narrowed(a), narrowed(b)]
  return isHalf(x) && isHalf(y) ? halfProduct(x, y, transposeA, transposeB)[0]! : product(x, y, transposeA, transposeB)
}
/** Into memory that exists; see {@link Op.into}. */
matmul.into = product.into

/** @internal x [..., C] as a matrix [rows, C]. */
export function rows(x: Tensor): Tensor {
  return reshape(x, [x.shape.slice(0, -1).reduce((n, d) => n * d, 1), x.shape[x.rank - 1]!])
}

const affine = defineOp('linear', {
  reads: 'arguments',
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

const halfAffine = definePrimitive<readonly [x: Tensor, w: Tensor, bias: Tensor | null], 'x' | 'w' | 'bias'>({
  name: 'linear_half',
  inputs: { x: 0, w: 1, bias: 2 },
  reads: 'arguments',
  forward: (x, w, bias) => {
    if (x.rank > 1) return callOp('matmul_half', [x, w, bias, false, true, x.dtype])
    // A vector is a matrix of one row.
    using line = x.view([1, x.size], [0, x.strides[0]!])
    using y = callOp('matmul_half', [line, w, bias, false, true, x.dtype])[0]!
    return [y.reshapeView([y.size])]
  },
  grad: ({ args: [x, w], higher }, dy) => {
    if (higher) {
      const [p, q] = [cast(x, 'f32'), cast(w, 'f32')]
      return {
        x: () => reshape(product(rows(dy), q, false, false), x.shape),
        w: () => product(rows(dy), rows(p), true, false),
        bias: () => sum(rows(dy), [0], false),
      }
    }
    const d = roundedLike(dy, x)
    return {
      // In 16 bits, as whoever made x takes it up.
      x: () => reshape(matmulHalf(rows(d), w, null, false, false, x.dtype), x.shape),
      w: () => matmulHalf(rows(d), rows(x), null, true, false, 'f32'),
      bias: () => sum(rows(isHalf(dy) ? callOp('cast', [dy, 'f32'])[0]! : dy), [0], false),
    }
  },
  flops: ({ args: [x], results: [y] }) => 2 * y!.size * x.shape[x.rank - 1]!,
})

/** x [..., K] times w^T + bias for w [N, K] and bias [N] -> [..., N]. f32, f64, or all bf16 or all f16. */
export function linear(x: Tensor, w: Tensor, bias: Tensor | null = null): Tensor {
  const [p, q, b] = [narrowed(x), narrowed(w), narrowed(bias)]
  return isHalf(p) && isHalf(q) ? halfAffine(p, q, b)[0]! : affine(p, q, b)
}
/** Into memory that exists; see {@link Op.into}. */
linear.into = affine.into
