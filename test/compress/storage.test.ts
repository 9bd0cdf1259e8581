/** Ways to store weights: codebooks, floats of fewer bits, signs, scales shared by runs of rows. */
import { beforeAll, describe, expect, it } from 'vitest'
import { Rng } from '../../ts/base/rng.js'
import { compress, prune, quantize, recipe, train } from '../../ts/compress/index.js'
import { binarized } from '../../ts/compress/quantize/binary.js'
import { tf32 } from '../../ts/compress/quantize/cast.js'
import { kmeans, nearestCentre } from '../../ts/compress/quantize/kmeans.js'
import { exportOnnx } from '../../ts/graph/export/index.js'
import { fromBits } from '../../ts/graph/minifloat.js'
import { DenseWeight, type BinaryWeight, type CodebookWeight, type Model, type QuantizedWeight, type Weight } from '../../ts/nn/index.js'
import { valueAndGrad } from '../../ts/autograd/index.js'
import { mul, sum } from '../../ts/ops/index.js'
import { scope, tensor } from '../../ts/tensor/index.js'
import { bitsOf, blobs, convnet, mlp, quick } from './toys.js'

const rng = Rng.of(8, 'storage')
const normals = (n: number): Float32Array => Float32Array.from({ length: n }, () => rng.normal())
const data = blobs(200)
let net: Model
beforeAll(async () => {
  net = (await train(mlp(), data, quick)).model
})
const weightAt = (m: Model, path: string): Weight => m.weights().find((w) => w.path === path)!.weight
const valuesAt = (m: Model, path: string): Float32Array => scope(() => weightAt(m, path).dense().read()) as Float32Array
const squares = (a: Float32Array, b: Float32Array): number => a.reduce((s, v, i) => s + (v - b[i]!) ** 2, 0)
/** The net with other values in fc2. */
const withFc2 = (values: Float32Array): Model => net.withWeights(new Map([['fc2.weight', new DenseWeight(tensor(values, [32, 32]))]]))

describe('k-means of numbers', () => {
  it('finds separate clusters exactly, few distinct values exactly, and weights count', () => {
    const clusters = [-3, -2.9, -3.1, 0, 0.1, 5, 5.2]
    const { centres, error } = kmeans(clusters, 3)
    expect([...centres].map((c) => Number(c.toFixed(6)))).toEqual([-3, 0.05, 5.1])
    expect(error).toBeCloseTo(0.02 + 0.005 + 0.02, 9)
    expect(kmeans([1, 2, 1, 2], 4)).toEqual({ centres: Float64Array.of(1, 2), error: 0 })
    expect(kmeans([0, 1, 10], 2, [1, 3, 1]).centres[0]).toBeCloseTo(0.75, 9)
  })

  it('no centre can move and no value can change sides for the better; more centres are never worse', () => {
    const values = normals(500)
    let before = Infinity
    for (const k of [2, 4, 8, 16, 64]) {
      const { centres, error } = kmeans(values, k)
      const codes = Array.from(values, (v) => nearestCentre(centres, v))
      const total = values.reduce((s, v, i) => s + (v - centres[codes[i]!]!) ** 2, 0)
      expect(total).toBeCloseTo(error, 5)
      values.forEach((v, i) => {
        const best = Math.min(...[...centres].map((c) => Math.abs(v - c)))
        expect(Math.abs(v - centres[codes[i]!]!)).toBeCloseTo(best, 12)
      })
      expect(error).toBeLessThan(before)
      before = error
    }
  })
})

