/** What follows a pruning, and movement pruning: rates, masks, controls, plans, interruptions (methods A1.6, A2.1, A2.5, A5.3 to A5.5, A6.10). */
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { valueAndGrad } from '../../ts/autograd/index.js'
import {
  compress,
  planCompression,
  prune,
  recipe,
  roundsFor,
  train,
  type CompressOptions,
  type PassSpec,
  type TrainResult,
} from '../../ts/compress/index.js'
import { cubicAt } from '../../ts/compress/prune/amount.js'
import { dropoutRates, rescaledDropout, withDropout } from '../../ts/compress/prune/dropout.js'
import { retrainEpochs, retrainPlan } from '../../ts/compress/train/retrain.js'
import { trainSettings } from '../../ts/compress/train/settings.js'
import { classification, evaluateClassifier } from '../../ts/compress/train/tasks/classification.js'
import { runTraining } from '../../ts/compress/train/training.js'
import { memory } from '../../ts/native/devices.js'
import { ScoredWeight, type MaskedWeight, type Model } from '../../ts/nn/index.js'
import { lrAt } from '../../ts/optim/index.js'
import { mul, sum } from '../../ts/ops/index.js'
import { tensor } from '../../ts/tensor/index.js'
import { bitsOf, blobs, mlp, quick } from './toys.js'

const data = blobs(200)
const validation = blobs(150, { seed: 2 })
const settings = trainSettings(quick)
const paths = ['fc1.weight', 'fc2.weight', 'fc3.weight']
const n = 8 * 32 + 32 * 32 + 32 * 3
const dir = mkdtempSync(join(tmpdir(), 'tersor-retrain-'))
afterAll(() => rmSync(dir, { recursive: true, force: true }))

let trained: TrainResult
beforeAll(async () => {
  trained = await train(mlp({ p: 0.3 }), data, { ...quick, snapshotEpochs: [0, 1, 2, 3, 4] })
})
const run = (pass: PassSpec, more: Partial<CompressOptions> = {}, model = trained.model): ReturnType<typeof compress> =>
  compress(model, recipe([[pass]], { seed: 3 }), { data, validation, snapshots: trained.snapshots, ...more })
const valuesOf = (m: Model, path: string): Float32Array => m.leaves().get(path)!.value.read() as Float32Array
const keptIn = (m: Model): number => paths.reduce((s, p) => s + (m.weights().find((w) => w.path === p)!.weight as MaskedWeight).kept(), 0)
const accuracy = async (m: Model): Promise<number> => (await evaluateClassifier(m, validation, async () => {})).accuracy

