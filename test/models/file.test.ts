/** Model files: exact round trips of every weight kind, and small headers. What must be refused: file-refused.test.ts. */
import fs from 'node:fs'
import path from 'node:path'
import { describe, expect, it } from 'vitest'
import type { RawTensor } from '../../ts/base/dtype.js'
import { Rng } from '../../ts/base/rng.js'
import { openSafetensors, readSafetensors } from '../../ts/formats/index.js'
import { loadModel, modelFileBytes, saveModel } from '../../ts/models/index.js'
import { build, type DenseWeight, encoderBlock, freshValues, linear, Model, sequential } from '../../ts/nn/index.js'
import { scope, tensor } from '../../ts/tensor/index.js'
import { tempDir } from '../formats/lib.js'
import { code, floats, leavesNothing, maxDifference, normal } from '../nn/lib.js'
import { fresh, info, mixed } from './lib.js'

const dir = tempDir()
const at = (name: string): string => path.join(dir, name)
const x = (): ReturnType<typeof normal> => normal([3, 2, 6, 6], 8)
const content = (file: string): [string, RawTensor][] => [...readSafetensors(file).tensors]

describe('a model file', () => {
  it('gives back the same model', () => {
    leavesNothing(() => {
      for (const [name, make] of [
        ['dense', fresh],
        ['mixed', mixed],
      ] as const) {
        const model = make()
        const bytes = saveModel(model, at(name))
        expect(fs.statSync(at(name)).size).toBe(bytes)
        expect(modelFileBytes(model)).toBe(bytes)
        const again = loadModel(at(name))
        expect(again.spec()).toEqual(model.spec())
        expect(again.info).toEqual(model.info)
        expect(again.extras).toEqual(model.extras)
        expect(again.weights().map(({ path: p, weight }) => [p, weight.kind, weight.description])).toEqual(
          model.weights().map(({ path: p, weight }) => [p, weight.kind, weight.description]),
        )
        scope(() => expect(maxDifference(again.forward(x()), model.forward(x()))).toBe(0))
        saveModel(again, at('again'))
        expect(Buffer.compare(fs.readFileSync(at('again')), fs.readFileSync(at(name)))).toBe(0)
        model.dispose()
        again.dispose()
      }
    })
  })

  it('keeps running statistics', () => {
    const model = fresh()
    model
      .state()
      .get('norm.mean')!
      .write(new Float32Array([1, -2, 3, 0.5]))
    saveModel(model, at('state'))
    const again = loadModel(at('state'))
    expect(floats(again.state().get('norm.mean')!)).toEqual(new Float32Array([1, -2, 3, 0.5]))
    model.dispose()
    again.dispose()
  })

  it('is an ordinary safetensors file with readable names', () => {
    const model = mixed()
    saveModel(model, at('plain'))
    expect(content(at('plain')).map(([name]) => name)).toEqual([
      'conv.weight:q',
      'conv.weight:scale',
      'conv.bias',
      'norm.gamma',
      'norm.beta',
      'fc1.weight:values',
      'fc1.weight:columns',
      'fc1.weight:counts',
      'fc1.bias',
      'fc2.weight:value',
      'fc2.weight:mask',
      'norm.mean',
      'norm.variance',
      'extra:notes',
    ])
    model.dispose()
  })

  it('holds nested modules and implied children', () => {
    const model = new Model(
      build(sequential({ block: encoderBlock({ width: 8, heads: 2, hidden: 12, activation: 'gelu', eps: 1e-6 }) }), freshValues(Rng.of(2))),
      { name: 'b', task: 'embedding', history: [] },
    )
    saveModel(model, at('nested'))
    const header = JSON.parse(readSafetensors(at('nested')).metadata.get('tersor')!)
    expect(header.architecture.children.block.children).toBeUndefined()
    const again = loadModel(at('nested'))
    expect(again.spec()).toEqual(model.spec())
    scope(() => expect(maxDifference(again.forward(normal([2, 3, 8])), model.forward(normal([2, 3, 8])))).toBe(0))
    model.dispose()
    again.dispose()
  })

  it('does not let a long history outweigh a small model', () => {
    const history = Array.from({ length: 200 }, (_, i) => ({
      pass: 'prune/magnitude',
      round: i,
      options: { sparsity: 0.2, scope: 'global' },
      note: 'kept the largest',
    }))
    const model = fresh().withInfo({ history })
    const short = fresh()
    const bytes = saveModel(model, at('history'))
    expect(JSON.stringify(history).length).toBeGreaterThan(15_000)
    expect(bytes - modelFileBytes(short)).toBeLessThan(2500)
    const again = loadModel(at('history'))
    expect(again.info.history).toEqual(history)
    for (const m of [model, short, again]) m.dispose()
  })

  it('spends less than 3,800 bytes on the header of 14 tensors, checksums included', () => {
    const model = mixed()
    saveModel(model, at('mixed'))
    const file = openSafetensors(at('mixed'))
    const data = [...file.tensors.values()].reduce((n, t) => n + t.bytes, 0)
    file.close()
    expect(fs.statSync(at('mixed')).size - data).toBeLessThan(3800)
    model.dispose()
  })

  it('loads with NaN in a weight', () => {
    const model = fresh()
    const bias = model.weights().find(({ path: p }) => p === 'fc1.bias')!.weight as DenseWeight
    bias.value.write(new Float32Array(16).fill(NaN))
    saveModel(model, at('nan'))
    const again = loadModel(at('nan'))
    expect(
      floats(
        again
          .weights()
          .find(({ path: p }) => p === 'fc1.bias')!
          .weight.dense(),
      ).every(Number.isNaN),
    ).toBe(true)
    model.dispose()
    again.dispose()
  })
})

describe('saving refuses', () => {
  it('what JSON cannot say', () => {
    const model = fresh()
    expect(() => saveModel(model.withInfo({ loss: NaN }), at('no'))).toThrowError(
      code('ERR_OPTION', /loss must be a finite number, got NaN/),
    )
    expect(fs.existsSync(at('no'))).toBe(false)
    model.dispose()
  })

  it('names that files use otherwise', () => {
    const model = new Model(build(sequential({ 'a:b': linear({ in: 2, out: 2, bias: true, init: 'he' }) }), freshValues(Rng.of(1))), info)
    expect(() => saveModel(model, at('no'))).toThrowError(code('ERR_OPTION', /must not contain ":"/))
    model.dispose()
  })

  it('a folder that is not there, and leaves nothing', () => {
    const model = fresh()
    expect(() => saveModel(model, at('nowhere/model'))).toThrowError(code('ERR_IO', /ENOENT/))
    model.dispose()
  })
})

it('extras survive whatever their names', () => {
  leavesNothing(() => {
    const model = fresh().withExtras(Object.fromEntries([['__proto__', { dtype: 'u8', shape: [1], data: new Uint8Array([9]) }]]))
    saveModel(model, at('proto'))
    const again = loadModel(at('proto'))
    expect(Object.keys(again.extras)).toEqual(Object.keys(model.extras))
    expect(({} as Record<string, unknown>).dtype).toBeUndefined()
    model.dispose()
    again.dispose()
  })
})

it('a model in a scope is freed with it unless it is returned', () => {
  leavesNothing(() => {
    const model = scope(() => {
      saveModel(fresh(), at('scoped'))
      return loadModel(at('scoped'))
    })
    scope(() => expect(model.forward(x()).shape).toEqual([3, 2]))
    tensor([1]).dispose()
    model.dispose()
  })
})
