/** Figures of validation: right, chosen by name for early stop and the best model, and left out where they are not defined. */
import { describe, expect, it } from 'vitest'
import { argmaxRows, ConfusionMatrix, pearson, spearman } from '../../ts/analyze/metrics/index.js'
import { Rng } from '../../ts/base/rng.js'
import {
  classification,
  language,
  languageFigures,
  regression,
  regressionData,
  sequencePairs,
  tokens,
  train,
  trainTask,
  type TaskOptions,
  type TrainTask,
} from '../../ts/compress/index.js'
import { batchInputs } from '../../ts/models/inputs.js'
import { languageModel } from '../../ts/models/index.js'
import { seq2seq } from '../../ts/models/seq2seq.js'
import { build, freshValues, linear, Model, type ModelTask, type ModuleSpec } from '../../ts/nn/index.js'
import { scope, tensor } from '../../ts/tensor/index.js'
import { blobs, mlp, quick } from './toys.js'

const make = (spec: ModuleSpec, task: ModelTask): Model =>
  new Model(build(spec, freshValues(Rng.of(3, 'figures'))), { name: 'toy', task, history: [] })
const breathe = async (): Promise<void> => {}
const adam: TaskOptions = { epochs: 2, batchSize: 8, optimizer: { kind: 'adam' }, schedule: { kind: 'constant', lr: 0.01 } }

it('classification: accuracy, macro F1 and Matthews of the confusion matrix', async () => {
  const [data, held] = [blobs(120), blobs(300, { seed: 2, spread: 2 })]
  const { model, epochs } = await train(mlp(), data, { ...quick, validation: held })
  const matrix = new ConfusionMatrix(3)
  scope(() => {
    const { x, labels } = batchInputs(model, held, [...held.labels.keys()])
    matrix.update(argmaxRows(model.forward(x).read() as Float32Array, 3), labels)
  })
  const { accuracy, macro, matthews } = matrix.result()
  expect(epochs.at(-1)).toMatchObject({ accuracy, metrics: { accuracy, macroF1: macro.f1, matthews } })
  expect(accuracy).toBeLessThan(1)
  expect(new Set([accuracy, macro.f1, matthews]).size).toBe(3)
})

describe('regression', () => {
  const features = Float32Array.from({ length: 600 }, (_, i) => Math.sin(i * 1.7))
  const targets = Float32Array.from({ length: 600 }, (_, i) => features[i]! ** 3 + 0.2 * Math.cos(i))
  const data = regressionData({ name: 'two', features, inputShape: [2], targets, outputs: 2 })

  it('the means over the outputs', async () => {
    const model = make(linear({ in: 2, out: 2, bias: true, init: 'he' }), 'regression')
    const found = await regression(data, { validation: data }).evaluate!(model, breathe)
    const got = scope(() => model.forward(tensor(features, [300, 2])).read()) as Float32Array
    const column = (values: Float32Array, c: number): Float32Array => values.filter((_, i) => i % 2 === c)
    const mean = (of: (p: Float32Array, t: Float32Array) => number): number =>
      (of(column(got, 0), column(targets, 0)) + of(column(got, 1), column(targets, 1))) / 2
    const squares = (p: Float32Array, t: Float32Array): number => p.reduce((s, v, i) => s + (v - t[i]!) ** 2, 0)
    const r2 = (p: Float32Array, t: Float32Array): number => {
      const m = t.reduce((s, v) => s + v, 0) / t.length
      return 1 - squares(p, t) / t.reduce((s, v) => s + (v - m) ** 2, 0)
    }
    const expected = {
      mse: mean((p, t) => squares(p, t) / t.length),
      mae: mean((p, t) => p.reduce((s, v, i) => s + Math.abs(v - t[i]!), 0) / t.length),
      r2: mean(r2),
      pearson: mean(pearson),
      spearman: mean(spearman),
    }
    expect(Object.keys(found)).toEqual(Object.keys(expected))
    for (const [name, value] of Object.entries(expected)) expect(found[name], name).toBeCloseTo(value, 9)
  })

  it('what is not defined is left out; a wrong number of outputs is refused', async () => {
    const model = make(linear({ in: 2, out: 2, bias: true, init: 'he' }), 'regression')
    const flat = regressionData({ name: 'flat', features, inputShape: [2], targets: new Float32Array(600).fill(1), outputs: 2 })
    expect(Object.keys(await regression(data, { validation: flat }).evaluate!(model, breathe))).toEqual(['mse', 'mae'])
    const one = regressionData({ name: 'one', features, inputShape: [2], targets: targets.subarray(0, 300) })
    await expect(regression(data, { validation: one }).evaluate!(model, breathe)).rejects.toMatchObject({ code: 'ERR_SHAPE' })
  })
})

