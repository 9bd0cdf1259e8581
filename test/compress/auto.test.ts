/** quantize/auto: keeps its budget, restores the layers that cost most, measures little, resumes to the same bytes. */
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import {
  compress,
  quantize,
  recipe,
  regression,
  regressionData,
  train,
  type CompressEvent,
  type CompressOptions,
  type CompressResult,
} from '../../ts/compress/index.js'
import { evaluateClassifier } from '../../ts/compress/train/tasks/classification.js'
import { Rng } from '../../ts/base/rng.js'
import { assignment, stepsOf } from '../../ts/compress/quantize/auto-steps.js'
import { memory } from '../../ts/native/devices.js'
import { activation, affine, build, DenseWeight, freshValues, linear, Model, sequential } from '../../ts/nn/index.js'
import { scope, tensor } from '../../ts/tensor/index.js'
import { bitsOf, blobs, mlp, quick } from './toys.js'

const data = blobs(300)
const held = blobs(200, { seed: 3 })
const dir = mkdtempSync(join(tmpdir(), 'tersor-auto-'))
afterAll(() => rmSync(dir, { recursive: true, force: true }))
let net: Model
/** The same function, but the input of fc2 has a channel 3000 times as large as the others, which fc2 takes 3000 times as small. */
let hard: Model
beforeAll(async () => {
  net = (await train(mlp(), data, quick)).model
  const values = (path: string): Float32Array =>
    scope(() =>
      Float32Array.from(
        net
          .weights()
          .find((w) => w.path === path)!
          .weight.dense()
          .read() as Float32Array,
      ),
    )
  const [w1, b1, w2] = [values('fc1.weight'), values('fc1.bias'), values('fc2.weight')]
  const row = [...Array(32).keys()].sort((a, b) => energy(w1, b) - energy(w1, a))[0]!
  for (let j = 0; j < 8; j++) w1[row * 8 + j]! *= 3000
  b1[row]! *= 3000
  for (let r = 0; r < 32; r++) w2[r * 32 + row]! /= 3000
  hard = net.withWeights(
    new Map([
      ['fc1.weight', new DenseWeight(tensor(w1, [32, 8]))],
      ['fc1.bias', new DenseWeight(tensor(b1, [32]))],
      ['fc2.weight', new DenseWeight(tensor(w2, [32, 32]))],
    ]),
  )
})
const energy = (w: Float32Array, r: number): number => w.subarray(8 * r, 8 * r + 8).reduce((sum, x) => sum + x * x, 0)
const accuracy = async (m: Model): Promise<number> => 100 * (await evaluateClassifier(m, held, async () => {})).accuracy
const figures = ({ report }: CompressResult): Record<string, unknown> => report.passes[0]!.figures
const kinds = (m: Model): Record<string, string> =>
  Object.fromEntries(m.weights().filter((w) => w.name === 'weight').map((w) => [w.path, w.weight.description])) // prettier-ignore
const run = (m: Model, o: Parameters<typeof quantize.auto>[0], more: Partial<CompressOptions> = {}): Promise<CompressResult> =>
  compress(m, recipe([[quantize.auto(o)]]), { data, validation: held, ...more })

describe('steps', () => {
  const layer = (name: string, recurrent = false): { name: string; int8: object; weights: object } => {
    const weights = {}
    return { name, weights, int8: recurrent ? weights : {} }
  }
  it('take the largest error away first; a layer whose input is to blame keeps its 8-bit weight for a while', () => {
    const [a, b, c] = [layer('a'), layer('b'), layer('c', true)]
    const steps = stepsOf([a, b, c], [{ int8: 5, weights: 1 }, { int8: 4.5, weights: 4 }, { int8: 0.5, weights: 0.5 }]) // prettier-ignore
    expect(steps.map((s) => [s.candidate.name, s.to])).toEqual([['b', 'f32'], ['a', 'weights'], ['a', 'f32'], ['c', 'f32']]) // prettier-ignore
    expect([...assignment([a, b, c], steps.slice(0, 2)).values()]).toEqual(['weights', 'f32', 'int8'])
    expect([...assignment([a, b, c], steps).values()]).toEqual(['f32', 'f32', 'f32'])
  })
})

