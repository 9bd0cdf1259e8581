/** Fake-quantized weights and inputs: the laws of methods.md A7.1, A7.6, A7.8 and of LSQ, and that the codes compute what was trained. */
import { describe, expect, it } from 'vitest'
import { Rng } from '../../ts/base/rng.js'
import { valueAndGrad, grad } from '../../ts/autograd/index.js'
import {
  DenseWeight,
  FakeInput,
  FakeWeight,
  QuantizedWeight,
  weightKind,
  type FakeConfig,
  type FakeInputConfig,
  type ForwardContext,
  type Module,
} from '../../ts/nn/index.js'
import { dequantizeRows, fakeQuantize, maskApply, mul, quantizeRows, sum } from '../../ts/ops/index.js'
import { gridOf } from '../../ts/nn/weight/grid.js'
import { scope, tensor, type Tensor } from '../../ts/tensor/index.js'

const normals = (n: number, seed = 1, scale = 1): Float32Array => {
  const rng = Rng.of(seed, 'fake')
  return Float32Array.from({ length: n }, () => scale * rng.normal())
}
const values = (t: Tensor): number[] => Array.from(t.read(), Number)
const bits = (t: Tensor): string => Buffer.from(new Uint8Array(t.read().buffer.slice(0))).toString('hex')
const config = (more: Partial<FakeConfig> = {}): FakeConfig => ({
  bits: 8,
  layout: 'tensor',
  groups: 1,
  mode: 'symmetric',
  gradient: 'clipped',
  ...more,
})
const inputConfig = (more: Partial<FakeInputConfig> = {}): FakeInputConfig => ({
  bits: 8,
  mode: 'affine',
  signed: true,
  decay: 0.9,
  delay: 0,
  gradient: 'clipped',
  ...more,
})

