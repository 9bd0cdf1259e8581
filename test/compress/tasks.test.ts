/** Every task runs through the same loop: it learns, goes on exactly from any step, in parts, with SAM, in f16, and frees what it made. */
import { describe, expect, it } from 'vitest'
import { Rng } from '../../ts/base/rng.js'
import {
  IGNORE,
  language,
  maskedText,
  packState,
  regression,
  regressionData,
  sequencePairs,
  tokens,
  trainSettings,
  trainTask,
  unpackState,
  type TaskOptions,
  type TrainState,
  type TrainTask,
} from '../../ts/compress/index.js'
import { metricsText } from '../../ts/cli/events.js'
import { languageModel } from '../../ts/models/index.js'
import { memory } from '../../ts/native/devices.js'
import { activation, build, freshValues, linear, Model, sequential, type ModelTask, type ModuleSpec } from '../../ts/nn/index.js'
import { mse } from '../../ts/ops/index.js'
import { scope, tensor, type Tensor } from '../../ts/tensor/index.js'
import { bitsOf } from './toys.js'

const make = (spec: ModuleSpec, task: ModelTask): Model =>
  new Model(build(spec, freshValues(Rng.of(3, 'tasks'))), { name: 'toy', task, history: [] })

const features = Float32Array.from({ length: 96 * 2 }, (_, i) => Math.sin(i * 1.7))
const targets = Float32Array.from({ length: 96 }, (_, i) => features[2 * i]! - 0.5 * features[2 * i + 1]! ** 2)
const numbers = regressionData({ name: 'numbers', features, inputShape: [2], targets })
const net = (): Model =>
  make(
    sequential({
      fc1: linear({ in: 2, out: 16, bias: true, init: 'he' }),
      tanh: activation({ function: 'tanh' }),
      fc2: linear({ in: 16, out: 1, bias: true, init: 'he' }),
    }),
    'regression',
  )

const text = Int32Array.from({ length: 260 }, (_, i) => [0, 1, 2, 1, 3][i % 5]!)
const lm = (task: ModelTask = 'language'): Model =>
  make(languageModel({ vocabulary: 8, width: 12, hidden: 12, layers: 2, dropout: 0.1 }), task)

/** The language model reads source, separator and target in one row: enough to copy, and any model of tokens would do. */
const pairs = Array.from({ length: 40 }, (_, i) => [[2 + (i % 3), 3 + (i % 2)].slice(0, 1 + (i % 2)), [2 + (i % 3)]] as const)
const copying = sequencePairs({ name: 'copying', pairs, begin: 1, end: 7, pad: 0, input: ({ target }) => target })
const masked = maskedText({
  name: 'masked',
  rows: Array.from({ length: 40 }, (_, i) => Array.from({ length: 3 + (i % 4) }, (_, j) => 2 + ((i + j) % 3))),
  vocabulary: 8,
  mask: 1,
  pad: 0,
  share: 0.3,
  input: ({ ids }) => ids,
})

/** A user's own: noise is drawn by step, batches come later. */
const own: TrainTask<number> = {
  kind: 'denoise',
  name: 'noise',
  examples: 40,
  batches: (_model, _settings, { batch }) => ({ batchesPerEpoch: 5, next: () => Promise.resolve(batch++ % 5) }),
  count: () => 8,
  split: (batch) => [batch],
  loss: ({ forward, settings: { seed }, step }, batch) => {
    const rng = Rng.of(seed, 'noise', step)
    const clean = Float32Array.from({ length: 8 }, (_, i) => Math.cos(batch + i))
    const noisy = Float32Array.from({ length: 16 }, (_, i) => clean[i >> 1]! + 0.1 * rng.normal())
    return mse(forward(tensor(noisy, [8, 2])), tensor(clean, [8, 1]))
  },
}

