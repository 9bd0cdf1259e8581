/** Sizes 0 and 1 of selected rows, ternary projection, sparse formats and their code. */
import { callOp, tensor } from '../../../ts/tensor/index.js'
import { f, i32, i8, u8, u16, pack4, project, type Edge } from './edge.js'

/** One unit, twins without a projection of the state. */
const lstmTwin = (steps: number, batch: number, insensitive: number, cols: number): readonly unknown[] => [
  ...[f(steps, batch, cols), f(4, cols), f(4, 1), null, null, null, project(1, cols), null, pack4(4, 1), pack4(4, 1), null, null, null],
  ...[f(4), 1, 1, insensitive, false],
]
const gruTwin = (steps: number, batch: number, insensitive: number, cols: number): readonly unknown[] => [
  ...[f(steps, batch, cols), f(3, cols), f(3, 1), null, null, null, null, project(1, cols), null, pack4(3, 1), pack4(3, 1), null, null],
  ...[f(3), 1, 1, insensitive, false],
]

export const sparse = {
  mask_indices: [
    [() => [u8([]), 0], [[[0]]]],
    [() => [u8([0b1010]), 4], [[[2], [1, 3]]]],
    [() => [u8([255]), 1], [[[1], [0]]]],
    [() => [u8([1]), 9], 'ERR_SHAPE'],
    [() => [u8([1]), -1], 'ERR_SHAPE'],
  ],
  rows_dot: [
    [() => [f(0, 3), f(2, 3), null, null, i32([0, 1]), null, null], [[[0, 2]]]],
    [() => [f(1, 3), f(0, 3), null, null, i32([]), null, null], [[[1, 0]]]],
    [() => [f(1, 0), f(2, 0), null, f(2), i32([1]), null, null], [[[1, 1], [2]]]],
    [() => [f(1, 1), i8([3], [1, 1]), tensor([2]), f(1), i32([0]), i32([0, 1]), null], [[[1], [7]]]],
    [
      () => [f(1, 1), f(2, 1), null, null, i32([0]), null, tensor([[8, 9]])],
      [
        [
          [1, 2],
          [1, 9],
        ],
      ],
    ],
    [() => [f(1, 1), f(2, 1), null, null, i32([1, 0]), null, null], 'ERR_OPTION'],
    [() => [f(1, 1), f(2, 1), null, null, i32([2]), null, null], 'ERR_OPTION'],
    [() => [f(1, 1), f(2, 1), null, null, i32([0]), i32([0, 2]), null], 'ERR_OPTION'],
  ],
  ternary_pack: [
    [() => [0, 3, 1, 0], [[project(0, 3).shape]]],
    [() => [1, 1, 1, 0], [[project(1, 1).shape]]],
    [() => [-1, 1, 1, 0], 'ERR_OPTION'],
  ],
  ternary_unpack: [
    [() => [project(0, 3), 0, 3], [[[0, 3]]]],
    [() => [project(1, 1), 1, 1], [[[1, 1]]]],
    [() => [project(1, 1), 1, 2], 'ERR_OPTION'],
    [() => [u8([]), 1, 1], 'ERR_SHAPE'],
  ],
  ternary_project: [
    [() => [f(0, 3), project(2, 3), 2], [[[0, 2]]]],
    [
      () => [f(2, 0), project(1, 0), 1],
      [
        [
          [2, 1],
          [0, 0],
        ],
      ],
    ],
    [() => [f(1, 3), project(0, 3), 0], [[[1, 0]]]],
    [() => [f(3), project(2, 3), 2], [[[2]]]],
    [() => [f(3), project(2, 3), 20], 'ERR_SHAPE'],
  ],
  // Twins of ones see the input itself: with K = 2 their output is the sum of x, that of w = f(N, 2) is not.
  dual_linear: [
    [() => [f(0, 2), f(3, 2), null, null, null, pack4(3, 2), tensor([0]), 2, 1, 0, false], [[[0, 3]], [[0]]]],
    [() => [f(2, 1), f(0, 1), null, null, project(2, 1), pack4(0, 2), tensor([0]), 2, 1, 0, false], [[[2, 0]], [[2], [0, 0]]]],
    [
      () => [f(1, 2), f(1, 2), null, f(1), null, pack4(1, 2), tensor([0]), 2, 1, 0, false],
      [
        [[1, 1], [6]],
        [[1], [0]],
      ],
    ],
    [
      () => [f(1, 2), f(1, 2), null, f(1), null, pack4(1, 2), tensor([0]), 2, 1, 1, false],
      [
        [[1, 1], [4]],
        [[1], [1]],
      ],
    ],
    [
      () => [f(1, 2), f(1, 2), null, f(1), null, pack4(1, 2), tensor([3.9]), 2, 1, -1, false],
      [
        [[1, 1], [4]],
        [[1], [1]],
      ],
    ],
    [
      () => [f(2), f(1, 2), null, f(1), null, pack4(1, 2), tensor([4]), 2, 1, -1, false],
      [
        [[1], [6]],
        [[1], [0]],
      ],
    ],
    [
      () => [f(2), f(1, 2), null, f(1), null, pack4(1, 2), tensor([4]), 2, 1, -1, true],
      [
        [[1], [6]],
        [[1], [0]],
      ],
    ],
    [() => [f(1, 2), f(1, 2), null, null, null, pack4(1, 2), tensor([0]), 2, 1, 2, false], 'ERR_OPTION'],
    [() => [f(1, 2), f(1, 2), null, null, null, pack4(1, 2), tensor([0]), 1, 1, 0, false], 'ERR_OPTION'],
    [() => [f(1, 2), f(1, 2), null, null, null, pack4(1, 3), tensor([0]), 2, 1, 0, false], 'ERR_OPTION'],
    [() => [f(1, 2), f(1, 2), null, null, null, pack4(1, 2), tensor([0, 1]), 2, 1, 0, false], 'ERR_SHAPE'],
    [() => [f(1, 2), f(1, 3), null, null, null, pack4(1, 2), tensor([0]), 2, 1, 0, false], 'ERR_SHAPE'],
    [() => [f(1, 2), f(1, 2), f(1), null, null, pack4(1, 2), tensor([0]), 2, 1, 0, false], 'ERR_OPTION'],
    [() => [f(1, 2), f(1, 2), null, null, null, f(1, 2), tensor([0]), 2, 2, 0, false], 'ERR_OPTION'],
  ],
  dual_lstm: [
    [
      () => lstmTwin(0, 1, 0, 2),
      [
        [
          [2, 1, 1],
          [0, 0],
        ],
        [[0, 1]],
      ],
    ],
    [() => lstmTwin(2, 0, 0, 2), [[[4, 0, 1]], [[2, 0]]]],
    [() => lstmTwin(1, 1, 4, 0), [[[3, 1, 1]], [[1, 1], [4]]]],
    [() => lstmTwin(1, 1, 5, 1), 'ERR_OPTION'],
    [() => lstmTwin(1, 1, -2, 1), 'ERR_OPTION'],
  ],
  dual_gru: [
    [() => gruTwin(0, 1, 0, 2), [[[1, 1, 1], [0]], [[0, 1]]]],
    [() => gruTwin(2, 0, 0, 2), [[[3, 0, 1]], [[2, 0]]]],
    [() => gruTwin(1, 1, 3, 0), [[[2, 1, 1]], [[1, 1], [3]]]],
    [() => gruTwin(1, 1, 4, 1), 'ERR_OPTION'],
  ],
  csr_from_dense: [
    [() => [f(0, 3)], [[[0]], [[1], [0]], [[0]]]],
    [() => [f(2, 0)], [[[0]], [[3], [0, 0, 0]], [[0]]]],
    [() => [tensor([[0]])], [[[0]], [[2], [0, 0]], [[0]]]],
    [
      () => [tensor([[5]])],
      [
        [[1], [5]],
        [[2], [0, 1]],
        [[1], [0]],
      ],
    ],
  ],
  csr_to_dense: [
    [() => [f(0), i32([0]), u16([]), 3], [[[0, 3]]]],
    [
      () => [f(0), i32([0, 0]), u16([]), 2],
      [
        [
          [1, 2],
          [0, 0],
        ],
      ],
    ],
    [() => [f(0), i32([0, 0]), u16([]), 0], [[[1, 0]]]],
    [() => [f(1), i32([0, 1]), u16([0]), 1], [[[1, 1], [1]]]],
    [() => [f(1), i32([0, 1]), u16([1]), 1], 'ERR_MODEL_FORMAT'],
    [() => [f(0), i32([]), u16([]), 3], 'ERR_SHAPE'],
  ],
  csr_group: [
    [() => [f(0), i32([0]), u16([]), 3], [[[0]]]],
    [() => [f(1), i32([0, 1]), u16([0]), 1], [[[0]]]],
    [() => [f(1), i32([0, 1]), u16([0]), -1], 'ERR_OPTION'],
    [() => [f(1), i32([0, 1]), u16([0]), 65537], 'ERR_OPTION'],
    [() => [f(1), i32([0, 2]), u16([0]), 1], 'ERR_MODEL_FORMAT'],
    [() => [i8([3]), i32([0, 1]), u16([0]), 1], 'ERR_DTYPE'],
  ],
  csr_linear: [
    [() => [f(0, 2), f(1), i32([0, 1]), u16([0]), null, null, null], [[[0, 1]]]],
    [() => [f(2, 3), f(0), i32([0]), u16([]), null, null, null], [[[2, 0]]]],
    [
      () => [f(2, 3), f(0), i32([0, 0]), u16([]), null, f(1), null],
      [
        [
          [2, 1],
          [1, 1],
        ],
      ],
    ],
    [() => [f(1), f(1), i32([0, 1]), u16([0]), null, null, null], [[[1], [1]]]],
    [() => [f(1), i8([3]), i32([0, 1]), u16([0]), null, null, null], 'ERR_OPTION'],
  ],
  csr_multiply: [
    [() => [f(1), i32([0, 1]), u16([0]), f(2, 0), null, null, null], [[[1, 0]]]],
    [() => [f(0), i32([0]), u16([]), f(3, 2), null, null, null], [[[0, 2]]]],
    [() => [f(0), i32([0, 0]), u16([]), f(0, 2), null, f(1), null], [[[1, 2], [1, 1]]]], // prettier-ignore
    [() => [f(1), i32([0, 1]), u16([0]), f(1, 1), null, null, null], [[[1, 1], [1]]]],
    [() => [f(1), i32([0, 1]), u16([0]), f(0, 2), null, null, null], 'ERR_MODEL_FORMAT'],
    [() => [f(1), i32([0, 1]), u16([1]), f(1, 2), null, null, null], 'ERR_MODEL_FORMAT'],
    [() => [f(1), i32([0, 1]), u16([0]), f(1), null, null, null], 'ERR_SHAPE'],
    [() => [f(1), i32([0, 1]), u16([0]), f(1, 2), null, f(2), null], 'ERR_SHAPE'],
    [() => [i8([3]), i32([0, 1]), u16([0]), f(1, 2), null, null, null], 'ERR_OPTION'],
  ],
  bsr_from_dense: [
    [() => [f(0, 3), 4, 4], [[[0]], [[1], [0]], [[0]]]],
    [() => [f(2, 0), 1, 16], [[[0]], [[3], [0, 0, 0]], [[0]]]],
    [() => [tensor([[5]]), 16, 1], [[[16]], [[2], [0, 1]], [[1], [0]]]], // prettier-ignore
    [() => [f(2, 2), 2, 2], 'ERR_OPTION'],
  ],
  bsr_to_dense: [
    [() => [f(0), i32([0]), u16([]), 0, 3, 4, 4], [[[0, 3]]]],
    [() => [f(0), i32([0, 0]), u16([]), 1, 0, 16, 1], [[[1, 0]]]],
    [() => [f(16), i32([0, 1]), u16([0]), 1, 16, 1, 16], [[[1, 16]]]],
    [() => [f(16), i32([0, 1]), u16([1]), 1, 16, 1, 16], 'ERR_MODEL_FORMAT'],
    [() => [f(16), i32([0, 1]), u16([0]), 1, 15, 1, 16], 'ERR_MODEL_FORMAT'],
    [() => [f(15), i32([0, 1]), u16([0]), 1, 16, 1, 16], 'ERR_SHAPE'],
  ],
  bsr_linear: [
    [() => [f(0, 2), f(16), i32([0, 1]), u16([0]), null, null, 1, 1, 16, 0, 0], [[[0, 1]]]],
    [() => [f(2, 3), f(0), i32([0]), u16([]), null, null, 0, 4, 4, 0, 0], [[[2, 0]]]],
    [() => [f(2, 0), f(0), i32([0, 0]), u16([]), null, f(1), 1, 4, 4, 0, 0], [[[2, 1], [1, 1]]]], // prettier-ignore
    [() => [f(1, 1), i8(Array<number>(16).fill(1)), i32([0, 1]), u16([0]), f(1), null, 1, 16, 1, 0.5, 3], [[[1, 1], [1]]]],
    [() => [f(1, 1), f(16), i32([0, 1]), u16([0]), null, null, 1, 16, 1, 0.5, 3], 'ERR_OPTION'],
    [() => [f(1, 1), f(16), i32([0, 1]), u16([0]), null, null, 1, 16, 1, 0, 256], 'ERR_OPTION'],
  ],
  bitmask_from_dense: [
    [() => [f(0, 3)], [[[0]], [[1], [0]], [[0, 1]]]],
    [() => [f(2, 0)], [[[0]], [[3], [0, 0, 0]], [[2, 0]]]],
    [() => [tensor([[5]])], [[[1], [5]], [[2], [0, 1]], [[1, 1], [1]]]], // prettier-ignore
  ],
  bitmask_to_dense: [
    [() => [f(0), i32([0]), u8([], [0, 1]), 3], [[[0, 3]]]],
    [() => [f(1), i32([0, 1]), u8([1], [1, 1]), 1], [[[1, 1], [1]]]],
    [() => [f(1), i32([0, 1]), u8([2], [1, 1]), 1], 'ERR_MODEL_FORMAT'],
    [() => [f(1), i32([0, 1]), u8([1], [1, 1]), 9], 'ERR_SHAPE'],
  ],
  bitmask_linear: [
    [() => [f(0, 2), f(1), i32([0, 1]), u8([1], [1, 1]), null, null], [[[0, 1]]]],
    [() => [f(2, 0), f(0), i32([0, 0]), u8([], [1, 0]), null, f(1)], [[[2, 1], [1, 1]]]], // prettier-ignore
    [() => [f(1), f(1), i32([0, 1]), u8([1], [1, 1]), null, null], [[[1], [1]]]],
    [() => [f(1), f(1), i32([0, 1]), u8([3], [1, 1]), null, null], 'ERR_MODEL_FORMAT'],
  ],
  nm_from_dense: [
    [() => [f(0, 3)], [[[0, 2]], [[0, 1]]]],
    [() => [f(2, 0)], [[[2, 0]], [[2, 0]]]],
    [() => [tensor([[5]])], [[[1, 2], [5, 0]], [[1, 1], [4]]]], // prettier-ignore
    [() => [f(1, 3)], 'ERR_DATA'],
  ],
  nm_to_dense: [
    [() => [f(0, 2), u8([], [0, 1]), 3], [[[0, 3]]]],
    [() => [f(1, 2), u8([4], [1, 1]), 2], [[[1, 2], [1, 2]]]], // prettier-ignore
    [() => [f(1, 2), u8([4], [1, 1]), 1], 'ERR_MODEL_FORMAT'],
    [() => [f(1, 2), u8([5], [1, 1]), 2], 'ERR_MODEL_FORMAT'],
  ],
  nm_linear: [
    [() => [f(0, 3), f(2, 2), u8([4, 4], [2, 1]), null, null], [[[0, 2]]]],
    [() => [f(2, 0), f(1, 0), u8([], [1, 0]), null, f(1)], [[[2, 1], [1, 1]]]], // prettier-ignore
    [() => [f(3), f(1, 2), u8([4], [1, 1]), null, null], [[[1], [5]]]],
    [() => [f(5), f(1, 2), u8([4], [1, 1]), null, null], 'ERR_SHAPE'],
  ],
  sparse_encode: [
    [() => [i8([], [0, 3])], [[callOp('sparse_encode', [i8([], [0, 3])])[0]!.shape]]],
    [() => [i8([1])], 'ERR_SHAPE'],
  ],
  sparse_decode: [
    [() => [callOp('sparse_encode', [i8([], [0, 3])])[0], [0, 3]], [[[0, 3]]]],
    [() => [callOp('sparse_encode', [i8([4], [1, 1])])[0], [1, 1]], [[[1, 1], [4]]]],
    [() => [callOp('sparse_encode', [i8([4], [1, 1])])[0], [1, 2]], 'ERR_MODEL_FORMAT'],
    [() => [u8([]), [1, 1]], 'ERR_MODEL_FORMAT'],
  ],
} as const satisfies Readonly<Record<string, readonly Edge[]>>
