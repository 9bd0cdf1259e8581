/** Scores, structures and amounts of pruning: closed forms on small models (methods A2, A4, A5, A17). */
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, describe, expect, it } from 'vitest'
import { Rng } from '../../ts/base/rng.js'
import { compress, parseRecipe, prune, recipe, sparsify, type CompressResult, type PassSpec } from '../../ts/compress/index.js'
import { apportion, densityFor } from '../../ts/compress/prune/amount.js'
import { rescaled } from '../../ts/compress/prune/dropout.js'
import { nmBits, structureOf } from '../../ts/compress/prune/structure.js'
import { cholesky, inverse, refit, removalOrder, solve } from '../../ts/compress/prune/surgeon.js'
import type { NumberDataset } from '../../ts/data/dataset.js'
import { loadModel, saveModel } from '../../ts/models/file.js'
import { build, freshValues, linear, Model, type MaskedWeight } from '../../ts/nn/index.js'
import { tensor } from '../../ts/tensor/index.js'
import { blobs, convnet, mlp } from './toys.js'

const data = blobs(96)
const dir = mkdtempSync(join(tmpdir(), 'tersor-prune-'))
afterAll(() => rmSync(dir, { recursive: true, force: true }))
const bit = (mask: Uint8Array, i: number): number => (mask[i >> 3]! >> (i & 7)) & 1
const run = (model: Model, pass: PassSpec, from: NumberDataset = data): Promise<CompressResult> =>
  compress(model, recipe([[pass]]), { data: from })
const weightOf = (m: Model, path: string): MaskedWeight => m.weights().find((w) => w.path === path)!.weight as MaskedWeight
const valuesOf = (m: Model, path: string): Float32Array => m.leaves().get(path)!.value.read() as Float32Array
const bitsAt = (m: Model, path: string): number[] => {
  const { value, mask } = m.leaves().get(path)!
  const bits = mask!.read() as Uint8Array
  return Array.from({ length: value.size }, (_, i) => bit(bits, i))
}
const keptIn = (m: Model): number =>
  m
    .weights()
    .filter((w) => w.weight.kind === 'masked')
    .reduce((n, w) => n + (w.weight as MaskedWeight).kept(), 0)
/** 1 at the k largest. */
const top = (scores: readonly number[], k: number): number[] => {
  const best = new Set(
    Array.from(scores.keys())
      .sort((a, b) => scores[b]! - scores[a]! || a - b)
      .slice(0, k),
  )
  return scores.map((_, i) => (best.has(i) ? 1 : 0))
}

/** One layer, softmax behind it: every derivative of its loss is known. */
const [classes, width] = [3, 4]
const softmaxModel = new Model(build(linear({ in: width, out: classes, bias: false, init: 'he' }), freshValues(Rng.of(5, 'init'))), {
  ...{ name: 'softmax', task: 'classification' as const, classes: ['a', 'b', 'c'], inputShape: [width], history: [] },
})
const few = blobs(40, { width })
function closedForms(): { readonly w: number[]; readonly gradient: number[]; readonly curvature: number[]; readonly norms: number[] } {
  const w = [...valuesOf(softmaxModel, 'weight')]
  const { x, labels } = few.batch(Array.from({ length: few.size }, (_, i) => i))
  const [gradient, curvature, squares] = [w.map(() => 0), w.map(() => 0), new Array<number>(width).fill(0)]
  for (let i = 0; i < few.size; i++) {
    const row = [...x.subarray(i * width, (i + 1) * width)]
    const scores = Array.from({ length: classes }, (_, c) => Math.exp(row.reduce((s, v, j) => s + v * w[c * width + j]!, 0)))
    const all = scores.reduce((a, b) => a + b)
    row.forEach((v, j) => (squares[j]! += v * v))
    for (let c = 0; c < classes; c++)
      for (let j = 0; j < width; j++) {
        const p = scores[c]! / all
        gradient[c * width + j]! += ((p - (labels[i] === c ? 1 : 0)) * row[j]!) / few.size
        curvature[c * width + j]! += (p * (1 - p) * row[j]! ** 2) / few.size
      }
  }
  return { w, gradient, curvature, norms: squares.map(Math.sqrt) }
}

