/**
 * Whole uses of models on a device (emulated) without a word of it in between: texts, translations, an int8 recipe with convolutions. Which ops have no kernel is
 * a list, so that one more is seen.
 */
import { afterEach, beforeAll, describe, expect, it } from 'vitest'
import { Rng } from '../../ts/base/rng.js'
import { numberDataset } from '../../ts/data/index.js'
import {
  compress,
  deviceLibrary,
  evaluate,
  memory,
  ops,
  presets,
  scope,
  session,
  setDefaultDevice,
  tensor,
  toDevice,
  type Device,
  type Tensor,
} from '../../ts/index.js'
import { causalLanguage, generate, languageModel, seq2seq, translate } from '../../ts/models/index.js'
import { opRows } from '../../ts/native/ops.gen.js'
import { activation, build, conv2d, flatten, freshValues, linear, Model, sequential, type ModuleSpec } from '../../ts/nn/index.js'
import { emulatedDevice, hasEmulated } from './emulated-device.js'


function made(spec: ModuleSpec, task: 'language' | 'classification' = 'language', more = {}): Model {
  const values = freshValues(Rng.of(4, 'device models'))
  // Wide scores: fresh weights score all tokens nearly alike.
  const weight: typeof values.weight = (at, shape, init) => values.weight(at, shape, (rng) => init(rng).map((v) => 4 * v))
  return new Model(build(spec, { ...values, weight }), { name: 'net', task, history: [], ...more })
}

