/** Modules that wrap one op: they give what the op gives on their weights, keep their shapes through a spec, and refuse bad configurations. */
import { describe, expect, it } from 'vitest'
import { Rng } from '../../ts/base/rng.js'
import * as nn from '../../ts/nn/index.js'
import * as ops from '../../ts/ops/index.js'
import { scope, type Tensor } from '../../ts/tensor/index.js'
import { code, floats, leavesNothing, normal } from './lib.js'

const modelOf = (spec: nn.ModuleSpec): nn.Model =>
  new nn.Model(nn.build(spec, nn.freshValues(Rng.of(3))), { name: 't', task: 'embedding', history: [] })

type W = (name: string) => Tensor
interface Case {
  readonly spec: nn.ModuleSpec
  readonly input: readonly number[]
  readonly want: (x: Tensor, w: W) => Tensor
  readonly weights: Readonly<Record<string, readonly number[]>>
}

const convolution = { in: 4, out: 6, kernel: [3, 2], stride: [2, 1], dilation: [1, 2], groups: 2 } as const
const list: Readonly<Record<string, Case>> = {
  'conv2d, grouped': {
    spec: nn.conv2d({ ...convolution, kernel: [3, 2], stride: [2, 1], dilation: [1, 2], padding: 'same' }),
    input: [2, 4, 5, 6],
    want: (x, w) => ops.conv2d(x, w('weight'), w('bias'), { stride: [2, 1], dilation: [1, 2], padding: 'same', groups: 2 }),
    weights: { weight: [6, 2, 3, 2], bias: [6] },
  },
  'conv1d, causal': {
    spec: nn.conv1d({ in: 4, out: 4, kernel: 3, padding: 'causal', groups: 4, bias: false }),
    input: [2, 4, 7],
    want: (x, w) => ops.conv1d(x, w('weight'), null, { padding: 'causal', groups: 4 }),
    weights: { weight: [4, 1, 3] },
  },
  convTranspose2d: {
    spec: nn.convTranspose2d({ in: 4, out: 6, kernel: [4, 4], stride: [2, 2], padding: [1, 1], groups: 2 }),
    input: [1, 4, 3, 3],
    want: (x, w) => ops.convTranspose2d(x, w('weight'), w('bias'), { stride: 2, padding: 1, groups: 2 }),
    weights: { weight: [4, 3, 4, 4], bias: [6] },
  },
  'maxPool2d, padded': {
    spec: nn.maxPool2d({ kernel: [3, 3], stride: [2, 2], padding: [1, 1], ceil: true }),
    input: [1, 2, 6, 6],
    want: (x) => ops.maxPool2d(x, 3, { stride: 2, padding: 1, ceil: true }),
    weights: {},
  },
  'avgPool2d, over data only': {
    spec: nn.avgPool2d({ kernel: [3, 3], stride: [2, 2], padding: [1, 1], countPadding: false }),
    input: [1, 2, 6, 6],
    want: (x) => ops.avgPool2d(x, 3, { stride: 2, padding: 1, countPadding: false }),
    weights: {},
  },
  maxPool1d: {
    spec: nn.maxPool1d({ kernel: 2, stride: 2 }),
    input: [1, 2, 6],
    want: (x) => ops.maxPool1d(x, 2),
    weights: {},
  },
  avgPool1d: {
    spec: nn.avgPool1d({ kernel: 3, stride: 1, padding: 1 }),
    input: [1, 2, 6],
    want: (x) => ops.avgPool1d(x, 3, { stride: 1, padding: 1 }),
    weights: {},
  },
  adaptiveAvgPool2d: {
    spec: nn.adaptiveAvgPool2d({ size: [2, 3] }),
    input: [1, 2, 5, 7],
    want: (x) => ops.adaptiveAvgPool2d(x, [2, 3]),
    weights: {},
  },
  adaptiveMaxPool2d: {
    spec: nn.adaptiveMaxPool2d({ size: [2, 3] }),
    input: [1, 2, 5, 7],
    want: (x) => ops.adaptiveMaxPool2d(x, [2, 3]),
    weights: {},
  },
  globalAvgPool: { spec: nn.globalAvgPool({}), input: [2, 3, 4, 5], want: (x) => ops.globalAvgPool(x), weights: {} },
  leakyRelu: { spec: nn.leakyRelu({ slope: 0.2 }), input: [2, 3], want: (x) => ops.leakyRelu(x, 0.2), weights: {} },
  prelu: {
    spec: nn.prelu({ channels: 3 }),
    input: [2, 3, 4],
    want: (x, w) => ops.prelu(x, ops.reshape(w('weight'), [3, 1])),
    weights: { weight: [3] },
  },
  'prelu with one slope': { spec: nn.prelu({ channels: 1 }), input: [2, 3], want: (x) => ops.leakyRelu(x, 0.25), weights: { weight: [1] } },
  gate: { spec: nn.gate({ function: 'swiglu' }), input: [2, 6], want: (x) => ops.swiglu(x), weights: {} },
  rmsNorm: { spec: nn.rmsNorm({ width: 5 }), input: [2, 5], want: (x, w) => ops.rmsNorm(x, w('gamma')), weights: { gamma: [5] } },
  groupNorm: {
    spec: nn.groupNorm({ channels: 4, groups: 2 }),
    input: [2, 4, 3],
    want: (x, w) => ops.groupNorm(x, 2, w('gamma'), w('beta')),
    weights: { gamma: [4], beta: [4] },
  },
  instanceNorm: { spec: nn.instanceNorm({ channels: 4 }), input: [2, 4, 3], want: (x) => ops.instanceNorm(x), weights: {} },
  lightweightConv: {
    spec: nn.lightweightConv({ width: 6, heads: 2, kernel: 3, projections: false }),
    input: [2, 5, 6],
    want: (x, w) => ops.lightweightConv(x, w('weight')),
    weights: { weight: [2, 3] },
  },
  'lightweightConv with projections': {
    spec: nn.lightweightConv({ width: 6, heads: 2, kernel: 3, padding: 'causal' }),
    input: [2, 5, 6],
    want: (x, w) => {
      const inner = ops.glu(ops.linear(x, w('in.weight'), w('in.bias')))
      return ops.linear(ops.lightweightConv(inner, w('weight'), { padding: 'causal' }), w('out.weight'), w('out.bias'))
    },
    weights: { weight: [2, 3], 'in.weight': [12, 6], 'in.bias': [12], 'out.weight': [6, 6], 'out.bias': [6] },
  },
  dynamicConv: {
    spec: nn.dynamicConv({ width: 4, heads: 2, kernel: 3, projections: false }),
    input: [1, 5, 4],
    want: (x, w) => ops.dynamicConv(x, ops.reshape(ops.linear(x, w('kernels.weight'), w('kernels.bias')), [1, 5, 2, 3])),
    weights: { 'kernels.weight': [6, 4], 'kernels.bias': [6] },
  },
  highway: {
    spec: nn.highway({ width: 3, activation: 'tanh' }),
    input: [2, 3],
    want: (x, w) =>
      ops.highway(
        x,
        ops.tanh(ops.linear(x, w('transform.weight'), w('transform.bias'))),
        ops.sigmoid(ops.linear(x, w('gate.weight'), w('gateBias'))),
      ),
    weights: { gateBias: [3], 'transform.weight': [3, 3], 'transform.bias': [3], 'gate.weight': [3, 3] },
  },
}

