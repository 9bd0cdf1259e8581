/** Rows by index and back: an adjoint pair. */
import { defineOp, type Op } from '../autograd/index.js'

/** table [N, ...], index i32 [...] -> rows [...index, ...]. An index outside [0, N) is ERR_SHAPE. */
export const gather: Op<'gather'> = defineOp('gather', {
  grad: ({ args: [table, index] }, dy) => ({ table: () => scatterAdd(dy, index, table.shape[0]!), index: null }),
  flops: () => 0,
  samples: (s) => [
    [s.normal(4, 3), s.index([5], 4)],
    [s.normal(3, 2, 2), s.index([2, 2], 3)],
    [s.normal(5), s.index([3], 5)],
  ],
})

/** dy [...index, ...], index i32 -> [rows, ...]: rows that share an index are added. */
export const scatterAdd: Op<'scatter_add'> = defineOp('scatter_add', {
  grad: ({ args: [, index] }, u) => ({ dy: () => gather(u, index), index: null }),
  samples: (s) => [
    [s.normal(5, 3), s.index([5], 4), 4],
    [s.normal(2, 2, 2), s.index([2, 2], 3), 3],
  ],
})
