/** Models as immutable trees. */
import { describe, expect, it } from 'vitest'
import { Rng } from '../../ts/base/rng.js'
import { memory } from '../../ts/native/devices.js'
import {
  batchNorm,
  build,
  DenseWeight,
  freshValues,
  linear,
  maskWeight,
  Model,
  moduleKind,
  QuantizedWeight,
  sequential,
  weightKind,
  type ModuleSpec,
} from '../../ts/nn/index.js'
import { quantizeRows } from '../../ts/ops/index.js'
import { full, scope, tensor } from '../../ts/tensor/index.js'
import { code, leavesNothing, maxDifference, normal } from './lib.js'

const spec = sequential({
  fc1: linear({ in: 4, out: 3, bias: true, init: 'he' }),
  norm: batchNorm({ channels: 3, eps: 1e-5, momentum: 0.1 }),
  inner: sequential({ fc2: linear({ in: 3, out: 2, bias: false, init: 'glorot' }) }),
})
const make = (): Model => new Model(build(spec, freshValues(Rng.of(1))), { name: 'm', task: 'classification', history: [] })

describe('a model', () => {
  const model = make()

  it('lists its weights, state and leaves by path, in order', () => {
    expect(model.weights().map(({ path, layer, name, role }) => [path, layer, name, role])).toEqual([
      ['fc1.weight', 'fc1', 'weight', 'matrix'],
      ['fc1.bias', 'fc1', 'bias', 'vector'],
      ['norm.gamma', 'norm', 'gamma', 'vector'],
      ['norm.beta', 'norm', 'beta', 'vector'],
      ['inner.fc2.weight', 'inner.fc2', 'weight', 'matrix'],
    ])
    expect([...model.state().keys()]).toEqual(['norm.mean', 'norm.variance'])
    expect([...model.leaves().keys()]).toEqual(model.weights().map(({ path }) => path))
    expect(model.parameters()).toBe(12 + 3 + 3 + 3 + 6)
    expect(model.spec()).toEqual(spec)
  })

  it('is changed by making another that shares the rest', () => {
    leavesNothing(() => {
      const other = make()
      const weight = new DenseWeight(normal([2, 3], 9))
      const changed = other.withWeights(new Map([['inner.fc2.weight', weight]]))
      expect(changed).not.toBe(other)
      expect(changed.root.children.fc1).toBe(other.root.children.fc1)
      expect(changed.root.children.inner).not.toBe(other.root.children.inner)
      expect(changed.weights()[4]!.weight).toBe(weight)
      expect(other.weights()[4]!.weight).not.toBe(weight)
      scope(() => expect(maxDifference(changed.forward(normal([5, 4])), other.forward(normal([5, 4])))).toBeGreaterThan(0))
      expect(other.withInfo({ name: 'n' }).root).toBe(other.root)
      expect(other.withExtras({}).info).toBe(other.info)
      other.dispose()
      weight.dispose()
    })
  })

  it('is left alone by a change of nothing', () => expect(model.withWeights(new Map()).root).toBe(model.root))

  it('keeps frozen weights out of its leaves', () => {
    scope(() => {
      const scale = full([3, 1], 0.1)
      const q = quantizeRows(model.weights()[0]!.weight.dense(), scale, null, -127, 127)
      const changed = model.withWeights(
        new Map([['fc1.weight', new QuantizedWeight({ shape: [3, 4], q, scale, bits: 8, layout: 'channel' })]]),
      )
      expect([...changed.leaves().keys()]).toEqual(['fc1.bias', 'norm.gamma', 'norm.beta', 'inner.fc2.weight'])
      const masked = model.withWeights(
        new Map([['fc1.weight', maskWeight(model.weights()[0]!.weight, tensor(new Uint8Array([0xff, 0x0f])))]]),
      )
      expect(masked.leaves().get('fc1.weight')!.mask).not.toBeNull()
    })
  })

  it('says which paths it does not have', () => {
    const weight = new DenseWeight(tensor([1]))
    expect(() => model.withWeights(new Map([['fc3.weight', weight]]))).toThrowError(code('ERR_OPTION', /no weight at fc3\.weight/))
    weight.dispose()
  })

  it('frees its temporaries in predict and everything in dispose', () => {
    const before = memory().tensors
    const other = make()
    const x = normal([2, 4])
    const y = other.predict(x)
    expect(memory().tensors).toBe(before + 5 + 2 + 2)
    for (const t of [x, y]) t.dispose()
    other.dispose()
    expect(memory().tensors).toBe(before)
    expect(() => scope(() => other.forward(normal([2, 4])))).toThrowError(code('ERR_DISPOSED'))
  })
})

describe('specs', () => {
  const fails = (s: ModuleSpec, c: string, message: RegExp): void => {
    leavesNothing(() => expect(() => scope(() => build(s, freshValues(Rng.of(1))))).toThrowError(code(c, message)))
  }
  it('are checked when they are built', () => {
    fails({ kind: 'nothing', config: {} }, 'ERR_MODEL_FORMAT', /unknown kind "nothing"; known: .*linear/)
    fails({ kind: 'linear', config: { in: 0, out: 1 } }, 'ERR_OPTION', /linear: in/)
    fails({ kind: 'linear', config: { in: 1.5, out: 1 } }, 'ERR_OPTION', /linear: in/)
    fails({ kind: 'linear', config: { in: 1, out: 1, colour: 'red' } }, 'ERR_OPTION', /colour/)
    fails({ kind: 'dropout', config: { p: 1 } }, 'ERR_OPTION', /dropout: p/)
    expect(() => linear({ in: -1, out: 1, bias: true, init: 'he' })).toThrowError(code('ERR_OPTION', /linear: in/))
  })
  it('fill in defaults', () => {
    const root = scope(() => build({ kind: 'linear', config: { in: 2, out: 1 } }, freshValues(Rng.of(1))))
    expect(root.config).toEqual({ in: 2, out: 1, bias: true, init: 'he' })
  })
  it('name kinds that exist', () => {
    expect(moduleKind('linear').kind).toBe('linear')
    expect(() => moduleKind('toString')).toThrowError(code('ERR_MODEL_FORMAT'))
    expect(() => weightKind('constructor')).toThrowError(code('ERR_MODEL_FORMAT', /known: dense, .*masked, .*quantized, sparse/))
  })
})
