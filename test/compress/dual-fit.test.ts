/** Little twins by themselves: sizes, bounds, the fit, stored bytes. */
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, describe, expect, it } from 'vitest'
import { Rng } from '../../ts/base/rng.js'
import { dualThreshold, projectionSize } from '../../ts/compress/index.js'
import { fitTwin, storeTwin, type LittleBits } from '../../ts/compress/dual/fit.js'
import { TernaryProjection } from '../../ts/kernels/index.js'
import { matmul, randomNormal, scaleShift, sub, mul, sum } from '../../ts/ops/index.js'
import { scope, tensor, type Tensor } from '../../ts/tensor/index.js'

const idle = async (): Promise<void> => {}
const folder = mkdtempSync(join(tmpdir(), 'tersor-dual-'))
afterAll(() => rmSync(folder, { recursive: true, force: true }))
const numbers = (t: Tensor): number[] => [...(t.read() as Float32Array)]
const total = (t: Tensor): number => sum(t, [], false).item()

describe('sizes and bounds', () => {
  it('k is that of the paper: 966, 417, 266 for 6000 gates', () => {
    expect([0.3, 0.5, 0.7].map((e) => projectionSize(6000, e))).toEqual([966, 417, 266])
    const share = [0.3, 0.5, 0.7].map((e) => (projectionSize(6000, e) * (6000 + 1500 / 3)) / (6000 * 1500))
    expect(share.map((s) => s.toFixed(3))).toEqual(['0.698', '0.301', '0.192'])
  })

  it('beyond a strict threshold no error up to delta changes an activation by theta; the paper allows more', () => {
    const rng = Rng.of(1, 'bound')
    const functions = { tanh: Math.tanh, sigmoid: (x: number) => 1 / (1 + Math.exp(-x)) }
    const worst = { paper: 0, safe: 0, strict: 0 }
    for (let i = 0; i < 10_000; i++) {
      const [theta, delta] = [10 ** (-1 - 3 * rng.uniform()), 0.1 * rng.uniform() + 1e-6]
      for (const squash of ['tanh', 'sigmoid'] as const)
        for (const bound of ['paper', 'safe', 'strict'] as const) {
          const at = dualThreshold(squash, bound, theta, delta)
          if (at === 0) continue
          const x = (at + (rng.uniform() < 0.5 ? 0 : rng.uniform())) * (rng.uniform() < 0.5 ? -1 : 1)
          const f = functions[squash]
          const change = Math.max(Math.abs(f(x - delta) - f(x)), Math.abs(f(x + delta) - f(x)))
          worst[bound] = Math.max(worst[bound], change / theta)
        }
    }
    expect(worst.strict).toBeLessThanOrEqual(1)
    expect(worst.safe).toBeGreaterThan(1)
    expect(worst.safe).toBeLessThan(1.2)
    expect(worst.paper).toBeGreaterThan(2)
    expect(dualThreshold('sigmoid', 'strict', 1, 0.1)).toBe(0)
  })

  it('projections keep lengths and distances', () =>
    scope(() => {
      const x = randomNormal([16, 300], { seed: 1 })
      const mean = new Float64Array(16)
      let far = 0
      for (let seed = 0; seed < 100; seed++) {
        const p = new TernaryProjection(64, 300, { seed })
        const y = p.apply(x)
        const lengths = numbers(sum(mul(y, y), [1], false))
        const own = numbers(sum(mul(x, x), [1], false))
        lengths.forEach((l, i) => (mean[i]! += l / own[i]! / 100))
        if (Math.abs(lengths[0]! / own[0]! - 1) > 0.5) far++
        p.dispose()
      }
      expect(Math.abs(mean.reduce((a, b) => a + b) / 16 - 1)).toBeLessThan(0.01)
      expect(far).toBeLessThan(10)
    }))
})

