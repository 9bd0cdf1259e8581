/** Composites for layers and losses: derivatives of both orders, bad input, and properties that torch's values do not show. */
import { describe, expect, it } from 'vitest'
import { grad } from '../../ts/autograd/index.js'
import { memory } from '../../ts/native/devices.js'
import * as ops from '../../ts/ops/index.js'
import { ones, scope, tensor, zeros, type Tensor } from '../../ts/tensor/index.js'
import { numbers } from '../laws/cases.js'
import { checkFunction } from '../laws/gradcheck.js'
import { sampler } from '../laws/sampler.js'
import { code } from '../tensor/code.js'
import { close } from './close.js'

const ints = (...values: number[]): Tensor => tensor(Int32Array.from(values))
const labels = ints(2, 0, 1)
const bag = ints(0, 2, 0)

type Composite = (...xs: any[]) => Tensor
type Inputs = (s: ReturnType<typeof sampler>) => Tensor[]
const two: Inputs = (s) => [s.normal(2, 3), s.normal(2, 3)]
const list: Readonly<Record<string, readonly [Composite, Inputs]>> = {
  prelu: [(x, w) => ops.prelu(x, w), (s) => [s.away(2, 3), s.normal(3)]],
  glu: [(x) => ops.glu(x, 0), (s) => [s.normal(2, 3)]],
  swiglu: [(x) => ops.swiglu(x), (s) => [s.normal(2, 4)]],
  geglu: [(x) => ops.geglu(x), (s) => [s.normal(2, 4)]],
  highway: [(x, y, g) => ops.highway(x, y, g), (s) => [s.normal(2), s.normal(2), s.uniform([2], 0, 1)]],
  groupNorm: [(x, g, b) => ops.square(ops.groupNorm(x, 2, g, b, 0.1)), (s) => [s.normal(2, 4, 2), s.normal(4), s.normal(4)]],
  instanceNorm: [(x) => ops.square(ops.instanceNorm(x, null, null, 0.1)), (s) => [s.normal(2, 2, 3)]],
  lightweightConv: [(x, w) => ops.lightweightConv(x, w), (s) => [s.normal(1, 4, 4), s.normal(2, 3)]],
  dynamicConv: [(x, w) => ops.dynamicConv(x, w, { padding: 'causal' }), (s) => [s.normal(1, 3, 4), s.normal(1, 3, 2, 3)]],
  'crossEntropy with everything': [
    (x) => ops.crossEntropy(x, labels, { classWeights: tensor([1, 2, 0.5, 1]), ignoreIndex: 0, labelSmoothing: 0.1 }),
    (s) => [s.normal(3, 4)],
  ],
  nllLoss: [(x) => ops.nllLoss(x, labels), (s) => [s.normal(3, 4)]],
  bceWithLogits: [(x, t) => ops.bceWithLogits(x, t, { positiveWeight: tensor(new Float64Array([2])) }), two],
  klLoss: [(x, t) => ops.klLoss(x, t), (s) => [s.normal(2, 3), s.uniform([2, 3], 0.1, 1)]],
  'klLoss of logarithms': [(x, t) => ops.klLoss(x, t, { logTarget: true, reduction: 'batchMean' }), two],
  l1Loss: [(x, t) => ops.l1Loss(x, t), two],
  huberLoss: [(x, t) => ops.huberLoss(x, t, { delta: 0.5 }), two],
  smoothL1Loss: [(x, t) => ops.smoothL1Loss(x, t, { reduction: 'none' }), two],
  cosineSimilarity: [(a, b) => ops.cosineSimilarity(a, b), two],
  cosineEmbeddingLoss: [(a, b) => ops.cosineEmbeddingLoss(a, b, tensor(new Float64Array([1, -1])), { margin: -2 }), two],
  marginRankingLoss: [(a, b) => ops.marginRankingLoss(a, b, ones([2, 3], 'f64'), { margin: 1 }), two],
  tripletMarginLoss: [(a, b, c) => ops.tripletMarginLoss(a, b, c, { margin: 9 }), (s) => [...two(s), s.normal(2, 3)]],
  hingeLoss: [(x) => ops.hingeLoss(x, ones([2, 3], 'f64'), { reduction: 'sum' }), (s) => [s.uniform([2, 3], -1, 0.9)]],
  'pad reflect': [(x) => ops.pad(x, [[1, 2], [2, 0]], { mode: 'reflect' }), (s) => [s.normal(3, 3)]], // prettier-ignore
  'pad replicate': [(x) => ops.pad(x, [[1, 2]], { mode: 'replicate' }), (s) => [s.normal(2, 3)]],
  'pad constant': [(x) => ops.pad(x, [[1, 2]], { value: 3 }), (s) => [s.normal(2, 3)]],
  flip: [(x) => ops.flip(x, [0, 1]), (s) => [s.normal(2, 3)]],
  roll: [(x) => ops.roll(x, 4, -1), (s) => [s.normal(2, 3)]],
  repeatInterleave: [(x) => ops.repeatInterleave(x, 2), (s) => [s.normal(2, 2)]],
  indexSelect: [(x) => ops.indexSelect(x, labels, 1), (s) => [s.normal(2, 3)]],
  split: [(x) => ops.mul(...(ops.split(x, [1, 1], 0) as [Tensor, Tensor])), (s) => [s.normal(2, 3)]],
  'topK over axis 0': [(x) => ops.topK(x, 2, { axis: 0 })[0], (s) => [s.distinct(3, 2)]],
  sort: [(x) => ops.sort(x)[0], (s) => [s.distinct(2, 3)]],
  logSumExp: [(x) => ops.logSumExp(x, [1], true), (s) => [s.normal(2, 3)]],
  std: [(x) => ops.std(x, [0]), (s) => [s.normal(3, 2)]],
  prod: [(x) => ops.prod(x, 0), (s) => [s.normal(5, 2)]],
  'prod of all': [(x) => ops.prod(x), (s) => [s.normal(2, 3)]],
  triu: [(x) => ops.triu(x), (s) => [s.normal(3, 2)]],
  tril: [(x) => ops.tril(x, 1), (s) => [s.normal(2, 3)]],
  power: [(x, e) => ops.power(x, e), (s) => [s.uniform([3], 0.5, 2), s.normal(3)]],
  'einsum of two': [(a, b) => ops.einsum('ij,kj->ik', a, b), (s) => [s.normal(2, 3), s.normal(2, 3)]],
  'einsum of three': [(a, b, c) => ops.einsum('bi,bj,ij->b', a, b, c), (s) => [s.normal(2, 2), s.normal(2, 3), s.normal(2, 3)]],
  'embedding with padding': [(t) => ops.embedding(t, ints(1, 0), { paddingIndex: 2 }), (s) => [s.normal(3, 2)]],
  embeddingBag: [(t) => ops.embeddingBag(t, labels, bag, 3, { paddingIndex: 1 }), (s) => [s.normal(3, 2)]],
}

