/** Composites: values against plain JavaScript, and what they refuse. */
import { describe, expect, it } from 'vitest'
import { grad } from '../../ts/autograd/index.js'
import * as ops from '../../ts/ops/index.js'
import { scope, tensor, zeros, type Tensor } from '../../ts/tensor/index.js'
import { numbers } from '../laws/cases.js'
import { code } from '../tensor/code.js'
import { close } from './close.js'

const labels = tensor(new Int32Array([2, 0, 1]))
const ignoring = tensor(new Int32Array([2, -100, 1]))

describe('values', () => {
  const run = (name: string, f: () => void): void => it(name, () => scope(f))

  run('moments', () => {
    const x = tensor([
      [1, 2, 3],
      [4, 5, 9],
    ])
    close(ops.mean(x), [4])
    close(ops.mean(x, [0], true), [2.5, 3.5, 6])
    expect(ops.mean(x, [0], true).shape).toEqual([1, 3])
    close(ops.variance(x, [1]), [2 / 3, 14 / 3])
    close(ops.variance(x, [1], { correction: 1 }), [1, 7])
    close(ops.norm(x, [-1]), [Math.sqrt(14), Math.sqrt(122)])
    expect(() => ops.mean(zeros([0]))).toThrowError(code('ERR_SHAPE'))
    expect(() => ops.variance(x, [1], { correction: 3 })).toThrowError(code('ERR_SHAPE'))
    expect(() => ops.mean(x, [2])).toThrowError(code('ERR_SHAPE'))
    expect(() => ops.mean(x, [1, 1])).toThrowError(code('ERR_SHAPE'))
  })

  run('pow', () => {
    const x = tensor([2, -3])
    expect([0, 1, 2, 3, 10, -1].map((n) => ops.pow(x, n).toArray())).toEqual([
      [1, 1],
      [2, -3],
      [4, 9],
      [8, -27],
      [1024, 59049],
      [0.5, Math.fround(-1 / 3)],
    ])
    for (const n of [0.5, NaN, 65, Infinity]) expect(() => ops.pow(x, n)).toThrowError(code('ERR_OPTION'))
  })

  run('softmax over any axis', () => {
    const x = tensor([
      [1, 2],
      [3, 5],
    ])
    const e = Math.exp
    close(ops.softmax(x, 0), [e(1) / (e(1) + e(3)), e(2) / (e(2) + e(5)), e(3) / (e(1) + e(3)), e(5) / (e(2) + e(5))])
    close(ops.softmax(x), [e(1) / (e(1) + e(2)), e(2) / (e(1) + e(2)), e(3) / (e(3) + e(5)), e(5) / (e(3) + e(5))])
    close(ops.sum(ops.exp(ops.logSoftmax(x, 0)), [0]), [1, 1])
    for (const axis of [2, -3, 0.5, NaN]) expect(() => ops.softmax(x, axis)).toThrowError(code('ERR_SHAPE'))
  })

  run('crossEntropy', () => {
    const x = tensor([
      [1, 2, 0],
      [0, 0, 0],
      [3, -1, 1],
    ])
    const rows = [
      [1, 2, 0],
      [0, 0, 0],
      [3, -1, 1],
    ].map((r) => r.map((v) => v - Math.log(r.reduce((t, u) => t + Math.exp(u), 0))))
    const nll = [-rows[0]![2]!, -rows[1]![0]!, -rows[2]![1]!]
    const all = (nll[0]! + nll[1]! + nll[2]!) / 3
    close(ops.crossEntropy(x, labels), [all])
    close(ops.crossEntropy(x, labels, { reduction: 'sum' }), [3 * all])
    close(ops.crossEntropy(x, labels, { reduction: 'none' }), nll)
    close(ops.crossEntropy(x, ignoring, { ignoreIndex: -100 }), [(nll[0]! + nll[2]!) / 2])
    close(ops.crossEntropy(x, ignoring, { ignoreIndex: -100, reduction: 'none' }), [nll[0]!, 0, nll[2]!])
    const even = rows.map((r) => -(r[0]! + r[1]! + r[2]!) / 3)
    close(ops.crossEntropy(x, labels, { labelSmoothing: 0.3 }), [0.7 * all + 0.1 * (even[0]! + even[1]! + even[2]!)])
    const none = tensor(new Int32Array([-1, -1, -1]))
    close(ops.crossEntropy(x, none, { ignoreIndex: -1 }), [0])
    close(
      grad(() => ops.crossEntropy(x, none, { ignoreIndex: -1 }), x),
      new Array<number>(9).fill(0),
    )
    const deep = ops.crossEntropy(ops.reshape(x, [3, 1, 3]), ops.reshape(labels, [3, 1]), { reduction: 'none' })
    expect(deep.shape).toEqual([3, 1])
    expect(() => ops.crossEntropy(x, none)).toThrowError(code('ERR_SHAPE'))
    expect(() => ops.crossEntropy(x, labels, { reduction: 'other' as never })).toThrowError(code('ERR_OPTION'))
    for (const labelSmoothing of [-0.1, 1, NaN])
      expect(() => ops.crossEntropy(x, labels, { labelSmoothing })).toThrowError(code('ERR_OPTION'))
    for (const ignoreIndex of [0.5, NaN, 2 ** 40])
      expect(() => ops.crossEntropy(x, labels, { ignoreIndex })).toThrowError(code('ERR_OPTION'))
    expect(() => ops.crossEntropy(tensor(1), labels)).toThrowError(code('ERR_SHAPE'))
  })

  run('extreme logits stay finite', () => {
    const x = tensor([
      [1e38, -1e38],
      [-1e38, -1e38],
      [88, -104],
    ])
    for (const f of [ops.softmax, ops.logSoftmax]) expect(numbers(f(x)).every((v) => !Number.isNaN(v))).toBe(true)
    expect(numbers(ops.crossEntropy(x, tensor(new Int32Array([0, 1, 0])), { reduction: 'none' }))).toEqual([0, Math.fround(Math.LN2), 0])
  })

  run('dropout keeps 1 - p of the elements, scaled, and repeats itself', () => {
    const x = ops.add(zeros([100, 100]), tensor(1))
    const y = ops.dropout(x, 0.25, { seed: 3 })
    const kept = numbers(y).filter((v) => v !== 0)
    expect(new Set(kept)).toEqual(new Set([Math.fround(1 / 0.75)]))
    expect(Math.abs(kept.length / 10000 - 0.75)).toBeLessThan(0.02)
    expect(ops.dropout(x, 0.25, { seed: 3 }).read()).toEqual(y.read())
    expect(ops.dropout(x, 0.25, { seed: 3, stream: 1 }).read()).not.toEqual(y.read())
    expect(ops.dropout(x, 0, { seed: 3 }).read()).toEqual(x.read())
    for (const p of [1, -0.1, NaN, 2]) expect(() => ops.dropout(x, p, { seed: 3 })).toThrowError(code('ERR_OPTION'))
  })

  run('attention', () => {
    const q = tensor([
      [
        [1, 0],
        [0, 2],
      ],
    ])
    const v = tensor([
      [
        [1, 2],
        [3, 4],
      ],
    ])
    // Scores of row 0: [1, 0] / sqrt 2, row 1: [0, 4] / sqrt 2.
    const soft = (a: number, b: number): [number, number] => [
      Math.exp(a) / (Math.exp(a) + Math.exp(b)),
      Math.exp(b) / (Math.exp(a) + Math.exp(b)),
    ]
    const [a, b] = [soft(Math.SQRT1_2, 0), soft(0, 4 * Math.SQRT1_2)]
    close(ops.multiHeadAttention(q, q, v, { heads: 1 }), [a[0] + 3 * a[1], 2 * a[0] + 4 * a[1], b[0] + 3 * b[1], 2 * b[0] + 4 * b[1]])
    // Each head sees its own channels.
    close(ops.multiHeadAttention(q, q, v, { heads: 2, scale: 1 }), [
      soft(1, 0)[0] + 3 * soft(1, 0)[1],
      3,
      2,
      soft(0, 4)[0] * 2 + 4 * soft(0, 4)[1],
    ])
    const hide = (...rows: number[][]): Tensor => tensor(rows)
    close(ops.multiHeadAttention(q, q, v, { heads: 1, mask: hide([0, -Infinity], [0, -1e30]) }), [1, 2, 1, 2])
    // A row that sees nothing gives zeros, and zeros as gradients.
    const blind = hide([-Infinity, -Infinity], [0, 0])
    const out = ops.multiHeadAttention(q, q, v, { heads: 1, mask: blind })
    expect(numbers(out).slice(0, 2)).toEqual([0, 0])
    close(out, [0, 0, b[0] + 3 * b[1], 2 * b[0] + 4 * b[1]])
    const dq = grad(
      () => ops.sum(ops.multiHeadAttention(q, q, v, { heads: 1, mask: hide([-Infinity, -Infinity], [-Infinity, -Infinity]) })),
      q,
    )
    expect(numbers(dq)).toEqual([0, 0, 0, 0])
    const padded = tensor([0, -Infinity], [1, 1, 1, 2])
    close(ops.multiHeadAttention(q, q, v, { heads: 2, mask: padded }), [1, 2, 1, 2])
    expect(ops.multiHeadAttention(zeros([2, 0, 4]), zeros([2, 3, 4]), zeros([2, 3, 4]), { heads: 2 }).shape).toEqual([2, 0, 4])
    expect(numbers(ops.multiHeadAttention(zeros([1, 1, 2]), zeros([1, 0, 2]), zeros([1, 0, 2]), { heads: 1 }))).toEqual([0, 0])
    expect(ops.multiHeadAttention(zeros([0, 2, 4]), zeros([0, 3, 4]), zeros([0, 3, 4]), { heads: 4 }).shape).toEqual([0, 2, 4])
    for (const heads of [0, 3, -1, 0.5, NaN]) expect(() => ops.multiHeadAttention(q, q, v, { heads })).toThrowError(code('ERR_SHAPE'))
    expect(() => ops.multiHeadAttention(q, zeros([2, 2, 2]), v, { heads: 1 })).toThrowError(code('ERR_SHAPE'))
    expect(() => ops.multiHeadAttention(q, q, zeros([1, 3, 2]), { heads: 1 })).toThrowError(code('ERR_SHAPE'))
    expect(() => ops.multiHeadAttention(q, q, v, { heads: 1, mask: zeros([3, 3]) })).toThrowError(code('ERR_SHAPE'))
  })

  run('concat, stack, flatten, average, embedding', () => {
    const parts = [1, 2, 3, 4, 5].map((n) => tensor(Float32Array.from({ length: n }, (_, i) => 10 * n + i)))
    expect(ops.concat(parts).toArray()).toEqual([10, 20, 21, 30, 31, 32, 40, 41, 42, 43, 50, 51, 52, 53, 54])
    expect(ops.stack([tensor([1, 2]), tensor([3, 4])], 1).toArray()).toEqual([
      [1, 3],
      [2, 4],
    ])
    expect(ops.stack([tensor(1), tensor(2)]).toArray()).toEqual([1, 2])
    expect(ops.flatten(zeros([2, 3, 4]), 1).shape).toEqual([2, 12])
    expect(ops.flatten(zeros([2, 3, 4]), 0, 1).shape).toEqual([6, 4])
    expect(ops.flatten(tensor(1)).shape).toEqual([1])
    expect(ops.average([tensor([1, 2]), tensor([3, 8])]).toArray()).toEqual([2, 5])
    expect(
      ops
        .embedding(
          tensor([
            [1, 2],
            [3, 4],
          ]),
          tensor(new Int32Array([1, 1])),
        )
        .toArray(),
    ).toEqual([
      [3, 4],
      [3, 4],
    ])
    for (const bad of [
      () => ops.concat([]),
      () => ops.stack([]),
      () => ops.average([]),
      () => ops.stack([zeros([1]), zeros([2])]),
      () => ops.stack([zeros([1])], 2),
      () => ops.flatten(zeros([2, 2]), 1, 0),
      () => ops.dot(zeros([1]), zeros([2])),
      () => ops.mse(zeros([1]), zeros([1, 1])),
    ])
      expect(bad).toThrowError(code('ERR_SHAPE'))
  })
})
