/** Distillation: the terms against numbers worked out by hand or by torch, and a training task with a teacher. */
import { mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import { grad } from '../../ts/autograd/index.js'
import { Rng } from '../../ts/base/rng.js'
import { compress, prune, recipe, train, type LossContext } from '../../ts/compress/index.js'
import { cosineTerm, flowTerm, hiddenTerm, patientTerm, placesTerm } from '../../ts/compress/train/distill/features.js'
import { distilled, type DistilledOptions } from '../../ts/compress/train/distill/distilled.js'
import { layerMap, repeatedLayers } from '../../ts/compress/train/distill/layers.js'
import { distillationLoss, squaredTerm } from '../../ts/compress/train/distill/logits.js'
import { conventions, type ConventionName } from '../../ts/compress/train/distill/options.js'
import { relationTerm, scores, scoresTerm } from '../../ts/compress/train/distill/relations.js'
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
import { scope, tensor, type Tensor } from '../../ts/tensor/index.js'
import { code } from '../nn/lib.js'
import { bars, bitsOf, blobs, convnet, mlp, quick } from './toys.js'

const z = [
  [0.3, -1.2, 0.8],
  [2, 0.1, -0.4],
]
const v = [
  [1, -0.5, 0.25],
  [0.7, 0.6, -1.1],
]
const value = (f: () => Tensor): number => scope(() => f().item())

/** Gradient at the scores z. */
const slope = (f: (x: Tensor) => Tensor): number[][] =>
  scope(() => {
    const x = tensor(z)
    const { g } = grad(() => f(x), { g: x })
    return g.toArray() as number[][]
  })

describe('logits', () => {
  // torch 1.13: F.kl_div(F.log_softmax(z / T, -1), F.softmax(v / T, -1), reduction=...) and -(q * logp).sum() as each code has it.
  const golden: Record<ConventionName, number> = {
    distilbert: 0.2513548884,
    pkd: 0.0778959486,
    tinybert: 0.3917520308,
    textbrewer: 1.0984490826,
    distiller: 0.250565613,
  }
  it.each(Object.keys(conventions) as ConventionName[])('%s as its code has it', (convention) => {
    expect(value(() => distillationLoss(tensor(z), tensor(v), { convention }))).toBeCloseTo(golden[convention], 5)
  })
  it('is 0 for equal scores, at every temperature', () => {
    for (const temperature of [0.5, 1, 7]) expect(value(() => distillationLoss(tensor(z), tensor(z), { temperature }))).toBe(0)
  })
  it('becomes half the squared difference at high temperature, for scores of mean 0', () => {
    const centred = (rows: number[][]): number[][] => rows.map((r) => r.map((x) => x - r.reduce((a, b) => a + b, 0) / r.length))
    const [a, b] = [centred(z), centred(v)]
    const half = a.flat().reduce((s, x, i) => s + (x - b.flat()[i]!) ** 2, 0) / (2 * 3 * 2)
    const found = value(() =>
      distillationLoss(tensor(Float64Array.from(a.flat()), [2, 3]), tensor(Float64Array.from(b.flat()), [2, 3]), { temperature: 1e4 }),
    )
    expect(found).toBeCloseTo(half, 4)
  })
  it('has the gradient T (p - q) / N', () => {
    const T = 4
    const soft = (row: number[]): number[] => {
      const e = row.map((x) => Math.exp(x / T))
      return e.map((x) => x / e.reduce((a, b) => a + b, 0))
    }
    const g = slope((x) => distillationLoss(x, tensor(v), { temperature: T }))
    g.forEach((row, i) => row.forEach((x, k) => expect(x).toBeCloseTo((T * (soft(z[i]!)[k]! - soft(v[i]!)[k]!)) / 2, 5)))
  })
  it('scales the cross-entropy gradient of the true class by (q - p) / (1 - p) at T = 1 (Tang et al. 2020)', () => {
    const soft = (row: number[]): number[] => {
      const e = row.map(Math.exp)
      return e.map((x) => x / e.reduce((a, b) => a + b, 0))
    }
    const g = slope((x) => distillationLoss(x, tensor(v), { temperature: 1 }))
    const [p, q] = [soft(z[0]!)[0]!, soft(v[0]!)[0]!]
    expect(g[0]![0]! / ((p - 1) / 2)).toBeCloseTo((q - p) / (1 - p), 5)
  })
  it('squared error of scores has the gradient 2 (z - v) / n (Bucila et al.)', () => {
    const g = slope((x) => squaredTerm(x, tensor(v)))
    g.forEach((row, i) => row.forEach((x, k) => expect(x).toBeCloseTo((2 * (z[i]![k]! - v[i]![k]!)) / 6, 6)))
  })
  it('counts only the rows that count', () => {
    const rows = Float32Array.of(0, 1)
    const one = value(() => distillationLoss(tensor([z[1]!]), tensor([v[1]!])))
    expect(value(() => distillationLoss(tensor(z), tensor(v), { rows }))).toBeCloseTo(one, 6)
  })
  it('refuses what makes no sense', () => {
    expect(() => distillationLoss(tensor(z), tensor([[1, 2]]))).toThrowError(code('ERR_SHAPE'))
    for (const temperature of [0, -1, NaN, Infinity])
      expect(() => distillationLoss(tensor(z), tensor(v), { temperature })).toThrowError(code('ERR_OPTION'))
    expect(() => distillationLoss(tensor(z), tensor(v), { convention: 'constructor' as never })).toThrowError(code('ERR_OPTION'))
  })
})

describe('hidden states and attention', () => {
  const rng = Rng.of(1, 'features')
  const draw = (...shape: number[]): number[] => Array.from({ length: shape.reduce((a, b) => a * b, 1) }, () => rng.normal())
  const [s, t] = [draw(2, 3, 4), draw(2, 3, 4)]
  const at = (x: number[]): Tensor => tensor(Float32Array.from(x), [2, 3, 4])
  const mask = (): Tensor =>
    tensor([
      [1, 1, 0],
      [1, 1, 1],
    ])
  const places = [0, 1, 3, 4, 5] // of 6, with the mask
  const row = (x: number[], i: number): number[] => x.slice(4 * i, 4 * i + 4)
  const dot = (a: number[], b: number[]): number => a.reduce((sum, x, i) => sum + x * b[i]!, 0)

  it('hidden: mean squared difference over the tokens', () => {
    const want = places.reduce((sum, i) => sum + row(s, i).reduce((a, x, k) => a + (x - row(t, i)[k]!) ** 2, 0), 0) / (5 * 4)
    expect(value(() => hiddenTerm(at(s), at(t), mask()))).toBeCloseTo(want, 5)
  })
  it('cosine: mean of 1 - cos over the tokens', () => {
    const cos = (i: number): number => dot(row(s, i), row(t, i)) / Math.sqrt(dot(row(s, i), row(s, i)) * dot(row(t, i), row(t, i)))
    expect(value(() => cosineTerm(at(s), at(t), mask()))).toBeCloseTo(places.reduce((sum, i) => sum + 1 - cos(i), 0) / 5, 5)
  })
  it('pkd: difference of directions of the first token; length does not count', () => {
    const unit = (x: number[]): number[] => x.map((e) => e / Math.sqrt(dot(x, x)))
    const want = [0, 3].reduce((sum, i) => sum + unit(row(s, i)).reduce((a, x, k) => a + (x - unit(row(t, i))[k]!) ** 2, 0), 0) / 8
    expect(value(() => patientTerm(at(s), at(t)))).toBeCloseTo(want, 5)
    expect(value(() => patientTerm(at(s), at(s.map((x) => 3 * x))))).toBeCloseTo(0, 10)
  })
  it('fsp: squared difference of F1^T F2 / length', () => {
    const [s2, t2] = [draw(2, 3, 4), draw(2, 3, 4)]
    const flow = (a: number[], b: number[], n: number, i: number, j: number): number =>
      [0, 1, 2].filter((l) => n === 1 || l < 2).reduce((sum, l) => sum + a[(n * 3 + l) * 4 + i]! * b[(n * 3 + l) * 4 + j]!, 0) /
      (n === 0 ? 2 : 3)
    let want = 0
    for (const n of [0, 1])
      for (let i = 0; i < 4; i++) for (let j = 0; j < 4; j++) want += (flow(s, s2, n, i, j) - flow(t, t2, n, i, j)) ** 2 / 32
    expect(value(() => flowTerm([at(s), at(s2)], [at(t), at(t2)], mask()))).toBeCloseTo(want, 4)
  })
  it('places: a width of its own is no obstacle', () => {
    expect(value(() => placesTerm(at(s), at(s.map((x) => -x)), null))).toBeCloseTo(0, 10)
    expect(value(() => placesTerm(at(s), tensor(Float32Array.from(draw(2, 3, 7)), [2, 3, 7]), null))).toBeGreaterThan(0)
  })
  it('attention scores: hidden keys cost nothing; equal ones cost nothing', () => {
    const of = (x: number[], masked: boolean): Tensor => scores(at(x), at(x), 2, masked ? mask() : null, true)
    expect(value(() => scoresTerm(of(s, true), of(s, true)))).toBe(0)
    expect(value(() => scoresTerm(of(s, true), of(t, true)))).toBeLessThan(value(() => scoresTerm(of(s, false), of(t, false))))
  })
  it('value relations: independent of the width of a head', () => {
    const wide = (): Tensor => tensor(Float32Array.from(draw(2, 3, 8)), [2, 3, 8])
    const found = value(() => relationTerm(scores(at(s), at(s), 2, mask(), false), scores(wide(), wide(), 2, mask(), false), mask()))
    expect(found).toBeGreaterThan(0)
    // One head, one query over two keys, by hand.
    const one = value(() => relationTerm(tensor([[[[0, 0]]]]), tensor([[[[Math.log(3), 0]]]]), null))
    expect(one).toBeCloseTo(0.75 * Math.log(1.5) + 0.25 * Math.log(0.5), 6)
  })
})

describe('layers', () => {
  it('maps as the papers do', () => {
    expect(layerMap('uniform', 4, 12).map((n) => n + 1)).toEqual([3, 6, 9, 12]) // TinyBERT
    expect(layerMap('last', 6, 12).map((n) => n + 1)).toEqual([7, 8, 9, 10, 11, 12])
    expect(layerMap('uniform', 3, 3)).toEqual([0, 1, 2])
    expect(layerMap('uniform', 3, 1)).toEqual([0, 0, 0])
  })
  it('finds the repeated layers', () => {
    expect(repeatedLayers(text(3).root)).toMatchObject({ parent: 'body', kind: 'encoderBlock', names: ['layer0', 'layer1', 'layer2'] })
    expect(repeatedLayers(mlp().root)?.names).toEqual(['fc1', 'fc2', 'fc3'])
    expect(repeatedLayers(convnet().root)).toBeUndefined()
  })
})

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