describe.each(Object.entries(list))('%s', (name, [f, inputs]) => {
  it('has right derivatives', () =>
    scope(() => {
      const mixed: Composite = (...xs) => f(...xs)
      checkFunction(name, mixed, inputs(sampler(31, 'f64')))
    }))

  it('leaves only its result, in f32', () => {
    const xs = inputs(sampler(32, 'f32')).map((t) => t)
    scope(() => {
      const before = memory().tensors
      let y: Tensor
      try {
        y = f(...xs)
      } catch (e) {
        // The constants of some entries are doubles.
        expect(e).toMatchObject({ code: 'ERR_DTYPE' })
        return
      }
      expect(y.dtype).toBe('f32')
      expect(memory().tensors).toBeLessThanOrEqual(before + 3)
    })
    for (const x of xs) x.dispose()
  })
})

describe('bad input', () => {
  const image = zeros([1, 4, 5, 5])
  it.each<[string, () => unknown, string]>([
    ['conv2d: groups', () => ops.conv2d(image, zeros([4, 2, 3, 3]), null, { groups: 4 }), 'ERR_SHAPE'],
    ['conv2d: NaN', () => ops.conv2d(image, zeros([4, 4, 3, 3]), null, { dilation: NaN }), 'ERR_OPTION'],
    ['conv2d: 2^32 + 1', () => ops.conv2d(image, zeros([4, 4, 3, 3]), null, { padding: 2 ** 32 + 1 }), 'ERR_OPTION'],
    ['conv2d: negative', () => ops.conv2d(image, zeros([4, 4, 3, 3]), null, { stride: -1 }), 'ERR_OPTION'],
    ['conv2d: word', () => ops.conv2d(image, zeros([4, 4, 3, 3]), null, { padding: 'valid' as never }), 'ERR_OPTION'],
    ['conv2d: rank', () => ops.conv2d(zeros([4, 5, 5]), zeros([4, 4, 3, 3])), 'ERR_SHAPE'],
    ['conv2d: half an element', () => ops.conv2d(image, zeros([4, 1, 3, 3]), null, { groups: 1.5 }), 'ERR_OPTION'],
    ['conv1d: padding', () => ops.conv1d(zeros([1, 2, 5]), zeros([2, 2, 3]), null, { padding: [1] as never }), 'ERR_OPTION'],
    ['conv1d: rank', () => ops.conv1d(image, zeros([2, 2, 3])), 'ERR_SHAPE'],
    ['convTranspose2d: channels', () => ops.convTranspose2d(image, zeros([3, 2, 2, 2])), 'ERR_SHAPE'],
    ['convTranspose2d: outputPadding', () => ops.convTranspose2d(image, zeros([4, 2, 2, 2]), null, { outputPadding: 1 }), 'ERR_OPTION'],
    ['convTranspose2d: bias', () => ops.convTranspose2d(image, zeros([4, 2, 2, 2]), zeros([3])), 'ERR_SHAPE'],
    ['convTranspose2d: nothing left', () => ops.convTranspose2d(image, zeros([4, 2, 1, 1]), null, { padding: 3 }), 'ERR_SHAPE'],
    ['maxPool2d: padding', () => ops.maxPool2d(image, 2, { padding: 2 }), 'ERR_OPTION'],
    ['maxPool1d: rank', () => ops.maxPool1d(image, 2), 'ERR_SHAPE'],
    ['adaptiveAvgPool2d: size', () => ops.adaptiveAvgPool2d(image, 0), 'ERR_OPTION'],
    ['adaptiveMaxPool2d: nothing', () => ops.adaptiveMaxPool2d(zeros([1, 1, 0, 2]), 1), 'ERR_SHAPE'],
    ['globalAvgPool: rank', () => ops.globalAvgPool(zeros([2, 2])), 'ERR_SHAPE'],
    ['softplus: beta', () => ops.softplus(image, 0), 'ERR_OPTION'],
    ['leakyRelu: NaN', () => ops.leakyRelu(image, NaN), 'ERR_OPTION'],
    ['glu: odd', () => ops.glu(image), 'ERR_SHAPE'],
    ['groupNorm: groups', () => ops.groupNorm(image, 3), 'ERR_OPTION'],
    ['groupNorm: gamma', () => ops.groupNorm(image, 2, zeros([3])), 'ERR_SHAPE'],
    ['groupNorm: nothing', () => ops.groupNorm(zeros([1, 2, 0]), 2), 'ERR_SHAPE'],
    ['instanceNorm: rank', () => ops.instanceNorm(zeros([2, 2])), 'ERR_SHAPE'],
    ['rmsNorm: gamma', () => ops.rmsNorm(image, zeros([4])), 'ERR_SHAPE'],
    ['crossEntropy: weights', () => ops.crossEntropy(zeros([3, 4]), labels, { classWeights: zeros([3]) }), 'ERR_SHAPE'],
    ['nllLoss: label', () => ops.nllLoss(zeros([3, 2]), labels), 'ERR_SHAPE'],
    ['nllLoss: reduction', () => ops.nllLoss(zeros([3, 4]), labels, { reduction: 'median' as never }), 'ERR_OPTION'],
    ['huberLoss: delta', () => ops.huberLoss(image, image, { delta: NaN }), 'ERR_OPTION'],
    ['smoothL1Loss: beta', () => ops.smoothL1Loss(image, image, { beta: -1 }), 'ERR_OPTION'],
    ['klLoss: shapes', () => ops.klLoss(image, zeros([2])), 'ERR_SHAPE'],
    ['klLoss: batchMean', () => ops.klLoss(zeros([0, 2]), zeros([0, 2]), { reduction: 'batchMean' }), 'ERR_SHAPE'],
    ['cosineEmbeddingLoss: labels', () => ops.cosineEmbeddingLoss(zeros([2, 3]), zeros([2, 3]), zeros([3])), 'ERR_SHAPE'],
    ['tripletMarginLoss: shapes', () => ops.tripletMarginLoss(zeros([2, 3]), zeros([2, 3]), zeros([3])), 'ERR_SHAPE'],
    ['split: sum', () => ops.split(image, [1, 1], 1), 'ERR_SHAPE'],
    ['split: size', () => ops.split(image, 0), 'ERR_OPTION'],
    ['flip: twice', () => ops.flip(image, [0, -4]), 'ERR_SHAPE'],
    ['roll: NaN', () => ops.roll(image, NaN), 'ERR_OPTION'],
    ['pad: too wide a mirror', () => ops.pad(tensor([1, 2]), [[2, 0]], { mode: 'reflect' }), 'ERR_OPTION'],
    ['pad: edge of nothing', () => ops.pad(zeros([0]), [[1, 0]], { mode: 'replicate' }), 'ERR_OPTION'],
    ['pad: too many', () => ops.pad(tensor([1, 2]), [[1, 0], [1, 0]]), 'ERR_SHAPE'], // prettier-ignore
    ['pad: 2^32 + 1', () => ops.pad(tensor([1, 2]), [[2 ** 32 + 1, 0]]), 'ERR_OPTION'],
    ['indexSelect: out of range', () => ops.indexSelect(tensor([1, 2]), labels), 'ERR_SHAPE'],
    ['squeeze', () => ops.squeeze(image, 1), 'ERR_SHAPE'],
    ['triu: rank', () => ops.triu(tensor([1])), 'ERR_SHAPE'],
    ['topK: k', () => ops.topK(image, 6), 'ERR_OPTION'],
    ['cumsum: axis', () => ops.cumsum(image, 4), 'ERR_SHAPE'],
    ['argmin: scalar', () => ops.argmin(tensor(1)), 'ERR_SHAPE'],
    ['einsum: operands', () => ops.einsum('ij,jk->ik', image), 'ERR_OPTION'],
    ['einsum: rank', () => ops.einsum('ij->i', image), 'ERR_SHAPE'],
    ['einsum: sizes', () => ops.einsum('ij,jk', zeros([2, 3]), zeros([2, 3])), 'ERR_SHAPE'],
    ['einsum: diagonal', () => ops.einsum('ii->i', zeros([2, 2])), 'ERR_OPTION'],
    ['einsum: unknown letter', () => ops.einsum('ij->k', zeros([2, 2])), 'ERR_OPTION'],
    ['einsum: ellipsis', () => ops.einsum('...i->i', zeros([2, 2])), 'ERR_OPTION'],
    ['einsum: two arrows', () => ops.einsum('i->i->i', zeros([2])), 'ERR_OPTION'],
    ['embedding: paddingIndex', () => ops.embedding(zeros([2, 2]), ints(0), { paddingIndex: 2 }), 'ERR_OPTION'],
    ['embeddingBag: bag', () => ops.embeddingBag(zeros([3, 2]), labels, ints(0, 1, 3), 3), 'ERR_SHAPE'],
    ['lightweightConv: heads', () => ops.lightweightConv(zeros([1, 2, 3]), zeros([2, 3])), 'ERR_SHAPE'],
    ['dynamicConv: times', () => ops.dynamicConv(zeros([1, 2, 4]), zeros([1, 3, 2, 3])), 'ERR_SHAPE'],
  ])('%s', (_, run, want) => scope(() => expect(run).toThrowError(code(want as never))))
})

