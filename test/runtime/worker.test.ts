/** Training and compression in a worker: the same bits, events in order, typed errors, aborts that end native calls, nothing left. The build (dist) runs. */
import { createHash } from 'node:crypto'
import path from 'node:path'
import { pathToFileURL } from 'node:url'
import { afterAll, describe, expect, test } from 'vitest'
import type * as tersor from '../../ts/index.js'
import type * as nn from '../../ts/nn/index.js'
import type * as data from '../../ts/data/index.js'
import { rejectionOf } from '../formats/lib.js'

const dist = path.join(import.meta.dirname, '..', '..', 'dist', 'esm')
const built = async <T>(file: string): Promise<T> => (await import(pathToFileURL(path.join(dist, file)).href)) as T
const t = await built<typeof tersor>('index.js')
const { build, freshValues, linear, Model } = await built<typeof nn>('nn/index.js')
const { numberDataset, subset } = await built<typeof data>('data/index.js')
const { memory } = t

let seed = 1
const rng = { uniform: () => (seed = (seed * 16_807) % 2_147_483_647) / 2_147_483_647, normal: () => rng.uniform() - 0.5 }
const all = numberDataset({
  name: 'images',
  features: Uint8Array.from({ length: 96 * 784 }, (_, i) => (i * 31 + (i >> 5)) % 256),
  scale: 1 / 255,
  inputShape: [1, 28, 28],
  labels: Int32Array.from({ length: 96 }, (_, i) => i % 3),
  classes: ['a', 'b', 'c'],
})
const some = subset(
  all,
  Uint32Array.from({ length: 64 }, (_, i) => (i * 5) % 96),
)
const before = memory().tensors
const made = t.architectures.mlp({ inputShape: [1, 28, 28], classes: 3 })
const model = new Model(build(made.spec, freshValues(rng)), {
  name: 'mlp',
  task: 'classification',
  classes: all.classes,
  inputShape: made.inputShape,
  history: [],
})
const line = (): nn.Model =>
  new Model(build(linear({ in: 1, out: 1, bias: false, init: 'fanIn' }), freshValues(rng)), {
    name: 'line',
    task: 'regression',
    history: [],
  })

// Digests: comparing a million numbers one by one takes seconds.
const digest = (data: ArrayBufferView): string =>
  createHash('sha256')
    .update(new Uint8Array(data.buffer, data.byteOffset, data.byteLength))
    .digest('hex')
const bytes = (m: nn.Model): unknown[] => [...m.leaves()].map(([at, { value }]) => [at, digest(value.read())])
const digests = (tensors: ReadonlyMap<string, { readonly data: Uint8Array }>): unknown[] =>
  [...tensors].map(([at, raw]) => [at, digest(raw.data)])

afterAll(() => {
  model.dispose()
  expect(memory().tensors).toBe(before)
})

