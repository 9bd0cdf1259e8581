/** Values against those of torch 1.13, stored by test/golden/make-torch-ops.py, which names the same calls. */
import { readFileSync } from 'node:fs'
import { describe, expect, it } from 'vitest'
import { sizeOf } from '../../ts/base/shape.js'
import * as ops from '../../ts/ops/index.js'
import { scope, tensor, type Tensor } from '../../ts/tensor/index.js'
import { numbers } from '../laws/cases.js'

/** Element i is sin(1.3 i + k). */
const wave = (k: number, ...shape: number[]): Tensor =>
  tensor(
    Float32Array.from({ length: sizeOf(shape) }, (_, i) => Math.sin(1.3 * i + k)),
    shape,
  )

const convolutions: Record<string, () => Tensor> = {
  'conv2d groups': () => ops.conv2d(wave(0, 2, 4, 5, 6), wave(1, 6, 2, 3, 2), wave(2, 6), { stride: [2, 1], padding: [1, 2], groups: 2 }),
  'conv2d depthwise same': () => ops.conv2d(wave(0, 1, 3, 6, 5), wave(1, 3, 1, 3, 4), null, { padding: 'same', groups: 3 }),
  'conv2d dilated': () =>
    ops.conv2d(wave(0, 1, 2, 7, 8), wave(1, 3, 2, 3, 2), wave(2, 3), {
      padding: [
        [1, 2],
        [3, 0],
      ],
      dilation: [2, 3],
    }),
  conv1d: () => ops.conv1d(wave(0, 2, 4, 9), wave(1, 4, 2, 3), wave(2, 4), { stride: 2, padding: 2, dilation: 2, groups: 2 }),
  'conv1d causal': () => ops.conv1d(wave(0, 1, 2, 6), wave(1, 2, 1, 3), null, { padding: 'causal', dilation: 2, groups: 2 }),
  convTranspose2d: () =>
    ops.convTranspose2d(wave(0, 2, 4, 3, 4), wave(1, 4, 3, 3, 2), wave(2, 6), {
      stride: [2, 3],
      padding: [1, 0],
      outputPadding: [1, 2],
      groups: 2,
    }),
  'convTranspose2d dilated': () => ops.convTranspose2d(wave(0, 1, 2, 3, 3), wave(1, 2, 2, 2, 3), null, { dilation: [2, 1] }),
  convTranspose1d: () => ops.convTranspose1d(wave(0, 1, 2, 5), wave(1, 2, 3, 4), wave(2, 3), { stride: 2, padding: 1 }),
}

const pools: Record<string, () => Tensor> = {
  maxPool2d: () => ops.maxPool2d(wave(0, 2, 2, 7, 6), [3, 2], { stride: [2, 3], padding: [1, 0], ceil: true }),
  avgPool2d: () => ops.avgPool2d(wave(0, 1, 2, 7, 6), 3, { stride: 2, padding: 1, ceil: true }),
  'avgPool2d over data only': () => ops.avgPool2d(wave(0, 1, 2, 7, 6), 3, { stride: 2, padding: 1, ceil: true, countPadding: false }),
  maxPool1d: () => ops.maxPool1d(wave(0, 2, 3, 8), 3, { stride: 2, padding: 1 }),
  avgPool1d: () => ops.avgPool1d(wave(0, 2, 3, 8), 3, { stride: 2, ceil: true }),
  adaptiveAvgPool2d: () => ops.adaptiveAvgPool2d(wave(0, 2, 2, 5, 7), [3, 4]),
  'adaptiveAvgPool2d to one': () => ops.adaptiveAvgPool2d(wave(0, 2, 2, 5, 7), 1),
  adaptiveMaxPool2d: () => ops.adaptiveMaxPool2d(wave(0, 2, 2, 5, 7), [3, 4]),
}