const adam: TaskOptions = { epochs: 5, batchSize: 8, optimizer: { kind: 'adam' }, schedule: { kind: 'constant', lr: 0.02 }, seed: 3 }
const tasks: [string, TrainTask, () => Model][] = [
  ['regression', regression(numbers, { validation: numbers }), net],
  ['Huber', regression(numbers, { loss: { huber: 0.5 } }), net],
  ['language', language(text, { window: 6, validation: text.subarray(0, 100) }), lm],
  ['pairs of sequences', tokens(copying, { validation: copying }), () => lm('tokens')],
  ['masked text', tokens(masked, { validation: masked }), () => lm('tokens')],
  ["a user's own, asynchronous", own, net],
]

describe.each(tasks)('%s', (_name, task, model) => {
  it('learns, and frees what it made', async () => {
    const source = model()
    const before = memory().tensors
    const { model: trained, epochs } = await trainTask(source, task, adam)
    expect(epochs.at(-1)!.loss).toBeLessThan(0.9 * epochs[0]!.loss)
    if (task.goal) {
      const values = epochs.map((e) => e.metrics![task.goal!.name]!)
      expect(values.at(-1)).toBeLessThan(values[0]!)
    }
    expect(trained.info.history.at(-1)).toMatchObject({ kind: 'train', task: task.kind, data: task.name })
    trained.dispose()
    // Models of tests before may be collected meanwhile.
    expect(memory().tensors).toBeLessThanOrEqual(before)
  })

  it.each([
    ['plain', {}],
    ['in parts, SAM, average', { accumulate: 3, sam: { rho: 0.05 }, ema: { decay: 0.9 } }],
    ['f16 with steps left out', { precision: 'f16', lossScale: { initial: 2 ** 24, interval: 3 } }],
  ] as [string, Partial<TaskOptions>][])('%s: continued from any step = never interrupted', async (_kind, change) => {
    const settings = { ...adam, epochs: 2, clipNorm: 1, ...change }
    const source = model()
    const states: TrainState[] = []
    const straight = await trainTask(source, task, { ...settings, checkpoint: (take) => states.push(take()) })
    for (const at of [0, Math.floor(states.length / 2), states.length - 2]) {
      const { json, tensors } = packState(states[at]!)
      const resume = unpackState(JSON.parse(JSON.stringify(json)), tensors)
      const again = await trainTask(source, task, { ...settings, resume })
      expect(bitsOf(again.model), `from step ${resume.step}`).toBe(bitsOf(straight.model))
      expect(again.epochs).toEqual(straight.epochs)
      again.model.dispose()
    }
  })
})

describe('regression', () => {
  it('refuses label smoothing, which would do nothing', async () => {
    await expect(trainTask(net(), regression(numbers), { epochs: 1, labelSmoothing: 0.1 })).rejects.toMatchObject({
      code: 'ERR_OPTION',
      details: { pointer: '/labelSmoothing' },
    })
  })
})

describe('a state of another task', () => {
  it('is refused', async () => {
    let state: TrainState | undefined
    await trainTask(net(), own, { ...adam, epochs: 1, checkpoint: (take) => (state ??= take()) })
    const same = { ...regression(numbers), examples: 40 }
    await expect(trainTask(net(), same, { ...adam, epochs: 1, resume: state! })).rejects.toMatchObject({
      code: 'ERR_CHECKPOINT',
      details: { reason: 'task' },
    })
  })
})

describe('a state of the same task with other options', () => {
  it.each<[string, () => Model, TrainTask, TrainTask]>([
    ['window', lm, language(text, { window: 6 }), language(text, { window: 7 })],
    ['text', lm, language(text, { window: 6 }), language(text.slice().reverse(), { window: 6 })],
    ['loss', net, regression(numbers), regression(numbers, { loss: { huber: 1 } })],
    [
      'targets',
      net,
      regression(numbers),
      regression(regressionData({ name: 'numbers', features, inputShape: [2], targets: targets.slice().reverse() })),
    ],
  ])('%s: refused', async (_what, model, task, other) => {
    let state: TrainState | undefined
    await trainTask(model(), task, { ...adam, epochs: 1, checkpoint: (take) => (state ??= take()) })
    const { json, tensors } = packState(state!)
    const resume = unpackState(JSON.parse(JSON.stringify(json)), tensors)
    await expect(trainTask(model(), other, { ...adam, epochs: 1, resume })).rejects.toMatchObject({
      code: 'ERR_CHECKPOINT',
      details: { reason: 'options' },
    })
  })
})

