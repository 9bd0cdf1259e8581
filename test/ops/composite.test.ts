/** Composites: values against plain JavaScript, derivatives of both orders, no temporaries left behind. */
import { describe, expect, it } from 'vitest'
import { grad } from '../../ts/autograd/index.js'
import { memory } from '../../ts/native/devices.js'
import * as ops from '../../ts/ops/index.js'
import { scope, tensor, zeros, type Tensor } from '../../ts/tensor/index.js'
import { numbers } from '../laws/cases.js'
import { checkFunction } from '../laws/gradcheck.js'
import { sampler } from '../laws/sampler.js'
import { code } from '../tensor/code.js'

const close = (got: Tensor, want: readonly number[], digits = 6): void => {
  const g = numbers(got)
  expect(g.length).toBe(want.length)
  g.forEach((v, i) => expect(v, `element ${i}`).toBeCloseTo(want[i]!, digits))
}
const labels = tensor(new Int32Array([2, 0, 1]))
const ignoring = tensor(new Int32Array([2, -100, 1]))

// Tuples of one to five tensors: the arity stands in the table, so the parameters need no types.
type Composite = (...xs: any[]) => Tensor
type Inputs = (s: ReturnType<typeof sampler>) => Tensor[]
const entry = (f: Composite, inputs: Inputs): readonly [Composite, Inputs] => [f, inputs]

/** One composite call each, and its inputs. */
const composites = {
  square: entry(
    (x) => ops.square(x),
    (s) => [s.normal(3)],
  ),
  'pow 0': entry(
    (x) => ops.pow(x, 0),
    (s) => [s.normal(3)],
  ),
  'pow 1': entry(
    (x) => ops.pow(x, 1),
    (s) => [s.normal(3)],
  ),
  'pow 5': entry(
    (x) => ops.pow(x, 5),
    (s) => [s.normal(3)],
  ),
  'pow -2': entry(
    (x) => ops.pow(x, -2),
    (s) => [s.uniform([3], 0.7, 2)],
  ),
  dot: entry(
    (a, b) => ops.dot(a, b),
    (s) => [s.normal(2, 3), s.normal(2, 3)],
  ),
  norm: entry(
    (x) => ops.norm(x, [1]),
    (s) => [s.away(2, 3)],
  ),
  average: entry(
    (a, b, c) => ops.average([a, b, c]),
    (s) => [s.normal(2), s.normal(2), s.normal(2)],
  ),
  flatten: entry(
    (x) => ops.flatten(x, 1),
    (s) => [s.normal(2, 2, 2)],
  ),
  mean: entry(
    (x) => ops.mean(x, [0, -1]),
    (s) => [s.normal(2, 3, 2)],
  ),
  variance: entry(
    (x) => ops.variance(x, [1], { correction: 1 }),
    (s) => [s.normal(2, 4)],
  ),
  'softmax over axis 0': entry(
    (x) => ops.softmax(x, 0),
    (s) => [s.normal(3, 2)],
  ),
  'softmax over axis 1': entry(
    (x) => ops.softmax(x, 1),
    (s) => [s.normal(2, 3, 2)],
  ),
  'logSoftmax over axis -2': entry(
    (x) => ops.logSoftmax(x, -2),
    (s) => [s.normal(3, 2)],
  ),
  crossEntropy: entry(
    (x) => ops.crossEntropy(x, labels),
    (s) => [s.normal(3, 4)],
  ),
  'crossEntropy, ignoring and smoothing': entry(
    (x) => ops.crossEntropy(x, ignoring, { ignoreIndex: -100, labelSmoothing: 0.2 }),
    (s) => [s.normal(3, 4)],
  ),
  softCrossEntropy: entry(
    (x, t) => ops.softCrossEntropy(x, t),
    (s) => [s.normal(2, 3), s.uniform([2, 3], 0, 1)],
  ),
  mse: entry(
    (x, t) => ops.mse(x, t),
    (s) => [s.normal(2, 3), s.normal(2, 3)],
  ),
  dropout: entry(
    (x) => ops.dropout(x, 0.4, { seed: 7, stream: 2 }),
    (s) => [s.normal(4, 5)],
  ),
  'dropout 0': entry(
    (x) => ops.dropout(x, 0, { seed: 7 }),
    (s) => [s.normal(4)],
  ),
  batchNormInference: entry(
    (x, m, v, g, b) => ops.batchNormInference(x, { mean: m, variance: v }, g, b, 0.1),
    (s) => [s.normal(3, 2), s.normal(2), s.uniform([2], 0.5, 2), s.normal(2), s.normal(2)],
  ),
  layerNorm: entry(
    (x, g) => ops.layerNorm(x, g),
    (s) => [s.normal(2, 4), s.normal(4)],
  ),
  multiHeadAttention: entry(
    (q, k, v) => ops.multiHeadAttention(q, k, v, { heads: 2 }),
    (s) => [s.normal(1, 3, 4), s.normal(1, 2, 4), s.normal(1, 2, 4)],
  ),
  'multiHeadAttention with a mask': entry(
    (q, k, v, m) => ops.multiHeadAttention(q, k, v, { heads: 2, mask: m }),
    (s) => [s.normal(2, 2, 2), s.normal(2, 3, 2), s.normal(2, 3, 4), s.normal(2, 3)],
  ),
  concat: entry(
    (a, b, c) => ops.concat([a, b, c], 1),
    (s) => [s.normal(2, 1), s.normal(2, 2), s.normal(2, 3)],
  ),
  'concat of one': entry(
    (a) => ops.concat([a]),
    (s) => [s.normal(2)],
  ),
  stack: entry(
    (a, b) => ops.stack([a, b], -1),
    (s) => [s.normal(2, 2), s.normal(2, 2)],
  ),
  embedding: entry(
    (t) => ops.embedding(t, labels),
    (s) => [s.normal(3, 3)],
  ),
  maxPool2d: entry(
    (x) => ops.maxPool2d(x, 2),
    (s) => [s.distinct(1, 1, 4, 4)],
  ),
  avgPool2d: entry(
    (x) => ops.avgPool2d(x, [2, 1], 1),
    (s) => [s.normal(1, 1, 3, 2)],
  ),
  conv2d: entry(
    (x, w) => ops.conv2d(x, w, null, { stride: 2, padding: 1 }),
    (s) => [s.normal(1, 1, 4, 4), s.normal(1, 1, 3, 3)],
  ),
}

