/** Inference on integers alone: gemmlowp's arithmetic bit for bit (methods.md A7.6), and nets whose results are those of the layers with quantized inputs. */
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { Rng } from '../../ts/base/rng.js'
import { compress, integerOnly, quantize, recipe, train } from '../../ts/compress/index.js'
import { basicBlock } from '../../ts/models/vision/index.js'
import {
  activation,
  avgPool2d,
  batchNorm,
  build,
  conv2d,
  doublingHighMul,
  fixedPoint,
  flatten,
  freshValues,
  globalAvgPool,
  integerNet,
  linear,
  Model,
  QuantizedWeight,
  rescale,
  roundingShift,
  sequential,
  type ModuleSpec,
} from '../../ts/nn/index.js'
import { qgemmPack, qmatmulFixed } from '../../ts/ops/index.js'
import { scope, tensor } from '../../ts/tensor/index.js'
import { bars, blobs, convnet, mlp, quick } from './toys.js'

const MIN = -(2 ** 31)
const images = bars(64)
const points = blobs(96)

/** gemmlowp's definition in whole numbers of any size. */
function reference(x: number, multiplier: number, exponent: number): number {
  const big = (v: number): bigint => BigInt(v)
  const clamp = (v: bigint): bigint => (v > 2147483647n ? 2147483647n : v < -2147483648n ? -2147483648n : v)
  const left = clamp(big(x) << big(Math.max(exponent, 0)))
  const product = left * big(multiplier)
  const nudge = product >= 0n ? 1n << 30n : 1n - (1n << 30n)
  const high = left === -2147483648n && big(multiplier) === -2147483648n ? 2147483647n : (product + nudge) / (1n << 31n)
  const right = big(Math.max(-exponent, 0))
  const [mask, rest] = [(1n << right) - 1n, high & ((1n << right) - 1n)]
  return Number((high >> right) + (rest > (mask >> 1n) + (high < 0n ? 1n : 0n) ? 1n : 0n))
}

describe('fixed point', () => {
  it('-2^31 times itself saturates; the rest is the definition', () => {
    expect(doublingHighMul(MIN, MIN)).toBe(2 ** 31 - 1)
    expect(doublingHighMul(MIN, 2 ** 30)).toBe(-(2 ** 30))
    const rng = Rng.of(1, 'fixed')
    const any = (): number => Math.floor(2 ** 32 * (rng.uint32() / 2 ** 32)) + MIN
    for (let i = 0; i < 400; i++) {
      const x = i % 5 === 0 ? [MIN, MIN + 1, -1, 0, 1, 2 ** 31 - 1][i % 6]! : any()
      const multiplier = i % 7 === 0 ? 2 ** 31 - 1 : 2 ** 30 + Math.floor(2 ** 30 * (rng.uint32() / 2 ** 32))
      const exponent = Math.floor(40 * (rng.uint32() / 2 ** 32)) - 31
      expect(rescale(x, { multiplier, exponent })).toBe(reference(x, multiplier, exponent))
    }
    expect([-6, -5, 5, 6, 7].map((v) => roundingShift(v, 2))).toEqual([-2, -1, 1, 2, 2])
  })

  it('factors are closer than 2^-31; what is out of range is refused', () => {
    for (const m of [1, 0.5, 0.75, 3e-7, 1234.5, 0.999999999, 2 ** -31]) {
      const { multiplier, exponent } = fixedPoint(m)
      expect(multiplier).toBeGreaterThanOrEqual(2 ** 30)
      expect(multiplier).toBeLessThan(2 ** 31)
      expect(Math.abs((multiplier / 2 ** 31) * 2 ** exponent - m)).toBeLessThanOrEqual(m * 2 ** -30)
    }
    expect(fixedPoint(0)).toEqual({ multiplier: 0, exponent: 0 })
    for (const bad of [-1, NaN, Infinity, 2 ** 30]) expect(() => fixedPoint(bad)).toThrow(expect.objectContaining({ code: 'ERR_OPTION' }))
  })

  it('the kernel of products gives the same bits as the simulated path', () =>
    scope(() => {
      const rng = Rng.of(2, 'product')
      const [m, n, k] = [5, 7, 33]
      const ints = (count: number, lo: number, hi: number): number[] => Array.from({ length: count }, () => lo + rng.int(hi - lo + 1))
      const [x, w, bias] = [ints(m * k, 0, 255), ints(n * k, -127, 127), ints(n, -9000, 9000)]
      const factors = Array.from({ length: n }, (_, i) => fixedPoint(10 ** -(2 + i / 3)))
      const i32 = (v: readonly number[]): ReturnType<typeof tensor> => tensor(Int32Array.from(v))
      const [multiplier, exponent] = [i32(factors.map((f) => f.multiplier)), i32(factors.map((f) => f.exponent))]
      const packed = qgemmPack(tensor(Int8Array.from(w), [n, k]))
      const y = qmatmulFixed(tensor(Uint8Array.from(x), [m, k]), packed, i32(bias), multiplier, exponent, null, n, 77, 'u8', 12, 12, 240)
      const want = Array.from({ length: m * n }, (_, at) => {
        const [i, j] = [Math.floor(at / n), at % n]
        let sum = bias[j]!
        for (let c = 0; c < k; c++) sum += (x[i * k + c]! - 77) * w[j * k + c]!
        return Math.min(240, Math.max(12, rescale(sum, factors[j]!) + 12))
      })
      expect(Array.from(y.read(), Number)).toEqual(want)
    }))
})