describe('figures that are not finite', () => {
  it('come back from a saved state as they were', async () => {
    const figures = { a: NaN, b: Infinity, c: 0.5 }
    const task: TrainTask = { ...regression(numbers), evaluate: () => Promise.resolve({ ...figures, accuracy: NaN }) }
    const { state } = await trainTask(net(), task, { ...adam, epochs: 1 })
    const { json, tensors } = packState(state)
    const [record] = unpackState(JSON.parse(JSON.stringify(json)), tensors).epochs
    expect(record).toEqual(state.epochs[0])
    expect(record!.metrics).toEqual({ ...figures, accuracy: NaN })
    expect(metricsText(record!.metrics)).toBe('a NaN, b Infinity, c 0.5, accuracy NaN')
  })
})

describe('early stop and the best model', () => {
  /** Validation figures as a script has them. */
  const scripted = (figures: readonly number[], mode: 'min' | 'max' = 'min'): TrainTask => {
    let at = 0
    return { ...regression(numbers), goal: { name: 'figure', mode }, evaluate: () => Promise.resolve({ figure: figures[at++]! }) }
  }
  const long = { ...adam, epochs: 8 }

  it.each([
    [{ patience: 2 }, 'min', [5, 4, 4.5, 4.2, 1, 1, 1, 1], 4],
    [{ patience: 2 }, 'max', [5, 6, 5.5, 7, 6, 6.9, 9, 9], 6],
    [{ patience: 2, minDelta: 0.5 }, 'min', [5, 4.8, 4.6, 1, 1, 1, 1, 1], 3],
    [{ patience: 1 }, 'min', [5, NaN, 1, 1, 1, 1, 1, 1], 2],
    [{ patience: 3 }, 'min', [8, 7, 6, 5, 4, 3, 2, 1], 8],
  ] as const)('%j, %s of %j: %i epochs', async (earlyStop, mode, figures, epochs) => {
    const result = await trainTask(net(), scripted(figures, mode), { ...long, earlyStop })
    expect(result.epochs).toHaveLength(epochs)
    expect(result.stopped).toBe(epochs < 8)
  })

  it('gives the model of the best evaluation, also when it was interrupted behind it', async () => {
    const figures = [5, 2, 3, 4, 5, 6, 7, 8]
    const states: TrainState[] = []
    const settings = { ...long, keepBest: true, snapshotEpochs: [2] }
    const result = await trainTask(net(), scripted(figures), { ...settings, checkpoint: (take) => states.push(take()) })
    expect(result.best).toMatchObject({ epoch: 2, value: 2 })
    const snapshot = result.snapshots.at(2)!.values.get('fc1.weight/value')!.data
    const weight = (m: Model): Uint8Array => m.weights()[0]!.weight.parts().value!.data
    expect(weight(result.best!.model)).toEqual(snapshot)
    expect(weight(result.model)).not.toEqual(snapshot)
    const { json, tensors } = packState(states.find((s) => s.step === 40)!)
    const resumed = await trainTask(net(), scripted(figures.slice(3)), { ...settings, resume: unpackState(json, tensors) })
    expect(resumed.best).toMatchObject({ epoch: 2, value: 2 })
    expect(bitsOf(resumed.best!.model)).toBe(bitsOf(result.best!.model))
  })

  it('needs validation', async () => {
    await expect(trainTask(net(), own, { ...adam, keepBest: true })).rejects.toMatchObject({ code: 'ERR_OPTION' })
    await expect(trainTask(net(), own, { ...adam, earlyStop: { patience: 1 } })).rejects.toMatchObject({ code: 'ERR_OPTION' })
    await expect(trainTask(net(), own, { ...adam, earlyStop: { patience: 0 } })).rejects.toMatchObject({ code: 'ERR_OPTION' })
  })
})

