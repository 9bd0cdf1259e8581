/** Masks as bit sets, u8 [ceil(n / 8)]: bit i % 8 (least significant first) of byte i / 8 is element i in row-major order. */
import { defineOp, type Op } from '../autograd/index.js'
import { pattern } from './pattern.js'

/** Exactly k ones at the k largest scores (f32 or f64, any shape); ties to the lowest index, NaN ranks last. k outside [0, size] is ERR_OPTION. */
export const topkMask = defineOp('topk_mask', {
  grad: null,
  flops: ({ args: [scores] }) => scores.size,
  samples: (s) => [
    [s.distinct(3, 5), 4],
    [s.normal(8), 0],
    [s.normal(3), 3],
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