describe('controls of retraining', () => {
  const facts = { examples: 200, seed: 5 }
  const plan = (how: Parameters<typeof retrainPlan>[0], model: Model, compute = 1): ReturnType<typeof retrainPlan> =>
    retrainPlan(how, settings, {
      ...facts,
      last: trained.state,
      snapshots: trained.snapshots,
      model,
      rng: () => rng(),
      compute: () => compute,
    })
  const rng = (): { uniform: () => number; normal: () => number } => ({ uniform: () => 0.75, normal: () => 1 })

  it('low rate: the snapshot of T - t with its momentum, at the last rate', () => {
    const { settings: used, start } = plan({ kind: 'lowLearningRate', epochs: 3 }, trained.model)
    expect(used).toMatchObject({ epochs: 3, schedule: { kind: 'constant', lr: lrAt(settings.schedule, 27, 28) } })
    expect(start.values).toBe(trained.snapshots.at(1)!.values)
    expect(start.slots!.slots).toBe(trained.snapshots.at(1)!.slots)
  })

  it('re-initialisation: the mask and S(T - t + s), other weights and no momentum', async () => {
    const { model } = await run(prune.magnitude({ sparsity: 0.5, scope: 'global' }))
    const { settings: used, start } = plan({ kind: 'reinitialize', epochs: 3 }, model)
    expect(start).toMatchObject({ fromEpoch: 1 })
    expect(start.slots).toBeUndefined()
    const rates: number[] = []
    let first: Float32Array | undefined
    const result = await runTraining(model, classification(data), used, {}, start, {
      onLr: (_s, lr) => rates.push(lr),
      beforeStep: (_s, leaves) => (first ??= leaves.get('fc2.weight')!.value.read() as Float32Array),
    })
    expect(rates).toEqual(Array.from({ length: 21 }, (_, s) => lrAt(settings.schedule, 7 + s, 28)))
    // He's limit at 0.75 of the uniform range: half of it, where the mask has a 1.
    const half = Math.fround(0.5 * Math.sqrt(6 / 32))
    const old = valuesOf(model, 'fc2.weight')
    first!.forEach((v, i) => expect(v).toBeCloseTo(old[i] === 0 ? 0 : half, 6))
    expect(keptIn(result.model)).toBe(keptIn(model))
  })

  it('scratch: T epochs, or as many as the arithmetic pays for, at most twice T', () => {
    expect(retrainEpochs({ kind: 'scratch', budget: 'epochs', maxFactor: 2 }, settings, 0.1)).toBe(4)
    const how = { kind: 'scratch', budget: 'compute', maxFactor: 2 } as const
    expect([0.8, 0.5, 0.1].map((share) => retrainEpochs(how, settings, share))).toEqual([5, 8, 8])
    const { settings: used, start } = plan(how, trained.model, 0.5)
    expect(used).toMatchObject({ epochs: 8, schedule: settings.schedule })
    expect(start.fromEpoch).toBeUndefined()
  })

  it('dropout is rescaled while it retrains and comes back (A5.3)', async () => {
    const { model } = await run(prune.magnitude({ sparsity: 0.75 }))
    expect([...rescaledDropout(model)]).toEqual([['drop', 0.3 * Math.sqrt(0.25)]])
    expect([...dropoutRates(withDropout(model, rescaledDropout(model)))]).toEqual([['drop', 0.15]])
    const { model: done } = await run(prune.magnitude({ sparsity: 0.75, retrain: train.finetune({ epochs: 1 }), rescaleDropout: true }))
    expect([...dropoutRates(done)]).toEqual([['drop', 0.3]])
  })

  it('random is clearly worse than magnitude at 10x, retrained or not', async () => {
    const at = async (pass: PassSpec): Promise<number> => accuracy((await run(pass)).model)
    const same = { sparsity: 0.9, scope: 'global' as const }
    expect(await at(prune.magnitude(same))).toBeGreaterThan((await at(prune.random(same))) + 0.1)
    const retrain = train.rewindLearningRate({ epochs: 1 })
    expect(await at(prune.magnitude({ ...same, retrain }))).toBeGreaterThan(await at(prune.random({ ...same, retrain })))
  })
})

it.each([
  { kind: 'adamw' as const, weightDecay: 0.1 },
  { kind: 'adam' as const, weightDecay: 0.1 },
  { kind: 'rmsprop' as const, momentum: 0.9 },
])('zeros stay 0 through $kind, clipping and an average (A4.1)', async (optimizer) => {
  const { model } = await run(prune.magnitude({ sparsity: 0.8 }))
  const options = trainSettings({
    ...quick,
    epochs: 1,
    optimizer,
    schedule: { kind: 'constant', lr: 0.01 },
    clipNorm: 1,
    ema: { decay: 0.9 },
  })
  const result = await runTraining(model, classification(data), options, {}, {}, {})
  for (const path of paths)
    for (const m of [result.model, result.average!])
      valuesOf(model, path).forEach((v, i) => expect(v !== 0 || Object.is(valuesOf(m, path)[i], 0)).toBe(true))
})

describe('plan (A2.5)', () => {
  it('5.96x by 20 % a round: 8 rounds, 9 T epochs, without a model being touched', () => {
    const how = train.rewindLearningRate({ epochs: 4 })
    const made = recipe([[prune.magnitude({ iterative: { rounds: roundsFor(5.96) }, retrain: how })], [prune.random({ sparsity: 0.5 })]])
    const [first, second] = planCompression(trained.model, made, { data })
    expect(first).toMatchObject({
      at: { stage: 0, pass: 0 },
      plan: { rounds: 8, epochs: 32, originalEpochs: 4, epochsInAll: 36, steps: 32 * 7 },
    })
    expect(second).toMatchObject({ plan: { rounds: 1, epochs: 0 } })
  })

  it('a whole-model compression by 20 % a round says its rounds, and ends exact', async () => {
    const pass = prune.magnitude({ compression: 4, iterative: {}, scope: 'global' })
    const { plan } = planCompression(trained.model, recipe([[pass]]), { data })[0]!
    expect(plan).toMatchObject({ rounds: 7 })
    expect(plan!.compression).toBeCloseTo(4, 2)
    const { model } = await run(pass)
    const total = trained.model.parameters()
    expect(Math.abs(keptIn(model) + total - n - total / 4)).toBeLessThanOrEqual(0.5)
  })
})

