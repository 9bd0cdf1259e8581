/**
 * Products with 8-bit weights: activations are codes, or are quantized on the way in; multiplied with i8 weights exactly in integers, and scaled
 * back to f32 with bias, activation and residual fused, or narrowed to codes again. Constant to the tape.
 */
import { defineOp } from '../autograd/index.js'
import { callOp, type Tensor } from '../tensor/index.js'
import { pattern } from './pattern.js'

function packed(n: number, k: number): Tensor {
  return callOp('qgemm_pack', [pattern('i8', [n, k], -128, 127)])[0]!
}

/** w i8 [N, K] -> the layout that this process's kernel reads. Opaque and machine dependent: not to be stored. */
export const qgemmPack = defineOp('qgemm_pack', { grad: null, samples: () => [[pattern('i8', [3, 5], -128, 127)]] })

/**
 * x u8 or i8 [..., K] times w from qgemmPack -> [..., out] = sum over k of (x - xZero) * (w - wZero), exact: i32 where every such result fits (with
 * xZero = 0 up to K = 65793, with i8 and 0 up to 131071), else i64. xZeros i32 [rows] replaces xZero; wZeros i32 [out].
 */
export const qgemmS32 = defineOp('qgemm_s32', {
  grad: null,
  flops: ({ args: [x], results: [y] }) => 2 * y!.size * x.shape[x.rank - 1]!,
  samples: () => [
    [pattern('i8', [2, 2, 9], -128, 127), packed(2, 9), pattern('i32', [4], -128, 127), pattern('i32', [2], -9, 9), 2, 0],
    [pattern('u8', [2, 5], 0, 255), packed(3, 5), null, null, 3, 0],
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

/**
 * As qlinear, but each row of x is quantized by its own range (symmetric: s8 codes, else u8 codes with a zero point), and a residual [..., out] may be
 * added after the activation. A row with a value that is not finite gives NaN.
 */
export const qlinearDynamic = defineOp('qlinear_dynamic', {
  grad: null,
  flops: ({ args: [x], results: [y] }) => 2 * y!.size * x.shape[x.rank - 1]!,
  samples: (s) => [
    [s.normal(2, 5), packed(3, 5), s.uniform([3], 0.01, 0.1), s.normal(3), s.normal(2, 3), 3, true, 'none'],
    [s.normal(2, 2, 4), packed(2, 4), s.uniform([1], 0.01, 0.1), null, null, 2, false, 'relu'],
  ],
})

/**
 * The general product with a packed weight: x f32 (quantized by xScale and xZero) or codes u8 or i8 (xScale, xZero or one of each per row), weights with
 * zero points or without, then scales, bias, activation, residual; y f32, or codes u8 or i8 of y / yScale + yZero.
 */
export const qmatmul = defineOp('qmatmul', {
  grad: null,
  flops: ({ args: [x], results: [y] }) => 2 * y!.size * x.shape[x.rank - 1]!,
  samples: (s) => {
    const scale = s.uniform([3], 0.01, 0.1)
    const rows = s.uniform([2], 0.01, 0.1)
    const codes = pattern('i8', [2, 5], -128, 127)
    const zeros = pattern('i32', [2], -128, 127)
    return [
      [codes, packed(3, 5), scale, null, null, rows, zeros, pattern('i32', [3], -9, 9), 3, 1, 0, 'relu', 'u8', 0.1, 20],
      [s.normal(2, 5), packed(3, 5), scale, s.normal(3), s.normal(2, 3), null, null, null, 3, 0.02, 128, 'gelu', 'f32', 1, 0],
      [
        pattern('u8', [4, 6], 0, 255),
        packed(2, 6),
        s.uniform([1], 0.01, 0.1),
        null,
        null,
        null,
        null,
        null,
        2,
        0.1,
        3,
        'none',
        'i8',
        0.3,
        -5,
      ],
    ]
  },
})

/**
 * Codes to codes in integers only, as in gemmlowp: with v = sum over k of (x - xZero) * (w - wZero) + bias (i32), y = clamp(R(H(L(v), multiplier)) + yZero, lo,
 * hi), where for e = exponent L multiplies by 2^e if e > 0 (saturating), H is SaturatingRoundingDoublingHighMul, R divides by 2^-e if e < 0 (halves
 * away from zero). multiplier and exponent are i32 [out] or [1]. K that may give results beyond 32 bits: ERR_LIMIT.
 */
export const qmatmulFixed = defineOp('qmatmul_fixed', {
  grad: null,
  flops: ({ args: [x], results: [y] }) => 2 * y!.size * x.shape[x.rank - 1]!,
  samples: () => [
    [
      pattern('u8', [2, 5], 0, 255),
      packed(3, 5),
      pattern('i32', [3], -500, 500),
      pattern('i32', [3], 2 ** 30, 2 ** 31 - 1),
      pattern('i32', [3], -9, -5),
      pattern('i32', [3], -9, 9),
      3,
      128,
      'i8',
      3,
      -100,
      127,
    ],
    [
      pattern('i8', [3, 4], -128, 127),
      packed(2, 4),
      null,
      pattern('i32', [1], 2 ** 30, 2 ** 30),
      pattern('i32', [1], -7, -7),
      null,
      2,
      0,
      'u8',
      90,
      0,
      255,
    ],
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