describe.skipIf(!hasEmulated)('models on a CUDA device (emulated)', () => {
  let cuda: Device
  beforeAll(() => {
    cuda = emulatedDevice()
  })
  afterEach(() => {
    setDefaultDevice('cpu')
    expect(cuda.fallback).toBe(false)
  })

  it('every op has a kernel but those of files and of plans of the processor', () => {
    const have = new Set(deviceLibrary()!.rows.map((row) => row.split(' ')[0]))
    const missing = opRows.map((row) => row.name).filter((name) => !have.has(name))
    expect(missing.sort()).toEqual([
      ...['block_encode', 'conv2d_last', 'conv2d_last_pack', 'conv2d_winograd', 'conv2d_winograd_pack', 'pool2d_last', 'qconv2d_last'],
      ...['sparse_decode', 'sparse_encode'],
    ])
  })

  it.each(['lstm', 'gru'] as const)('%s: generates the text of the processor', (cell) => {
    const here = made(languageModel({ vocabulary: 12, width: 8, hidden: 8, layers: 1, cell }))
    const there = toDevice(here, 'cuda')
    const before = memory().tensors
    expect(generate(there, [3, 1, 4], { tokens: 8 })).toEqual(generate(here, [3, 1, 4], { tokens: 8 }))
    expect(memory().tensors).toBe(before)
    for (const m of [here, there]) m.dispose()
  })

  it('a transformer writes the text of the processor, with keys and values kept there', () => {
    const body = { vocabulary: 9, embedding: 8, width: 8, layers: 2, distinct: 2, heads: 2, hidden: 16, positions: 12, activation: 'gelu', eps: 1e-5, norm: 'pre', causal: true } as const
    const here = made(causalLanguage({ body, tied: false }))
    const there = toDevice(here, 'cuda')
    const before = memory().tensors
    expect(generate(there, [3, 1, 4], { tokens: 6, topK: 3, seed: 2 })).toEqual(generate(here, [3, 1, 4], { tokens: 6, topK: 3, seed: 2 }))
    expect(memory().tensors).toBe(before)
    for (const m of [here, there]) m.dispose()
  })

  it('translates as the processor, with a beam', () => {
    const here = made(seq2seq({ sourceVocabulary: 8, targetVocabulary: 5, width: 6, attention: 'luong', layers: 2 }), 'classification')
    const there = toDevice(here, 'cuda')
    const run = (m: Model) => translate(m, [[3, 5, 4], [7]], { begin: 1, end: 2, width: 3, maxLength: 4 })
    const [want, got] = [run(here), run(there)]
    expect(got.map((list) => list.map((r) => r.tokens))).toEqual(want.map((list) => list.map((r) => r.tokens)))
    got.flat().forEach((r, i) => expect(r.score).toBeCloseTo(want.flat()[i]!.score, 4))
    for (const m of [here, there]) m.dispose()
  })

  it('int8 with static ranges: convolutions, in groups too, and linear layers give the bits of the processor', async () => {
    const [samples, width] = [24, 36]
    const features = Float32Array.from({ length: samples * width }, (_, i) => Math.sin(Math.floor(i / width) * 1.7 + (i % width)))
    const labels = Int32Array.from({ length: samples }, (_, i) => i % 2)
    const data = numberDataset({ name: 'waves', classes: ['down', 'up'], inputShape: [1, 6, 6], features, labels, scale: 1 })
    const spec = sequential({
      a: conv2d({ in: 1, out: 4, kernel: [3, 3], padding: [[1, 1], [1, 1]], bias: true, init: 'he' }),
      r: activation({ function: 'relu' }),
      d: conv2d({ in: 4, out: 4, kernel: [3, 3], padding: [[2, 2], [2, 2]], dilation: [2, 2], groups: 4, bias: true, init: 'he' }),
      g: conv2d({ in: 4, out: 6, kernel: [2, 3], padding: [[0, 1], [1, 1]], groups: 2, bias: true, init: 'he' }),
      f: flatten({}),
      b: linear({ in: 216, out: 2, bias: true, init: 'he' }),
    })
    const here = made(spec, 'classification', { classes: data.classes, inputShape: [1, 6, 6] })
    const small = await compress(here, presets['int8-static']!.recipe, { data })
    const there = toDevice(small.model, 'cuda')
    expect((await evaluate(there, data)).accuracy).toBe((await evaluate(small.model, data)).accuracy)
    const input = { data: features.slice(0, 2 * width), shape: [2, 1, 6, 6] }
    const [s, t] = [session(there), session(small.model)]
    const [got, want] = [await s.run(input), await t.run(input)]
    expect(got.output!.data).toEqual(want.output!.data)
    for (const one of [s, t]) one.dispose()
    for (const m of [here, there, small.model]) m.dispose()
  })

  it('products of a plan take in what follows them, with the values of the calls one by one', async () => {
    const values = (n: number, seed: number): Float32Array => Float32Array.from({ length: n }, (_, i) => Math.sin((i + 1) * seed))
    const codes = (n: number): Int8Array => Int8Array.from({ length: n }, (_, i) => ((i * 37) % 15) - 7)
    const kept: Tensor[] = []
    const there = (data: Float32Array | Int8Array, shape: number[]): Tensor => {
      const t = scope(() => tensor(data, shape).to(cuda))
      kept.push(t)
      return t
    }
    const [w, bias, scale, scales] = [there(values(64, 0.7), [8, 8]), there(values(8, 0.3), [8]), there(values(8, 0.01), [8]), there(values(8, 0.02), [8, 1])]
    const packed = ops.qgemmPack(there(codes(64), [8, 8]))
    const small = ops.wgemmPack(there(codes(64), [8, 8]), scales, null, 4)
    kept.push(packed, small)
    const layers = (x: Tensor): Tensor => {
      const a = ops.gelu(ops.linear(x, w, bias)) // linear, activation
      const b = ops.add(ops.qlinearDynamic(a, packed, scale, bias, null, 8, true, 'none'), a) // int8 and an addition, of which the other part is read again
      const c = ops.add(b, ops.relu(ops.wgemm(b, small, null, null, 8, 'none'))) // 4 bits, activation, addition
      return ops.tanh(ops.linear(c, w, null)) // linear without a bias
    }
    const input = { data: values(40, 1.1), shape: [5, 8] }
    const [fused, plain] = [session(layers, { device: 'cuda' }), session(layers, { device: 'cuda', fuse: false })]
    expect([fused.prepare(input), plain.prepare(input)]).toMatchObject([
      { planned: true, steps: 4 },
      { planned: true, steps: 9 },
    ])
    const [got, want] = [await fused.run(input), await plain.run(input)]
    ;[...got.output!.data].forEach((v, i) => expect(v).toBeCloseTo(Number(want.output!.data[i]), 6))
    expect(cuda.fallback).toBe(false)
    for (const one of [fused, plain, ...kept]) one.dispose()
  })
})
