/** distill/train: students cut out of their teacher or of another architecture. */
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import { Rng } from '../../ts/base/rng.js'
import { compress, cutLayers, distill, planCompression, quantize, recipe, train, type CompressEvent } from '../../ts/compress/index.js'
import { keptLayers } from '../../ts/compress/distill/cut.js'
import { numberDataset, type NumberDataset } from '../../ts/data/dataset.js'
import { loadModel, saveModel } from '../../ts/models/file.js'
import { architectures } from '../../ts/models/index.js'
import { textClassifier } from '../../ts/models/transformer/heads.js'
import { memory } from '../../ts/native/devices.js'
import { activation, build, defineModule, freshValues, linear, Model, runChild, sequential, type Module } from '../../ts/nn/index.js'
import { cast, reshape } from '../../ts/ops/index.js'
import type { Tensor } from '../../ts/tensor/index.js'
import { z } from 'zod'
import { code } from '../nn/lib.js'
import { bitsOf, blobs, convnet, mlp, quick } from './toys.js'

/** Ids as numbers: a transformer that takes what a data set of numbers gives. */
const idsOf = defineModule<Record<string, never>>({
  kind: 'test.ids',
  config: z.strictObject({}),
  weights: () => ({}),
  forward: (m, _c, input, ctx) => runChild(m, 'net', cast(reshape(input as Tensor, (input as Tensor).shape), 'i32'), ctx),
})
const width = 8
const netSpec = (layers: number) =>
  textClassifier({
    body: {
      vocabulary: 12,
      embedding: width,
      width,
      layers,
      distinct: layers,
      heads: 2,
      hidden: 16,
      positions: 6,
      activation: 'gelu',
      eps: 1e-6,
      norm: 'post',
      causal: false,
    },
    classes: 3,
  })
function transformer(layers: number, seed = 1): Model {
  const info = { name: `net${layers}`, task: 'classification' as const, classes: ['c0', 'c1', 'c2'], inputShape: [6], history: [] }
  return new Model(build(idsOf({}, { net: netSpec(layers) }), freshValues(Rng.of(seed, 'init'))), info)
}
/** Six tokens; the class is the first modulo 3. */
function tokens(size: number, seed = 1): NumberDataset {
  const rng = Rng.of(seed, 'tokens')
  const features = Float32Array.from({ length: size * 6 }, () => rng.int(12))
  const labels = Int32Array.from({ length: size }, (_, i) => features[i * 6]! % 3)
  return numberDataset({ name: 'tokens', features, inputShape: [6], labels, classes: ['c0', 'c1', 'c2'] })
}
const at = (module: Module, path: string): Module => path.split('.').reduce((m, name) => m.children[name]!, module)
const settings = { ...quick, epochs: 2, optimizer: { kind: 'adamw' as const }, schedule: { kind: 'constant' as const, lr: 0.003 } }

describe('students that are cut out', () => {
  it('keep the layers of DistilBERT and PKD, bit for bit', () => {
    expect(keptLayers('uniform', 6, 12)).toEqual([0, 2, 4, 7, 9, 11])
    expect(keptLayers('first', 6, 12)).toEqual([0, 1, 2, 3, 4, 5])
    const teacher = transformer(4)
    const student = cutLayers(teacher, [0, 3])
    expect(at(student.root, 'net.body').config).toMatchObject({ layers: 2, distinct: 2 })
    expect(at(student.root, 'net').config.body).toMatchObject({ layers: 2 })
    expect(at(student.root, 'net.body.layer1').children.up!.weights.weight).toBe(
      at(teacher.root, 'net.body.layer3').children.up!.weights.weight,
    )
    expect(at(student.root, 'net.body').children.layer2).toBeUndefined()
    const file = join(mkdtempSync(join(tmpdir(), 'tersor-cut-')), 'student.safetensors')
    saveModel(cutLayers(mlpBlocks(), [0, 2]), file)
    expect(
      loadModel(file)
        .weights()
        .map((w) => w.path),
    ).toEqual(['block0.in.weight', 'block0.in.bias', 'block2.in.weight', 'block2.in.bias', 'out.weight', 'out.bias'])
    rmSync(join(file, '..'), { recursive: true })
  })
  it('refuses what cannot be cut', () => {
    const pointer = (p: string): unknown => expect.objectContaining({ code: 'ERR_OPTION', details: { pointer: p } })
    const caught = (f: () => unknown): unknown => {
      try {
        return f()
      } catch (error) {
        return error
      }
    }
    expect(caught(() => cutLayers(convnet(), [0]))).toEqual(pointer('/student'))
    expect(caught(() => cutLayers(transformer(3), [0, 3]))).toEqual(pointer('/student/keep/1'))
    expect(caught(() => cutLayers(transformer(3), [1, 1]))).toEqual(pointer('/student/keep/1'))
    expect(caught(() => cutLayers(transformer(3), []))).toEqual(pointer('/student/keep'))
    // Layers of different widths: nothing would fit behind one another.
    expect(caught(() => cutLayers(mlp(), [0, 1]))).toEqual(pointer('/student'))
    expect(caught(() => cutLayers(mlp(), [0, 2]))).toBeInstanceOf(Model)
    const { spec, inputShape } = architectures.resnet20({ inputShape: [1, 8, 8], classes: 2 })
    const stages = new Model(build(spec, freshValues(Rng.of(1, 'init'))), { name: 'r', task: 'classification', inputShape, history: [] })
    const student = recipe([[distill.train({ student: { layers: 2 }, training: quick })]])
    expect(caught(() => planCompression(stages, student, { data: blobs(8) }))).toMatchObject({
      code: 'ERR_OPTION',
      message: expect.stringMatching(/layer2 of r cannot be left out/),
    })
  })
})

