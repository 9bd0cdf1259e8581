/** Sensitivities of layers against nets whose Hessian is known, the three methods against each other, resume, errors. */
import { describe, expect, it } from 'vitest'
import { metrics, sensitivity } from '../../ts/analyze/index.js'
import type { Sensitivities, SensitivityOptions, SensitivityState } from '../../ts/analyze/sensitivity/index.js'
import { Rng } from '../../ts/base/rng.js'
import { gridQuantizer } from '../../ts/compress/index.js'
import { numberDataset, type NumberDataset } from '../../ts/data/index.js'
import { memory } from '../../ts/native/devices.js'
import { activation, build, DenseWeight, freshValues, linear, Model, sequential } from '../../ts/nn/index.js'
import { gather, mul, sub, sum } from '../../ts/ops/index.js'
import { scope, tensor, type Tensor } from '../../ts/tensor/index.js'
import { jacobi } from './jacobi.js'
import { blobs, mlp } from '../compress/toys.js'

/** The code of what ends the work. */
const asyncCode = (work: Promise<unknown>): Promise<string> => work.then(() => 'nothing', (error: { code: string }) => error.code) // prettier-ignore

const { sensitivities } = sensitivity
const quantize = gridQuantizer({ layout: 'tensor', scales: 'f32', range: 'max' })

/** Two linear maps, their outputs on n inputs as targets: the loss is 0, and its Hessian is known in closed form. */
function linearNet(
  inputs: number[][],
  first?: number[][],
): { model: Model; data: NumberDataset; loss: (y: Tensor, labels: Tensor) => Tensor; w: number[][][] } {
  const n = inputs.length
  const width = inputs[0]!.length
  const rng = Rng.of(8)
  const matrix = (rows: number, cols: number): number[][] =>
    Array.from({ length: rows }, () => Array.from({ length: cols }, () => rng.normal()))
  const w = [first ?? matrix(5, width), matrix(3, 5)]
  const base = new Model(
    build(sequential({ fc1: linear({ in: width, out: 5, bias: false, init: 'he' }), fc2: linear({ in: 5, out: 3, bias: false, init: 'he' }) }), freshValues(Rng.of(1))), // prettier-ignore
    { name: 'linear net', task: 'classification', inputShape: [width], history: [] },
  )
  const model = base.withWeights(new Map([['fc1.weight', new DenseWeight(tensor(w[0]!))], ['fc2.weight', new DenseWeight(tensor(w[1]!))]])) // prettier-ignore
  const data = numberDataset({
    name: 'inputs',
    features: Float32Array.from(inputs.flat()),
    inputShape: [width],
    labels: Int32Array.from({ length: n }, (_, i) => i),
    classes: inputs.map((_, i) => `${i}`),
  })
  const targets = scope(() => model.forward(tensor(inputs)).read()) as Float32Array
  const loss = (y: Tensor, labels: Tensor): Tensor => {
    const d = sub(y, gather(tensor(targets, [n, 3]), labels))
    return mul(sum(mul(d, d)), tensor(0.5 / labels.size))
  }
  return { model, data, loss, w }
}

const product = (a: number[][], b: number[][]): number[][] =>
  a.map((row) => b[0]!.map((_, j) => row.reduce((s, v, k) => s + v * b[k]![j]!, 0)))
const transpose = (a: number[][]): number[][] => a[0]!.map((_, j) => a.map((row) => row[j]!))
const traceOf = (a: number[][]): number => a.reduce((s, row, i) => s + row[i]!, 0)
const topOf = (a: number[][]): number => Math.max(...jacobi(a))
const scaled = (a: number[][], c: number): number[][] => a.map((row) => row.map((v) => v * c))

const inputs = Array.from({ length: 12 }, (_, i) => Array.from({ length: 4 }, (_, j) => Math.sin(3 * i + j) * (j + 1)))

