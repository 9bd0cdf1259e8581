/** The training loop: it learns, it resumes exactly, it never leaves a half step, and it lets other work run. */
import { describe, expect, it } from 'vitest'
import { numberDataset, textDataset } from '../../ts/data/dataset.js'
import { memory } from '../../ts/native/devices.js'
import { maskWeight, type Model } from '../../ts/nn/index.js'
import { lrAt, type OptimizerInput } from '../../ts/optim/index.js'
import type { TypedArray } from '../../ts/base/dtype.js'
import { scope, tensor, type Tensor } from '../../ts/tensor/index.js'
import type { TrainEvent } from '../../ts/compress/events.js'
import { trainSettings, trainingOf, type TrainSettingsInput } from '../../ts/compress/train/settings.js'
import { packState, unpackState, type TrainState } from '../../ts/compress/train/state.js'
import { train } from '../../ts/compress/train/train.js'
import { classification } from '../../ts/compress/train/tasks/classification.js'
import { runTraining } from '../../ts/compress/train/training.js'
import { bars, bitsOf, blobs, convnet, mlp, quick } from './toys.js'

const data = blobs(200)
const held = blobs(100, { seed: 2 })

/** Runs until step `at`, is aborted there, and gives the state that was saved. */
async function interrupted(model: Model, settings: TrainSettingsInput, at: number, extra: object = {}): Promise<TrainState> {
  const controller = new AbortController()
  let state: TrainState | undefined
  let steps = 0
  const checkpoint = (take: () => TrainState, now: boolean): void => {
    if (now) state = take()
    else if (++steps >= at) controller.abort()
  }
  await expect(train(model, data, { ...settings, ...extra, checkpoint, signal: controller.signal })).rejects.toMatchObject({
    code: 'ERR_ABORTED',
  })
  // Through JSON and back, as a file would have it.
  const { json, tensors } = packState(state!)
  return unpackState(JSON.parse(JSON.stringify(json)), tensors)
}

describe('train', () => {
  it('learns', async () => {
    const events: TrainEvent[] = []
    const { model, epochs, stopped } = await train(mlp(), data, { ...quick, validation: held, onEvent: (e) => events.push(e) })
    expect(epochs.map((e) => e.epoch)).toEqual([1, 2, 3, 4])
    expect(epochs[3]!.accuracy).toBeGreaterThan(0.9)
    expect(epochs[3]!.loss).toBeLessThan(epochs[0]!.loss)
    expect(stopped).toBe(false)
    expect(events[0]).toMatchObject({ type: 'train-start', steps: 28, stepsPerEpoch: 7, examples: 200 })
    expect(events.at(-1)).toMatchObject({ type: 'train-end', step: 28 })
    expect(events.filter((e) => e.type === 'train-epoch')).toHaveLength(4)
    expect(JSON.parse(JSON.stringify(events))).toEqual(events)
    expect(trainingOf(model.info)).toEqual(trainSettings(quick))
  })

  it('leaves the model it was given as it was', async () => {
    const model = convnet()
    const before = bitsOf(model)
    await train(model, bars(100), quick)
    expect(bitsOf(model)).toBe(before)
    expect(model.info.history).toEqual([])
  })

  it('gives the same bits for the same seed and others for another', async () => {
    const [a, b, c] = await Promise.all([7, 7, 8].map((seed) => train(mlp({ p: 0.3 }), data, { ...quick, seed })))
    expect(bitsOf(a!.model)).toBe(bitsOf(b!.model))
    expect(bitsOf(a!.model)).not.toBe(bitsOf(c!.model))
  })

  it('trains with the rate of the schedule at every step', async () => {
    const rates: number[] = []
    const settings = trainSettings({ ...quick, schedule: { kind: 'cosine', lr: 0.1, warmup: 0.2 } })
    await runTraining(mlp(), classification(data), settings, {}, {}, { onLr: (_step, lr) => rates.push(lr) })
    expect(rates).toEqual(Array.from({ length: 28 }, (_, i) => lrAt(settings.schedule, i, 28)))
  })

  it('keeps no tensor but those of the result', async () => {
    const model = mlp()
    const before = memory().tensors
    const { model: trained } = await train(model, data, { ...quick, snapshotEpochs: [0, 2] })
    // Models of tests before may be collected meanwhile.
    expect(memory().tensors - before).toBeLessThanOrEqual(trained.leaves().size)
    trained.dispose()
    expect(memory().tensors).toBeLessThanOrEqual(before)
  })

  it('lets timers run', async () => {
    let ticks = 0
    const timer = setInterval(() => ticks++, 5)
    const began = performance.now()
    await train(convnet(), bars(600), { ...quick, epochs: 10 })
    clearInterval(timer)
    const ms = performance.now() - began
    // One turn of the event loop per 15 ms of work and one step; a loaded machine may lose some.
    expect(ticks).toBeGreaterThan(Math.min(10, ms / 200))
  })
})