describe('quantize/auto', () => {
  it('where all layers may be 8 bits it is quantize/static, with two evaluations', async () => {
    const result = await run(net, { maxDrop: 5 })
    const plain = await compress(net, recipe([[quantize.static({ calibration: 'minmax' })]]), { data })
    expect(bitsOf(result.model)).toBe(bitsOf(plain.model))
    expect(figures(result)).toMatchObject({ figure: 'accuracy', restored: 0, evaluations: 2, 'measured on': 'validation data' })
  })

  it('a layer that 8 bits ruin is found and gets its input back, at no cost in bytes; the budget holds', async () => {
    const before = await accuracy(hard)
    const plain = await compress(hard, recipe([[quantize.static({ calibration: 'minmax' })]]), { data })
    expect(before - (await accuracy(plain.model))).toBeGreaterThan(2)
    const result = await run(hard, { maxDrop: 0.5 })
    expect(before - (await accuracy(result.model))).toBeLessThanOrEqual(0.5)
    expect(kinds(result.model)).toMatchObject({ 'fc1.weight': 'int8 per channel, u8 input', 'fc2.weight': 'int8 per channel' })
    expect(result.report.bytesAfter).toBe(plain.report.bytesAfter)
    const {
      before: reference,
      after,
      layers,
      evaluations,
    } = figures(result) as Record<string, number> & { layers: { path: string; sqnr: number }[] }
    expect(reference).toBe(before)
    expect(after).toBe(await accuracy(result.model))
    expect(evaluations).toBeLessThanOrEqual(2 + Math.ceil(Math.log2(7)))
    expect([...layers].sort((a, b) => a.sqnr - b.sqnr)[0]!.path).toBe('fc2.weight')
    expect(result.report.passes[0]!.notes).toContainEqual({ path: 'fc2.weight', text: expect.stringMatching(/floating input: -?\d/) })
  })

  it('without labels: decibels of the outputs, as many as are asked for; more of them, more bytes', async () => {
    let last = { bytes: 0, restored: -1 }
    for (const sqnr of [5, 45, 60, 100]) {
      const result = await run(hard, { measure: 'sqnr', sqnr, probes: 64 }, { validation: undefined as never })
      const { after, restored } = figures(result) as { after: number; restored: number }
      expect(after).toBeGreaterThanOrEqual(sqnr)
      expect(restored).toBeGreaterThanOrEqual(last.restored)
      expect(result.report.bytesAfter).toBeGreaterThanOrEqual(last.bytes)
      last = { bytes: result.report.bytesAfter, restored }
    }
    expect(last).toEqual({ bytes: (await run(net, { measure: 'sqnr', sqnr: 200 })).report.bytesBefore, restored: 3 })
  })

  it('of a regression the decibels do not depend on units and offset of what it predicts', async () => {
    const features = Float32Array.from({ length: 128 * 2 }, (_, i) => Math.sin(i * 1.7))
    const task = regression(regressionData({ name: 'points', features, inputShape: [2], targets: new Float32Array(256), outputs: 2 }))
    const body = {
      fc1: linear({ in: 2, out: 16, bias: true, init: 'he' }),
      tanh: activation({ function: 'tanh' }),
      fc2: linear({ in: 16, out: 2, bias: true, init: 'he' }),
    }
    const after = async (scale: number[], shift: number[]): Promise<number> => {
      const spec = sequential({ ...body, units: affine({ scale, shift }) })
      const model = new Model(build(spec, freshValues(Rng.of(3, 'units'))), { name: 'units', task: 'regression', history: [] })
      const done = await compress(model, recipe([[quantize.auto({ sqnr: 20 })]]), { task })
      return figures(done).after as number
    }
    const plain = await after([1, 1], [0, 0])
    expect(plain).toBeGreaterThan(20)
    expect(plain).toBeLessThan(70)
    // One thousand times farther from 0 than it varies, and one number in far smaller units: 60 dB more when counted about 0.
    expect(await after([1, 0.001], [1000, 0])).toBeCloseTo(plain, 1)
  })

  it('the plan says what it will cost; warns where nothing may stay', async () => {
    const events: CompressEvent[] = []
    await run(net, { measure: 'sqnr', sqnr: 200 }, { onEvent: (e) => events.push(e) })
    expect(events.find((e) => e.type === 'plan')).toMatchObject({ plan: { layers: 3, 'runs over the probes': 6, evaluations: 5 } })
    expect(events.find((e) => e.type === 'warning')).toMatchObject({ message: expect.stringContaining('200 dB') })
    expect(events.filter((e) => e.type === 'progress').length).toBeGreaterThan(1)
  })

  it('interrupted anywhere and resumed: the same bytes and the same report, nothing measured twice; nothing leaks', async () => {
    const straight = await run(hard, {})
    const timeless = (r: CompressResult): unknown => JSON.parse(JSON.stringify(r.report, (k, v: unknown) => (k === 'seconds' ? 0 : v)))
    let interrupted = 0
    const before = memory().tensors
    for (const at of [1, 4, 7, 8, 9]) {
      const checkpointDir = join(dir, String(at))
      const stop = new AbortController()
      let saved = 0
      const onEvent = (e: CompressEvent): void => void (e.type === 'checkpoint' && ++saved === at && stop.abort())
      const options = { checkpointDir, checkpointSeconds: 0 }
      await run(hard, {}, { ...options, onEvent, signal: stop.signal }).then(
        ({ model }) => model.weights().forEach(({ weight }) => weight.kind === 'quantized' && weight.dispose()),
        (error: unknown) => (expect(error).toMatchObject({ code: 'ERR_ABORTED' }), interrupted++),
      )
      expect(memory().tensors).toBe(before)
      let measured = 0
      const result = await run(hard, {}, { ...options, resume: true, onEvent: (e) => void (e.type === 'checkpoint' && measured++) })
      expect(bitsOf(result.model)).toBe(bitsOf(straight.model))
      expect(timeless(result)).toEqual(timeless(straight))
      expect(measured).toBeLessThan(12 - Math.min(at, 9))
      result.model.weights().forEach(({ weight }) => weight.kind === 'quantized' && weight.dispose())
    }
    expect(interrupted).toBeGreaterThan(3)
  })

  it('bad options are typed: a budget, a figure that cannot be counted, no data', async () => {
    expect(() => recipe([[quantize.auto({ maxDrop: -1 })]])).toThrow(
      expect.objectContaining({ code: 'ERR_RECIPE', details: { pointer: '/stages/0/0/options/maxDrop' } }),
    )
    const numbers = new (net.constructor as typeof Model)(net.root, { ...net.info, task: 'regression' })
    await expect(run(numbers, { measure: 'accuracy' })).rejects.toMatchObject({ code: 'ERR_OPTION', message: /needs a classifier/ })
    await expect(compress(net, recipe([[quantize.auto()]]))).rejects.toMatchObject({ code: 'ERR_OPTION' })
  })
})
