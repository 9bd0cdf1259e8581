/** Inspection, cost and evaluation of models. */
import { describe, expect, it } from 'vitest'
import { cost, evaluateModel, fitProbe, inspect, latency, outputs, withProbe } from '../../ts/analyze/index.js'
import { Rng } from '../../ts/base/rng.js'
import { numberDataset } from '../../ts/data/index.js'
import { memory } from '../../ts/native/devices.js'
import {
  activation,
  build,
  conv2d,
  DenseWeight,
  flatten,
  freshValues,
  linear,
  maskWeight,
  Model,
  sequential,
  sparseFrom,
} from '../../ts/nn/index.js'
import { topkMask } from '../../ts/ops/index.js'
import { callOp, scope, tensor, zeros } from '../../ts/tensor/index.js'
import { code, leavesNothing } from '../nn/lib.js'

const little = (task: 'classification' | 'embedding' = 'classification', out = 3): Model =>
  new Model(
    build(
      sequential({
        conv: conv2d({ in: 1, out: 2, kernel: [3, 3], stride: [1, 1], padding: [1, 1], bias: true }),
        relu: activation({ function: 'relu' }),
        flatten: flatten({}),
        fc: linear({ in: 32, out, bias: true, init: 'he' }),
      }),
      freshValues(Rng.of(7)),
    ),
    { name: 'little', task, inputShape: [1, 4, 4], normalize: { mean: 0.5, std: 0.5 }, history: [{ pass: 'none' }] },
  )
const data = (n = 25, classes = 3): ReturnType<typeof numberDataset> =>
  numberDataset({
    name: 'toy',
    features: Rng.of(3).fillUniform(new Float32Array(n * 16)),
    inputShape: [4, 4],
    labels: Int32Array.from({ length: n }, (_, i) => i % classes),
    classes: Array.from({ length: classes }, (_, i) => String(i)),
  })

describe('inspect', () => {
  it('lists every weight with its size, sparsity and damage', () => {
    leavesNothing(() => {
      const dense = little()
      const model = scope(() => {
        const fc = dense.weights().find(({ path }) => path === 'fc.weight')!.weight
        return dense.withWeights(new Map([['fc.weight', sparseFrom(maskWeight(fc, topkMask(callOp('abs', [fc.dense()])[0]!, 24)))]]))
      })
      ;(model.weights().find(({ path }) => path === 'conv.bias')!.weight as DenseWeight).value.write(new Float32Array([NaN, Infinity]))
      const { weights, total, history } = inspect(model)
      expect(weights.map(({ path, kind, role, parameters }) => [path, kind, role, parameters])).toEqual([
        ['conv.weight', 'dense', 'kernel', 18],
        ['conv.bias', 'dense', 'vector', 2],
        ['fc.weight', 'sparse', 'matrix', 96],
        ['fc.bias', 'dense', 'vector', 3],
      ])
      const fc = weights[2]!
      expect(fc).toMatchObject({ description: 'f32 sparse 25.0 %', sparsity: 0.75, bytes: 24 * 6 + 3 * 2, nonFinite: 0, shape: [3, 32] })
      expect(weights[1]).toMatchObject({ nonFinite: 2 })
      expect(total).toMatchObject({ parameters: 119, nonFinite: 2, bytes: 4 * 18 + 8 + 150 + 12 })
      expect(total.nonzeros).toBe(18 + 2 + 24)
      expect(history).toEqual([{ pass: 'none' }])
      dense.dispose()
      model.dispose()
    })
  })
})