describe('properties', () => {
  const run = (name: string, f: () => void): void => it(name, () => scope(f))

  run('dynamicConv with one kernel everywhere is lightweightConv', () => {
    const s = sampler(41, 'f32')
    const x = s.normal(2, 5, 6)
    const kernel = s.normal(3, 4)
    const everywhere = ops.broadcastTo(kernel, [2, 5, 3, 4])
    for (const padding of ['same', 'causal'] as const)
      close(ops.dynamicConv(x, everywhere, { padding }), numbers(ops.lightweightConv(x, kernel, { padding })))
  })

  run('convTranspose2d is the adjoint of conv2d', () => {
    const s = sampler(42, 'f64')
    const options = { stride: [2, 1], padding: 1, dilation: [1, 2], groups: 2 } as const
    const [x, w] = [s.normal(2, 4, 6, 7), s.normal(6, 2, 3, 2)]
    const y = ops.conv2d(x, w, null, options)
    const u = s.normal(...y.shape)
    const back = ops.convTranspose2d(u, w, null, { ...options, outputPadding: [1, 0] })
    expect(back.shape).toEqual(x.shape)
    expect(ops.dot(back, x).item()).toBeCloseTo(ops.dot(u, y).item(), 10)
  })

  run('prod has a gradient at zeros', () => {
    const x = tensor([2, 0, 3])
    expect(grad(() => ops.prod(x), x).toArray()).toEqual([0, 6, 0])
  })

  run('embedding leaves the padding row alone', () => {
    const table = tensor([[1], [2], [3]])
    const [index] = [ints(1, 2, 1)]
    expect(ops.embedding(table, index, { paddingIndex: 1 }).toArray()).toEqual([[2], [3], [2]])
    expect(grad(() => ops.sum(ops.embedding(table, index, { paddingIndex: 1 })), table).toArray()).toEqual([[0], [0], [1]])
  })

  run('signSte passes the gradient inside [-1, 1]', () => {
    const x = tensor([-2, -1, -0.5, 0, 0.5, 1, 2])
    expect(ops.signSte(x).toArray()).toEqual([-1, -1, -1, 1, 1, 1, 1])
    expect(grad(() => ops.sum(ops.signSte(x)), x).toArray()).toEqual([0, 1, 1, 1, 1, 1, 0])
  })

  run('where keeps NaN of what is not chosen out of value and gradient', () => {
    const x = tensor([-1, 4])
    const root = (): Tensor => ops.sum(ops.where(ops.step(x), ops.sqrt(ops.where(ops.step(x), x, tensor(1))), tensor(0)))
    expect(root().item()).toBe(2)
    expect(grad(root, x).toArray()).toEqual([0, 0.25])
  })

  run('comparisons and logic', () => {
    const [a, b] = [tensor([1, 2, 3, NaN]), tensor([2, 2, 2, 2])]
    expect(ops.less(a, b).toArray()).toEqual([1, 0, 0, 0])
    expect(ops.lessEqual(a, b).toArray()).toEqual([1, 1, 0, 0])
    expect(ops.greaterEqual(a, b).toArray()).toEqual([0, 1, 1, 0])
    expect(ops.notEqual(a, b).toArray()).toEqual([1, 0, 1, 1])
    const [c, d] = [tensor([0, 0, 5, NaN]), tensor([0, 2, 2, 0])]
    expect(ops.logicalAnd(c, d).toArray()).toEqual([0, 0, 1, 0])
    expect(ops.logicalOr(c, d).toArray()).toEqual([0, 1, 1, 1])
    expect(ops.logicalNot(c).toArray()).toEqual([1, 1, 0, 0])
  })

  run('logSumExp of infinities', () => {
    expect(ops.logSumExp(tensor([-Infinity, -Infinity])).item()).toBe(-Infinity)
    expect(ops.logSumExp(tensor([1, Infinity])).item()).toBe(Infinity)
    expect(grad(() => ops.logSumExp(x2), x2).toArray()).toEqual([0.5, 0.5])
  })
  const x2 = tensor([1000, 1000])

  run('klLoss where the target is 0', () => {
    const x = tensor([-1, -2])
    const t = tensor([0, 1])
    expect(ops.klLoss(x, t, { reduction: 'none' }).toArray()).toEqual([0, 2])
    expect(grad(() => ops.klLoss(x, t, { reduction: 'sum' }), t).toArray()).toEqual([0, 3])
  })

  run('crossEntropy when everything is ignored', () => {
    const rows = ints(1, 1)
    expect(ops.crossEntropy(zeros([2, 3]), rows, { ignoreIndex: 1, classWeights: tensor([1, 2, 3]) }).item()).toBe(0)
  })

  run('adaptive pooling to the size that is there changes nothing', () => {
    const x = sampler(43, 'f32').normal(1, 2, 3, 5)
    expect(numbers(ops.adaptiveAvgPool2d(x, [3, 5]))).toEqual(numbers(x))
    expect(numbers(ops.adaptiveMaxPool2d(x, [3, 5]))).toEqual(numbers(x))
  })
})