describe('scores have their closed forms (A4.2)', () => {
  const { w, gradient, curvature, norms } = closedForms()

  it('gradient: |g w|, and to second order |-g w + h w^2 / 2| with h the mean square of batch gradients', async () => {
    const first = await run(softmaxModel, prune.gradient({ sparsity: 0.5 }), few)
    expect(bitsAt(first.model, 'weight')).toEqual(
      top(
        w.map((x, i) => Math.abs(x * gradient[i]!)),
        6,
      ),
    )
    // All examples are one batch: h = g^2.
    const second = await run(softmaxModel, prune.gradient({ sparsity: 0.25, order: 2 }), few)
    expect(bitsAt(second.model, 'weight')).toEqual(
      top(
        w.map((x, i) => Math.abs(-x * gradient[i]! + 0.5 * (x * gradient[i]!) ** 2)),
        9,
      ),
    )
  })

  it('OBD: h w^2 / 2 with the diagonal of the Hessian; another order than |w|', async () => {
    const scores = w.map((x, i) => 0.5 * curvature[i]! * x * x)
    const { model } = await run(softmaxModel, prune.obd({ sparsity: 0.5, vectors: 800 }), few)
    expect(bitsAt(model, 'weight')).toEqual(top(scores, 6))
    expect(top(scores, 6)).not.toEqual(top(w.map(Math.abs), 6))
  })

  it('Wanda: |w| |x_j|, the same number in each row', async () => {
    const { model } = await run(softmaxModel, prune.wanda({ sparsity: 0.5 }), few)
    const scores = w.map((x, i) => Math.abs(x) * norms[i % width]!)
    expect(bitsAt(model, 'weight')).toEqual([0, 1, 2].flatMap((r) => top(scores.slice(r * width, (r + 1) * width), 2)))
    const wide = await run(convnet(), prune.wanda({ sparsity: 0.7 }), blobs(20, { width: 64, classes: 2 }))
    for (const [path, rows, cols] of [['conv.weight', 6, 9] as const, ['fc.weight', 2, 96] as const]) {
      const bits = bitsAt(wide.model, path)
      for (let r = 0; r < rows; r++) expect(bits.slice(r * cols, (r + 1) * cols).reduce((a, b) => a + b)).toBe(Math.round(cols * 0.3))
    }
  })

  it('random: exact counts; like magnitude takes as many of each layer as magnitude does, elsewhere', async () => {
    const plain = await run(mlp(), prune.random({ sparsity: 0.6, scope: 'global' }))
    expect(keptIn(plain.model)).toBe(Math.round((8 * 32 + 32 * 32 + 96) * 0.4))
    const like = await run(mlp(), prune.random({ sparsity: 0.9, scope: 'global', like: 'magnitude' }))
    const real = await run(mlp(), prune.magnitude({ sparsity: 0.9, scope: 'global' }))
    for (const path of ['fc1.weight', 'fc2.weight', 'fc3.weight'])
      expect(weightOf(like.model, path).kept()).toBe(weightOf(real.model, path).kept())
    expect(bitsAt(like.model, 'fc2.weight')).not.toEqual(bitsAt(real.model, 'fc2.weight'))
    expect(bitsAt((await run(mlp(), prune.random({ sparsity: 0.6, scope: 'global' }))).model, 'fc2.weight')).toEqual(
      bitsAt(plain.model, 'fc2.weight'),
    )
  })

  it('Han: a threshold of quality standard deviations, layer by layer', async () => {
    const source = mlp()
    const { model } = await run(source, prune.magnitude({ quality: 1.1 }))
    for (const path of ['fc1.weight', 'fc3.weight']) {
      const values = valuesOf(source, path)
      const mean = values.reduce((a, b) => a + b) / values.length
      const deviation = Math.sqrt(values.reduce((s, v) => s + (v - mean) ** 2, 0) / values.length)
      expect(bitsAt(model, path)).toEqual([...values].map((v) => (Math.abs(v) >= 1.1 * deviation ? 1 : 0)))
    }
    expect(rescaled(0.5, 25, 100)).toBe(0.25)
  })
})

