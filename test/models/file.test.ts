/** Model files: exact round trips of every weight kind, small headers, and everything that must be refused. */
import fs from 'node:fs'
import path from 'node:path'
import { afterAll, describe, expect, it } from 'vitest'
import type { RawTensor } from '../../ts/base/dtype.js'
import { Rng } from '../../ts/base/rng.js'
import { encodeSafetensors, openSafetensors, readSafetensors, writeNpy, writeSafetensors } from '../../ts/formats/index.js'
import { loadModel, modelFileBytes, saveModel } from '../../ts/models/index.js'
import { memory } from '../../ts/native/devices.js'
import {
  batchNorm,
  build,
  conv2d,
  type DenseWeight,
  encoderBlock,
  flatten,
  freshValues,
  linear,
  maskWeight,
  Model,
  QuantizedWeight,
  sequential,
  sparseFrom,
  type ModelInfo,
  type Weight,
} from '../../ts/nn/index.js'
import { quantizeRows, topkMask } from '../../ts/ops/index.js'
import { callOp, full, scope, tensor } from '../../ts/tensor/index.js'
import { tempDir } from '../formats/lib.js'
import { code, floats, leavesNothing, maxDifference, normal } from '../nn/lib.js'

const dir = tempDir()
const at = (name: string): string => path.join(dir, name)
afterAll(() => fs.rmSync(dir, { recursive: true, force: true }))

const info: ModelInfo = {
  name: 'little',
  task: 'classification',
  classes: ['no', 'yes'],
  inputShape: [2, 6, 6],
  normalize: { mean: 0.5, std: 2 },
  history: [{ pass: 'train', seed: 3 }],
}
const spec = sequential({
  conv: conv2d({ in: 2, out: 4, kernel: [3, 3], stride: [1, 1], padding: [1, 1], bias: true }),
  norm: batchNorm({ channels: 4, eps: 1e-5, momentum: 0.1 }),
  flatten: flatten({}),
  fc1: linear({ in: 144, out: 16, bias: true, init: 'he' }),
  fc2: linear({ in: 16, out: 2, bias: false, init: 'he' }),
})
const fresh = (): Model =>
  new Model(build(spec, freshValues(Rng.of(5))), info, { notes: { dtype: 'u8', shape: [3], data: new Uint8Array([1, 2, 3]) } })

function int8(w: Weight): QuantizedWeight {
  const rows = w.shape[0]!
  const scale = full([rows, 1], 0.02)
  return new QuantizedWeight({
    shape: w.shape,
    q: quantizeRows(w.dense().reshapeView([rows, w.dense().size / rows]), scale, null, -127, 127),
    scale,
    bits: 8,
    layout: 'channel',
    input: { scale: 0.03, zero: 120 },
  })
}

/** conv int8, fc1 sparse f32, fc2 masked, biases dense. */
function mixed(): Model {
  return scope(() => {
    const model = fresh()
    const of = (p: string): Weight => model.weights().find(({ path: q }) => q === p)!.weight
    const mask = (w: Weight, share: number): Weight =>
      maskWeight(w, topkMask(callOp('abs', [w.dense()])[0]!, Math.round(w.dense().size * share)))
    const small = model.withWeights(
      new Map([
        ['conv.weight', int8(of('conv.weight'))],
        ['fc1.weight', sparseFrom(mask(of('fc1.weight'), 0.2))],
        ['fc2.weight', mask(of('fc2.weight'), 0.5)],
      ]),
    )
    return small
  })
}

const x = (): ReturnType<typeof normal> => normal([3, 2, 6, 6], 8)
const content = (file: string): [string, RawTensor][] => [...readSafetensors(file).tensors]
const rewrite = (file: string, change: (tensors: Map<string, RawTensor>, header: any) => void): string => {
  const { tensors, metadata } = readSafetensors(file)
  const header = JSON.parse(metadata.get('tersor')!)
  change(tensors, header)
  writeSafetensors(at('changed.safetensors'), tensors, { metadata: { tersor: JSON.stringify(header) } })
  return at('changed.safetensors')
}

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

