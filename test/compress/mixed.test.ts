/** Mixed precision: the file is within the budget, the bits are the optimum, controls are worse, an interrupted run gives the same bytes. */
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { sensitivity } from '../../ts/analyze/index.js'
import type { Sensitivities } from '../../ts/analyze/sensitivity/index.js'
import { Rng } from '../../ts/base/rng.js'
import { compress, parseRecipe, quantize, recipe, train, type CompressEvent, type CompressOptions, type CompressResult } from '../../ts/compress/index.js' // prettier-ignore
import { numberDataset } from '../../ts/data/index.js'
import { loadModel, modelFileBytes, saveModel } from '../../ts/models/file.js'
import { memory } from '../../ts/native/devices.js'
import { activation, build, DenseWeight, freshValues, linear, Model, type QuantizedWeight, sequential } from '../../ts/nn/index.js'
import { crossEntropy } from '../../ts/ops/index.js'
import { scope, tensor } from '../../ts/tensor/index.js'
import { collected } from '../clean-up.js'
import { bitsOf, blobs, mlp, quick } from './toys.js'

const data = blobs(200)
const dir = mkdtempSync(join(tmpdir(), 'tersor-mixed-'))
afterAll(() => rmSync(dir, { recursive: true, force: true }))
let model: Model
beforeAll(async () => {
  model = (await train(mlp({ hidden: 64 }), data, quick)).model
})

type Assigned = { bits: Record<string, number>; bytes: number; fileBytes: number; cost: number; ms?: number }
const assigned = ({ report }: CompressResult): Assigned => report.passes[0]!.figures.assignment as unknown as Assigned
const found = ({ report }: CompressResult): Pick<Sensitivities, 'groups'> =>
  report.passes[0]!.figures.sensitivities as unknown as Pick<Sensitivities, 'groups'>
const mixed = (options: Parameters<typeof quantize.mixed>[0], more: Partial<CompressOptions> = {}): Promise<CompressResult> =>
  compress(model, recipe([[quantize.mixed({ iterations: 8, samples: 64, budget: '3x', ...options })]]), { data, ...more })
const code = (work: Promise<unknown>): Promise<string> => work.then(() => 'nothing', (error: { code: string }) => error.code) // prettier-ignore

/** The least cost of all choices whose bytes are within a room. */
function bruteForce({ groups }: Pick<Sensitivities, 'groups'>, room: number): number {
  const walk = (i: number, bytes: number): number =>
    bytes > room ? Infinity : i === groups.length ? 0 : Math.min(...groups[i]!.choices.map((c) => c.cost + walk(i + 1, bytes + c.bytes)))
  return walk(0, 0)
}