describe('cost', () => {
  it('counts multiply-adds per layer and example', () => {
    leavesNothing(() => {
      const model = little()
      scope(() => {
        const one = cost(model, zeros([1, 1, 4, 4]))
        expect(one.layers).toEqual([
          { path: 'conv', macs: 16 * 2 * 9, bytes: 80 },
          { path: 'fc', macs: 96, bytes: 396 },
        ])
        expect(one.macs).toBe(384)
        expect(one.bytes).toBe(476)
        expect(one.flops).toBeGreaterThanOrEqual(2 * 384 + 32)
        expect(cost(model, zeros([5, 1, 4, 4])).macs).toBe(5 * 384)
      })
      model.dispose()
    })
  })

  it('counts only the entries of a sparse layer', () => {
    const dense = little()
    scope(() => {
      const fc = dense.weights().find(({ path }) => path === 'fc.weight')!.weight
      const model = dense.withWeights(new Map([['fc.weight', sparseFrom(maskWeight(fc, topkMask(callOp('abs', [fc.dense()])[0]!, 24)))]]))
      expect(cost(model, zeros([1, 1, 4, 4])).layers[1]).toMatchObject({ path: 'fc', macs: 24 })
    })
    dense.dispose()
  })
})

describe('evaluation', () => {
  it('gives outputs in the order of the data whatever the batch', async () => {
    const model = little()
    const before = memory().tensors
    const whole = await outputs(model, data(), { batch: 25 })
    const parts = await outputs(model, data(), { batch: 4 })
    expect(whole.width).toBe(3)
    whole.values.forEach((v, i) => expect(Math.abs(v - parts.values[i]!)).toBeLessThan(1e-6))
    expect(memory().tensors).toBe(before)
    model.dispose()
  })

  it('scores a classifier with its interval and its time', async () => {
    const model = little()
    const progress: number[] = []
    const result = await evaluateModel(model, data(), { batch: 10, latencyRuns: 5, onProgress: (done) => void progress.push(done) })
    expect(result.n).toBe(25)
    expect(result.accuracy).toBe(Array.from(result.predictions).filter((p, i) => p === i % 3).length / 25)
    expect(result.interval[0]).toBeLessThan(result.accuracy)
    expect(result.interval[1]).toBeGreaterThan(result.accuracy)
    expect(result.latency).toMatchObject({ batch: 1, runs: 5 })
    expect(result.latency.p50).toBeGreaterThan(0)
    expect(result.latency.p95).toBeGreaterThanOrEqual(result.latency.p50)
    expect(progress).toEqual([10, 20, 25])
    model.dispose()
  })

  it('scores an encoder through its probe, and only so', async () => {
    const encoder = little('embedding', 6)
    await expect(evaluateModel(encoder, data(), { latencyRuns: 2 })).rejects.toMatchObject({ code: 'ERR_OPTION' })
    const probe = fitProbe(await outputs(encoder, data()), data().labels, data().classes, { l2: [1e-4] })
    const model = withProbe(encoder, probe, { data: 'toy', examples: 25 })
    const result = await evaluateModel(model, data(), { latencyRuns: 2 })
    expect(result.scores.length).toBe(75)
    expect(result.accuracy).toBeGreaterThan(1 / 3)
    encoder.dispose()
  })

  it('names the example whose output is not a number', async () => {
    const model = little()
    const features = new Float32Array(25 * 16)
    features[7 * 16] = Infinity
    const bad = numberDataset({ name: 'toy', features, inputShape: [4, 4], labels: data().labels, classes: data().classes })
    await expect(evaluateModel(model, bad)).rejects.toMatchObject({ code: 'ERR_NUMERIC', message: expect.stringMatching(/example 7 /) })
    model.dispose()
  })

  it('stops when asked and refuses what does not fit', async () => {
    const model = little()
    await expect(outputs(model, data(), { signal: AbortSignal.abort() })).rejects.toMatchObject({ code: 'ERR_ABORTED' })
    await expect(latency(model, data(), { signal: AbortSignal.abort() })).rejects.toMatchObject({ code: 'ERR_ABORTED' })
    const other = numberDataset({
      name: 'other',
      features: new Float32Array(8),
      inputShape: [8],
      labels: new Int32Array(1),
      classes: ['a'],
    })
    await expect(outputs(model, other)).rejects.toMatchObject({ code: 'ERR_DATA' })
    expect(() => little().withWeights(new Map([['nothing', new DenseWeight(tensor([1]))]]))).toThrowError(code('ERR_OPTION'))
    model.dispose()
  })
})
