/**
 * Arithmetic on long vectors in place, with sums in f64 over chunks of fixed length: the inner loops of power iteration, Lanczos and other
 * iterative methods. No tape records them.
 */
import { defineOp } from '../autograd/index.js'
import type { Tensor } from '../tensor/index.js'

const innerOp = defineOp('inner_product', { grad: null, samples: (s) => [[s.normal(2, 3), s.normal(2, 3)]] })

const axpbyOp = defineOp('axpby', {
  grad: null,
  samples: (s) => [
    [s.normal(2, 3), s.normal(2, 3), 0.5, -2],
    [s.normal(5), s.normal(5), 2, 0],
  ],
})

const orthogonalOp = defineOp('orthogonalize', {
  grad: null,
  samples: (s) => [
    [s.normal(2, 3), s.normal(3, 6), 2],
    [s.normal(4), s.normal(1, 4), 0],
  ],
})

/**
 * Sum of products of all elements of a and b (one shape, f32 or f64), accumulated in f64; a number. For a differentiable one see `dot`.
 *
 * @example
 * innerProduct(tensor([1, 2]), tensor([3, 4]))   // 11
 */
export function innerProduct(a: Tensor, b: Tensor): number {
  const y = innerOp(a, b)
  const value = y.item()
  y.dispose()
  return value
}

/** @internal The same as a tensor f64 [] where the vectors lie: nobody waits for it. */
export function innerProductAt(a: Tensor, b: Tensor): Tensor {
  return innerOp(a, b)
}

/** y := alpha x + beta y in place; alpha and beta finite numbers, x of y's shape and dtype, or y itself. With beta 0, y is not read. */
export function axpby(y: Tensor, x: Tensor, alpha: number, beta: number): void {
  axpbyOp(y, x, alpha, beta)
}

/**
 * v (N elements) := v - sum_r c_r basis_r with c_r = <basis_r, v> for the first `rows` rows of basis [M, N], whose rows should be orthonormal (classical Gram-Schmidt;
 * twice is enough for full precision, Giraud et al. 2005). Two passes over the basis. Gives the coefficients and the Euclidean norm of what is left.
 */
export function orthogonalize(v: Tensor, basis: Tensor, rows: number): { readonly coefficients: Float64Array; readonly norm: number } {
  const [c, norm] = orthogonalOp(v, basis, rows)
  const result = { coefficients: c.read() as Float64Array, norm: norm.item() }
  c.dispose()
  norm.dispose()
  return result
}

/** @internal The same without numbers: the norm of what is left, a tensor f64 [] where v lies. */
export function orthogonalizeAt(v: Tensor, basis: Tensor, rows: number): Tensor {
  const [c, norm] = orthogonalOp(v, basis, rows)
  c.dispose()
  return norm
}
