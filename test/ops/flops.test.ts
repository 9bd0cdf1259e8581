/** What each op says it costs: multiply-adds count as two. */
import { describe, expect, it } from 'vitest'
import { watchCalls } from '../../ts/autograd/index.js'
import { avgPool2d, conv2d, linear, matmul, reshape, softmax, transpose, type Pair } from '../../ts/ops/index.js'
import { callOp, scope, zeros, type Tensor } from '../../ts/tensor/index.js'
import { cases, singleOnly } from '../laws/cases.js'

/** As cost counting does it: the definition's figure, or one per element of the first result. */
function cost(f: () => Tensor): number {
  let total = 0
  scope(() =>
    watchCalls(
      (node) => (total += node.primitive.flops?.(node) ?? node.results[0]!.size),
      () => f(),
    ),
  )
  return total
}

describe('flops', () => {
  const pair: Pair = [2, 2]
  it.each([
    ['matmul', () => matmul(zeros([5, 2, 3]), zeros([3, 7])), 2 * 5 * 2 * 3 * 7],
    ['matmul, transposed', () => matmul(zeros([3, 2]), zeros([7, 3]), true, true), 2 * 2 * 3 * 7],
    ['linear', () => linear(zeros([4, 2, 3]), zeros([7, 3])), 2 * 8 * 3 * 7],
    ['conv2d', () => conv2d(zeros([2, 3, 8, 8]), zeros([4, 3, 3, 3]), null, { padding: 1 }), 2 * 2 * 4 * 64 * 27],
    ['avgPool2d', () => avgPool2d(zeros([1, 1, 4, 4]), pair), 4 * 4],
    ['softmax', () => softmax(zeros([2, 3])), 5 * 6],
    ['views', () => transpose(reshape(zeros([2, 3]), [3, 2])), 0],
  ] as const)('%s', (_, f, want) => {
    expect(cost(f)).toBe(want)
  })

  it.each(cases.filter((c) => c.op.flops).map((c) => [c.name, c] as const))('%s gives a number for each sample', (name, c) =>
    scope(() => {
      for (const args of c.samples(singleOnly.has(name) ? 'f32' : 'f64')) {
        const n = c.op.flops!({ args: args as never, results: callOp(name, args) })
        expect(Number.isFinite(n) && n >= 0).toBe(true)
      }
    }),
  )
})
