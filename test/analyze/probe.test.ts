/** The logistic probe and the minimiser below it. */
import { describe, expect, it } from 'vitest'
import { fitProbe, probeOf, probeScores, shareEqual, argmaxRows, withProbe } from '../../ts/analyze/index.js'
import { lbfgs } from '../../ts/analyze/lbfgs.js'
import { Rng } from '../../ts/base/rng.js'
import { loadModel, saveModel } from '../../ts/models/index.js'
import { build, freshValues, linear, Model } from '../../ts/nn/index.js'
import { tempDir } from '../formats/lib.js'
import { code } from '../nn/lib.js'

describe('L-BFGS', () => {
  it('solves a quadratic', () => {
    const { x, converged } = lbfgs(
      (v, g) => {
        let f = 0
        for (let i = 0; i < 5; i++) {
          g[i] = (i + 1) * (v[i]! - i)
          f += 0.5 * (i + 1) * (v[i]! - i) ** 2
        }
        return f
      },
      new Float64Array(5),
      { tolerance: 1e-10 },
    )
    expect(converged).toBe(true)
    x.forEach((v, i) => expect(v).toBeCloseTo(i, 9))
  })

  it("finds the end of Rosenbrock's valley", () => {
    const { x, converged, iterations } = lbfgs(
      (v, g) => {
        const [a, b] = [v[0]!, v[1]!]
        g[0] = -2 * (1 - a) - 400 * a * (b - a * a)
        g[1] = 200 * (b - a * a)
        return (1 - a) ** 2 + 100 * (b - a * a) ** 2
      },
      new Float64Array([-1.2, 1]),
      { tolerance: 1e-8 },
    )
    expect(converged).toBe(true)
    expect(iterations).toBeLessThan(100)
    expect(x[0]).toBeCloseTo(1, 6)
    expect(x[1]).toBeCloseTo(1, 6)
  })

  it('stops at its limit and says that it did not converge', () => {
    const result = lbfgs((v, g) => ((g[0] = Math.exp(v[0]!)), Math.exp(v[0]!)), new Float64Array(1), { maxIterations: 3, tolerance: 0 })
    expect(result).toMatchObject({ iterations: 3, converged: false })
  })
})

/** Two clouds per class around seeded centres. */
function clouds(
  n: number,
  width: number,
  classes: number,
  spread: number,
  seed = 1,
): { x: { values: Float32Array; width: number }; labels: Int32Array } {
  const centres = Rng.of(seed, 'centres').fillNormal(new Float32Array(classes * width))
  const rng = Rng.of(seed, 'points', n)
  const labels = Int32Array.from({ length: n }, (_, i) => i % classes)
  const values = new Float32Array(n * width)
  for (let i = 0; i < n; i++)
    for (let j = 0; j < width; j++) values[i * width + j] = centres[labels[i]! * width + j]! + spread * rng.normal()
  return { x: { values, width }, labels }
}

describe('probe', () => {
  it('separates what is separable and keeps doing so on new points', () => {
    const train = clouds(120, 6, 3, 0.2)
    const test = clouds(300, 6, 3, 0.2)
    const probe = fitProbe(train.x, train.labels, ['a', 'b', 'c'])
    expect(shareEqual(argmaxRows(probeScores(probe, test.x), 3), test.labels)).toBeGreaterThan(0.99)
  })

  it('is at the minimum of its convex loss', () => {
    const { x, labels } = clouds(80, 3, 2, 1.5)
    const probe = fitProbe(x, labels, ['a', 'b'], { l2: [0.1] })
    const loss = (values: ArrayLike<number>): number => {
      let total = 0
      let penalty = 0
      for (let i = 0; i < 80; i++) {
        const s = [0, 1].map((c) => [0, 1, 2].reduce((sum, j) => sum + values[c * 4 + j]! * x.values[i * 3 + j]!, values[c * 4 + 3]!))
        total += Math.log(Math.exp(s[0]!) + Math.exp(s[1]!)) - s[labels[i]!]!
      }
      for (let k = 0; k < 8; k++) if (k % 4 !== 3) penalty += values[k]! ** 2
      return total / 80 + 0.05 * penalty
    }
    const best = loss(probe.values)
    for (let k = 0; k < 8; k++)
      for (const d of [-0.01, 0.01]) {
        const moved = Float64Array.from(probe.values)
        moved[k]! += d
        expect(loss(moved)).toBeGreaterThan(best - 1e-9)
      }
  })

  it('is the same every time', () => {
    const { x, labels } = clouds(60, 4, 2, 1)
    expect(fitProbe(x, labels, ['a', 'b']).values).toEqual(fitProbe(x, labels, ['a', 'b']).values)
  })

  it('travels in the model file', () => {
    const { x, labels } = clouds(40, 3, 2, 0.5)
    const probe = fitProbe(x, labels, ['ham', 'spam'])
    const encoder = new Model(build(linear({ in: 2, out: 3, bias: true, init: 'he' }), freshValues(Rng.of(1))), {
      name: 'e',
      task: 'embedding',
      history: [],
    })
    expect(probeOf(encoder)).toBeUndefined()
    const model = withProbe(encoder, probe, { data: 'clouds', examples: 40 })
    const file = `${tempDir()}/probe.safetensors`
    saveModel(model, file)
    const again = loadModel(file)
    expect(probeOf(again)).toEqual(probe)
    expect(again.info.probe).toMatchObject({ data: 'clouds', examples: 40 })
    const damaged = again.withExtras({ probe: { dtype: 'f32', shape: [3, 4], data: new Uint8Array(48) } })
    expect(() => probeOf(damaged)).toThrowError(code('ERR_MODEL_FORMAT', /damaged/))
    again.dispose()
    model.dispose()
  })

  it('refuses data that cannot be fitted', () => {
    const { x, labels } = clouds(40, 3, 2, 0.5)
    expect(() => fitProbe(x, labels.slice(1), ['a', 'b'])).toThrowError(code('ERR_DATA'))
    expect(() => fitProbe({ values: x.values.slice(0, 9), width: 3 }, labels.slice(0, 3), ['a', 'b'])).toThrowError(
      code('ERR_DATA', /at least/),
    )
    const nan = { values: x.values.slice().fill(NaN, 30, 31), width: 3 }
    expect(() => fitProbe(nan, labels, ['a', 'b'])).toThrowError(code('ERR_DATA', /example 10/))
    const probe = fitProbe(x, labels, ['a', 'b'])
    expect(() => probeScores(probe, { values: new Float32Array(8), width: 4 })).toThrowError(code('ERR_OPTION', /width 3/))
  })
})
