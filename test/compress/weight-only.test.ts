/** quantize/awq and quantize/adaround: channels scaled without changing the function, learned rounding, and what both promise. */
import { beforeAll, describe, expect, it } from 'vitest'
import { Rng } from '../../ts/base/rng.js'
import { compress, prune, quantize, recipe, train } from '../../ts/compress/index.js'
import { columnSizes } from '../../ts/compress/observe/columns.js'
import { scalesFor, searchScales } from '../../ts/compress/quantize/awq-search.js'
import { learnRounding, type RoundingProblem } from '../../ts/compress/quantize/learned-rounding.js'
import { blockErrors, diagonalBlocks, outputErrorOf } from '../../ts/compress/quantize/output-error.js'
import { numberDataset } from '../../ts/data/dataset.js'
import { memory } from '../../ts/native/devices.js'
import { build, defineModule, encoderBlock, freshValues, linear, Model, runChild, type Weight } from '../../ts/nn/index.js'
import { concat, relu } from '../../ts/ops/index.js'
import { z } from 'zod'
import { scope, tensor, type Tensor } from '../../ts/tensor/index.js'
import { bars, bitsOf, blobs, convnet, mlp, quick } from './toys.js'

const idle = async (): Promise<void> => {}
const rng = Rng.of(5, 'weight only')
const normals = (n: number): Float32Array => Float32Array.from({ length: n }, () => rng.normal())
const data = blobs(300)
const images = bars(200)
let net: Model
let conv: Model
beforeAll(async () => {
  net = (await train(mlp(), data, quick)).model
  conv = (await train(convnet(), images, { ...quick, epochs: 2 })).model
})
const weightAt = (m: Model, path: string): Weight => m.weights().find((w) => w.path === path)!.weight
const read = (t: Tensor): Float32Array => t.read() as Float32Array
/** Sums of x x^T of `n` columns that follow three hidden numbers. */
function related(width: number, n: number): Float32Array {
  const mix = normals(width * 3)
  const out = new Float32Array(width * width)
  for (let s = 0; s < n; s++) {
    const hidden = normals(3)
    const x = Float32Array.from({ length: width }, (_, i) => 0.3 * rng.normal() + hidden.reduce((v, h, k) => v + h * mix[i * 3 + k]!, 0))
    for (let i = 0; i < width; i++) for (let j = 0; j < width; j++) out[i * width + j]! += x[i]! * x[j]!
  }
  return out
}

/** Sums of x x^T of `n` columns of which some are much larger. */
function moments(width: number, n: number): Float32Array {
  const out = new Float32Array(width * width)
  for (let s = 0; s < n; s++) {
    const shared = rng.normal()
    const x = Float32Array.from({ length: width }, (_, i) => (i % 5 === 0 ? 4 : 0.5) * (rng.normal() + shared))
    for (let i = 0; i < width; i++) for (let j = 0; j < width; j++) out[i * width + j]! += x[i]! * x[j]!
  }
  return out
}

/** Two layers side by side; a third one takes what both give. */
const fork = defineModule<Record<string, never>>({
  kind: 'test.fork',
  config: z.strictObject({}),
  weights: () => ({}),
  forward: (m, _c, x, ctx) => {
    const [a, b] = ['a', 'b'].map((name) => relu(runChild(m, name, x as Tensor, ctx)))
    return runChild(m, 'c', concat([a!, b!], 1), ctx)
  },
})

