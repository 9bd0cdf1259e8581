/** Precision, loss scaling, SAM, averages, clipping, groups, accumulation in the training loop: exact resume, and nothing moves by half. */
import { describe, expect, it } from 'vitest'
import { memory, setThreads, threads } from '../../ts/native/devices.js'
import { maskWeight, type Model } from '../../ts/nn/index.js'
import { averageDecay } from '../../ts/optim/index.js'
import { scope, tensor } from '../../ts/tensor/index.js'
import { plainSettings, trainSettings, trainingOf, trainSettingsSchema, type TrainSettingsInput } from '../../ts/compress/train/settings.js'
import { packState, unpackState, type TrainState } from '../../ts/compress/train/state.js'
import { train } from '../../ts/compress/train/train.js'
import { classification } from '../../ts/compress/train/tasks/classification.js'
import { runTraining } from '../../ts/compress/train/training.js'
import { bars, bitsOf, blobs, convnet, mlp, quick } from './toys.js'

const data = blobs(200)
const held = blobs(100, { seed: 2 })

/** The states after each step, as files would have them. */
async function states(
  model: Model,
  settings: TrainSettingsInput,
  set = data,
): Promise<{ readonly all: TrainState[]; readonly bits: string }> {
  const all: TrainState[] = []
  const result = await train(model, set, { ...settings, checkpoint: (take) => all.push(take()) })
  return { all, bits: bitsOf(result.model) + (result.average ? bitsOf(result.average) : '') }
}

const variants: [string, Partial<TrainSettingsInput>][] = [
  ['adam', { optimizer: { kind: 'adam', weightDecay: 0.01 } }],
  ['lamb', { optimizer: { kind: 'lamb', weightDecay: 0.01 } }],
  [
    'rmsprop, centered, momentum',
    { optimizer: { kind: 'rmsprop', centered: true, momentum: 0.9 }, schedule: { kind: 'one-cycle', lr: 0.001 } },
  ],
  ['rmsprop', { optimizer: { kind: 'rmsprop' }, schedule: { kind: 'cosine-restarts', lr: 0.01, first: 0.2, grow: 2 } }],
  ['f16, loss scale that rises', { precision: 'f16', lossScale: { initial: 8, interval: 3 } }],
  ['bf16', { precision: 'bf16', schedule: { kind: 'inverse-sqrt', lr: 0.05, warmup: 0.2 } }],
  ['sam', { sam: { rho: 0.05 }, schedule: { kind: 'polynomial', lr: 0.05 } }],
  ['asam, f16', { sam: { rho: 0.5, adaptive: true }, precision: 'f16' }],
  ['average', { ema: { decay: 0.9 }, schedule: { kind: 'exponential', lr: 0.05, factor: 0.1 } }],
  [
    'clipping, groups',
    {
      clipNorm: 0.5,
      clipValue: 0.1,
      groups: [
        { role: 'vector', weightDecay: 0 },
        { match: 'fc1', lrScale: 0.5 },
      ],
    },
  ],
  ['accumulation', { accumulate: 3 }],
]

