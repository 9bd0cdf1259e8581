/** Products, random numbers and what else networks are made of. */
import { cast } from '../../../ts/ops/index.js'
import { tensor } from '../../../ts/tensor/index.js'
import { f, half, i32, packHalf, packSingle, type Edge } from './edge.js'

export const networks = {
  matmul: [
    [() => [f(0, 3), f(3, 2), false, false], [[[0, 2]]]],
    [() => [f(2, 3), f(3, 0), false, false], [[[2, 0]]]],
    [
      () => [f(2, 0), f(0, 3), false, false],
      [
        [
          [2, 3],
          [0, 0, 0, 0, 0, 0],
        ],
      ],
    ],
    [() => [f(0, 2, 3), f(3, 1), false, false], [[[0, 2, 1]]]],
    [() => [f(1, 1), f(1, 1), true, true], [[[1, 1], [1]]]],
    [() => [f(3), f(3, 2), false, false], 'ERR_SHAPE'],
  ],
  linear: [
    [() => [f(0, 3), f(2, 3), f(2)], [[[0, 2]]]],
    [
      () => [f(2, 0), f(3, 0), f(3)],
      [
        [
          [2, 3],
          [1, 2, 3, 1, 2, 3],
        ],
      ],
    ],
    [
      () => [f(2, 0), f(3, 0), null],
      [
        [
          [2, 3],
          [0, 0, 0, 0, 0, 0],
        ],
      ],
    ],
    [() => [f(2, 3), f(0, 3), null], [[[2, 0]]]],
    [() => [f(1), f(1, 1), f(1)], [[[1], [2]]]],
    [() => [tensor(1), f(1, 1), null], 'ERR_SHAPE'],
  ],
  linear_fused: [
    [() => [f(0, 3), f(2, 3), f(2), f(0, 2), 'relu'], [[[0, 2]]]],
    [
      () => [f(2, 0), f(3, 0), f(3), f(2, 3), 'none'],
      [
        [
          [2, 3],
          [2, 4, 6, 5, 7, 9],
        ],
      ],
    ],
    [() => [f(2, 3), f(0, 3), null, null, 'gelu'], [[[2, 0]]]],
    [() => [f(1), f(1, 1), f(1), f(1), 'relu'], [[[1], [3]]]],
    [() => [tensor(1), f(1, 1), null, null, 'none'], 'ERR_SHAPE'],
    [() => [f(1, 1), f(1, 1), null, f(1), 'none'], 'ERR_SHAPE'],
    [() => [f(1, 1), f(1, 1), i32([1]), null, 'none'], 'ERR_DTYPE'],
  ],
  gemm_pack: [
    [() => [f(0, 3)], [[[64]]]],
    [() => [f(2, 0)], [[[64]]]],
    [() => [f(1, 1)], [[packSingle(1, 1).shape]]],
    [() => [f(3)], 'ERR_SHAPE'],
    [() => [i32([1], [1, 1])], 'ERR_DTYPE'],
  ],
  linear_packed: [
    [() => [f(0, 3), packSingle(2, 3), f(2), null, 2, 'none'], [[[0, 2]]]],
    [
      () => [f(2, 0), packSingle(3, 0), f(3), f(2, 3), 3, 'none'],
      [
        [
          [2, 3],
          [2, 4, 6, 5, 7, 9],
        ],
      ],
    ],
    [() => [f(2, 3), packSingle(0, 3), null, null, 0, 'none'], [[[2, 0]]]],
    [() => [f(1), packSingle(1, 1), f(1), f(1), 1, 'none'], [[[1], [3]]]],
    [() => [tensor(1), packSingle(1, 1), null, null, 1, 'none'], 'ERR_SHAPE'],
    [() => [f(1, 2), packSingle(1, 33), null, null, 1, 'none'], 'ERR_SHAPE'],
    [() => [f(1, 1), packSingle(2, 1), null, null, 1, 'none'], 'ERR_OPTION'],
    [() => [f(1, 1), packSingle(1, 1), null, null, -1, 'none'], 'ERR_OPTION'],
    [() => [f(1, 1), packSingle(1, 1), null, null, 2 ** 41, 'none'], 'ERR_OPTION'],
    [() => [f(1, 1), packSingle(1, 1), f(2), null, 1, 'none'], 'ERR_SHAPE'],
    [() => [i32([1], [1, 1]), packSingle(1, 1), null, null, 1, 'none'], 'ERR_DTYPE'],
  ],
  gemm: [
    [() => [f(0, 3), f(3, 2), f(2), false, false, 1, 1], [[[0, 2]]]],
    [() => [f(2, 3), f(3, 0), null, false, false, 1, 1], [[[2, 0]]]],
    [
      () => [f(2, 0), f(0, 3), f(2, 1), false, false, 5, 2],
      [
        [
          [2, 3],
          [2, 2, 2, 4, 4, 4],
        ],
      ],
    ],
    [() => [f(1, 1), f(1, 1), tensor(3), true, true, 2, -1], [[[1, 1], [-1]]]],
    [() => [f(1, 1), f(1, 1), tensor(NaN), false, false, 2, 0], [[[1, 1], [2]]]],
    [() => [f(3), f(3, 2), null, false, false, 1, 1], 'ERR_SHAPE'],
    [() => [f(1, 3), f(2, 3), null, false, false, 1, 1], 'ERR_SHAPE'],
    [() => [f(1, 3), f(3, 2), f(2, 1), false, false, 1, 1], 'ERR_SHAPE'],
    [() => [f(1, 1), f(1, 1), null, false, false, 1e300, 1], 'ERR_OPTION'],
    [() => [f(1, 1), f(1, 1), i32([1]), false, false, 1, 1], 'ERR_DTYPE'],
  ],
  matmul_half: [
    [() => [half(0, 3), half(3, 2), half(2), false, false, 'f32'], [[[0, 2]]]],
    [() => [half(2, 3), half(3, 0), null, false, false, 'bf16'], [[[2, 0]]]],
    // The bits of 1, 2 and 3: an empty sum is the bias.
    [
      () => [half(2, 0), half(0, 3), half(3), false, false, 'bf16'],
      [
        [
          [2, 3],
          [0x3f80, 0x4000, 0x4040, 0x3f80, 0x4000, 0x4040],
        ],
      ],
    ],
    [() => [half(0, 2, 3), half(3, 1), null, false, false, 'f32'], [[[0, 2, 1]]]],
    [() => [half(1, 1), half(1, 1), half(1), true, true, 'f32'], [[[1, 1], [2]]]],
    [() => [half(3), half(3, 2), null, false, false, 'f32'], 'ERR_SHAPE'],
    [() => [half(2, 3), half(2, 3), null, false, false, 'f32'], 'ERR_SHAPE'],
    [() => [half(2, 3), half(3, 2), half(3), false, false, 'f32'], 'ERR_SHAPE'],
    [() => [half(2, 3), cast(half(3, 2), 'f16'), null, false, false, 'f32'], 'ERR_DTYPE'],
    [() => [half(2, 3), half(3, 2), f(2), false, false, 'f32'], 'ERR_DTYPE'],
    [() => [half(2, 3), half(3, 2), null, false, false, 'f16'], 'ERR_DTYPE'],
    [() => [f(2, 3), f(3, 2), null, false, false, 'f32'], 'ERR_DTYPE'],
  ],
  bf16_pack: [
    [() => [f(0, 3)], [[[64]]]],
    [() => [f(2, 0)], [[[64]]]],
    [() => [f(1, 1)], [[packHalf(1, 1).shape]]],
    [() => [f(33, 33)], [[[64 + 2 * 64 * 64]]]],
    [() => [f(3)], 'ERR_SHAPE'],
    [() => [i32([1], [1, 1])], 'ERR_DTYPE'],
  ],
  linear_bf16: [
    [() => [f(0, 3), packHalf(2, 3), f(2), 2, 'none', 'f32'], [[[0, 2]]]],
    [
      () => [f(2, 0), packHalf(3, 0), f(3), 3, 'none', 'bf16'],
      [
        [
          [2, 3],
          // The bits of 1, 2 and 3.
          [0x3f80, 0x4000, 0x4040, 0x3f80, 0x4000, 0x4040],
        ],
      ],
    ],
    [() => [f(2, 3), packHalf(0, 3), null, 0, 'none', 'f32'], [[[2, 0]]]],
    [() => [f(1), packHalf(1, 1), f(1), 1, 'none', 'f32'], [[[1], [2]]]],
    [() => [tensor(1), packHalf(1, 1), null, 1, 'none', 'f32'], 'ERR_SHAPE'],
    [() => [f(1, 2), packHalf(1, 33), null, 1, 'none', 'f32'], 'ERR_SHAPE'],
    [() => [f(1, 2), packHalf(1, 1), null, 1, 'none', 'f32'], 'ERR_OPTION'],
    [() => [f(1, 1), packHalf(1, 1), null, -1, 'none', 'f32'], 'ERR_OPTION'],
    [() => [f(1, 1), packHalf(1, 1), f(2), 1, 'none', 'f32'], 'ERR_SHAPE'],
    [() => [f(1, 1), packHalf(1, 1), null, 1, 'none', 'f64'], 'ERR_DTYPE'],
    [() => [i32([1], [1, 1]), packHalf(1, 1), null, 1, 'none', 'f32'], 'ERR_DTYPE'],
  ],
  lstm: [
    [
      () => [f(0, 1, 2), f(4, 2), f(4, 1), null, f(1, 1), null, null, false],
      [
        [
          [2, 1, 1],
          [1, 0],
        ],
        [[0, 1, 4]],
        [[0, 1, 1]],
        [[0, 1, 1]],
      ],
    ],
    [() => [f(3, 0, 2), f(8, 2), f(8, 2), f(8), null, null, i32([]), true], [[[5, 0, 2]], [[3, 0, 8]], [[3, 0, 2]], [[3, 0, 2]]]],
    [
      () => [f(1, 2, 0), f(4, 0), f(4, 1), null, null, null, null, false],
      [
        [
          [3, 2, 1],
          [0, 0, 0, 0, 0, 0],
        ],
        [[1, 2, 4]],
        [[1, 2, 1]],
        [[1, 2, 1]],
      ],
    ],
    [() => [f(2, 1, 1), f(0, 1), f(0, 0), null, null, null, null, false], [[[4, 1, 0]], [[2, 1, 0]], [[2, 1, 0]], [[2, 1, 0]]]],
    [
      () => [f(2, 1, 1), f(4, 1), f(4, 1), null, f(1, 1), null, i32([0]), true],
      [
        [
          [4, 1, 1],
          [0, 0, 1, 0],
        ],
        [[2, 1, 4]],
        [[2, 1, 1]],
        [
          [2, 1, 1],
          [1, 1],
        ],
      ],
    ],
    [() => [f(2, 1, 1), f(4, 1), f(4, 1), null, null, null, i32([3]), false], 'ERR_SHAPE'],
    [() => [f(2, 1, 1), f(4, 1), f(4, 1), null, null, null, i32([-1]), false], 'ERR_SHAPE'],
    [() => [f(2, 1, 1), f(4, 1), f(4, 1), null, null, null, f(1), false], 'ERR_DTYPE'],
    [() => [f(2, 1, 1), f(4, 1), f(4, 1), f(3), null, null, null, false], 'ERR_SHAPE'],
    [() => [f(2, 1, 1), f(4, 2), f(4, 1), null, null, null, null, false], 'ERR_SHAPE'],
    [() => [f(2, 1, 1), f(3, 1), f(3, 1), null, null, null, null, false], 'ERR_SHAPE'],
    [() => [f(2, 1, 1), f(4, 1), f(4, 1), null, f(2, 1), null, null, false], 'ERR_SHAPE'],
    [() => [f(1, 1), f(4, 1), f(4, 1), null, null, null, null, false], 'ERR_SHAPE'],
  ],
  lstm_grad: [
    [
      () => [f(0, 1, 1), f(4, 1), f(4, 1), null, null, f(0, 1, 4), f(0, 1, 1), f(0, 1, 1), f(2, 1, 1), false],
      [
        [[0, 1, 1]],
        [
          [4, 1],
          [0, 0, 0, 0],
        ],
        [
          [4, 1],
          [0, 0, 0, 0],
        ],
        [[4], [0, 0, 0, 0]],
        [[1, 1], [1]],
        [[1, 1], [2]],
      ],
    ],
    [
      () => [f(1, 0, 1), f(4, 1), f(4, 1), null, null, f(1, 0, 4), f(1, 0, 1), f(1, 0, 1), f(3, 0, 1), true],
      [
        [[1, 0, 1]],
        [
          [4, 1],
          [0, 0, 0, 0],
        ],
        [[4, 1]],
        [[4]],
        [[0, 1]],
        [[0, 1]],
      ],
    ],
    [() => [f(1, 1, 1), f(4, 1), f(4, 1), null, null, f(1, 1, 4), f(1, 1, 1), f(1, 1, 1), f(2, 1, 1), true], 'ERR_SHAPE'],
  ],
  gru: [
    [() => [f(0, 1, 2), f(3, 2), f(3, 1), null, null, f(1, 1), null, false], [[[1, 1, 1], [1]], [[0, 1, 3]], [[0, 1, 1]], [[0, 1, 1]]]],
    [() => [f(3, 0, 2), f(6, 2), f(6, 2), f(6), f(6), null, i32([]), true], [[[4, 0, 2]], [[3, 0, 6]], [[3, 0, 2]], [[3, 0, 2]]]],
    [
      () => [f(1, 2, 0), f(3, 0), f(3, 1), null, null, null, null, false],
      [
        [
          [2, 2, 1],
          [0, 0, 0, 0],
        ],
        [[1, 2, 3]],
        [[1, 2, 1]],
        [[1, 2, 1]],
      ],
    ],
    [
      () => [f(2, 1, 1), f(3, 1), f(3, 1), null, null, f(1, 1), i32([0]), true],
      [
        [
          [3, 1, 1],
          [0, 0, 1],
        ],
        [[2, 1, 3]],
        [[2, 1, 1]],
        [
          [2, 1, 1],
          [1, 1],
        ],
      ],
    ],
    [() => [f(2, 1, 1), f(3, 1), f(3, 1), null, null, null, i32([3]), false], 'ERR_SHAPE'],
    [() => [f(2, 1, 1), f(3, 1), f(3, 1), null, f(4), null, null, false], 'ERR_SHAPE'],
    [() => [f(2, 1, 1), f(4, 1), f(4, 1), null, null, null, null, false], 'ERR_SHAPE'],
  ],
  gru_grad: [
    [
      () => [f(0, 1, 1), f(3, 1), f(3, 1), null, f(0, 1, 3), f(0, 1, 1), f(0, 1, 1), f(1, 1, 1), false],
      [
        [[0, 1, 1]],
        [
          [3, 1],
          [0, 0, 0],
        ],
        [
          [3, 1],
          [0, 0, 0],
        ],
        [[3], [0, 0, 0]],
        [[3], [0, 0, 0]],
        [[1, 1], [1]],
      ],
    ],
    [() => [f(1, 1, 1), f(3, 1), f(3, 1), null, f(1, 1, 3), f(1, 1, 1), f(1, 1, 1), f(3, 1, 1), true], 'ERR_SHAPE'],
  ],
  random_uniform: [
    [() => [[0], 1, 0], [[[0]]]],
    [() => [[], 1, 0], [[[]]]],
    [() => [[2, 0, 3], 1, 0], [[[2, 0, 3]]]],
  ],
} as const satisfies Readonly<Record<string, readonly Edge[]>>
