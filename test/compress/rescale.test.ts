/** quantize/smooth and quantize/equalize: the function stays, the rounding gets better, and nothing is touched that is not understood. */
import { describe, expect, it } from 'vitest'
import { compress, quantize, recipe, type CompressReport } from '../../ts/compress/index.js'
import { Rng } from '../../ts/base/rng.js'
import { numberDataset, type NumberDataset } from '../../ts/data/dataset.js'
import { modelFromOnnx } from '../../ts/graph/index.js'
import {
  activation,
  batchNorm,
  build,
  conv2d,
  DenseWeight,
  encoderBlock,
  flatten,
  freshValues,
  globalAvgPool,
  layerNorm,
  linear,
  maxPool2d,
  Model,
  rotaryBlock,
  sequential,
  type ModuleSpec,
  type PlacedWeight,
} from '../../ts/nn/index.js'
import { scope, tensor } from '../../ts/tensor/index.js'

const relu = activation({ function: 'relu' })
const modelOf = (spec: ModuleSpec, inputShape: readonly number[], seed = 1): Model =>
  new Model(build(spec, freshValues(Rng.of(seed, 'rescale'))), { name: 'toy', task: 'regression', inputShape, history: [] })

function numbers(shape: readonly number[], size = 24, seed = 1, wild: (i: number) => number = () => 1): NumberDataset {
  const width = shape.reduce((a, b) => a * b, 1)
  const features = Rng.of(seed, 'x')
    .fillNormal(new Float32Array(size * width), 0, 1)
    .map((x, i) => x * wild(i % width))
  return numberDataset({ name: 'x', features, inputShape: shape, labels: new Int32Array(size), classes: ['x'] })
}

/** Values far from what an initialiser gives, channels of different sizes above all. */
function roughened(m: Model, spread = 1.5): Model {
  const rng = Rng.of(5, 'rough')
  const changed = new Map(
    m.weights().map(({ path, weight }: PlacedWeight) => {
      const values = scope(() => Float32Array.from(weight.dense().read() as Float32Array))
      const row = values.length / weight.shape[0]!
      for (let r = 0; r < weight.shape[0]!; r++) {
        const factor = Math.exp(spread * rng.normal())
        for (let i = r * row; i < (r + 1) * row; i++) values[i] = (values[i]! + 0.05 * rng.normal()) * factor
      }
      return [path, new DenseWeight(tensor(values, weight.shape))] as const
    }),
  )
  return m.withWeights(changed)
}

function outputs(m: Model, data: NumberDataset): Float32Array {
  const indices = Array.from({ length: data.size }, (_, i) => i)
  return scope(() => m.forward(tensor(data.batch(indices).x, [data.size, ...data.inputShape])).read()) as Float32Array
}
function relative(a: Float32Array, b: Float32Array): number {
  let [most, off] = [0, 0]
  a.forEach((x, i) => {
    most = Math.max(most, Math.abs(x))
    off = Math.max(off, Math.abs(x - b[i]!))
  })
  return off / most
}
const squared = (a: Float32Array, b: Float32Array): number => a.reduce((sum, x, i) => sum + (x - b[i]!) ** 2, 0)
const figures = (r: CompressReport): Record<string, unknown> => r.passes[0]!.figures

const conv = (from: number, out: number, size: number, groups = 1, bias = true): ModuleSpec =>
  conv2d({ in: from, out, kernel: [size, size], padding: [size >> 1, size >> 1], groups, bias })
const mobile = (): Model =>
  modelOf(
    sequential({
      0: conv(3, 8, 3, 1, false),
      1: batchNorm({ channels: 8 }),
      2: relu,
      3: conv(8, 8, 3, 8),
      4: relu,
      5: maxPool2d({ kernel: [2, 2], stride: [2, 2] }),
      6: conv(8, 6, 1),
      7: activation({ function: 'leakyRelu' }),
      8: flatten({}),
      9: linear({ in: 96, out: 5, bias: true, init: 'he' }),
    }),
    [3, 8, 8],
  )
const chain = (): Model => modelOf(sequential({ a: conv(2, 6, 3), r: relu, b: conv(6, 4, 3, 2), s: relu, p: globalAvgPool({}), c: linear({ in: 4, out: 3, bias: true, init: 'he' }) }), [2, 6, 6]) // prettier-ignore
const encoder = (norm: 'pre' | 'post', fn: 'relu' | 'gelu'): Model =>
  modelOf(sequential({ 0: encoderBlock({ width: 8, heads: 2, hidden: 12, norm, activation: fn }), 1: layerNorm({ width: 8, eps: 1e-5 }), 2: linear({ in: 8, out: 4, bias: true, init: 'glorot' }) }), [5, 8]) // prettier-ignore

