/** Attention modules and transformer blocks: what hides what, norms before and behind, decoding token by token, positions. */
import { readFileSync } from 'node:fs'
import { describe, expect, it } from 'vitest'
import { valueAndGrad } from '../../ts/autograd/index.js'
import { Rng } from '../../ts/base/rng.js'
import {
  attention,
  build,
  crossAttention,
  decoderBlock,
  embedding,
  encoderBlock,
  freshValues,
  KeyValueCache,
  learnedPositions,
  Model,
  sequential,
  sinusoidalPositions,
  type ModuleSpec,
} from '../../ts/nn/index.js'
import { add, mul, slice, sum } from '../../ts/ops/index.js'
import { full, ones, scope, tensor, type Tensor } from '../../ts/tensor/index.js'
import { code, floats, leavesNothing, maxDifference, normal } from './lib.js'

/** A model whose every weight has seeded values: fresh biases and norms are trivial. */
function modelOf(spec: ModuleSpec): Model {
  const m = new Model(build(spec, freshValues(Rng.of(1))), { name: 't', task: 'embedding', history: [] })
  m.weights().forEach(({ weight }, i) => {
    const t = weight.dense()
    t.write(Rng.of(99, i).fillNormal(new Float32Array(t.size)))
  })
  return m
}
type Golden = Readonly<Record<'y', readonly number[]> & Partial<Record<'dx' | 'dup' | 'dmemory', readonly number[]>>>
const torch = JSON.parse(readFileSync(new URL('../golden/torch-transformer.json', import.meta.url), 'utf8')) as Readonly<
  Record<`${'encoder' | 'decoder'} ${'pre' | 'post'}`, Golden>
>
function near(got: Tensor, want: readonly number[]): void {
  expect(got.size).toBe(want.length)
  floats(got).forEach((v, i) => expect(Math.abs(v - want[i]!), `element ${i}`).toBeLessThan(2e-5 * (1 + Math.abs(want[i]!))))
}
const tokens = (x: Tensor, from: number, n: number): Tensor => slice(x, [0, from, 0], [x.shape[0]!, n, x.shape[2]!])
function withModel(spec: ModuleSpec, fn: (m: Model) => void): void {
  leavesNothing(() => {
    const m = modelOf(spec)
    scope(() => fn(m))
    m.dispose()
  })
}

describe('attention', () => {
  it('causal: a token does not feel later ones', () => {
    withModel(attention({ in: 6, width: 8, out: 6, heads: 2, causal: true }), (m) => {
      const x = normal([2, 5, 6], 3)
      const y = m.forward(x)
      expect(maxDifference(tokens(y, 0, 3), m.forward(tokens(x, 0, 3)))).toBeLessThan(1e-5)
      expect(maxDifference(y, modelLike(m, { causal: false }).forward(x))).toBeGreaterThan(1e-2)
    })
  })

  it('takes keys and values from other sequences', () => {
    withModel(attention({ in: 4, width: 4, out: 4, heads: 2 }), (m) => {
      const [x, key, value] = [normal([1, 3, 4], 1), normal([1, 5, 4], 2), normal([1, 5, 4], 3)]
      expect(maxDifference(m.forward({ x, key: x, value: x }), m.forward(x))).toBe(0)
      expect(m.forward({ x, key, value }).shape).toEqual([1, 3, 4])
      expect(maxDifference(m.forward({ x, key }), m.forward({ x, key, value: key }))).toBe(0)
      expect(() => m.forward({ x, key, value: x })).toThrowError(code('ERR_SHAPE'))
    })
  })

  it('dropout of the weights acts in training only, by seed and step', () => {
    withModel(attention({ in: 4, width: 4, out: 4, heads: 2, dropout: 0.5 }), (m) => {
      const x = normal([2, 6, 4], 1)
      const run = (training: boolean, step: number): Float32Array => floats(m.forward(x, { training, step, seed: 3 }))
      expect(run(false, 1)).toEqual(run(false, 2))
      expect(run(true, 1)).toEqual(run(true, 1))
      expect(run(true, 1)).not.toEqual(run(true, 2))
    })
  })

  it('cross attention hides padding of the memory', () => {
    withModel(crossAttention({ in: 4, memory: 6, width: 8, out: 4, heads: 2 }), (m) => {
      const [x, memory] = [normal([1, 3, 4], 1), normal([1, 5, 6], 2)]
      const memoryMask = tensor([1, 1, 1, 0, 0], [1, 5])
      expect(maxDifference(m.forward({ x, memory, memoryMask }), m.forward({ x, memory: tokens(memory, 0, 3) }))).toBeLessThan(1e-5)
      expect(() => m.forward(x)).toThrowError(code('ERR_OPTION', /crossAttention: takes the named inputs x, memory/))
    })
  })
})

/** The same weights with another configuration. */
function modelLike(m: Model, config: object): Model {
  return new Model({ ...m.root, config: { ...m.root.config, ...config } }, m.info)
}

