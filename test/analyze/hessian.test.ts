/** Second-order analysis: known spectra, a small net against its dense Hessian, determinism, stop rules, errors. */
import { afterEach, describe, expect, it } from 'vitest'
import { hessian } from '../../ts/analyze/index.js'
import type { HessianProgress, SymmetricOperator } from '../../ts/analyze/hessian/index.js'
import { Rng } from '../../ts/base/rng.js'
import { numberDataset, type NumberDataset } from '../../ts/data/index.js'
import { memory, setThreads, threads } from '../../ts/native/devices.js'
import { activation, build, freshValues, linear, maskWeight, Model, sequential } from '../../ts/nn/index.js'
import { innerProduct, matmul, mul, sum, topkMask } from '../../ts/ops/index.js'
import { scope, tensor, zeros, type Tensor } from '../../ts/tensor/index.js'
import { code } from '../tensor/code.js'
import { jacobi, orthogonal } from './jacobi.js'

const cores = threads()
afterEach(() => setThreads(cores))

/** w' A w / 2 with A = Q diag(spectrum) Q'. */
function quadratic(
  spectrum: readonly number[],
  dtype: 'f32' | 'f64' = 'f64',
): { h: hessian.FunctionHessian; matrix: number[][]; free: () => void } {
  const n = spectrum.length
  const q = orthogonal(n, 5)
  const matrix = q.map((row) => q.map((other) => row.reduce((s, v, k) => s + v * spectrum[k]! * other[k]!, 0)))
  const a = tensor(matrix, undefined, dtype)
  const w = tensor(
    Array.from({ length: n }, (_, i) => [Math.sin(i)]),
    undefined,
    dtype,
  )
  const half = tensor(0.5, undefined, dtype)
  const h = hessian.ofFunction(() => mul(half, sum(mul(w, matmul(a, w)))), [w])
  return {
    h,
    matrix,
    free: () => {
      h.dispose()
      for (const t of [a, w, half]) t.dispose()
    },
  }
}

const spectrum = [10, -7, 4, ...Array.from({ length: 37 }, (_, i) => Math.cos(i))]

/** 4-5-3 net on 40 examples: 43 parameters. */
function net(masked = false): { model: Model; data: NumberDataset } {
  let model = new Model(
    build(
      sequential({
        fc1: linear({ in: 4, out: 5, bias: true, init: 'he' }),
        tanh: activation({ function: 'tanh' }),
        fc2: linear({ in: 5, out: 3, bias: true, init: 'he' }),
      }),
      freshValues(Rng.of(11)),
    ),
    { name: 'net', task: 'classification', inputShape: [4], history: [] },
  )
  if (masked) {
    const { weight } = model.weights().find(({ path }) => path === 'fc1.weight')!
    const mask = topkMask(weight.dense(), 10, true)
    model = model.withWeights(new Map([['fc1.weight', maskWeight(weight, mask)]]))
    mask.dispose()
    weight.dispose()
  }
  const features = Rng.of(3).fillNormal(new Float32Array(40 * 4))
  const labels = Int32Array.from({ length: 40 }, (_, i) => (i * i) % 3)
  return { model, data: numberDataset({ name: 'toy', features, inputShape: [4], labels, classes: ['a', 'b', 'c'] }) }
}

/** The matrix of an operator, column by column. */
async function dense(a: SymmetricOperator): Promise<number[][]> {
  const out = zeros([a.size], a.dtype)
  const columns: number[][] = []
  for (let i = 0; i < a.size; i++) {
    const v = zeros([a.size], a.dtype)
    const unit = v.read()
    unit[i] = 1
    v.write(unit)
    await a.apply(v, out)
    columns.push(Array.from(out.read(), Number))
    v.dispose()
  }
  out.dispose()
  return columns
}

const byMagnitude = (values: readonly number[]): number[] => [...values].sort((a, b) => Math.abs(b) - Math.abs(a))
const freePairs = (pairs: readonly { vector: Tensor }[]): void => pairs.forEach((p) => p.vector.dispose())

