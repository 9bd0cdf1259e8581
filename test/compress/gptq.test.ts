/** Rounding with error feedback: the factor, the statistic, the codes, the pass. */
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { Rng } from '../../ts/base/rng.js'
import { compress, prune, quantize, recipe, train } from '../../ts/compress/index.js'
import { gramOf, type Gram } from '../../ts/compress/observe/gram.js'
import { choleskyUpper } from '../../ts/compress/quantize/factor.js'
import { roundWithFeedback, type Rounding } from '../../ts/compress/quantize/feedback.js'
import { memory } from '../../ts/native/devices.js'
import { build, conv1d, conv2d, DenseWeight, freshValues, linear, type Model, type ModuleSpec, Model as Net } from '../../ts/nn/index.js'
import { scope, tensor } from '../../ts/tensor/index.js'
import { bars, bitsOf, blobs, convnet, mlp, quick } from './toys.js'

const idle = async (): Promise<void> => {}
const rng = Rng.of(3, 'gptq')
const normals = (n: number): Float32Array => Float32Array.from({ length: n }, () => rng.normal())

/** Sums of x x^T of `n` correlated columns. */
function moments(width: number, n: number): Float32Array {
  const mix = normals(width * 4)
  const out = new Float32Array(width * width)
  for (let s = 0; s < n; s++) {
    const hidden = normals(4)
    const x = Float32Array.from({ length: width }, (_, i) => {
      let v = 0.3 * rng.normal()
      for (let k = 0; k < 4; k++) v += mix[i * 4 + k]! * hidden[k]!
      return v
    })
    for (let i = 0; i < width; i++) for (let j = 0; j < width; j++) out[i * width + j]! += x[i]! * x[j]!
  }
  return out
}

const codes = { qmin: -8, qmax: 7 }
function problem(rows: number, cols: number): Rounding {
  const values = normals(rows * cols)
  const scales = Float32Array.from({ length: rows }, () => 0.2 + 0.1 * rng.uniform())
  return { values, rows, cols, codes, scale: (r) => scales[r]!, zero: (r) => r % 3 }
}

/** Algorithm 1 of the paper as it stands: explicit inverse, every column updates all later weights. */
function asInThePaper({ values, rows, cols, scale, zero }: Rounding, products: Float32Array, damping: number): Int8Array {
  const h = Float64Array.from(products)
  const mean = Array.from({ length: cols }, (_, i) => h[i * cols + i]!).reduce((a, b) => a + b, 0) / cols
  for (let i = 0; i < cols; i++) h[i * cols + i]! += damping * mean
  const inverse = inverted(h, cols)
  const w = Float64Array.from(values)
  const q = new Int8Array(rows * cols)
  for (let c = 0; c < cols; c++) {
    const pivot = inverse[c * cols + c]!
    for (let r = 0; r < rows; r++) {
      const code = Math.min(codes.qmax, Math.max(codes.qmin, Math.round(w[r * cols + c]! / scale(r, c)) + zero(r, c)))
      q[r * cols + c] = code
      const e = (w[r * cols + c]! - scale(r, c) * (code - zero(r, c))) / pivot
      for (let j = c; j < cols; j++) w[r * cols + j]! -= e * inverse[c * cols + j]!
    }
    // The inverse for the columns that are left.
    const row = inverse.slice(c * cols, (c + 1) * cols)
    for (let i = c + 1; i < cols; i++) for (let j = c + 1; j < cols; j++) inverse[i * cols + j]! -= (row[i]! * row[j]!) / pivot
  }
  return q
}

function inverted(a: Float64Array, n: number): Float64Array {
  const m = Float64Array.from(a)
  const out = new Float64Array(n * n)
  for (let i = 0; i < n; i++) out[i * n + i] = 1
  for (let i = 0; i < n; i++) {
    const p = 1 / m[i * n + i]!
    for (let j = 0; j < n; j++) [m[i * n + j], out[i * n + j]] = [m[i * n + j]! * p, out[i * n + j]! * p]
    for (let k = 0; k < n; k++) {
      const f = m[k * n + i]!
      if (k === i || f === 0) continue
      for (let j = 0; j < n; j++) {
        m[k * n + j]! -= f * m[i * n + j]!
        out[k * n + j]! -= f * out[i * n + j]!
      }
    }
  }
  return out
}