describe('links of layers', () => {
  it.each([
    // norm1 -> q k v, value -> output, norm2 -> up, [up -> down where ReLU is between], last norm -> linear
    ['a pre-norm transformer block with ReLU', encoder('pre', 'relu'), 5, 7],
    ['the same with GELU, which factors do not pass', encoder('pre', 'gelu'), 4, 6],
    // norm1 and norm2 of a post-norm block also go on in the residual: only value -> output, up -> down, and the last norm
    ['a post-norm block', encoder('post', 'relu'), 3, 3],
    ['convolutions, depthwise ones, batch norm, pools, flattening', mobile(), 3, 3],
  ])('%s', async (_name, net, links, smoothed) => {
    const model = roughened(net)
    const data = numbers(model.info.inputShape!)
    const { model: smooth, report } = await compress(model, recipe([[quantize.smooth({ samples: 24 })]]), { data })
    expect(figures(report)).toMatchObject({ links, smoothed })
    expect(relative(outputs(model, data), outputs(smooth, data))).toBeLessThan(1e-5)
    expect(report.passes[0]!.layers.length).toBeGreaterThan(links)
  })

  it('a gated net with rotary positions: norms -> q k v and gate up, value -> output of grouped keys, up -> down', async () => {
    const t = 6
    const angles = (fn: (x: number) => number): ReturnType<typeof tensor> =>
      tensor(Float32Array.from({ length: t * 2 }, (_, i) => fn(i * 0.3)), [t, 1, 2]) // prettier-ignore
    const model = roughened(modelOf(rotaryBlock({ width: 8, hidden: 12, heads: 2, keyHeads: 1, headWidth: 4 }), [t, 8]))
    const x = {
      x: tensor(Rng.of(3, 'r').fillNormal(new Float32Array(2 * t * 8), 0, 1), [2, t, 8]),
      cos: angles(Math.cos),
      sin: angles(Math.sin),
    }
    const { scalableLinks } = await import('../../ts/graph/scalable.js')
    const { trace } = await import('../../ts/graph/trace.js')
    const links = scope(() => scalableLinks(model, trace(model, x)))
    expect(links.map((l) => [l.source.weight, l.consumers.map((c) => c.weight)])).toEqual([
      ['norm1.gamma', ['attention.query.weight', 'attention.key.weight', 'attention.value.weight']],
      ['attention.value.weight', ['attention.output.weight']],
      ['norm2.gamma', ['gate.weight', 'up.weight']],
      ['up.weight', ['down.weight']],
    ])
    // Two heads of queries read the same four channels.
    expect([...links[1]!.consumers[0]!.columns]).toEqual([0, 1, 2, 3, 0, 1, 2, 3])
  })

  it('a weight that is used twice, or an output that is also a result, is left alone', async () => {
    const net = chain()
    const shared = net.weights().find((w) => w.path === 'c.weight')!.weight
    const twice = modelOf(sequential({ c: linear({ in: 4, out: 4, bias: false, init: 'he' }), r: relu, d: linear({ in: 4, out: 4, bias: false, init: 'he' }) }), [4]) // prettier-ignore
    const tied = twice.withWeights(new Map(twice.weights().map(({ path }) => [path, twice.weights()[0]!.weight])))
    const { model, report } = await compress(tied, recipe([[quantize.equalize()]]))
    expect(figures(report).pairs).toBe(0)
    expect(model.weights().map((w) => w.weight)).toEqual(tied.weights().map((w) => w.weight))
    expect(shared.kind).toBe('dense')
    const last = modelOf(sequential({ a: linear({ in: 3, out: 3, bias: true, init: 'he' }), r: relu }), [3])
    const { report: none } = await compress(last, recipe([[quantize.equalize()]]))
    expect(figures(none)).toMatchObject({ pairs: 0 })
  })
})