describe('channels scaled without changing the function', () => {
  it('a layer behind a concatenation is rounded for the inputs that it has when both sides are scaled', async () => {
    const side = linear({ in: 8, out: 16, bias: true, init: 'he' })
    const spec = fork({}, { a: side, b: side, c: linear({ in: 32, out: 12, bias: true, init: 'he' }) })
    const model = new Model(build(spec, freshValues(Rng.of(4, 'fork'))), { name: 'fork', task: 'regression', inputShape: [8], history: [] })
    for (const path of ['a.weight', 'b.weight']) {
      const { value } = weightAt(model, path).trainable()[0]!
      value.write(read(value).map((v, i) => v * (Math.floor(i / 8) % 4 === 0 ? 12 : 0.4)))
    }
    const points = blobs(256)
    const x = tensor(points.batch(Array.from({ length: 256 }, (_, i) => i)).x, [256, 8])
    const error = async (rounding: 'nearest' | 'feedback'): Promise<{ measured: number; told: number }> => {
      const pass = quantize.awq({ bits: 3, groupSize: 32, clip: false, rounding }, { targets: ['c.weight'] })
      const { model: out, report } = await compress(model, recipe([[pass]]), { data: points })
      expect(report.passes[0]!.notes.filter((n) => /scaled by mean/.test(n.text))).toHaveLength(2)
      const [y, meant] = [read(out.predict(x)), read(model.predict(x))]
      const note = report.passes[0]!.notes.find((n) => n.text.endsWith('with these channels'))!
      return { measured: y.reduce((sum, v, i) => sum + (v - meant[i]!) ** 2, 0), told: Number(/[\d.]+/.exec(note.text)![0]) }
    }
    const [nearest, feedback] = [await error('nearest'), await error('feedback')]
    expect(feedback.told).toBeLessThan(0.5)
    expect(Math.abs(feedback.measured / nearest.measured - feedback.told)).toBeLessThan(0.002)
  })

  const texts = { width: 8, heads: 2, hidden: 12 } as const
  it.each([
    ['pre-norm', encoderBlock({ ...texts, activation: 'relu' }), ['norm1.gamma', 'norm2.gamma', 'up.weight', 'attention.value.weight']],
    ['post-norm', encoderBlock({ ...texts, norm: 'post' }), ['attention.value.weight']],
  ] as const)('%s: outputs before rounding stay within 1e-5; each place is in the notes', async (_, spec, places) => {
    const model = new Model(build(spec, freshValues(Rng.of(2, 'block'))), {
      name: 'block',
      task: 'regression',
      inputShape: [6, 8],
      history: [],
    })
    const loud = normals(40 * 48).map((v, i) => v * (i % 8 === 3 ? 6 : 1))
    const sequences = numberDataset({ name: 'x', features: loud, inputShape: [6, 8], labels: new Int32Array(40), classes: ['x'] })
    const { report } = await compress(model, recipe([[quantize.awq({ groupSize: 8 })]]), { data: sequences })
    const { notes, figures } = report.passes[0]!
    const scaled = notes.filter((n) => n.text.startsWith('channels of its output scaled')).map((n) => n.path)
    expect([...scaled].sort()).toEqual([...places].sort())
    expect(Number(figures.difference ?? 0)).toBeLessThanOrEqual(1e-5)
  })
})

describe('searches', () => {
  it('scales are mean|x|^r over the middle of the largest and smallest', () => {
    const s = scalesFor(Float64Array.of(4, 1, 0.25), 0.5)
    expect([...s]).toEqual([2, 1, 0.5].map(Math.fround))
    expect([...scalesFor(Float64Array.of(0, 1), 0)]).toEqual([1, 1])
    const observer = columnSizes(net.root.children.fc1!)!.observe('fc1')
    scope(() => observer.see(tensor([[1, -2, 0, 0, 0, 0, 0, 0], [3, 2, 0, 0, 0, 0, 0, 0]]))) // prettier-ignore
    expect([...observer.value().sums].slice(0, 3)).toEqual([4, 4, 0])
  })

  it('the error of an output is that of the data; blocks on the diagonal are its parts', () => {
    const [rows, cols] = [3, 7]
    const h = moments(cols, 20)
    const e = normals(rows * cols)
    let want = 0
    for (let r = 0; r < rows; r++)
      for (let i = 0; i < cols; i++) for (let j = 0; j < cols; j++) want += e[r * cols + i]! * h[i * cols + j]! * e[r * cols + j]!
    scope(() => {
      expect(outputErrorOf(tensor(e, [rows, cols]), tensor(h, [cols, cols])) / want).toBeCloseTo(1, 5)
      const whole = blockErrors(tensor(e, [rows, cols]), diagonalBlocks(h, cols, 1))
      expect(whole.reduce((a, b) => a + b, 0) / want).toBeCloseTo(1, 4)
      const parts = blockErrors(tensor(e, [rows, cols]), diagonalBlocks(h, cols, 2)) // runs of 4 and 3
      let last = 0
      for (let i = 4; i < 7; i++) for (let j = 4; j < 7; j++) last += e[2 * cols + i]! * h[i * cols + j]! * e[2 * cols + j]!
      expect(parts[rows + 2]! / last).toBeCloseTo(1, 4)
    })
  })

  it('large inputs get large weights: the search finds an exponent above 0 and a smaller error', async () => {
    const grid = { groups: 1, symmetric: false, codes: { qmin: -4, qmax: 3 } }
    const sizes = Float64Array.from({ length: 20 }, (_, i) => (i % 5 === 0 ? 4 : 0.4))
    const found = await searchScales(
      [{ values: normals(16 * 20), rows: 16, products: moments(20, 300), grid, channels: Int32Array.from({ length: 20 }, (_, i) => i) }],
      sizes,
      idle,
    )
    expect(found.exponent).toBeGreaterThan(0)
    expect(found.share).toBeLessThan(0.9)
  })
})

