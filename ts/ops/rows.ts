/**
 * Dual-module inference (Liu et al., ICML 2020): exact products of selected rows of a weight, and ternary random projection. Selected rows and masks are
 * constant to the tape; the projection is linear and differentiable.
 */
import { defineOp, reshape, type Op } from '../autograd/index.js'
import { callOp, tensor, type Tensor } from '../tensor/index.js'
import { scaleShift } from './arithmetic.js'
import { matmul, rows } from './matmul.js'
import { cast } from './memory.js'
import { pattern } from './pattern.js'

const list = (...values: number[]): Tensor => tensor(Int32Array.from(values))
const projection = (out: number, cols: number): Tensor => callOp('ternary_pack', [out, cols, 5, 0])[0]!

/** Places of the ones among the first `size` bits of a bit set, i32, ascending. */
export const maskIndices = defineOp('mask_indices', {
  grad: null,
  samples: () => [
    [pattern('u8', [3], 0, 255), 21],
    [pattern('u8', [1], 0, 0), 8],
  ],
})

/**
 * x f32 [M, K], rows `index` of w f32 or i8 [N, K] -> f32 [M, S] = x w^T * scale + bias. With offsets i32 [M + 1], row i of x has the list
 * index[offsets[i] .. offsets[i + 1]) and the result is [S]. With base [M, N] the result is base with the exact values in place.
 */
export const rowsDot = defineOp('rows_dot', {
  grad: null,
  flops: ({ args: [x, , , , index, offsets] }) => 2 * index.size * x.shape[1]! * (offsets ? 1 : x.shape[0]!),
  samples: (s) => [
    [
      s.normal(2, 5),
      pattern('i8', [4, 5], -128, 127),
      s.uniform([4], 0.1, 1),
      s.normal(4),
      list(1, 0, 2, 3),
      list(0, 1, 4),
      s.normal(2, 4),
    ],
    [s.normal(2, 5), s.normal(4, 5), null, s.normal(4), list(0, 3), null, null],
  ],
})

/** The projection [out, cols] of a seed and stream in the layout of this process's kernel. Opaque: store the seed. */
export const ternaryPack = defineOp('ternary_pack', { grad: null, samples: () => [[3, 7, 1, 2]] })

/** The signs -1, 0, 1 of a packed projection, i8 [out, cols]. */
export const ternaryUnpack = defineOp('ternary_unpack', { grad: null, samples: () => [[projection(3, 7), 3, 7]] })

/** x f32 [..., cols] -> f32 [..., out] = sqrt(3 / out) * x p^T. */
export const ternaryProject: Op<'ternary_project'> = defineOp('ternary_project', {
  grad: ({ args: [x, packed, out] }, dy) => ({
    x: () => {
      const signs = cast(ternaryUnpack(packed, out, x.shape[x.rank - 1]!), 'f32')
      return reshape(scaleShift(matmul(rows(dy), signs), Math.sqrt(3 / out)), x.shape)
    },
    packed: null,
  }),
  samples: (s) => [
    [s.normal(2, 9), projection(5, 9), 5],
    [s.normal(4), projection(6, 4), 6],
  ],
})
