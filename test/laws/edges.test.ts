/** Sizes 0 and 1, rank 0: every op has an entry, and what it gives there is a decision, not an accident. */
import { describe, expect, it } from 'vitest'
import type { ErrorCode } from '../../ts/base/codes.gen.js'
import { sizeOf } from '../../ts/base/shape.js'
import type { OpName } from '../../ts/native/ops.gen.js'
import { callOp, scope, tensor, Tensor } from '../../ts/tensor/index.js'
import { code } from '../tensor/code.js'
import { numbers } from './cases.js'
import './cases.js'

/** Arguments; then a shape for each result (with its elements where they are known), or a code. */
type Edge = readonly [
  args: () => readonly unknown[],
  want: ErrorCode | readonly (readonly [shape: readonly number[], elements?: readonly number[]])[],
]

const f = (...shape: number[]): Tensor =>
  tensor(
    Float32Array.from({ length: sizeOf(shape) }, (_, i) => i + 1),
    shape,
  )
const i32 = (values: readonly number[], shape: readonly number[] = [values.length]): Tensor => tensor(Int32Array.from(values), shape)
const i8 = (values: readonly number[], shape: readonly number[] = [values.length]): Tensor => tensor(Int8Array.from(values), shape)
const u8 = (values: readonly number[], shape: readonly number[] = [values.length]): Tensor => tensor(Uint8Array.from(values), shape)
const u16 = (values: readonly number[]): Tensor => tensor(Uint16Array.from(values))
const pack = (n: number, k: number): Tensor => callOp('qgemm_pack', [i8(new Array<number>(n * k).fill(1), [n, k])])[0]!

const unary = (one: number): Edge[] => [
  [() => [f(0)], [[[0]]]],
  [() => [f(2, 0, 3)], [[[2, 0, 3]]]],
  [() => [tensor(1)], [[[], [one]]]],
  [() => [f(1, 1)], [[[1, 1], [one]]]],
]
const binary = (two: number): Edge[] => [
  [() => [f(0), f(0)], [[[0]]]],
  [() => [f(0), f(1)], [[[0]]]],
  [() => [f(2, 0), tensor(2)], [[[2, 0]]]],
  [() => [f(0), f(2)], 'ERR_SHAPE'],
  [() => [tensor(1), tensor(2)], [[[], [two]]]],
  [() => [f(1, 1), f(1)], [[[1, 1]]]],
]
const extreme: Edge[] = [
  [() => [f(2, 0), [1], false], 'ERR_SHAPE'],
  [() => [f(0), [], true], 'ERR_SHAPE'],
  [() => [f(0, 2), [1], true], [[[0, 1]]]],
  [() => [tensor(3), [], false], [[[], [3]]]],
  [() => [f(1, 1), [0], true], [[[1, 1], [1]]]],
]
const soft = (one: number): Edge[] => [
  [() => [f(0, 3)], [[[0, 3]]]],
  [() => [f(2, 0)], [[[2, 0]]]],
  [
    () => [f(2, 1)],
    [
      [
        [2, 1],
        [one, one],
      ],
    ],
  ],
  [() => [tensor(1)], 'ERR_SHAPE'],
]