describe('structures (A4.4)', () => {
  it('are read from text', () => {
    expect(structureOf('2:4')).toEqual({ kind: 'nm', n: 2, m: 4 })
    expect(structureOf('16x1')).toEqual({ kind: 'block', rows: 16, cols: 1 })
    for (const bad of ['4:4', '0:4', '1x1', '2:65', '4*4', '']) expect(structureOf(bad)).toBeUndefined()
  })

  it('2:4 keeps the two largest of each four, rows that four does not divide included', async () => {
    expect(nmBits(Float32Array.from([1, 4, 3, 2, 5, 1, 1, 1, 1, 1]), 2, 2, 4)).toEqual(new Uint8Array([0b01110110, 0b10]))
    const { model } = await run(mlp(), prune.magnitude({ structure: '2:4' }))
    const [bits, values] = [bitsAt(model, 'fc2.weight'), valuesOf(model, 'fc2.weight')]
    for (let i = 0; i < bits.length; i += 4) {
      expect(bits.slice(i, i + 4).reduce((a, b) => a + b)).toBe(2)
      expect([...values.subarray(i, i + 4)].map((v) => (v === 0 ? 0 : 1))).toEqual(bits.slice(i, i + 4))
    }
  })

  it('blocks go and stay whole, to the nearest block', async () => {
    const { model } = await run(mlp(), prune.magnitude({ sparsity: 0.75, structure: '4x4', scope: 'global', keepClassifier: true }))
    const bits = bitsAt(model, 'fc2.weight')
    for (let r = 0; r < 32; r += 4)
      for (let c = 0; c < 32; c += 4) {
        const block = [0, 1, 2, 3].flatMap((i) => bits.slice((r + i) * 32 + c, (r + i) * 32 + c + 4))
        expect(new Set(block).size).toBe(1)
      }
    expect(keptIn(model)).toBe((16 + 64) * 4)
    expect(model.weights().find((w) => w.path === 'fc3.weight')!.weight.kind).toBe('dense')
  })

  it.each(['bitmask', '4x4', '16x1', '1x16', '2:4'] as const)(
    'sparsify/layout %s: the same outputs on the native kernel, smaller, through a file',
    async (layout) => {
      const structure = layout === 'bitmask' ? 'weight' : layout
      const amount = layout === '2:4' ? { structure } : { structure, sparsity: 0.8 }
      const { model } = await run(mlp(), prune.magnitude(amount, { targets: ['fc2.weight'] }))
      const { model: small } = await run(model, sparsify.layout({ layout }, { targets: ['fc2.weight'] }))
      const [before, after] = [weightOf(model, 'fc2.weight'), weightOf(small, 'fc2.weight')]
      expect(after.kind).toBe('sparse-layout')
      expect(after.bytes()).toBeLessThan(before.bytes())
      expect([...(after.dense().read() as Float32Array)]).toEqual([...(before.dense().read() as Float32Array)])
      const x = tensor(
        Float32Array.from({ length: 5 * 8 }, (_, i) => Math.sin(i)),
        [5, 8],
      )
      const file = join(dir, `${layout.replace(':', '-')}.safetensors`)
      saveModel(small, file)
      const [want, got] = [model.predict(x).read(), loadModel(file).predict(x).read()]
      want.forEach((v, i) => expect(Number(got[i])).toBeCloseTo(Number(v), 5))
    },
  )

  it('a weight that is not 2:4 is left alone', async () => {
    const { report } = await run(mlp(), sparsify.layout({ layout: '2:4' }))
    expect(report.passes[0]!.layers).toEqual([])
    expect(report.passes[0]!.notes).toHaveLength(3)
  })
})

describe('whole-model compression (A4.3)', () => {
  it.each(['local', 'global'] as const)('%s: measured = asked for, to one weight', async (scope) => {
    for (const compression of [1.7, 4]) {
      const source = mlp()
      const total = source.parameters()
      const { model } = await run(source, prune.magnitude({ compression, scope, keepClassifier: true }))
      const rest = total - 8 * 32 - 32 * 32
      expect(Math.abs(keptIn(model) + rest - total / compression)).toBeLessThanOrEqual(0.5)
    }
  })

  it('more than what is not pruned allows is refused with what is possible', async () => {
    await expect(run(mlp(), prune.magnitude({ compression: 100 }))).rejects.toMatchObject({
      code: 'ERR_OPTION',
      message: expect.stringMatching(/67 are not pruned; less than 21\.54 is possible/),
    })
    expect(densityFor(4, { total: 100, prunable: 90 })).toBe(15 / 90)
    expect(apportion([3, 3, 3], 0.5)).toEqual([2, 1, 2])
  })
})

