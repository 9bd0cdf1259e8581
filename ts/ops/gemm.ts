/** Products with what surrounds them: activation and residual, weights packed once, and the BLAS form alpha op(a) op(b) + beta c. */
import { defineOp, reshape, sum, type Op } from '../autograd/index.js'
import { callOp, type Tensor } from '../tensor/index.js'
import { slopes } from './activation.js'
import { scaleShift } from './arithmetic.js'
import { matmul, rows } from './matmul.js'

/** x f32 [..., K], w f32 [N, K], bias f32 [N] or null, residual f32 [..., N] or null -> f32 [..., N] = act(x w^T + bias) + residual. */
export const linearFused: Op<'linear_fused'> = defineOp('linear_fused', {
  grad: ({ args: [x, w, bias, , act] }, dy) => {
    const inner = (): Tensor => slopes[act](dy, () => linearFused(x, w, bias, null, 'none'))
    return {
      x: () => reshape(matmul(rows(inner()), w), x.shape),
      w: () => matmul(rows(inner()), rows(x), true),
      bias: () => sum(rows(inner()), [0], false),
      residual: () => dy,
    }
  },
  flops: ({ args: [x], results: [y] }) => 2 * y!.size * x.shape[x.rank - 1]!,
  samples: (s) => [
    [s.normal(2, 3), s.normal(4, 3), s.normal(4), s.normal(2, 4), 'none'],
    [s.normal(2, 2, 3), s.normal(2, 3), null, s.normal(2, 2, 2), 'none'],
    [s.normal(3), s.normal(2, 3), s.normal(2), null, 'none'],
    [s.normal(2, 3), s.normal(4, 3), null, null, 'none'],
  ],
})

/** w f32 [N, K] -> the panels that linearPacked reads. Opaque and machine dependent: not to be stored. */
export const gemmPack = defineOp('gemm_pack', { grad: null, samples: (s) => [[s.normal(3, 5)], [s.normal(40, 33)]] })

const packed = (w: Tensor): Tensor => callOp('gemm_pack', [w])[0]!

/** x f32 [..., K] -> f32 [..., out] = act(x w^T + bias) + residual with w from gemmPack. Constant to the tape. */
export const linearPacked = defineOp('linear_packed', {
  grad: null,
  flops: ({ args: [x], results: [y] }) => 2 * y!.size * x.shape[x.rank - 1]!,
  samples: (s) => [
    [s.normal(2, 5), packed(s.normal(3, 5)), s.normal(3), s.normal(2, 3), 3, 'none'],
    [s.normal(2, 2, 4), packed(s.normal(5, 4)), null, null, 5, 'gelu'],
    [s.normal(4), packed(s.normal(2, 4)), s.normal(2), null, 2, 'relu'],
  ],
})

const blas: Op<'gemm'> = defineOp('gemm', {
  grad: ({ args: [a, b, , ta, tb, alpha, beta] }, dy) => ({
    a: () => (ta ? blas(b, dy, null, tb, true, alpha, 0) : blas(dy, b, null, false, !tb, alpha, 0)),
    b: () => (tb ? blas(dy, a, null, true, ta, alpha, 0) : blas(a, dy, null, !ta, false, alpha, 0)),
    c: () => scaleShift(dy, beta, 0),
  }),
  flops: ({ args: [a, , , ta], results: [y] }) => 2 * y!.size * a.shape[ta ? 0 : 1]!,
  samples: (s) => [
    [s.normal(2, 3), s.normal(3, 4), s.normal(2, 4), false, false, 0.5, -2],
    [s.normal(3, 2), s.normal(3, 4), s.normal(4), true, false, 1, 1],
    [s.normal(2, 3), s.normal(4, 3), s.normal(2, 1), false, true, -1.5, 0.25],
    [s.normal(3, 2), s.normal(4, 3), null, true, true, 2, 0],
  ],
})

export interface GemmOptions {
  /** Broadcasts to [M, N]. */
  readonly c?: Tensor | null
  readonly transposeA?: boolean
  readonly transposeB?: boolean
  /** Finite; 1 unless given. */
  readonly alpha?: number
  /** Finite; 1 unless given. With 0, c is not read. */
  readonly beta?: number
}

/**
 * alpha op(a) op(b) + beta c for matrices, f32 or f64 -> [M, N]; the flags take an operand as transposed. One pass: alpha, beta and c are applied to blocks of the
 * product while they are in cache. BLAS `gemm`, with c broadcast as in ONNX `Gemm`.
 *
 * - ranks other than 2, inner dimensions that differ, a c that does not broadcast: ERR_SHAPE
 * - element types that differ or are not f32 or f64: ERR_DTYPE
 * - alpha or beta not finite: ERR_OPTION
 *
 * @example
 * const a = tensor([[1, 2], [3, 4]])
 * gemm(a, a, { c: tensor([1, -1]), transposeB: true, alpha: 2, beta: 0.5 })   // f32[2,2] = [[10.5, 21.5], [22.5, 49.5]]
 */
export function gemm(
  a: Tensor,
  b: Tensor,
  { c = null, transposeA = false, transposeB = false, alpha = 1, beta = 1 }: GemmOptions = {},
): Tensor {
  return blas(a, b, c, transposeA, transposeB, alpha, beta)
}
/** Into memory that exists; see {@link Op.into}. */
gemm.into = blas.into
