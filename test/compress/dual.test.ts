/** Little twins in models: rules, files, sessions, resume. */
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, describe, expect, it, vi } from 'vitest'
import { grad } from '../../ts/autograd/index.js'
import { Rng } from '../../ts/base/rng.js'
import { code } from '../nn/lib.js'
import { compress, dual, language, quantize, recipe, sequencePairs, tokens } from '../../ts/compress/index.js'
import { languageModel, loadModel, saveModel, seq2seq } from '../../ts/models/index.js'
import { exportOnnx } from '../../ts/graph/export/index.js'
import { trace } from '../../ts/graph/trace.js'
import { memory } from '../../ts/native/devices.js'
import {
  activation,
  batchNorm,
  build,
  conv2d,
  DualWeight,
  flatten,
  freshValues,
  linear,
  Model,
  sequential,
  watchDual,
} from '../../ts/nn/index.js'
import { randomNormal, sum } from '../../ts/ops/index.js'
import { session } from '../../ts/runtime/index.js'
import { full, scope, tensor, type Tensor } from '../../ts/tensor/index.js'
import { bars, bitsOf, blobs, convnet, mlp } from './toys.js'

const folder = mkdtempSync(join(tmpdir(), 'tersor-dual-'))
afterAll(() => rmSync(folder, { recursive: true, force: true }))
const numbers = (t: Tensor): number[] => [...(t.read() as Float32Array)]

function words(cell: 'lstm' | 'gru', layers = 2): Model {
  const spec = languageModel({ vocabulary: 30, width: 24, hidden: 40, layers, cell })
  return new Model(build(spec, freshValues(Rng.of(4, 'words'))), { name: 'words', task: 'language', history: [] })
}
const text = Int32Array.from({ length: 1200 }, (_, i) => (i * i + (i >> 3)) % 30)
const task = language(text, { window: 12 })
const ids = tensor(text.slice(0, 40), [2, 20])
const duals = (m: Model): DualWeight[] => m.weights().flatMap(({ weight }) => (weight instanceof DualWeight ? [weight] : []))
async function twins(m: Model, options: Parameters<typeof dual.build>[0], extra = {}): Promise<Model> {
  return (await compress(m, recipe([[dual.build(options, { targets: ['rnn.**'] })]], { seed: 2 }), { task, ...extra })).model
}
/** Share of the products that the twins answered. */
function ratio(m: Model, x: Tensor): number {
  let [answered, all] = [0, 0]
  scope(() =>
    watchDual(
      (_, count, outputs) => {
        for (const n of count.read() as Int32Array) [answered, all] = [answered + n, all + outputs]
      },
      () => m.forward(x),
    ),
  )
  return answered / all
}

describe.each(['lstm', 'gru'] as const)('dual/build on a language model of %s layers', (cell) => {
  it('ratio 0 is the dense model bit for bit, the ratio is met, and the error grows with it', async () => {
    const model = words(cell, 1)
    const dense = numbers(model.forward(ids))
    const off: number[] = []
    for (const r of [0, 0.3, 0.9]) {
      const m = await twins(model, { ratio: r, k: 12 })
      expect(duals(m)).toHaveLength(2)
      const y = numbers(m.forward(ids))
      off.push(Math.max(...y.map((v, i) => Math.abs(v - dense[i]!))))
      if (r > 0) expect(ratio(m, ids)).toBeCloseTo(r, 2)
    }
    expect(off[0]).toBe(0)
    expect(off[1]).toBeGreaterThan(0)
    expect(off[2]).toBeGreaterThan(off[1]!)
    expect(off[2]).toBeLessThan(1)
  })

  it('thresholds are tuned to the ratio', async () => {
    for (const options of [{ rule: 'fixed' }, { rule: 'adaptive', bound: 'strict' }, { rule: 'adaptive', big: 'int8', bits: 16 }] as const)
      expect(
        Math.abs(
          ratio(await twins(words(cell, 1), { ...options, ratio: 0.4, k: 16, bits: 'bits' in options ? options.bits : 8 }), ids) - 0.4,
        ),
      ).toBeLessThan(0.08)
  })

  it('traces see the exact weights; ONNX has no such layers', async () => {
    const m = await twins(words(cell, 1), { ratio: 0.5, k: 16 })
    expect(scope(() => trace(m, ids).calls.length)).toBeGreaterThan(0)
    expect(() => exportOnnx(m, { example: ids })).toThrowError(code('ERR_UNSUPPORTED'))
  })

  it('files, sessions and exact inputs', async () => {
    const model = words(cell)
    const m = (
      await compress(model, recipe([[dual.build({ ratio: 0.5, bits: 4, big: 'int8' }, { targets: ['rnn.weight_hh*'] })]]), { task })
    ).model
    expect(duals(m)).toHaveLength(2)
    const file = join(folder, `${cell}.safetensors`)
    saveModel(m, file)
    const back = loadModel(file)
    expect(duals(back).map((w) => w.description)).toEqual(duals(m).map((w) => w.description))
    const want = numbers(m.forward(ids))
    expect(numbers(back.forward(ids))).toEqual(want)
    const s = session(m)
    const y = await s.run(ids)
    expect([...Object.values(y as unknown as Record<string, { data: Float32Array }>)[0]!.data]).toEqual(want)
    s.dispose()
  })
})