describe('a quadratic with a known spectrum', () => {
  it('gives its top eigenvalues and vectors by power iteration', async () => {
    const before = memory().tensors
    const { h, matrix, free } = quadratic(spectrum)
    const { pairs, products } = await hessian.powerIteration(h, { top: 3, tolerance: 1e-9, maxIterations: 300 })
    expect(pairs.map((p) => p.converged)).toEqual([true, true, true])
    expect(products).toBe(pairs.reduce((n, p) => n + p.iterations, 0))
    ;[10, -7, 4].forEach((value, i) => {
      expect(pairs[i]!.value).toBeCloseTo(value, 5)
      const v = Array.from(pairs[i]!.vector.read(), Number)
      const av = matrix.map((row) => row.reduce((s, m, k) => s + m * v[k]!, 0))
      expect(Math.hypot(...av.map((x, k) => x - pairs[i]!.value * v[k]!))).toBeLessThan(1e-2)
      expect(Math.hypot(...v)).toBeCloseTo(1, 9)
    })
    freePairs(pairs)
    free()
    expect(memory().tensors).toBe(before)
  })

  it('gives them by Lanczos with a third of the products, and both ends', async () => {
    // Eigenvalues that crowd towards the top, as power iteration likes them least.
    const { h, free } = quadratic(Array.from({ length: 60 }, (_, i) => 1.1 ** i / 1.1 ** 59))
    const power = await hessian.powerIteration(h, { maxIterations: 1000, tolerance: 1e-3 })
    const fast = await hessian.lanczos(h)
    expect(Math.abs(fast.pairs[0]!.value - 1)).toBeLessThan(1e-3)
    expect(fast.pairs[0]!.converged).toBe(true)
    // Until the value itself is within 1e-3 (the stop rule looks at its change only).
    let needed = power.products
    while (Math.abs((await value(h, needed)) - 1) > 1e-3) needed++
    expect(needed).toBeGreaterThanOrEqual(3 * fast.products)
    freePairs([...power.pairs, ...fast.pairs])
    const both = await hessian.lanczos(h, { top: 2, which: 'smallest', tolerance: 1e-8, maxIterations: 60 })
    expect(both.pairs[0]!.value).toBeCloseTo(1 / 1.1 ** 59, 6)
    freePairs(both.pairs)
    free()
    async function value(op: SymmetricOperator, iterations: number): Promise<number> {
      const { pairs } = await hessian.powerIteration(op, { maxIterations: iterations, tolerance: 0 })
      freePairs(pairs)
      return pairs[0]!.value
    }
  })

  it('gives vectors of Lanczos with small residuals, also when the space is exhausted', async () => {
    const { h, matrix, free } = quadratic([3, -2, 1, 0.5])
    const { pairs, products } = await hessian.lanczos(h, { top: 4, tolerance: 0 })
    expect(products).toBe(4)
    pairs.forEach((p, i) => {
      expect(p.value).toBeCloseTo([3, -2, 1, 0.5][i]!, 10)
      const v = Array.from(p.vector.read(), Number)
      const av = matrix.map((row) => row.reduce((s, m, k) => s + m * v[k]!, 0))
      av.forEach((x, k) => expect(x).toBeCloseTo(p.value * v[k]!, 9))
      expect(p.converged).toBe(true)
    })
    freePairs(pairs)
    free()
    // The identity: one step, one value.
    const w = tensor([1, 2, 3])
    const half = tensor(0.5)
    const one = hessian.ofFunction(() => mul(half, sum(mul(w, w))), w)
    const found = await hessian.lanczos(one)
    expect([found.products, found.pairs.length]).toEqual([1, 1])
    expect(found.pairs[0]!.value).toBeCloseTo(1, 6)
    freePairs(found.pairs)
    one.dispose()
    w.dispose()
    half.dispose()
  })

  it('gives trace, diagonal and density', async () => {
    const { h, matrix, free } = quadratic(spectrum)
    const exact = spectrum.reduce((a, b) => a + b, 0)
    const t = await hessian.trace(h, { maxSamples: 2000, tolerance: 0 })
    expect(t.samples.length).toBe(2000)
    expect(Math.abs(t.trace - exact)).toBeLessThan(4 * t.standardError)
    expect(t.standardError).toBeLessThan(0.6)
    const d = await hessian.diagonal(h, { maxSamples: 3000, tolerance: 0 })
    Array.from(d.diagonal.read(), Number).forEach((v, i) => expect(Math.abs(v - matrix[i]![i]!)).toBeLessThan(0.3))
    d.diagonal.dispose()
    const { grid, density, nodes, products } = await hessian.density(h, { vectors: 3 })
    const spacing = grid[1]! - grid[0]!
    expect(density.reduce((a, b) => a + b, 0) * spacing).toBeCloseTo(1, 10)
    expect(products).toBe(3 * 40)
    for (const { values, weights } of nodes) {
      expect(weights.reduce((a, b) => a + b, 0)).toBeCloseTo(1, 10)
      // Full Lanczos: the nodes are the eigenvalues, the moments those of the start vector.
      expect(values[0]).toBeCloseTo(-7, 6)
      expect(values.at(-1)).toBeCloseTo(10, 6)
    }
    const first = nodes.reduce((s, n) => s + n.values.reduce((m, v, i) => m + v * n.weights[i]!, 0), 0) / 3
    expect(Math.abs(first - exact / 40)).toBeLessThan(0.7)
    free()
  })

  it('stops a diagonal matrix after two samples: signs see its trace exactly', async () => {
    const a = tensor([1, 2, 3])
    const w = tensor([1, 1, 1])
    const h = hessian.ofFunction(() => sum(mul(a, mul(w, w))), { w })
    const t = await hessian.trace(h)
    expect([t.trace, t.samples.length, t.converged]).toEqual([12, 2, true])
    expect(t.parts).toEqual([{ name: 'w', trace: 12, standardError: 0 }])
    const d = await hessian.diagonal(h)
    expect([d.diagonal.toArray(), d.samples, d.converged]).toEqual([[2, 4, 6], 2, true])
    for (const x of [d.diagonal, a, w]) x.dispose()
    h.dispose()
  })
})