describe.each(Object.entries(list))('%s', (_, { spec, input, want, weights }) => {
  it('gives what its op gives', () => {
    leavesNothing(() => {
      const m = modelOf(spec)
      const values = new Map(m.weights().map(({ path, weight }) => [path, weight.dense()]))
      expect(Object.fromEntries([...values].map(([path, t]) => [path, [...t.shape]]))).toEqual(weights)
      scope(() => {
        const x = normal([...input], 4)
        expect(floats(m.forward(x))).toEqual(floats(want(x, (name) => values.get(name)!)))
      })
      const again = modelOf(m.spec())
      expect(again.spec()).toEqual(m.spec())
      again.dispose()
      m.dispose()
    })
  })
})

it('every activation by name', () =>
  scope(() => {
    const x = normal([2, 5], 5)
    for (const name of nn.activationNames) {
      const m = modelOf(nn.activation({ function: name }))
      expect(floats(m.forward(x)), name).toEqual(floats(ops[name](x)))
    }
  }))

it('a frozen batch norm uses its running statistics in training and leaves them alone', () => {
  const m = modelOf(nn.batchNorm({ channels: 3, frozen: true }))
  scope(() => {
    const x = normal([4, 3], 6)
    const stateUpdates = new Map<string, Tensor>()
    const trained = m.forward(x, { training: true, seed: 1, step: 0, stateUpdates })
    expect(stateUpdates.size).toBe(0)
    expect(floats(trained)).toEqual(floats(m.forward(x)))
  })
  m.dispose()
})

it.each<[string, () => unknown]>([
  ['groups that do not divide', () => nn.conv2d({ in: 4, out: 6, kernel: [1, 1], groups: 4 })],
  ['negative padding', () => nn.conv1d({ in: 1, out: 1, kernel: 3, padding: -1 })],
  ['an unknown word', () => nn.conv2d({ in: 1, out: 1, kernel: [3, 3], padding: 'valid' as never })],
  ['2^32 + 1', () => nn.conv2d({ in: 1, out: 1, kernel: [3, 3], stride: [2 ** 32 + 1, 1] })],
  ['NaN', () => nn.leakyRelu({ slope: NaN })],
  ['norm groups', () => nn.groupNorm({ channels: 4, groups: 3 })],
  ['heads', () => nn.lightweightConv({ width: 4, heads: 3, kernel: 3 })],
])('refuses %s', (_, make) => expect(make).toThrowError(code('ERR_OPTION')))
