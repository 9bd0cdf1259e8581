/** Low-rank factors: the best ones (Eckart and Young), the best for the layer's output, where they stand in recipes, and what runs them. */
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, describe, expect, it } from 'vitest'
import { cost } from '../../ts/analyze/index.js'
import { Rng } from '../../ts/base/rng.js'
import { compress, factorize, prune, quantize, recipe } from '../../ts/compress/index.js'
import { symmetricEigen } from '../../ts/compress/factorize/eigen.js'
import { packState, unpackState, type TrainState } from '../../ts/compress/train/state.js'
import { train } from '../../ts/compress/train/train.js'
import { encodeOnnx, parseOnnx } from '../../ts/formats/onnx/index.js'
import { exportOnnx, modelFromOnnx } from '../../ts/graph/index.js'
import { loadModel, saveModel } from '../../ts/models/file.js'
import { numberDataset } from '../../ts/data/dataset.js'
import { memory } from '../../ts/native/devices.js'
import {
  build,
  conv1d,
  conv2d,
  DenseWeight,
  embedding,
  freshValues,
  linear,
  type LowRankWeight,
  Model,
  sequential,
} from '../../ts/nn/index.js'
import { session } from '../../ts/runtime/index.js'
import { scope, tensor, type Tensor } from '../../ts/tensor/index.js'
import { jacobi, orthogonal } from '../analyze/jacobi.js'
import { bars, bitsOf, blobs, convnet, mlp, quick } from './toys.js'

const folder = mkdtempSync(join(tmpdir(), 'tersor-factorize-'))
afterAll(() => rmSync(folder, { recursive: true, force: true }))
const breathe = async (): Promise<void> => undefined
const normals = (n: number, seed: number): Float64Array => {
  const rng = Rng.of(seed, 'factorize')
  return Float64Array.from({ length: n }, () => rng.normal())
}

const orthonormal = (count: number, n: number, seed: number): number[][] => orthogonal(n, seed).slice(0, count)
/** n x m with these singular values. */
function withSingular(n: number, m: number, sigma: readonly number[], seed: number): Float32Array {
  const [u, v] = [orthonormal(sigma.length, n, seed), orthonormal(sigma.length, m, seed + 1)]
  return Float32Array.from({ length: n * m }, (_, at) => sigma.reduce((s, x, k) => s + x * u[k]![Math.floor(at / m)]! * v[k]![at % m]!, 0))
}
const layer = (n: number, m: number, values: Float32Array): Model =>
  new Model(build(linear({ in: m, out: n, bias: true, init: 'he' }), freshValues(Rng.of(2, 'bias'))), {
    name: 'layer',
    task: 'regression',
    history: [],
    inputShape: [m],
  }).withWeights(new Map([['weight', new DenseWeight(tensor(values, [n, m]))]]))
const weightOf = (model: Model, path = 'weight'): LowRankWeight => model.weights().find((w) => w.path === path)!.weight as LowRankWeight
const dense = (w: { readonly dense: () => Tensor }): Float32Array => scope(() => w.dense().read()) as Float32Array
const distance = (a: Float32Array, b: Float32Array): number => Math.sqrt(a.reduce((s, v, i) => s + (v - b[i]!) ** 2, 0))

