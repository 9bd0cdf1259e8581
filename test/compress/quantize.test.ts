/** quantize/rtn, quantize/static-int8 and sparsify/csr on whole models. */
import { beforeAll, describe, expect, it } from 'vitest'
import { compress, prune, quantize, recipe, sparsify, train, type CompressEvent } from '../../ts/compress/index.js'
import { relativeError } from '../../ts/compress/run/layers.js'
import { evaluateClassifier } from '../../ts/compress/train/tasks/classification.js'
import { Rng } from '../../ts/base/rng.js'
import { numberDataset } from '../../ts/data/dataset.js'
import { memory } from '../../ts/native/devices.js'
import {
  build,
  DenseWeight,
  embedding,
  freshValues,
  Model,
  type InputQuantization,
  type QuantizedWeight,
  type Weight,
  weightKind,
} from '../../ts/nn/index.js'
import { cast } from '../../ts/ops/index.js'
import { scope, tensor } from '../../ts/tensor/index.js'
import { bars, bitsOf, blobs, convnet, mlp, quick } from './toys.js'

const data = blobs(300)
const images = bars(300)
let net: Model
let conv: Model
beforeAll(async () => {
  net = (await train(mlp(), data, quick)).model
  conv = (await train(convnet(), images, { ...quick, epochs: 8 })).model
})
const of = async (m: Model, set: typeof data): Promise<number> => (await evaluateClassifier(m, set, async () => {})).accuracy
const weightAt = (m: Model, path: string): Weight => m.weights().find((w) => w.path === path)!.weight
const calibrated = (w: Weight): InputQuantization => (w as QuantizedWeight).input as InputQuantization
const dense = (w: Weight): Float32Array => scope(() => w.dense().read()) as Float32Array