describe('exact resume (promise 5)', () => {
  const cases: [string, Model, OptimizerInput][] = [
    ['mlp with dropout, momentum', mlp({ p: 0.3 }), { kind: 'sgd', momentum: 0.9, weightDecay: 1e-3 }],
    ['mlp, nesterov', mlp(), { kind: 'sgd', momentum: 0.9, nesterov: true }],
    ['mlp, adamw', mlp(), { kind: 'adamw', weightDecay: 0.01 }],
  ]
  it.each(cases)('%s: interrupted anywhere and continued = never interrupted', async (_name, model, optimizer) => {
    const settings = { ...quick, optimizer }
    const straight = await train(model, data, { ...settings, validation: held })
    for (const at of [1, 6, 7, 8, 13, 27]) {
      const state = await interrupted(model, settings, at, { validation: held })
      const resumed = await train(model, data, { ...settings, validation: held, resume: state })
      expect(bitsOf(resumed.model), `stopped after step ${at}`).toBe(bitsOf(straight.model))
      expect(resumed.epochs).toEqual(straight.epochs)
    }
  })

  it('with running statistics of batch norm and dropout', async () => {
    const [set, model] = [bars(120), convnet()]
    const straight = await train(model, set, quick)
    let saved: TrainState | undefined
    await expect(
      train(model, set, {
        ...quick,
        checkpoint: (take) => {
          const state = take()
          if (state.step !== 5) return
          saved = state
          throw new RangeError('stop here')
        },
      }),
    ).rejects.toThrow('stop here')
    expect(bitsOf((await train(model, set, { ...quick, resume: saved! })).model)).toBe(bitsOf(straight.model))
  })

  it('an abort in the middle of the evaluation loses neither the epoch nor a bit', async () => {
    const model = mlp()
    const big = blobs(4000, { seed: 3 })
    const straight = await train(model, data, { ...quick, validation: big })
    const controller = new AbortController()
    let state: TrainState | undefined
    const run = train(model, data, {
      ...quick,
      validation: { ...big, batch: (indices) => (controller.abort(), big.batch(indices)) },
      signal: controller.signal,
      checkpoint: (take, now) => void (now && (state = take())),
    })
    await expect(run).rejects.toMatchObject({ code: 'ERR_ABORTED', name: 'AbortError' })
    expect(state).toMatchObject({ step: 7, epochs: [] })
    const resumed = await train(model, data, { ...quick, validation: big, resume: state! })
    expect(resumed.epochs).toEqual(straight.epochs)
    expect(bitsOf(resumed.model)).toBe(bitsOf(straight.model))
  })

  it('refuses a state of other settings, data or architecture', async () => {
    const state = await interrupted(mlp(), quick, 3)
    const refused = (model: Model, set: typeof data, settings: TrainSettingsInput): Promise<void> =>
      expect(train(model, set, { ...settings, resume: state })).rejects.toMatchObject({ code: 'ERR_CHECKPOINT' })
    await refused(mlp(), data, { ...quick, seed: 8 })
    await refused(mlp(), blobs(201), quick)
    await refused(mlp({ hidden: 16 }), data, quick)
  })

  it('refuses damaged JSON', () => {
    expect(() => unpackState({ step: 1 }, new Map())).toThrow(expect.objectContaining({ code: 'ERR_CHECKPOINT' }))
  })
})

describe('pruned weights', () => {
  const masked = (model: Model): Model => {
    const mask = new Uint8Array(32).fill(0b01100101)
    return model.withWeights(new Map([['fc1.weight', scope(() => maskWeight(model.weights()[0]!.weight, tensor(mask)))]]))
  }
  const optimizers: OptimizerInput[] = [
    { kind: 'sgd', momentum: 0.9, weightDecay: 0.1 },
    { kind: 'sgd', momentum: 0.9, nesterov: true },
    { kind: 'adamw', weightDecay: 0.1 },
  ]
  it.each(optimizers)('stay exactly 0 through %j', async (optimizer) => {
    const start = masked(mlp())
    const zerosAt = (m: Model): boolean[] => [...(m.leaves().get('fc1.weight')!.value.read() as Float32Array)].map((x) => Object.is(x, 0))
    const expected = Array.from({ length: 256 }, (_, i) => ((0b01100101 >> (i % 8)) & 1) === 0)
    expect(zerosAt(start)).toEqual(expected)
    let steps = 0
    const { model } = await runTraining(
      start,
      classification(data),
      trainSettings({ ...quick, optimizer }),
      {},
      {},
      {
        beforeStep: (_step, leaves) => {
          const w = leaves.get('fc1.weight')!.value.read() as Float32Array
          expect(w.every((x, i) => !expected[i] || Object.is(x, 0))).toBe(true)
          steps++
        },
      },
    )
    expect(steps).toBe(28)
    expect(zerosAt(model)).toEqual(expected)
    expect(model.weights()[0]!.weight.kind).toBe('masked')
  })
})