describe('quantize/codebook', () => {
  it.each(['tensor', 'row', 'group'] as const)(
    'per %s: exact bytes, exact decoding, errors that fall with bits and with finer tables',
    async (layout) => {
      const error = async (bits: number, how: 'tensor' | 'row' | 'group'): Promise<number> => {
        const { model } = await compress(net, recipe([[quantize.codebook({ bits, layout: how, groupSize: 16 })]]))
        const w = weightAt(model, 'fc2.weight') as CodebookWeight
        const tables = how === 'tensor' ? 1 : how === 'row' ? 32 : 64
        expect(w.bytes()).toBe((1024 * bits) / 8 + 4 * tables * 2 ** bits)
        const [codes, table, dense] = [w.codes.read() as Int8Array, w.table.read() as Float32Array, valuesAt(model, 'fc2.weight')]
        dense.forEach((v, i) => expect(v).toBe(table[Math.floor((i * tables) / 1024) * 2 ** bits + codes[i]! + 2 ** (bits - 1)]))
        return squares(dense, valuesAt(net, 'fc2.weight'))
      }
      const [three, four] = [await error(3, layout), await error(4, layout)]
      expect(four).toBeLessThan(0.6 * three)
      if (layout === 'group') expect(three).toBeLessThan(await error(3, 'row'))
      if (layout === 'row') expect(three).toBeLessThan(await error(3, 'tensor'))
    },
  )

  it('zeros of pruned weights stay; entries train by the sum of their gradients, but for the zero', async () => {
    const { model } = await compress(
      net,
      recipe([[prune.magnitude({ sparsity: 0.5 })], [quantize.codebook({ bits: 3 }, { targets: ['fc2'] })]]),
    )
    const w = weightAt(model, 'fc2.weight') as CodebookWeight
    expect(w.zero).toBe(true)
    const codes = w.codes.read() as Int8Array
    scope(() => {
      const g = normals(1024)
      const leaf = w.trainable()[0]!
      const { grads } = valueAndGrad(() => sum(mul(w.dense(), tensor(g, [32, 32]))), { table: leaf.value })
      const want = new Float64Array(8)
      codes.forEach((c, i) => (want[c + 4]! += g[i]!))
      const got = grads.table.read() as Float32Array
      want.forEach((v, i) => expect(got[i]).toBeCloseTo(v, 3))
      expect((leaf.mask!.read() as Uint8Array)[0]).toBe(0b11111110)
    })
    const { model: trained } = await train(model, data, { ...quick, epochs: 1 })
    const after = weightAt(trained, 'fc2.weight') as CodebookWeight
    expect(after.kind).toBe('codebook')
    expect([...(after.codes.read() as Int8Array)]).toEqual([...codes])
    expect((after.table.read() as Float32Array)[0]).toBe(0)
    expect([...(after.table.read() as Float32Array)]).not.toEqual([...(w.table.read() as Float32Array)])
  })

  it('counts errors by inputs on request; bad options are refused', async () => {
    const made = recipe([[quantize.codebook({ bits: 2, weighting: 'input' }, { targets: ['fc1'] })]])
    const { report, model } = await compress(net, made, { data })
    expect(report.passes[0]!.notes[0]!.text).toContain('input-weighted')
    expect(bitsOf(model)).not.toBe(bitsOf((await compress(net, recipe([[quantize.codebook({ bits: 2 }, { targets: ['fc1'] })]]))).model))
    await expect(compress(net, made)).rejects.toMatchObject({ code: 'ERR_OPTION' })
    expect(() => recipe([[quantize.codebook({ bits: 1 })]])).toThrow(expect.objectContaining({ code: 'ERR_RECIPE' }))
  })
})