describe('learned rounding', () => {
  const problem = (rows: number, cols: number, keepZeros = false): RoundingProblem => ({
    values: normals(rows * cols).map((v, i) => (keepZeros && i % 3 === 0 ? 0 : v)),
    rows,
    scale: new Float32Array(rows * cols).fill(0.4),
    zero: new Float32Array(rows * cols).fill(1),
    codes: { qmin: -8, qmax: 7 },
    products: related(cols, 200),
    keepZeros,
  })
  const o = { iterations: 300, learningRate: 0.02, regularization: 1, warmup: 0.2, beta: [20, 2] } as const

  it('ends far below rounding to nearest, on neighbouring codes, and between the best of all roundings and three times it', async () => {
    const p = problem(4, 10)
    const { q, error, nearest } = await learnRounding(p, o, idle)
    expect(error).toBeLessThan(0.6 * nearest)
    let best = 0
    for (let r = 0; r < 4; r++) {
      let least = Infinity
      for (let mask = 0; mask < 1024; mask++) {
        const e = Array.from({ length: 10 }, (_, c) => {
          const w = p.values[r * 10 + c]!
          const code = Math.min(7, Math.max(-8, Math.floor(w / 0.4 + 1) + ((mask >> c) & 1)))
          return Math.fround(0.4) * (code - 1) - w
        })
        let sum = 0
        for (let i = 0; i < 10; i++) for (let j = 0; j < 10; j++) sum += e[i]! * p.products[i * 10 + j]! * e[j]!
        least = Math.min(least, sum)
      }
      best += least
    }
    expect(error).toBeLessThan(3 * best)
    expect(error).toBeGreaterThan(0.999 * best)
    p.values.forEach((w, i) => expect(Math.abs(q[i]! - Math.min(7, Math.max(-8, w / 0.4 + 1)))).toBeLessThanOrEqual(1))
  })

  it('zeros stay 0 where they must; nothing seen is rounding to nearest', async () => {
    const p = problem(3, 12, true)
    const { q } = await learnRounding(p, o, idle)
    p.values.forEach((w, i) => w === 0 && expect(q[i]).toBe(1))
    const blind = await learnRounding({ ...p, products: new Float32Array(144) }, o, idle)
    p.values.forEach((w, i) => expect(blind.q[i]).toBe(Math.min(7, Math.max(-8, Math.round(w / Math.fround(0.4)) + 1))))
  })
})

const methods = {
  awq: (options: { readonly bits: number }, at: { readonly targets?: readonly string[] } = {}) =>
    quantize.awq({ ...options, groupSize: 8, samples: 300 }, at),
  adaround: (options: { readonly bits: number }, at: { readonly targets?: readonly string[] } = {}) =>
    quantize.adaround({ ...options, groupSize: 8, iterations: 200, learningRate: 0.02, samples: 300 }, at),
} as const

