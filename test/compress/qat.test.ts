/** quantize/qat: what comes out computes what was trained, in the kinds of weights that post-training passes make; interrupted = never interrupted. */
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { evaluateClassifier } from '../../ts/compress/train/tasks/classification.js'
import {
  compress,
  fakeModel,
  hardenModel,
  normsBehind,
  prune,
  quantize,
  recipe,
  train,
  type CompressOptions,
  type CompressResult,
  type TrainResult,
} from '../../ts/compress/index.js'
import { Rng } from '../../ts/base/rng.js'
import { memory } from '../../ts/native/devices.js'
import {
  batchNorm,
  build,
  conv2d,
  defineModule,
  FakeWeight,
  freshValues,
  linear,
  lstm,
  Model,
  QuantizedWeight,
  runChild,
  sequential,
  type FakeConfig,
  type ModuleSpec,
} from '../../ts/nn/index.js'
import { scope, tensor } from '../../ts/tensor/index.js'
import { z } from 'zod'
import { parseOnnx } from '../../ts/formats/onnx/index.js'
import { modelFromOnnx } from '../../ts/graph/index.js'
import { basicBlock } from '../../ts/models/vision/index.js'
import { add, relu } from '../../ts/ops/index.js'
import { constant, model as onnxModel, node, random, value } from '../graph/build.js'
import { bars, bitsOf, blobs, convnet, mlp, quick } from './toys.js'

const data = bars(160)
const validation = bars(100, 2)
const points = blobs(200)
const folder = mkdtempSync(join(tmpdir(), 'tersor-qat-'))
afterAll(() => rmSync(folder, { recursive: true, force: true }))

let conv: TrainResult
let dense: TrainResult
beforeAll(async () => {
  conv = await train(convnet(), data, quick)
  dense = await train(mlp(), points, quick)
})

const finetune = train.finetune({ epochs: 1, lr: 0.01 })
const accuracy = (m: Model): Promise<number> => evaluateClassifier(m, validation, () => Promise.resolve()).then((r) => r.accuracy)
const run = (model: Model, options: Parameters<typeof quantize.qat>[0], more: Partial<CompressOptions> = {}): Promise<CompressResult> =>
  compress(model, recipe([[quantize.qat({ retrain: finetune, ...options })]], { seed: 3 }), { data, ...more })