describe('quantize/equalize', () => {
  it.each([
    ['convolutions in groups', chain()],
    ['depthwise convolutions and batch norm', mobile()],
  ])('%s: ranges of both sides meet, the function stays, one scale per tensor is better', async (_name, net) => {
    const model = roughened(net)
    const data = numbers(model.info.inputShape!)
    const { model: even, report } = await compress(model, recipe([[quantize.equalize()]]))
    const y = outputs(model, data)
    expect(relative(y, outputs(even, data))).toBeLessThan(1e-5)
    const { spread, difference } = figures(report) as { spread: { before: number; after: number }; difference: number }
    expect(difference).toBeLessThan(1e-5)
    expect(spread.after).toBeLessThan(spread.before)
    const perTensor = recipe([[quantize.rtn({ bits: 8, layout: 'tensor' })]])
    const [rough, better] = await Promise.all([model, even].map((m) => compress(m, perTensor)))
    expect(squared(y, outputs(better!.model, data))).toBeLessThan(0.8 * squared(y, outputs(rough!.model, data)))
  })

  it('rows and columns of a pair have equal ranges in the end: sqrt(r1 r2)', async () => {
    const net = modelOf(sequential({ a: linear({ in: 4, out: 3, bias: true, init: 'he' }), r: relu, b: linear({ in: 3, out: 2, bias: true, init: 'he' }) }), [4]) // prettier-ignore
    const model = roughened(net)
    const { model: even } = await compress(model, recipe([[quantize.equalize({ iterations: 1 })]]))
    const values = (m: Model, path: string): Float32Array =>
      scope(() =>
        Float32Array.from(
          m
            .weights()
            .find((w) => w.path === path)!
            .weight.dense()
            .read() as Float32Array,
        ),
      )
    const ranges = (m: Model): number[][] => {
      const [a, b] = [values(m, 'a.weight'), values(m, 'b.weight')]
      return [0, 1, 2].map((c) => [Math.max(...a.subarray(4 * c, 4 * c + 4).map(Math.abs)), Math.max(Math.abs(b[c]!), Math.abs(b[3 + c]!))])
    }
    const before = ranges(model)
    ranges(even).forEach(([r1, r2], c) => {
      const meant = Math.sqrt(before[c]![0]! * before[c]![1]!)
      expect(r1! / meant).toBeCloseTo(1, 5)
      expect(r2! / meant).toBeCloseTo(1, 5)
    })
  })

  it('absorb: high biases go to the next layer, and nothing changes while no value is below them', async () => {
    const spec = sequential({ a: conv(2, 4, 1, 1, false), n: batchNorm({ channels: 4 }), r: relu, b: conv(4, 3, 1), g: globalAvgPool({}) }) // prettier-ignore
    const net = modelOf(spec, [2, 4, 4])
    const set = (path: string, list: readonly number[]): [string, DenseWeight] => [path, new DenseWeight(tensor(Float32Array.from(list)))]
    const model = net.withWeights(new Map([set('n.gamma', [0.5, 0.5, 0.5, 0.5]), set('n.beta', [9, 4, 1, -2])]))
    const data = numbers([2, 4, 4], 16, 2, () => 0.3)
    const { model: plain } = await compress(model, recipe([[quantize.equalize()]]))
    const { model: moved } = await compress(model, recipe([[quantize.equalize({ absorb: true })]]))
    const beta = (m: Model): number[] => [
      ...(m
        .weights()
        .find((w) => w.path === 'n.beta')!
        .weight.dense()
        .read() as Float32Array),
    ]
    // c = max(0, beta - 3 gamma) is 7.5, 2.5, 0, 0, in the scale that equalization gave the channel.
    ;[1.5 / 9, 1.5 / 4, 1, 1].forEach((share, i) => expect(beta(moved)[i]! / beta(plain)[i]!).toBeCloseTo(share, 4))
    expect(relative(outputs(model, data), outputs(moved, data))).toBeLessThan(1e-5)
  })
})