describe('surgeon (A5.2)', () => {
  const n = 6
  const rng = Rng.of(3, 'surgeon')
  const samples = Array.from({ length: 40 }, () => Array.from({ length: n }, () => rng.normal()))
  const h = new Float64Array(n * n)
  for (const x of samples) for (let i = 0; i < n; i++) for (let j = 0; j < n; j++) h[i * n + j]! += x[i]! * x[j]!
  const w = Float64Array.from({ length: n }, () => rng.normal())
  const inv = inverse(cholesky(h, n)!, n)
  const rise = (v: Float64Array): number => samples.reduce((s, x) => s + x.reduce((t, xi, i) => t + xi * (w[i]! - v[i]!), 0) ** 2, 0)

  it('dw equals re-solving with w_q = 0, and costs what it says', () => {
    for (let q = 0; q < n; q++) {
      const step = Float64Array.from(w, (v, i) => v - (w[q]! / inv[q * n + q]!) * inv[i * n + q]!)
      const again = refit(
        w,
        h,
        [0, 1, 2, 3, 4, 5].filter((i) => i !== q),
      )
      again.forEach((v, i) => expect(v).toBeCloseTo(i === q ? 0 : step[i]!, 9))
      expect(rise(again)).toBeCloseTo(w[q]! ** 2 / inv[q * n + q]!, 9)
    }
    const x = solve(
      cholesky(h, n)!,
      n,
      Float64Array.from({ length: n }, (_, i) => h[i * n]!),
    )
    x.forEach((v, i) => expect(v).toBeCloseTo(i === 0 ? 1 : 0, 9))
  })

  it('costs add up to the rise of the error; greedy is at most the best single removal', () => {
    const { order, costs } = removalOrder(w, inv, new Uint8Array(n).fill(1), 4)
    const kept = [0, 1, 2, 3, 4, 5].filter((i) => !order.includes(i))
    expect(rise(refit(w, h, kept))).toBeCloseTo(
      costs.reduce((a, b) => a + b),
      8,
    )
    expect(costs[0]).toBeCloseTo(Math.min(...Array.from({ length: n }, (_, q) => w[q]! ** 2 / inv[q * n + q]!)), 12)
  })

  const outputs = (m: Model): number[] =>
    Array.from(m.predict(tensor(data.batch(Array.from({ length: 96 }, (_, i) => i)).x, [96, 8])).read(), Number)
  const distance = (a: readonly number[], b: readonly number[]): number => a.reduce((s, v, i) => s + (v - b[i]!) ** 2, 0)

  it('OBS and SparseGPT: exact counts, and outputs nearer than masking leaves them; OBS nearest', async () => {
    const source = mlp()
    const before = outputs(source)
    const where = { targets: ['fc1.weight'] }
    const far = distance(before, outputs((await run(source, prune.magnitude({ sparsity: 0.5 }, where))).model))
    const gpt = await run(source, prune.sparsegpt({ sparsity: 0.5, damping: 1e-4 }, where))
    const exact = await run(source, prune.obs({ sparsity: 0.5, damping: 1e-4, scope: 'local' }, where))
    expect([weightOf(gpt.model, 'fc1.weight').kept(), weightOf(exact.model, 'fc1.weight').kept()]).toEqual([128, 128])
    expect(distance(before, outputs(gpt.model))).toBeLessThan(0.9 * far)
    expect(distance(before, outputs(exact.model))).toBeLessThan(distance(before, outputs(gpt.model)))
    expect(gpt.report.passes[0]!.notes[0]!.text).toMatch(/^output error 0\.\d+ of that without the update$/)
  })

  it('in 2:4, and on from a mask: what is pruned stays so', async () => {
    for (const make of [prune.sparsegpt, prune.obs]) {
      const { model } = await run(convnet(), make({ structure: '2:4' }), blobs(30, { width: 64, classes: 2 }))
      const bits = bitsAt(model, 'fc.weight')
      for (let i = 0; i < bits.length; i += 4) expect(bits.slice(i, i + 4).reduce((a, b) => a + b)).toBe(2)
      const { model: more } = await run(model, make({ sparsity: 0.75 }), blobs(30, { width: 64, classes: 2 }))
      bitsAt(more, 'fc.weight').forEach((b, i) => expect(b).toBeLessThanOrEqual(bits[i]!))
      expect(weightOf(more, 'fc.weight').kept()).toBe(48)
    }
  })
})

it('says what was cut off', async () => {
  const { report } = await run(mlp(), prune.magnitude({ sparsity: 0.97, scope: 'global' }))
  expect(report.passes[0]!.notes.map((x) => x.text).join('\n')).toMatch(/no weight is left in \d+ of 32 rows .* and \d+ of \d+ columns/)
})

it.each([
  [{ structure: '2:4', sparsity: 0.5 }, '/structure'],
  [{ structure: '5x', sparsity: 0.5 }, '/structure'],
  [{ iterative: {} }, '/iterative/rounds'],
  [{ sparsity: 0.5, compression: 2 }, '/sparsity'],
  [{ sparsity: 0.5, rescaleDropout: true }, '/rescaleDropout'],
])('%j is refused at %s', (options, pointer) => {
  expect(() => parseRecipe({ recipe: 1, stages: [[{ pass: 'prune/magnitude', options }]] })).toThrow(pointer)
})
