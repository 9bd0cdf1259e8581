/** prune/magnitude with and without retraining, on small trained nets. */
import { beforeAll, describe, expect, it } from 'vitest'
import { compress, prune, quantize, recipe, train, type CompressEvent, type TrainResult } from '../../ts/compress/index.js'
import { keptAt } from '../../ts/compress/prune/amount.js'
import { retrainPlan } from '../../ts/compress/train/retrain.js'
import { trainSettings } from '../../ts/compress/train/settings.js'
import { classification } from '../../ts/compress/train/tasks/classification.js'
import { runTraining } from '../../ts/compress/train/training.js'
import { memory } from '../../ts/native/devices.js'
import { type MaskedWeight, type Model } from '../../ts/nn/index.js'
import { lrAt } from '../../ts/optim/index.js'
import { bitsOf, blobs, mlp, quick } from './toys.js'

const data = blobs(200)
const validation = blobs(150, { seed: 2 })
const matrices = ['fc1.weight', 'fc2.weight', 'fc3.weight']
const n = 8 * 32 + 32 * 32 + 32 * 3

const valuesOf = (m: Model, path: string): Float32Array => m.leaves().get(path)!.value.read() as Float32Array
const maskOf = (m: Model, path: string): Uint8Array => m.leaves().get(path)!.mask!.read() as Uint8Array
const bit = (mask: Uint8Array, i: number): number => (mask[i >> 3]! >> (i & 7)) & 1
const kept = (m: Model): number =>
  matrices.reduce((sum, path) => sum + (m.weights().find((w) => w.path === path)!.weight as MaskedWeight).kept(), 0)

let trained: TrainResult
beforeAll(async () => {
  trained = await train(mlp(), data, { ...quick, snapshotEpochs: [0, 1, 2, 3, 4] })
})
const run = (options: Parameters<typeof prune.magnitude>[0], extra: object = {}): ReturnType<typeof compress> =>
  compress(trained.model, recipe([[prune.magnitude(options)]]), { data, validation, snapshots: trained.snapshots, ...extra })

describe('one-shot', () => {
  it.each([
    ['local' as const, 0.5],
    ['global' as const, 0.5],
    ['global' as const, 0.93],
    ['local' as const, 0],
  ])('%s, sparsity %d: exact, surviving values untouched', async (scope, sparsity) => {
    const before = bitsOf(trained.model)
    const { model, report } = await run({ sparsity, scope })
    if (scope === 'global') expect(kept(model)).toBe(keptAt(n, 1 - sparsity))
    else
      for (const path of matrices)
        expect((model.weights().find((w) => w.path === path)!.weight as MaskedWeight).kept()).toBe(
          keptAt(valuesOf(model, path).length, 1 - sparsity),
        )
    for (const path of matrices) {
      const [old, now, mask] = [valuesOf(trained.model, path), valuesOf(model, path), maskOf(model, path)]
      now.forEach((x, i) => expect(x).toBe(bit(mask, i) ? old[i] : 0))
    }
    expect(valuesOf(model, 'fc1.bias')).toEqual(valuesOf(trained.model, 'fc1.bias'))
    expect(bitsOf(trained.model)).toBe(before)
    expect(report.passes[0]!.layers.map((l) => l.path)).toEqual(matrices)
  })

  it('pruning what is pruned goes on from there; doing it twice at the same level changes nothing', async () => {
    const once = await run({ sparsity: 0.5, scope: 'global' })
    const options = { data, validation }
    const twice = await compress(once.model, recipe([[prune.magnitude({ sparsity: 0.5, scope: 'global' })]]), options)
    expect(bitsOf(twice.model)).toBe(bitsOf(once.model))
    const more = await compress(once.model, recipe([[prune.magnitude({ sparsity: 0.8, scope: 'global' })]]), options)
    expect(kept(more.model)).toBe(keptAt(n, 0.2))
    for (const path of matrices) maskOf(more.model, path).forEach((byte, i) => expect(byte & ~maskOf(once.model, path)[i]!).toBe(0))
    const less = await compress(more.model, recipe([[prune.magnitude({ sparsity: 0.1, scope: 'local' })]]), options)
    expect(kept(less.model)).toBe(kept(more.model))
  })

  it('only the targets, less those ignored', async () => {
    const { model } = await compress(trained.model, recipe([[prune.magnitude({ sparsity: 0.5 }, { ignore: ['fc3'] })]]))
    expect(model.weights().map((w) => w.weight.kind)).toEqual(['masked', 'dense', 'masked', 'dense', 'dense', 'dense'])
    const one = await compress(trained.model, recipe([[prune.magnitude({ sparsity: 0.5 }, { targets: ['fc2.*'] })]]))
    expect(
      one.model
        .weights()
        .filter((w) => w.weight.kind === 'masked')
        .map((w) => w.path),
    ).toEqual(['fc2.weight'])
    // A vector was asked for by name: it stays, and the report says why.
    expect(one.report.passes[0]!.notes).toEqual([{ path: 'fc2.bias', text: expect.stringContaining('left alone') }])
  })

  it('leaves quantized weights alone and says so', async () => {
    const { model } = await compress(trained.model, recipe([[quantize.rtn()]]))
    const { model: same, report } = await compress(model, recipe([[prune.magnitude({ sparsity: 0.5 })]]))
    expect(bitsOf(same)).toBe(bitsOf(model))
    expect(report.passes[0]!.notes.map((x) => x.path)).toEqual(matrices)
  })
})