describe('movement (A6.10)', () => {
  const pass = prune.movement({ sparsity: 0.8, retrain: train.finetune({ epochs: 3, lr: 0.05 }), begin: 0.2 })

  it('the gradient of a score is that of the masked weight times the weight; of a value, that under the mask', () => {
    const w = new ScoredWeight(tensor([[2, -3, 4]]), tensor([[0, 0, 0]]), tensor(new Uint8Array([0b101])))
    const c = tensor([[10, 20, 30]])
    const { grads } = valueAndGrad(() => ({ value: sum(mul(w.dense(), c), [], false), aux: undefined }), [w.value, w.scores])
    expect(grads.map((g) => [...g.read()])).toEqual([
      [10, 0, 30],
      [20, -60, 120],
    ])
    expect([...w.dense().read()]).toEqual([2, 0, 4])
  })

  it('sparsity rises by the cubic schedule, ends exact, and the net is as good as one that is trained', async () => {
    expect([0, 0.5, 1, 2].map((s) => cubicAt({ initial: 0, final: 0.8 }, s))).toEqual([0, 0.8 - 0.8 * 0.125, 0.8, 0.8])
    const tensors = memory().tensors
    const { model, report } = await run(pass)
    for (const path of paths) {
      const kept = (model.weights().find((w) => w.path === path)!.weight as MaskedWeight).kept()
      expect(kept).toBe(Math.round(valuesOf(model, path).length * 0.2))
    }
    expect(await accuracy(model)).toBeGreaterThan(0.9)
    expect(report.passes[0]!.epochs).toHaveLength(3)
    // Other weights than those of the largest magnitude.
    expect(bitsOf((await run(prune.magnitude({ sparsity: 0.8 }))).model)).not.toBe(bitsOf(model))
    model.dispose()
    expect(memory().tensors - tensors).toBeLessThanOrEqual(20)
  })

  it('rewinding in the middle of it: values and rates go back, scores begin at 0', async () => {
    const { model } = await run(prune.movement({ sparsity: 0.5, scope: 'global', retrain: train.rewindWeights({ epochs: 2 }) }))
    expect(keptIn(model)).toBe(n / 2)
  })
})

describe('interrupted anywhere and continued = never interrupted', () => {
  const lr = train.rewindLearningRate({ epochs: 1 })
  it.each([
    ['movement', prune.movement({ sparsity: 0.6, retrain: train.rewindLearningRate({ epochs: 2 }), distill: {} })],
    ['gradient, iterative', prune.gradient({ iterative: { rounds: 2 }, retrain: lr, samples: 64 })],
    ['gradual', prune.magnitude({ sparsity: 0.7, gradual: { everySteps: 2 }, retrain: train.finetune({ epochs: 2, lr: 0.01 }) })],
    ['scratch', prune.wanda({ sparsity: 0.5, retrain: train.scratch({ budget: 'compute' }), rescaleDropout: true })],
    ['SparseGPT', prune.sparsegpt({ structure: '2:4' })],
    ['OBD', prune.obd({ iterative: { rounds: 2 }, vectors: 2, samples: 32 })],
  ])('%s', async (name, pass) => {
    const straight = bitsOf((await run(pass)).model)
    const checkpointDir = join(dir, name.replace(/\W/g, '-'))
    let [at, done] = [3, false]
    for (; !done && at < 200; at += 5) {
      const controller = new AbortController()
      let seen = 0
      await run(pass, {
        ...{ checkpointDir, checkpointSeconds: 0, resume: true, signal: controller.signal },
        onEvent: () => void (++seen === at && controller.abort()),
      }).then(
        () => (done = true),
        (error: unknown) => expect(error).toMatchObject({ code: 'ERR_ABORTED' }),
      )
    }
    expect(bitsOf((await run(pass, { checkpointDir, resume: true })).model)).toBe(straight)
  })
})