describe.each(variants)('%s', (_name, variant) => {
  const settings = { ...quick, ...variant }

  it('learns', async () => {
    const { model, epochs } = await train(mlp(), data, { ...settings, validation: held })
    expect(epochs.at(-1)!.loss).toBeLessThan(epochs[0]!.loss)
    expect(trainingOf(model.info)).toEqual(trainSettings(settings))
  })

  it.each([
    ['mlp', () => mlp({ p: 0.3 }), data],
    ['convnet with batch norm', () => convnet(), bars(120)],
  ] as const)('%s: continued from any step = never interrupted', async (_kind, make, set) => {
    const model = make()
    const straight = await states(model, settings, set)
    for (const at of [0, 5, straight.all.length - 2]) {
      const { json, tensors } = packState(straight.all[at]!)
      const resume = unpackState(JSON.parse(JSON.stringify(json)), tensors)
      const again = await train(model, set, { ...settings, resume })
      expect(bitsOf(again.model) + (again.average ? bitsOf(again.average) : ''), `from step ${resume.step}`).toBe(straight.bits)
    }
  })

  it('keeps pruned weights exactly 0, also where SAM goes', async () => {
    const start = mlp()
    const mask = new Uint8Array(32).fill(0b01100101)
    const pruned = start.withWeights(new Map([['fc1.weight', scope(() => maskWeight(start.weights()[0]!.weight, tensor(mask)))]]))
    const { model, average } = await train(pruned, data, settings)
    for (const m of average ? [model, average] : [model])
      [...(m.leaves().get('fc1.weight')!.value.read() as Float32Array)].forEach((x, i) => {
        if (!((0b01100101 >> (i % 8)) & 1)) expect(Object.is(x, 0)).toBe(true)
      })
  })

  it('gives the same bits with one thread and with two, and frees what it made', async () => {
    const before = threads()
    const model = mlp()
    const tensors = memory().tensors
    const bits: string[] = []
    for (const n of [1, 2]) {
      setThreads(n)
      const result = await train(model, data, settings)
      bits.push(bitsOf(result.model))
      result.model.dispose()
      result.average?.dispose()
    }
    setThreads(before)
    expect(bits[0]).toBe(bits[1])
    expect(memory().tensors).toBeLessThanOrEqual(tensors)
  })
})

describe('f16 loss scaling', () => {
  /** Weights, optimizer slots, statistics: everything a step changes. */
  const moved = ({ values, slots, updates }: TrainState): string =>
    JSON.stringify([updates, ...[...values, ...slots].map(([name, raw]) => [name, Buffer.from(raw.data).toString('base64')])])

  it('a step whose gradient overflows changes no bit, halves the scale and is counted; the scale recovers', async () => {
    const settings = trainSettings({ ...quick, precision: 'f16', lossScale: { initial: 2 ** 24, interval: 4 } })
    const all: TrainState[] = []
    const model = convnet()
    const result = await runTraining(
      model,
      classification(bars(200)),
      settings,
      { checkpoint: (take) => all.push(take()), snapshotEpochs: [0], onSnapshot: (_e, s) => all.push(s) },
      {},
      {},
    )
    expect(result.skipped).toBeGreaterThan(0)
    let skipped = 0
    for (let i = 1; i < all.length; i++) {
      const [a, b] = [all[i - 1]!, all[i]!]
      const [from, to] = [a.lossScale!, b.lossScale!]
      if (b.updates === a.updates) {
        skipped++
        expect(moved(b)).toBe(moved(a))
        expect(to).toEqual({ scale: from.scale / 2, good: 0 })
      } else {
        expect(moved(b)).not.toBe(moved(a))
        expect(to).toEqual(
          from.good === 3 ? { scale: Math.min(2 ** 24, from.scale * 2), good: 0 } : { scale: from.scale, good: from.good + 1 },
        )
      }
    }
    expect(skipped).toBe(result.skipped)
    expect(result.state.updates).toBe(result.state.step - skipped)
  })

  it('a state without its loss scale is ERR_CHECKPOINT', async () => {
    const settings: TrainSettingsInput = { ...quick, precision: 'f16' }
    const { all } = await states(mlp(), settings)
    const { lossScale: _, ...resume } = all[3]!
    await expect(train(mlp(), data, { ...settings, resume })).rejects.toMatchObject({ code: 'ERR_CHECKPOINT' })
  })

  it('activations beyond f16 are ERR_NUMERIC, not endless skipping', async () => {
    const model = mlp()
    const w = model.leaves().get('fc2.weight')!.value
    w.write((w.read() as Float32Array).map((x) => x * 1e6))
    await expect(train(model, data, { ...quick, precision: 'f16' })).rejects.toMatchObject({
      code: 'ERR_NUMERIC',
      message: expect.stringContaining('65504'),
    })
  })
})

