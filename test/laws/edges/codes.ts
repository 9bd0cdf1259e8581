/** Optimizer steps, long vectors, masks, integer codes and their products. */
import { callOp, tensor, type Tensor } from '../../../ts/tensor/index.js'
import { f, i32, i8, u8, pack, pack4, type Edge } from './edge.js'

/** Filters of convolutions, as they are multiplied. */
const filters = (values: number[], shape: number[]): Tensor => callOp('qconv2d_pack', [i8(values, shape), 1])[0]!
const codesFirst = (x: Tensor, w: Tensor, shape: readonly number[], zero = 0): readonly unknown[] => [
  x,
  w,
  tensor([1]),
  null,
  shape,
  [1, 1],
  [0, 0, 0, 0],
  [1, 1],
  1,
  1,
  zero,
]
/** Of codes around 1, to floats. */
const codesLast = (x: Tensor, w: Tensor, shape: readonly number[], zero = 1): readonly unknown[] => [
  x,
  w,
  tensor([1]),
  null,
  null,
  ...codesFirst(x, w, shape, zero).slice(4),
  'clip',
  -100,
  100,
  1,
  0,
  'f32',
  1,
  0,
]

export const codes = {
  sgd_step: [
    [() => [f(0), f(0), f(0), null, 0.1, 0.9, 0, false], []],
    [() => [f(1), f(1), f(1), u8([1]), 0.1, 0.9, 0, true], []],
    [() => [f(1), f(1), f(1), u8([]), 0.1, 0.9, 0, true], 'ERR_SHAPE'],
  ],
  adamw_step: [
    [() => [f(0), f(0), f(0), f(0), null, 0.1, 0.9, 0.99, 1e-8, 0, 1], []],
    [() => [f(1), f(1), f(1), f(1), u8([0]), 0.1, 0.9, 0.99, 1e-8, 0, 1], []],
    [() => [f(1), f(1), f(1), f(1), null, 0.1, 0.9, 0.99, 1e-8, 0, 0], 'ERR_OPTION'],
  ],
  adam_step: [
    [() => [f(0), f(0), f(0), f(0), null, 0.1, 0.9, 0.99, 1e-8, 0, 1], []],
    [() => [f(1), f(1), f(1), f(1), u8([0]), 0.1, 0.9, 0.99, 1e-8, 0, 1], []],
    [() => [f(1), f(1), f(1), f(1), null, 0.1, 1, 0.99, 1e-8, 0, 1], 'ERR_OPTION'],
    [() => [f(1), f(2), f(1), f(1), null, 0.1, 0.9, 0.99, 1e-8, 0, 1], 'ERR_SHAPE'],
  ],
  rmsprop_step: [
    [() => [f(0), f(0), f(0), f(0), f(0), null, 0.1, 0.9, 1e-8, 0.5, 0, true], []],
    [() => [f(1), f(1), f(1), f(0), f(0), u8([1]), 0.1, 0.9, 1e-8, 0, 0, false], []],
    [() => [f(1), f(1), f(1), f(0), f(0), null, 0.1, 0.9, 1e-8, 0.5, 0, false], 'ERR_SHAPE'],
    [() => [f(1), f(1), f(1), f(1), f(1), null, 0.1, 1, 1e-8, 0.5, 0, true], 'ERR_OPTION'],
    [() => [i32([1]), i32([1]), i32([1]), i32([]), i32([]), null, 0.1, 0.9, 1e-8, 0, 0, false], 'ERR_DTYPE'],
  ],
  lamb_step: [
    [() => [f(0), f(0), f(0), f(0), null, 0.1, 0.9, 0.99, 1e-6, 0, 0, 10, 1], []],
    [() => [f(1), f(1), f(1), f(1), u8([1]), 0.1, 0.9, 0.99, 1e-6, 0, 0, 10, 1], []],
    [() => [f(1), f(1), f(1), f(1), null, 0.1, 0.9, 0.99, 1e-6, 0, 2, 1, 1], 'ERR_OPTION'],
    [() => [f(1), f(1), f(1), f(1), null, 0.1, 0.9, 0.99, 1e-6, 0, 0, NaN, 1], 'ERR_OPTION'],
    [() => [f(1), f(1), f(1), f(1), null, 0.1, 0.9, 0.99, 1e-6, 0, 0, 10, 0], 'ERR_OPTION'],
  ],
  inner_product: [
    [() => [f(0), f(0)], [[[], [0]]]],
    [() => [tensor(3), tensor(2)], [[[], [6]]]],
    [() => [f(2), f(3)], 'ERR_SHAPE'],
    [() => [i32([1]), i32([1])], 'ERR_DTYPE'],
  ],
  axpby: [
    [() => [f(0), f(0), 1, 1], []],
    [() => [tensor(1), tensor(2), 1, 1], []],
    [() => [f(2), f(3), 1, 1], 'ERR_SHAPE'],
    [() => [f(2), f(2), NaN, 1], 'ERR_OPTION'],
    [() => [f(2), f(2), 1, Infinity], 'ERR_OPTION'],
  ],
  orthogonalize: [
    [
      () => [f(0), f(2, 0), 2],
      [
        [[2], [0, 0]],
        [[], [0]],
      ],
    ],
    [() => [tensor([3, 4]), f(0, 2), 0], [[[0]], [[], [5]]]],
    [
      () => [tensor([3, 4]), tensor([[1, 0]]), 1],
      [
        [[1], [3]],
        [[], [4]],
      ],
    ],
    [() => [f(2), f(1, 3), 1], 'ERR_SHAPE'],
    [() => [f(2), f(2), 1], 'ERR_SHAPE'],
    [
      () => [tensor(2), tensor([[1]]), 1],
      [
        [[1], [2]],
        [[], [0]],
      ],
    ],
    [() => [f(2), f(1, 2), 2], 'ERR_OPTION'],
    [() => [f(2), f(1, 2), -1], 'ERR_OPTION'],
  ],
  topk_mask: [
    [() => [f(0), 0, false], [[[0]]]],
    [() => [f(0), 1, false], 'ERR_OPTION'],
    [() => [tensor(1), 1, false], [[[1], [1]]]],
    [() => [tensor(1), 0, true], [[[1], [0]]]],
    [() => [f(3), 4, false], 'ERR_OPTION'],
    [() => [f(3), -1, false], 'ERR_OPTION'],
    [() => [tensor([1, -2]), 1, true], [[[1], [2]]]],
  ],
  topk_mask_rows: [
    [() => [f(0, 3), 2, false], [[[0]]]],
    [() => [f(3, 0), 0, false], [[[0]]]],
    [() => [f(2, 1), 1, false], [[[1], [3]]]],
    [() => [tensor(1), 1, false], 'ERR_SHAPE'],
    [() => [f(2, 3), 4, false], 'ERR_OPTION'],
    [() => [f(2, 3), -1, false], 'ERR_OPTION'],
  ],
  threshold_mask: [
    [() => [f(0), 1, false], [[[0]]]],
    [() => [tensor(-1), 1, true], [[[1], [1]]]],
    [() => [tensor(NaN), -Infinity, false], [[[1], [0]]]],
    [() => [f(3), NaN, false], 'ERR_OPTION'],
  ],
  nm_mask: [
    [() => [f(0, 4), 2, 4, false], [[[0]]]],
    [() => [f(2, 0), 2, 4, false], [[[0]]]],
    [() => [tensor([5]), 1, 1, true], [[[1], [1]]]],
    [() => [tensor([5]), 0, 1, true], [[[1], [0]]]],
    [() => [tensor(5), 1, 1, true], 'ERR_SHAPE'],
    [() => [f(2, 6), 2, 4, true], 'ERR_SHAPE'],
    [() => [f(2, 4), 5, 4, true], 'ERR_OPTION'],
    [() => [f(2, 4), 1, 0, true], 'ERR_OPTION'],
    [() => [f(2, 65), 1, 65, true], 'ERR_OPTION'],
  ],
  mask_slice: [
    [() => [u8([]), 0, 0], [[[0]]]],
    [() => [u8([255]), 7, 1], [[[1], [1]]]],
    [() => [u8([255]), 8, 0], [[[0]]]],
    [() => [u8([255]), 7, 2], 'ERR_OPTION'],
    [() => [u8([255]), -1, 1], 'ERR_OPTION'],
  ],
  mask_count: [
    [() => [u8([]), 0], [[[], [0]]]],
    [() => [u8([255]), 1], [[[], [1]]]],
    [() => [u8([]), 1], 'ERR_SHAPE'],
    [() => [u8([1]), -1], 'ERR_SHAPE'],
  ],
  mask_unpack: [
    [() => [u8([]), [0, 3]], [[[0, 3]]]],
    [() => [u8([1]), []], [[[], [1]]]],
    [() => [u8([1, 1]), [3]], 'ERR_SHAPE'],
  ],
  mask_pack: [
    [() => [f(0)], [[[0]]]],
    [() => [tensor(NaN)], [[[1], [1]]]],
    [() => [tensor(-0)], [[[1], [0]]]],
  ],
  mask_apply: [
    [() => [f(0), u8([])], [[[0]]]],
    [() => [tensor(3), u8([1])], [[[], [3]]]],
    [() => [tensor(3), u8([0])], [[[], [0]]]],
  ],
  range_rows: [
    [() => [f(0, 3), 1], [[[0, 1]], [[0, 1]]]],
    [
      () => [f(1, 1), 1],
      [
        [[1, 1], [1]],
        [[1, 1], [1]],
      ],
    ],
    [() => [f(2, 3), 0], 'ERR_OPTION'],
    [() => [f(2, 3), 4], 'ERR_OPTION'],
  ],
  quantize_rows: [
    [() => [f(0, 3), f(0, 1), null, -8, 7], [[[0, 3]]]],
    [() => [f(2, 0), f(2, 1), null, -8, 7], [[[2, 0]]]],
    [() => [f(1, 1), f(1, 1), null, -8, 7], [[[1, 1], [1]]]],
    [() => [f(1, 1), f(1, 1), null, 7, -8], 'ERR_OPTION'],
    [() => [tensor([[NaN]]), f(1, 1), null, -8, 7], 'ERR_NUMERIC'],
  ],
  dequantize_rows: [
    [() => [i8([], [0, 3]), f(0, 1), null], [[[0, 3]]]],
    [() => [i8([5], [1, 1]), tensor([[2]]), tensor([[1]])], [[[1, 1], [8]]]],
  ],
  fake_quantize_rows: [
    [() => [f(0, 3), f(0, 1), null, -8, 7], [[[0, 3]]]],
    [() => [f(2, 0), f(2, 1), null, -8, 7], [[[2, 0]]]],
    [() => [tensor([[9]]), tensor([[2]]), tensor([[1]]), -8, 3], [[[1, 1], [4]]]],
    [() => [f(1, 1), f(1, 1), null, 7, -8], 'ERR_OPTION'],
    [() => [f(1, 1), tensor([[0]]), null, -8, 7], 'ERR_NUMERIC'],
    [() => [tensor([[NaN]]), f(1, 1), null, -8, 7], 'ERR_NUMERIC'],
  ],
  fake_quantize_rows_grad: [
    [() => [f(0, 3), f(0, 3), f(0, 1), null, -8, 7, true], [[[0, 3]], [[0, 1]]]],
    [
      () => [f(2, 0), f(2, 0), f(2, 1), null, -8, 7, true],
      [
        [[2, 0]],
        [
          [2, 1],
          [0, 0],
        ],
      ],
    ],
    [
      () => [tensor([[9]]), tensor([[5]]), tensor([[2]]), null, -8, 3, true],
      [
        [[1, 1], [0]],
        [[1, 1], [15]],
      ],
    ],
    [() => [f(1, 1), f(1, 2), f(1, 1), null, -8, 7, false], 'ERR_SHAPE'],
    [() => [f(1, 1), f(1, 1), f(1, 1), null, 7, -8, false], 'ERR_OPTION'],
  ],
  pack_bits: [
    [() => [i8([]), 4], [[[0]]]],
    [() => [i8([-8]), 4], [[[1], [0]]]],
    [() => [i8([8]), 4], 'ERR_OPTION'],
    [() => [i8([0]), 1], 'ERR_OPTION'],
    [() => [i8([0]), 9], 'ERR_OPTION'],
  ],
  unpack_bits: [
    [() => [u8([]), 4, 0], [[[0]]]],
    [() => [u8([0]), 4, 1], [[[1], [-8]]]],
    [() => [u8([0]), 4, 3], 'ERR_SHAPE'],
    [() => [u8([0]), 4, -1], 'ERR_SHAPE'],
  ],
  block_encode: [
    [() => [f(0), 'q8_0'], [[[0]]]],
    [() => [f(0, 256), 'q6_k'], [[[0, 210]]]],
    [() => [f(2, 0), 'q4_k'], [[[2, 0]]]],
    [() => [tensor(1), 'q8_0'], 'ERR_SHAPE'],
    [() => [f(1), 'q4_0'], 'ERR_SHAPE'],
    [() => [f(32, 1), 'q4_1'], 'ERR_SHAPE'],
    [() => [f(128), 'q4_k'], 'ERR_SHAPE'],
    [() => [tensor(new Float32Array(32).fill(NaN)), 'q8_0'], 'ERR_NUMERIC'],
    [() => [tensor(new Float32Array(32).fill(1e6)), 'q4_0'], 'ERR_NUMERIC'],
  ],
  block_decode: [
    [() => [u8([]), 'q8_0'], [[[0]]]],
    [() => [u8([], [0, 210]), 'q6_k'], [[[0, 256]]]],
    [() => [u8([], [1, 0]), 'q4_k'], [[[1, 0]]]],
    [() => [u8(new Array<number>(18).fill(0)), 'q4_0'], [[[32], new Array<number>(32).fill(0)]]],
    [() => [u8([1]), 'q8_0'], 'ERR_SHAPE'],
  ],
  histogram: [
    [() => [f(0), 0, 1, 2], [[[2], [0, 0]]]],
    [() => [tensor(1), 0, 1, 1], [[[1], [1]]]],
    [() => [f(3), 0, 1, 0], 'ERR_OPTION'],
    [() => [f(3), 1, 1, 2], 'ERR_OPTION'],
    [() => [tensor(NaN), 0, 1, 2], 'ERR_NUMERIC'],
  ],
  qgemm_pack: [
    [() => [i8([1], [1, 1])], [[pack(1, 1).shape]]],
    [() => [i8([1])], 'ERR_SHAPE'],
  ],
  qgemm_s32: [
    [() => [u8([], [0, 3]), pack(1, 3), null, null, 1, 0], [[[0, 1]]]],
    [() => [u8([1, 2, 3], [1, 3]), pack(0, 3), null, null, 0, 0], [[[1, 0]]]],
    [
      () => [u8([], [2, 0]), pack(1, 0), null, null, 1, 5],
      [
        [
          [2, 1],
          [0, 0],
        ],
      ],
    ],
    [() => [u8([7], [1, 1]), pack(1, 1), null, null, 1, 2], [[[1, 1], [5]]]],
    [() => [i8([-7], [1, 1]), pack(1, 1), i32([3]), i32([-2]), 1, 0], [[[1, 1], [-30]]]],
    [() => [i8([-7], [1]), pack(1, 1), null, null, 1, 128], 'ERR_OPTION'],
    [() => [i8([-7], [1]), pack(1, 1), i32([128]), null, 1, 0], 'ERR_OPTION'],
  ],
  qlinear_dynamic: [
    [() => [f(0, 3), pack(2, 3), f(2), null, null, 2, true, 'none'], [[[0, 2]]]],
    [
      () => [f(2, 0), pack(2, 0), f(2), f(2), null, 2, false, 'none'],
      [
        [
          [2, 2],
          [1, 2, 1, 2],
        ],
      ],
    ],
    [() => [f(1, 3), pack(0, 3), f(0), null, null, 0, true, 'none'], [[[1, 0]]]],
    [() => [tensor([127]), pack(1, 1), tensor([1]), null, tensor([3]), 1, true, 'none'], [[[1], [130]]]],
    [() => [tensor([127]), pack(1, 1), tensor([NaN]), null, null, 1, true, 'none'], 'ERR_OPTION'],
  ],
  qmatmul: [
    [() => [f(0, 3), pack(2, 3), f(2), null, null, null, null, null, 2, 1, 0, 'none', 'f32', 1, 0], [[[0, 2]]]],
    [() => [f(1, 3), pack(0, 3), f(0), null, null, null, null, null, 0, 1, 0, 'none', 'u8', 1, 0], [[[1, 0]]]],
    [() => [u8([7], [1, 1]), pack(1, 1), tensor([2]), null, null, null, null, null, 1, 0.5, 2, 'none', 'f32', 1, 0], [[[1, 1], [5]]]],
    [() => [u8([7], [1, 1]), pack(1, 1), tensor([2]), null, null, null, null, null, 1, 0.5, 2, 'none', 'i8', 2, 1], [[[1, 1], [3]]]],
    [() => [u8([7], [1, 1]), pack(1, 1), tensor([2]), null, null, null, null, null, 1, 0.5, 2, 'none', 'i8', 0, 1], 'ERR_OPTION'],
    [() => [u8([7], [1, 1]), pack(1, 1), tensor([2]), null, null, null, null, null, 1, 0.5, 2, 'none', 'i32', 1, 1], 'ERR_DTYPE'],
    [() => [f(1, 1), pack(1, 1), tensor([2]), null, null, tensor([1]), null, null, 1, 0.5, 2, 'none', 'f32', 1, 0], 'ERR_OPTION'],
  ],
  qmatmul_fixed: [
    [() => [u8([], [0, 3]), pack(2, 3), null, i32([1]), i32([0]), null, 2, 0, 'u8', 0, 0, 255], [[[0, 2]]]],
    [() => [u8([1], [1, 1]), pack(0, 1), null, i32([1]), i32([0]), null, 0, 0, 'u8', 0, 0, 255], [[[1, 0]]]],
    [() => [u8([], [1, 0]), pack(1, 0), i32([8]), i32([2 ** 30]), i32([0]), null, 1, 0, 'i8', -1, -128, 127], [[[1, 1], [3]]]],
    [() => [u8([1], [1, 1]), pack(1, 1), null, i32([-1]), i32([0]), null, 1, 0, 'u8', 0, 0, 255], 'ERR_OPTION'],
    [() => [u8([1], [1, 1]), pack(1, 1), null, i32([1]), i32([31]), null, 1, 0, 'u8', 0, 0, 255], 'ERR_OPTION'],
    [() => [u8([1], [1, 1]), pack(1, 1), null, i32([1]), i32([0]), null, 1, 0, 'u8', 0, 9, 8], 'ERR_OPTION'],
  ],
  qlinear: [
    [() => [f(0, 3), pack(2, 3), f(2), null, 2, 0.1, 0, 'none'], [[[0, 2]]]],
    [
      () => [f(2, 0), pack(2, 0), f(2), f(2), 2, 0.1, 9, 'none'],
      [
        [
          [2, 2],
          [1, 2, 1, 2],
        ],
      ],
    ],
    [() => [f(1, 3), pack(0, 3), f(0), null, 0, 0.1, 0, 'none'], [[[1, 0]]]],
    [() => [tensor([2]), pack(1, 1), tensor([1]), null, 1, 1, 0, 'none'], [[[1], [2]]]],
  ],
  qconv2d_pack: [
    [() => [i8([], [0, 3, 1, 1]), 1], [[filters([], [0, 3, 1, 1]).shape]]],
    [() => [i8([1], [1, 1, 1, 1]), 1], [[filters([1], [1, 1, 1, 1]).shape]]],
    [() => [i8([1, 2, 3], [3, 1, 1, 1]), 2], 'ERR_SHAPE'],
    [() => [i8([1, 2, 3], [3, 1, 1, 1]), 0], 'ERR_OPTION'],
    [() => [f(3, 1, 1, 1), 1], 'ERR_DTYPE'],
  ],
  qconv2d_last: [
    [
      () => codesLast(u8([3, 5], [1, 1, 2, 1]), filters([2], [1, 1, 1, 1]), [1, 1, 1, 1]),
      [
        [
          [1, 1, 2, 1],
          [4, 8],
        ],
      ],
    ],
    [() => codesLast(f(0, 2, 2, 1), filters([2], [1, 1, 1, 1]), [1, 1, 1, 1]), [[[0, 2, 2, 1]]]],
    [
      () => codesLast(f(1, 1, 1, 0), filters([], [3, 0, 1, 1]), [3, 0, 1, 1]),
      [
        [
          [1, 1, 1, 3],
          [0, 0, 0],
        ],
      ],
    ],
    [() => codesLast(f(1, 2, 2, 1), filters([2], [1, 1, 1, 1]), [1, 1, 3, 3]), 'ERR_SHAPE'],
    [() => codesLast(i8([3], [1, 1, 1, 1]), filters([2], [1, 1, 1, 1]), [1, 1, 1, 1]), 'ERR_DTYPE'],
    [() => codesLast(f(1, 1, 1, 1), filters([2], [1, 1, 1, 1]), [1, 1, 1, 1], 300), 'ERR_OPTION'],
  ],
  qconv2d: [
    [() => codesFirst(f(0, 1, 3, 3), filters([1, 2, 3, 4], [1, 1, 2, 2]), [1, 1, 2, 2]), [[[0, 1, 2, 2]]]],
    [() => codesFirst(f(1, 1, 1, 1), filters([3], [1, 1, 1, 1]), [1, 1, 1, 1]), [[[1, 1, 1, 1], [3]]]],
    [() => codesFirst(f(1, 1, 0, 3), filters([3], [1, 1, 1, 1]), [1, 1, 1, 1]), 'ERR_SHAPE'],
    [() => codesFirst(f(1, 1, 1, 1), filters([3], [1, 1, 1, 1]), [1, 1, 1, 1], -1), 'ERR_OPTION'],
  ],
  wgemm_pack: [
    [() => [i8([1], [1, 1]), f(1, 1), null, 4], [[pack4(1, 1).shape]]],
    [() => [i8([], [0, 3]), f(0, 3), null, 2], [[pack4(0, 3).shape]]],
    [() => [i8([], [2, 0]), f(2, 1), f(2, 1), 8], [[callOp('wgemm_pack', [i8([], [2, 0]), f(2, 1), f(2, 1), 8])[0]!.shape]]],
    [() => [i8([1]), f(1, 1), null, 4], 'ERR_SHAPE'],
    [() => [i8([1], [1, 1]), f(1, 1), null, 5], 'ERR_OPTION'],
    [() => [i8([8], [1, 1]), f(1, 1), null, 4], 'ERR_OPTION'],
    [() => [i8([1], [1, 1]), tensor([[0]]), null, 4], 'ERR_NUMERIC'],
    [() => [i8([1, 1, 1], [1, 3]), f(1, 2), null, 4], 'ERR_SHAPE'],
  ],
  wgemm_unpack: [
    [() => [pack4(0, 3), 0, 3], [[[0, 3]]]],
    [() => [pack4(2, 0), 2, 0], [[[2, 0]]]],
    [() => [pack4(1, 1), 1, 1], [[[1, 1], [1]]]],
    [() => [pack4(1, 1), 1, 2], 'ERR_OPTION'],
    [() => [u8([]), 1, 1], 'ERR_SHAPE'],
  ],
  wgemm: [
    [() => [f(0, 3), pack4(2, 3), null, null, 2, 'none'], [[[0, 2]]]],
    [
      () => [f(2, 0), pack4(2, 0), f(2), null, 2, 'none'],
      [
        [
          [2, 2],
          [1, 2, 1, 2],
        ],
      ],
    ],
    [() => [f(1, 3), pack4(0, 3), f(0), null, 0, 'none'], [[[1, 0]]]],
    [() => [tensor([2]), pack4(1, 1), tensor([1]), tensor([4]), 1, 'none'], [[[1], [7]]]],
    [() => [tensor([2]), pack4(1, 1), null, null, 2, 'none'], 'ERR_OPTION'],
    [() => [tensor([2]), pack4(1, 1), tensor([1]), tensor([4]), 2, 'none'], 'ERR_SHAPE'],
  ],
} as const satisfies Readonly<Record<string, readonly Edge[]>>