describe('quantize/rtn', () => {
  const layouts = ['tensor', 'channel', 'group'] as const
  const grid = layouts.flatMap((layout) =>
    (['symmetric', 'affine'] as const).flatMap((mode) => (['max', 'mse'] as const).map((range) => ({ layout, mode, range }))),
  )

  it.each(grid)('%j: error falls and bytes rise with the bits, within the bound of the scale', async ({ layout, mode, range }) => {
    let last = { error: Infinity, bytes: 0 }
    for (const bits of [2, 3, 4, 5, 6, 7, 8]) {
      const { model, report } = await compress(net, recipe([[quantize.rtn({ bits, layout, mode, range, groupSize: 6 })]]))
      const layer = report.layers.find((l) => l.path === 'fc2.weight')!
      expect(layer.after.kind).toBe('quantized')
      expect(layer.error).toBeLessThan(last.error)
      expect(layer.after.bytes).toBeGreaterThan(last.bytes)
      expect(layer.after.bytes).toBeLessThan(layer.before.bytes)
      last = { error: layer.error, bytes: layer.after.bytes }
      const w = weightAt(model, 'fc2.weight') as QuantizedWeight
      const [a, b] = [dense(weightAt(net, 'fc2.weight')), dense(w)]
      const scales = w.scale.read() as Float32Array
      const largest = Math.max(...scales)
      if (range === 'max') expect(Math.max(...a.map((x, i) => Math.abs(x - b[i]!)))).toBeLessThanOrEqual(largest * 0.50001)
    }
    expect(last.error).toBeLessThan(0.01)
  })

  it('is idempotent: what it gives is already on the grid', async () => {
    const { model } = await compress(net, recipe([[quantize.rtn({ bits: 4 })]]))
    const again = net.withWeights(new Map([['fc2.weight', new DenseWeight(tensor(dense(weightAt(model, 'fc2.weight')), [32, 32]))]]))
    const twice = await compress(again, recipe([[quantize.rtn({ bits: 4 })]]))
    expect(twice.report.layers.find((l) => l.path === 'fc2.weight')!.error).toBeLessThan(1e-6)
  })

  it('groups that do not divide the row are cut evenly; f16 scales halve their cost', async () => {
    const options = { bits: 4, layout: 'group', groupSize: 5 } as const
    const full = await compress(net, recipe([[quantize.rtn(options)]]))
    const half = await compress(net, recipe([[quantize.rtn({ ...options, scales: 'f16' })]]))
    const w = weightAt(full.model, 'fc1.weight') as QuantizedWeight
    expect(w.scale.shape).toEqual([32, 2])
    expect(w.groupSize).toBe(4)
    expect(w.bytes()).toBe(128 + 4 * 64)
    expect(weightAt(half.model, 'fc1.weight').bytes()).toBe(128 + 2 * 64)
    expect(relativeError(weightAt(net, 'fc1.weight'), weightAt(half.model, 'fc1.weight'))).toBeLessThan(0.15)
  })

  it('zeros of a pruned weight stay exactly 0, symmetric and affine', async () => {
    for (const mode of ['symmetric', 'affine'] as const)
      for (const range of ['max', 'mse'] as const) {
        const { model, report } = await compress(
          net,
          recipe([[prune.magnitude({ sparsity: 0.6 })], [quantize.rtn({ bits: 4, mode, range, layout: 'group' })]]),
        )
        const pruned = report.passes[0]!.layers.find((l) => l.path === 'fc2.weight')!
        expect(report.layers.find((l) => l.path === 'fc2.weight')!.after.density).toBeLessThanOrEqual(pruned.after.density)
        expect(dense(weightAt(model, 'fc2.weight')).filter((x) => x === 0).length).toBeGreaterThanOrEqual(Math.round(0.6 * 1024))
      }
  })

  it('rounds tables too, and leaves vectors alone', async () => {
    const root = build(embedding({ rows: 100, width: 16 }), freshValues(Rng.of(1, 'table')))
    const model = new Model(root, { name: 'table', task: 'embedding', history: [] })
    const { model: small } = await compress(model, recipe([[quantize.rtn({ bits: 8 })]]))
    expect(weightAt(small, 'weight').description).toBe('int8 per channel')
    const ids = tensor(new Int32Array([5, 99]), [2])
    const [a, b] = [model, small].map((m) => scope(() => m.forward(ids).read()) as Float32Array)
    a!.forEach((x, i) => expect(b![i]).toBeCloseTo(x, 3))
  })

  it('weights stored as halves are values, not bit patterns: pruned and rounded like their f32 copies', async () => {
    const half = cast(weightAt(net, 'fc2.weight').dense(), 'f16')
    const stored = net.withWeights(new Map([['fc2.weight', new DenseWeight(half)]]))
    const plain = net.withWeights(new Map([['fc2.weight', new DenseWeight(cast(half, 'f32'))]]))
    for (const made of [[[quantize.rtn({ bits: 4 })]], [[prune.magnitude({ sparsity: 0.7 })], [quantize.rtn()]]]) {
      const [a, b] = await Promise.all([stored, plain].map((m) => compress(m, recipe(made))))
      expect(dense(weightAt(a!.model, 'fc2.weight'))).toEqual(dense(weightAt(b!.model, 'fc2.weight')))
      expect(a!.report.layers.find((l) => l.path === 'fc2.weight')!.error).toBeCloseTo(
        b!.report.layers.find((l) => l.path === 'fc2.weight')!.error,
        6,
      )
    }
  })

  it('warns below 4 bits without groups', async () => {
    const warnings: string[] = []
    const onEvent = (e: CompressEvent): void => void (e.type === 'warning' && warnings.push(e.message))
    await compress(net, recipe([[quantize.rtn({ bits: 2 })]]), { onEvent })
    await compress(net, recipe([[quantize.rtn({ bits: 2, layout: 'group' })]]), { onEvent })
    expect(warnings).toHaveLength(1)
  })

  it('extreme values: finite result, error within the scale (N02)', async () => {
    const values = new Float32Array(256)
    values.set([1e38, -3e38, 3e38, 1e-45, 0, 1e-30])
    const model = net.withWeights(new Map([['fc1.weight', new DenseWeight(tensor(values, [32, 8]))]]))
    for (const mode of ['symmetric', 'affine'] as const)
      for (const layout of ['tensor', 'channel', 'group'] as const) {
        const { model: small } = await compress(
          model,
          recipe([[quantize.rtn({ mode, layout, bits: 8, scales: 'f16' }, { targets: ['fc1'] })]]),
        )
        expect(dense(weightAt(small, 'fc1.weight')).every(Number.isFinite)).toBe(true)
      }
  })
})

describe('quantize/dynamic-int8', () => {
  it('linear layers meet u8 rows without calibration; kernels stay; files keep it', async () => {
    const { model } = await compress(net, recipe([[quantize.dynamic()]]))
    const w = weightAt(model, 'fc2.weight') as QuantizedWeight
    expect(w.description).toBe('int8 per channel, dynamic u8 input')
    expect(w.config()).toMatchObject({ bits: 8, input: 'dynamic' })
    expect(await of(model, data)).toBeGreaterThan((await of(net, data)) - 0.01)
    const { x } = data.batch([0, 1, 2])
    const [a, b] = [net, model].map((m) => scope(() => m.forward(tensor(x, [3, 8])).read() as Float32Array)) as [Float32Array, Float32Array]
    a.forEach((v, i) => expect(Math.abs(v - b[i]!)).toBeLessThan(0.1))
    expect(bitsOf(model)).not.toBe(bitsOf(net))
    const restored = weightKind('quantized').restore(w.parts(), w.config(), w.shape) as QuantizedWeight
    expect(restored.input).toBe('dynamic')
    expect([...restored.q.read()]).toEqual([...w.q.read()])
    const { model: same } = await compress(conv, recipe([[quantize.dynamic()]]))
    expect(weightAt(same, 'conv.weight').kind).toBe('dense')
  })
})