describe('a small net', () => {
  it('agrees with its dense Hessian to 1e-4, over batches of any size', async () => {
    const { model, data } = net()
    const before = memory().tensors
    const h = hessian.ofModel(model, data, { batchSize: 16 })
    expect(h.size).toBe(43)
    expect(h.parts.map((p) => p.name)).toEqual(['fc1.weight', 'fc1.bias', 'fc2.weight', 'fc2.bias'])
    const matrix = await dense(h)
    matrix.forEach((row, i) => row.forEach((v, j) => expect(Math.abs(v - matrix[j]![i]!)).toBeLessThan(2e-6)))
    const exact = byMagnitude(jacobi(matrix))
    const found = await hessian.lanczos(h, { top: 4, tolerance: 1e-6 })
    const power = await hessian.powerIteration(h, { top: 2, tolerance: 1e-7, maxIterations: 500 })
    found.pairs.forEach((p, i) => expect(Math.abs(p.value - exact[i]!)).toBeLessThan(1e-4))
    power.pairs.forEach((p, i) => expect(Math.abs(p.value - exact[i]!)).toBeLessThan(1e-4))
    freePairs([...found.pairs, ...power.pairs])
    const whole = hessian.ofModel(model, data, { keepBytes: 0 })
    const again = await dense(whole)
    again.forEach((row, i) => row.forEach((v, j) => expect(Math.abs(v - matrix[i]![j]!)).toBeLessThan(1e-6)))
    // Density with as many steps as parameters: its first two moments are v'Hv / n and |Hv|^2 / n of its start vector.
    const { grid, density, nodes } = await hessian.density(h)
    expect(density.reduce((a, b) => a + b, 0) * (grid[1]! - grid[0]!)).toBeCloseTo(1, 6)
    const t = await hessian.trace(h, { maxSamples: 400, tolerance: 0 })
    expect(Math.abs(t.trace - matrix.reduce((s, row, i) => s + row[i]!, 0))).toBeLessThan(4 * t.standardError)
    expect(t.parts.reduce((s, p) => s + p.trace, 0)).toBeCloseTo(t.trace, 6)
    expect(nodes[0]!.values.at(-1)).toBeCloseTo(Math.max(...exact), 4)
    h.dispose()
    whole.dispose()
    expect(memory().tensors).toBe(before)
    model.dispose()
  })

  it('gives the block of some layers, and holds masked parameters out', async () => {
    const { model, data } = net()
    const [whole, block] = [hessian.ofModel(model, data), hessian.ofModel(model, data, { layers: ['fc2'] })]
    const [all, part] = [await dense(whole), await dense(block)]
    expect(block.size).toBe(18)
    part.forEach((row, i) => row.forEach((v, j) => expect(v).toBeCloseTo(all[25 + i]![25 + j]!, 6)))
    whole.dispose()
    block.dispose()
    model.dispose()
    const sparse = net(true)
    const h = hessian.ofModel(sparse.model, sparse.data)
    const matrix = await dense(h)
    const gone = matrix.map((row) => row.every((v) => v === 0))
    expect(gone.slice(0, 20).filter(Boolean).length).toBe(10)
    matrix.forEach((row) => row.forEach((v, j) => gone[j] && expect(v).toBe(0)))
    h.dispose()
    sparse.model.dispose()
  })

  it('gives the same bits with any number of threads', async () => {
    const { model, data } = net()
    const run = async (n: number): Promise<number[]> => {
      setThreads(n)
      const h = hessian.ofModel(model, data, { batchSize: 8 })
      const { pairs } = await hessian.lanczos(h, { top: 2, seed: 4 })
      const power = await hessian.powerIteration(h, { seed: 4 })
      const { trace } = await hessian.trace(h, { seed: 4, maxSamples: 5 })
      const { nodes } = await hessian.density(h, { seed: 4, iterations: 10 })
      const out = [...pairs.map((p) => p.value), power.pairs[0]!.value, trace, ...nodes[0]!.values, ...pairs[0]!.vector.read()].map(Number)
      freePairs([...pairs, ...power.pairs])
      h.dispose()
      return out
    }
    expect(await run(2)).toEqual(await run(1))
    model.dispose()
  })
})