describe('the fit', () => {
  const [n, d, k, rows] = [20, 48, 12, 400]
  const make = (): { w: Tensor; u: Tensor; products: Float32Array } => {
    const u = matmul(randomNormal([rows, 40], { seed: 3 }), randomNormal([40, d], { seed: 4 }))
    return { w: randomNormal([n, d], { seed: 5 }), u, products: matmul(u, u, true, false).read() as Float32Array }
  }
  const options = { k, damping: 1e-4, rng: Rng.of(1, 'fit'), breathe: idle }
  const blocks = [
    { cols: 30, seed: 1, stream: 0 },
    { cols: 18, seed: 1, stream: 1 },
  ]

  it('ridge <= random, descent only goes down, and the loss is that of the rows', async () => {
    const { w, u, products } = make()
    const ridge = await fitTwin(w, products, rows, blocks, { ...options, init: 'ridge', steps: 10 })
    const random = await fitTwin(w, products, rows, blocks, { ...options, init: 'random', steps: 0 })
    const learned = await fitTwin(w, products, rows, blocks, { ...options, init: 'random', steps: 200 })
    expect(ridge.begin).toBeLessThan(random.begin)
    expect(ridge.end).toBeLessThanOrEqual(ridge.begin * 1.0001)
    expect(learned.end).toBeLessThan(learned.begin / 2)
    expect(ridge.end).toBeLessThanOrEqual(learned.end)
    scope(() => {
      const half = (from: number, cols: number, stream: number): Tensor => {
        const p = new TernaryProjection(k, cols, { seed: 1, stream })
        const part = tensor(
          Float32Array.from({ length: rows * cols }, (_, i) => numbersOfU[Math.floor(i / cols) * d + from + (i % cols)]!),
          [rows, cols],
        )
        return p.apply(part)
      }
      const numbersOfU = numbers(u)
      const l = tensor(learned.values, [n, 2 * k])
      const split = (from: number): Tensor =>
        tensor(
          Float32Array.from({ length: n * k }, (_, i) => numbers(l)[Math.floor(i / k) * 2 * k + from + (i % k)]!),
          [n, k],
        )
      const twin = scaleShift(matmul(half(0, 30, 0), split(0), false, true), 1, 0)
      const error = sub(sub(matmul(u, w, false, true), twin), matmul(half(30, 18, 1), split(k), false, true))
      const loss = total(mul(error, error)) / (rows * n)
      expect(Math.abs(learned.end / loss - 1)).toBeLessThan(1e-3)
    })
    for (const t of [w, u]) t.dispose()
  })

  it('the FSP matrices give the same loss up to the length of x', () =>
    scope(() => {
      const [x, high, low] = [randomNormal([30, 1], { seed: 1 }), randomNormal([1, 20], { seed: 2 }), randomNormal([1, 20], { seed: 3 })]
      const squares = (t: Tensor): number => total(mul(t, t))
      const fsp = squares(sub(matmul(x, high), matmul(x, low)))
      expect(Math.abs(fsp / (squares(x) * squares(sub(high, low))) - 1)).toBeLessThan(1e-6)
    }))

  it('twins of 32, 16, 8, 4, 2 bits of an LSTM of 1500 take 19.1, 9.6, 4.8, 2.4, 1.2 MiB', async () => {
    const mib = (bits: number): number => (2 * 6000 * 417 * bits) / 8 / 2 ** 20
    expect([32, 16, 8, 4, 2].map((b) => mib(b).toFixed(1))).toEqual(['19.1', '9.5', '4.8', '2.4', '1.2'])
    // What is stored is that and a scale (16 bits: two, up to 4: and a zero point) per row.
    const values = Float32Array.from({ length: 20 * 64 }, (_, i) => Math.sin(i * i))
    const moments = Float32Array.from({ length: 64 * 64 }, (_, i) => (i % 65 === 0 ? 1 : 0))
    let before = Infinity
    const errors: number[] = []
    for (const bits of [32, 16, 8, 4, 2] as const satisfies readonly LittleBits[]) {
      const w = await storeTwin(values, 20, 64, bits, moments, 1, idle)
      const codes = Math.ceil((20 * 64 * bits) / 8)
      expect(w.bytes()).toBeGreaterThanOrEqual(codes)
      expect(w.bytes()).toBeLessThanOrEqual(codes + 20 * 8)
      expect(w.bytes()).toBeLessThan(before)
      before = w.bytes()
      const got = scope(() => numbers(w.dense()))
      const wide = bits === 16 ? 2 : 1
      errors.push(
        values.reduce((s, v, i) => {
          const at = Math.floor(i / 64) * 64 * wide + (i % 64)
          return s + (v - got[at]! - (wide === 2 ? got[at + 64]! : 0)) ** 2
        }, 0),
      )
      w.dispose()
    }
    expect(errors.every((e, i) => i === 0 || e > errors[i - 1]!)).toBe(true)
    expect(errors[0]).toBe(0)
    expect(errors[1]! / values.length).toBeLessThan(1e-9)
  })
})
