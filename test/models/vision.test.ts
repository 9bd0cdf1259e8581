/** Nets for images: published sizes, torch's names and scores (test/golden/make-torch-vision.py), files under torch's names, training. */
import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import { valueAndGrad } from '../../ts/autograd/index.js'
import type { RawTensor } from '../../ts/base/dtype.js'
import { Rng } from '../../ts/base/rng.js'
import { sizeOf, type Shape } from '../../ts/base/shape.js'
import { writeSafetensors } from '../../ts/formats/index.js'
import { memory } from '../../ts/native/devices.js'
import { architectures, fromCheckpoint, loadModel, saveModel, type ArchitectureName, type NamedTensors } from '../../ts/models/index.js'
import { build, freshValues, Model, parameterCount, specTensors } from '../../ts/nn/index.js'
import { crossEntropy, sgdStep } from '../../ts/ops/index.js'
import { scope, tensor, zeros } from '../../ts/tensor/index.js'
import { code, normal } from '../nn/lib.js'
import { numbers } from '../laws/cases.js'

interface Golden {
  readonly side: number
  readonly tensors: Readonly<Record<string, Shape>>
  readonly y: readonly number[]
}
const golden = JSON.parse(readFileSync(new URL('../golden/torch-vision.json', import.meta.url), 'utf8')) as Readonly<Record<string, Golden>>

/** As in the generator: uniform in [-1, 1). */
function noise(name: string, n: number): Float64Array {
  let h = 2166136261
  for (const c of name) h = Math.imul(h ^ c.charCodeAt(0), 16777619)
  const out = new Float64Array(n)
  for (let i = 0; i < n; i++) {
    let x = Math.imul(i, 0x9e3779b9) ^ h
    x = Math.imul(x ^ (x >>> 16), 0x21f0aaad)
    x = Math.imul(x ^ (x >>> 15), 0x735a2d97)
    out[i] = ((x ^ (x >>> 15)) >>> 8) / 2 ** 23 - 1
  }
  return out
}

function values(name: string, shape: Shape): Float32Array {
  const v = noise(name, sizeOf(shape))
  const flat = shape.length === 1
  const shift = name.endsWith('running_var') || (flat && name.endsWith('.weight')) ? 1 : 0
  const scale = name.endsWith('running_var') ? 0.5 : flat ? 0.1 : Math.sqrt(6 / sizeOf(shape.slice(1)))
  const out = new Float32Array(v.length)
  for (let i = 0; i < v.length; i++) out[i] = shift + scale * v[i]!
  return out
}

const raw = (data: Float32Array, shape: Shape): RawTensor => ({ dtype: 'f32', shape, data: new Uint8Array(data.buffer) })
const checkpoint = (tensors: Readonly<Record<string, Shape>>, prefix = ''): NamedTensors => ({
  tensors: new Map(Object.entries(tensors).map(([name, shape]) => [prefix + name, { dtype: 'f32', shape }])),
  readTensor: (name) => raw(values(name.slice(prefix.length), tensors[name.slice(prefix.length)]!), tensors[name.slice(prefix.length)]!),
})

describe('parameters', () => {
  const large: Readonly<Record<string, number>> = {
    vgg11: 132_863_336,
    vgg13: 133_047_848,
    vgg16: 138_357_544,
    vgg19: 143_667_240,
    vgg11_bn: 132_868_840,
    vgg16_bn: 138_365_992,
    resnet18: 11_689_512,
    resnet34: 21_797_672,
    resnet50: 25_557_032,
    resnet101: 44_549_160,
    mobilenet_v1: 4_231_976,
    mobilenet_v2: 3_504_872,
  }
  it.each(Object.entries(large))('%s for ImageNet: %i', (name, want) => {
    const before = memory().tensors
    const { spec } = architectures[name as ArchitectureName]({ inputShape: [3, 224, 224], classes: 1000 })
    expect(parameterCount(spec)).toBe(want)
    expect(memory().tensors).toBe(before)
  })

  const small: Readonly<Record<string, number>> = {
    resnet20: 269_722,
    resnet32: 464_154,
    resnet44: 658_586,
    resnet56: 853_018,
    resnet110: 1_727_962,
    resnet18: 11_173_962,
    vgg16_bn: 14_728_266,
  }
  it.each(Object.entries(small))('%s for CIFAR-10: %i', (name, want) => {
    const { spec } = architectures[name as ArchitectureName]({ inputShape: [3, 32, 32], classes: 10 })
    expect(parameterCount(spec)).toBe(want)
  })

  it('are those of the model that is built', () => {
    const { spec } = architectures.resnet20({ inputShape: [1, 28, 28], classes: 10 })
    const model = new Model(build(spec, freshValues(Rng.of(1))), { name: 'r', task: 'classification', history: [] })
    expect(parameterCount(spec)).toBe(model.parameters())
    expect(specTensors(spec).filter((t) => t.role === 'state').length).toBe(model.state().size)
    model.dispose()
  })
})