describe('the result', () => {
  it.each([
    ['jacob', { scheme: 'jacob' as const }],
    ['q8bert', { scheme: 'q8bert' as const }],
    ['lsq, 4 bits', { scheme: 'lsq' as const, bits: 4, inputs: 4 as const }],
    ['per channel, batch norm goes on learning', { layout: 'channel' as const, freezeNorms: false }],
  ])('%s: codes on integer kernels, 4x smaller or more, as accurate; the source is untouched', async (_name, options) => {
    const before = bitsOf(conv.model)
    const { model, report } = await run(conv.model, options)
    const kinds = new Map(model.weights().map(({ path, weight }) => [path, weight]))
    for (const path of ['conv.weight', 'fc.weight']) {
      const w = kinds.get(path) as QuantizedWeight
      expect(w).toBeInstanceOf(QuantizedWeight)
      expect(w.input).toMatchObject({ scale: expect.any(Number) as number })
      expect(w.bits).toBe('bits' in options ? options.bits : 8)
    }
    expect(model.root.children.norm!.config).toEqual(conv.model.root.children.norm!.config)
    expect(bitsOf(conv.model)).toBe(before)
    expect(await accuracy(model)).toBeGreaterThanOrEqual((await accuracy(conv.model)) - 0.03)
    const [outcome] = report.passes
    expect(outcome!.notes).toEqual([])
    expect(outcome!.figures).toMatchObject({ steps: 5 })
    model.dispose()
  })

  it('weights alone: nothing but the weights is rounded, at 2 bits per group with affine codes', async () => {
    const { model } = await run(dense.model, { bits: 2, inputs: 'none', layout: 'group', groupSize: 8, mode: 'affine' }, { data: points })
    const w = model.weights().find(({ path }) => path === 'fc2.weight')!.weight as QuantizedWeight
    expect(w.description).toBe('int2 g8 affine')
    expect(w.input).toBe(null)
  })

  it('single weights with bits of their own; a path that is none is refused', async () => {
    const options = { inputs: 'none', bits: 8, layout: 'channel' } as const
    const { model } = await run(conv.model, { ...options, weightBits: { 'fc.weight': 3 } })
    expect(model.weights().flatMap(({ path, weight }) => (weight instanceof QuantizedWeight ? [[path, weight.bits]] : []))).toEqual([['conv.weight', 8], ['fc.weight', 3]]) // prettier-ignore
    await expect(run(conv.model, { ...options, weightBits: { 'fc9.weight': 3 } })).rejects.toMatchObject({ code: 'ERR_OPTION' })
  })

  it('pruned weights stay exactly 0', async () => {
    const made = recipe([[prune.magnitude({ sparsity: 0.6 })], [quantize.qat({ retrain: finetune, scheme: 'lsq', bits: 3 })]])
    const { model } = await compress(dense.model, made, { data: points })
    for (const path of ['fc1.weight', 'fc2.weight']) {
      const w = model.weights().find((p) => p.path === path)!.weight
      expect(w.nonzeros()).toBeLessThanOrEqual(Math.ceil(0.4 * w.shape[0]! * w.shape[1]!))
    }
  })

  it('recurrent weights are rounded while they train and give codes', () =>
    scope(() => {
      const root = build(
        sequential({ rnn: lstm({ in: 4, hidden: 6 } as never), head: linear({ in: 6, out: 2, bias: true, init: 'he' }) }),
        freshValues(Rng.of(1, 'init')),
      )
      const model = new Model(root, { name: 'lstm', task: 'tokens', history: [] })
      const plan: FakeConfig = { bits: 8, layout: 'channel', groups: 1, mode: 'symmetric', gradient: 'clipped' }
      const fake = fakeModel(
        model,
        model.weights().filter((w) => w.role === 'matrix'),
        () => ({ weight: plan }),
        false,
      )
      expect(fake.weights().filter(({ weight }) => weight instanceof FakeWeight)).toHaveLength(3)
      const x = tensor(
        Float32Array.from({ length: 2 * 3 * 4 }, (_, i) => Math.sin(i)),
        [2, 3, 4],
      )
      const [soft, plain] = [fake, model].map((m) => Array.from(m.predict(x).read(), Number))
      expect(soft).not.toEqual(plain)
      const hard = Array.from(hardenModel(fake, model).predict(x).read(), Number)
      hard.forEach((v, i) => expect(Math.abs(v - soft![i]!)).toBeLessThan(1e-5))
    }))
})

