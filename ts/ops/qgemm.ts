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

const filters = (w: readonly number[], groups: number): Tensor => callOp('qconv2d_pack', [pattern('i8', w, -128, 127), groups])[0]!

/**
 * Filters i8 [O, C/groups, kh, kw] -> what qconv2dLast and qconv2d read. Opaque and machine dependent: not to be stored.
 *
 * - filters that are no multiple of the groups: ERR_SHAPE; more than 65793 values in a filter: ERR_LIMIT; other types than i8: ERR_DTYPE; groups < 1: ERR_OPTION
 */
export const qconv2dPack = defineOp('qconv2d_pack', {
  grad: null,
  samples: () => [
    [pattern('i8', [3, 2, 2, 2], -128, 127), 1],
    [pattern('i8', [4, 1, 3, 3], -128, 127), 4],
  ],
})

/**
 * x [B, H, W, C], codes u8 or f32 quantized to them by xScale and xZero -> [B, OH, OW, O]: v = act(conv(x - xZero, w) * (xScale * wScale) + bias + residual) * scale + shift,
 * sums of the convolution exact, w from qconv2dPack, wScale f32 [O] or [1]. y is v (dtype 'f32') or its codes by yScale and yZero ('u8'). padding: top, bottom,
 * left, right; it holds xZero. What sessions make of integer convolutions. Constant to the tape.
 *
 * - sizes that do not fit, packed filters of another shape: ERR_SHAPE; scales that are not positive and finite, zeros outside [0, 255]: ERR_OPTION; other types: ERR_DTYPE
 */
export const qconv2dLast = defineOp('qconv2d_last', {
  grad: null,
  flops: ({ args: [, , , , , shape], results: [y] }) => 2 * y!.size * shape[1]! * shape[2]! * shape[3]!,
  samples: (s) => [
    [
      s.normal(1, 4, 5, 3),
      filters([5, 3, 2, 2], 1),
      s.uniform([5], 0.01, 0.1),
      s.normal(5),
      s.normal(1, 3, 4, 5),
      [5, 3, 2, 2],
      [1, 1],
      [0, 0, 0, 0],
      [1, 1],
      1,
      0.02,
      128,
      'clip',
      -1,
      1,
      1,
      0,
      'f32',
      1,
      0,
    ],
    [
      pattern('u8', [2, 4, 4, 4], 0, 255),
      filters([4, 1, 3, 3], 4),
      s.uniform([1], 0.001, 0.01),
      null,
      null,
      [4, 1, 3, 3],
      [1, 1],
      [1, 1, 1, 1],
      [1, 1],
      4,
      0.05,
      3,
      'hard_swish',
      0,
      0,
      2,
      1,
      'u8',
      0.25,
      9,
    ],
  ],
})

/**
 * The same convolution with images [B, C, H, W] on both sides, f32: x -> [B, O, OH, OW] = conv(q - xZero, w) * (xScale * wScale) + bias, where q are the codes of x.
 *
 * @example
 * const w = qconv2dPack(tensor(Int8Array.of(2, 3), [1, 2, 1, 1]), 1)
 * qconv2d(tensor([1, 10], [1, 2, 1, 1]), w, tensor([1]), null, [1, 2, 1, 1], [1, 1], [0, 0, 0, 0], [1, 1], 1, 1, 0)   // f32[1,1,1,1] = [[[[32]]]]
 */
export const qconv2d = defineOp('qconv2d', {
  grad: null,
  flops: ({ args: [, , , , shape], results: [y] }) => 2 * y!.size * shape[1]! * shape[2]! * shape[3]!,
  samples: (s) => [
    [
      s.normal(2, 4, 5, 4),
      filters([6, 2, 3, 3], 2),
      s.uniform([6], 0.01, 0.1),
      s.normal(6),
      [6, 2, 3, 3],
      [2, 1],
      [2, 1, 2, 0],
      [1, 2],
      2,
      0.02,
      128,
    ],
  ],
})
