/** Masks as bit sets, u8 [ceil(n / 8)]: bit i % 8 (least significant first) of byte i / 8 is element i in row-major order. */
import { defineOp, type Op } from '../autograd/index.js'
import type { Tensor } from '../tensor/index.js'
import { pattern } from './pattern.js'

const largest = defineOp('topk_mask', {
  grad: null,
  flops: ({ args: [scores] }) => scores.size,
  samples: (s) => [
    [s.distinct(3, 5), 4, false],
    [s.distinct(3, 5), 4, true],
    [s.normal(8), 0, false],
    [s.normal(3), 3, false],
  ],
})

/**
 * Exactly k ones at the k largest scores (f32 or f64, any shape), with `magnitude` of their absolute values; ties to the lowest index, NaN
 * ranks last, -0 equals 0. k outside [0, size] is ERR_OPTION.
 */
export function topkMask(scores: Tensor, k: number, magnitude = false): Tensor {
  return largest(scores, k, magnitude)
}

/** topkMask of every row: k ones among the last dimension's elements. k outside [0, its size] is ERR_OPTION, rank 0 is ERR_SHAPE. */
export const topkMaskRows = defineOp('topk_mask_rows', {
  grad: null,
  flops: ({ args: [scores] }) => scores.size,
  samples: (s) => [
    [s.distinct(3, 5), 2, false],
    [s.distinct(2, 2, 4), 3, true],
  ],
})

/** Ones where score >= threshold; NaN never is. A threshold that is NaN is ERR_OPTION. */
export const thresholdMask = defineOp('threshold_mask', {
  grad: null,
  flops: ({ args: [scores] }) => scores.size,
  samples: (s) => [
    [s.normal(3, 5), 0.5, false],
    [s.normal(9), 0.25, true],
  ],
})

/**
 * n ones in every group of m adjacent elements of the last dimension, at the largest (2:4 is n = 2, m = 4). 0 <= n <= m <= 64 or ERR_OPTION;
 * a last dimension that m does not divide is ERR_SHAPE.
 */
export const nmMask = defineOp('nm_mask', {
  grad: null,
  flops: ({ args: [scores, , m] }) => scores.size * m,
  samples: (s) => [
    [s.distinct(3, 8), 2, 4, true],
    [s.distinct(2, 6), 1, 3, false],
  ],
})

/** Bits [start, start + size) of a mask as a mask of their own. */
export const maskSlice = defineOp('mask_slice', {
  grad: null,
  samples: () => [
    [pattern('u8', [3], 0, 255), 5, 14],
    [pattern('u8', [2], 0, 255), 8, 8],
  ],
})

/** Number of ones among the first `size` bits, i64. */
export const maskCount = defineOp('mask_count', { grad: null, samples: () => [[pattern('u8', [3], 0, 255), 21]] })

/** mask -> f32 ones and zeros of `shape`. */
export const maskUnpack = defineOp('mask_unpack', { grad: null, samples: () => [[pattern('u8', [2], 0, 255), [3, 4]]] })

/** Ones where x is not zero (NaN counts as not zero). */
export const maskPack = defineOp('mask_pack', { grad: null, samples: (s) => [[s.normal(3, 5)], [pattern('i8', [9], -1, 1)]] })

/** x where the bit is 1, exactly 0 elsewhere. Linear in x; the mask is a constant. */
export const maskApply: Op<'mask_apply'> = defineOp('mask_apply', {
  grad: ({ args: [, mask] }, dy) => ({ x: () => maskApply(dy, mask), mask: null }),
  samples: (s) => [
    [s.normal(2, 3), pattern('u8', [1], 0b101101, 0b101101)],
    [s.normal(3, 5), pattern('u8', [2], 0, 127)],
  ],
})
