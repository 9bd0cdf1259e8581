/** Classification, regression, language and recognition figures against scikit-learn, SciPy and sacrebleu (test/golden/make-metrics.py). */
import fs from 'node:fs'
import path from 'node:path'
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import * as metrics from '../../ts/analyze/metrics/index.js'
import { errorOf } from '../formats/lib.js'

interface Golden {
  classification: {
    classes: number
    labels: number[]
    predictions: number[]
    accuracy: number
    matthews: number
    macro: number[]
    micro: number[]
    weighted: number[]
    each: number[][]
  }[]
  regression: { p: number[]; t: number[]; mse: number; mae: number; r2: number; pearson: number; spearman: number }[]
  bleu: {
    hypotheses: string[]
    references: string[][]
    options: {
      smooth_method?: 'none' | 'exp' | 'floor' | 'add-k'
      smooth_value?: number
      effective_order?: boolean
      max_ngram_order?: number
    }
    score: number
    precisions: number[]
    bp: number
    sys: number
    ref: number
  }[]
}
const golden = JSON.parse(fs.readFileSync(path.join(import.meta.dirname, '..', 'golden', 'metrics.json'), 'utf8')) as Golden
const near = (a: readonly number[], b: readonly number[], digits = 12): void => {
  expect(a.length).toBe(b.length)
  a.forEach((v, i) => expect(v).toBeCloseTo(b[i]!, digits))
}
const triple = (f: { precision: number; recall: number; f1: number }): number[] => [f.precision, f.recall, f.f1]

describe('classification', () => {
  test.each(golden.classification.map((g, i) => [i, g] as const))('scikit-learn, case %i', (_, g) => {
    const m = new metrics.ConfusionMatrix(g.classes)
    for (let i = 0; i < g.labels.length; i += 7) m.update(g.predictions.slice(i, i + 7), g.labels.slice(i, i + 7))
    const r = m.result()
    expect(r.count).toBe(g.labels.length)
    expect(r.accuracy).toBeCloseTo(g.accuracy, 12)
    expect(r.matthews).toBeCloseTo(g.matthews, 12)
    near(triple(r.macro), g.macro)
    near(triple(r.micro), g.micro)
    near(triple(r.weighted), g.weighted)
    const [precision, recall, f1, support] = g.each as [number[], number[], number[], number[]]
    near(
      r.classes.map((c) => c.precision),
      precision,
    )
    near(
      r.classes.map((c) => c.recall),
      recall,
    )
    near(
      r.classes.map((c) => c.f1),
      f1,
    )
    near(
      r.classes.map((c) => c.support),
      support,
    )
    if (g.classes === 2) expect(m.f1()).toBeCloseTo(f1[1]!, 12)
  })

  test('rows are true labels', () => {
    const m = new metrics.ConfusionMatrix(2)
    m.update([1, 1, 0], [0, 0, 1])
    expect(m.counts()).toEqual([
      [0, 2],
      [1, 0],
    ])
    expect(m.result().matthews).toBe(-1)
  })

  test('refuses what it cannot count, and counts nothing of it', () => {
    const m = new metrics.ConfusionMatrix(2)
    expect(errorOf(() => m.result()).code).toBe('ERR_DATA')
    expect(errorOf(() => m.update([0], [0, 1])).code).toBe('ERR_SHAPE')
    for (const bad of [2, -1, 0.5, NaN]) expect(errorOf(() => m.update([0, bad], [0, 0])).code).toBe('ERR_DATA')
    expect(errorOf(() => m.update([0, 0], [0, 2])).code).toBe('ERR_DATA')
    expect(m.count).toBe(0)
    expect(errorOf(() => new metrics.ConfusionMatrix(0)).code).toBe('ERR_OPTION')
  })
})

describe('regression', () => {
  test.each(golden.regression.map((g, i) => [i, g] as const))('SciPy and scikit-learn, case %i', (i, g) => {
    const m = new metrics.Regression()
    for (let k = 0; k < g.p.length; k += 9) m.update(g.p.slice(k, k + 9), g.t.slice(k, k + 9))
    const r = m.result()
    const digits = i === 2 ? 6 : 12 // the numbers of case 2 are known to 1e-8 only
    near([r.mse, r.mae, r.r2, r.pearson], [g.mse, g.mae, g.r2, g.pearson], digits)
    expect(metrics.spearman(g.p, g.t)).toBeCloseTo(g.spearman, 12)
    expect(metrics.pearson(g.p, g.t)).toBe(r.pearson)
  })

  test('ties share their mean rank', () => expect([...metrics.ranks([3, 1, 3, 2, 3])]).toEqual([4, 1, 4, 2, 4]))

  test('a constant has no correlation, constant targets no R2: NaN', () => {
    expect(metrics.pearson([0.1, 0.1, 0.1], [1, 2, 3])).toBeNaN()
    expect(metrics.spearman([1, 2, 3], [7, 7, 7])).toBeNaN()
    const m = new metrics.Regression()
    m.update([1, 2], [5, 5])
    expect(m.result()).toMatchObject({ r2: NaN, pearson: NaN, mse: 12.5, mae: 3.5 })
  })

  test('refuses NaN, infinity, unequal lengths and nothing', () => {
    const m = new metrics.Regression()
    expect(errorOf(() => m.result()).code).toBe('ERR_DATA')
    expect(errorOf(() => m.update([1, NaN], [1, 1])).code).toBe('ERR_NUMERIC')
    expect(errorOf(() => m.update([1], [Infinity])).code).toBe('ERR_NUMERIC')
    expect(errorOf(() => m.update([1], [])).code).toBe('ERR_SHAPE')
    expect(errorOf(() => metrics.spearman([], [])).code).toBe('ERR_DATA')
    expect(m.count).toBe(0)
  })
})