describe('quantize/mixed', () => {
  it('the file is within the budget to the byte, and the bits are the best that fit', async () => {
    const smallest = modelFileBytes((await mixed({ bits: [2] , budget: '1x' })).model) // prettier-ignore
    const known = sensitivity.knownFrom({ method: 'trace', groups: found(await mixed({ budget: 1e6 })).groups })
    let before = 0
    for (let budget = smallest + 300; budget < smallest + 3300; budget += 411) {
      const done = await mixed({ budget, sensitivities: known })
      const { bits, bytes, fileBytes, cost } = assigned(done)
      const file = join(dir, `${budget}.safetensors`)
      expect(saveModel(done.model, file)).toBe(fileBytes)
      expect(fileBytes).toBeLessThanOrEqual(budget)
      expect(fileBytes).toBeGreaterThanOrEqual(before)
      before = fileBytes - 16 // headers differ by some bytes
      // Headers of other assignments differ by some bytes: the best within 16 bytes less is not better.
      expect(cost).toBeLessThanOrEqual(bruteForce(found(done), budget - (fileBytes - bytes) - 16) * (1 + 1e-9))
      expect(bitsOf(loadModel(file))).toBe(bitsOf(done.model))
      for (const { path, weight } of done.model.weights())
        if (bits[path] !== undefined) expect((weight as QuantizedWeight).bits).toBe(bits[path])
    }
  })

  it('says what is possible at least, before it measures anything', async () => {
    const smallest = assigned(await mixed({ budget: '1x', bits: [2] })).fileBytes
    const events: CompressEvent[] = []
    const error = (await mixed({ budget: '90x' }, { onEvent: (e) => events.push(e) }).catch((e: unknown) => e)) as { code: string; message: string; details: { smallest: number } } // prettier-ignore
    expect(error.code).toBe('ERR_OPTION')
    // The recipe in the file's history is some bytes longer or shorter.
    expect(Math.abs(error.details.smallest - smallest)).toBeLessThan(32)
    expect(error.message).toContain(`at least ${error.details.smallest} bytes`)
    expect(events.filter((e) => e.type === 'progress')).toEqual([])
    await expect(mixed({ budget: '1e-6ms' })).rejects.toMatchObject({ code: 'ERR_OPTION', details: { budget: 1e-6 } })
  })

  it('a layer without curvature gets few bits; reversed bits ruin the net at the same bytes', async () => {
    const { net, on } = constructed()
    const options = {
      method: 'trace',
      samples: 100,
      bits: [2, 8] as number[],
      layout: 'channel',
      mode: 'symmetric',
      range: 'max',
      budget: '6x',
    } as const
    const tight = recipe([[quantize.mixed({ ...options, budget: 1 }, { targets: ['a.weight', 'b.weight'] })]])
    const { details } = (await compress(net, tight, { data: on }).catch((e: unknown) => e)) as { details: { smallest: number } }
    const budget = details.smallest + (256 * 6) / 8 + 60 // one of the two at 8 bits, and what a recipe may differ by
    const lossOf = async (assignment: 'optimal' | 'reversed'): Promise<{ loss: number; bits: Record<string, number>; file: number }> => {
      const done = await compress(
        net,
        recipe([[quantize.mixed({ ...options, budget, assignment }, { targets: ['a.weight', 'b.weight'] })]]),
        {
          data: on,
        },
      )
      const x = on.batch(Array.from({ length: on.size }, (_, i) => i))
      const loss = scope(() => crossEntropy(done.model.forward(tensor(x.x, [on.size, 16])), tensor(on.labels, [on.size])).item())
      return { loss, bits: assigned(done).bits, file: assigned(done).fileBytes }
    }
    const [best, reversed] = [await lossOf('optimal'), await lossOf('reversed')]
    expect(best.bits).toEqual({ 'a.weight': 2, 'b.weight': 8 })
    expect(reversed.bits).toEqual({ 'a.weight': 8, 'b.weight': 2 })
    expect(Math.abs(reversed.file - best.file)).toBeLessThan(64)
    expect(reversed.loss).toBeGreaterThan(best.loss + 0.01)
  })

  it('every method, grouped, monotone, with GPTQ codes; what is noted', async () => {
    for (const method of ['trace', 'eigenvalue', 'direct'] as const) {
      const done = await mixed({ method, shards: 2, monotone: method === 'trace', rounding: method === 'trace' ? 'output' : 'nearest' })
      const { notes, figures } = done.report.passes[0]!
      expect(Object.keys(figures).sort()).toEqual(['assignment', 'sensitivities'])
      for (const path of ['fc1.weight', 'fc2.weight', 'fc3.weight'])
        expect(notes.find((n) => n.path === path)?.text).toMatch({ trace: /^trace .* bits, \d+ bytes$/, eigenvalue: /^largest eigenvalue .* over 2 parts: \d bits/, direct: /^sensitivity / }[method]) // prettier-ignore
    }
    const { bits } = assigned(await mixed({ groups: ['fc?'], budget: '2.5x' }))
    expect(Object.keys(bits)).toEqual(['fc1', 'fc2', 'fc3'])
    const kept = await mixed({ bits: [4, 32], budget: '1.2x' })
    expect(Object.values(assigned(kept).bits)).toContain(32)
    expect(assigned(kept).fileBytes).toBeLessThanOrEqual(modelFileBytes(model) / 1.2)
  })

  it('a budget of time takes choices by what was measured here', async () => {
    const { report } = await mixed({
      budget: '1000ms',
      bits: [2, 4, 8],
      sensitivities: { 'fc1.weight': 1, 'fc2.weight': 1, 'fc3.weight': 1 },
    })
    const { groups, model: whole, rest } = report.passes[0]!.figures.times as unknown as { groups: Record<string, number[]>; model: number; rest: number } // prettier-ignore
    expect(Object.values(groups).every((list) => list.length === 3 && list.every((ms) => ms > 0 && ms < 100))).toBe(true)
    expect(rest).toBeLessThan(whole)
    const { bits, ms } = assigned({ report } as CompressResult)
    expect(new Set(Object.values(bits))).toEqual(new Set([8]))
    expect(ms).toBeCloseTo(
      Object.values(groups).reduce((n, list) => n + list[2]!, 0),
      9,
    )
  })

  it('interrupted anywhere and resumed = never interrupted, also with measured times', async () => {
    const checkpointDir = join(dir, 'resume')
    for (const options of [
      { method: 'trace', rounding: 'output' },
      { method: 'eigenvalue', shards: 2, budget: '2.7x' },
      { method: 'direct' },
    ] as const) {
      const straight = await mixed(options)
      const timeless = (r: CompressResult): unknown =>
        JSON.parse(JSON.stringify(r.report, (key, v: unknown) => (key === 'seconds' ? 0 : v)))
      let at = 3
      for (let interrupted = true; interrupted; at += 6) {
        const stop = new AbortController()
        let seen = 0
        const onEvent = (): void => void (++seen === at && stop.abort())
        const work = mixed(options, { checkpointDir, checkpointSeconds: 0, resume: at > 3, signal: stop.signal, onEvent })
        const done = await work.catch((error: unknown) => void expect(error).toMatchObject({ code: 'ERR_ABORTED' }))
        if (done) {
          interrupted = false
          expect(bitsOf(done.model)).toBe(bitsOf(straight.model))
          expect(timeless(done)).toEqual(timeless(straight))
        }
        expect(at).toBeLessThan(400)
      }
      expect(at).toBeGreaterThan(15)
      rmSync(checkpointDir, { recursive: true, force: true })
    }
  })

  it('leaves the model as it was and nothing behind; refuses bad recipes with the place', async () => {
    const bits = bitsOf(model)
    await collected()
    const before = memory().tensors
    let ended = 0
    for (let at = 4; at < 40; at += 9) {
      const stop = new AbortController()
      let seen = 0
      const done = await mixed({}, { signal: stop.signal, onEvent: () => void (++seen === at && stop.abort()) }).catch(() => undefined)
      if (done) ended++
      for (const { weight } of done?.model.weights() ?? []) if (weight.kind === 'quantized') weight.dispose()
    }
    expect(bitsOf(model)).toBe(bits)
    await collected()
    expect(memory().tensors).toBe(before)
    expect(ended).toBeLessThan(4)
    const refuses = (options: object): string => {
      try {
        parseRecipe({ recipe: 1, stages: [[{ pass: 'quantize/mixed', options }]] })
      } catch (error) {
        return (error as { details: { pointer: string } }).details.pointer
      }
      return 'nothing'
    }
    expect(refuses({ budget: 'much' })).toBe('/stages/0/0/options/budget')
    expect(refuses({ budget: -1 })).toBe('/stages/0/0/options/budget')
    expect(refuses({ bits: [1] })).toBe('/stages/0/0/options/bits/0')
    expect(refuses({ bits: [] })).toBe('/stages/0/0/options/bits')
    expect(refuses({ luck: 1 })).toBe('/stages/0/0/options/luck')
    expect(await code(mixed({ groups: ['conv*'] }))).toBe('ERR_OPTION')
    expect(await code(mixed({ sensitivities: { 'fc1.weight': 1 } }))).toBe('ERR_OPTION')
    expect(await code(mixed({ sensitivities: { 'fc1.weight': { 2: 1 }, 'fc2.weight': 1, 'fc3.weight': 1 } }))).toBe('ERR_OPTION')
    expect(await code(compress(model, recipe([[quantize.mixed()]])))).toBe('ERR_OPTION')
  })
})