describe('trainInWorker', () => {
  test('same bits as on the calling thread, events and snapshots on the way, the model given stays usable', async () => {
    const settings = { epochs: 2, batchSize: 16, validation: some, ema: { decay: 0.9 }, keepBest: true, snapshotEpochs: [0, 1] }
    const events: string[] = []
    const [here, there] = [
      await t.train(model, some, settings),
      await t.trainInWorker(model, some, {
        ...settings,
        onEvent: (e) => void events.push(e.type),
        onSnapshot: (epoch) => void events.push(`snapshot ${epoch}`),
      }),
    ]
    for (const part of [
      (r: tersor.TrainResult) => r.model,
      (r: tersor.TrainResult) => r.average!,
      (r: tersor.TrainResult) => r.best!.model,
    ])
      expect(bytes(part(there))).toEqual(bytes(part(here)))
    expect(there.model.info).toEqual(here.model.info)
    expect(there.epochs).toEqual(here.epochs)
    expect(digests(there.state.slots)).toEqual(digests(here.state.slots))
    expect(digests(there.snapshots.at(1)!.values)).toEqual(digests(here.snapshots.at(1)!.values))
    expect(events.filter((e) => e !== 'train-step')).toEqual([
      'train-start',
      'snapshot 0',
      'train-epoch',
      'snapshot 1',
      'train-epoch',
      'train-end',
    ])
    // Nothing is lent any more: both can be written to.
    for (const m of [model, there.model]) for (const { value } of m.leaves().values()) value.write(value.read())
    // A state goes back the same way.
    const on = await t.trainInWorker(model, some, { ...settings, resume: there.snapshots.at(1)! })
    expect(bytes(on.model)).toEqual(bytes(here.model))
    for (const r of [here, there, on]) for (const m of [r.model, r.average!, r.best!.model]) m.dispose()
  })

  test('while it runs the model is lent: writing to it is ERR_BUSY', async () => {
    const { value } = [...model.leaves().values()][0]!
    const codes = new Set<unknown>()
    const result = await t.trainInWorker(model, some, {
      epochs: 1,
      onEvent: () => {
        try {
          value.write(value.read())
        } catch (error) {
          codes.add((error as tersor.TersorError).code)
        }
      },
    })
    expect([...codes]).toEqual(['ERR_BUSY'])
    result.model.dispose()
  })

  test('errors come as they were thrown, with details; those of listeners too', async () => {
    const bad = await rejectionOf(() => t.trainInWorker(model, some, { epochs: 3, schedule: { kind: 'constant', lr: 1e30 } }))
    expect(bad).toBeInstanceOf(t.NumericError)
    expect(bad).toMatchObject({ code: 'ERR_NUMERIC', details: { stage: 'train', step: 1 } })
    const mine = new TypeError('mine')
    const onEvent = (): never => {
      throw mine
    }
    await expect(t.trainInWorker(model, some, { epochs: 1, onEvent })).rejects.toBe(mine)
  })

  test('what cannot cross the border is said before a worker begins', async () => {
    const refuse = async (run: () => Promise<unknown>): Promise<string> => {
      const error = await rejectionOf(run)
      expect(error).toMatchObject({ code: 'ERR_OPTION' })
      return (error as Error).message
    }
    expect(await refuse(() => t.trainInWorker(model, some, { epochs: 1, checkpoint: () => undefined }))).toContain('checkpointDir')
    const { stored: _, ...functions } = all
    expect(await refuse(() => t.trainInWorker(model, functions, { epochs: 1 }))).toContain('numberDataset')
    const { portable: __, ...own } = t.classification(some)
    expect(await refuse(() => t.trainTaskInWorker(model, own, { epochs: 1 }))).toContain('portable')
    const pairs = t.tokens(t.sequencePairs({ name: 'p', pairs: [[[1], [2]]], begin: 0, end: 3, pad: 4, input: (b) => b }))
    expect(await refuse(() => t.trainTaskInWorker(model, pairs, { epochs: 1 }))).toContain('sequencePairs[0].input is a function')
    expect(await refuse(() => t.trainInWorker(model, some, { epochs: 1, modules: ['relative.mjs'] }))).toContain('absolute path')
  })

  test('a task of a module of one’s own; an abort ends the native call under way and gives the reason', async () => {
    const file = path.join(import.meta.dirname, 'worker-task.mjs')
    const { default: make } = (await import(pathToFileURL(file).href)) as { default: (o: object) => Promise<tersor.TrainTask> }
    const entry = path.join(dist, 'index.js')
    const net = line()
    const { model: trained } = await t.trainTaskInWorker(net, await make({ samples: 64, dist: entry }), {
      epochs: 30,
      schedule: { kind: 'constant', lr: 0.02 },
    })
    expect([...trained.leaves().values()][0]!.value.item()).toBeCloseTo(2, 2)
    // One step of this takes most of a minute.
    const slow = await make({ samples: 64, dist: entry, work: 4000 })
    const controller = new AbortController()
    const reason = new Error('enough')
    const run = t.trainTaskInWorker(net, slow, {
      epochs: 1,
      signal: controller.signal,
      onEvent: () => setTimeout(() => controller.abort(reason), 50),
    })
    const [error, began] = [rejectionOf(() => run), performance.now()]
    expect(await error).toMatchObject({ code: 'ERR_ABORTED', cause: reason })
    // Without the flag it would be the time of the whole step.
    expect(performance.now() - began).toBeLessThan(20_000)
    await expect(t.trainTaskInWorker(net, slow, { epochs: 1, signal: controller.signal })).rejects.toMatchObject({ code: 'ERR_ABORTED' })
    net.dispose()
    trained.dispose()
  })
})

test('compressInWorker gives the same model and report', async () => {
  const { recipe } = t.presets['int8-static']!
  const events: string[] = []
  const [here, there] = [
    await t.compress(model, recipe, { data: some }),
    await t.compressInWorker(model, recipe, { data: some, onEvent: (e) => void events.push(e.type) }),
  ]
  expect(there.report.layers).toEqual(here.report.layers)
  const parts = (m: nn.Model): unknown[] =>
    m.weights().map(({ path: at, weight }) => [at, weight.kind, digests(new Map(Object.entries(weight.parts())))])
  expect(parts(there.model)).toEqual(parts(here.model))
  expect([events[0], events.at(-1)]).toEqual(['run-start', 'run-end'])
  await expect(t.compressInWorker(model, { recipe: 1, seed: 0, stages: [[{ pass: 'nothing' }]] })).rejects.toMatchObject({
    code: 'ERR_RECIPE',
  })
  // The one made here shares its biases with the model given.
  here.model.dispose()
  there.model.dispose()
})