describe.each(Object.entries(composites))('%s', (name, [f, inputs]) => {
  it('has right derivatives', () =>
    scope(() => {
      // Squared, so that second derivatives are not trivial.
      checkFunction(name, (...xs) => ops.square(f(...xs)), inputs(sampler(21, 'f64')))
    }))

  it.each(['f32', 'f64'] as const)('keeps %s and leaves nothing but its result', (dtype) => {
    const xs = inputs(sampler(22, dtype))
    const before = memory()
    const y = f(...xs)
    expect(y.dtype).toBe(dtype)
    expect(memory().tensors).toBe(before.tensors + 1)
    expect(xs.includes(y)).toBe(false)
    y.dispose()
    expect(memory()).toMatchObject({ tensors: before.tensors, bytes: before.bytes })
    for (const x of xs) expect(x.disposed).toBe(false)
    for (const x of xs) x.dispose()
  })
})

describe('batchNorm', () => {
  it('has right derivatives, also of its statistics', () =>
    scope(() => {
      const s = sampler(23, 'f64')
      checkFunction('y', (x, g, b) => ops.square(ops.batchNorm(x, g, b, 0.1).y), [s.normal(3, 2, 2), s.normal(2), s.normal(2)])
      const statistics = (x: Tensor): Tensor => {
        const r = ops.batchNorm(x)
        return ops.mul(r.mean, r.variance)
      }
      checkFunction('statistics', statistics, [s.normal(3, 2)])
    }))

  it('normalises per channel and agrees with inference on its own statistics', () =>
    scope(() => {
      const x = sampler(24, 'f32').normal(5, 3, 4)
      const before = memory().tensors
      const r = ops.batchNorm(x)
      expect(memory().tensors - before).toBe(3)
      close(ops.mean(r.y, [0, 2]), [0, 0, 0], 5)
      close(ops.variance(r.y, [0, 2]), [1, 1, 1], 4)
      close(r.mean, numbers(ops.mean(x, [0, 2])))
      close(r.variance, numbers(ops.variance(x, [0, 2])), 5)
      close(ops.batchNormInference(x, r), numbers(r.y), 5)
      expect(() => ops.batchNorm(x, zeros([4]))).toThrowError(code('ERR_SHAPE'))
      expect(() => ops.batchNorm(zeros([3]))).toThrowError(code('ERR_SHAPE'))
      expect(() => ops.batchNorm(zeros([0, 3]))).toThrowError(code('ERR_SHAPE'))
    }))
})

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