describe('trouble', () => {
  it('names the first layer whose output is not finite, and the step', async () => {
    const model = net()
    const w = model.leaves().get('fc2.weight')!.value
    w.write((w.read() as Float32Array).map((x) => 3e38 * Math.sign(x)))
    await expect(trainTask(model, regression(numbers), adam)).rejects.toMatchObject({
      code: 'ERR_NUMERIC',
      details: { stage: 'train', layer: 'fc2', step: 0 },
    })
  })

  it('names a target that is not finite', async () => {
    const bad = targets.slice()
    bad[17] = NaN
    const data = regressionData({ name: 'bad', features, inputShape: [2], targets: bad })
    await expect(trainTask(net(), regression(data), adam)).rejects.toMatchObject({
      code: 'ERR_NUMERIC',
      details: { tensor: 'the targets of bad', index: 17, step: expect.any(Number) },
    })
  })

  it('refuses a loss that is no number, a model of another task, targets of another size', async () => {
    const rows = { ...own, loss: ({ forward }: { forward: (x: Tensor) => Tensor }) => forward(tensor(new Float32Array(16), [8, 2])) }
    await expect(trainTask(net(), rows as TrainTask<number>, adam)).rejects.toMatchObject({ code: 'ERR_OPTION' })
    await expect(trainTask(lm(), regression(numbers), adam)).rejects.toMatchObject({ code: 'ERR_OPTION' })
    const two = regressionData({ name: 'two', features, inputShape: [2], targets: new Float32Array(192), outputs: 2 })
    await expect(trainTask(net(), regression(two), adam)).rejects.toMatchObject({ code: 'ERR_SHAPE' })
    expect(() => regressionData({ name: 'odd', features, inputShape: [2], targets: new Float32Array(95) })).toThrow(/95 targets/)
    expect(() => regression(numbers, { loss: { huber: 0 } })).toThrow(/huber/)
  })
})

describe('batches of tokens', () => {
  it('pairs: the decoder reads begin and target, and shall give target and end', () =>
    scope(() => {
      const data = sequencePairs({
        name: 'p',
        pairs: [
          [[3, 4], [5]],
          [[6], [7, 8]],
        ],
        begin: 1,
        end: 2,
        pad: 0,
      })
      const { x, labels, length } = data.batch([0, 1], Rng.of(1))
      const ids = (name: string): unknown => [...((x as Record<string, Tensor>)[name]!.read() as Int32Array)]
      expect([ids('source'), ids('sourceLengths'), ids('target')]).toEqual([
        [3, 4, 6, 0],
        [2, 1],
        [1, 5, 0, 1, 7, 8],
      ])
      expect([[...labels], length]).toEqual([[5, 2, IGNORE, 7, 8, 2], 3])
    }))

  it('masks 80 % of the chosen, exchanges 10 %, leaves 10 %, and never touches special tokens', () =>
    scope(() => {
      const row = Array.from({ length: 4000 }, (_, i) => (i % 10 === 0 ? 2 : 5 + (i % 3)))
      const data = maskedText({ name: 'm', rows: [row], vocabulary: 50, mask: 1, pad: 0, special: [2] })
      const { x, labels } = data.batch([0], Rng.of(7))
      const ids = (x as Record<string, Tensor>).ids!.read() as Int32Array
      const chosen = [...labels.keys()].filter((i) => labels[i] !== IGNORE)
      const share = (test: (i: number) => boolean): number => chosen.filter(test).length / chosen.length
      expect(chosen.length / 3600).toBeCloseTo(0.15, 1)
      expect(share((i) => ids[i] === 1)).toBeCloseTo(0.8, 1)
      expect(share((i) => ids[i] === labels[i])).toBeCloseTo(0.1, 1)
      row.forEach((id, i) => {
        if (labels[i] !== IGNORE) expect([id, labels[i]]).toEqual([labels[i], id])
        else expect(ids[i]).toBe(id)
        if (id === 2) expect(labels[i]).toBe(IGNORE)
      })
    }))
})

