/** Calibrators of static quantization: each against its definition, and that the memory they take does not grow with the data. */
import { describe, expect, it } from 'vitest'
import { compress, quantize, recipe } from '../../ts/compress/index.js'
import { divergence, entropyRange } from '../../ts/compress/observe/entropy.js'
import { HistogramObserver, type Distribution } from '../../ts/compress/observe/histogram.js'
import { movingRange } from '../../ts/compress/observe/ranges.js'
import { inputQuantization } from '../../ts/compress/quantize/input-range.js'
import { Rng } from '../../ts/base/rng.js'
import { build, freshValues, lstm, Model, type QuantizedWeight } from '../../ts/nn/index.js'
import { numberDataset } from '../../ts/data/dataset.js'
import { scope, tensor } from '../../ts/tensor/index.js'
import { blobs, mlp } from './toys.js'

function seen(...batches: (readonly number[] | Float32Array)[]): Distribution {
  const o = new HistogramObserver('layer')
  for (const b of batches) scope(() => o.see(tensor(Float32Array.from(b))))
  return o.value()
}
const normals = (n: number, scale: number, seed = 1): Float32Array => Rng.of(seed, 'c').fillNormal(new Float32Array(n), 0, scale)
const options = { calibration: 'percentile', percentile: 99.99, decay: 0.9, inputs: 'affine', samples: 512 } as const

describe('entropy', () => {
  it("the worked example of Migacz's slides: 8 counters in 2 codes", () => {
    const p = [1, 0, 2, 3, 5, 3, 1, 7]
    const q = [2, 0, 2, 2, 4, 4, 4, 4]
    const by = p.reduce((sum, x, i) => (x === 0 ? sum : sum + (x / 22) * Math.log(x / q[i]!)), 0)
    expect(divergence(p, 0, 0, 2)).toBeCloseTo(by, 12)
  })

  it('what lies outside counts at the ends of the reference and nowhere in the codes', () => {
    // P = [1 + 2, 1, 1, 1 + 4] / 10, Q = 1/4 each.
    const by = [3, 1, 1, 5].reduce((sum, x) => sum + (x / 10) * Math.log(x / 10 / 0.25), 0)
    expect(divergence([1, 1, 1, 1], 2, 4, 4)).toBeCloseTo(by, 12)
    // Values outside an empty end: almost no codes are left for them.
    expect(divergence([4, 4, 0, 0], 0, 8, 2)).toBeGreaterThan(2)
    expect(divergence([0, 0], 0, 0, 2)).toBe(0)
    expect(divergence([0, 0], 1, 0, 2)).toBe(Infinity)
  })

  it('as many codes as counters lose nothing; fewer lose more, the fewer they are', () => {
    const counts = Float64Array.from({ length: 64 }, (_, i) => 1 + ((i * 37) % 11))
    expect(divergence(counts, 0, 0, 64)).toBe(0)
    const losses = [32, 16, 8, 4].map((levels) => divergence(counts, 0, 0, levels))
    losses.forEach((loss, i) => expect(loss).toBeGreaterThan(i === 0 ? 0 : losses[i - 1]!))
  })

  it('keeps all of a uniform distribution, cuts an outlier off, and never gives more than was seen', () => {
    const uniform = Float32Array.from({ length: 20_000 }, (_, i) => i / 20_000)
    expect(entropyRange(seen(uniform), 256)).toEqual({ min: 0, max: Math.fround(19_999 / 20_000) })
    const { min, max } = entropyRange(seen(normals(100_000, 1), [200]), 256)
    expect(max).toBeGreaterThan(2)
    expect(max).toBeLessThan(30)
    expect(min).toBeGreaterThan(-6)
    const d = seen(normals(5000, 3))
    const range = entropyRange(d, 256)
    expect(range.min).toBeGreaterThanOrEqual(d.min)
    expect(range.max).toBeLessThanOrEqual(d.max)
  })

  it('symmetric ranges are symmetric; zeros behind a ReLU change nothing; nothing but zeros is a range too', () => {
    const { min, max } = entropyRange(seen(normals(20_000, 1).map((x) => x + 1)), 255, true)
    expect(min).toBe(-max)
    const positive = normals(20_000, 1).map(Math.abs)
    expect(entropyRange(seen(positive, new Float32Array(1e6)), 256)).toEqual(entropyRange(seen(positive), 256))
    expect(entropyRange(seen([0, 0]), 256)).toEqual({ min: 0, max: 0 })
  })
})

it('ema: the first batch begins, then r = decay r + (1 - decay) r of the batch', () => {
  const o = movingRange(0.75).observe('x')
  for (const b of [[-1, 3], [], [-5, 7], [0, 11]]) scope(() => o.see(tensor(Float32Array.from(b))))
  expect(o.value()).toEqual({ min: 0.75 * (0.75 * -1 + 0.25 * -5), max: 0.75 * (0.75 * 3 + 0.25 * 7) + 0.25 * 11 })
  expect(movingRange(0.75).observe('x').value()).toEqual({ min: 0, max: 0 })
  expect(movingRange(0.75).key).not.toBe(movingRange(0.5).key)
})