describe('running', () => {
  it('tells its progress and follows a signal, leaving nothing behind', async () => {
    const { model, data } = net()
    const before = memory().tensors
    const h = hessian.ofModel(model, data)
    const events: HessianProgress[] = []
    const first = await hessian.trace(h, { maxSamples: 3, tolerance: 0, onProgress: (e) => events.push(e) })
    expect(events.map((e) => [e.stage, e.done, e.total])).toEqual([1, 2, 3].map((done) => ['trace', done, 3]))
    expect(events[2]!.estimate).toBe(first.trace)
    for (const method of ['powerIteration', 'lanczos', 'trace', 'density', 'diagonal'] as const) {
      const stop = new AbortController()
      await expect(
        hessian[method](h, { signal: stop.signal, tolerance: 0, onProgress: ({ done }) => done === 2 && stop.abort() }),
        method,
      ).rejects.toThrowError(code('ERR_ABORTED'))
    }
    h.dispose()
    await expect(hessian.trace(h)).rejects.toThrowError(code('ERR_DISPOSED'))
    expect(memory().tensors).toBe(before)
    model.dispose()
  })

  it('names what is not finite', async () => {
    const { model, data } = net()
    const bad = new Model(model.root, { ...model.info, normalize: { mean: 0, std: 0 } })
    const before = memory().tensors
    const h = hessian.ofModel(bad, data, { batchSize: 20 })
    await expect(hessian.lanczos(h)).rejects.toThrowError(/batch 0 of toy/)
    await expect(hessian.powerIteration(h)).rejects.toThrowError(code('ERR_NUMERIC'))
    h.dispose()
    // A finite loss with second derivatives that are not.
    const w = tensor([0], undefined, 'f64')
    const huge = tensor(1e200, undefined, 'f64')
    const steep = hessian.ofFunction(() => sum(mul(mul(w, huge), mul(w, huge))), [w])
    for (const method of ['powerIteration', 'lanczos', 'trace', 'density', 'diagonal'] as const)
      await expect(hessian[method](steep), method).rejects.toThrowError(code('ERR_NUMERIC'))
    steep.dispose()
    w.dispose()
    huge.dispose()
    expect(memory().tensors).toBe(before)
    model.dispose()
  })

  it('refuses bad options before any work', async () => {
    const { model, data } = net()
    const empty = numberDataset({
      name: 'none',
      features: new Float32Array(0),
      inputShape: [4],
      labels: new Int32Array(0),
      classes: ['a', 'b', 'c'],
    })
    expect(() => hessian.ofModel(model, empty)).toThrowError(code('ERR_DATA'))
    for (const options of [
      { layers: [] },
      { layers: ['fc9'] },
      { batchSize: 0 },
      { batchSize: NaN },
      { keepBytes: -1 },
      { keepBytes: NaN },
    ])
      expect(() => hessian.ofModel(model, data, options), JSON.stringify(options)).toThrowError(code('ERR_OPTION'))
    expect(() => hessian.ofModel(new Model(model.root, { ...model.info, task: 'embedding' }), data)).toThrowError(code('ERR_OPTION'))
    expect(() => hessian.ofModel(model.withInfo({ classes: ['x'] }), data)).toThrowError(code('ERR_OPTION'))
    expect(() => hessian.ofFunction(() => tensor(1), [])).toThrowError(code('ERR_OPTION'))
    expect(() => hessian.ofFunction(() => tensor(1), [zeros([0])])).toThrowError(code('ERR_OPTION'))
    expect(() => hessian.ofFunction(() => tensor(1), [zeros([1]), zeros([1], 'f64')])).toThrowError(code('ERR_DTYPE'))
    const h = hessian.ofModel(model, data)
    const refused: readonly Promise<unknown>[] = [
      hessian.powerIteration(h, { top: 0 }),
      hessian.powerIteration(h, { top: 44 }),
      hessian.powerIteration(h, { maxIterations: 0.5 }),
      hessian.powerIteration(h, { tolerance: NaN }),
      hessian.powerIteration(h, { seed: -1 }),
      hessian.lanczos(h, { top: 5, maxIterations: 4 }),
      hessian.lanczos(h, { which: 'middle' as never }),
      hessian.lanczos(h, { tolerance: -1 }),
      hessian.trace(h, { maxSamples: 0 }),
      hessian.trace(h, { seed: 2 ** 53 }),
      hessian.diagonal(h, { tolerance: Infinity }),
      hessian.density(h, { iterations: 0 }),
      hessian.density(h, { vectors: NaN }),
      hessian.density(h, { bins: 1 }),
    ]
    for (const r of await Promise.allSettled(refused)) expect((r as PromiseRejectedResult).reason).toMatchObject({ code: 'ERR_OPTION' })
    h.dispose()
    model.dispose()
  })

  it('takes another loss', async () => {
    const { model, data } = net()
    const h = hessian.ofModel(new Model(model.root, { ...model.info, task: 'embedding' }), data, {
      loss: (y) => mul(sum(mul(y, y)), tensor(1 / y.shape[0]!)),
      layers: ['fc2.bias'],
    })
    expect((await dense(h)).map((row) => row.map((v) => Math.round(v * 1e5) / 1e5))).toEqual([
      [2, 0, 0],
      [0, 2, 0],
      [0, 0, 2],
    ])
    h.dispose()
    model.dispose()
  })
})