const ints = (...values: number[]): Tensor => tensor(Int32Array.from(values))
const list = (...values: number[]): Tensor => tensor(values)
const x34 = (times = 1): Tensor => ops.scaleShift(wave(0, 3, 4), 3 * times)
const y34 = (): Tensor => wave(2, 3, 4)
const labels = (): Tensor => ints(2, 0, 3)
const ignoring = (): Tensor => ints(2, 1, 3)
const classWeights = (): Tensor => list(0.5, 1, 2, 0.25)
const probabilities = (): Tensor => ops.softmax(wave(1, 3, 4))

const activations: Record<string, () => Tensor> = {
  leakyRelu: () => ops.leakyRelu(x34(), 0.1),
  elu: () => ops.elu(x34(), 0.7),
  selu: () => ops.selu(x34()),
  geluTanh: () => ops.geluTanh(x34()),
  silu: () => ops.silu(x34()),
  mish: () => ops.mish(x34()),
  hardSwish: () => ops.hardSwish(x34(2)),
  hardSigmoid: () => ops.hardSigmoid(x34(2)),
  softplus: () => ops.softplus(x34(), 2),
  softsign: () => ops.softsign(x34()),
  logSigmoid: () => ops.logSigmoid(x34()),
  relu6: () => ops.relu6(x34(4)),
  hardTanh: () => ops.hardTanh(x34(), -0.5, 2),
  prelu: () => ops.prelu(x34(), list(0.1, 0.2, 0.3, 0.4)),
  glu: () => ops.glu(x34()),
}

const norms: Record<string, () => Tensor> = {
  groupNorm: () => ops.groupNorm(wave(0, 2, 4, 3), 2, wave(1, 4), wave(2, 4), 1e-3),
  instanceNorm: () => ops.instanceNorm(wave(0, 2, 3, 5), null, null, 1e-3),
  batchNorm: () => ops.batchNorm(wave(0, 3, 2, 20), wave(1, 2), wave(2, 2), 1e-3).y,
  'batchNorm of rows': () => ops.batchNorm(wave(0, 5, 3), wave(1, 3), wave(2, 3), 1e-3).y,
  rmsNorm: () => ops.rmsNorm(x34(), wave(1, 4), 1e-3),
}

const losses: Record<string, () => Tensor> = {
  'crossEntropy with everything': () =>
    ops.crossEntropy(x34(), ignoring(), { classWeights: classWeights(), ignoreIndex: 1, labelSmoothing: 0.2 }),
  'crossEntropy weighted rows': () => ops.crossEntropy(x34(), labels(), { classWeights: classWeights(), reduction: 'none' }),
  'crossEntropy smoothed sum': () => ops.crossEntropy(x34(), ignoring(), { ignoreIndex: 1, labelSmoothing: 0.3, reduction: 'sum' }),
  softCrossEntropy: () => ops.softCrossEntropy(x34(), probabilities()),
  nllLoss: () => ops.nllLoss(ops.logSoftmax(x34()), ignoring(), { classWeights: classWeights(), ignoreIndex: 1 }),
  bceWithLogits: () => ops.bceWithLogits(x34(10), probabilities(), { positiveWeight: classWeights() }),
  klLoss: () => ops.klLoss(ops.logSoftmax(x34()), ops.relu(ops.scaleShift(probabilities(), 1, -0.2)), { reduction: 'none' }),
  'klLoss of logarithms': () => ops.klLoss(ops.logSoftmax(x34()), ops.log(probabilities()), { reduction: 'batchMean', logTarget: true }),
  mse: () => ops.mse(x34(), y34(), { reduction: 'sum' }),
  l1Loss: () => ops.l1Loss(x34(), y34()),
  huberLoss: () => ops.huberLoss(x34(), y34(), { delta: 0.7 }),
  smoothL1Loss: () => ops.smoothL1Loss(x34(), y34(), { beta: 0.7, reduction: 'none' }),
  cosineSimilarity: () => ops.cosineSimilarity(x34(), y34(), { axis: 0 }),
  cosineEmbeddingLoss: () => ops.cosineEmbeddingLoss(x34(), y34(), list(1, -1, 1), { margin: 0.1, reduction: 'none' }),
  marginRankingLoss: () => ops.marginRankingLoss(x34(), y34(), ops.sign(wave(5, 3, 4)), { margin: 0.5 }),
  tripletMarginLoss: () => ops.tripletMarginLoss(x34(), y34(), wave(3, 3, 4), { margin: 2 }),
}