describe('symmetricEigen', () => {
  it.each([1, 2, 3, 5, 33, 70])('finds A v = lambda v with orthonormal vectors, n = %i', async (n) => {
    const a = normals(n * n, n)
    for (let i = 0; i < n; i++) for (let j = 0; j < i; j++) a[i * n + j] = a[j * n + i]!
    const found = await symmetricEigen(a.slice(), n, breathe)
    const [values, v] = [found.values, await found.vectors(n)]
    for (let k = 0; k < n; k++) {
      if (k > 0) expect(values[k - 1]!).toBeGreaterThanOrEqual(values[k]!)
      for (let i = 0; i < n; i++) {
        const product = Array.from({ length: n }, (_, j) => a[i * n + j]! * v[k * n + j]!).reduce((x, y) => x + y)
        expect(Math.abs(product - values[k]! * v[k * n + i]!)).toBeLessThan(1e-12 * n)
      }
      for (let l = 0; l <= k; l++) {
        const dot = Array.from({ length: n }, (_, j) => v[k * n + j]! * v[l * n + j]!).reduce((x, y) => x + y)
        expect(Math.abs(dot - (k === l ? 1 : 0))).toBeLessThan(1e-13 * n)
      }
    }
  })
  it('takes diagonal matrices, equal values and zeros', async () => {
    const of = async (d: number[]): Promise<number[]> => {
      const a = new Float64Array(d.length ** 2)
      d.forEach((v, i) => (a[i * d.length + i] = v))
      return [...(await symmetricEigen(a, d.length, breathe)).values]
    }
    expect(await of([1, 7, -3, 7])).toEqual([7, 7, 1, -3])
    expect(await of([0, 0, 0])).toEqual([0, 0, 0])
  })
})