describe('blocks', () => {
  it('post-norm ends with its norm', () => {
    withModel(encoderBlock({ width: 8, heads: 2, hidden: 12, norm: 'post', activation: 'relu' }), (m) => {
      const x = normal([2, 3, 8], 1)
      const part = (name: string, y: Tensor): Tensor => new Model(m.root.children[name]!, m.info).forward(y)
      const h = part('norm1', add(x, part('attention', x)))
      const up = part('up', h)
      up.write(floats(up).map((v) => Math.max(0, v)))
      expect(maxDifference(m.forward(x), part('norm2', add(h, part('down', up))))).toBeLessThan(1e-5)
    })
  })

  it('dropout of sublayers acts in training only', () => {
    withModel(encoderBlock({ width: 8, heads: 2, hidden: 12, dropout: 0.3, attentionDropout: 0.3 }), (m) => {
      const x = normal([1, 4, 8], 1)
      const run = (training: boolean, step: number): Float32Array => floats(m.forward(x, { training, step }))
      expect(run(true, 1)).not.toEqual(run(true, 2))
      expect(run(true, 1)).not.toEqual(run(false, 1))
    })
  })

  it('a decoder block sees its past and its memory', () => {
    withModel(decoderBlock({ width: 8, memory: 6, heads: 2, hidden: 12 }), (m) => {
      const [x, memory] = [normal([1, 4, 8], 1), normal([1, 5, 6], 2)]
      const y = m.forward({ x, memory })
      expect(maxDifference(tokens(y, 0, 2), m.forward({ x: tokens(x, 0, 2), memory }))).toBeLessThan(1e-5)
      expect(maxDifference(y, m.forward({ x, memory: tokens(memory, 0, 3) }))).toBeGreaterThan(1e-3)
      const memoryMask = tensor([1, 1, 1, 0, 0], [1, 5])
      expect(maxDifference(m.forward({ x, memory, memoryMask }), m.forward({ x, memory: tokens(memory, 0, 3) }))).toBeLessThan(1e-5)
    })
  })
})

/** sin(0.7 i + seed) scale: what test/golden/make-torch-transformer.py fills tensors with. */
const wave = (n: number, seed: number, scale: number): Float32Array =>
  Float32Array.from({ length: n }, (_, i) => Math.sin(i * 0.7 + seed) * scale)

/** A block with the weights of the golden layer; torch keeps query, key and value in one matrix. */
function golden(spec: ModuleSpec, order: readonly string[]): Model {
  const m = new Model(build(spec, freshValues(Rng.of(1))), { name: 't', task: 'embedding', history: [] })
  const weights = new Map(m.weights().map(({ path, weight }) => [path, weight.dense()]))
  order.forEach((name, i) => {
    const packed = name.endsWith('qkv.bias') || name.endsWith('qkv.weight')
    const targets = packed ? ['query', 'key', 'value'].map((part) => name.replace('qkv', part)) : [name]
    const sizes = targets.map((target) => weights.get(target)!.size)
    const all = wave(
      sizes.reduce((a, b) => a + b),
      i,
      0.5,
    )
    targets.forEach((target, j) => weights.get(target)!.write(all.slice(j * sizes[j]!, (j + 1) * sizes[j]!)))
  })
  return m
}
const attentionNames = (at: string): string[] => ['qkv.bias', 'qkv.weight', 'output.bias', 'output.weight'].map((name) => `${at}.${name}`)
const feedForward = ['up.bias', 'up.weight', 'down.bias', 'down.weight']
const norms = (n: number): string[] => Array.from({ length: n }, (_, i) => [`norm${i + 1}.beta`, `norm${i + 1}.gamma`]).flat()

describe.each(['pre', 'post'] as const)('torch 1.13, %s-norm', (norm) => {
  const sizes = { width: 8, heads: 2, hidden: 12, norm }
  it('encoder layer', () => {
    leavesNothing(() => {
      const m = golden(encoderBlock(sizes), [...feedForward, ...norms(2), ...attentionNames('attention')])
      const want = torch[`encoder ${norm}`]
      scope(() => {
        const x = tensor(wave(48, 20, 1), [2, 3, 8])
        const mask = tensor([1, 1, 1, 1, 1, 0], [2, 3])
        near(m.forward({ x, mask }), want.y)
        const up = m.leaves().get('up.weight')!.value
        const dy = tensor(wave(48, 30, 1), [2, 3, 8])
        const { grads } = valueAndGrad(() => sum(mul(m.forward({ x, mask }), dy), [], false), [x, up])
        near(grads[0]!, want.dx!)
        near(grads[1]!, want.dup!)
      })
      m.dispose()
    })
  })

  it('decoder layer', () => {
    leavesNothing(() => {
      const order = [...feedForward, ...attentionNames('cross'), ...norms(3), ...attentionNames('attention')]
      const m = golden(decoderBlock({ ...sizes, memory: 8 }), order)
      const want = torch[`decoder ${norm}`]
      scope(() => {
        const [x, memory] = [tensor(wave(48, 20, 1), [2, 3, 8]), tensor(wave(64, 21, 1), [2, 4, 8])]
        const input = { x, memory, memoryMask: tensor([1, 1, 1, 1, 1, 0, 0, 1], [2, 4]) }
        near(m.forward(input), want.y)
        const dy = tensor(wave(48, 30, 1), [2, 3, 8])
        const { grads } = valueAndGrad(() => sum(mul(m.forward(input), dy), [], false), [x, memory])
        near(grads[0]!, want.dx!)
        near(grads[1]!, want.dmemory!)
      })
      m.dispose()
    })
  })
})