it('language: the share of tokens that are the top score', async () => {
  const text = Int32Array.from({ length: 120 }, (_, i) => [0, 1, 2, 1, 3][i % 5]!)
  const model = make(languageModel({ vocabulary: 8, width: 12, hidden: 12, layers: 1 }), 'language')
  const task = language(text, { window: 7, validation: text, validationColumns: 1 })
  const { model: trained, epochs } = await trainTask(model, task, { ...adam, epochs: 10, schedule: { kind: 'constant', lr: 0.05 } })
  const scores = scope(() => trained.forward(tensor(text.subarray(0, 119), [1, 119])).read()) as Float32Array
  const right = argmaxRows(scores, 8).filter((token, i) => token === text[i + 1]).length
  expect(right).toBeGreaterThan(60)
  expect(epochs.at(-1)!.metrics!.accuracy).toBe(right / 119)
  expect(await languageFigures(trained, text, { window: 50 })).toMatchObject({ accuracy: right / 119, tokens: 119 })
})

describe('decoding', () => {
  const pairs = Array.from(
    { length: 24 },
    (_, i) =>
      [
        [3 + (i % 2), 6],
        [3 + (i % 2), 6, 7, 3 + (i % 2)],
      ] as const,
  )
  const data = sequencePairs({ name: 'copy', pairs, begin: 1, end: 2, pad: 0 })
  const model = (): Model => make(seq2seq({ sourceVocabulary: 8, targetVocabulary: 8, width: 16, dropout: 0 }), 'tokens')

  it('BLEU rises to 100 and the error rate falls to 0 while it learns', async () => {
    const settings: TaskOptions = {
      ...adam,
      epochs: 40,
      schedule: { kind: 'constant', lr: 0.02 },
      metric: { name: 'bleu' },
      keepBest: true,
    }
    const { model: trained, epochs, best } = await trainTask(model(), tokens(data, { validation: data, decode: 'bleu' }), settings)
    expect(epochs[0]!.metrics!.bleu).toBeLessThan(60)
    expect(best!.value).toBeCloseTo(100, 9)
    const { cer } = await tokens(data, { validation: data, decode: 'cer' }).evaluate!(best!.model, breathe)
    expect(cer).toBe(0)
    expect(trained.info.history.at(-1)).toMatchObject({ settings: { metric: { name: 'bleu' } } })
  })

  it('what cannot be decoded is told before the first step', async () => {
    const lm = make(languageModel({ vocabulary: 8, width: 8, hidden: 8, layers: 1 }), 'tokens')
    await expect(trainTask(lm, tokens(data, { validation: data, decode: 'wer' }), adam)).rejects.toMatchObject({ code: 'ERR_OPTION' })
    expect(() => tokens(data, { decode: 'bleu' })).toThrow(/needs validation/)
    expect(() => tokens(data, { validation: data, decode: 'rouge' as 'bleu' })).toThrow(/must be bleu, cer or wer/)
  })
})

describe('metric', () => {
  const data = blobs(60)
  const scripted = (figures: readonly Record<string, number>[], more: Partial<TrainTask> = {}): TrainTask => {
    let at = 0
    return { ...(classification(data, { validation: data }) as TrainTask), evaluate: () => Promise.resolve(figures[at++]!), ...more }
  }
  const runs = [{ accuracy: 0.9, matthews: 0.1 }, { accuracy: 0.8, matthews: 0.3 }, { accuracy: 0.7 }, { accuracy: 0.6, matthews: 0.2 }]

  it.each([
    [undefined, 1],
    [{ name: 'matthews' }, 2],
    [{ name: 'matthews', mode: 'min' }, 1],
    [{ name: 'accuracy', mode: 'min' }, 4],
  ] as const)('%j decides which is best', async (metric, epoch) => {
    const { best } = await trainTask(mlp(), scripted(runs), { ...quick, keepBest: true, ...(metric ? { metric } : {}) })
    expect(best!.epoch).toBe(epoch)
  })

  it('and when to stop: an evaluation where it is not defined is not better', async () => {
    const { epochs, stopped } = await trainTask(mlp(), scripted([...runs, ...runs]), {
      ...quick,
      epochs: 8,
      metric: { name: 'matthews' },
      earlyStop: { patience: 2 },
    })
    expect([epochs.length, stopped]).toEqual([4, true])
  })

  it('refuses a figure that the task does not have, one without direction, and none at all', async () => {
    const run = (task: TrainTask, metric: TaskOptions['metric']): Promise<unknown> => trainTask(mlp(), task, { ...quick, metric })
    await expect(run(scripted(runs), { name: 'f2' })).rejects.toThrow(/accuracy, macroF1, matthews, got "f2"/)
    const { figures: _known, ...own } = scripted(runs)
    await expect(run(own, { name: 'matthews' })).rejects.toThrow(/give mode 'max' or 'min'/)
    await expect(run(own, { name: 'matthews', mode: 'max' })).resolves.toBeDefined()
    await expect(run(classification(data) as TrainTask, { name: 'accuracy' })).rejects.toThrow(/metric needs validation/)
    await expect(run(scripted(runs), { name: 'accuracy', mode: 'up' as 'max' })).rejects.toMatchObject({ code: 'ERR_OPTION' })
  })
})