const around = (top: number, bottom: number, left: number, right: number): [number, number][] => [
  [top, bottom],
  [left, right],
]
const shapes: Record<string, () => Tensor> = {
  reflect: () => ops.pad(wave(0, 1, 2, 4, 5), around(3, 0, 2, 1), { mode: 'reflect' }),
  replicate: () => ops.pad(wave(0, 1, 2, 4, 5), around(3, 4, 2, 1), { mode: 'replicate' }),
  constant: () => ops.pad(wave(0, 2, 3), around(0, 1, 2, 1), { value: 1.5 }),
  flip: () => ops.flip(wave(0, 2, 3, 2), [0, 2]),
  roll: () => ops.roll(wave(0, 2, 5), -7, 1),
  repeatInterleave: () => ops.repeatInterleave(wave(0, 2, 3), 2, 1),
  cumsum: () => ops.cumsum(wave(0, 3, 4, 2), 1),
  topK: () => ops.topK(wave(0, 3, 7), 3)[0],
  'topK positions': () => ops.topK(wave(0, 3, 7), 3, { axis: 0, largest: false })[1],
  sort: () => ops.sort(wave(0, 3, 7), { axis: 0, descending: true })[0],
  logSumExp: () => ops.logSumExp(ops.scaleShift(wave(0, 3, 4), 1000)),
  std: () => ops.std(wave(0, 3, 4), [1], { correction: 1 }),
  prod: () => ops.prod(wave(1, 3, 7), 1),
  argmin: () => ops.argmin(wave(0, 3, 4), 0),
  triu: () => ops.triu(wave(0, 2, 3, 4), 1),
  tril: () => ops.tril(wave(0, 4, 3), -1),
  'einsum of three': () => ops.einsum('bhtd,bhsd,bs->hts', wave(0, 2, 2, 3, 4), wave(1, 2, 2, 5, 4), wave(2, 2, 5)),
  'einsum transposed': () => ops.einsum('ijk,lj->lki', wave(0, 2, 3, 4), wave(1, 5, 3)),
  'einsum without an arrow': () => ops.einsum('ba,bc', wave(0, 2, 3), wave(1, 2, 4)),
  'einsum of one': () => ops.einsum('ijk->kj', wave(0, 2, 3, 4)),
  embeddingBag: () => ops.embeddingBag(wave(0, 5, 3), ints(1, 4, 2, 2, 0), ints(0, 0, 2, 2, 2), 3),
  power: () => ops.power(ops.scaleShift(ops.abs(wave(0, 2, 3)), 1, 0.1), -1.7),
}

const golden = JSON.parse(readFileSync(new URL('../golden/torch-ops.json', import.meta.url), 'utf8')) as Readonly<
  Record<string, { shape: number[]; values: (number | string)[] }>
>
const cases: Readonly<Record<string, () => Tensor>> = { ...convolutions, ...pools, ...activations, ...norms, ...losses, ...shapes }

it('covers what is stored', () => expect(Object.keys(cases).sort()).toEqual(Object.keys(golden).sort()))

describe.each(Object.entries(cases))('%s', (name, run) => {
  it('gives the values of torch', () =>
    scope(() => {
      const y = run()
      const want = golden[name]!
      expect(y.shape).toEqual(want.shape)
      numbers(y).forEach((v, i) => {
        const w = Number(want.values[i])
        if (Number.isFinite(w)) expect(Math.abs(v - w), `element ${i}: ${v}, torch ${w}`).toBeLessThan(2e-5 * (1 + Math.abs(w)))
        else expect(v).toBe(w)
      })
    }))
})
