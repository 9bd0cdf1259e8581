/** Composites: derivatives of both orders, dtypes, no temporaries left behind; straight-through estimators, ties and kinks. */
import { describe, expect, it } from 'vitest'
import { grad } from '../../ts/autograd/index.js'
import { memory } from '../../ts/native/devices.js'
import * as ops from '../../ts/ops/index.js'
import { scope, tensor, zeros, type Tensor } from '../../ts/tensor/index.js'
import { numbers } from '../laws/cases.js'
import { checkFunction } from '../laws/gradcheck.js'
import { sampler } from '../laws/sampler.js'
import { code } from '../tensor/code.js'
import { close } from './close.js'

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
  'multiHeadAttention with groups of keys': entry(
    (q, k, v) => ops.multiHeadAttention(q, k, v, { heads: 4, keyHeads: 2, causal: true }),
    (s) => [s.normal(2, 2, 4), s.normal(2, 3, 2), s.normal(2, 3, 4)],
  ),
  'multiHeadAttention with groups of keys, one query': entry(
    (q, k, v) => ops.multiHeadAttention(q, k, v, { heads: 4, keyHeads: 2 }),
    (s) => [s.normal(1, 1, 4), s.normal(1, 3, 2), s.normal(1, 3, 2)],
  ),
  rotary: entry(
    (x, c, d) => ops.rotary(x, c, d),
    (s) => [s.normal(2, 3, 2, 5), s.normal(3, 1, 2), s.normal(3, 1, 2)],
  ),
  'rotary, neighbours': entry(
    (x, c, d) => ops.rotary(x, c, d, { interleaved: true }),
    (s) => [s.normal(2, 2, 4), s.normal(2, 2), s.normal(2, 2)],
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
  adaptiveAvgPool2d: entry(
    (x) => ops.adaptiveAvgPool2d(x, [2, 3]),
    (s) => [s.normal(1, 2, 3, 4)],
  ),
  adaptiveMaxPool2d: entry(
    (x) => ops.adaptiveMaxPool2d(x, [2, 3]),
    (s) => [s.distinct(1, 2, 3, 4)],
  ),
  avgPool1d: entry(
    (x) => ops.avgPool1d(x, 2, { padding: 1 }),
    (s) => [s.normal(1, 2, 3)],
  ),
  maxPool1d: entry(
    (x) => ops.maxPool1d(x, 2),
    (s) => [s.distinct(1, 2, 4)],
  ),
  'conv2d, depthwise and dilated': entry(
    (x, w, b) => ops.conv2d(x, w, b, { padding: 'same', dilation: 2, groups: 2 }),
    (s) => [s.normal(1, 2, 4, 3), s.normal(2, 1, 2, 2), s.normal(2)],
  ),
  conv1d: entry(
    (x, w, b) => ops.conv1d(x, w, b, { padding: 'causal', groups: 2 }),
    (s) => [s.normal(1, 2, 5), s.normal(2, 1, 3), s.normal(2)],
  ),
  convTranspose2d: entry(
    (x, w, b) => ops.convTranspose2d(x, w, b, { stride: 2, padding: 1, outputPadding: 1 }),
    (s) => [s.normal(1, 2, 2, 3), s.normal(2, 1, 3, 3), s.normal(1)],
  ),
  convTranspose1d: entry(
    (x, w) => ops.convTranspose1d(x, w, null, { stride: 2, dilation: 2, groups: 2 }),
    (s) => [s.normal(1, 2, 3), s.normal(2, 1, 2)],
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
  it('has right derivatives, in passes over all and channel by channel', () =>
    scope(() => {
      const s = sampler(23, 'f64')
      checkFunction('y', (x, g, b) => ops.square(ops.batchNorm(x, g, b, 0.1).y), [s.normal(3, 2, 2), s.normal(2), s.normal(2)])
      checkFunction('images', (x, g, b) => ops.square(ops.batchNorm(x, g, b, 0.1).y), [s.normal(2, 2, 4, 5), s.normal(2), s.normal(2)])
    }))

  it('gives with the sum and the ReLU behind it the values and gradients of the separate ops, bit for bit', () =>
    scope(() => {
      for (const side of [2, 5]) {
        const s = sampler(27, 'f32')
        const [x, residual] = [s.normal(3, 2, side, side), s.normal(3, 2, side, side)]
        const inputs = [x, s.normal(2), s.normal(2), residual] as const
        const weights = s.normal(3, 2, side, side)
        const loss = (y: Tensor): Tensor => ops.sum(ops.mul(y, weights))
        for (const relu of [false, true]) {
          const apart = (): Tensor => ops.add(ops.batchNorm(x, inputs[1], inputs[2]).y, residual)
          const joined = (): Tensor => ops.batchNorm(x, inputs[1], inputs[2], 1e-5, { residual, relu }).y
          const separate = (): Tensor => (relu ? ops.relu(apart()) : apart())
          expect(joined().read()).toEqual(separate().read())
          const gradients = (f: () => Tensor): unknown[] => grad(() => loss(f()), inputs).map((g) => g.read())
          expect(gradients(joined)).toEqual(gradients(separate))
        }
      }
      expect(() => ops.batchNorm(zeros([1, 2, 4, 4]), null, null, 1, { residual: zeros([1, 2, 4, 1]) })).toThrowError(code('ERR_SHAPE'))
    }))

  it('normalises per channel and agrees with inference on its own statistics', () =>
    scope(() => {
      for (const x of [sampler(24, 'f32').normal(5, 3, 4), sampler(25, 'f32').normal(5, 3, 20)]) {
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
      }
    }))
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
