/**
 * Integer codes of matrices x [rows, cols]. scale and zero are [rows, groups]: cols is split into `groups` runs of ceil(cols / groups).
 * Everything here is constant to the tape; training through codes uses the straight-through composites.
 */
import { defineOp } from '../autograd/index.js'
import { pattern } from './pattern.js'

/** Smallest and largest value of each run: lo, hi [rows, groups]. */
export const rangeRows = defineOp('range_rows', {
  grad: null,
  flops: ({ args: [x] }) => x.size,
  samples: (s) => [
    [s.normal(3, 8), 2],
    [s.normal(2, 5), 1],
  ],
})

/** i8 codes round(x / scale) + zero, limited to [qmin, qmax]; halves round to even. NaN is ERR_NUMERIC. */
export const quantizeRows = defineOp('quantize_rows', {
  grad: null,
  flops: ({ args: [x] }) => 2 * x.size,
  samples: (s) => [
    [s.normal(3, 8), s.uniform([3, 2], 0.01, 0.1), null, -128, 127],
    [s.normal(2, 5), s.uniform([2, 1], 0.1, 0.5), null, -8, 7],
  ],
})

/** f32 values (q - zero) * scale. */
export const dequantizeRows = defineOp('dequantize_rows', {
  grad: null,
  flops: ({ args: [q] }) => 2 * q.size,
  samples: (s) => [[pattern('i8', [3, 8], -128, 127), s.uniform([3, 2], 0.01, 0.1), null]],
})

/** i8 codes in [-2^(bits-1), 2^(bits-1)) side by side in u8, least significant bits first. */
export const packBits = defineOp('pack_bits', {
  grad: null,
  samples: () => [
    [pattern('i8', [10], -8, 7), 4],
    [pattern('i8', [3, 5], -2, 1), 2],
    [pattern('i8', [9], -4, 3), 3],
  ],
})

/** The first `size` codes of packBits as i8 [size]. */
export const unpackBits = defineOp('unpack_bits', {
  grad: null,
  samples: () => [
    [pattern('u8', [5], 0, 255), 4, 10],
    [pattern('u8', [4], 0, 255), 2, 15],
    [pattern('u8', [4], 0, 127), 3, 9],
  ],
})

/** How many elements of x fall in each of `bins` equal parts of [lo, hi]; what lies outside counts in the first or last. */
export const histogram = defineOp('histogram', {
  grad: null,
  flops: ({ args: [x] }) => x.size,
  samples: (s) => [[s.normal(4, 8), -2, 2, 5]],
})
