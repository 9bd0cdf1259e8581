/** Element-wise ops, memory, reductions. */
import { tensor } from '../../../ts/tensor/index.js'
import { f, i32, type Edge } from './edge.js'

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
export const elementwise = {
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
  gate: binary(1),
  scale_shift: unary(5).map(([args, want]) => [() => [...args(), 2, 3], want]),
  nonlinear: [
    ...unary(Math.fround(1 / (1 + Math.exp(-1)))).map(([args, want]): Edge => [() => [...args(), 'silu', 0, 0], want]),
    [() => [tensor([-100, 0, 100]), 'softplus', 1, 0], [[[3], [0, Math.LN2, 100]]]],
    [() => [tensor([-100, -1e-6, 100]), 'elu', 1, 1], [[[3], [-1, -1e-6, 100]]]],
    [() => [tensor([-1e30, 1e30]), 'hard_sigmoid', 0, 0], [[[2], [0, 1]]]],
    [() => [tensor([-200, 0, 200]), 'mish', 0, 0], [[[3], [0, 0, 200]]]],
    [() => [f(1), 'softplus', 0, 0], 'ERR_OPTION'],
    [() => [f(1), 'elu', NaN, 1], 'ERR_OPTION'],
    [() => [i32([1]), 'silu', 0, 0], 'ERR_DTYPE'],
  ],
  nonlinear_grad: [
    [() => [f(0), f(0), 'mish', 0, 0], [[[0]]]],
    [() => [tensor(2), tensor(3), 'leaky_relu', 0.5, 0], [[[], [3]]]],
    [() => [tensor([-1e30, 1e30]), f(2), 'gelu', 0, 0], [[[2], [0, 2]]]],
    [() => [tensor([-1e30, 1e30]), f(2), 'gelu_tanh', 0, 0], [[[2], [0, 2]]]],
    [() => [tensor([-1e30, 1e30]), f(2), 'mish', 0, 0], [[[2], [0, 2]]]],
    [() => [f(2), f(3), 'silu', 0, 0], 'ERR_SHAPE'],
  ],
  where: [
    [() => [f(0), f(0), f(0)], [[[0]]]],
    [() => [tensor(1), tensor(2), tensor(3)], [[[], [2]]]],
    [
      () => [tensor([[0], [1]]), f(2), tensor(9)],
      [
        [
          [2, 2],
          [9, 9, 1, 2],
        ],
      ],
    ],
    [() => [tensor([0, NaN, 2]), tensor([NaN, 5, 6]), tensor([1, NaN, Infinity])], [[[3], [1, 5, 6]]]],
    [() => [f(2, 0), tensor(1), tensor(2)], [[[2, 0]]]],
    [() => [f(2), f(3), tensor(1)], 'ERR_SHAPE'],
    [() => [i32([1]), f(1), f(1)], 'ERR_DTYPE'],
  ],
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
  cumsum: [
    [() => [f(0, 2), 0, false, false], [[[0, 2]]]],
    [() => [f(2, 0), 0, false, false], [[[2, 0]]]],
    [() => [f(3), 0, false, false], [[[3], [1, 3, 6]]]],
    [() => [f(3), -1, true, false], [[[3], [0, 1, 3]]]],
    [() => [f(3), 0, true, true], [[[3], [5, 3, 0]]]],
    [
      () => [f(2, 2), 0, false, true],
      [
        [
          [2, 2],
          [4, 6, 3, 4],
        ],
      ],
    ],
    [() => [tensor(1), 0, false, false], 'ERR_SHAPE'],
    [() => [f(2), 1, false, false], 'ERR_SHAPE'],
  ],
  top_k: [
    [() => [f(0, 3), 2, true], [[[0, 2]], [[0, 2]]]],
    [() => [f(2, 0), 0, true], [[[2, 0]], [[2, 0]]]],
    [() => [f(3), 0, true], [[[0]], [[0]]]],
    [
      () => [tensor([1, 3, 3, 2]), 3, true],
      [
        [[3], [3, 3, 2]],
        [[3], [1, 2, 3]],
      ],
    ],
    [
      () => [tensor([1, NaN, 3, 1]), 2, false],
      [
        [[2], [1, 1]],
        [[2], [0, 3]],
      ],
    ],
    [() => [tensor([1, NaN, 3]), 3, true], [[[3]], [[3], [1, 2, 0]]]],
    [() => [f(3), 4, true], 'ERR_OPTION'],
    [() => [f(3), -1, true], 'ERR_OPTION'],
    [() => [tensor(1), 1, true], 'ERR_SHAPE'],
  ],
  count_nonfinite: [
    [() => [f(0)], [[[], [0]]]],
    [() => [tensor(NaN)], [[[], [1]]]],
  ],
  count_nonzero: [
    [() => [f(0)], [[[], [0]]]],
    [() => [tensor(NaN)], [[[], [1]]]],
  ],
} as const satisfies Readonly<Record<string, readonly Edge[]>>