describe('tridiagonalEigen', () => {
  it('agrees with Jacobi, vectors included, also when the matrix splits', () => {
    for (const off of [
      [1, 2, 3, 0.5],
      [1, 0, 3, 0],
      [0, 0, 0, 0],
    ]) {
      const d = [4, -1, 2, 2, 7]
      const matrix = d.map((v, i) => d.map((_, j) => (i === j ? v : Math.abs(i - j) === 1 ? off[Math.min(i, j)]! : 0)))
      const { values, rows } = hessian.tridiagonalEigen(d, off, [0, 1, 2, 3, 4])
      const want = jacobi(matrix).sort((a, b) => a - b)
      values.forEach((v, i) => expect(v).toBeCloseTo(want[i]!, 10))
      for (let k = 0; k < 5; k++) {
        const vector = rows.map((row) => row[k]!)
        matrix.forEach((row, i) => expect(row.reduce((s, m, j) => s + m * vector[j]!, 0)).toBeCloseTo(values[k]! * vector[i]!, 9))
      }
    }
    expect(Array.from(hessian.tridiagonalEigen([3], [], [0]).values)).toEqual([3])
  })
})

describe('innerProduct', () => {
  it('sums in double precision', () =>
    scope(() => {
      expect(innerProduct(tensor([1e8, 1, -1e8]), tensor([1, 1, 1]))).toBe(1)
    }))
})