describe.each(Object.entries(methods))('quantize/%s', (name, pass) => {
  it.each([3, 4])('%i bits: outputs on fresh data are no farther than with rounding to nearest', async (bits) => {
    const fresh = blobs(300, { seed: 9 })
    const shared = { bits, mode: 'affine', layout: 'group', groupSize: 8, range: 'max', scales: 'f16' } as const
    const { model: nearest } = await compress(net, recipe([[quantize.rtn(shared)]]))
    const { model: small, report } = await compress(net, recipe([[pass({ bits })]]), { data })
    const { x } = fresh.batch(Array.from({ length: 300 }, (_, i) => i))
    const out = (m: Model): Float32Array => scope(() => read(m.forward(tensor(x, [300, 8]))))
    const want = out(net)
    const distance = (m: Model): number => out(m).reduce((s, v, i) => s + (v - want[i]!) ** 2, 0)
    expect(distance(small)).toBeLessThan(distance(nearest))
    expect(weightAt(small, 'fc2.weight').bytes()).toBe(weightAt(nearest, 'fc2.weight').bytes())
    expect(report.passes[0]!.notes.map((n) => n.text).join('\n')).toMatch(/output error [01]\.\d+ of that of rounding to nearest/)
  })

  it('convolutions, pruned weights, memory, the model given; what is left alone; needs data', async () => {
    const before = memory().tensors
    const bits = bitsOf(net)
    const { model, report } = await compress(net, recipe([[prune.magnitude({ sparsity: 0.6 })], [pass({ bits: 4 })]]), { data })
    const pruned = report.passes[0]!.layers.find((l) => l.path === 'fc2.weight')!
    expect(report.layers.find((l) => l.path === 'fc2.weight')!.after.density).toBeLessThanOrEqual(pruned.after.density)
    expect(bitsOf(net)).toBe(bits)
    const own = new Set(net.weights().map((w) => w.weight))
    for (const { weight } of model.weights()) if (!own.has(weight)) weight.dispose()
    expect(memory().tensors).toBeLessThanOrEqual(before)
    const { model: smallConv } = await compress(conv, recipe([[pass({ bits: 4 })]]), { data: images })
    expect(weightAt(smallConv, 'conv.weight').kind).toBe('quantized')
    await expect(compress(net, recipe([[pass({ bits: 4 })]]))).rejects.toMatchObject({ code: 'ERR_OPTION' })
    const again = await compress(net, recipe([[pass({ bits: 4 })], [pass({ bits: 4 })]]), { data })
    expect(again.report.passes[1]!.notes).toContainEqual({ path: 'fc2.weight', text: expect.stringContaining('left alone: int4') })
    expect(() => recipe([[{ pass: `quantize/${name}`, version: 1, options: { bits: 9 } }]])).toThrow(
      expect.objectContaining({ code: 'ERR_RECIPE' }),
    )
  })

  it('interrupted and resumed gives the same bits', async () => {
    const { mkdtempSync, rmSync } = await import('node:fs')
    const folder = mkdtempSync(`${(await import('node:os')).tmpdir()}/tersor-weight-only-`)
    const made = recipe([[pass({ bits: 4 }, { targets: ['fc1', 'fc2'] }), pass({ bits: 3 }, { targets: ['fc3'] })]])
    const bits = bitsOf((await compress(net, made, { data })).model)
    let events = 0
    await compress(net, made, { data, onEvent: () => void events++ })
    for (let at = 2; at < events; at += 5) {
      const options = { data, checkpointDir: `${folder}/${at}`, checkpointSeconds: 0 }
      const controller = new AbortController()
      let seen = 0
      await compress(net, made, { ...options, signal: controller.signal, onEvent: () => void (++seen === at && controller.abort()) }).catch(
        (e: unknown) => expect(e).toMatchObject({ code: 'ERR_ABORTED' }),
      )
      expect(bitsOf((await compress(net, made, { ...options, resume: true })).model)).toBe(bits)
    }
    rmSync(folder, { recursive: true, force: true })
  })
})