describe('quantize/cast', () => {
  it.each(['f16', 'bf16', 'tf32', 'f8e4m3', 'f8e5m2'] as const)(
    '%s: relative errors within half a step, and the bytes of the format',
    async (format) => {
      const { model } = await compress(net, recipe([[quantize.cast({ format })]]))
      const w = weightAt(model, 'fc2.weight')
      const eight = format.startsWith('f8')
      expect(w.bytes()).toBe(1024 * { f16: 2, bf16: 2, tf32: 4, f8e4m3: 1, f8e5m2: 1 }[format] + (eight ? 4 : 0))
      const half = 2 ** -({ f16: 10, bf16: 7, tf32: 10, f8e4m3: 3, f8e5m2: 2 }[format] + 1)
      const [before, after] = [valuesAt(net, 'fc2.weight'), valuesAt(model, 'fc2.weight')]
      const largest = Math.max(...before.map(Math.abs))
      before.forEach((v, i) =>
        expect(Math.abs(v - after[i]!)).toBeLessThanOrEqual(1.001 * half * Math.max(Math.abs(v), largest * (eight ? 2 ** -14 : 2 ** -20))),
      )
      // Idempotent: what is stored is stored again without a change.
      const again = await compress(withFc2(after), recipe([[quantize.cast({ format }, { targets: ['fc2'] })]]))
      expect([...valuesAt(again.model, 'fc2.weight')]).toEqual([...after])
    },
  )

  it('every byte of the 8-bit formats is what the format says; ties go to even; overflow is clamped and counted', async () => {
    for (const [format, kind, most] of [
      ['f8e4m3', 'f8e4m3fn', 448],
      ['f8e5m2', 'f8e5m2', 57344],
    ] as const) {
      // prettier-ignore
      const numbers = Array.from({ length: 256 }, (_, b) => fromBits(kind, b)).filter(Number.isFinite)
      const sorted = [...new Set(numbers.map(Math.abs))].sort((a, b) => a - b)
      const values = new Float32Array(1024)
      values.set(numbers)
      sorted.slice(1).forEach((v, i) => (values[300 + i] = (v + sorted[i]!) / 2)) // ties
      values.set([1e9, -1e9, most * 1.01], 900)
      const warnings: string[] = []
      const { model } = await compress(withFc2(values), recipe([[quantize.cast({ format, scale: 'none' }, { targets: ['fc2'] })]]), {
        onEvent: (e) => void (e.type === 'warning' && warnings.push(e.message)),
      })
      const after = valuesAt(model, 'fc2.weight')
      numbers.forEach((v, i) => expect(after[i]).toBe(v))
      sorted.slice(1).forEach((v, i) => expect(after[300 + i]).toBe(i % 2 === 0 ? sorted[i] : v))
      expect([...after.subarray(900, 903)]).toEqual([most, -most, most])
      expect(warnings.join()).toContain('3 of 1024 values of fc2.weight lie beyond')
    }
  })

  it('tf32 and f16: ties to even, the largest value, refused scales', async () => {
    const one = 2 ** -10
    expect([...tf32(Float32Array.of(1 + one / 2, 1 + 1.5 * one, -1 - one / 2, 3.4028e38, 0))]).toEqual([
      1,
      1 + 2 * one,
      -1,
      2 ** 127 * (2 - 2 ** -10),
      0,
    ])
    const values = normals(1024)
    values.set([70000, -1e30, 65519, 1e-9])
    const { model, report } = await compress(withFc2(values), recipe([[quantize.cast({ format: 'f16' }, { targets: ['fc2'] })]]))
    expect([...valuesAt(model, 'fc2.weight').subarray(0, 4)]).toEqual([65504, -65504, 65504, 0])
    expect(report.passes[0]!.figures.clamped).toBe(3)
    expect(() => recipe([[quantize.cast({ format: 'f16', scale: 'channel' })]])).toThrow(expect.objectContaining({ code: 'ERR_RECIPE' }))
  })
})