describe('fakeQuantize', () => {
  const scales = { tensor: [1, 1], channel: [6, 1], group: [6, 4] } as const
  it.each(Object.entries(scales))(
    'per %s: the values of the codes, bit for bit, twice the same, at most half a step away',
    (_name, shape) =>
      scope(() => {
        const x = tensor(normals(6 * 19), [6, 19])
        const scale = tensor(
          Float32Array.from({ length: shape[0] * shape[1] }, (_, i) => 0.02 + 0.003 * i),
          shape,
        )
        const zero = tensor(
          Float32Array.from({ length: shape[0] * shape[1] }, (_, i) => (i % 7) - 3),
          shape,
        )
        for (const z of [null, zero]) {
          const y = fakeQuantize(x, scale, z, { qmin: -128, qmax: 127, gradient: 'straight' })
          expect(bits(y)).toBe(bits(dequantizeRows(quantizeRows(x, scale, z, -128, 127), scale, z)))
          expect(bits(fakeQuantize(y, scale, z, { qmin: -128, qmax: 127, gradient: 'straight' }))).toBe(bits(y))
        }
        // The scale is small against the range, so nothing is clipped here.
        const wide = tensor(new Float32Array(scale.size).fill(0.05), shape)
        const y = values(fakeQuantize(x, wide, null, { qmin: -127, qmax: 127, gradient: 'straight' }))
        values(x).forEach((v, i) => expect(Math.abs(v - y[i]!)).toBeLessThanOrEqual(0.025 + 1e-6))
      }),
  )

  it('gradients: straight passes all, clipped stops outside, learned is eq. 3 of LSQ; the second derivative exists', () =>
    scope(() => {
      const x = tensor([[0.26, -0.74, 3, -3, 0.1, 1.74]])
      const dy = tensor([[1, 2, 3, 4, 5, 6]])
      const s = 0.5
      const scale = tensor([[s]])
      const options = { qmin: -4, qmax: 3 }
      const gradients = (gradient: 'straight' | 'clipped' | 'learned', scaleGradient = 1): Tensor[] =>
        valueAndGrad(() => sum(mul(dy, fakeQuantize(x, scale, null, { ...options, gradient, scaleGradient })), [], false), [x, scale]).grads
      expect(values(gradients('straight')[0]!)).toEqual([1, 2, 3, 4, 5, 6])
      expect(values(gradients('straight')[1]!)).toEqual([0])
      // 3 is clipped to 1.5, -3 to -2; 1.74 rounds to 3 and is inside.
      expect(values(gradients('clipped')[0]!)).toEqual([1, 2, 0, 0, 5, 6])
      const [dx, ds] = gradients('learned', 0.25)
      expect(values(dx!)).toEqual([1, 2, 0, 0, 5, 6])
      const inside = (v: number): number => Math.round(v / s) - v / s
      const want = 1 * inside(0.26) + 2 * inside(-0.74) + 3 * 3 + 4 * -4 + 5 * inside(0.1) + 6 * inside(1.74)
      expect(ds!.item()).toBeCloseTo(0.25 * want, 5)
      // d/ds of ds = sum dy * x / s^2 over what is inside.
      const loss = (): Tensor => sum(mul(dy, fakeQuantize(x, scale, null, { ...options, gradient: 'learned' })), [], false)
      const second = valueAndGrad(() => sum(grad(loss, [scale])[0]!, [], false), [scale]).grads
      expect(second[0]!.item()).toBeCloseTo((1 * 0.26 + 2 * -0.74 + 5 * 0.1 + 6 * 1.74) / (s * s), 3)
    }))

  it('the scale of the largest magnitude clips nothing: "clipped" and "straight" have one gradient, at any size', () =>
    scope(() => {
      for (const [n, size] of [1, 1e-30, 1e30, 3e-38].entries())
        for (const bits of [2, 4, 8]) {
          const w = tensor(normals(400 + n).map((v) => Math.fround(v * size)), [1, 400 + n]) // prettier-ignore
          const most = 2 ** (bits - 1) - 1
          const largest = (w.read() as Float32Array).reduce((m, v) => Math.max(m, Math.abs(v)), 0)
          const { scale } = gridOf(-largest, largest, true, { qmin: -most, qmax: most })
          const options = { qmin: -most, qmax: most, gradient: 'clipped' } as const
          const [dw] = grad(() => sum(fakeQuantize(w, tensor([[scale]]), null, options), [], false), [w])
          expect(values(dw).every((g) => g === 1), `${size}, ${bits} bits`).toBe(true) // prettier-ignore
        }
    }))

  it('refuses scales that are none and NaN', () =>
    scope(() => {
      const x = tensor([[1, 2]])
      const options = { qmin: -8, qmax: 7, gradient: 'clipped' } as const
      for (const bad of [0, -1, NaN, Infinity])
        expect(() => fakeQuantize(x, tensor([[bad]]), null, options)).toThrow(expect.objectContaining({ code: 'ERR_NUMERIC' }))
      expect(() => fakeQuantize(tensor([[NaN, 1]]), tensor([[1]]), null, options)).toThrow(expect.objectContaining({ code: 'ERR_NUMERIC' }))
      expect(() => fakeQuantize(x, tensor([[1, 1, 1]]), null, options)).toThrow(expect.objectContaining({ code: 'ERR_OPTION' }))
    }))
})

