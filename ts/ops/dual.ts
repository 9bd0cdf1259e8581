/**
 * Layers with a little twin (dual-module inference, Liu et al., ICML 2020): a small product of a random projection of the input predicts every output, and only
 * the outputs that it cannot answer are computed exactly. Nothing of this is differentiable: what is computed changes from input to input.
 */
import { defineOp } from '../autograd/index.js'
import { callOp, full, tensor, type Tensor } from '../tensor/index.js'
import { pattern } from './pattern.js'

const projection = (k: number, cols: number, stream = 0): Tensor => callOp('ternary_pack', [k, cols, 5, stream])[0]!
const twin = (rows: number, cols: number, bits: number, groups = 1): Tensor => {
  const half = 2 ** (bits - 1)
  return callOp('wgemm_pack', [pattern('i8', [rows, cols], -half, half - 1), full([rows, groups], 0.1), null, bits])[0]!
}

/**
 * x f32 [..., K], w f32 or i8 [N, K] -> [y f32 [..., N], count i32 [rows of x]]: y = x w^T * scale + bias where an output is sensitive, the twin's output and the
 * bias elsewhere; count says how many are the twin's.
 *
 * - the twin sees the projection of x to k numbers (without `projection`: x itself); `little` is f32 [N, k] or of wgemmPack, with copies = 2 of [N, 2 k]
 * - insensitive >= 0: exactly so many outputs, those of largest |y| (below: smallest y); -1: those with |y| > threshold (below: y < threshold)
 */
export const dualLinear = defineOp('dual_linear', {
  grad: null,
  flops: ({ args: [, w], results: [y] }) => (2 * y!.size * w.size) / Math.max(w.shape[0]!, 1),
  samples: (s) => [
    [s.normal(2, 9), s.normal(5, 9), null, s.normal(5), projection(4, 9), twin(5, 4, 4), tensor([0.5]), 4, 1, 2, false],
    [s.normal(3, 6), pattern('i8', [4, 6], -127, 127), s.uniform([4], 0.01, 0.1), null, null, twin(4, 6, 8), tensor([0.1]), 6, 1, -1, true],
    [s.normal(1, 4), s.normal(3, 4), null, null, projection(2, 4), s.normal(3, 2), tensor([0.1]), 2, 1, 1, true],
  ],
})

/**
 * @internal One direction of an LSTM with twins, x [T, B, C] -> [states [T + 2, B, H], count i32 [T, B]]. Arguments as of lstm and of dualLinear; thresholds
 * [4] by gate; without littleX the input part is exact.
 */
export const dualLstm = defineOp('dual_lstm', {
  grad: null,
  flops: ({ args: [x, wih, whh] }) => 2 * x.shape[0]! * x.shape[1]! * (wih.size + whh.size),
  samples: (s) => [
    [
      ...[s.normal(3, 2, 5), s.normal(12, 5), s.normal(12, 3), null, null, s.normal(12), projection(2, 5), projection(2, 3, 1)],
      ...[twin(12, 2, 4), twin(12, 2, 2), s.normal(2, 3), s.normal(2, 3), pattern('i32', [2], 2, 3), full([4], 0.2), 2, 1, 5, false],
    ] as never,
    [
      ...[s.normal(2, 1, 2), pattern('i8', [8, 2], -9, 9), pattern('i8', [8, 2], -99, 99), full([8], 0.1), full([8], 0.01), null],
      ...[null, projection(3, 2), null, twin(8, 6, 8, 2), null, null, null, full([4], 0.2), 3, 2, -1, true],
    ] as never,
  ],
})

/** @internal One direction of a GRU with twins, x [T, B, C] -> [states [T + 1, B, H], count i32 [T, B]]; thresholds [3] by gate. */
export const dualGru = defineOp('dual_gru', {
  grad: null,
  flops: ({ args: [x, wih, whh] }) => 2 * x.shape[0]! * x.shape[1]! * (wih.size + whh.size),
  samples: (s) => [
    [
      ...[s.normal(3, 2, 5), s.normal(9, 5), s.normal(9, 3), null, null, s.normal(9), s.normal(9), projection(2, 5), projection(2, 3, 1)],
      ...[twin(9, 2, 4), twin(9, 2, 2), s.normal(2, 3), pattern('i32', [2], 2, 3), full([3], 0.2), 2, 1, 4, false],
    ] as never,
    [
      ...[s.normal(2, 1, 2), pattern('i8', [6, 2], -9, 9), pattern('i8', [6, 2], -99, 99), full([6], 0.1), full([6], 0.01), null, null],
      ...[null, projection(3, 2), null, twin(6, 6, 8, 2), null, null, full([3], 0.2), 3, 2, -1, true],
    ] as never,
  ],
})
