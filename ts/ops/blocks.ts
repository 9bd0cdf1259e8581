/** Block formats of GGUF files: values to blocks and back (native/kernels/blocks/blocks.h has the layouts). Constant to the tape. */
import { defineOp } from '../autograd/index.js'
import { cast } from './memory.js'
import { pattern } from './pattern.js'

/**
 * Rows of x f32 [.., n] as blocks u8 [.., n / values * bytes] of a format: q8_0 (32 values in 34 bytes), q4_0 (32 in 18), q4_1 (32 in 20), q4_k (256 in
 * 144), q6_k (256 in 210). Scales are searched for by least squares over trials; the codes are ggml's.
 *
 * - n is no multiple of the values of a block: ERR_SHAPE; a value that is not finite or above 65504 in magnitude: ERR_NUMERIC
 *
 * @example
 * const blocks = blockEncode(randomNormal([4, 64], { seed: 1 }), 'q8_0')   // u8 [4, 68]
 * blockDecode(blocks, 'q8_0')                                             // f32 [4, 64]
 */
export const blockEncode = defineOp('block_encode', {
  grad: null,
  flops: ({ args: [x] }) => 100 * x.size,
  samples: (s) => [
    [cast(s.normal(3, 64), 'f32'), 'q8_0'],
    [cast(s.normal(2, 32), 'f32'), 'q4_0'],
    [cast(s.normal(2, 32), 'f32'), 'q4_1'],
    [cast(s.normal(2, 256), 'f32'), 'q4_k'],
    [cast(s.normal(1, 256), 'f32'), 'q6_k'],
  ],
})

/** The values of blocks: u8 [.., k * bytes] -> f32 [.., k * values], one rounding each; the bits that ggml's own functions give. */
export const blockDecode = defineOp('block_decode', {
  grad: null,
  flops: ({ args: [blocks] }) => 2 * blocks.size,
  samples: () => [
    [pattern('u8', [3, 68], 0, 120), 'q8_0'],
    [pattern('u8', [2, 18], 0, 120), 'q4_0'],
    [pattern('u8', [2, 20], 0, 120), 'q4_1'],
    [pattern('u8', [2, 144], 0, 120), 'q4_k'],
    [pattern('u8', [1, 210], 0, 120), 'q6_k'],
  ],
})