const edges: Readonly<Record<OpName, readonly Edge[]>> = {
  neg: unary(-1),
  abs: unary(1),
  sign: unary(1),
  step: unary(1),
  exp: unary(Math.fround(Math.E)),
  log: unary(0),
  sqrt: unary(1),
  reciprocal: unary(1),
  sin: unary(Math.fround(Math.sin(1))),
  cos: unary(Math.fround(Math.cos(1))),
  tanh: unary(Math.fround(Math.tanh(1))),
  sigmoid: unary(Math.fround(1 / (1 + Math.exp(-1)))),
  relu: unary(1),
  erf: unary(Math.fround(0.8427007929497149)),
  gelu: unary(Math.fround(0.8413447460685429)),
  round: unary(1),
  clip: unary(0.5).map(([args, want]) => [() => [...args(), 0, 0.5], want]),
  add: binary(3),
  sub: binary(-1),
  mul: binary(2),
  div: binary(0.5),
  maximum: binary(2),
  minimum: binary(1),
  greater: binary(0),
  equal: binary(0),
  scale_shift: unary(5).map(([args, want]) => [() => [...args(), 2, 3], want]),
  copy: unary(1),
  cast: unary(1).map(([args, want]) => [() => [...args(), 'i16'], want]),
  concat2: [
    [() => [f(0), f(0), 0], [[[0]]]],
    [() => [f(0), f(2), 0], [[[2], [1, 2]]]],
    [
      () => [f(2, 0), f(2, 1), 1],
      [
        [
          [2, 1],
          [1, 2],
        ],
      ],
    ],
    [() => [f(0, 2), f(0, 3), 1], [[[0, 5]]]],
    [() => [tensor(1), tensor(2), 0], 'ERR_SHAPE'],
  ],
  pad_slice: [
    [() => [f(0), [3], [2]], [[[3], [0, 0, 0]]]],
    [() => [f(0), [0], [0]], [[[0]]]],
    [() => [tensor(4), [], []], [[[], [4]]]],
    [() => [f(1), [1], [1]], 'ERR_SHAPE'],
  ],
  one_hot: [
    [() => [i32([]), 3], [[[0, 3]]]],
    [() => [i32([0], []), 1], [[[1], [1]]]],
    [() => [i32([0]), 0], 'ERR_OPTION'],
  ],
  assign: [
    [() => [f(0), f(0)], []],
    [() => [tensor(1), tensor(2)], []],
    [() => [f(2), f(1)], 'ERR_SHAPE'],
  ],
  sum: [
    [() => [f(2, 0), [1], false], [[[2], [0, 0]]]],
    [() => [f(0), [], true], [[[1], [0]]]],
    [() => [f(0, 2), [1], false], [[[0]]]],
    [() => [tensor(3), [], false], [[[], [3]]]],
    [() => [f(1, 1), [0], true], [[[1, 1], [1]]]],
  ],
  amax: extreme,
  amin: extreme,
  argmax: [
    [() => [f(0, 3)], [[[0]]]],
    [() => [f(1)], [[[], [0]]]],
    [() => [f(2, 0)], 'ERR_SHAPE'],
    [() => [tensor(1)], 'ERR_SHAPE'],
  ],
  count_nonfinite: [
    [() => [f(0)], [[[], [0]]]],
    [() => [tensor(NaN)], [[[], [1]]]],
  ],
  count_nonzero: [
    [() => [f(0)], [[[], [0]]]],
    [() => [tensor(NaN)], [[[], [1]]]],
  ],
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
  conv2d: [
    [() => [f(0, 1, 3, 3), f(2, 1, 2, 2), null, [1, 1], [0, 0]], [[[0, 2, 2, 2]]]],
    [() => [f(1, 0, 2, 2), f(1, 0, 2, 2), f(1), [1, 1], [0, 0]], [[[1, 1, 1, 1], [1]]]],
    [() => [f(1, 1, 3, 3), f(0, 1, 2, 2), null, [1, 1], [0, 0]], [[[1, 0, 2, 2]]]],
    [() => [f(1, 1, 1, 1), f(1, 1, 1, 1), null, [1, 1], [0, 0]], [[[1, 1, 1, 1], [1]]]],
    [() => [f(1, 1, 0, 3), f(1, 1, 1, 1), null, [1, 1], [0, 0]], 'ERR_SHAPE'],
    [() => [f(1, 1, 3, 3), f(1, 1, 0, 1), null, [1, 1], [0, 0]], 'ERR_SHAPE'],
  ],
  conv2d_grad_input: [
    [() => [f(0, 1, 2, 2), f(1, 1, 2, 2), [0, 1, 3, 3], [1, 1], [0, 0]], [[[0, 1, 3, 3]]]],
    [() => [f(1, 0, 2, 2), f(0, 1, 2, 2), [1, 1, 3, 3], [1, 1], [0, 0]], [[[1, 1, 3, 3], new Array<number>(9).fill(0)]]],
    [() => [f(1, 1, 1, 1), f(1, 1, 1, 1), [1, 1, 1, 1], [1, 1], [0, 0]], [[[1, 1, 1, 1], [1]]]],
  ],
  conv2d_grad_weight: [
    [
      () => [f(0, 1, 3, 3), f(0, 1, 2, 2), [1, 1, 2, 2], [1, 1], [0, 0]],
      [
        [
          [1, 1, 2, 2],
          [0, 0, 0, 0],
        ],
      ],
    ],
    [() => [f(1, 1, 3, 3), f(1, 0, 2, 2), [0, 1, 2, 2], [1, 1], [0, 0]], [[[0, 1, 2, 2]]]],
    [() => [f(1, 1, 1, 1), f(1, 1, 1, 1), [1, 1, 1, 1], [1, 1], [0, 0]], [[[1, 1, 1, 1], [1]]]],
  ],
  max_pool2d: [
    [() => [f(0, 1, 2, 2), [2, 2], [2, 2]], [[[0, 1, 1, 1]], [[0, 1, 1, 1]]]],
    [
      () => [f(1, 1, 1, 1), [1, 1], [1, 1]],
      [
        [[1, 1, 1, 1], [1]],
        [[1, 1, 1, 1], [0]],
      ],
    ],
    [() => [f(1, 1, 0, 2), [1, 1], [1, 1]], 'ERR_SHAPE'],
    [() => [f(1, 1, 2, 2), [0, 1], [1, 1]], 'ERR_OPTION'],
  ],
  max_unpool2d: [
    [() => [f(0, 1, 1, 1), i32([], [0, 1, 1, 1]), [0, 1, 2, 2]], [[[0, 1, 2, 2]]]],
    [() => [f(1, 1, 1, 1), i32([0], [1, 1, 1, 1]), [1, 1, 1, 1]], [[[1, 1, 1, 1], [1]]]],
    [() => [f(1, 1, 1, 1), i32([0], [1, 1, 1, 1]), [1, 1, 0, 1]], 'ERR_SHAPE'],
  ],
  pool_select2d: [
    [() => [f(0, 1, 2, 2), i32([], [0, 1, 1, 1])], [[[0, 1, 1, 1]]]],
    [() => [f(1, 1, 1, 1), i32([0], [1, 1, 1, 1])], [[[1, 1, 1, 1], [1]]]],
    [() => [f(1, 1, 0, 1), i32([0], [1, 1, 1, 1])], 'ERR_SHAPE'],
  ],
  avg_pool2d: [
    [() => [f(0, 1, 2, 2), [2, 2], [2, 2]], [[[0, 1, 1, 1]]]],
    [() => [f(1, 1, 1, 1), [1, 1], [1, 1]], [[[1, 1, 1, 1], [1]]]],
    [() => [f(1, 1, 2, 0), [1, 1], [1, 1]], 'ERR_SHAPE'],
  ],
  avg_pool2d_grad: [
    [() => [f(0, 1, 1, 1), [0, 1, 2, 2], [2, 2], [2, 2]], [[[0, 1, 2, 2]]]],
    [() => [f(1, 1, 1, 1), [1, 1, 1, 1], [1, 1], [1, 1]], [[[1, 1, 1, 1], [1]]]],
  ],
  softmax: soft(1),
  log_softmax: soft(0),
  layer_norm: [
    [() => [f(0, 3), f(3), f(3), 1e-5], [[[0, 3]], [[0]], [[0]]]],
    [
      () => [f(2, 1), f(1), null, 1],
      [
        [
          [2, 1],
          [0, 0],
        ],
        [[2], [1, 2]],
        [[2], [1, 1]],
      ],
    ],
    [() => [f(2, 0), null, null, 1e-5], 'ERR_SHAPE'],
    [() => [tensor(1), null, null, 1e-5], 'ERR_SHAPE'],
  ],
  layer_norm_grad: [
    [() => [f(0, 2), f(2), f(0), f(0), f(0, 2)], [[[0, 2]], [[2], [0, 0]], [[2], [0, 0]]]],
    [
      () => [f(1, 1), null, f(1), f(1), f(1, 1)],
      [
        [[1, 1], [0]],
        [[1], [0]],
        [[1], [1]],
      ],
    ],
  ],
  cross_entropy: [
    [() => [f(0, 3), i32([])], [[[0]]]],
    [() => [f(1, 1), i32([0])], [[[1], [0]]]],
    [() => [f(1, 0), i32([0])], 'ERR_SHAPE'],
    [() => [f(2, 2), i32([0, 2])], 'ERR_SHAPE'],
  ],
  gather: [
    [() => [f(3, 2), i32([])], [[[0, 2]]]],
    [() => [f(3, 0), i32([1])], [[[1, 0]]]],
    [() => [f(3), i32([2], [])], [[[], [3]]]],
    [() => [f(0, 2), i32([])], [[[0, 2]]]],
    [() => [f(0, 2), i32([0])], 'ERR_SHAPE'],
    [() => [f(3), i32([-1])], 'ERR_SHAPE'],
  ],
  scatter_add: [
    [
      () => [f(0, 2), i32([]), 2],
      [
        [
          [2, 2],
          [0, 0, 0, 0],
        ],
      ],
    ],
    [() => [f(1), i32([0]), 1], [[[1], [1]]]],
    [() => [f(2), i32([0, 0]), 1], [[[1], [3]]]],
    [() => [f(0, 2), i32([]), 0], [[[0, 2]]]],
    [() => [f(1), i32([0]), 0], 'ERR_SHAPE'],
    [() => [f(1), i32([0]), -1], 'ERR_SHAPE'],
  ],
  random_uniform: [
    [() => [[0], 1, 0], [[[0]]]],
    [() => [[], 1, 0], [[[]]]],
    [() => [[2, 0, 3], 1, 0], [[[2, 0, 3]]]],
  ],
  random_normal: [
    [() => [[0], 1, 0], [[[0]]]],
    [() => [[1], 1, 0], [[[1]]]],
  ],
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
  topk_mask: [
    [() => [f(0), 0], [[[0]]]],
    [() => [f(0), 1], 'ERR_OPTION'],
    [() => [tensor(1), 1], [[[1], [1]]]],
    [() => [tensor(1), 0], [[[1], [0]]]],
    [() => [f(3), 4], 'ERR_OPTION'],
    [() => [f(3), -1], 'ERR_OPTION'],
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
    [() => [u8([], [0, 3]), i8([1, 2, 3], [1, 3]), 0], [[[0, 1]]]],
    [() => [u8([1, 2, 3], [1, 3]), i8([], [0, 3]), 0], [[[1, 0]]]],
    [
      () => [u8([], [2, 0]), i8([], [1, 0]), 5],
      [
        [
          [2, 1],
          [0, 0],
        ],
      ],
    ],
    [() => [u8([7], [1, 1]), i8([-3], [1, 1]), 2], [[[1, 1], [-15]]]],
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
  qconv2d: [
    [() => [f(0, 1, 3, 3), pack(2, 4), f(2), null, [2, 1, 2, 2], [1, 1], [0, 0], 0.1, 0, 'none'], [[[0, 2, 2, 2]]]],
    [() => [f(1, 1, 1, 1), pack(1, 1), f(1), null, [1, 1, 1, 1], [1, 1], [0, 0], 1, 0, 'none'], [[[1, 1, 1, 1], [1]]]],
    [() => [f(1, 1, 0, 3), pack(1, 1), f(1), null, [1, 1, 1, 1], [1, 1], [0, 0], 1, 0, 'none'], 'ERR_SHAPE'],
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
  csr_linear: [
    [() => [f(0, 2), f(1), i32([0, 1]), u16([0]), null, null], [[[0, 1]]]],
    [() => [f(2, 3), f(0), i32([0]), u16([]), null, null], [[[2, 0]]]],
    [
      () => [f(2, 3), f(0), i32([0, 0]), u16([]), null, f(1)],
      [
        [
          [2, 1],
          [1, 1],
        ],
      ],
    ],
    [() => [f(1), f(1), i32([0, 1]), u16([0]), null, null], [[[1], [1]]]],
    [() => [f(1), i8([3]), i32([0, 1]), u16([0]), null, null], 'ERR_OPTION'],
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
}

describe.each(Object.entries(edges))('%s', (name, list) => {
  it.each(list.map((edge, i) => [i, edge] as const))('case %i', (_, [args, want]) =>
    scope(() => {
      const given = args()
      const shown = given.map((a) => (a instanceof Tensor ? a.toString() : JSON.stringify(a))).join(' ')
      if (typeof want === 'string') {
        expect(() => callOp(name as OpName, given), shown).toThrowError(code(want))
        return
      }
      const got = callOp(name as OpName, given)
      expect(
        got.map((t) => t.shape),
        shown,
      ).toEqual(want.map(([shape]) => shape))
      want.forEach(([, elements], r) => {
        if (!elements) return
        numbers(got[r]!).forEach((v, i) => expect(v, `${shown}: result ${r}, element ${i}`).toBeCloseTo(elements[i]!, 6))
      })
    }),
  )
})
