/** Convolution and pooling for running, images with channels last: what sessions make of `conv2d` and pools. */
import { defineOp } from '../autograd/index.js'
import { callOp, type Tensor } from '../tensor/index.js'

/**
 * Filters w f32 [O, C/groups, kh, kw], each times scale f32 [O] (or null) -> the panels that conv2dLast reads. Opaque and machine dependent: not to be stored.
 *
 * - filters that are no multiple of the groups, a scale of another size: ERR_SHAPE; other types than f32: ERR_DTYPE; groups < 1: ERR_OPTION
 */
export const conv2dLastPack = defineOp('conv2d_last_pack', {
  grad: null,
  samples: (s) => [
    [s.normal(3, 2, 2, 2), null, 1],
    [s.normal(4, 1, 3, 3), s.normal(4), 4],
  ],
})

const packed = (w: Tensor, groups: number): Tensor => callOp('conv2d_last_pack', [w, null, groups])[0]!

/**
 * x f32 [B, H, W, C] -> f32 [B, OH, OW, O] = act(conv(x, w) + bias + residual) scale + shift with w from conv2dLastPack, whose shape is weightShape. padding: top,
 * bottom, left, right. act 'clip' is min(max(v, lo), hi). x may be a view of any strides (a permuted [B, C, H, W]). Constant to the tape.
 *
 * - packed filters of another shape, sizes that do not fit: ERR_SHAPE; lo, hi, scale or shift that is no number: ERR_OPTION; other types than f32: ERR_DTYPE
 *
 * @example
 * const w = conv2dLastPack(tensor([2, 3], [1, 2, 1, 1]), null, 1)
 * const x = tensor([1, 10], [1, 1, 1, 2])
 * conv2dLast(x, w, null, null, [1, 2, 1, 1], [1, 1], [0, 0, 0, 0], [1, 1], 1, 'clip', 0, 30, 1, 0)   // f32[1,1,1,1] = [[[[30]]]]
 */
export const conv2dLast = defineOp('conv2d_last', {
  grad: null,
  flops: ({ args: [, , , , shape], results: [y] }) => 2 * y!.size * shape[1]! * shape[2]! * shape[3]!,
  samples: (s) => [
    [
      s.normal(1, 4, 5, 3),
      packed(s.normal(5, 3, 2, 2), 1),
      s.normal(5),
      null,
      [5, 3, 2, 2],
      [1, 1],
      [0, 0, 0, 0],
      [1, 1],
      1,
      'clip',
      -1,
      1,
      1,
      0,
    ],
    [
      s.normal(2, 4, 4, 4),
      packed(s.normal(4, 1, 3, 3), 4),
      null,
      s.normal(2, 4, 4, 4),
      [4, 1, 3, 3],
      [1, 1],
      [1, 1, 1, 1],
      [1, 1],
      4,
      'hard_swish',
      0,
      0,
      2,
      1,
    ],
    [
      s.normal(1, 5, 5, 4),
      packed(s.normal(6, 2, 3, 3), 2),
      s.normal(6),
      null,
      [6, 2, 3, 3],
      [2, 1],
      [2, 1, 2, 0],
      [1, 2],
      2,
      'silu',
      0,
      0,
      1,
      0,
    ],
  ],
})

/**
 * The largest value or the mean of each window per channel: x f32 [B, H, W, C] -> f32 [B, OH, OW, C], windows as in `maxPool2d` and `avgPool2d`. Constant to the tape.
 *
 * @example
 * pool2dLast(tensor([1, 3, 2, 6], [1, 2, 2, 1]), [2, 2], [2, 2], [0, 0], false, true, false)   // f32[1,1,1,1] = [[[[3]]]]
 */
export const pool2dLast = defineOp('pool2d_last', {
  grad: null,
  samples: (s) => [
    [s.normal(1, 5, 4, 3), [3, 2], [2, 2], [1, 1], true, false, false],
    [s.normal(2, 4, 4, 5), [2, 2], [1, 2], [1, 0], false, true, true],
  ],
})
