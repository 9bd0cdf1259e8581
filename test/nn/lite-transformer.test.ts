/** Lite Transformer blocks and the attention of recurrent decoders. */
import { describe, expect, it } from 'vitest'
import { grad, sum } from '../../ts/autograd/index.js'
import { Rng } from '../../ts/base/rng.js'
import {
  attention,
  build,
  dynamicConv,
  freshValues,
  lightweightConv,
  liteDecoderBlock,
  liteEncoderBlock,
  lsra,
  Model,
  parameterCount,
  sequenceAttention,
} from '../../ts/nn/index.js'
import { concat, mul, slice } from '../../ts/ops/index.js'
import { scope, tensor, type Tensor } from '../../ts/tensor/index.js'
import { numbers } from '../laws/cases.js'
import { code, normal } from './lib.js'

const made = (spec: Parameters<typeof build>[0]): Model =>
  new Model(build(spec, freshValues(Rng.of(3))), { name: 'block', task: 'embedding', history: [] })
const close = (a: Tensor, b: Tensor): void => {
  const want = numbers(b)
  numbers(a).forEach((v, i) => expect(v).toBeCloseTo(want[i]!, 5))
}

describe('lsra', () => {
  it.each(['lightweight', 'dynamic'] as const)('is attention beside a %s convolution', (conv) => {
    const model = made(lsra({ width: 8, heads: 2, kernel: 3, conv }))
    const half = { width: 4, heads: 2, kernel: 3 }
    scope(() => {
      const x = normal([2, 5, 8], 4)
      const parts = [attention({ in: 4, width: 4, out: 4, heads: 2 }), conv === 'dynamic' ? dynamicConv(half) : lightweightConv(half)].map(
        (spec, i) => {
          const child = model.root.children[i === 0 ? 'attention' : 'conv']!
          expect(child.kind).toBe(spec.kind)
          return new Model(child, model.info).forward(slice(x, [0, 0, 4 * i], [2, 5, 4]))
        },
      )
      close(model.forward(x), concat(parts, 2))
    })
    model.dispose()
  })

  it('costs half of what attention over all channels does', () => {
    // Four products over width / 2 and three around the convolution against four over width: 7/4 w^2 for 4 w^2.
    const all = parameterCount(attention({ in: 64, width: 64, out: 64, heads: 4 }))
    expect(parameterCount(lsra({ width: 64, heads: 4, kernel: 7 }))).toBeLessThan(0.5 * all)
  })

  it('refuses channels that do not halve', () => {
    expect(() => lsra({ width: 7, heads: 1 })).toThrowError(code('ERR_OPTION', /width \/ 2/))
    expect(() => liteEncoderBlock({ width: 8, heads: 3, hidden: 8 })).toThrowError(code('ERR_OPTION', /width \/ 2/))
  })
})

describe.each(['pre', 'post'] as const)('lite blocks, norm %s', (norm) => {
  it('encoder: what stands behind padding changes nothing', () => {
    const model = made(liteEncoderBlock({ width: 8, heads: 2, hidden: 8, kernel: 3, conv: 'dynamic', norm }))
    scope(() => {
      const mask = tensor([[1, 1, 1, 0, 0]])
      const [x, other] = [normal([1, 3, 8], 1), normal([1, 2, 8], 2)]
      const run = (tail: Tensor): Tensor => slice(model.forward({ x: concat([x, tail], 1), mask }), [0, 0, 0], [1, 3, 8])
      close(run(other), run(mul(other, tensor(5))))
    })
    model.dispose()
  })

  it('decoder: a place depends on the memory and on the past only, and every weight has a gradient', () => {
    const model = made(liteDecoderBlock({ width: 8, memory: 6, heads: 2, hidden: 16, kernel: 3, norm }))
    scope(() => {
      const [x, memory, memoryMask] = [
        normal([2, 4, 8], 1),
        normal([2, 3, 6], 2),
        tensor([
          [1, 1, 0],
          [1, 1, 1],
        ]),
      ]
      const whole = model.forward({ x, memory, memoryMask })
      const start = model.forward({ x: slice(x, [0, 0, 0], [2, 2, 8]), memory, memoryMask })
      close(slice(whole, [0, 0, 0], [2, 2, 8]), start)
      const leaves = [...model.leaves().entries()]
      const weights = normal([2, 4, 8], 9)
      const grads = grad(
        () => sum(mul(model.forward({ x, memory, memoryMask }), weights), [], false),
        leaves.map(([, l]) => l.value),
      )
      // A bias of the keys shifts all scores alike.
      leaves.forEach(([path], i) => {
        const most = Math.max(...numbers(grads[i]!).map(Math.abs))
        if (!path.endsWith('key.bias')) expect(most, path).toBeGreaterThan(1e-6)
      })
    })
    model.dispose()
  })
})

describe('sequenceAttention', () => {
  it('bahdanau: v . tanh(W q + U k + b), softmax, mean of the memory', () => {
    const model = made(sequenceAttention({ query: 2, memory: 3, width: 4 }))
    scope(() => {
      const [x, memory] = [normal([1, 2, 2], 1), normal([1, 3, 3], 2)]
      const y = numbers(model.forward({ x, memory, mask: tensor([[1, 0, 1]]) }))
      const w = Object.fromEntries(model.weights().map((p) => [p.path, numbers(p.weight.dense())]))
      const [q, k] = [numbers(x), numbers(memory)]
      const length = Math.hypot(...w.vector!)
      for (let t = 0; t < 2; t++) {
        const scores = [0, 2].map((s) => {
          let score = 0
          for (let u = 0; u < 4; u++) {
            let h = w.bias![u]!
            for (let i = 0; i < 2; i++) h += w['query.weight']![2 * u + i]! * q[2 * t + i]!
            for (let i = 0; i < 3; i++) h += w['key.weight']![3 * u + i]! * k[3 * s + i]!
            score += ((w.scale![0]! * w.vector![u]!) / length) * Math.tanh(h)
          }
          return Math.exp(score)
        })
        const total = scores[0]! + scores[1]!
        for (let i = 0; i < 3; i++) expect(y[3 * t + i]!).toBeCloseTo((scores[0]! * k[i]! + scores[1]! * k[6 + i]!) / total, 5)
      }
    })
    model.dispose()
  })

  it('refuses what does not fit', () => {
    const model = made(sequenceAttention({ query: 2, memory: 3, width: 4, score: 'luong' }))
    scope(() => {
      const x = normal([1, 2, 2], 1)
      expect(() => model.forward(x)).toThrowError(code('ERR_OPTION', /named inputs x, memory/))
      expect(() => model.forward({ x, memory: normal([2, 3, 3], 1) })).toThrowError(code('ERR_SHAPE', /memory/))
      expect(() => model.forward({ x, memory: normal([1, 3, 3], 1), mask: tensor([[1]]) })).toThrowError(code('ERR_SHAPE', /mask/))
      expect(model.forward({ x, memory: normal([1, 3, 3], 1) }).shape).toEqual([1, 2, 3])
    })
    model.dispose()
  })
})