describe('quantize/static-int8', () => {
  it.each(['minmax', 'percentile', 'mse'] as const)('%s: integers end to end, the same answers', async (calibration) => {
    for (const [model, set] of [
      [net, data],
      [conv, images],
    ] as const) {
      const { model: small, report } = await compress(model, recipe([[quantize.static({ calibration, samples: 200 })]]), { data: set })
      for (const l of report.layers.filter((l) => l.role === 'matrix' || l.role === 'kernel')) {
        expect(l.after.description).toContain('u8 input')
        expect(l.error).toBeLessThan(0.01)
      }
      expect(await of(small, set)).toBeGreaterThanOrEqual((await of(model, set)) - 0.01)
      expect(report.bytesAfter).toBeLessThan(report.bytesBefore / 2)
    }
  })

  it("feedback: other codes at the same scales, nearer outputs by the layers' own account, the same answers", async () => {
    const run = (rounding: 'nearest' | 'feedback'): ReturnType<typeof compress> =>
      compress(net, recipe([[quantize.static({ calibration: 'minmax', rounding })]]), { data })
    const [plain, fed] = [await run('nearest'), await run('feedback')]
    const [a, b] = [plain, fed].map(({ model }) => weightAt(model, 'fc2.weight') as QuantizedWeight) as [QuantizedWeight, QuantizedWeight]
    expect(b.config()).toEqual(a.config())
    expect(b.scale.read()).toEqual(a.scale.read())
    expect(b.q.read()).not.toEqual(a.q.read())
    const share = Number(/weights (\S+) of/.exec(fed.report.passes[0]!.notes.find((n) => n.path === 'fc2.weight')!.text)![1])
    expect(share).toBeLessThan(0.9)
    expect(await of(fed.model, data)).toBeGreaterThanOrEqual((await of(net, data)) - 0.01)
  })

  it('scales are folded: the output is that of the integers, dequantized', async () => {
    const { model: small } = await compress(
      net,
      recipe([[quantize.static({ calibration: 'minmax', samples: 300 }, { targets: ['fc1'] })]]),
      { data },
    )
    const w = weightAt(small, 'fc1.weight') as QuantizedWeight
    const { scale, zero } = calibrated(w)
    const { x } = data.batch([0, 1, 2])
    const [codes, scales] = [w.q.read() as Int8Array, w.scale.read() as Float32Array]
    const bias = dense(weightAt(small, 'fc1.bias'))
    const layer = new Model(small.root.children.fc1!, small.info)
    const y = scope(() => layer.forward(tensor(x, [3, 8])).read()) as Float32Array
    for (let b = 0; b < 3; b++)
      for (let o = 0; o < 32; o++) {
        let sum = 0
        for (let i = 0; i < 8; i++) {
          const q = Math.min(255, Math.max(0, Math.round(x[b * 8 + i]! / scale) + zero))
          sum += (q - zero) * codes[o * 8 + i]!
        }
        expect(y[b * 32 + o]).toBeCloseTo(sum * scale * scales[o]! + bias[o]!, 3)
      }
  })

  it('zero is exact on both sides: pruned weights cost no error', async () => {
    const { model } = await compress(net, recipe([[prune.magnitude({ sparsity: 0.7 })], [quantize.static()]]), { data })
    for (const path of ['fc1.weight', 'fc2.weight', 'fc3.weight']) {
      const w = weightAt(model, path) as QuantizedWeight
      expect(w.nonzeros()).toBeLessThanOrEqual(Math.round(0.3 * w.q.size))
      const { zero } = calibrated(w)
      expect(Number.isInteger(zero) && zero >= 0 && zero <= 255).toBe(true)
    }
    // After a ReLU nothing is below 0: the zero point is the lowest code.
    expect(calibrated(weightAt(model, 'fc2.weight')).zero).toBe(0)
  })

  it('a layer that no example reaches is left and reported', async () => {
    const spare = { ...net.root, children: { ...net.root.children } }
    const unused = build(mlp().spec().children!.fc2!, freshValues(Rng.of(3, 'unused')))
    // A container that holds a layer but never runs it.
    const holder = { ...spare.children.relu1!, children: { unused } }
    const model = new Model({ ...spare, children: { ...spare.children, relu1: holder } }, net.info)
    const { report, model: small } = await compress(model, recipe([[quantize.static()]]), { data })
    expect(weightAt(small, 'relu1.unused.weight').kind).toBe('dense')
    expect(report.passes[0]!.notes).toContainEqual({ path: 'relu1.unused.weight', text: expect.stringContaining('no calibration example') })
    expect(weightAt(small, 'fc1.weight').kind).toBe('quantized')
  })

  it('NaN in the calibration data names layer and index (N01)', async () => {
    const features = new Float32Array(40 * 8).fill(0.5)
    features[3 * 8 + 2] = NaN
    const bad = numberDataset({ name: 'bad', features, inputShape: [8], labels: new Int32Array(40), classes: data.classes })
    await expect(compress(net, recipe([[quantize.static()]]), { data: bad })).rejects.toMatchObject({
      code: 'ERR_NUMERIC',
      details: { stage: 'calibration', tensor: 'fc1' },
    })
  })

  it('needs data', async () => {
    await expect(compress(net, recipe([[quantize.static()]]))).rejects.toMatchObject({
      code: 'ERR_OPTION',
      message: expect.stringContaining('needs data'),
    })
  })

  it('its memory does not grow with the number of examples', async () => {
    const peak = async (samples: number): Promise<number> => {
      let most = 0
      const onEvent = (e: CompressEvent): void => void (e.type === 'progress' && (most = Math.max(most, memory().bytes)))
      await compress(net, recipe([[quantize.static({ samples })]]), { data: blobs(samples), onEvent })
      return most
    }
    const [small, large] = [await peak(256), await peak(8192)]
    expect(large).toBeLessThan(small + 2 ** 20)
  })
})