describe.each(Object.entries(golden))('%s', (name, { side, tensors, y }) => {
  it('gives the scores of torch from tensors with its names', () => {
    const model = fromCheckpoint(checkpoint(tensors), { architecture: name as ArchitectureName, inputShape: [3, side, side] })
    const top = Math.max(...y.map(Math.abs))
    scope(() => {
      const got = numbers(model.forward(tensor(Float32Array.from(noise('x', 6 * side * side)), [2, 3, side, side])))
      expect(got.length).toBe(y.length)
      got.forEach((v, i) => expect(Math.abs(v - y[i]!), `${v} instead of ${y[i]}`).toBeLessThan(2e-5 * top))
    })
    model.dispose()
  })
})

describe('checkpoints', () => {
  const resnet = golden.resnet20!.tensors
  it('load from a file of the names, without their counters, whatever the prefix; and are saved as models', () => {
    const folder = mkdtempSync(join(tmpdir(), 'tersor-'))
    try {
      const file = join(folder, 'net.safetensors')
      const named = new Map(
        Object.entries(resnet).map(([k, shape]) => [`module.${k.replace(/^fc/, 'linear')}`, raw(values(k, shape), shape)]),
      )
      named.set('module.bn1.num_batches_tracked', { dtype: 'i64', shape: [], data: new Uint8Array(8) })
      writeSafetensors(file, named)
      expect(() => loadModel(file)).toThrowError(code('ERR_UNSUPPORTED', /say `architecture`/))
      const model = loadModel(file, { architecture: 'resnet20' })
      expect(model.info.inputShape).toEqual([3, 32, 32])
      expect(model.info.classes).toHaveLength(10)
      saveModel(model, join(folder, 'own.safetensors'))
      const again = loadModel(join(folder, 'own.safetensors'))
      const path = 'layer3.2.bn2.gamma'
      const of = (m: Model): number[] =>
        numbers(
          m
            .weights()
            .find((w) => w.path === path)!
            .weight.dense(),
        )
      expect(of(again)).toEqual([...values('layer3.2.bn2.weight', [64])])
      model.dispose()
      again.dispose()
    } finally {
      rmSync(folder, { recursive: true })
    }
  })

  it('that do not fit are refused, and nothing stays allocated', () => {
    const before = memory().tensors
    const { ['layer1.0.bn1.running_mean']: gone, ...without } = resnet
    const load = (tensors: Readonly<Record<string, Shape>>, architecture = 'resnet20', more = {}): Model =>
      fromCheckpoint(checkpoint(tensors), { architecture: architecture as ArchitectureName, ...more })
    expect(gone).toEqual([16])
    expect(() => load(without)).toThrowError(code('ERR_MODEL_FORMAT', /"layer1.0.bn1.running_mean" is missing/))
    expect(() => load({ ...resnet, more: [1] })).toThrowError(code('ERR_MODEL_FORMAT', /1 tensors belong to nothing.*"more"/))
    expect(() => load({ ...resnet, 'bn1.weight': [17] })).toThrowError(code('ERR_MODEL_FORMAT', /"bn1.weight" must be floating \[16\]/))
    expect(() => load(resnet, 'resnet18')).toThrowError(code('ERR_MODEL_FORMAT', /resnet18/))
    expect(() => load(resnet, 'resnet21')).toThrowError(code('ERR_OPTION', /unknown architecture "resnet21"; did you mean/))
    expect(() => load(resnet, 'resnet20', { classes: ['a'] })).toThrowError(code('ERR_OPTION', /must hold 10 names, got 1/))
    expect(() => load({}, 'resnet20')).toThrowError(code('ERR_OPTION', /needs inputShape/))
    expect(() => load({}, 'resnet20', { inputShape: [3, 32, 32] })).toThrowError(code('ERR_MODEL_FORMAT', /missing/))
    expect(memory().tensors).toBe(before)
  })
})

describe('training', () => {
  it('learns four images by heart', () => {
    const name = 'resnet20'
    const { spec } = architectures[name]({ inputShape: [3, 16, 16], classes: 2 })
    const model = new Model(build(spec, freshValues(Rng.of(5))), { name, task: 'classification', history: [] })
    const x = normal([4, 3, 16, 16], 6)
    const labels = tensor(new Int32Array([0, 1, 1, 0]))
    const leaves = [...model.leaves().values()].map(({ value }) => value)
    const velocity = leaves.map((p) => zeros(p.shape))
    const losses: number[] = []
    for (let i = 0; i < 8; i++)
      scope(() => {
        const stateUpdates = new Map()
        const { value, grads } = valueAndGrad(
          () => crossEntropy(model.forward(x, { training: true, step: i, stateUpdates }), labels),
          leaves,
        )
        losses.push(value.item())
        expect(stateUpdates.size).toBe(model.state().size)
        leaves.forEach((p, k) => sgdStep(p, grads[k]!, velocity[k]!, null, { lr: 0.05, momentum: 0.5, weightDecay: 0, nesterov: false }))
      })
    expect(losses.at(-1)).toBeLessThan(0.5 * losses[0]!)
    for (const t of [x, labels, ...velocity]) t.dispose()
    model.dispose()
  })

  it('refuses images that are too small', () => {
    expect(() => architectures.vgg11({ inputShape: [28, 28], classes: 10 })).toThrowError(code('ERR_OPTION', /too small/))
    expect(() => architectures.resnet18({ inputShape: [784], classes: 10 })).toThrowError(code('ERR_OPTION', /takes images/))
  })
})