describe('decoding with kept keys and values', () => {
  it('gives what the whole text gives', () => {
    const block = { width: 8, heads: 2, hidden: 12, causal: true }
    withModel(
      sequential({ positions: learnedPositions({ positions: 9, width: 8 }), a: encoderBlock(block), b: encoderBlock(block) }),
      (m) => {
        const x = normal([2, 7, 8], 1)
        const whole = m.forward(x)
        const cache = new KeyValueCache(2)
        for (const [from, n] of [
          [0, 3],
          [3, 1],
          [4, 1],
          [5, 2],
        ] as const)
          expect(maxDifference(m.forward(tokens(x, from, n), { cache }), tokens(whole, from, n))).toBeLessThan(1e-5)
        expect(cache.length).toBe(7)
        expect(() => m.forward(x, { cache })).toThrowError(code('ERR_SHAPE', /9 positions, got 14 tokens/))
        cache.dispose()
        expect(cache.length).toBe(0)
        expect(maxDifference(m.forward(tokens(x, 0, 1), { cache }), tokens(whole, 0, 1))).toBeLessThan(1e-5)
        expect(() => m.forward(tokens(normal([1, 1, 8], 1), 0, 1), { cache })).toThrowError(
          code('ERR_SHAPE', /KeyValueCache: "a.attention"/),
        )
        cache.dispose()
        expect(() => new KeyValueCache(0)).toThrowError(code('ERR_OPTION'))
      },
    )
  })

  it('a decoder block computes the keys of its memory once', () => {
    withModel(decoderBlock({ width: 8, memory: 6, heads: 2, hidden: 12 }), (m) => {
      const [x, memory] = [normal([1, 4, 8], 1), normal([1, 5, 6], 2)]
      const whole = m.forward({ x, memory })
      const cache = new KeyValueCache()
      for (let i = 0; i < 4; i++)
        expect(maxDifference(m.forward({ x: tokens(x, i, 1), memory }, { cache }), tokens(whole, i, 1))).toBeLessThan(1e-5)
      cache.dispose()
    })
  })
})

describe('positions and padding', () => {
  it('sinusoids follow the formula', () => {
    withModel(sinusoidalPositions({ width: 4 }), (m) => {
      const y = floats(m.forward(full([1, 3, 4], 0)))
      for (let p = 0; p < 3; p++)
        [Math.sin(p), Math.cos(p), Math.sin(p / 100), Math.cos(p / 100)].forEach((v, i) => expect(y[p * 4 + i]).toBeCloseTo(v, 6))
      expect(() => m.forward(full([3, 4], 0))).toThrowError(code('ERR_SHAPE', /sinusoidalPositions: x must be \[B, T, 4\]/))
      expect(() => sinusoidalPositions({ width: 3 })).toThrowError(code('ERR_OPTION'))
    })
  })

  it('the padding row begins as zeros and gets no gradient', () => {
    leavesNothing(() => {
      const m = new Model(build(embedding({ rows: 4, width: 2, paddingIndex: 1 }), freshValues(Rng.of(1))), {
        name: 't',
        task: 'embedding',
        history: [],
      })
      const table = m.weights()[0]!.weight.dense()
      expect([...floats(table)].slice(2, 4)).toEqual([0, 0])
      scope(() => {
        const ids = tensor(new Int32Array([0, 1, 1, 3]), [2, 2])
        const { grads } = valueAndGrad(() => sum(m.forward(ids), [], false), [table])
        expect([...floats(grads[0]!)]).toEqual([1, 1, 0, 0, 0, 0, 1, 1])
        expect(() => embedding({ rows: 4, width: 2, paddingIndex: 4 })).toThrowError(code('ERR_OPTION', /below rows/))
        expect(() => embedding({ rows: 4, width: 2, paddingIndex: -1 })).toThrowError(code('ERR_OPTION'))
      })
      m.dispose()
    })
  })

  it('a row of nothing but padding gives zeros before the output projection', () => {
    withModel(attention({ in: 4, width: 4, out: 4, heads: 1, bias: false }), (m) => {
      const x = ones([1, 2, 4])
      expect([...floats(m.forward({ x, mask: full([1, 2], 0) }))]).toEqual([0, 0, 0, 0, 0, 0, 0, 0])
    })
  })
})