describe('rounding with feedback', () => {
  it('the factor: U^T U is the matrix, across blocks; undefined where it is not positive definite', async () => {
    const n = 150
    const a = moments(n, 400)
    const u = (await choleskyUpper(a, n, idle))!
    for (const [i, j] of [
      [0, 0],
      [149, 3],
      [130, 131],
      [70, 149],
    ] as const) {
      // prettier-ignore
      let sum = 0
      for (let k = 0; k < n; k++) sum += u[k * n + i]! * u[k * n + j]!
      expect(Math.abs(sum - a[i * n + j]!)).toBeLessThan(1e-4 * Math.sqrt(a[i * n + i]! * a[j * n + j]!))
    }
    expect(u[140 * n + 20]).toBe(0)
    a[5 * n + 5] = -1
    expect(await choleskyUpper(a, n, idle)).toBeUndefined()
  })

  it('gives the codes of the algorithm in the paper', async () => {
    const w = problem(6, 40)
    const h = moments(40, 200)
    const { q, damping } = await roundWithFeedback('test', w, h, { damping: 0.01, order: 'given' }, idle)
    expect(damping).toBe(0.01)
    expect([...q]).toEqual([...asInThePaper(w, h, 0.01)])
  })

  it('is rounding to nearest where columns are independent, and never worse elsewhere', async () => {
    const w = problem(5, 140)
    const identity = Float32Array.from({ length: 140 * 140 }, (_, i) => (i % 141 === 0 ? 2 : 0))
    const plain = await roundWithFeedback('test', w, identity, { damping: 0.01, order: 'activation' }, idle)
    expect(plain.error).toBe(plain.nearest)
    for (const order of ['given', 'activation'] as const) {
      const done = await roundWithFeedback('test', w, moments(140, 300), { damping: 0.01, order }, idle)
      expect(done.error).toBeLessThan(0.5 * done.nearest)
    }
    // Nothing was ever seen; columns that are always 0.
    const nothing = await roundWithFeedback('test', w, new Float32Array(140 * 140), { damping: 0.01, order: 'given' }, idle)
    expect([...nothing.q]).toEqual([...plain.q])
  })

  it('moments beyond f32 are ERR_NUMERIC', async () => {
    const h = new Float32Array(9).fill(Infinity)
    await expect(roundWithFeedback('layer', problem(1, 3), h, { damping: 0.01, order: 'given' }, idle)).rejects.toMatchObject({
      code: 'ERR_NUMERIC',
    })
  })
})

describe('second moments', () => {
  const layers: readonly (readonly [string, ModuleSpec, readonly number[]])[] = [
    ['linear', linear({ in: 5, out: 3, init: 'he', bias: false }), [2, 4, 5]],
    ['conv2d', conv2d({ in: 4, out: 6, kernel: [3, 2], stride: [2, 1], padding: [[1, 0], [0, 1]], dilation: [1, 2], bias: false }), [2, 4, 7, 6]], // prettier-ignore
    ['depthwise', conv2d({ in: 4, out: 8, kernel: [3, 3], padding: 'same', groups: 4, bias: false }), [1, 4, 5, 5]],
    ['conv1d', conv1d({ in: 4, out: 4, kernel: 3, stride: 2, padding: 'causal', groups: 2, bias: false }), [3, 4, 9]],
  ]
  it.each(layers)('%s: tr(W G W^T) is the squared norm of the output, whatever the batches', (_, spec, shape) => {
    const module = build(spec, freshValues(Rng.of(1, 'layer')))
    const statistic = gramOf(module)!
    const observer = statistic.observe('layer')
    const model = new Net(module, { name: 'layer', task: 'regression', history: [] })
    let norm = 0
    for (let i = 0; i < 2; i++)
      scope(() => {
        const x = tensor(normals(shape.reduce((a, b) => a * b, 1)), shape)
        observer.see(x)
        norm += (model.forward(x).read() as Float32Array).reduce((s, v) => s + v * v, 0)
      })
    const { groups, width, products } = observer.value()
    const w = scope(() => module.weights.weight!.dense().read()) as Float32Array
    const rows = w.length / width
    let total = 0
    for (let r = 0; r < rows; r++) {
      const g = Math.floor((r * groups) / rows) * width * width
      for (let i = 0; i < width; i++)
        for (let j = 0; j < width; j++) total += w[r * width + i]! * products[g + i * width + j]! * w[r * width + j]!
    }
    expect(total / norm).toBeCloseTo(1, 4)
    const saved = statistic.save(observer.value())
    expect(statistic.restore(saved.json, saved.tensors!)).toEqual(observer.value() satisfies Gram)
  })
})