describe('straight-through', () => {
  it('passes the gradient unchanged while the value is rounded or clipped', () =>
    scope(() => {
      const x = tensor([-2.5, 0.4, 0.5, 1.5, 9])
      const c = tensor([1, 2, 3, 4, 5])
      expect(ops.roundSte(x).toArray()).toEqual([-2, 0, 0, 2, 9])
      expect(ops.clipSte(x, -1, 1).toArray()).toEqual([-1, Math.fround(0.4), 0.5, 1, 1])
      expect(grad(() => ops.sum(ops.mul(ops.roundSte(x), c)), x).toArray()).toEqual([1, 2, 3, 4, 5])
      expect(grad(() => ops.sum(ops.mul(ops.clipSte(x, -1, 1), c)), x).toArray()).toEqual([1, 2, 3, 4, 5])
      expect(grad(() => ops.sum(ops.mul(ops.clip(x, -1, 1), c)), x).toArray()).toEqual([0, 2, 3, 0, 0])
      expect(grad(() => ops.sum(ops.mul(ops.round(x), c)), x).toArray()).toEqual([0, 0, 0, 0, 0])
    }))
})

describe('ties and kinks', () => {
  it('follow the documented side', () =>
    scope(() => {
      const [a, b] = [tensor([1, 2, 3]), tensor([1, 5, 0])]
      const both = (f: (p: Tensor, q: Tensor) => Tensor): unknown[] => grad(() => ops.sum(f(a, b)), [a, b]).map((g) => g.toArray())
      expect(both(ops.maximum)).toEqual([
        [0.5, 0, 1],
        [0.5, 1, 0],
      ])
      expect(both(ops.minimum)).toEqual([
        [0.5, 1, 0],
        [0.5, 0, 1],
      ])
      const zero = tensor([0, -0])
      expect(grad(() => ops.sum(ops.relu(zero)), zero).toArray()).toEqual([0, 0])
      expect(grad(() => ops.sum(ops.abs(zero)), zero).toArray()).toEqual([0, 0])
      const flat = tensor([
        [2, 2],
        [1, 2],
      ])
      expect(grad(() => ops.amax(flat), flat).toArray()).toEqual([
        [Math.fround(1 / 3), Math.fround(1 / 3)],
        [0, Math.fround(1 / 3)],
      ])
      expect(grad(() => ops.sum(ops.amin(flat, [1])), flat).toArray()).toEqual([
        [0.5, 0.5],
        [1, 0],
      ])
      const edge = tensor([-1, 1])
      expect(grad(() => ops.sum(ops.clip(edge, -1, 1)), edge).toArray()).toEqual([1, 1])
      const pool = tensor([
        [
          [
            [3, 3],
            [3, 1],
          ],
        ],
      ])
      expect(grad(() => ops.sum(ops.maxPool2d(pool, 2)), pool).toArray()).toEqual([
        [
          [
            [1, 0],
            [0, 0],
          ],
        ],
      ])
    }))
})