describe('precision', () => {
  it('rounds what flows through products and keeps the weights f32', async () => {
    const list = await Promise.all((['f32', 'bf16', 'f16'] as const).map((precision) => train(mlp(), data, { ...quick, precision })))
    const bits = list.map(({ model }) => bitsOf(model))
    expect(new Set(bits).size).toBe(3)
    // More digits than bf16 has: masters are not rounded.
    const w = list[1]!.model.leaves().get('fc1.weight')!.value.read() as Float32Array
    expect([...new Uint32Array(w.buffer.slice(w.byteOffset, w.byteOffset + w.byteLength))].some((u) => (u & 0xffff) !== 0)).toBe(true)
    list.forEach(({ epochs }) => expect(epochs.at(-1)!.loss).toBeLessThan(1.2 * list[0]!.epochs.at(-1)!.loss + 0.02))
  })
})

describe('average', () => {
  it('is the recursion over the weights of the steps, and validation measures it', async () => {
    const ema = { decay: 0.9, warmup: true }
    const all: TrainState[] = []
    const model = mlp()
    const { average } = await train(model, data, {
      ...quick,
      ema,
      snapshotEpochs: [0],
      onSnapshot: (_e, s) => all.push(s),
      checkpoint: (take) => all.push(take()),
    })
    const weight = (s: TrainState): Float32Array => new Float32Array(s.values.get('fc2.weight/value')!.data.slice().buffer)
    let want = [...weight(all[0]!)]
    all.slice(1).forEach((s, t) => {
      const d = averageDecay(ema, t + 1)
      const w = weight(s)
      want = want.map((x, i) => d * x + (1 - d) * w[i]!)
    })
    const got = average!.leaves().get('fc2.weight')!.value.read() as Float32Array
    want.forEach((x, i) => expect(got[i]).toBeCloseTo(x, 5))
    expect(all).toHaveLength(29)
  })
})

describe('accumulation', () => {
  it('is the gradient of the whole batch', async () => {
    const list = await Promise.all([1, 4].map((accumulate) => train(mlp(), data, { ...quick, epochs: 1, accumulate })))
    const [a, b] = list.map(({ model }) => model.leaves().get('fc1.weight')!.value.read() as Float32Array)
    a!.forEach((x, i) => expect(b![i]).toBeCloseTo(x, 4))
  })
})

describe('SAM', () => {
  it('moves running statistics once a step, by the first pass', async () => {
    const one = { ...quick, epochs: 1, batchSize: 200 }
    const set = bars(200)
    const [plain, sam] = await Promise.all([train(convnet(), set, one), train(convnet(), set, { ...one, sam: { rho: 0.5 } })])
    const stats = (m: Model): unknown => [...m.state()].map(([path, t]) => [path, [...(t.read() as Float32Array)]])
    expect(stats(sam.model)).toEqual(stats(plain.model))
    expect(bitsOf(sam.model)).not.toBe(bitsOf(plain.model))
  })
})

describe('settings', () => {
  it('of before are what they were', () => {
    const old = {
      epochs: 4,
      batchSize: 32,
      optimizer: { kind: 'adamw', beta1: 0.9, beta2: 0.999, eps: 1e-8, weightDecay: 0 },
      schedule: { kind: 'cosine', lr: 0.05, end: 0, warmup: 0.05 },
      seed: 7,
      labelSmoothing: 0,
    }
    expect(plainSettings(trainSettingsSchema.parse(old))).toEqual(old)
  })

  it.each([
    { precision: 'f8' },
    { lossScale: { initial: 0 } },
    { lossScale: { backoff: 1 } },
    { groups: [{ weightDecay: 0 }] },
    { groups: [{ role: 'bias', weightDecay: 0 }] },
    { clipNorm: 0 },
    { clipNorm: NaN },
    { clipValue: -1 },
    { accumulate: 0 },
    { accumulate: 2 ** 32 + 1 },
    { sam: { rho: 0 } },
    { sam: { rho: NaN } },
    { ema: { decay: 1 } },
    { optimizer: { kind: 'lamb', phiMin: 11 } },
    { schedule: { kind: 'one-cycle', lr: 0.1, peak: 1 } },
    { schedule: { kind: 'cosine-restarts', lr: 0.1, first: 0 } },
    { schedule: { kind: 'polynomial', lr: 0.1, power: NaN } },
  ])('%j is ERR_OPTION', async (bad) => {
    await expect(train(mlp(), data, { ...quick, ...bad } as TrainSettingsInput)).rejects.toMatchObject({ code: 'ERR_OPTION' })
  })
})