/** Blocks in a plain container, which keeps their names. */
function mlpBlocks(): Model {
  const block = sequential({ in: linear({ in: 8, out: 8, bias: true, init: 'he' }), act: activation({ function: 'relu' }) })
  const root = sequential({ block0: block, block1: block, block2: block, out: linear({ in: 8, out: 3, bias: true, init: 'he' }) })
  return new Model(build(root, freshValues(Rng.of(1, 'init'))), {
    name: 'blocks',
    task: 'classification',
    classes: ['c0', 'c1', 'c2'],
    inputShape: [8],
    history: [],
  })
}

describe('distill/train', () => {
  const data = tokens(96)
  it('half the layers, hidden states and attention; then 8 bits; resumed = not interrupted; the file loads', async () => {
    const { model: teacher } = await train(transformer(4), data, settings)
    const before = bitsOf(teacher)
    const how = { temperature: 2, match: [{ loss: 'hidden' as const }, { loss: 'attention' as const }] }
    const made = recipe([[distill.train({ student: { layers: 2 }, epochs: 1, distill: how })], [quantize.rtn({ bits: 8 })]])
    const events: CompressEvent[] = []
    const straight = await compress(teacher, made, { data, onEvent: (e) => void events.push(e) })
    expect(bitsOf(teacher)).toBe(before)
    const [pass] = straight.report.passes
    expect(pass!.figures).toMatchObject({ parameters: straight.model.parameters(), parametersBefore: teacher.parameters() })
    expect(events.find((e) => e.type === 'plan')).toMatchObject({ plan: { epochs: 1, parameters: straight.model.parameters() } })
    expect(straight.report.bytesAfter).toBeLessThan(straight.report.bytesBefore / 3)
    const checkpointDir = mkdtempSync(join(tmpdir(), 'tersor-kd-'))
    try {
      const stop = new AbortController()
      let saves = 0
      const options = { data, checkpointDir, checkpointSeconds: 0 }
      const onEvent = (e: CompressEvent): void => void (e.type === 'checkpoint' && ++saves === 2 && stop.abort())
      await expect(compress(teacher, made, { ...options, signal: stop.signal, onEvent })).rejects.toThrowError(code('ERR_ABORTED'))
      expect(bitsOf((await compress(teacher, made, { ...options, resume: true })).model)).toBe(bitsOf(straight.model))
    } finally {
      rmSync(checkpointDir, { recursive: true })
    }
    const count = memory().tensors
    const again = await compress(teacher, made, { data })
    again.model.dispose()
    // What the student shares with its teacher belongs to the teacher.
    expect(memory().tensors).toBeLessThanOrEqual(count)
  })

  it('another architecture, from given teachers; a model that keeps its size', async () => {
    const numbers = blobs(96)
    const { model: teacher } = await train(mlp({ hidden: 48 }), numbers, { ...quick, epochs: 2 })
    const spec = sequential({
      a: linear({ in: 8, out: 6, bias: true, init: 'he' }),
      b: activation({ function: 'relu' }),
      c: linear({ in: 6, out: 3, bias: true, init: 'he' }),
    })
    const small = await compress(
      teacher,
      recipe([
        [
          distill.train({
            student: { spec: spec as never },
            epochs: 6,
            distill: { alpha: 1, temperature: 4, match: [{ loss: 'hidden', layers: [['b', 'relu2']] }] },
          }),
        ],
      ]),
      { data: numbers },
    )
    expect(small.model.weights().map((w) => w.path)).toEqual(['a.weight', 'a.bias', 'c.weight', 'c.bias'])
    expect(small.report.passes[0]!.epochs.at(-1)!.loss).toBeLessThan(small.report.passes[0]!.epochs[0]!.loss)
    const same = await compress(mlp(), recipe([[distill.train({ student: { same: true }, training: quick, epochs: 1 })]]), {
      data: numbers,
      teacher,
    })
    expect(bitsOf(same.model)).not.toBe(bitsOf(mlp()))
  })

  it('tells bad students with pointers', async () => {
    const run = (options: object): Promise<unknown> =>
      compress(transformer(3), { recipe: 1, stages: [[{ pass: 'distill/train', options }]] } as never, { data })
    await expect(run({ student: { layers: 2, from: 'last' } })).rejects.toMatchObject({ code: 'ERR_RECIPE' })
    await expect(run({ student: { layers: 4 }, training: quick })).rejects.toMatchObject({
      code: 'ERR_OPTION',
      details: { pointer: '/student/layers' },
    })
    await expect(run({ student: { keep: [2, 1] }, training: quick })).rejects.toMatchObject({
      code: 'ERR_OPTION',
      details: { pointer: '/student/keep/1' },
    })
    await expect(run({ student: { layers: 2 } })).rejects.toMatchObject({ code: 'ERR_OPTION', details: { pointer: '/training' } })
    await expect(run({})).rejects.toMatchObject({ code: 'ERR_RECIPE', details: { pointer: '/stages/0/0/options/student' } })
  })
})