describe('iterative', () => {
  it('density 0.8^k to within one weight, the mask only grows, every round retrains', async () => {
    const events: CompressEvent[] = []
    const { model, report } = await run(
      { iterative: { fraction: 0.2, rounds: 5 }, scope: 'global', retrain: train.rewindLearningRate({ epochs: 1 }) },
      { onEvent: (e: CompressEvent) => events.push(e) },
    )
    expect(kept(model)).toBe(Math.round(n * 0.8 ** 5))
    const rounds = report.passes[0]!.figures.rounds as { density: number }[]
    rounds.forEach(({ density }, i) => expect(Math.abs(density * n - n * 0.8 ** (i + 1))).toBeLessThanOrEqual(0.5))
    expect(report.passes[0]!.epochs.map((e) => e.label)).toEqual([1, 2, 3, 4, 5].map((r) => `round ${r} of 5`))
    expect(events.find((e) => e.type === 'plan')).toMatchObject({
      plan: { rounds: 5, epochsPerRound: 1, epochs: 5, originalEpochs: 4, epochsInAll: 9 },
    })
    for (const path of matrices)
      valuesOf(model, path).forEach((x, i) => expect(bit(maskOf(model, path), i) === 1 || Object.is(x, 0)).toBe(true))
  })

  it('of what is already pruned: the share refers to the survivors', async () => {
    const half = await run({ sparsity: 0.5, scope: 'global' })
    const { model } = await compress(half.model, recipe([[prune.magnitude({ iterative: { fraction: 0.5, rounds: 2 }, scope: 'global' })]]))
    expect(kept(model)).toBe(keptAt(keptAt(n, 0.5), 0.25))
  })

  it('levels in order, each ended early by the stop rule (A1.6)', async () => {
    const options = { sparsity: [0.15, 0.3, 0.45], retrain: train.finetune({ epochs: 1, lr: 0.01 }), stop: { share: 0.5, everySteps: 2 } }
    const { report } = await run(options)
    const rounds = report.passes[0]!.figures.rounds as { density: number; steps: number }[]
    expect(rounds.map((r) => +r.density.toFixed(2))).toEqual([0.85, 0.7, 0.55])
    expect(rounds.map((r) => r.steps)).toEqual([2, 2, 2])
    // A share that cannot be reached trains the whole epoch.
    const never = await run({ ...options, stop: { share: 2, everySteps: 2 } })
    expect((never.report.passes[0]!.figures.rounds as { steps: number }[]).map((r) => r.steps)).toEqual([7, 7, 7])
  })
})