describe('numeric trouble (promise 11, N04, N07)', () => {
  it('NaN in the data names the sample and the step', async () => {
    const features = new Float32Array(200 * 8).fill(0.5)
    features[137 * 8 + 3] = NaN
    const bad = numberDataset({ name: 'bad', features, inputShape: [8], labels: new Int32Array(200), classes: data.classes })
    await expect(train(mlp(), bad, quick)).rejects.toMatchObject({
      code: 'ERR_NUMERIC',
      details: { tensor: 'bad', index: 137 },
      message: expect.stringContaining('sample 137'),
    })
  })

  it('NaN in a weight names it', async () => {
    const model = mlp()
    const w = model.leaves().get('fc2.weight')!.value
    const values = w.read() as Float32Array
    values[5] = Infinity
    w.write(values)
    await expect(train(model, data, quick)).rejects.toMatchObject({
      code: 'ERR_NUMERIC',
      details: { tensor: 'fc2.weight', index: 5, step: 0 },
    })
  })

  it('a rate of 1e30 ends in ERR_NUMERIC, and no state that is not finite was ever handed out', async () => {
    const states: TrainState[] = []
    const run = train(mlp(), data, { ...quick, schedule: { kind: 'constant', lr: 1e30 }, checkpoint: (take) => states.push(take()) })
    await expect(run).rejects.toMatchObject({ code: 'ERR_NUMERIC' })
    for (const s of states)
      for (const [name, raw] of s.values)
        if (raw.dtype === 'f32') expect(new Float32Array(raw.data.slice().buffer).every(Number.isFinite), name).toBe(true)
  })

  it('an infinite gradient is found before any weight moves', async () => {
    // The loss is finite, but the gradient that flows back through fc3 into fc1 is not.
    const model = mlp()
    for (const [path, factor] of [
      ['fc3.weight', 1e35],
      ['fc2.weight', 1e6],
    ] as const) {
      const w = model.leaves().get(path)!.value
      w.write((w.read() as Float32Array).map((x) => x * factor))
    }
    const first = model.leaves().get('fc1.weight')!.value
    first.write((first.read() as Float32Array).map((x) => x * 1e-6))
    const watched: { readonly seen: Tensor; readonly before: TypedArray }[] = []
    const run = runTraining(
      model,
      classification(data),
      trainSettings({ ...quick, schedule: { kind: 'constant', lr: 1e-3 } }),
      {},
      {},
      {
        beforeStep: (step, leaves) => {
          expect(step).toBe(0)
          for (const { value } of leaves.values()) watched.push({ seen: value.alias(), before: value.read() })
        },
      },
    )
    await expect(run).rejects.toMatchObject({
      code: 'ERR_NUMERIC',
      details: { step: 0 },
      message: expect.stringContaining('gradient of fc'),
    })
    expect(watched).toHaveLength(6)
    for (const { seen, before } of watched) {
      expect(seen.read()).toEqual(before)
      seen.dispose()
    }
  })

  it('frees everything when it fails', async () => {
    const model = mlp()
    const before = memory().tensors
    await expect(train(model, data, { ...quick, schedule: { kind: 'constant', lr: 1e30 } })).rejects.toMatchObject({ code: 'ERR_NUMERIC' })
    expect(memory().tensors).toBeLessThanOrEqual(before)
  })
})

describe('options', () => {
  it.each([
    { epochs: 0 },
    { epochs: 1.5 },
    { batchSize: 0 },
    { seed: -1 },
    { seed: NaN },
    { schedule: { kind: 'constant', lr: -1 } },
    { schedule: { kind: 'constant', lr: NaN } },
    { optimizer: { kind: 'sgd', momentum: 1 } },
    { labelSmoothing: 1 },
    { learningRate: 0.1 },
  ])('%j is ERR_OPTION', async (bad) => {
    await expect(train(mlp(), data, { ...quick, ...bad } as TrainSettingsInput)).rejects.toMatchObject({ code: 'ERR_OPTION' })
  })

  it('refuses what it cannot train: another number of classes, an encoder, text for a net of numbers', async () => {
    await expect(train(mlp({ classes: 4 }), data, quick)).rejects.toMatchObject({ code: 'ERR_OPTION' })
    await expect(train(mlp().withInfo({ task: 'embedding' }), data, quick)).rejects.toMatchObject({ code: 'ERR_OPTION' })
    const text = textDataset({ name: 'text', texts: ['a', 'b'], labels: new Int32Array(2), classes: data.classes })
    await expect(train(mlp(), text, quick)).rejects.toMatchObject({ code: 'ERR_UNSUPPORTED' })
  })

  it('an aborted signal stops it before the first step', async () => {
    await expect(train(mlp(), data, { ...quick, signal: AbortSignal.abort() })).rejects.toMatchObject({ code: 'ERR_ABORTED' })
  })

  it('an error of the listener passes through unchanged (L08)', async () => {
    const mine = new Error('mine')
    const before = memory().tensors
    const model = mlp()
    const own = memory().tensors - before
    await expect(
      train(model, data, {
        ...quick,
        onEvent: () => {
          throw mine
        },
      }),
    ).rejects.toBe(mine)
    expect(memory().tensors - before).toBe(own)
  })
})
