/**
 * Products with weight-only quantized weights: w = (q - zero) * scale with codes of 2, 3, 4 or 8 bits and a scale per group of columns; x stays in floating
 * point. The codes are unfolded while they are multiplied. Gradients flow to x, bias and residual; the weight is a constant.
 */
import { defineOp, reshape, sum, type Op } from '../autograd/index.js'
import { callOp, full, type Tensor } from '../tensor/index.js'
import { slopes } from './activation.js'
import { matmul, rows } from './matmul.js'
import { pattern } from './pattern.js'

function packed(n: number, k: number, groups: number, bits: number): Tensor {
  const half = 2 ** (bits - 1)
  return callOp('wgemm_pack', [pattern('i8', [n, k], -half, half - 1), full([n, groups], 0.25), null, bits])[0]!
}

/**
 * q i8 [N, K], scale and zero f32 [N, groups], [N, 1] or [1, 1] -> the layout that this process's kernel reads. Opaque and machine dependent: not to be
 * stored. Groups must divide K.
 */
export const wgemmPack = defineOp('wgemm_pack', {
  grad: null,
  samples: (s) => [
    [pattern('i8', [3, 8], -8, 7), s.uniform([3, 2], 0.1, 1), null, 4],
    [pattern('i8', [2, 6], -2, 1), s.uniform([2, 1], 0.1, 1), s.uniform([2, 3], -1, 1), 2],
  ],
})

/** The weight [out, cols] that was packed, as f32. */
export const wgemmUnpack = defineOp('wgemm_unpack', { grad: null, samples: () => [[packed(3, 8, 2, 4), 3, 8]] })

/** x f32 [..., K] -> f32 [..., out] = act(x w^T + bias) + residual with w from wgemmPack. */
export const wgemm: Op<'wgemm'> = defineOp('wgemm', {
  grad: ({ args: [x, w, bias, , out, act] }, dy) => {
    const inner = (): Tensor => slopes[act](dy, () => wgemm(x, w, bias, null, out, 'none'))
    return {
      x: () => reshape(matmul(rows(inner()), wgemmUnpack(w, out, x.shape[x.rank - 1]!)), x.shape),
      bias: () => sum(rows(inner()), [0], false),
      residual: () => dy,
      packed: null,
    }
  },
  flops: ({ args: [x], results: [y] }) => 2 * y!.size * x.shape[x.rank - 1]!,
  samples: (s) => [
    [s.normal(2, 6), packed(3, 6, 2, 3), s.normal(3), null, 3, 'none'],
    [s.normal(2, 2, 4), packed(5, 4, 1, 8), null, s.normal(2, 2, 5), 5, 'none'],
    [s.normal(4), packed(2, 4, 4, 2), s.normal(2), s.normal(2), 2, 'none'],
  ],
})