describe('sensitivities of a net whose Hessian is known', () => {
  // H of fc1 = W2' W2 (x) mean x x', H of fc2 = I (x) mean h h' with h = W1 x, where the residual is 0.
  const { model, data, loss, w } = linearNet(inputs)
  const second = (x: number[][]): number[][] => scaled(product(transpose(x), x), 1 / x.length)
  const gram = product(transpose(w[1]!), w[1]!)
  const hidden = product(inputs, transpose(w[0]!))

  it('trace: that of each block over its size (HAWQ-v2)', async () => {
    const { groups, method } = await sensitivities(model, data, { quantize, loss, iterations: 4000, tolerance: 0.03 })
    expect(method).toBe('trace')
    const want = [traceOf(gram) * traceOf(second(inputs)), 3 * traceOf(second(hidden))]
    groups.forEach((g, i) => {
      const { value, standardError, samples } = g.trace!
      expect(samples).toBeLessThan(4000)
      expect(standardError!).toBeLessThanOrEqual(0.03 * Math.abs(value))
      expect(Math.abs(value - want[i]!)).toBeLessThan(4 * standardError!)
      expect(g.sensitivity).toBeCloseTo(value / g.parameters, 10)
      for (const c of g.choices) expect(c.cost).toBeCloseTo((g.sensitivity * c.perturbation) / 2, 10)
    })
  })

  it('eigenvalue: |mean| + deviation over the parts of the data (Q-BERT)', async () => {
    const whole = await sensitivities(model, data, { quantize, loss, method: 'eigenvalue', shards: 1, tolerance: 1e-6, iterations: 1000 })
    const want = [topOf(gram) * topOf(second(inputs)), topOf(second(hidden))]
    whole.groups.forEach((g, i) => expect(g.sensitivity / want[i]!).toBeCloseTo(1, 4))
    const parts = await sensitivities(model, data, { quantize, loss, method: 'eigenvalue', shards: 3, tolerance: 1e-6, iterations: 1000 })
    for (const g of parts.groups) {
      const { shards, mean, deviation, converged } = g.eigenvalue!
      expect(shards).toHaveLength(3)
      expect(converged).toBe(3)
      const m = shards.reduce((a, b) => a + b) / 3
      expect(mean).toBeCloseTo(m, 10)
      expect(deviation).toBeCloseTo(Math.sqrt(shards.reduce((s, v) => s + (v - m) ** 2, 0) / 3), 10)
      expect(g.sensitivity).toBeCloseTo(Math.abs(m) + deviation, 10)
    }
  })

  it('where every direction is alike the predicted rise of the loss is the measured one', async () => {
    // Inputs and first layer a multiple of the unit matrix: H of the second layer is one too.
    const unit = (c: number): number[][] => Array.from({ length: 5 }, (_, i) => Array.from({ length: 5 }, (_, j) => (i === j ? c : 0)))
    const alike = linearNet(unit(3), unit(1))
    const targets = alike.model.weights().filter(({ path }) => path === 'fc2.weight')
    const run = (method: 'trace' | 'eigenvalue' | 'direct'): Promise<Sensitivities> =>
      sensitivities(alike.model, alike.data, { quantize, loss: alike.loss, method, targets, shards: 1, iterations: 8 })
    const direct = await run('direct')
    expect(direct.loss).toBeLessThan(1e-10)
    for (const predicted of [await run('trace'), await run('eigenvalue')]) {
      expect(predicted.groups[0]!.sensitivity).toBeCloseTo(9 / 5, 5)
      predicted.groups[0]!.choices.forEach(({ cost }, i) => expect(cost / direct.groups[0]!.choices[i]!.cost).toBeCloseTo(1, 4))
    }
  })
})

