/** Losses over alignments. */
import { f, i32, type Edge } from './edge.js'

const ctcErrors = (extra: readonly unknown[]): readonly Edge[] => {
  const args = (x: unknown, targets: unknown, inputs: unknown, lengths: unknown, blank: unknown): readonly unknown[] => [
    x,
    targets,
    inputs,
    lengths,
    ...extra,
    blank,
    false,
  ]
  return [
    [() => args(f(1, 2, 3), i32([3], [1, 1]), null, null, 0), 'ERR_SHAPE'],
    [() => args(f(1, 2, 3), i32([-1], [1, 1]), null, null, 0), 'ERR_SHAPE'],
    [() => args(f(1, 2, 3), i32([0], [1, 1]), null, null, 0), 'ERR_SHAPE'],
    [() => args(f(1, 2, 3), i32([1, 1], [1, 2]), null, null, 0), 'ERR_SHAPE'],
    [() => args(f(1, 2, 3), i32([1, 2, 1], [1, 3]), null, null, 0), 'ERR_SHAPE'],
    [() => args(f(1, 2, 3), i32([1], [1, 1]), i32([0]), null, 0), 'ERR_SHAPE'],
    [() => args(f(1, 2, 3), i32([1], [1, 1]), i32([3]), null, 0), 'ERR_SHAPE'],
    [() => args(f(1, 2, 3), i32([1], [1, 1]), i32([-1]), null, 0), 'ERR_SHAPE'],
    [() => args(f(1, 2, 3), i32([1], [1, 1]), null, i32([2]), 0), 'ERR_SHAPE'],
    [() => args(f(1, 2, 3), i32([1], [1, 1]), null, i32([-1]), 0), 'ERR_SHAPE'],
    [() => args(f(1, 2, 3), i32([1], [1, 1]), null, i32([1, 1]), 0), 'ERR_SHAPE'],
    [() => args(f(1, 2, 3), i32([1, 1], [2, 1]), null, null, 0), 'ERR_SHAPE'],
    [() => args(f(1, 2), i32([1], [1, 1]), null, null, 0), 'ERR_SHAPE'],
    [() => args(f(1, 2, 3), i32([1]), null, null, 0), 'ERR_SHAPE'],
    [() => args(f(1, 2, 3), f(1, 1), null, null, 0), 'ERR_DTYPE'],
    [() => args(f(1, 2, 3), i32([1], [1, 1]), f(1), null, 0), 'ERR_DTYPE'],
    [() => args(f(1, 2, 3), i32([1], [1, 1]), null, null, 3), 'ERR_OPTION'],
    [() => args(f(1, 2, 3), i32([1], [1, 1]), null, null, -1), 'ERR_OPTION'],
    [() => args(f(1, 2, 0), i32([], [1, 0]), null, null, 0), 'ERR_OPTION'],
  ]
}
const zeros = (n: number): number[] => new Array<number>(n).fill(0)

export const alignment = {
  ctc_loss: [
    [() => [f(0, 2, 3), i32([], [0, 1]), null, null, 0, false], [[[0]]]],
    [() => [f(2, 0, 3), i32([], [2, 0]), null, null, 0, false], [[[2], [0, 0]]]],
    [() => [f(1, 0, 1), i32([], [1, 0]), null, null, 0, false], [[[1], [0]]]],
    // One class, the blank: one path, of probability e^(1 + 2).
    [() => [f(1, 2, 1), i32([], [1, 0]), null, null, 0, false], [[[1], [-3]]]],
    [() => [f(1, 1, 2), i32([1], [1, 1]), null, null, 0, false], [[[1], [-2]]]],
    [() => [f(1, 2, 2), i32([1], [1, 1]), i32([1]), null, 0, false], [[[1], [-2]]]],
    [() => [f(1, 1, 2), i32([1, 7], [1, 2]), null, i32([1]), 0, false], [[[1], [-2]]]],
    [() => [f(1, 1, 2), i32([1, 1], [1, 2]), null, null, 0, true], [[[1], [0]]]],
    ...ctcErrors([]),
  ],
  ctc_loss_grad: [
    [() => [f(0, 2, 3), i32([], [0, 1]), null, null, f(0), 0, false], [[[0, 2, 3]]]],
    [() => [f(2, 0, 3), i32([], [2, 0]), null, null, f(2), 0, false], [[[2, 0, 3]]]],
    [
      () => [f(1, 2, 1), i32([], [1, 0]), null, null, f(1), 0, false],
      [
        [
          [1, 2, 1],
          [-1, -1],
        ],
      ],
    ],
    [
      () => [f(1, 1, 2), i32([1], [1, 1]), null, null, f(1), 0, false],
      [
        [
          [1, 1, 2],
          [0, -1],
        ],
      ],
    ],
    [
      () => [f(1, 2, 2), i32([1], [1, 1]), i32([1]), null, f(1), 0, false],
      [
        [
          [1, 2, 2],
          [0, -1, 0, 0],
        ],
      ],
    ],
    [() => [f(1, 1, 2), i32([1, 1], [1, 2]), null, null, f(1), 0, true], [[[1, 1, 2], zeros(2)]]],
    [() => [f(1, 2, 3), i32([1], [1, 1]), null, null, f(2), 0, false], 'ERR_SHAPE'],
    ...ctcErrors([f(1)]),
  ],
} as const satisfies Record<string, readonly Edge[]>
