/** The terms of distillation against numbers worked out by hand or by torch; which layers go with which. */
import { describe, expect, it } from 'vitest'
import { grad } from '../../ts/autograd/index.js'
import { Rng } from '../../ts/base/rng.js'
import { cosineTerm, flowTerm, hiddenTerm, patientTerm, placesTerm } from '../../ts/compress/train/distill/features.js'
import { layerMap, repeatedLayers } from '../../ts/compress/train/distill/layers.js'
import { distillationLoss, squaredTerm } from '../../ts/compress/train/distill/logits.js'
import { conventions, type ConventionName } from '../../ts/compress/train/distill/options.js'
import { relationTerm, scores, scoresTerm } from '../../ts/compress/train/distill/relations.js'
import { textClassifier } from '../../ts/models/transformer/heads.js'
import { build, freshValues, Model } from '../../ts/nn/index.js'
import { scope, tensor, type Tensor } from '../../ts/tensor/index.js'
import { code } from '../nn/lib.js'
import { convnet, mlp } from './toys.js'

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
