/** Methods that look at a loss, on language models: the Hessian, sensitivities, scores of pruning, the error budget. And what is refused before any work. */
import { beforeAll, describe, expect, it } from 'vitest'
import { hessian, sensitivity } from '../../ts/analyze/index.js'
import { Rng } from '../../ts/base/rng.js'
import {
  compress,
  gridQuantizer,
  language,
  languageFigures,
  prune,
  quantize,
  recipe,
  taskLosses,
  trainTask,
  type CompressEvent,
  type CompressOptions,
  type PassSpec,
} from '../../ts/compress/index.js'
import { numberDataset } from '../../ts/data/dataset.js'
import { languageModel } from '../../ts/models/index.js'
import { memory } from '../../ts/native/devices.js'
import { build, freshValues, Model } from '../../ts/nn/index.js'
import { axpby, crossEntropy, innerProduct } from '../../ts/ops/index.js'
import { scope, tensor, zeros } from '../../ts/tensor/index.js'
import { bitsOf, blobs, mlp } from './toys.js'

/** Words follow words: from each of 12 one of two others, drawn. */
function written(length: number, seed: number): Int32Array {
  const rng = Rng.of(seed, 'text')
  const ids = new Int32Array(length)
  for (let i = 1; i < length; i++) ids[i] = (3 * ids[i - 1]! + 1 + (rng.uniform() < 0.8 ? 0 : 5)) % 12
  return ids
}
const train = written(1600, 1)
const validation = written(400, 2)
const task = language(train, { window: 10, validation, name: 'words' })
let model: Model
beforeAll(async () => {
  const spec = languageModel({ vocabulary: 12, width: 10, hidden: 16, layers: 1, cell: 'lstm' })
  const fresh = new Model(build(spec, freshValues(Rng.of(4, 'words'))), { name: 'words', task: 'language', history: [] })
  const schedule = { kind: 'constant' as const, lr: 0.02 }
  model = (await trainTask(fresh, task, { epochs: 4, batchSize: 8, optimizer: { kind: 'adamw' }, schedule })).model
})
const run = (pass: PassSpec, options: CompressOptions = { task }): ReturnType<typeof compress> => compress(model, recipe([[pass]]), options)
/** Frees what a pass made; the rest belongs to the model. */
function free(made: Model): void {
  const own = new Set(model.weights().map((w) => w.weight))
  for (const { weight } of made.weights()) if (!own.has(weight)) weight.dispose()
}
const perplexity = async (m: Model): Promise<number> => (await languageFigures(m, validation, { columns: 8 })).perplexity

describe('losses of a task', () => {
  it('are the task’s own, from the zero state with each batch', async () => {
    const losses = await taskLosses(model, task, { samples: 24, batchSize: 8 })
    expect(losses).toMatchObject({ name: 'words', size: 240, batches: [{ count: 80 }, { count: 80 }, { count: 80 }] })
    const rows = Math.floor((train.length - 1) / 8)
    const cut = (shift: number): Int32Array =>
      Int32Array.from({ length: 80 }, (_, i) => train[Math.floor(i / 10) * rows + 10 + (i % 10) + shift]!)
    scope(() => {
      const meant = crossEntropy(model.forward(tensor(cut(0), [8, 10])), tensor(cut(1), [8, 10])).item()
      expect(losses.batches[1]!.loss(model).item()).toBe(meant)
    })
    await expect(taskLosses(model, task, { samples: 0 })).rejects.toMatchObject({ code: 'ERR_OPTION' })
  })

  it('have a Hessian: v H v is the second difference of the loss', async () => {
    const losses = await taskLosses(model, task, { samples: 16 })
    const layers = model.weights().filter((w) => w.role === 'matrix').map((w) => w.path) // prettier-ignore
    const h = hessian.ofModel(model, losses, { layers })
    const rng = Rng.of(3, 'direction')
    const v = tensor(Float32Array.from({ length: h.size }, () => rng.normal() / Math.sqrt(h.size)))
    const product = zeros([h.size])
    await h.apply(v, product)
    const mean = (): number => scope(() => losses.batches.reduce((s, b) => s + (b.count * b.loss(model).item()) / losses.size, 0))
    const values = v.read() as Float32Array
    const leaves = model.leaves()
    const move = (by: number): void =>
      h.parts.forEach((p) => {
        scope(() =>
          axpby(leaves.get(p.name)!.value, tensor(values.slice(p.offset, p.offset + p.size), leaves.get(p.name)!.value.shape), by, 1),
        )
      })
    const e = 0.3
    const at = mean()
    move(e)
    const up = mean()
    move(-2 * e)
    const down = mean()
    move(e)
    const second = (up - 2 * at + down) / e ** 2
    expect(innerProduct(v, product) / second).toBeGreaterThan(0.9)
    expect(innerProduct(v, product) / second).toBeLessThan(1.1)
    for (const t of [v, product]) t.dispose()
    h.dispose()
  })

  it('sensitivities: every method, the state goes on, eigenvalues on parts of the batches', async () => {
    const losses = await taskLosses(model, task, { samples: 32 })
    const how = { quantize: gridQuantizer(), bits: [2, 8], iterations: 8 }
    for (const method of ['trace', 'eigenvalue', 'direct'] as const) {
      const found = await sensitivity.sensitivities(model, losses, { ...how, method, shards: 2 })
      expect(found.examples).toBe(losses.size)
      expect(found.accuracy).toBeUndefined()
      const costs = found.groups.map((g) => g.choices.map((c) => c.cost))
      expect(
        costs.every(([two, eight]) => Math.abs(eight!) < Math.abs(two!) + 1e-4),
        method,
      ).toBe(true)
    }
    await expect(sensitivity.sensitivities(model, losses, { ...how, method: 'eigenvalue', shards: 5 })).rejects.toMatchObject({
      code: 'ERR_OPTION',
    })
  })
})