test('perplexity is of the corpus, not a mean over batches', () => {
  const p = new metrics.Perplexity()
  p.update(2, 30)
  p.update(NaN, 0)
  p.update(4, 10)
  expect(p.result()).toEqual({ tokens: 40, loss: 2.5, perplexity: Math.exp(2.5), bits: 2.5 / Math.LN2 })
  const many = new metrics.Perplexity()
  many.update(1e9, 1)
  for (let i = 0; i < 1000; i++) many.update(1e-8, 1)
  expect(many.result().loss * 1001 - 1e9).toBeCloseTo(1e-5, 6) // a plain sum loses all of the small ones
  expect(errorOf(() => new metrics.Perplexity().result()).code).toBe('ERR_DATA')
  expect(errorOf(() => p.update(NaN, 1)).code).toBe('ERR_NUMERIC')
  expect(errorOf(() => p.update(1, -1)).code).toBe('ERR_OPTION')
})

describe('BLEU', () => {
  test.each(golden.bleu.map((g, i) => [i, g] as const))('sacrebleu, case %i', (_, g) => {
    const { smooth_method, smooth_value, effective_order, max_ngram_order } = g.options
    const b = new metrics.Bleu({
      ...(smooth_method ? { smoothing: smooth_method } : {}),
      ...(smooth_value ? { value: smooth_value } : {}),
      ...(effective_order ? { effectiveOrder: true } : {}),
      ...(max_ngram_order ? { order: max_ngram_order } : {}),
    })
    g.hypotheses.forEach((h, i) =>
      b.update(
        h.split(' '),
        g.references.map((r) => r[i]!.split(' ')),
      ),
    )
    const r = b.result()
    expect(r.score).toBeCloseTo(g.score, 9)
    near(r.precisions, g.precisions, 9)
    expect([r.brevityPenalty, r.hypothesisLength, r.referenceLength]).toEqual([expect.closeTo(g.bp, 12), g.sys, g.ref])
  })

  test('ids and words give the same; an n-gram is never mistaken for another', () => {
    const score = (h: metrics.Tokens, r: metrics.Tokens): number => {
      const b = new metrics.Bleu({ order: 2 })
      b.update(h, [r])
      return b.result().score
    }
    expect(score([1, 2, 3], [1, 2, 4])).toBe(score(['a', 'b', 'c'], ['a', 'b', 'd']))
    expect(score(['a,b', 'c'], ['a', 'b,c'])).toBe(0)
    expect(score([1], ['1'])).toBe(0)
  })

  test('bad input', () => {
    const b = new metrics.Bleu()
    expect(errorOf(() => b.result()).code).toBe('ERR_DATA')
    expect(errorOf(() => b.update(['a'], [])).code).toBe('ERR_DATA')
    for (const bad of [{ order: 0 }, { smoothing: 'more' as 'none' }, { value: NaN }])
      expect(errorOf(() => new metrics.Bleu(bad)).code).toBe('ERR_OPTION')
    b.update([], [['a']])
    expect(b.result().score).toBe(0)
  })
})

describe('error rates', () => {
  /** The definition, without dynamic programming. */
  const plain = (a: string, b: string): number =>
    a === '' || b === ''
      ? Math.max(a.length, b.length)
      : Math.min(plain(a.slice(1), b) + 1, plain(a, b.slice(1)) + 1, plain(a.slice(1), b.slice(1)) + (a[0] === b[0] ? 0 : 1))

  test('the distance is the one of the definition', () => {
    const text = fc.string({ unit: fc.constantFrom('a', 'b', 'c'), maxLength: 5 })
    fc.assert(
      fc.property(text, text, (a, b) => metrics.editDistance(a, b) === plain(a, b)),
      { numRuns: 60 },
    )
    expect(metrics.editDistance('kitten', 'sitting')).toBe(3)
  })

  test('CER and WER over a corpus', () => {
    const cer = new metrics.ErrorRate('character')
    cer.update('helo wörld', 'hello wörld')
    cer.update('😀', '😀!')
    expect(cer.result()).toEqual({ rate: 2 / 13, edits: 2, tokens: 13 })
    const wer = new metrics.ErrorRate('word')
    wer.update('the  cat sat', 'the cat sat down')
    wer.update('a b c d', 'a')
    expect(wer.result()).toEqual({ rate: 4 / 5, edits: 4, tokens: 5 })
    expect(errorOf(() => new metrics.ErrorRate('word').result()).code).toBe('ERR_DATA')
  })
})