describe('quantize/binary', () => {
  it('alpha b is the nearest to w of all factors and signs', () => {
    const w = normals(7)
    const { bits, alpha } = binarized(w, 1)
    const distance = (a: number, signs: number): number => w.reduce((s, v, i) => s + (v - a * ((signs >> i) & 1 ? 1 : -1)) ** 2, 0)
    const own = distance(alpha[0]!, bits[0]!)
    for (let signs = 0; signs < 128; signs++)
      for (const a of [alpha[0]!, 0.9 * alpha[0]!, 1.1 * alpha[0]!, 0.5, 1]) expect(own).toBeLessThanOrEqual(distance(a, signs) + 1e-6)
  })

  it('one bit a weight; with binary inputs a product is alpha mean|x| (n - 2 popcount(x ^ w)), exactly counted', async () => {
    const { model } = await compress(net, recipe([[quantize.binary({ inputs: 'sign' }, { targets: ['fc2'] })]]))
    expect(() => exportOnnx(model)).toThrowError(expect.objectContaining({ code: 'ERR_UNSUPPORTED', details: { paths: ['fc2.weight'] } }))
    const w = weightAt(model, 'fc2.weight') as BinaryWeight
    expect(w.bytes()).toBe(1024 / 8 + 4 * 32)
    const x = normals(32)
    const y = scope(() => w.apply(tensor(x, [1, 32]), { op: 'linear', bias: null }).read()) as Float32Array
    const [bits, alpha] = [w.bits.read() as Uint8Array, w.alpha.read() as Float32Array]
    const size = x.reduce((s, v) => s + Math.abs(v), 0) / 32
    y.forEach((v, r) => {
      let differ = 0
      for (let i = 0; i < 32; i++) if (((bits[(r * 32 + i) >> 3]! >> (i & 7)) & 1) !== (x[i]! >= 0 ? 1 : 0)) differ++
      expect(v).toBeCloseTo(alpha[r]! * size * (32 - 2 * differ), 4)
    })
  })

  it('convolutions: K is the mean |x| over what an output sees; signs pass gradients inside [-1, 1]; pruned weights are left alone', async () => {
    const { model } = await compress(convnet(), recipe([[quantize.binary({ inputs: 'sign' }, { targets: ['conv'] })]]))
    const w = weightAt(model, 'conv.weight') as BinaryWeight
    scope(() => {
      const x = tensor(normals(25), [1, 1, 5, 5])
      const { grads, value } = valueAndGrad(() => sum(w.apply(x, { op: 'conv2d', stride: [1, 1], padding: 0, bias: null })), { x })
      const [v, dense] = [x.read() as Float32Array, w.dense().read() as Float32Array]
      let want = 0
      for (let o = 0; o < 6; o++)
        for (let i = 0; i < 3; i++)
          for (let j = 0; j < 3; j++) {
            let [dot, size] = [0, 0]
            for (let k = 0; k < 9; k++) {
              const at = v[(i + Math.floor(k / 3)) * 5 + j + (k % 3)]!
              dot += dense[o * 9 + k]! * (at >= 0 ? 1 : -1)
              size += Math.abs(at) / 9
            }
            want += dot * size
          }
      expect(value.item()).toBeCloseTo(want, 3)
      expect((grads.x.read() as Float32Array).every(Number.isFinite)).toBe(true)
    })
    const pruned = await compress(net, recipe([[prune.magnitude({ sparsity: 0.5 })], [quantize.binary()]]))
    expect(pruned.report.passes[1]!.notes.map((n) => n.text).join()).toContain('its zeros must stay 0')
  })
})

describe('quantize/rtn with runs of rows (Q-BERT)', () => {
  it('finer runs never have a larger error; one run is the tensor, a run for each row the channels; files hold a scale for each run', async () => {
    const errors: number[] = []
    for (const [rowGroups, scales] of [
      [1, 1],
      [4, 4],
      [5, 8],
      [32, 32],
    ] as const) {
      // prettier-ignore
      const { model } = await compress(net, recipe([[quantize.rtn({ bits: 3, mode: 'affine', layout: 'rows', rowGroups }, { targets: ['fc2'] })]]))
      const w = weightAt(model, 'fc2.weight') as QuantizedWeight
      expect(w.bytes()).toBe((1024 * 3) / 8 + 4 * scales + Math.ceil((3 * scales) / 8))
      errors.push(squares(valuesAt(model, 'fc2.weight'), valuesAt(net, 'fc2.weight')))
      const layout = scales === 1 ? 'tensor' : scales === 32 ? 'channel' : undefined
      if (!layout) continue
      const { model: same } = await compress(net, recipe([[quantize.rtn({ bits: 3, mode: 'affine', layout }, { targets: ['fc2'] })]]))
      expect([...valuesAt(same, 'fc2.weight')]).toEqual([...valuesAt(model, 'fc2.weight')])
    }
    expect(errors).toEqual([...errors].sort((a, b) => b - a))
  })
})