describe('sensitivities of classifiers', () => {
  const data = blobs(60)
  const model = mlp()
  const options: SensitivityOptions = { quantize, iterations: 8 }

  it('direct: the loss and the accuracy with that layer alone rounded; 32 bits are free', async () => {
    const found = await sensitivities(model, data, { ...options, method: 'direct', bits: [32, 2, 8] })
    expect(found.groups.map((g) => g.name)).toEqual(['fc1.weight', 'fc2.weight', 'fc3.weight'])
    for (const g of found.groups) {
      expect(g.choices.map((c) => c.bits)).toEqual([2, 8, 32])
      expect(g.choices[2]).toMatchObject({ perturbation: 0, cost: 0, bytes: g.bytes, accuracy: found.accuracy })
      expect(Math.abs(g.choices[0]!.cost)).toBeGreaterThan(Math.abs(g.choices[1]!.cost))
    }
    const [first] = found.groups
    const weight = await quantize(
      model.weights().find((w) => w.path === 'fc1.weight')!,
      2,
    )
    const alone = await sensitivities(model.withWeights(new Map([['fc1.weight', weight]])), data, { ...options, method: 'direct' })
    expect(alone.loss - found.loss).toBeCloseTo(first!.choices[0]!.cost, 6)
    weight.dispose()
  })

  it('groups of layers: bytes, distances and traces are sums over their weights', async () => {
    const own = await sensitivities(model, data, { ...options, tolerance: 0 })
    const { groups } = await sensitivities(model, data, { ...options, tolerance: 0, groups: ['fc?'] })
    expect(groups.map((g) => g.name)).toEqual(['fc1', 'fc2', 'fc3'])
    const pair = nested()
    const together = await sensitivities(pair, data, { ...options, tolerance: 0, groups: ['body'] })
    expect(together.groups.map((g) => [g.name, g.paths.length])).toEqual([['body', 2], ['head.weight', 1]]) // prettier-ignore
    const apart = await sensitivities(pair, data, { ...options, tolerance: 0 })
    const total = (of: (g: (typeof apart.groups)[number]) => number): number => of(apart.groups[0]!) + of(apart.groups[1]!)
    expect(together.groups[0]!.choices[0]!.bytes).toBe(total((g) => g.choices[0]!.bytes))
    expect(together.groups[0]!.choices[0]!.perturbation).toBeCloseTo(
      total((g) => g.choices[0]!.perturbation),
      6,
    )
    expect(together.groups[0]!.trace!.value).toBeCloseTo(
      total((g) => g.trace!.value),
      4,
    )
    expect(own.groups).toHaveLength(3)
  })

  it('goes on after any piece of work with the same bits', async () => {
    for (const method of ['trace', 'eigenvalue', 'direct'] as const) {
      const states: SensitivityState[] = []
      const all = { ...options, method, shards: 2, tolerance: 0.2 }
      const straight = await sensitivities(model, data, {
        ...all,
        onState: (s) => void states.push(JSON.parse(JSON.stringify(s)) as SensitivityState),
      })
      expect(states.length).toBeGreaterThan(8)
      for (const state of states.filter((_, i) => i % 4 === 1))
        expect(await sensitivities(model, data, { ...all, state })).toEqual(straight)
      let pieces = 0
      await sensitivities(model, data, { ...all, state: states.at(-1)!, onState: () => void pieces++ })
      expect(pieces).toBe(0)
    }
  })

  it('stops when asked, leaves nothing behind, tells how far it is', async () => {
    const before = memory().tensors
    for (const method of ['trace', 'eigenvalue', 'direct'] as const) {
      const stop = new AbortController()
      const stages: string[] = []
      const running = sensitivities(model, data, {
        ...options,
        method,
        shards: 2,
        signal: stop.signal,
        onProgress: ({ stage, done, total }) => {
          expect(done).toBeLessThanOrEqual(total)
          stages.push(stage)
          if (stage !== 'rounding' && done === 2) stop.abort()
        },
      })
      expect(await asyncCode(running)).toBe('ERR_ABORTED')
      expect(stages).toContain(method === 'direct' ? 'loss' : method === 'trace' ? 'trace' : 'eigenvalues')
    }
    expect(memory().tensors).toBe(before)
  })

  it('the order by curvature is near the measured one', async () => {
    const predicted = await sensitivities(model, data, { ...options, iterations: 64 })
    const measured = await sensitivities(model, data, { ...options, method: 'direct' })
    const costs = (s: typeof predicted): number[] => s.groups.flatMap((g) => g.choices.map((c) => Math.abs(c.cost)))
    expect(metrics.spearman(costs(predicted), costs(measured))).toBeGreaterThan(0.5)
  })

  it('refuses what cannot be measured', async () => {
    const wrong = async (change: Partial<SensitivityOptions>, of = model, on = data): Promise<string> =>
      asyncCode(sensitivities(of, on, { ...options, ...change }))
    expect(await wrong({ bits: [1] })).toBe('ERR_OPTION')
    expect(await wrong({ bits: [] })).toBe('ERR_OPTION')
    expect(await wrong({ method: 'luck' as 'trace' })).toBe('ERR_OPTION')
    expect(await wrong({ groups: ['conv*'] })).toBe('ERR_OPTION')
    expect(await wrong({ targets: [] })).toBe('ERR_OPTION')
    expect(await wrong({ iterations: 0 })).toBe('ERR_OPTION')
    expect(await wrong({ tolerance: -1 })).toBe('ERR_OPTION')
    expect(await wrong({ method: 'eigenvalue', shards: 61 })).toBe('ERR_OPTION')
    expect(await wrong({ seed: 0.5 })).toBe('ERR_OPTION')
    expect(await wrong({}, model.withInfo({ task: 'embedding' }))).toBe('ERR_OPTION') // no labels to compare with
    expect(await wrong({}, mlp({ classes: 4 }))).toBe('ERR_OPTION')
    expect(await wrong({}, model, blobs(0))).toBe('ERR_DATA')
    const nan = numberDataset({
      name: 'nan',
      features: new Float32Array(8 * 4).fill(NaN),
      inputShape: [8],
      labels: new Int32Array(4),
      classes: data.classes,
    })
    expect(await wrong({}, model, nan)).toBe('ERR_NUMERIC')
    const found = await sensitivities(model, data, options)
    expect(sensitivity.parseSensitivities(JSON.parse(JSON.stringify(found)))).toEqual(found)
    expect(() => sensitivity.parseSensitivities({ ...found, groups: [] })).toThrow(/\/groups/)
    expect(() => sensitivity.parseSensitivities({ ...found, luck: 1 })).toThrow(/luck/)
  })
})

function nested(): Model {
  const relu = activation({ function: 'relu' })
  const root = sequential({
    body: sequential({
      a: linear({ in: 8, out: 16, bias: true, init: 'he' }),
      relu,
      b: linear({ in: 16, out: 16, bias: true, init: 'he' }),
    }),
    head: linear({ in: 16, out: 3, bias: true, init: 'he' }),
  })
  return new Model(build(root, freshValues(Rng.of(2))), { name: 'nested', task: 'classification', inputShape: [8], history: [] })
}