describe('FakeWeight', () => {
  it.each([
    ['per tensor', config()],
    ['per channel, 4 bits', config({ bits: 4, layout: 'channel' })],
    ['per group, affine, 3 bits', config({ bits: 3, layout: 'group', groups: 4, mode: 'affine' })],
    ['2 bits, learned', config({ bits: 2, gradient: 'learned' })],
    ['4 bits, learned per channel', config({ bits: 4, layout: 'channel', gradient: 'learned' })],
  ])('%s: dense values are those of the codes; a file gives it back', (_name, scheme) =>
    scope(() => {
      const w = FakeWeight.begin(scheme, { value: tensor(normals(5 * 18, 3), [5, 18]) })
      const hard = w.hardened()
      expect(hard).toBeInstanceOf(QuantizedWeight)
      expect(bits(hard.dense())).toBe(bits(w.dense()))
      const codes = 2 ** scheme.bits
      expect(new Set(values(hard.q)).size).toBeLessThanOrEqual(codes)
      const back = weightKind('fake').restore(w.parts(), JSON.parse(JSON.stringify(w.config())), w.shape) as FakeWeight
      expect(back.config()).toEqual(w.config())
      expect(bits(back.dense())).toBe(bits(w.dense()))
      // What is on the grid stays there.
      if (scheme.gradient !== 'learned') {
        const again = FakeWeight.begin(scheme, { value: tensor(w.dense().read(), w.shape) })
        const [a, b] = [values(again.dense()), values(w.dense())]
        a.forEach((v, i) => expect(Math.abs(v - b[i]!)).toBeLessThan(1e-6))
      }
    }),
  )

  it('zeros under a mask stay exactly 0, also with affine codes', () =>
    scope(() => {
      const mask = tensor(Uint8Array.of(0b10110101, 0b01011010, 0b1111))
      const value = maskApply(tensor(normals(20, 4), [4, 5]), mask)
      for (const mode of ['symmetric', 'affine'] as const) {
        const w = FakeWeight.begin(config({ bits: 3, mode }), { value: tensor(value.read(), [4, 5]), mask })
        const [was, is] = [values(value), values(w.dense())]
        was.forEach((v, i) => v === 0 && expect(is[i]).toBe(0))
        expect(w.trainable()[0]!.mask).toBe(mask)
      }
    }))

  it('learned steps begin at 2 mean |w| / sqrt(largest code) and are leaves with a gradient of 1 / sqrt(N Qp)', () =>
    scope(() => {
      const value = normals(64, 5)
      const w = FakeWeight.begin(config({ bits: 4, gradient: 'learned' }), { value: tensor(value, [8, 8]) })
      const mean = value.reduce((a, v) => a + Math.abs(v), 0) / 64
      expect(w.step!.item()).toBeCloseTo((2 * mean) / Math.sqrt(7), 5)
      const leaves = w.trainable()
      expect(leaves.map((l) => l.part)).toEqual([undefined, 'step'])
      const [, found] = valueAndGrad(
        () => sum(w.dense(), [], false),
        leaves.map((l) => l.value),
      ).grads
      const s = w.step!.item()
      const want = value.reduce((a, v) => {
        const c = v / s
        return a + (c > 7.5 ? 7 : c < -8.5 ? -8 : Math.round(c) - c)
      }, 0)
      expect(found!.item()).toBeCloseTo(want / Math.sqrt(64 * 7), 3)
    }))

  it('refuses what kernels cannot do', () =>
    scope(() => {
      const value = tensor(normals(12), [3, 4])
      const input = FakeInput.begin(inputConfig())
      const refused = (c: Partial<FakeConfig>): void =>
        expect(() => FakeWeight.begin(config(c), { value, input })).toThrow(expect.objectContaining({ code: 'ERR_OPTION' }))
      refused({ mode: 'affine' })
      refused({ layout: 'group', groups: 2 })
      expect(() => FakeWeight.begin(config({ mode: 'affine', gradient: 'learned' }), { value })).toThrow(
        expect.objectContaining({ code: 'ERR_OPTION' }),
      )
      expect(() => FakeWeight.begin(config({ groups: 2 }), { value })).toThrow(expect.objectContaining({ code: 'ERR_SHAPE' }))
    }))
})

