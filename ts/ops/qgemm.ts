/**
 * Products with 8-bit weights: activations are quantized to u8 on the way in (scale and zero point given), multiplied with i8 weights
 * exactly in 32-bit integers, and scaled back to f32 with bias and activation fused. Constant to the tape.
 */
import { defineOp } from '../autograd/index.js'
import { callOp, type Tensor } from '../tensor/index.js'
import { pattern } from './pattern.js'

function packed(n: number, k: number): Tensor {
  return callOp('qgemm_pack', [pattern('i8', [n, k], -128, 127)])[0]!
}

/** w i8 [N, K] -> the layout that this process's kernel reads. Opaque and machine dependent: not to be stored. */
export const qgemmPack = defineOp('qgemm_pack', { grad: null, samples: () => [[pattern('i8', [3, 5], -128, 127)]] })

/** x u8 [M, K], w i8 [N, K] -> i32 [M, N] = sum over k of (x - xZero) * w, exact. Packs on every call. */
export const qgemmS32 = defineOp('qgemm_s32', {
  grad: null,
  flops: ({ args: [x], results: [y] }) => 2 * y!.size * x.shape[1]!,
  samples: () => [
    [pattern('u8', [2, 5], 0, 255), pattern('i8', [3, 5], -128, 127), 0],
    [pattern('u8', [4, 9], 0, 255), pattern('i8', [2, 9], -128, 127), 128],
  ],
})

/** x f32 [..., K] -> f32 [..., out] = act(x w^T * wScale + bias) with w from qgemmPack and wScale [out] or [1]. */
export const qlinear = defineOp('qlinear', {
  grad: null,
  flops: ({ args: [x], results: [y] }) => 2 * y!.size * x.shape[x.rank - 1]!,
  samples: (s) => [
    [s.normal(2, 5), packed(3, 5), s.uniform([3], 0.01, 0.1), s.normal(3), 3, 0.02, 128, 'none'],
    [s.normal(2, 2, 4), packed(2, 4), s.uniform([1], 0.01, 0.1), null, 2, 0.05, 100, 'relu'],
  ],
})

/** x f32 [B, C, H, W] -> f32 [B, O, H', W']: conv2d with w packed as [O, C * kh * kw]; weightShape is [O, C, kh, kw]. */
export const qconv2d = defineOp('qconv2d', {
  grad: null,
  flops: ({ args: [, , , , w], results: [y] }) => 2 * y!.size * w[1]! * w[2]! * w[3]!,
  samples: (s) => [
    [s.normal(2, 2, 4, 4), packed(3, 18), s.uniform([3], 0.01, 0.1), s.normal(3), [3, 2, 3, 3], [1, 1], [1, 1], 0.02, 128, 'relu'],
  ],
})