describe('sparsify/csr', () => {
  it('the values do not change, and only what becomes smaller is converted', async () => {
    const { model, report } = await compress(net, recipe([[prune.magnitude({ sparsity: 0.9 }, { ignore: ['fc3'] })], [sparsify.csr()]]))
    const [pruned] = report.passes
    expect(weightAt(model, 'fc2.weight').kind).toBe('sparse')
    expect(weightAt(model, 'fc3.weight').kind).toBe('dense')
    expect(report.passes[1]!.notes).toContainEqual({
      path: 'fc3.weight',
      text: expect.stringMatching(/^left alone: 384 bytes as f32, \d+ stored sparsely$/),
    })
    for (const l of report.passes[1]!.layers) {
      expect(l.error).toBe(0)
      expect(l.after.bytes).toBeLessThan(l.before.bytes)
      expect(l.after.density).toBe(pruned!.layers.find((p) => p.path === l.path)!.after.density)
    }
  })

  it('codes stay codes; layers that compute on integers keep doing so', async () => {
    const stages = (q: ReturnType<typeof quantize.rtn>): Parameters<typeof recipe>[0] => [
      [prune.magnitude({ sparsity: 0.8 })],
      [q],
      [sparsify.csr()],
    ]
    const rtn = await compress(conv, recipe(stages(quantize.rtn({ bits: 8 }))), { data: images })
    expect(weightAt(rtn.model, 'fc.weight')).toMatchObject({ kind: 'sparse' })
    const statically = await compress(conv, recipe(stages(quantize.static())), { data: images })
    const w = weightAt(statically.model, 'fc.weight') as QuantizedWeight
    expect(w).toMatchObject({ kind: 'quantized', coding: 'sparse' })
    expect(w.input).not.toBeNull()
    const group = await compress(conv, recipe(stages(quantize.rtn({ bits: 4, layout: 'group' }))), { data: images })
    expect(weightAt(group.model, 'fc.weight').kind).toBe('quantized')
    for (const { report } of [rtn, statically, group]) for (const l of report.passes[2]!.layers) expect(l.error).toBe(0)
  })

  it('a saving that is not reached leaves everything', async () => {
    const { model } = await compress(net, recipe([[prune.magnitude({ sparsity: 0.6 })], [sparsify.csr({ saving: 0.99 })]]))
    expect(model.weights().map((w) => w.weight.kind)).not.toContain('sparse')
  })

  it('prune and quantize gain more together than either alone (A1.7)', async () => {
    const bytes = async (stages: Parameters<typeof recipe>[0]): Promise<number> =>
      (await compress(net, recipe(stages), { data })).report.bytesAfter
    const both = await bytes([[prune.magnitude({ sparsity: 0.8 })], [quantize.rtn()], [sparsify.csr()]])
    const alone = await Promise.all([bytes([[prune.magnitude({ sparsity: 0.8 })], [sparsify.csr()]]), bytes([[quantize.rtn()]])])
    expect(both).toBeLessThan(Math.min(...alone))
  })
})

it('nothing is left in memory but the result', async () => {
  const before = memory().tensors
  const { model } = await compress(conv, recipe([[prune.magnitude({ sparsity: 0.8 })], [quantize.static()], [sparsify.csr()]]), {
    data: images,
  })
  const bits = bitsOf(conv)
  const own = new Set(conv.weights().map((w) => w.weight))
  for (const { weight } of model.weights()) if (!own.has(weight)) weight.dispose()
  expect(memory().tensors).toBeLessThanOrEqual(before)
  expect(bitsOf(conv)).toBe(bits)
})