describe('gradual', () => {
  it('follows the cubic schedule while training and ends exact', async () => {
    const { model, report } = await run({
      sparsity: 0.8,
      scope: 'global',
      gradual: { initial: 0.2, begin: 0, end: 0.5, everySteps: 2 },
      retrain: train.finetune({ epochs: 4, lr: 0.05 }),
    })
    expect(kept(model)).toBe(keptAt(n, 0.2))
    for (const path of matrices)
      valuesOf(model, path).forEach((x, i) => expect(bit(maskOf(model, path), i) === 1 || Object.is(x, 0)).toBe(true))
    expect(report.passes[0]!.epochs).toHaveLength(4)
    expect(report.passes[0]!.epochs[3]!.accuracy).toBeGreaterThan(0.8)
  })
})

describe('retraining (A2.1)', () => {
  const settings = trainSettings(quick)
  const facts = { examples: 200, seed: 5 }

  it('learning-rate rewinding: rates S(T - t + s), final weights under the mask at step 0, final momentum', async () => {
    const pruned = await run({ sparsity: 0.5, scope: 'global' })
    const plan = retrainPlan({ kind: 'rewindLearningRate', epochs: 3 }, settings, {
      ...facts,
      last: trained.state,
      snapshots: trained.snapshots,
    })
    const rates: number[] = []
    let first: Float32Array | undefined
    await runTraining(pruned.model, classification(data), plan.settings, {}, plan.start, {
      onLr: (_s, lr) => rates.push(lr),
      beforeStep: (_s, leaves) => (first ??= leaves.get('fc2.weight')!.value.read() as Float32Array),
    })
    expect(rates).toEqual(Array.from({ length: 21 }, (_, s) => lrAt(settings.schedule, 28 - 21 + s, 28)))
    const [final, mask] = [valuesOf(trained.model, 'fc2.weight'), maskOf(pruned.model, 'fc2.weight')]
    expect([...first!]).toEqual([...final].map((x, i) => (bit(mask, i) ? x : 0)))
    expect(plan.start.slots!.slots).toBe(trained.state.slots)
  })

  it('weight rewinding: the same rates, the snapshot of T - t under the mask, its momentum', async () => {
    const pruned = await run({ sparsity: 0.5, scope: 'global' })
    const plan = retrainPlan({ kind: 'rewindWeights', epochs: 3 }, settings, {
      ...facts,
      last: trained.state,
      snapshots: trained.snapshots,
    })
    const rates: number[] = []
    let first: Float32Array | undefined
    await runTraining(pruned.model, classification(data), plan.settings, {}, plan.start, {
      onLr: (_s, lr) => rates.push(lr),
      beforeStep: (_s, leaves) => (first ??= leaves.get('fc2.weight')!.value.read() as Float32Array),
    })
    expect(rates).toEqual(Array.from({ length: 21 }, (_, s) => lrAt(settings.schedule, 7 + s, 28)))
    const snapshot = trained.snapshots.at(1)!
    const old = new Float32Array(snapshot.values.get('fc2.weight/value')!.data.slice().buffer)
    const mask = maskOf(pruned.model, 'fc2.weight')
    expect([...first!]).toEqual([...old].map((x, i) => (bit(mask, i) ? x : 0)))
    expect(plan.start.slots).toEqual({ slots: snapshot.slots, updates: 7 })
  })

  it('fine-tuning: the last rate, or the one given', () => {
    const last = { ...facts, last: trained.state, snapshots: undefined }
    expect(retrainPlan({ kind: 'finetune', epochs: 2 }, settings, last).settings).toMatchObject({
      epochs: 2,
      schedule: { kind: 'constant', lr: lrAt(settings.schedule, 27, 28) },
    })
    expect(retrainPlan({ kind: 'finetune', epochs: 2, lr: 0.3 }, settings, last).settings.schedule).toMatchObject({ lr: 0.3 })
  })

  it('rewinding the whole training with nothing pruned repeats the training', async () => {
    const plan = retrainPlan({ kind: 'rewindWeights', epochs: 4 }, settings, {
      examples: 200,
      seed: settings.seed,
      last: trained.state,
      snapshots: trained.snapshots,
    })
    const again = await runTraining(trained.model, classification(data), plan.settings, {}, plan.start, {})
    expect(bitsOf(again.model)).toBe(bitsOf(trained.model))
  })

  it('refuses what cannot work before anything runs', async () => {
    const refused = async (options: Parameters<typeof prune.magnitude>[0], extra: object, message: RegExp): Promise<void> => {
      const events: CompressEvent[] = []
      await expect(run(options, { onEvent: (e: CompressEvent) => events.push(e), ...extra })).rejects.toMatchObject({
        code: 'ERR_OPTION',
        message: expect.stringMatching(message),
      })
      expect(events).toEqual([])
    }
    await refused({ sparsity: 0.5, retrain: train.rewindLearningRate({ epochs: 5 }) }, {}, /more than the 4 epochs/)
    await refused(
      { sparsity: 0.5, retrain: train.rewindWeights({ epochs: 2 }) },
      { snapshots: undefined },
      /needs the snapshot of epoch 2; there is none/,
    )
    await refused({ sparsity: 0.5, retrain: train.finetune({ epochs: 1 }) }, { data: undefined }, /needs data/)
    await refused({ sparsity: 0.5, retrain: train.finetune({ epochs: 1 }), stop: {} }, { validation: undefined }, /needs validation data/)
    await expect(
      compress(mlp(), recipe([[prune.magnitude({ sparsity: 0.5, retrain: train.finetune({ epochs: 1 }) })]]), { data }),
    ).rejects.toMatchObject({
      code: 'ERR_OPTION',
      message: expect.stringContaining('history names none'),
    })
  })

  it('says when momentum starts at zero for want of the final state', async () => {
    const warnings: string[] = []
    await run(
      { sparsity: 0.5, retrain: train.rewindLearningRate({ epochs: 1 }) },
      { snapshots: undefined, onEvent: (e: CompressEvent) => e.type === 'warning' && warnings.push(e.message) },
    )
    expect(warnings).toEqual([expect.stringContaining('momentum starts at zero')])
  })

  it('at high sparsity retraining recovers most of the accuracy', async () => {
    const of = async (retrain: ReturnType<typeof train.none>): Promise<number> => {
      const { model } = await run({ sparsity: 0.9, scope: 'global', retrain })
      const { evaluateClassifier } = await import('../../ts/compress/train/tasks/classification.js')
      return (await evaluateClassifier(model, validation, async () => {})).accuracy
    }
    const none = await of(train.none())
    const rewound = await of(train.rewindLearningRate({ epochs: 4 }))
    expect(rewound).toBeGreaterThanOrEqual(none)
    expect(rewound).toBeGreaterThan(0.9)
  })
})

describe('trouble', () => {
  it('NaN in a weight names it', async () => {
    const model = mlp()
    const w = model.leaves().get('fc2.weight')!.value
    const values = w.read() as Float32Array
    values[77] = NaN
    w.write(values)
    await expect(compress(model, recipe([[prune.magnitude({ sparsity: 0.5 })]]))).rejects.toMatchObject({
      code: 'ERR_NUMERIC',
      details: { tensor: 'fc2.weight', index: 77 },
    })
  })

  it('frees everything when it is aborted in the middle', async () => {
    const before = memory().tensors
    const controller = new AbortController()
    const onEvent = (e: CompressEvent): void => {
      if (e.type === 'train-start' && e.label === 'round 3 of 4') controller.abort()
    }
    const done = run({ iterative: { rounds: 4 }, retrain: train.rewindLearningRate({ epochs: 1 }) }, { signal: controller.signal, onEvent })
    await expect(done).rejects.toMatchObject({ code: 'ERR_ABORTED' })
    expect(memory().tensors).toBeLessThanOrEqual(before)
  })
})