describe('parts of a batch of tokens', () => {
  const weigh = async (task: TrainTask, accumulate: number): Promise<{ readonly weights: number[]; readonly loss: number }> => {
    const model = make(languageModel({ vocabulary: 8, width: 12, hidden: 12, layers: 1 }), 'tokens')
    const settings: TaskOptions = {
      epochs: 1,
      batchSize: 40,
      optimizer: { kind: 'sgd' },
      schedule: { kind: 'constant', lr: 1 },
      accumulate,
    }
    const { model: trained, epochs } = await trainTask(model, task, settings)
    return { weights: [...(trained.leaves().get('decoder.weight')!.value.read() as Float32Array)], loss: epochs[0]!.loss }
  }

  it('weigh as many tokens as are asked for: the step of the whole batch', async () => {
    // One long target among short ones: by samples its part would weigh a fifth, by tokens it is half of the batch.
    const uneven = pairs.map(([s], i) => [s, Array.from({ length: i === 3 ? 60 : 1 }, (_, j) => 2 + (j % 4))] as const)
    const task = tokens(sequencePairs({ name: 'uneven', pairs: uneven, begin: 1, end: 7, pad: 0, input: ({ target }) => target }))
    const [whole, parts] = [await weigh(task, 1), await weigh(task, 5)]
    expect(parts.loss).toBeCloseTo(whole.loss, 5)
    parts.weights.forEach((w, i) => expect(w).toBeCloseTo(whole.weights[i]!, 5))
  })

  it('without a token that is asked for change nothing', async () => {
    const rows = Array.from({ length: 40 }, () => [2, 3])
    const rare = maskedText({ name: 'rare', rows, vocabulary: 8, mask: 1, pad: 0, share: 0.02, input: ({ ids }) => ids })
    const { weights, loss } = await weigh(tokens(rare), 40)
    expect(weights.every(Number.isFinite)).toBe(true)
    expect(loss).toBeGreaterThan(1)
  })
})

it('data without an example is ERR_DATA for every task, before the first step', async () => {
  const settings = { epochs: 1, batchSize: 4 }
  const numbers = regressionData({ name: 'none', features: new Float32Array(0), inputShape: [2], targets: new Float32Array(0) })
  const none = sequencePairs({ name: 'none', pairs: [], begin: 1, end: 7, pad: 0 })
  for (const run of [
    () => trainTask(net(), regression(numbers), settings),
    () => trainTask(lm('tokens'), tokens(none, { order: 'bucketed' }), settings),
    () => trainTask(lm(), language(new Int32Array(0), { name: 'none' }), settings),
  ])
    await expect(run()).rejects.toMatchObject({ code: 'ERR_DATA' })
})

it('bucketed batches hold every sample once an epoch, of similar length, and go on exactly from any step', async () => {
  const lengths = pairs.map(([s, t]) => s.length + t.length)
  const task = tokens(copying, { order: 'bucketed' })
  const settings = trainSettings({ epochs: 2, batchSize: 8 })
  const model = lm('tokens')
  const take = (from: number, n: number): number[][] => {
    const source = task.batches(model, settings, { epoch: Math.floor(from / 5), batch: from % 5 })
    return Array.from({ length: n }, () => Array.from(source.next() as Uint32Array))
  }
  const all = take(0, 10)
  expect(take(3, 7)).toEqual(all.slice(3))
  for (const epoch of [all.slice(0, 5), all.slice(5)]) expect(epoch.flat().sort((a, b) => a - b)).toEqual(pairs.map((_, i) => i))
  const spread = (batch: readonly number[]): number =>
    Math.max(...batch.map((i) => lengths[i]!)) - Math.min(...batch.map((i) => lengths[i]!))
  expect(all.filter((batch) => spread(batch) === 0).length).toBeGreaterThanOrEqual(6)
})