describe('FakeInput', () => {
  const context = (stateUpdates: Map<string, Tensor>): ForwardContext => ({ path: 'fc', training: true, seed: 0, step: 0, stateUpdates })

  /** Runs batches, keeping what a step would keep; gives the averages behind each. */
  function trace(c: FakeInputConfig, batches: readonly (readonly number[])[]): { input: FakeInput; seen: number[][]; outputs: number[][] } {
    const input = FakeInput.begin(c)
    const outputs: number[][] = []
    const seen = batches.map((batch) => {
      const updates = new Map<string, Tensor>()
      outputs.push(values(input.quantize(tensor([...batch], [1, batch.length]), context(updates))))
      const now = values(updates.get('fc.weight#input')!)
      input.value.write(Float32Array.from(now))
      return now
    })
    return { input, seen, outputs }
  }

  it('the first value initialises the averages, the others move them by 1 - decay (Q8BERT: of max |x|)', () =>
    scope(() => {
      const { seen } = trace(inputConfig(), [
        [-1, 2],
        [-3, 4],
        [0, 1],
      ])
      const want = [
        [-1, 2, 1],
        [-1.2, 2.2, 2],
        [-1.08, 2.08, 3],
      ]
      seen.forEach((s, i) => s.forEach((v, j) => expect(v).toBeCloseTo(want[i]![j]!, 6)))
      const symmetric = trace(inputConfig({ mode: 'symmetric', decay: 0.9999 }), [
        [-1, 2],
        [-3, 1],
      ])
      expect(symmetric.seen[1]![1]).toBeCloseTo(2 * 0.9999 + 3 * 0.0001, 6)
      expect(symmetric.input.hardened()).toEqual({ scale: Math.fround(symmetric.seen[1]![1]! / 127), zero: 128 })
    }))

  it('0 is a code; inputs stay floating until the delay is over', () =>
    scope(() => {
      const { input, outputs } = trace(inputConfig({ delay: 2 }), [
        [0.3, 5, 0],
        [0.3, 5, 0],
        [0.3, 5, 0],
      ])
      expect(outputs[1]).toEqual([Math.fround(0.3), 5, 0])
      expect(outputs[2]![0]).not.toBe(Math.fround(0.3))
      expect(outputs[2]![2]).toBe(0)
      const { scale, zero } = input.hardened()!
      expect(zero).toBe(0)
      expect(outputs[2]![0]).toBeCloseTo(Math.round(0.3 / scale) * scale, 6)
      expect(FakeInput.begin(inputConfig()).hardened()).toBe(null)
    }))

  it.each([
    ['affine', inputConfig({ bits: 4 })],
    ['symmetric', inputConfig({ mode: 'symmetric', bits: 3 })],
    ['learned', inputConfig({ mode: 'learned', bits: 4 })],
    ['learned, unsigned', inputConfig({ mode: 'learned', bits: 2, signed: false })],
    ['8 bits', inputConfig()],
    ['8 bits, symmetric', inputConfig({ mode: 'symmetric' })],
  ])('%s: the layer with codes gives what the fake one gives', (_name, c) =>
    scope(() => {
      const input = FakeInput.begin(c, 0.4)
      if (c.mode !== 'learned') input.value.write(Float32Array.of(...(c.mode === 'symmetric' ? [-1.7, 1.7] : [-0.9, 1.7]), 3))
      const w = FakeWeight.begin(config(), { value: tensor(normals(6 * 16, 7), [6, 16]), input })
      const x = tensor(normals(5 * 16, 8), [5, 16])
      const bias = tensor(normals(6, 9))
      const soft = values(w.apply(x, { op: 'linear', bias }))
      const hard = w.hardened()
      values(hard.apply(x, { op: 'linear', bias })).forEach((v, i) => expect(Math.abs(v - soft[i]!)).toBeLessThan(1e-4))
      const back = weightKind('quantized').restore(hard.parts(), JSON.parse(JSON.stringify(hard.config())), hard.shape)
      expect(bits(back.apply(x, { op: 'linear', bias }))).toBe(bits(hard.apply(x, { op: 'linear', bias })))
    }),
  )
})

describe('behind a folded norm', () => {
  it.each(['symmetric', 'affine'] as const)('%s codes compute what was trained, rows of negative factors too', (mode) =>
    scope(() => {
      const gamma = tensor([2, -0.5, 1, -3])
      const norm = {
        weights: { gamma: new DenseWeight(gamma) },
        state: { variance: tensor([1, 4, 0.25, 1]) },
        config: { eps: 0 },
        children: {},
      }
      const root = { children: { bn: norm } } as unknown as Module
      const value = tensor(
        normals(4 * 6).map((v) => v + 0.7),
        [4, 6],
      )
      const w = FakeWeight.begin(config({ bits: 4, mode, gradient: 'straight', fold: 'bn' }), { value })
      const x = tensor(normals(3 * 6, 5), [3, 6])
      const use = { op: 'linear', bias: null } as const
      const hard = w.hardened(root)
      expect(hard.zero !== null).toBe(mode === 'affine')
      const [want, have] = [values(w.apply(x, use, { root } as ForwardContext)), values(hard.apply(x, use))]
      want.forEach((v, i) => expect(Math.abs(v - have[i]!)).toBeLessThan(1e-4))
    }),
  )
})
