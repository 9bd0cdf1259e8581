/** quantize/bias-correction and quantize/hqq. */
import { beforeAll, describe, expect, it } from 'vitest'
import { Rng } from '../../ts/base/rng.js'
import { compress, quantize, recipe, train } from '../../ts/compress/index.js'
import { halfQuadraticZero } from '../../ts/compress/quantize/hqq.js'
import { memory } from '../../ts/native/devices.js'
import { DenseWeight, Model, type QuantizedWeight, type Weight } from '../../ts/nn/index.js'
import { scope, tensor } from '../../ts/tensor/index.js'
import { bars, bitsOf, blobs, convnet, mlp, quick } from './toys.js'

const data = blobs(300)
const images = bars(200)
let net: Model
let conv: Model
beforeAll(async () => {
  net = (await train(mlp(), data, quick)).model
  conv = (await train(convnet(), images, { ...quick, epochs: 2 })).model
})
const weightAt = (m: Model, path: string): Weight => m.weights().find((w) => w.path === path)!.weight

/** Mean output of a layer of the net by channel. */
function means(m: Model, path: string, x: Float32Array, shape: readonly number[]): number[] {
  return scope(() => {
    const y = new Model(m.root.children[path]!, m.info).forward(tensor(x, shape))
    const [n, channels] = y.shape as [number, number]
    const rest = y.size / (n * channels)
    const values = y.read() as Float32Array
    const out = Array<number>(channels).fill(0)
    values.forEach((v, i) => (out[Math.floor(i / rest) % channels]! += v / (n * rest)))
    return out
  })
}

describe('quantize/bias-correction', () => {
  it('the mean output of every channel is that of the source again, on the data it saw', async () => {
    for (const [model, set, path] of [
      [net, data, 'fc1'],
      [conv, images, 'conv'],
    ] as const) {
      const rounding = [quantize.rtn({ bits: 2, layout: 'channel' }, { targets: [path] })]
      const { model: rounded } = await compress(model, recipe([rounding]), { data: set })
      const { model: corrected } = await compress(
        model,
        recipe([rounding, [quantize.biasCorrection({ samples: set.size }, { targets: [path] })]]),
        { data: set },
      )
      const { x } = set.batch(Array.from({ length: set.size }, (_, i) => i))
      const shape = [set.size, ...set.inputShape]
      const want = means(model, path, x, shape)
      const [before, after] = [rounded, corrected].map((m) => Math.max(...means(m, path, x, shape).map((v, i) => Math.abs(v - want[i]!))))
      expect(before!).toBeGreaterThan(0.01)
      expect(after!).toBeLessThan(1e-4)
    }
  })

  it('leaves weights that nobody changed, changes only biases, frees what it made', async () => {
    const tensors = memory().tensors
    const bits = bitsOf(net)
    const { model, report } = await compress(net, recipe([[quantize.rtn({}, { targets: ['fc2'] })], [quantize.biasCorrection()]]), { data })
    expect(report.passes[1]!.layers.map((l) => l.path)).toEqual(['fc2.bias'])
    expect(report.passes[1]!.notes).toContainEqual({ path: 'fc1.weight', text: 'left alone: no pass changed this weight' })
    expect(bitsOf(net)).toBe(bits)
    const own = new Set(net.weights().map((w) => w.weight))
    for (const { weight } of model.weights()) if (!own.has(weight)) weight.dispose()
    expect(memory().tensors).toBeLessThanOrEqual(tensors)
    await expect(compress(net, recipe([[quantize.biasCorrection()]]))).rejects.toMatchObject({ code: 'ERR_OPTION' })
  })
})

describe('quantize/hqq', () => {
  it('never raises the mean absolute error of a group; lowers it where a few values are far out', () => {
    const rng = Rng.of(5, 'hqq')
    let gained = 0
    for (let trial = 0; trial < 20; trial++) {
      const values = Float32Array.from({ length: 64 }, (_, i) => rng.normal() * (i % 16 === 0 ? 4 : 1))
      const [lo, hi] = [Math.min(...values), Math.max(...values)]
      const group = { values, scale: (hi - lo) / 15, lowest: -8, highest: 7 }
      const start = Math.round(-8 - lo / group.scale)
      const q = new Int8Array(64)
      const error = (zero: number): number => values.reduce((s, v, i) => s + Math.abs(v - group.scale * (q[i]! - zero)), 0)
      halfQuadraticZero(group, start, 0.7, 1, q)
      for (let i = 0; i < 64; i++) q[i] = Math.min(7, Math.max(-8, Math.round(values[i]! / group.scale + start)))
      const before = error(start)
      const after = error(halfQuadraticZero(group, start, 0.7, 20, q))
      expect(after).toBeLessThanOrEqual(before * (1 + 1e-6))
      if (after < 0.999 * before) gained++
    }
    expect(gained).toBeGreaterThan(4)
  })

  it('needs no data; bytes are codes, halves and zero points; extreme values stay finite', async () => {
    const { model } = await compress(net, recipe([[quantize.hqq({ bits: 4, groupSize: 16 })]]))
    const w = weightAt(model, 'fc2.weight') as QuantizedWeight
    expect(w.description).toBe('int4 g16 affine')
    expect(w.bytes()).toBeLessThanOrEqual(512 + 64 * 2 + 64 * 4)
    const values = new Float32Array(256)
    values.set([1e38, -3e38, 3e38, 1e-45, 0, 1e-30])
    const extreme = net.withWeights(new Map([['fc1.weight', new DenseWeight(tensor(values, [32, 8]))]]))
    const { model: small } = await compress(extreme, recipe([[quantize.hqq({}, { targets: ['fc1'] })]]))
    expect((scope(() => weightAt(small, 'fc1.weight').dense().read()) as Float32Array).every(Number.isFinite)).toBe(true)
  })
})