describe('dual/build', () => {
  it('linear layers in front of ReLU; others are left alone and said so', async () => {
    const model = mlp({ hidden: 64 })
    const data = blobs(120)
    const run = (options: Parameters<typeof dual.build>[0]): ReturnType<typeof compress> =>
      compress(model, recipe([[dual.build(options)]]), { data })
    const x = randomNormal([5, 8], { seed: 2 })
    const dense = numbers(model.forward(x))
    const { model: m, report } = await run({ ratio: 0.4, k: 4, rule: 'fixed' })
    expect(duals(m)).toHaveLength(2)
    expect(report.passes[0]!.notes.map((n) => n.path)).toContain('fc3')
    expect(Math.max(...numbers(m.forward(x)).map((v, i) => Math.abs(v - dense[i]!)))).toBeLessThan(1)
    expect(numbers((await run({ ratio: 0 })).model.forward(x))).toEqual(dense)
    const seer = (await run({ projection: 'none', bits: 4 })).model
    expect(duals(seer).map((w) => [w.k, w.projection])).toEqual([
      [8, null],
      [64, null],
    ])
    const images = await compress(convnet(), recipe([[dual.build({ ratio: 0.4 })]]), { data: bars(40) })
    expect(images.report.passes[0]!.notes.map((n) => n.text)).toContain(
      'left alone: convolutions get twins where the option "convolutions" asks for them',
    )
  })

  it('convolutions, where asked: a linear layer of patches, each place with rows of its own', async () => {
    const conv = {
      in: 2,
      out: 12,
      kernel: [3, 3] as [number, number],
      stride: [2, 1] as [number, number],
      padding: [1, 0] as [number, number],
    }
    const spec = sequential({
      first: conv2d({ ...conv, in: 1, out: 2, stride: [1, 1], padding: [1, 1], bias: true }),
      norm: batchNorm({ channels: 2 }),
      conv: conv2d({ ...conv, bias: true }),
      relu: activation({ function: 'relu' }),
      grouped: conv2d({ ...conv, in: 12, groups: 2, bias: true }),
      tanh: activation({ function: 'tanh' }),
      flat: flatten({}),
      out: linear({ in: 96, out: 2, bias: true, init: 'he' }),
    })
    const info = { name: 'images', task: 'classification' as const, classes: ['upright', 'lying'], inputShape: [1, 8, 8], history: [] }
    const model = new Model(build(spec, freshValues(Rng.of(2, 'init'))), info)
    const data = bars(60)
    const run = async (o: Parameters<typeof dual.build>[0]): ReturnType<typeof compress> =>
      compress(model, recipe([[dual.build({ convolutions: true, ...o })]]), { data })
    const x = randomNormal([3, 1, 8, 8], { seed: 2 })
    const dense = numbers(model.forward(x))
    expect(numbers((await run({ ratio: 0 })).model.forward(x))).toEqual(dense)
    const { model: m, report } = await run({ ratio: 0.5, k: 6, big: 'int8' })
    const { ratios, twins: built } = report.passes[0]!.figures as unknown as {
      ratios: Record<string, number[]>
      twins: Record<string, object>
    }
    expect(Object.keys(built)).toEqual(['conv'])
    expect(ratios).toEqual({ 'conv.weight': [0.5] })
    expect(report.passes[0]!.notes.map((n) => `${n.path}: ${n.text}`)).toEqual([
      'grouped.weight: left alone: a kernel of kind conv2d in groups has no twin',
      'first: left alone: no ReLU, sigmoid or tanh follows',
      'out: left alone: no ReLU, sigmoid or tanh follows',
    ])
    // The same twin as a linear layer, on patches that are cut here.
    const weight = duals(m)[0]!
    const [input, bias] = [randomNormal([2, 2, 5, 4], { seed: 6 }), randomNormal([12], { seed: 7 })]
    const values = numbers(input)
    const places = [0, 1].flatMap((b) => [0, 1, 2].flatMap((i) => [0, 1].map((j) => [b, i, j] as const)))
    const patches = places.flatMap(([b, i, j]) =>
      [0, 1].flatMap((c) =>
        Array.from({ length: 9 }, (_, t) => {
          const [row, column] = [2 * i - 1 + Math.floor(t / 3), j + (t % 3)]
          return row < 0 || row > 4 ? 0 : values[((b * 2 + c) * 5 + row) * 4 + column]!
        }),
      ),
    )
    const rows = numbers(weight.apply(tensor(Float32Array.from(patches), [12, 18]), { op: 'linear', bias }))
    const image = numbers(weight.apply(input, { op: 'conv2d', bias, stride: [2, 1], padding: [1, 0] }))
    places.forEach(([b, i, j], p) => {
      for (let n = 0; n < 12; n++) expect(image[((b * 12 + n) * 3 + i) * 2 + j]).toBe(rows[p * 12 + n])
    })
    const file = join(folder, 'images.safetensors')
    saveModel(m, file)
    const want = numbers(m.forward(x))
    expect(want).not.toEqual(dense)
    expect(numbers(loadModel(file).forward(x))).toEqual(want)
    const s = session(m)
    const y = await s.run(x)
    // The session folds the norm.
    const got = Object.values(y as unknown as Record<string, { data: Float32Array }>)[0]!.data
    expect(Math.max(...got.map((v, n) => Math.abs(v - want[n]!)))).toBeLessThan(1e-5)
    s.dispose()
  })

  it('the report says what the twins answered, step by step', async () => {
    const made = async (options: Parameters<typeof dual.build>[0]): Promise<Record<string, number[]>> => {
      const { report } = await compress(words('lstm'), recipe([[dual.build(options, { targets: ['rnn.weight_hh*'] })]], { seed: 2 }), {
        task,
      })
      return report.passes[0]!.figures.ratios as unknown as Record<string, number[]>
    }
    const exact = await made({ ratio: 0.25 })
    expect(exact).toEqual({ 'rnn.weight_hh_l0': Array(12).fill(0.25), 'rnn.weight_hh_l1': Array(12).fill(0.25) })
    const moving = Object.values(await made({ ratio: 0.5, rule: 'adaptive' }))
    for (const ratios of moving) {
      expect(new Set(ratios).size).toBeGreaterThan(1)
      expect(ratios.every((r) => r >= 0 && r <= 1)).toBe(true)
    }
  })

  it('pairs of sequences begin from the zero state, whatever batch was before, and batches may differ in size', async () => {
    const spec = seq2seq({ sourceVocabulary: 8, targetVocabulary: 8, width: 12 })
    const model = new Model(build(spec, freshValues(Rng.of(5, 'pairs'))), { name: 'pairs', task: 'tokens', history: [] })
    const pairs = Array.from({ length: 38 }, (_, i) => [[3 + (i % 5), 3 + (i % 3)], [3 + (i % 4)]] as const)
    const own = tokens(sequencePairs({ name: 'pairs', pairs, begin: 1, end: 2, pad: 0 }))
    const { report } = await compress(model, recipe([[dual.build({}, { targets: ['encoder1.**'] })]]), { task: own })
    // The last of the batches of 16 has 6.
    expect(Object.keys(report.passes[0]!.figures.twins as object)).toEqual(['encoder1_l0'])
  })

  it('an interrupted run that is resumed gives the same bits; an aborted one leaves no tensors', async () => {
    const model = words('lstm', 1)
    const made = recipe([[dual.build({ ratio: 0.5, rule: 'adaptive' }, { targets: ['rnn.**'] })]], { seed: 9 })
    const straight = bitsOf((await compress(model, made, { task })).model)
    const before = memory().tensors
    const controller = new AbortController()
    const dir = join(folder, 'resume')
    const options = { task, checkpointDir: dir, checkpointSeconds: 0 }
    await expect(
      compress(model, made, { ...options, signal: controller.signal, onEvent: (e) => e.type === 'progress' && controller.abort() }),
    ).rejects.toThrowError(code('ERR_ABORTED'))
    expect(memory().tensors).toBe(before)
    expect(bitsOf((await compress(model, made, { ...options, resume: true })).model)).toEqual(straight)
  })

  it('ended at any place it leaves no tensors; neither does a sweep over data that finds nothing to do', async () => {
    const model = words('lstm', 1)
    const pass = dual.build({ bits: 4 }, { targets: ['rnn.**'] })
    const { apply } = dual.build.definition
    const whole = async (last: number): Promise<number> => {
      let calls = 0
      const breathe = async (): Promise<void> => {
        if (++calls > last) throw new Error('enough')
      }
      const spy = vi.spyOn(dual.build.definition as { apply: typeof apply }, 'apply')
      spy.mockImplementation((m, context) => apply(m, { ...context, breathe }))
      const before = memory().tensors
      const found = await compress(model, recipe([[pass]]), { task }).catch((error: unknown) => {
        expect(error).toMatchObject({ message: 'enough' })
      })
      spy.mockRestore()
      if (!found) expect(memory().tensors, `call ${last}`).toBe(before)
      else for (const w of duals(found.model)) w.dispose()
      return calls
    }
    const calls = await whole(Infinity)
    expect(calls).toBeGreaterThan(20)
    for (let last = calls - 20; last < calls; last++) await whole(last)
    const [net, before] = [mlp(), memory().tensors]
    await compress(net, recipe([[dual.build({}, { targets: ['fc3.weight'] })]]), { data: blobs(70) })
    expect(memory().tensors).toBe(before)
    net.dispose()
  })

  it('trains through the exact weights; ONNX has no form for twins', async () => {
    const model = mlp({ hidden: 64 })
    const { model: m } = await compress(model, recipe([[dual.build({ ratio: 1, k: 4 })]]), { data: blobs(120) })
    scope(() => {
      const x = randomNormal([5, 8], { seed: 2 })
      const slope = (net: Model): number[] => numbers(grad(() => sum(net.forward(x, { training: true }), [], false), [x])[0]!)
      expect(slope(m)).toEqual(slope(model))
      const refused = code('ERR_UNSUPPORTED')
      expect(() => exportOnnx(m, { example: x })).toThrowError(refused)
    })
    const both = await twins(words('lstm', 1), { ratio: 0.5 })
    expect(() => exportOnnx(both, { example: ids })).toThrowError(code('ERR_UNSUPPORTED'))
  })

  it('leaves weights alone that are not f32', async () => {
    const data = blobs(60)
    const { model: shared } = await compress(mlp({ hidden: 16 }), recipe([[quantize.codebook()]]), { data })
    const { model: m, report } = await compress(shared, recipe([[dual.build()]]), { data })
    expect(duals(m)).toHaveLength(0)
    expect(report.passes[0]!.notes.map((n) => n.path)).toContain('fc1.weight')
  })

  it('refuses options that cannot be', async () => {
    for (const bad of [{ epsilon: 1 }, { ratio: 1.1 }, { bits: 3 }, { k: 0 }, { rule: 'best' }])
      await expect(
        compress(mlp(), { recipe: 1, seed: 1, stages: [[{ pass: 'dual/build', version: 1, options: bad }]] }, { data: blobs(9) }),
      ).rejects.toThrowError(code('ERR_RECIPE'))
    await expect(compress(mlp(), recipe([[dual.build()]]))).rejects.toThrowError(code('ERR_OPTION'))
    const big = full([4, 6], 1)
    expect(
      () =>
        new DualWeight({
          big: { shape: [4, 6] } as never,
          little: { shape: [4, 2] } as never,
          k: 3,
          copies: 1,
          projection: null,
          side: 'below',
          choice: { rule: 'top-k', ratio: 0 },
        }),
    ).toThrowError(code('ERR_SHAPE'))
    big.dispose()
  })
})