describe('from ranges to codes', () => {
  it('affine takes 256 codes for the range, symmetric 127 on either side of 128; 0 is exact', () => {
    expect(inputQuantization({ min: 0, max: 5.1 }, { ...options, calibration: 'minmax' })).toEqual({ scale: Math.fround(0.02), zero: 0 })
    const symmetric = inputQuantization({ min: -1, max: 12.7 }, { ...options, calibration: 'minmax', inputs: 'symmetric' })
    expect(symmetric).toEqual({ scale: Math.fround(0.1), zero: 128 })
  })

  it.each(['percentile', 'entropy', 'mse'] as const)('%s: symmetric inputs cost at most the codes of one side', (calibration) => {
    const d = seen(normals(20_000, 1).map(Math.abs))
    const [affine, symmetric] = (['affine', 'symmetric'] as const).map((inputs) =>
      inputQuantization(d, { ...options, calibration, inputs }),
    )
    expect(symmetric!.zero).toBe(128)
    expect(symmetric!.scale / affine!.scale).toBeGreaterThan(1.5)
    expect(symmetric!.scale / affine!.scale).toBeLessThan(3)
  })
})

describe('quantize/static-int8', () => {
  const data = blobs(200)
  const net = mlp()
  const input = (m: Model, path: string): { scale: number; zero: number } =>
    (m.weights().find((w) => w.path === path)!.weight as QuantizedWeight).input as { scale: number; zero: number }

  it.each(['minmax', 'ema', 'percentile', 'entropy', 'mse'] as const)(
    '%s: affine and symmetric inputs, small errors of outputs',
    async (calibration) => {
      const x = data.batch(Array.from({ length: 100 }, (_, i) => i)).x
      const out = (m: Model): Float32Array => scope(() => m.forward(tensor(x, [100, 8])).read()) as Float32Array
      const y = out(net)
      for (const inputs of ['affine', 'symmetric'] as const) {
        const { model } = await compress(net, recipe([[quantize.static({ calibration, inputs, samples: 200 })]]), { data })
        if (inputs === 'symmetric') expect(input(model, 'fc2.weight').zero).toBe(128)
        else expect(input(model, 'fc2.weight').zero).toBe(0) // behind a ReLU
        const z = out(model)
        const error = y.reduce((sum, v, i) => sum + (v - z[i]!) ** 2, 0) / y.reduce((sum, v) => sum + v * v, 0)
        expect(Math.sqrt(error)).toBeLessThan(calibration === 'ema' || calibration === 'entropy' ? 0.1 : 0.03)
      }
    },
  )

  it('bad options name the place', () => {
    for (const [bad, pointer] of [
      [{ calibration: 'kl' }, 'calibration'],
      [{ decay: 1 }, 'decay'],
      [{ inputs: 'signed' }, 'inputs'],
      [{ decays: 0.5 }, 'decays'],
    ] as const)
      expect(() => recipe([[quantize.static(bad as object)]])).toThrow(
        expect.objectContaining({ code: 'ERR_RECIPE', details: { pointer: `/stages/0/0/options/${pointer}` } }),
      )
  })

  it('weights of recurrent layers are 8 bits without an input range that nothing would use', async () => {
    const spec = lstm({ in: 4, hidden: 6, layers: 1, bidirectional: false, bias: true, dropout: 0, init: 0 })
    const model = new Model(build(spec, freshValues(Rng.of(1, 'lstm'))), {
      name: 'lstm',
      task: 'regression',
      inputShape: [5, 4],
      history: [],
    })
    const set = numberDataset({ name: 'x', features: normals(20 * 20, 1), inputShape: [5, 4], labels: new Int32Array(20), classes: ['x'] })
    const { model: small, report } = await compress(model, recipe([[quantize.static()]]), { data: set })
    const rtn = await compress(model, recipe([[quantize.rtn({ bits: 8 })]]))
    for (const path of ['weight_ih_l0', 'weight_hh_l0']) {
      const [w, plain] = [small, rtn.model].map((m) => m.weights().find((p) => p.path === path)!.weight as QuantizedWeight)
      expect(w!.description).toBe('int8 per channel')
      expect(w!.q.read()).toEqual(plain!.q.read())
      expect(report.passes[0]!.notes).toContainEqual({ path, text: expect.stringContaining('recurrent') })
    }
  })

  it('statistics of 100 batches take the memory of those of one', () => {
    const [one, many] = [seen(normals(1000, 1)), seen(...Array.from({ length: 100 }, (_, i) => normals(1000, 1, i)))]
    expect(many.counts.byteLength).toBe(one.counts.byteLength)
    expect(Object.keys(many)).toEqual(Object.keys(one))
  })
})