describe('factorize/svd', () => {
  it.each([
    [24, 40],
    [40, 24],
  ])('leaves the error of the singular values left out, which no other pair of that rank has (%i x %i)', async (n, m) => {
    const sigma = Array.from({ length: 24 }, (_, i) => 8 * 0.8 ** i)
    const values = withSingular(n, m, sigma, 5)
    const model = layer(n, m, values)
    for (const rank of [1, 5, 12]) {
      const { model: small } = await compress(model, recipe([[factorize.svd({ rank })]]))
      const w = weightOf(small)
      expect(w.rank).toBe(rank)
      const wanted = Math.sqrt(sigma.slice(rank).reduce((s, x) => s + x * x, 0))
      expect(distance(values, dense(w)) / wanted).toBeCloseTo(1, 5)
    }
  })

  it('takes the rank from a ratio, a share of the squares, or a number; what would not be smaller stays', async () => {
    const sigma = [4, 3, 2, 1, 0.5]
    const model = layer(20, 30, withSingular(20, 30, sigma, 9))
    const rankOf = async (options: Parameters<typeof factorize.svd>[0]): Promise<number | string> => {
      const { model: small, report } = await compress(model, recipe([[factorize.svd(options)]]))
      const w = weightOf(small)
      return w.kind === 'low-rank' ? w.rank : JSON.stringify(report.passes[0]!.notes)
    }
    // 16, 9, 4, 1, 0.25 of 30.25
    expect(await rankOf({ energy: 0.5 })).toBe(1)
    expect(await rankOf({ energy: 0.8 })).toBe(2)
    expect(await rankOf({})).toBe(3)
    expect(await rankOf({ energy: 0.99 })).toBe(4)
    expect(await rankOf({ ratio: 0.5 })).toBe(6)
    expect(await rankOf({ rank: 12 })).toMatch(/rank 12 of 20 costs as much/)
    for (const bad of [{ rank: 2, ratio: 0.5 }, { ratio: 1 }, { energy: 0 }, { rank: 0 }, { ranks: 2 }])
      expect(() => recipe([[factorize.svd(bad as never)]])).toThrow(expect.objectContaining({ code: 'ERR_RECIPE' }))
  })

  it('reproduces a matrix of that rank, and zeros', async () => {
    const values = withSingular(16, 12, [3, 2, 1], 4)
    const { model: small } = await compress(layer(16, 12, values), recipe([[factorize.svd({ rank: 3 })]]))
    expect(distance(values, dense(weightOf(small)))).toBeLessThan(1e-5)
    const { model: none } = await compress(layer(16, 12, new Float32Array(192)), recipe([[factorize.svd({ rank: 3 })]]))
    expect(dense(weightOf(none)).every((v) => v === 0)).toBe(true)
  })

  it('with moments of the inputs, the outputs of the calibration data come nearer than by the values alone', async () => {
    const model = mlp({ hidden: 24 })
    const data = blobs(256)
    const x = tensor(data.batch(Array.from({ length: 256 }, (_, i) => i)).x, [256, 8])
    const outputsOf = (m: Model): Float32Array => scope(() => m.forward(x).read()) as Float32Array
    const where = { targets: ['fc1.weight'] }
    const one = async (weighting: 'none' | 'input'): Promise<number> => {
      const { model: small } = await compress(model, recipe([[factorize.svd({ rank: 2, weighting, samples: 256 }, where)]]), { data })
      return distance(outputsOf(model), outputsOf(small))
    }
    expect(await one('input')).toBeLessThan(await one('none'))
  })

  it('splits convolutions and tables: the layer computes what its product stands for', async () => {
    const spec = sequential({
      a: conv2d({ in: 6, out: 12, kernel: [3, 2], stride: [2, 1], padding: [1, 1], bias: true, init: 'he' }),
      b: conv2d({ in: 12, out: 16, kernel: [3, 3], dilation: [2, 2], padding: [2, 2], bias: false, init: 'he' }),
    })
    const model = new Model(build(spec, freshValues(Rng.of(3, 'conv'))), {
      name: 'c',
      task: 'embedding',
      history: [],
      inputShape: [6, 9, 8],
    })
    const { model: small } = await compress(model, recipe([[factorize.svd({ rank: 4 })]]))
    const x = tensor(Float32Array.from(normals(2 * 6 * 9 * 8, 6)), [2, 6, 9, 8])
    const same = (m: Model, input: Tensor): void => {
      const plain = m.withWeights(new Map(m.weights().flatMap((w) => (w.weight.kind === 'low-rank' ? [[w.path, new DenseWeight(tensor(dense(w.weight), w.weight.shape))]] : [])))) // prettier-ignore
      const [a, b] = [m, plain].map((one) => scope(() => one.forward(input).read()) as Float32Array) as [Float32Array, Float32Array]
      expect(distance(a, b)).toBeLessThan(1e-5 * Math.hypot(...b))
    }
    expect(small.weights().filter((w) => w.weight.kind === 'low-rank')).toHaveLength(2)
    same(small, x)
    const words = new Model(build(sequential({ t: embedding({ rows: 50, width: 24 }), l: linear({ in: 24, out: 20, bias: true, init: 'he' }) }), freshValues(Rng.of(1, 't'))), { name: 't', task: 'embedding', history: [] }) // prettier-ignore
    const { model: fewer } = await compress(words, recipe([[factorize.svd({ rank: 5 }, { targets: ['@table', '@matrix'] })]]))
    expect(weightOf(fewer, 't.weight').rank).toBe(5)
    same(fewer, tensor(Int32Array.of(3, 49, 0, 3), [2, 2]))
    const series = new Model(build(conv1d({ in: 8, out: 16, kernel: 5, stride: 2, padding: 2, bias: true, init: 'he' } as never), freshValues(Rng.of(1, 's'))), { name: 's', task: 'embedding', history: [] }) // prettier-ignore
    same(
      (await compress(series, recipe([[factorize.svd({ rank: 6 })]]))).model,
      tensor(Float32Array.from(normals(2 * 8 * 21, 8)), [2, 8, 21]),
    )
  })

  it('is saved, loaded, exported and run as two products', async () => {
    const model = layer(64, 48, withSingular(64, 48, [5, 4, 3, 2, 1, 0.1], 3))
    const { model: small } = await compress(model, recipe([[factorize.svd({ rank: 5 })]]))
    const file = join(folder, 'small.safetensors')
    saveModel(small, file)
    const again = loadModel(file)
    expect(bitsOf(again)).toBe(bitsOf(small))
    expect(weightOf(again).description).toBe('rank 5 f32')
    expect(weightOf(again).bytes()).toBe(4 * 5 * (64 + 48))
    const x = { data: Float32Array.from(normals(6 * 48, 2)), shape: [6, 48] }
    const want = scope(() => small.forward(tensor(x.data, x.shape)).read()) as Float32Array
    const s = session(again)
    const { output } = s.runSync(x)
    expect(distance(output!.data as Float32Array, want)).toBeLessThan(1e-5 * Math.hypot(...want))
    expect(
      s
        .profile(x, 1)
        .steps.map((step) => step.op)
        .filter((op) => op.startsWith('linear')),
    ).toHaveLength(2)
    s.dispose()
    const onnx = exportOnnx(small, { example: tensor(x.data, x.shape) })
    expect(onnx.graph.nodes.filter((node) => /^(MatMul|Gemm)$/.test(node.op))).toHaveLength(2)
    const back = modelFromOnnx(parseOnnx(encodeOnnx(onnx)))
    expect(distance(scope(() => back.forward(tensor(x.data, x.shape)).read()) as Float32Array, want)).toBeLessThan(
      1e-5 * Math.hypot(...want),
    )
  })

  it('both factors train on, and take int8 one by one; passes that would multiply them out leave them', async () => {
    const data = blobs(192)
    const model = mlp({ hidden: 32 })
    const tuned = await compress(model, recipe([[factorize.svd({ rank: 3 }, { targets: ['fc2.weight'] })]]), { data })
    const before = tuned.model.weights().find((w) => w.weight.kind === 'low-rank')!
    const halves = dense((before.weight as LowRankWeight).left)
    const { model: trained } = await train(tuned.model, data, { ...quick, epochs: 2 })
    const after = weightOf(trained, before.path)
    expect(distance(dense(after.left), halves)).toBeGreaterThan(0)
    expect(after.rank).toBe(3)

    const { model: eight, report: rounding } = await compress(tuned.model, recipe([[quantize.rtn({ bits: 8 })]]))
    expect(JSON.stringify(rounding.passes[0]!.notes)).not.toMatch(/fc2/)
    const w = weightOf(eight, before.path)
    expect([w.kind, w.left.kind, w.right.kind]).toEqual(['low-rank', 'quantized', 'quantized'])
    expect(w.bytes()).toBeLessThan(0.5 * before.weight.bytes())
    expect(distance(dense(w), dense(before.weight)) / Math.hypot(...dense(before.weight))).toBeLessThan(0.02)
    for (const pass of [quantize.static({}), quantize.gptq({ bits: 4 }), prune.magnitude({ sparsity: 0.5 })]) {
      const { model: other, report } = await compress(tuned.model, recipe([[pass]]), { data })
      expect(weightOf(other, before.path).kind).toBe('low-rank')
      expect(JSON.stringify(report.passes[0]!.notes)).toMatch(/fc2.weight/)
    }
  })

  it('is trained with the best step kept, rewound and resumed; a group named after the weight holds both factors', async () => {
    const [data, validation] = [blobs(192), blobs(64, { seed: 3 })]
    const { model } = await compress(mlp({ hidden: 32 }), recipe([[factorize.svd({ rank: 3 }, { targets: ['fc2.weight'] })]]))
    const settings = { ...quick, keepBest: true, validation }
    const states: TrainState[] = []
    const straight = await train(model, data, { ...settings, checkpoint: (take) => void states.push(take()) })
    const { json, tensors } = packState(states[Math.floor(states.length / 2)]!)
    const resumed = await train(model, data, { ...settings, resume: unpackState(JSON.parse(JSON.stringify(json)), tensors) })
    expect(bitsOf(resumed.model)).toBe(bitsOf(straight.model))
    const frozen = await train(model, data, { ...quick, groups: [{ match: 'fc2.weight', lrScale: 0, weightDecay: 0 }] })
    expect(dense(weightOf(frozen.model, 'fc2.weight'))).toEqual(dense(weightOf(model, 'fc2.weight')))
    expect(bitsOf(frozen.model)).not.toBe(bitsOf(model))
  })

  it('by the inputs, tall and wide layers have the least output error that their rank allows, also where inputs span little', async () => {
    for (const [n, m] of [
      [30, 12],
      [12, 30],
    ] as const) {
      const values = withSingular(
        n,
        m,
        Array.from({ length: 12 }, (_, i) => 0.8 ** i),
        n,
      )
      const model = layer(n, m, values)
      // Inputs of 6 dimensions, unlike in size.
      const [basis, sizes] = [orthonormal(6, m, 77), [4, 2, 1, 0.5, 0.25, 0.125]]
      const coefficients = normals(300 * 6, 5)
      const x = Float32Array.from({ length: 300 * m }, (_, i) => sizes.reduce((sum, s, k) => sum + s * coefficients[Math.floor(i / m) * 6 + k]! * basis[k]![i % m]!, 0)) // prettier-ignore
      const data = numberDataset({ name: 'inputs', features: x, inputShape: [m], labels: new Int32Array(300), classes: ['any'] })
      const { model: small } = await compress(model, recipe([[factorize.svd({ rank: 3, weighting: 'input', samples: 300 })]]), { data })
      const [want, got] = [model, small].map((one) => scope(() => one.forward(tensor(x, [300, m])).read()) as Float32Array) as [
        Float32Array,
        Float32Array,
      ]
      // The best of all: singular values of X W^T beyond the third.
      const bias = scope(() =>
        model
          .weights()
          .find((w) => w.name === 'bias')!
          .weight.dense()
          .read(),
      ) as Float32Array
      const y = Float64Array.from(want, (v, i) => v - bias[i % n]!)
      const square = Array.from({ length: n }, () => new Array<number>(n).fill(0))
      for (let r = 0; r < 300; r++) for (let i = 0; i < n; i++) for (let j = 0; j < n; j++) square[i]![j]! += y[r * n + i]! * y[r * n + j]!
      const squares = jacobi(square).sort((p, q) => q - p)
      const least = Math.sqrt(squares.slice(3).reduce((sum, v) => sum + Math.max(0, v), 0))
      expect(distance(want, got) / least).toBeLessThan(1.001)
      expect(distance(want, got) / least).toBeGreaterThan(0.999)
    }
  })

  it('a table that is the head too is one product: lookups multiply rows, a graph holds the factors alone, work counts both', async () => {
    const values = normals(60 * 24, 31)
    const shared = new DenseWeight(tensor(Float32Array.from(values), [60, 24]))
    const base = new Model(build(sequential({ t: embedding({ rows: 60, width: 24 }), h: linear({ in: 24, out: 60, bias: false, init: 'he' }) }), freshValues(Rng.of(1, 'tied'))), { name: 'tied', task: 'embedding', history: [] }) // prettier-ignore
    const tied = base.withWeights(new Map([['t.weight', shared], ['h.weight', shared]])) // prettier-ignore
    const { model: small } = await compress(tied, recipe([[factorize.svd({ rank: 4 })]]))
    expect(weightOf(small, 't.weight')).toBe(weightOf(small, 'h.weight'))
    const ids = tensor(Int32Array.of(0, 59, 7), [1, 3])
    const w = dense(weightOf(small, 't.weight'))
    const rows = [0, 59, 7].map((id) => w.subarray(id * 24, id * 24 + 24))
    const want = rows.flatMap((row) => Array.from({ length: 60 }, (_, o) => row.reduce((sum, v, k) => sum + v * w[o * 24 + k]!, 0)))
    const got = scope(() => small.forward(ids).read()) as Float32Array
    expect(distance(Float32Array.from(want), got)).toBeLessThan(1e-4)
    const onnx = exportOnnx(small, { example: ids })
    const stored = [...onnx.graph.initializers.values()].reduce((sum, t) => sum + t.shape.reduce((a, b) => a * b, 1), 0)
    expect(stored).toBeLessThan(60 * 24)
    expect(cost(small, ids).layers.find((l) => l.path === 'h')!.macs).toBe(3 * 4 * (24 + 60))
  })

  it('leaves pruned weights, grouped kernels and what is no matrix alone, with reasons, and no tensor behind', async () => {
    const model = convnet()
    const { model: pruned } = await compress(model, recipe([[prune.magnitude({ sparsity: 0.5 })]]))
    const count = memory().tensors
    const { model: same, report } = await compress(pruned, recipe([[factorize.svd({ rank: 1 })]]), { data: bars(8) })
    expect(JSON.stringify(report.passes[0]!.notes)).toMatch(/zeros must stay 0/)
    expect(same.weights().some((w) => w.weight.kind === 'low-rank')).toBe(false)
    expect(memory().tensors).toBe(count)
  })
})