describe('what was trained is what the codes compute', () => {
  const plan = (more: Partial<FakeConfig>): FakeConfig => ({
    bits: 8,
    layout: 'tensor',
    groups: 1,
    mode: 'symmetric',
    gradient: 'clipped',
    ...more,
  })
  const input = { bits: 8, mode: 'affine', signed: true, decay: 0.9, delay: 2, gradient: 'clipped' } as const

  it.each([
    ['8 bits', {}],
    ['4 bits, learned', { bits: 4, gradient: 'learned' as const }],
  ])('%s: convolution with a folded batch norm that goes on learning, pooling, linear', async (_name, scheme) => {
    expect([...normsBehind(conv.model)]).toEqual([['conv.weight', 'norm']])
    const targets = conv.model.weights().filter((w) => w.name === 'weight' && w.role !== 'vector')
    const norms = normsBehind(conv.model)
    const fake = fakeModel(
      conv.model,
      targets,
      ({ path }) => ({ weight: { ...plan(scheme), ...(norms.has(path) ? { fold: norms.get(path)! } : {}) }, input: { config: input } }),
      false,
    )
    const { model: trained } = await train(fake, data, { ...quick, epochs: 1, schedule: { kind: 'constant', lr: 0.01 } })
    // Statistics of inputs were carried along.
    const w = trained.weights().find(({ path }) => path === 'conv.weight')!.weight as FakeWeight
    expect((w.input!.value.read() as Float32Array)[2]).toBe(5)
    scope(() => {
      const x = data.batch(Uint32Array.from({ length: 16 }, (_, i) => i)).x
      const soft = Array.from(trained.predict(tensor(x, [16, 1, 8, 8])).read(), Number)
      // On one grid as it stands when the norm is folded.
      const norm = trained.root.children.norm!
      const factor = Array.from(norm.weights.gamma!.dense().read(), Number).map(
        (g, i) => g / Math.sqrt(Number(norm.state.variance!.read()[i]) + 1e-5),
      )
      const hard = hardenModel(trained, conv.model)
      const codes = hard.weights().find(({ path }) => path === 'conv.weight')!.weight as QuantizedWeight
      expect(codes.layout).toBe('channel')
      const folded = Array.from(codes.scale.read() as Float32Array, (s, i) => s * Math.abs(factor[i]!))
      folded.forEach((s) => expect(s / folded[0]!).toBeCloseTo(1, 5))
      const exact = Array.from(hard.predict(tensor(x, [16, 1, 8, 8])).read(), Number)
      exact.forEach((v, i) => expect(Math.abs(v - soft[i]!)).toBeLessThan(2e-3))
      hard.dispose()
    })
  })
})

describe('resume and memory', () => {
  it('interrupted anywhere and continued = never interrupted', async () => {
    const options = { scheme: 'lsq' as const, bits: 4, retrain: train.finetune({ epochs: 2, lr: 0.01 }) }
    const straight = await run(conv.model, options)
    let interruptions = 0
    for (const at of [6, 9, 12]) {
      const dir = join(folder, `at${at}`)
      const stop = new AbortController()
      let seen = 0
      const go = { checkpointDir: dir, checkpointSeconds: 0 }
      try {
        await run(conv.model, options, { ...go, signal: stop.signal, onEvent: () => void (++seen === at && stop.abort()) })
      } catch (error) {
        expect(error).toMatchObject({ code: 'ERR_ABORTED' })
        interruptions++
      }
      const { model } = await run(conv.model, options, { ...go, resume: true })
      expect(bitsOf(model)).toBe(bitsOf(straight.model))
    }
    expect(interruptions).toBe(3)
  })

  it('frees everything, also behind an abort', async () => {
    const before = memory().tensors
    const { model } = await run(conv.model, { scheme: 'jacob' })
    model.dispose()
    const stop = new AbortController()
    await expect(
      run(conv.model, {}, { signal: stop.signal, onEvent: (e) => void (e.type === 'train-start' && stop.abort()) }),
    ).rejects.toMatchObject({
      code: 'ERR_ABORTED',
    })
    // Tensors that both models share went with the first.
    expect(memory().tensors).toBeLessThanOrEqual(before)
  })
})

it('refuses what cannot be trained or computed, with the place', async () => {
  const refused = async (options: Parameters<typeof quantize.qat>[0], pointer: string): Promise<void> => {
    await expect(Promise.resolve().then(() => recipe([[quantize.qat(options)]]))).rejects.toMatchObject({
      code: 'ERR_RECIPE',
      details: { pointer },
    })
  }
  const at = (path: string): string => `/stages/0/0/options/${path}`
  await refused({ mode: 'affine' }, at('mode'))
  await refused({ layout: 'group' }, at('layout'))
  await refused({ retrain: { kind: 'none' } }, at('retrain/kind'))
  await refused({ bits: 1 }, at('bits'))
  await expect(compress(mlp(), recipe([[quantize.qat({})]]), { data: points })).rejects.toMatchObject({
    code: 'ERR_OPTION',
    details: { pointer: '/training' },
  })
})