/** What earlier tests dropped is collected now, not while tensors are counted. */
async function collected(): Promise<void> {
  globalThis.gc!()
  await new Promise((resolve) => setTimeout(resolve, 20)) // finalizers are tasks of their own
}

describe('passes', () => {
  it('gradient, OBD: better than a draw; mixed bits within the budget; the same bits twice; nothing leaks', async () => {
    await collected()
    const before = memory().tensors
    const made = async (pass: PassSpec): Promise<number> => {
      const { model: small } = await run(pass)
      const value = await perplexity(small)
      free(small)
      return value
    }
    const random = await made(prune.random({ sparsity: 0.5 }))
    expect(await made(prune.gradient({ sparsity: 0.5, samples: 64, batchSize: 8 }))).toBeLessThan(random)
    expect(await made(prune.obd({ sparsity: 0.5, samples: 32, batchSize: 8, vectors: 8 }))).toBeLessThan(random)
    const mixed = quantize.mixed({ budget: 6000, samples: 32, iterations: 8 })
    const { model: first, report } = await run(mixed)
    const { model: second } = await run(mixed)
    expect(bitsOf(first)).toBe(bitsOf(second))
    expect(report.passes[0]!.figures.assignment).toMatchObject({ rule: 'optimal' })
    free(first)
    free(second)
    await collected()
    expect(memory().tensors).toBe(before)
  })

  it('an error budget counts the tokens that are right, on the text that is held out', async () => {
    const { report } = await run(quantize.auto({ maxDrop: 2, samples: 32, probes: 8 }))
    const { figures } = report.passes[0]!
    expect(figures).toMatchObject({ figure: 'accuracy', 'measured on': 'validation data' })
    expect(figures.after).toBeGreaterThanOrEqual((figures.before as number) - 2)
    const blind = await run(quantize.auto({ samples: 32, probes: 8 }), { task: language(train, { window: 10 }) })
    expect(blind.report.passes[0]!.figures).toMatchObject({ figure: 'sqnr', 'measured on': 'calibration data' })
  })

  it('what cannot be measured is refused before anything runs', async () => {
    const events: CompressEvent[] = []
    const refused = async (m: Model, pass: PassSpec, options: CompressOptions, message: RegExp): Promise<void> => {
      const work = compress(m, recipe([[quantize.cast({ format: 'tf32' })], [pass]]), { ...options, onEvent: (e) => events.push(e) })
      await expect(work).rejects.toMatchObject({ code: 'ERR_OPTION', message: expect.stringMatching(message) })
      expect(events).toEqual([])
    }
    const features = new Float32Array(40)
    const blind = numberDataset({ name: 'blind', features, inputShape: [8], labels: new Int32Array(5), classes: ['c0'] })
    await refused(mlp(), quantize.auto({ measure: 'accuracy' }), { data: blind }, /needs a classifier.* blind has 1 classes/)
    await refused(model, quantize.auto({ measure: 'accuracy' }), { task: language(train) }, /no validation data/)
    await refused(mlp(), prune.gradient({ sparsity: 0.5 }), { data: blind }, /3 classes, blind has 1/)
    await refused(mlp(), prune.obd({ sparsity: 0.5 }), {}, /needs data with labels, or a task/)
    await refused(model, quantize.mixed(), { data: blobs(8) }, /made for language/)
    await refused(mlp(), quantize.auto(), {}, /needs data/)
  })
})