describe('loading refuses', () => {
  const model = mixed()
  saveModel(model, at('good'))
  model.dispose()
  const rejects = (file: string, c: string, message: RegExp): void => {
    leavesNothing(() => expect(() => loadModel(file)).toThrowError(code(c, message)))
  }

  it('files that are missing, empty, or something else', () => {
    rejects(at('missing'), 'ERR_IO', /ENOENT/)
    fs.writeFileSync(at('empty'), '')
    rejects(at('empty'), 'ERR_MODEL_FORMAT', /no known format/)
    writeNpy(at('x.npy'), { dtype: 'f32', shape: [1], data: new Uint8Array(4) })
    rejects(at('x.npy'), 'ERR_UNSUPPORTED', /npy files hold tensors, not models/)
    writeSafetensors(at('foreign'), [['w', { dtype: 'f32', shape: [1], data: new Uint8Array(4) }]], { checksums: false })
    rejects(at('foreign'), 'ERR_UNSUPPORTED', /no architecture/)
    fs.mkdirSync(at('folder'))
    rejects(at('folder'), 'ERR_IO', /model\.json/)
    fs.writeFileSync(at('folder/model.json'), JSON.stringify({ modelTopology: {}, weightsManifest: [] }))
    rejects(at('folder'), 'ERR_UNSUPPORTED', /unknown architecture; known: use-lite/)
    expect(() => loadModel(3 as unknown as string)).toThrowError(code('ERR_OPTION'))
  })

  it('every flipped byte and every truncation', () => {
    const bytes = fs.readFileSync(at('good'))
    const before = memory().tensors
    const codes = new Set<string>()
    const tries = (changed: Uint8Array, what: string): void => {
      fs.writeFileSync(at('hurt'), changed)
      try {
        loadModel(at('hurt'))
      } catch (error) {
        codes.add((error as { code: string }).code)
        return
      }
      throw new Error(`${what} was accepted`)
    }
    for (let i = 0; i < bytes.length; i += i < 4000 ? 19 : 7) {
      const changed = Uint8Array.from(bytes)
      changed[i]! ^= 1 << (i % 8)
      tries(changed, `byte ${i} flipped`)
    }
    for (let n = 0; n < bytes.length; n += 151) tries(bytes.subarray(0, n), `${n} of ${bytes.length} bytes`)
    expect(
      [...codes].every((c) => ['ERR_MODEL_FORMAT', 'ERR_LIMIT', 'ERR_DTYPE', 'ERR_UNSUPPORTED'].includes(c)),
      [...codes].join(),
    ).toBe(true)
    expect(memory().tensors).toBe(before)
  })

  it('tensors that are missing, left over, or do not fit', () => {
    rejects(
      rewrite(at('good'), (t) => t.delete('fc1.bias')),
      'ERR_MODEL_FORMAT',
      /tensor "fc1\.bias" is missing/,
    )
    rejects(
      rewrite(at('good'), (t) => t.delete('conv.weight:scale')),
      'ERR_MODEL_FORMAT',
      /weight "conv\.weight".*"q", "scale"/,
    )
    rejects(
      rewrite(at('good'), (t) => t.delete('norm.mean')),
      'ERR_MODEL_FORMAT',
      /"norm\.mean" is missing/,
    )
    rejects(
      rewrite(at('good'), (t) => t.delete('extra:notes')),
      'ERR_MODEL_FORMAT',
      /"extra:notes" is missing/,
    )
    const u8 = { dtype: 'u8', shape: [1], data: new Uint8Array(1) } as const
    rejects(
      rewrite(at('good'), (t) => t.set('surplus', u8)),
      'ERR_MODEL_FORMAT',
      /belong to nothing.*"surplus"/,
    )
    rejects(
      rewrite(at('good'), (t) => t.set('fc1.bias:mask', u8)),
      'ERR_MODEL_FORMAT',
      /belong to nothing.*"fc1\.bias:mask"/,
    )
    rejects(
      rewrite(at('good'), (t) => t.set('fc1.bias', u8)),
      'ERR_MODEL_FORMAT',
      /"fc1\.bias" must be floating \[16\], got u8\[1\]/,
    )
    rejects(
      rewrite(at('good'), (t) => t.set('conv.bias', { ...t.get('conv.bias')!, shape: [2, 2] })),
      'ERR_MODEL_FORMAT',
      /must be floating \[4\], got f32\[2, 2\]/,
    )
  })

  it('headers that say nonsense', () => {
    const header = (change: (h: any) => void): string => rewrite(at('good'), (_, h) => change(h))
    rejects(
      header((h) => (h.format = 2)),
      'ERR_UNSUPPORTED',
      /format 2, this version of Tersor reads up to 1/,
    )
    rejects(
      header((h) => (h.format = '1')),
      'ERR_MODEL_FORMAT',
      /header: format/,
    )
    rejects(
      header((h) => (h.colour = 1)),
      'ERR_MODEL_FORMAT',
      /colour/,
    )
    rejects(
      header((h) => delete h.info),
      'ERR_MODEL_FORMAT',
      /info/,
    )
    rejects(
      header((h) => delete h.info.history),
      'ERR_MODEL_FORMAT',
      /history/,
    )
    rejects(
      header((h) => (h.info.task = 'dance')),
      'ERR_MODEL_FORMAT',
      /info\.task/,
    )
    rejects(
      header((h) => (h.architecture.kind = 'perceptron')),
      'ERR_MODEL_FORMAT',
      /unknown kind "perceptron"; known: .*linear/,
    )
    rejects(
      header((h) => (h.architecture.children.fc1.config.out = -1)),
      'ERR_MODEL_FORMAT',
      /linear: out/,
    )
    rejects(
      header((h) => (h.architecture.children.fc1.config.in = 145)),
      'ERR_MODEL_FORMAT',
      /"fc1\.weight" is \[16, 144\], the architecture asks for \[16, 145\]/,
    )
    rejects(
      header((h) => delete h.architecture.children.fc2),
      'ERR_MODEL_FORMAT',
      /"fc2\.weight"/,
    )
    rejects(
      header((h) => (h.weights['fc2.weight'].kind = 'holographic')),
      'ERR_MODEL_FORMAT',
      /unknown kind "holographic"/,
    )
    rejects(
      header((h) => (h.weights['conv.weight'].config.bits = 4)),
      'ERR_MODEL_FORMAT',
      /weight "conv\.weight": .*must have shape/,
    )
    rejects(
      header((h) => (h.weights.more = { kind: 'dense', config: {}, shape: [] })),
      'ERR_MODEL_FORMAT',
      /does not have: "more"/,
    )
    const deep = rewrite(at('good'), () => undefined)
    const { tensors } = readSafetensors(deep)
    const nested = '{"a":'.repeat(100) + '1' + '}'.repeat(100)
    fs.writeFileSync(at('deep'), Buffer.concat(encodeSafetensors(tensors, { metadata: { tersor: `{"format":1,"info":${nested}}` } })))
    rejects(at('deep'), 'ERR_LIMIT', /depth|deep/i)
  })

  it('a history that is not one', () => {
    const gzipped = (text: string): RawTensor => {
      const data = new Uint8Array(Buffer.from(text))
      return { dtype: 'u8', shape: [data.length], data }
    }
    rejects(
      rewrite(at('good'), (t) => t.set(':history', gzipped('not gzip'))),
      'ERR_MODEL_FORMAT',
      /":history".*damaged/,
    )
    rejects(
      rewrite(at('good'), (t) => t.set(':history', { dtype: 'f32', shape: [1], data: new Uint8Array(4) })),
      'ERR_MODEL_FORMAT',
      /must be u8/,
    )
  })
})

it('extras survive whatever their names', () => {
  leavesNothing(() => {
    const model = fresh().withExtras(
      Object.fromEntries([['__proto__', { dtype: 'u8', shape: [1], data: new Uint8Array([9]) }]]),
    )
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
