/** Convolution of 3 x 3 by Winograd's transforms, images with channels last: what sessions make of `conv2d` where that takes less time. */
import { defineOp } from '../autograd/index.js'
import { callOp, type Tensor } from '../tensor/index.js'

/**
 * Filters w f32 [O, C, 3, 3], each times scale f32 [O] (or null), transformed for tiles of `tile` x `tile` results (2 or 4) -> the panels that conv2dWinograd reads.
 * Opaque and machine dependent: not to be stored.
 *
 * - filters that are not 3 x 3, a scale of another size: ERR_SHAPE; other types than f32: ERR_DTYPE; another tile: ERR_OPTION
 */
export const conv2dWinogradPack = defineOp('conv2d_winograd_pack', {
  grad: null,
  samples: (s) => [
    [s.normal(3, 2, 3, 3), null, 2],
    [s.normal(4, 1, 3, 3), s.normal(4), 4],
  ],
})

const packed = (w: Tensor, tile: number): Tensor => callOp('conv2d_winograd_pack', [w, null, tile])[0]!

/**
 * x f32 [B, H, W, C] -> f32 [B, OH, OW, O] = act(conv(x, w) + bias + residual) scale + shift with stride 1 and w [O, C, 3, 3] from conv2dWinogradPack for this tile.
 * padding: top, bottom, left, right. act 'clip' is min(max(v, lo), hi). x may be a view of any strides (a permuted [B, C, H, W]). Products of a tile are summed over
 * channels after a transform: with 2 x 2 the error is that of a direct sum, with 4 x 4 about twice that. Constant to the tape.
 *
 * - packed filters of another shape or tile, sizes that do not fit: ERR_SHAPE; a tile other than 2 or 4, lo, hi, scale or shift that is no number: ERR_OPTION;
 *   other types than f32: ERR_DTYPE
 *
 * @example
 * const w = conv2dWinogradPack(tensor([0, 0, 0, 0, 2, 0, 0, 0, 0], [1, 1, 3, 3]), null, 2)
 * const x = tensor([1, 2, 3, 4], [1, 2, 2, 1])
 * conv2dWinograd(x, w, null, null, 1, 2, [1, 1, 1, 1], 'clip', 0, 7, 1, 0)   // f32[1,2,2,1] = [[[[2], [4]], [[6], [7]]]]
 */
export const conv2dWinograd = defineOp('conv2d_winograd', {
  grad: null,
  // Of the sums as they are defined; it makes 2.25 or 4 times fewer.
  flops: ({ args: [x], results: [y] }) => 2 * y!.size * x.shape[3]! * 9,
  samples: (s) => [
    [s.normal(1, 6, 5, 3), packed(s.normal(5, 3, 3, 3), 2), s.normal(5), null, 5, 2, [0, 0, 0, 0], 'clip', -1, 1, 1, 0],
    [s.normal(2, 7, 6, 4), packed(s.normal(6, 4, 3, 3), 4), null, s.normal(2, 7, 6, 6), 6, 4, [1, 1, 1, 1], 'hard_swish', 0, 0, 2, 1],
    [s.normal(1, 3, 9, 2), packed(s.normal(3, 2, 3, 3), 4), s.normal(3), null, 3, 4, [2, 1, 0, 2], 'silu', 0, 0, 1, 0],
  ],
})