describe('batch norms and the layers before them', () => {
  /** Its children are listed in another order than they run: a -> m, relu, b, relu -> n, and c goes into a sum first. */
  const crossed = defineModule<Record<string, never>>({
    kind: 'test.crossed',
    config: z.strictObject({}),
    weights: () => ({}),
    forward: (m, _c, x, ctx) => {
      const child = (name: string, from: typeof x): ReturnType<typeof runChild> => runChild(m, name, from, ctx)
      const h = relu(child('m', child('a', x)))
      const y = child('n', relu(child('b', h)))
      return child('o', add(child('c', y), y))
    },
  })
  const conv = conv2d({ in: 2, out: 2, kernel: [3, 3], padding: [1, 1], bias: true })
  const norm = batchNorm({ channels: 2 })
  const of = (spec: ModuleSpec, inputShape?: readonly number[]): Model =>
    new Model(build(spec, freshValues(Rng.of(1, 'norms'))), {
      name: 'norms',
      task: 'classification',
      history: [],
      ...(inputShape ? { inputShape } : {}),
    })

  it('follow the data, not the order of children; without an input only what runs in order is known', () => {
    const before = memory().tensors
    const parts = { a: conv, n: norm, b: conv, m: norm, c: conv, o: norm }
    const model = of(crossed({}, parts), [2, 6, 6])
    expect([...normsBehind(model)]).toEqual([['a.weight', 'm']])
    const blind = of(sequential({ cross: crossed({}, parts), last: conv, norm, same: conv, relu: norm }))
    expect([...normsBehind(blind)]).toEqual([
      ['last.weight', 'norm'],
      ['same.weight', 'relu'],
    ])
    const block = of(sequential({ block: basicBlock({ in: 2, out: 4, stride: 2 }) }), [2, 6, 6])
    expect(Object.fromEntries(normsBehind(block))).toEqual({
      'block.conv1.weight': 'block.bn1',
      'block.conv2.weight': 'block.bn2',
      'block.downsample.0.weight': 'block.downsample.1',
    })
    for (const m of [model, blind, block]) m.dispose()
    expect(memory().tensors).toBe(before)
  })

  it('of imported graphs: the only node that takes what a layer gives', () => {
    const draw = random(3)
    const kernels = ['w1', 'w2', 'w3'].map((name) => constant(name, [2, 2, 3, 3], draw(36)))
    const statistics = ['g', 'b', 'mu', 'v'].map((name) => constant(name, [2], [1, 2]))
    const convolution = (x: string, w: string, y: string): ReturnType<typeof node> => node('Conv', [x, w], [y], { pads: [1, 1, 1, 1] })
    const batch = (x: string, y: string): ReturnType<typeof node> => node('BatchNormalization', [x, 'g', 'b', 'mu', `v${y}`], [y])
    const model = modelFromOnnx(
      parseOnnx(
        onnxModel({
          // The first product is used twice, the second has a function behind it.
          node: [
            convolution('x', 'w1', 'p'),
            convolution('p', 'w2', 'q'),
            node('Relu', ['q'], ['r']),
            convolution('x', 'w3', 's'),
            batch('p', '1'),
            batch('r', '2'),
            batch('s', '3'),
            node('Sum', ['1', '2', '3'], ['y']),
          ],
          initializer: [...kernels, ...statistics.slice(0, 3), ...['v1', 'v2', 'v3'].map((name, i) => constant(name, [2], [1, 2 + i]))],
          input: [value('x', ['batch', 2, 6, 6])],
          output: [value('y')],
        }),
      ),
    )
    const found = [...normsBehind(model)]
    expect(found).toHaveLength(1)
    expect(found[0]![0]).toBe('Conv_s.weight')
    expect(model.root.children[found[0]![1]]!.state.variance!.read()).toEqual(new Float32Array([1, 4]))
  })
})