/** The first layer drives a saturated tanh, so that nothing depends on its exact values; all depends on the second. */
function constructed(): { net: Model; on: ReturnType<typeof blobs> } {
  const rng = Rng.of(6)
  const n = 100
  const features = Float32Array.from({ length: 16 * n }, () => (rng.int(2) === 0 ? -1 : 1) * (0.5 + rng.uniform()))
  const a = Float32Array.from({ length: 256 }, (_, i) => (i % 17 === 0 ? 400 : rng.normal()))
  const b = Float32Array.from({ length: 256 }, () => rng.normal())
  const base = new Model(
    build(
      sequential({
        a: linear({ in: 16, out: 16, bias: false, init: 'he' }),
        tanh: activation({ function: 'tanh' }),
        b: linear({ in: 16, out: 16, bias: false, init: 'he' }),
      }),
      freshValues(rng),
    ),
    { name: 'constructed', task: 'classification', inputShape: [16], history: [] },
  )
  const net = base.withWeights(
    new Map([
      ['a.weight', new DenseWeight(tensor(a, [16, 16]))],
      ['b.weight', new DenseWeight(tensor(b, [16, 16]))],
    ]),
  )
  const scores = scope(() => net.forward(tensor(features, [n, 16])).read()) as Float32Array
  const labels = Int32Array.from({ length: n }, (_, i) => {
    const row = scores.subarray(i * 16, i * 16 + 16)
    return row.indexOf(Math.max(...row))
  })
  const classes = Array.from({ length: 16 }, (_, i) => `${i}`)
  return { net, on: numberDataset({ name: 'own labels', features, inputShape: [16], labels, classes }) }
}
