/** A training task with a teacher, and the passes that distil. */
import { mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import { Rng } from '../../ts/base/rng.js'
import { compress, prune, recipe, train, type LossContext } from '../../ts/compress/index.js'
import { distilled, type DistilledOptions } from '../../ts/compress/train/distill/distilled.js'
import { distillationLoss } from '../../ts/compress/train/distill/logits.js'
import { trainSettings } from '../../ts/compress/train/settings.js'
import { packState, unpackState, type TrainState } from '../../ts/compress/train/state.js'
import { classification } from '../../ts/compress/train/tasks/classification.js'
import { language } from '../../ts/compress/train/tasks/language.js'
import { regression, regressionData } from '../../ts/compress/train/tasks/regression.js'
import { trainTask } from '../../ts/compress/train/train.js'
import { languageModel } from '../../ts/models/index.js'
import { textClassifier } from '../../ts/models/transformer/heads.js'
import { memory } from '../../ts/native/devices.js'
import { compressInWorker } from '../../ts/runtime/index.js'
import { build, freshValues, Model } from '../../ts/nn/index.js'
import { tensor, type Tensor } from '../../ts/tensor/index.js'
import { code } from '../nn/lib.js'
import { bars, bitsOf, blobs, convnet, mlp, quick } from './toys.js'

/** A small encoder of "texts": ids in, scores of 3 classes out. */
function text(layers: number, width = 8, seed = 1): Model {
  const body = { vocabulary: 20, embedding: width, width, layers, distinct: layers, heads: 2, hidden: 2 * width, positions: 8 }
  const spec = textClassifier({ body: { ...body, activation: 'gelu', eps: 1e-6, norm: 'post', causal: false }, classes: 3, dropout: 0.1 })
  return new Model(build(spec, freshValues(Rng.of(seed, 'init'))), {
    name: `text${layers}`,
    task: 'classification',
    classes: ['c0', 'c1', 'c2'],
    history: [],
  })
}

/** Ids with a mask; the class is the first id modulo 3. */
function texts(size = 48): Parameters<typeof trainTask<Uint32Array>>[1] {
  const rng = Rng.of(3, 'ids')
  const rows = Array.from({ length: size }, () => Array.from({ length: 6 }, () => rng.int(20)))
  const input = (indices: Uint32Array): { ids: Tensor; mask: Tensor } => ({
    ids: tensor(Int32Array.from([...indices].flatMap((i) => rows[i]!)), [indices.length, 6]),
    mask: tensor(Float32Array.from([...indices].flatMap((i) => [1, 1, 1, 1, i % 2, 0])), [indices.length, 6]),
  })
  const plain = classification(blobs(size))
  return {
    ...plain,
    kind: 'texts',
    check: () => undefined,
    bySample: {
      indices: (b) => b,
      input: (_m, i) => input(i),
      sweep: () => [Uint32Array.from({ length: size }, (_, i) => i)],
    },
    loss: (context: LossContext, batch) => {
      const indices = batch
      const logits = context.forward(input(indices))
      return distillationLoss(
        logits,
        tensor(Float32Array.from([...indices].flatMap((i) => [0, 1, 2].map((c) => (rows[i]![0]! % 3 === c ? 9 : 0)))), [indices.length, 3]),
        {
          convention: 'textbrewer',
          temperature: 1,
        },
      )
    },
  } as Parameters<typeof trainTask<Uint32Array>>[1]
}

const data = blobs(96)
const held = blobs(60, { seed: 2 })
const short = { ...quick, epochs: 2 }

describe('a task with a teacher', () => {
  it('alpha = 0 is plain training, bit for bit; alpha = 1 of itself learns nothing', async () => {
    const teacher = mlp({ seed: 9 })
    const plain = classification(data, { validation: held })
    const bits = async (options: Omit<DistilledOptions, 'teacher'>): Promise<string> => {
      const { model } = await trainTask(mlp(), distilled(plain, { teacher, ...options }), short)
      return bitsOf(model)
    }
    expect(await bits({ alpha: 0 })).toBe(bitsOf((await trainTask(mlp(), plain, short)).model))
    expect(await bits({ alpha: 0.5 })).not.toBe(await bits({ alpha: 0 }))
    const same = await trainTask(teacher, distilled(plain, { teacher, alpha: 1 }), { ...short, optimizer: { kind: 'sgd' } })
    // Of itself the gradient is 0 but for rounding.
    for (const [path, leaf] of same.model.leaves()) {
      const was = teacher.leaves().get(path)!.value.read()
      leaf.value.read().forEach((x, i) => expect(Number(x)).toBeCloseTo(Number(was[i]), 5))
    }
  })

  it('leaves the teacher as it was, and frees what it made', async () => {
    const teacher = convnet(4)
    const before = bitsOf(teacher)
    const set = bars(64)
    const task = distilled(classification(set), {
      teacher,
      match: [
        {
          loss: 'hidden',
          layers: [
            ['conv', 'conv'],
            ['relu', 'relu'],
          ],
        },
        {
          loss: 'fsp',
          layers: [
            ['conv', 'conv'],
            ['pool', 'pool'],
          ]
            .slice(0, 1)
            .concat([['norm', 'norm']]) as never,
        },
      ],
    })
    const student = convnet()
    const count = memory().tensors
    const { model } = await trainTask(student, task, short)
    expect(bitsOf(teacher)).toBe(before)
    model.dispose()
    expect(memory().tensors).toBeLessThanOrEqual(count)
  })

  it('kept outputs of the teacher give the training that asking it gives, but for rounding; a file is used again and checked', async () => {
    const dir = mkdtempSync(join(tmpdir(), 'tersor-kd-'))
    try {
      const teacher = mlp({ seed: 9, hidden: 48 })
      const run = async (more: Partial<DistilledOptions>): Promise<string> =>
        bitsOf((await trainTask(mlp(), distilled(classification(data), { teacher, ...more }), short)).model)
      const kept = await run({ cacheDir: dir })
      const [file] = readdirSync(dir)
      expect(await run({ cacheDir: dir })).toBe(kept)
      expect(await run({})).toBe(kept)
      writeFileSync(join(dir, file!), 'damaged')
      expect(await run({ cacheDir: dir })).toBe(kept)
      await run({ cacheDir: dir, teacher: mlp({ seed: 8 }) })
      expect(readdirSync(dir)).toHaveLength(2)
      await run({ cacheBytes: 10 })
    } finally {
      rmSync(dir, { recursive: true })
    }
  })

  const match: DistilledOptions['match'] = [
    { loss: 'hidden', weight: 0.5 },
    { loss: 'attention' },
    { loss: 'attention', of: 'weights', layers: 'last' },
    { loss: 'values' },
    { loss: 'pkd', weight: 10 },
    { loss: 'cosine', projection: 'learned' },
    { loss: 'gram', layers: 'last' },
    { loss: 'places', layers: [['body.words', 'body.words']] },
  ]
  it('all terms together: narrower student, learned projections, resumed at any step with the same bytes', async () => {
    const teacher = text(4, 12, 5)
    const student = text(2)
    const task = distilled(texts(), { teacher, match })
    const all: TrainState[] = []
    const whole = await trainTask(student, task, { ...short, ema: { decay: 0.9 }, checkpoint: (take) => all.push(take()) })
    expect([...all[0]!.values.keys()].filter((name) => name.startsWith('@'))).toContain('@match0.8x12.weight/value')
    expect(whole.model.weights().map((w) => w.path)).toEqual(student.weights().map((w) => w.path))
    expect([...all.at(-1)!.values.get('@match0.8x12.weight/value')!.data]).not.toEqual([
      ...all[0]!.values.get('@match0.8x12.weight/value')!.data,
    ])
    for (const at of [0, 2]) {
      const { json, tensors } = packState(all[at]!)
      const resumed = await trainTask(student, task, { ...short, ema: { decay: 0.9 }, resume: unpackState(json, tensors) })
      expect(bitsOf(resumed.model)).toBe(bitsOf(whole.model))
      expect(bitsOf(resumed.average!)).toBe(bitsOf(whole.average!))
    }
    await expect(
      trainTask(student, distilled(texts(), { teacher, match, alpha: 0.9 }), { ...short, ema: { decay: 0.9 }, resume: all[0]! }),
    ).rejects.toThrowError(code('ERR_CHECKPOINT'))
    const { epochs } = whole
    expect(epochs.at(-1)!.loss).toBeLessThan(epochs[0]!.loss)
  })

  it('several teachers, weighted: weight 0 is not there', async () => {
    const [a, b] = [mlp({ seed: 5 }), mlp({ seed: 6 })]
    const run = async (teacher: Model | Model[], teachers?: number[]): Promise<string> =>
      bitsOf((await trainTask(mlp(), distilled(classification(data), { teacher, ...(teachers ? { teachers } : {}) }), short)).model)
    expect(await run([a, b], [1, 0])).toBe(await run(a))
    expect(await run([a, b])).toBe(await run([a, b], [2, 2]))
    expect(await run([a, b])).not.toBe(await run(a))
  })

  it('another shape and scale of input is brought to the teacher; a language model carries its state, also when resumed', async () => {
    const flat = mlp({ width: 8 })
    const square = new Model(flat.root, { ...flat.info, inputShape: [2, 4], normalize: { mean: 0.5, std: 2 } })
    const teacher = mlp({ seed: 2 })
    // The teacher is an MLP on [8]; the student is told other facts about the same numbers.
    const student = new Model(flat.root, { ...square.info, inputShape: [8] })
    await trainTask(student, distilled(classification(data), { teacher }), { ...short, epochs: 1 })
    const lm = (seed: number, hidden: number): Model =>
      new Model(
        build(
          languageModel({ vocabulary: 12, width: 6, hidden, layers: 1, cell: 'lstm', dropout: 0, tied: false }),
          freshValues(Rng.of(seed, 'init')),
        ),
        { name: 'lm', task: 'language', history: [] },
      )
    const stream = Int32Array.from({ length: 400 }, (_, i) => (i * i) % 12)
    const task = distilled(language(stream, { window: 10 }), { teacher: lm(1, 10), temperature: 1 })
    const all: TrainState[] = []
    const settings = { ...short, epochs: 1, batchSize: 4 }
    const whole = await trainTask(lm(2, 6), task, { ...settings, checkpoint: (take) => all.push(take()) })
    expect([...all[3]!.carried!.keys()].some((name) => name.includes('@teacher0/'))).toBe(true)
    const { json, tensors } = packState(all[3]!)
    expect(bitsOf((await trainTask(lm(2, 6), task, { ...settings, resume: unpackState(json, tensors) })).model)).toBe(bitsOf(whole.model))
  })

  it('regression learns the numbers of its teacher', async () => {
    const rng = Rng.of(1, 'line')
    const features = Float32Array.from({ length: 80 * 8 }, () => rng.normal())
    const set = regressionData({ name: 'line', features, inputShape: [8], targets: new Float32Array(240), outputs: 3 })
    const as = (m: Model): Model => new Model(m.root, { name: m.info.name, task: 'regression', history: [] })
    const teacher = as(mlp({ seed: 3 }))
    const { epochs } = await trainTask(as(mlp()), distilled(regression(set), { teacher, alpha: 1 }), {
      ...quick,
      schedule: { kind: 'constant', lr: 0.02 },
    })
    expect(epochs.at(-1)!.loss).toBeLessThan(0.5 * epochs[0]!.loss)
  })
})

describe('bad teachers and options', () => {
  const pointer = (at: string): unknown =>
    expect.objectContaining({ code: 'ERR_OPTION', details: expect.objectContaining({ pointer: at }) as unknown })
  const run = (student: Model, options: DistilledOptions): Promise<unknown> =>
    trainTask(student, distilled(classification(data), options), short)
  const cases: [string, () => Promise<unknown>, string][] = [
    ['other classes', () => run(mlp(), { teacher: mlp({ classes: 4 }) }), '/teacher'],
    ['other class names', () => run(mlp(), { teacher: new Model(mlp().root, { ...mlp().info, classes: ['a', 'b', 'c'] }) }), '/teacher'],
    ['another task', () => run(mlp(), { teacher: new Model(mlp().root, { ...mlp().info, task: 'regression' }) }), '/teacher'],
    [
      'a layer that is not there',
      () => run(mlp(), { teacher: mlp(), match: [{ loss: 'hidden', layers: [['fc1', 'fc9']] }] }),
      '/match/0/layers/0/1',
    ],
    [
      'widths without a projection',
      () => run(mlp(), { teacher: mlp({ hidden: 5 }), match: [{ loss: 'hidden', layers: [['fc1', 'fc1']], projection: 'none' }] }),
      '/match/0/projection',
    ],
    ['attention of a net without', () => run(mlp(), { teacher: mlp(), match: [{ loss: 'attention' }] }), '/match/0'],
    ['a flow of one layer', () => run(mlp(), { teacher: mlp(), match: [{ loss: 'fsp', layers: [['fc1', 'fc1']] }] }), '/match/0/layers'],
    [
      'no repeated layers',
      () => trainTask(convnet(), distilled(classification(bars(32)), { teacher: convnet(), match: [{ loss: 'hidden' }] }), short),
      '/match/0/layers',
    ],
    ['a teacher that is not there', () => run(mlp(), { teacher: mlp(), match: [{ loss: 'hidden', teacher: 1 }] }), '/match/0/teacher'],
    ['weights of other teachers', () => run(mlp(), { teacher: mlp(), teachers: [1, 2] }), '/teachers'],
    ['no teacher', () => run(mlp(), { teacher: [] }), '/teacher'],
    ['T = 0', () => run(mlp(), { teacher: mlp(), temperature: 0 }), '/temperature'],
    ['alpha and hard', () => run(mlp(), { teacher: mlp(), alpha: 0.5, hard: 1, soft: 1 }), '/alpha'],
    ['hard alone', () => run(mlp(), { teacher: mlp(), hard: 1 }), '/hard'],
  ]
  it.each(cases)('%s', async (_name, make, at) => {
    await expect((async () => make())()).rejects.toEqual(pointer(at))
  })
  it('another vocabulary; other heads', async () => {
    const words = (m: Model, word: number): Model => m.withExtras({ vocabulary: { dtype: 'u8', shape: [1], data: Uint8Array.of(word) } })
    const lm = new Model(mlp().root, { name: 'lm', task: 'language', history: [] })
    await expect(
      (async () => trainTask(words(lm, 1), distilled(language(new Int32Array(100)), { teacher: words(lm, 2) }), short))(),
    ).rejects.toEqual(pointer('/teacher'))
  })
})

describe('passes that distil while they prune', () => {
  it('prune with a teacher: the options stand in recipes; without one given the model itself teaches; resumed = not interrupted', async () => {
    const trained = await train(mlp(), data, quick)
    const made = recipe([
      [
        prune.magnitude({
          sparsity: 0.8,
          retrain: train.finetune({ epochs: 2, lr: 0.02 }),
          distill: { temperature: 3, match: [{ loss: 'hidden', layers: [['fc2', 'fc2']], projection: 'learned' }] },
        }),
      ],
    ])
    const own = await compress(trained.model, made, { data })
    const other = await compress(trained.model, made, { data, teacher: mlp({ seed: 8 }) })
    const plain = await compress(
      trained.model,
      recipe([[prune.magnitude({ sparsity: 0.8, retrain: train.finetune({ epochs: 2, lr: 0.02 }) })]]),
      { data },
    )
    expect(new Set([own, other, plain].map(({ model }) => bitsOf(model))).size).toBe(3)
    const checkpointDir = mkdtempSync(join(tmpdir(), 'tersor-kd-'))
    try {
      const stop = new AbortController()
      let steps = 0
      const options = { data, checkpointDir, checkpointSeconds: 0 }
      const onEvent = (e: { type: string }): void => void (e.type === 'checkpoint' && ++steps === 3 && stop.abort())
      await expect(compress(trained.model, made, { ...options, signal: stop.signal, onEvent })).rejects.toThrowError(code('ERR_ABORTED'))
      const again = await compress(trained.model, made, { ...options, resume: true })
      expect(bitsOf(again.model)).toBe(bitsOf(own.model))
      await expect(compress(trained.model, made, { ...options, resume: true, teacher: mlp({ seed: 8 }) })).rejects.toThrowError(
        code('ERR_CHECKPOINT'),
      )
    } finally {
      rmSync(checkpointDir, { recursive: true })
    }
  })
  it('an encoder learns the embeddings that it had, without labels; text tasks retrain on their own task', async () => {
    const encoder = new Model(mlp().root, { name: 'encoder', task: 'embedding', inputShape: [8], history: [] })
    const options = { sparsity: 0.7, retrain: train.finetune({ epochs: 3, lr: 0.02 }), training: trainSettings(quick) }
    const { report } = await compress(encoder, recipe([[prune.magnitude({ ...options, distill: {} })]]), { data, validation: held })
    const { epochs } = report.passes[0]!
    expect(epochs.at(-1)!.loss).toBeLessThan(epochs[0]!.loss)
    expect(epochs.at(-1)!.metrics!.similarity).toBeGreaterThan(epochs[0]!.metrics!.similarity!)
    await expect(compress(encoder, recipe([[prune.magnitude(options)]]), { data })).rejects.toMatchObject({
      details: { pointer: '/distill' },
    })
    const spec = languageModel({ vocabulary: 12, width: 6, hidden: 8, layers: 1, cell: 'gru', dropout: 0, tied: false })
    const lm = new Model(build(spec, freshValues(Rng.of(1, 'init'))), { name: 'lm', task: 'language', history: [] })
    const task = language(
      Int32Array.from({ length: 300 }, (_, i) => (i * i) % 12),
      { window: 10 },
    )
    const short = { ...options, retrain: train.finetune({ epochs: 1, lr: 0.02 }), training: trainSettings({ ...quick, batchSize: 4 }) }
    const pruned = await compress(lm, recipe([[prune.magnitude({ ...short, distill: { temperature: 2 } })]]), { task })
    expect(pruned.report.nonzeros).toBeLessThan(0.5 * pruned.report.parameters)
  })
  it('teachers do not go to a worker', async () => {
    await expect(compressInWorker(mlp(), {}, { data, teacher: mlp() })).rejects.toMatchObject({ details: { pointer: '/teacher' } })
  })
  it('tells bad options before anything runs', async () => {
    const bad = (distill: object): object => ({
      recipe: 1,
      stages: [[{ pass: 'prune/magnitude', options: { sparsity: 0.5, retrain: { kind: 'finetune', epochs: 1 }, distill } }]],
    })
    await expect(compress(mlp(), bad({ temperature: 0 }) as never, { data })).rejects.toMatchObject({
      code: 'ERR_RECIPE',
      details: { pointer: '/stages/0/0/options/distill/temperature' },
    })
    await expect(
      compress(mlp(), bad({ match: [{ loss: 'hidden', layers: [['fc1', 'nothing']] }] }) as never, { data }),
    ).rejects.toMatchObject({ code: 'ERR_OPTION', details: { pointer: '/match/0/layers/0/1' } })
    await expect(compress(mlp(), bad({}) as never, { data, teacher: mlp({ classes: 2 }) })).rejects.toMatchObject({
      code: 'ERR_OPTION',
      details: { pointer: '/teacher' },
    })
  })
})