describe('nets', () => {
  const models: Model[] = []
  afterAll(() => models.forEach((m) => m.dispose()))
  const spec = (root: ModuleSpec, inputShape: readonly number[]): Model =>
    new Model(build(root, freshValues(Rng.of(3, 'init'))), {
      name: 'net',
      task: 'classification',
      classes: ['a', 'b'],
      inputShape,
      history: [],
    })
  const quantized = async (model: Model, data: typeof images): Promise<Model> => {
    const { model: out } = await compress(model, recipe([[quantize.static({ calibration: 'minmax' })]]), { data })
    models.push(out)
    return out
  }
  let conv: Model
  beforeAll(async () => {
    conv = (await train(convnet(), images, quick)).model
  })
  const relu = activation({ function: 'relu' })
  const residual = (): Model =>
    spec(
      sequential({
        stem: conv2d({ in: 1, out: 4, kernel: [3, 3], padding: [1, 1], bias: false }),
        bn: batchNorm({ channels: 4 }),
        relu,
        a: basicBlock({ in: 4, out: 4 }),
        b: basicBlock({ in: 4, out: 6, stride: 2 }),
        pool: avgPool2d({ kernel: [2, 2], stride: [2, 2] }),
        mean: globalAvgPool({}),
        fc: linear({ in: 6, out: 2, bias: true, init: 'he' }),
      }),
      [1, 8, 8],
    )

  const grouped = (): Model =>
    spec(
      sequential({
        conv: conv2d({ in: 1, out: 8, kernel: [3, 3], padding: [1, 1] }),
        relu0: activation({ function: 'relu' }),
        depthwise: conv2d({ in: 8, out: 8, kernel: [3, 3], padding: [1, 1], groups: 8 }),
        norm: batchNorm({ channels: 8 }),
        relu1: activation({ function: 'relu6' }),
        pairs: conv2d({ in: 8, out: 6, kernel: [3, 2], stride: [2, 1], padding: [1, 0], groups: 2 }),
        relu2: activation({ function: 'relu' }),
        wide: conv2d({ in: 6, out: 6, kernel: [3, 3], padding: [2, 1], dilation: [2, 1], groups: 3 }),
        relu3: activation({ function: 'relu' }),
        mean: globalAvgPool({}),
        fc: linear({ in: 6, out: 2, bias: true, init: 'he' }),
      }),
      [1, 8, 8],
    )

  it('groups and dilation: the sums of codes in whole numbers, exactly', async () => {
    const q = await quantized(spec(sequential({ conv: conv2d({ in: 4, out: 6, kernel: [3, 2], stride: [1, 2], padding: [2, 1], dilation: [2, 1], groups: 2 }) }), [4, 4, 4]), images) // prettier-ignore
    const net = integerOnly(q)
    const x = tensor(images.batch([5]).x, [1, 4, 4, 4])
    const [weight] = net.weights()
    const codes = (weight!.weight as QuantizedWeight).q.read() as Int8Array
    const [first] = (net.spec().config as unknown as { steps: readonly { scale: number; zero: number }[] }).steps
    const { scale, zero } = first!
    const u8 = Array.from(x.read() as Float32Array, (v) => Math.max(0, Math.min(255, Math.round(v / scale) + zero)))
    const bias = [...net.state()].find(([path]) => path.endsWith('_bias'))![1].read() as Int32Array
    const give = (net.spec().config as unknown as { steps: readonly { scale: readonly number[] }[] }).steps.at(-1)!
    const y = net.predict(x)
    expect(y.shape).toEqual([1, 6, 4, 3])
    const got = y.read() as Float32Array
    for (let n = 0; n < 6; n++)
      for (let i = 0; i < 4; i++)
        for (let j = 0; j < 3; j++) {
          let sum = bias[n]!
          for (let c = 0; c < 2; c++)
            for (let a = 0; a < 3; a++)
              for (let b = 0; b < 2; b++) {
                const [row, column] = [i - 2 + 2 * a, 2 * j - 1 + b]
                const inside = row >= 0 && row < 4 && column >= 0 && column < 4
                const code = inside ? u8[(2 * Math.floor(n / 3) + c) * 16 + row * 4 + column]! : zero
                sum += codes[n * 12 + c * 6 + a * 2 + b]! * (code - zero)
              }
          expect(got[(n * 4 + i) * 3 + j]).toBe(Math.fround(sum * give.scale[n % give.scale.length]!))
        }
  })

  it.each([
    ['linear, ReLU', () => mlp(), points],
    ['convolution, batch norm, ReLU, max pool, flatten, linear', () => conv, images],
    ['residual blocks, means', residual, images],
    ['depthwise, grouped and dilated convolutions', grouped, images],
  ])('%s: what layers with quantized inputs give, within a step or two', async (_name, make, data) => {
    const q = await quantized(make(), data)
    scope(() => {
      const x = tensor(data.batch(Uint32Array.from({ length: 48 }, (_, i) => i)).x, [48, ...data.inputShape])
      const net = integerOnly(q, { examples: x })
      const [soft, hard] = [q, net].map((m) => Array.from(m.predict(x).read(), Number))
      expect(soft!.length).toBe(hard!.length)
      const spread = Math.max(...soft!) - Math.min(...soft!)
      const off = soft!.map((v, i) => Math.abs(v - hard![i]!))
      expect(Math.max(...off)).toBeLessThan(0.05 * spread)
      expect(off.reduce((a, b) => a + b, 0) / off.length).toBeLessThan(0.012 * spread)
      // Integers throughout: the state is i32, and the same input gives the same bits.
      for (const t of net.state().values()) expect(t.dtype).toBe('i32')
      expect(Array.from(net.predict(x).read(), Number)).toEqual(hard)
      expect(net.weights().every(({ weight }) => weight instanceof QuantizedWeight)).toBe(true)
      net.dispose()
    })
  })

  it('a flattening behind the last convolution is kept', async () => {
    const q = await quantized(
      spec(
        sequential({
          conv: conv2d({ in: 1, out: 4, kernel: [3, 3], padding: [1, 1] }),
          relu: activation({ function: 'relu' }),
          pool: avgPool2d({ kernel: [4, 4], stride: [4, 4] }),
          head: conv2d({ in: 4, out: 3, kernel: [1, 1] }),
          flat: flatten({}),
        }),
        [1, 8, 8],
      ),
      images,
    )
    const x = tensor(images.batch([0, 1, 2]).x, [3, 1, 8, 8])
    const net = integerOnly(q, { examples: x })
    const [said, meant] = [net.predict(x), q.predict(x)]
    expect(said.shape).toEqual([3, 12])
    const [a, b] = [said.read() as Float32Array, meant.read() as Float32Array]
    a.forEach((v, i) => expect(Math.abs(v - b[i]!)).toBeLessThan(0.05))
  })

  it('names every layer that has no integer form, at once', async () => {
    const q = await quantized(
      spec(
        sequential({
          fc1: linear({ in: 8, out: 8, bias: true, init: 'he' }),
          gelu: activation({ function: 'gelu' }),
          fc2: linear({ in: 8, out: 8, bias: true, init: 'he' }),
          tanh: activation({ function: 'tanh' }),
          fc3: linear({ in: 8, out: 3, bias: true, init: 'he' }),
        }),
        [8],
      ),
      points,
    )
    expect(() => integerOnly(q)).toThrow(
      expect.objectContaining({
        code: 'ERR_UNSUPPORTED',
        details: { layers: [expect.objectContaining({ path: 'gelu' }), expect.objectContaining({ path: 'tanh' })] },
      }),
    )
    expect(() => integerOnly(mlp())).toThrow(expect.objectContaining({ code: 'ERR_UNSUPPORTED' }))
  })

  it('refuses steps of a file that do not fit together', () => {
    const [quantize, product, give] = [
      { op: 'quantize', to: 0, scale: 0.1, zero: 128 },
      { op: 'product', from: 0, to: 1, layer: 'a', xZero: 128, yZero: 0, limits: [0, 255], to32: true },
      { op: 'give', from: 1, layer: 'a', scale: [0.01] },
    ]
    const net = (...steps: object[]): Model =>
      new Model(build(integerNet({ layers: { a: [5, 6] }, steps } as never), freshValues(Rng.of(1))), {
        name: 'net',
        task: 'regression',
        history: [],
      })
    const bad = [
      [quantize, product],
      [quantize, { ...product, from: 7 }, give],
      [quantize, { ...product, layer: 'b' }, give],
      [give, give],
    ]
    for (const steps of bad) expect(() => net(...steps)).toThrow(expect.objectContaining({ code: 'ERR_OPTION' }))
    // A weight that is no codes.
    expect(() => net(quantize, product, give).forward(tensor(new Float32Array(12), [2, 6]))).toThrow(
      expect.objectContaining({ code: 'ERR_MODEL_FORMAT' }),
    )
  })
})