describe('quantize/gptq', () => {
  const data = blobs(300)
  const images = bars(300)
  let net: Model
  let conv: Model
  const folder = mkdtempSync(join(tmpdir(), 'tersor-gptq-'))
  afterAll(() => rmSync(folder, { recursive: true, force: true }))
  beforeAll(async () => {
    net = (await train(mlp(), data, quick)).model
    conv = (await train(convnet(), images, { ...quick, epochs: 2 })).model
  })
  const weightAt = (m: Model, path: string): Model['root']['weights'][string] => m.weights().find((w) => w.path === path)!.weight

  /** Squared distance of the first layer's output on data that was not calibrated on. */
  function distance(a: Model, b: Model, path: string, x: Float32Array, shape: readonly number[]): number {
    const layer = (m: Model): Float32Array =>
      scope(() => new Net(m.root.children[path]!, m.info).forward(tensor(x, shape)).read()) as Float32Array
    const [p, q] = [layer(a), layer(b)]
    return p.reduce((s, v, i) => s + (v - q[i]!) ** 2, 0)
  }

  it.each([2, 3, 4])('%i bits: the outputs of layers on fresh data are nearer than with rounding to nearest', async (bits) => {
    const held = { vectors: blobs(200, { seed: 9 }), images: bars(200, 9) }
    for (const [model, set, path, fresh] of [
      [net, data, 'fc1', held.vectors],
      [conv, images, 'conv', held.images],
    ] as const) {
      const at = { targets: [path] }
      const shared = { bits, mode: 'affine', layout: 'channel', range: 'mse', scales: 'f32' } as const
      const { model: nearest } = await compress(model, recipe([[quantize.rtn(shared, at)]]))
      const { model: fed, report } = await compress(model, recipe([[quantize.gptq(shared, at)]]), { data: set })
      const { x } = fresh.batch(Array.from({ length: 200 }, (_, i) => i))
      const shape = [200, ...set.inputShape]
      // Pixels of the toy images are nearly independent: there feedback may gain nothing.
      const share = distance(model, fed, path, x, shape) / distance(model, nearest, path, x, shape)
      expect(share).toBeLessThan(path === 'conv' ? 1.02 : 0.98)
      expect(weightAt(fed, `${path}.weight`).bytes()).toBe(weightAt(nearest, `${path}.weight`).bytes())
      expect(report.passes[0]!.notes[0]).toMatchObject({
        path: `${path}.weight`,
        text: expect.stringMatching(/^output error [01]\.\d+ of/),
      })
    }
  })

  it('zeros of pruned weights stay exactly 0; the model given stays as it is; nothing is left in memory', async () => {
    const before = memory().tensors
    const bits = bitsOf(net)
    const { model, report } = await compress(net, recipe([[prune.magnitude({ sparsity: 0.6 })], [quantize.gptq()]]), { data })
    const pruned = report.passes[0]!.layers.find((l) => l.path === 'fc2.weight')!
    expect(report.layers.find((l) => l.path === 'fc2.weight')!.after.density).toBeLessThanOrEqual(pruned.after.density)
    expect(bitsOf(net)).toBe(bits)
    const own = new Set(net.weights().map((w) => w.weight))
    for (const { weight } of model.weights()) if (!own.has(weight)) weight.dispose()
    expect(memory().tensors).toBeLessThanOrEqual(before)
  })

  it('interrupted anywhere and resumed gives the same bits', async () => {
    const made = recipe([
      [quantize.gptq({ bits: 4, samples: 64 }, { targets: ['conv'] }), quantize.gptq({ bits: 3, samples: 64 }, { targets: ['fc'] })],
    ])
    const { model } = await compress(conv, made, { data: images })
    let events = 0
    await compress(conv, made, { data: images, onEvent: () => void events++ })
    for (let at = 1; at < events; at += 3) {
      const options = { data: images, checkpointDir: join(folder, String(at)), checkpointSeconds: 0 }
      const controller = new AbortController()
      let seen = 0
      const onEvent = (): void => void (++seen === at && controller.abort())
      await compress(conv, made, { ...options, signal: controller.signal, onEvent }).catch((e: unknown) =>
        expect(e).toMatchObject({ code: 'ERR_ABORTED' }),
      )
      expect(bitsOf((await compress(conv, made, { ...options, resume: true })).model)).toBe(bitsOf(model))
    }
  })

  it('says what it leaves alone, and needs data', async () => {
    await expect(compress(net, recipe([[quantize.gptq()]]))).rejects.toMatchObject({ code: 'ERR_OPTION' })
    const again = await compress(net, recipe([[quantize.gptq()], [quantize.gptq()]]), { data })
    expect(again.report.passes[1]!.notes).toContainEqual({ path: 'fc1.weight', text: expect.stringContaining('left alone: int4') })
    const huge = net.withWeights(new Map([['fc1.weight', new DenseWeight(tensor(new Float32Array(256).fill(1e30), [32, 8]))]]))
    const { model } = await compress(huge, recipe([[quantize.gptq({}, { targets: ['fc1'] })]]), { data })
    expect(weightAt(model, 'fc1.weight').kind).toBe('quantized')
  })
})