describe('quantize/smooth', () => {
  it('the factors are max|X|^a / max|W|^(1-a), and they divide the norm before', async () => {
    const model = modelOf(sequential({ n: layerNorm({ width: 3, eps: 1e-5 }), l: linear({ in: 3, out: 2, bias: true, init: 'he' }) }), [3])
    const x = [3, -1, 0.5, -2, 2, 1]
    const data = numberDataset({ name: 'x', features: Float32Array.from(x), inputShape: [3], labels: new Int32Array(2), classes: ['x'] })
    const normed = scope(() => {
      const n = new Model(model.root.children.n!, model.info)
      return Float32Array.from(n.forward(tensor(Float32Array.from(x), [2, 3])).read() as Float32Array)
    })
    const values = (m: Model, path: string): Float32Array =>
      scope(() =>
        Float32Array.from(
          m
            .weights()
            .find((w) => w.path === path)!
            .weight.dense()
            .read() as Float32Array,
        ),
      )
    const w = values(model, 'l.weight')
    for (const alpha of [0, 0.5, 0.8]) {
      const { model: smooth } = await compress(model, recipe([[quantize.smooth({ alpha })]]), { data })
      values(smooth, 'n.gamma').forEach((g, j) => {
        const s =
          Math.max(Math.abs(normed[j]!), Math.abs(normed[3 + j]!)) ** alpha / Math.max(Math.abs(w[j]!), Math.abs(w[3 + j]!)) ** (1 - alpha)
        expect(g).toBeCloseTo(1 / s, 4)
        expect(values(smooth, 'l.weight')[j]! / w[j]!).toBeCloseTo(s, 4)
      })
    }
  })

  it('with outliers in a few channels static int8 loses less, on data that were not calibrated on', async () => {
    // Channels 1 and 6 of what both norms give are 60 times as large, the weights that take them 60 times as small: the same function.
    const net = encoder('pre', 'gelu')
    const large = (i: number): boolean => i % 8 === 1 || i % 8 === 6
    const changed = net.weights().flatMap(({ path, weight }) => {
      const taken = /norm[12]|query|key|value|up/.test(path)
      const factor = path.includes('norm') ? 60 : path.includes('weight') ? 1 / 60 : 1
      const values = scope(() => (weight.dense().read() as Float32Array).map((v, i) => (large(i) ? v * factor : v)))
      return taken ? [[path, new DenseWeight(tensor(values, weight.shape))] as const] : []
    })
    const model = net.withWeights(new Map(changed))
    const [data, held] = [numbers([5, 8], 64), numbers([5, 8], 32, 9)]
    const int8 = quantize.static({ calibration: 'minmax' })
    const plain = await compress(model, recipe([[int8]]), { data })
    const better = await compress(model, recipe([[quantize.smooth()], [int8]]), { data })
    const y = outputs(model, held)
    expect(squared(y, outputs(better.model, held))).toBeLessThan(0.5 * squared(y, outputs(plain.model, held)))
  })

  it('zeros of pruned weights stay, masks too; a bad option names the place', async () => {
    const model = encoder('pre', 'relu')
    const { prune } = await import('../../ts/compress/index.js')
    const pruned = recipe([[prune.magnitude({ sparsity: 0.5 })], [quantize.smooth()]])
    const { report, model: out } = await compress(model, pruned, { data: numbers([5, 8]) })
    const up = report.layers.find((l) => l.path === '0.up.weight')!
    expect(up.after.density).toBe(0.5)
    expect(out.weights().find((w) => w.path === '0.up.weight')!.weight.kind).toBe('masked')
    expect(() => recipe([[quantize.smooth({ alpha: 2 })]])).toThrow(expect.objectContaining({ code: 'ERR_RECIPE' }))
    await expect(compress(model, recipe([[quantize.smooth()]]))).rejects.toMatchObject({ code: 'ERR_OPTION' })
  })
})

it('codebooks stay codebooks: their tables are no channels', async () => {
  const spec = sequential({
    a: linear({ in: 6, out: 8, bias: true, init: 'he' }),
    relu,
    b: linear({ in: 8, out: 4, bias: true, init: 'he' }),
  })
  const data = numbers([6])
  for (const pass of [quantize.smooth(), quantize.equalize()]) {
    const { model, report } = await compress(modelOf(spec, [6]), recipe([[quantize.codebook()], [pass]]), { data })
    expect(model.weights().filter(({ weight }) => weight.kind === 'codebook')).toHaveLength(2)
    expect(report.passes[1]!.notes.some(({ text }) => text.startsWith('left alone'))).toBe(true)
  }
})

it('imported graphs: the same links as in the net that they were written from', async () => {
  const { exportOnnx } = await import('../../ts/graph/export/index.js')
  for (const [net, links] of [
    [encoder('pre', 'relu'), 5],
    [mobile(), 3],
  ] as const) {
    const source = roughened(net)
    const data = numbers(source.info.inputShape!)
    const onnx = scope(() => exportOnnx(source, { example: tensor(data.batch([0, 1]).x, [2, ...data.inputShape]) }))
    const model = modelFromOnnx(onnx)
    for (const pass of [quantize.smooth(), quantize.equalize()]) {
      const { model: out, report } = await compress(model, recipe([[pass]]), { data })
      if (pass.pass === 'quantize/smooth') expect(figures(report).links).toBe(links)
      expect(report.passes[0]!.layers.length).toBeGreaterThan(2)
      expect(relative(outputs(source, data), outputs(out, data))).toBeLessThan(1e-5)
    }
  }
})
