/** Imported tfjs models are models like any other: sessions, ONNX files, training, compression; and what is refused, with all its nodes. */
import fs from 'node:fs'
import path from 'node:path'
import { describe, expect, it } from 'vitest'
import { compress, load, memory, prune, recipe, saveOnnx, scope, session, tensor, valueAndGrad, type Model } from '../../ts/index.js'
import { graphOf, modelFromTfjs } from '../../ts/graph/index.js'
import { mul, sum } from '../../ts/ops/index.js'
import { readOnnx } from '../../ts/formats/index.js'
import { succeeds } from '../cli/lib.js'
import { cpuClock } from '../cpu-time.js'
import { errorOf, tempDir } from '../formats/lib.js'
import { tfjsModel, type PlainTensor } from './tfjs-lib.js'

interface Case {
  readonly name: string
  readonly topology: unknown
  readonly tensors: Readonly<Record<string, PlainTensor>>
}
const golden = JSON.parse(fs.readFileSync(path.join(import.meta.dirname, '../golden/tfjs.json'), 'utf8')) as {
  readonly layers: readonly Case[]
}
const dense = (): Case => golden.layers.find((c) => c.name === 'Dense')!
const images = (): Case => golden.layers.find((c) => c.name === 'Flatten of images')!

/** The model as a folder: model.json, and its weights in shards cut at any byte. */
function folderOf(c: Case): string {
  const dir = tempDir()
  const weights = Object.entries(c.tensors).map(([name, { shape, dtype }]) => ({ name, shape, dtype }))
  const bytes = Buffer.concat(Object.values(c.tensors).map(({ data }) => Buffer.from(Float32Array.from(data).buffer)))
  const cut = 13
  fs.writeFileSync(path.join(dir, 'a.bin'), bytes.subarray(0, cut))
  fs.writeFileSync(path.join(dir, 'b.bin'), bytes.subarray(cut))
  const json = { format: 'layers-model', modelTopology: c.topology, weightsManifest: [{ paths: ['a.bin', 'b.bin'], weights }] }
  fs.writeFileSync(path.join(dir, 'model.json'), JSON.stringify(json))
  return dir
}
const values = (m: Model, x: ReturnType<typeof tensor>): number[] => scope(() => Array.from(m.predict(x).read() as Float32Array))

describe('an imported tfjs model', () => {
  it('loads from its folder and from model.json, saves and loads again', () => {
    const dir = folderOf(dense())
    scope(() => {
      const x = tensor(Float32Array.of(0.5, -1, 2, 0.25), [1, 4])
      const want = values(modelFromTfjs(tfjsModel(dense().topology, dense().tensors)), x)
      for (const file of [dir, path.join(dir, 'model.json')]) {
        const model = load(file)
        expect(values(model, x)).toEqual(want)
        expect(model.info.inputShape).toEqual([4])
        model.dispose()
      }
    })
  })

  it('its folder becomes an ONNX file on the command line, with the inputs of the file', async () => {
    const out = path.join(tempDir(), 'dense.onnx')
    await succeeds(['convert', folderOf(dense()), out, '--no-check'])
    const declared = graphOf(load(folderOf(dense())).root)!.inputs[0]!
    expect(readOnnx(out).graph.inputs).toEqual([{ name: declared.name, dtype: 'f32', shape: ['batch', 4] }])
  })

  it('runs in a session with one plan, values as eagerly', async () => {
    const model = load(folderOf(images()))
    const s = session(model)
    const x = tensor(
      Float32Array.from({ length: 18 }, (_, i) => i / 9 - 1),
      [1, 3, 3, 2],
    )
    const want = values(model, x)
    const name = graphOf(model.root)!.inputs[0]!.name
    for (let i = 0; i < 2; i++) {
      const out = Object.values(await s.run({ [name]: x }))[0]!
      Array.from(out.data as Float32Array).forEach((v, k) => expect(v).toBeCloseTo(want[k]!, 5))
    }
    expect(s.info().classes.map((c) => c.planned)).toEqual([true])
    s.dispose()
    x.dispose()
    model.dispose()
  })

  it('is written as an ONNX file that loads with the same values', async () => {
    const model = load(folderOf(images()))
    const file = path.join(tempDir(), 'images.onnx')
    await saveOnnx(model, file)
    const again = load(file)
    scope(() => {
      const x = tensor(
        Float32Array.from({ length: 36 }, (_, i) => Math.sin(i)),
        [2, 3, 3, 2],
      )
      const want = values(model, x)
      values(again, x).forEach((v, k) => expect(v).toBeCloseTo(want[k]!, 5))
    })
    model.dispose()
    again.dispose()
  })

  it('has gradients and is pruned', async () => {
    const before = memory().tensors
    const model = load(folderOf(dense()))
    scope(() => {
      const x = tensor(
        Float32Array.from({ length: 32 }, (_, i) => Math.sin(i)),
        [8, 4],
      )
      const leaves = [...model.leaves().values()].map((leaf) => leaf.value)
      const { grads } = valueAndGrad(() => sum(mul(model.forward(x), tensor(Float32Array.of(1, -2), [1, 2]))), leaves)
      expect(grads.some((g) => (g.read() as Float32Array).some((v) => v !== 0))).toBe(true)
    })
    const { model: small } = await compress(model, recipe([[prune.magnitude({ sparsity: 0.5 })]]))
    expect([...small.weights()].filter(({ weight }) => weight.shape.length === 2).map(({ weight }) => weight.nonzeros())).toEqual([6, 3])
    small.dispose()
    model.dispose()
    expect(memory().tensors).toBe(before)
  })
})

type N = readonly [name: string, op: string, input?: readonly string[], attr?: unknown]
const X: N = ['x', 'Placeholder', [], { dtype: { type: 1 }, shape: { shape: { dim: [{ size: '-1' }, { size: '2' }] } } }]
const graph = (nodes: readonly N[], weights: Record<string, PlainTensor> = {}, signature?: unknown): ReturnType<typeof tfjsModel> =>
  tfjsModel({ node: nodes.map(([name, op, input = [], attr = {}]) => ({ name, op, input, attr })) }, weights, signature)
const F = 'ERR_MODEL_FORMAT'
const layer = (className: string, name: string, config: object, ...from: string[]): unknown => ({
  class_name: className,
  name,
  config: { name, ...config },
  inbound_nodes: from.length ? [from.map((f) => [f, 0, 0, {}])] : [],
})
const net = (layers: readonly unknown[], out = 'y'): ReturnType<typeof tfjsModel> =>
  tfjsModel(
    {
      model_config: { class_name: 'Functional', config: { name: 'm', layers, input_layers: [['x', 0, 0]], output_layers: [[out, 0, 0]] } },
    },
    {},
  )
const input = layer('InputLayer', 'x', { batch_input_shape: [null, 2], dtype: 'float32' })
const nested = (depth: number): unknown =>
  depth === 0
    ? layer('Activation', 'a', { activation: 'relu' })
    : { class_name: 'Sequential', config: { name: `m${depth}`, layers: [nested(depth - 1)] } }

const hostile: readonly (readonly [name: string, model: () => ReturnType<typeof tfjsModel>, code: string, message: RegExp])[] = [
  ['a cycle', () => graph([X, ['a', 'Add', ['x', 'b']], ['b', 'Relu', ['a']]], {}, { outputs: { y: { name: 'b' } } }), F, /cycle/],
  ['a node that needs itself', () => graph([X, ['a', 'Relu', ['a']]], {}, { outputs: { y: { name: 'a' } } }), F, /cycle/],
  ['two nodes of a name', () => graph([X, ['a', 'Relu', ['x']], ['a', 'Relu', ['x']]]), F, /two nodes/],
  ['an input that is not there', () => graph([X, ['a', 'Relu', ['q']]]), F, /"q" does not exist/],
  ['an output that is not there', () => graph([X], {}, { outputs: { y: { name: 'q' } } }), F, /"q" does not exist/],
  ['a result that is not there', () => graph([X, ['a', 'Relu', ['x:3']]]), F, /no result 3/],
  ['a reference that is none', () => graph([X, ['a', 'Relu', ['x:-1:']]]), F, /no reference/],
  ['a constant without values', () => graph([['c', 'Const'], ['a', 'Relu', ['c']]]), F, /not among the weights/], // prettier-ignore
  ['too few inputs', () => graph([X, ['a', 'MatMul', ['x']]]), F, /at least 2 inputs/],
  ['no outputs', () => graph([X]), F, /no outputs/],
  ['an attribute of another type', () => graph([X, ['a', 'LeakyRelu', ['x'], { alpha: { s: 'eA==' } }]]), F, /"alpha"/],
  ['an attribute that is null', () => graph([X, ['a', 'LeakyRelu', ['x'], { alpha: null }]]), F, /"alpha"/],
  ['an attribute named __proto__', () => graph([X, ['a', 'Relu', ['x'], JSON.parse('{"__proto__":{"polluted":1}}')]]), 'ok', /./],
  ['a node named __proto__', () => graph([X, ['__proto__', 'Relu', ['x']]]), 'ok', /./],
  ['an operator named constructor', () => graph([X, ['a', 'constructor', ['x']]]), 'ERR_UNSUPPORTED', /constructor \(1 node: "a"\)/],
  ['operators nobody knows, all at once', () => graph([X, ['a', 'Foo', ['x']], ['b', 'Bar', ['a']], ['c', 'Foo', ['b']]]), 'ERR_UNSUPPORTED', /Foo \(2 nodes: "a", "c"\); Bar \(1 node/],
  ['a placeholder of rank 9', () => graph([['x', 'Placeholder', [], { shape: { shape: { dim: Array(9).fill({ size: '1' }) } } }], ['a', 'Relu', ['x']]]), 'ERR_LIMIT', /rank/],
  ['shapes that do not fit', () => graph([X, ['w', 'Const'], ['a', 'MatMul', ['x', 'w']]], { w: { shape: [3, 1], dtype: 'float32', data: [1, 2, 3] } }), 'ERR_SHAPE', /./],
  ['a layer cycle', () => net([input, layer('ReLU', 'a', {}, 'b'), layer('ReLU', 'b', {}, 'a')], 'b'), F, /cycle/],
  ['two layers of a name', () => net([input, layer('ReLU', 'y', {}, 'x'), layer('ReLU', 'y', {}, 'x')]), F, /two layers/],
  ['a layer that is not there', () => net([input, layer('ReLU', 'y', {}, 'q')]), F, /"q" does not exist/],
  ['layers nobody knows, all at once', () => net([input, layer('Foo', 'a', {}, 'x'), layer('Lambda', 'y', {}, 'a')]), 'ERR_UNSUPPORTED', /Foo \(1: "a"\); Lambda/],
  ['a layer without its weight', () => net([input, layer('Dense', 'y', { units: 3 }, 'x')]), F, /no weight is "kernel"/],
  ['units of half a million digits', () => net([input, layer('Dense', 'y', { units: 1e308 }, 'x')]), F, /"units" must be an integer/],
  ['axes that are fractions', () => graph([X, ['w', 'Const'], ['a', 'Mean', ['x', 'w']]], { w: { shape: [1], dtype: 'float32', data: [0.5] } }), F, /must be integers/],
  ['an input layer inside a wrapper', () => net([input, layer('TimeDistributed', 'y', { layer: { class_name: 'InputLayer', config: { name: 'q' } } }, 'x')]), F, /can be called/],
  ['models 20 deep', () => tfjsModel(nested(20), {}), 'ERR_LIMIT', /nest deeper/],
  ['nothing known', () => tfjsModel({ layers: [] }, {}), 'ERR_UNSUPPORTED', /neither a graph nor layers/],
  ['a class nobody knows', () => tfjsModel({ class_name: 'Transformer', config: {} }, {}), 'ERR_UNSUPPORTED', /"Transformer"/],
] // prettier-ignore

describe(`hostile topologies: ${hostile.length}`, () => {
  it.each(hostile)('%s', (_, make, code, message) => {
    const before = memory().tensors
    if (code === 'ok') modelFromTfjs(make()).dispose()
    else expect(errorOf(() => modelFromTfjs(make()))).toMatchObject({ code, message: expect.stringMatching(message) as string })
    expect(({} as { polluted?: number }).polluted).toBeUndefined()
    expect(memory().tensors).toBe(before)
  })

  it('a chain of 2000 nodes: the limit of nodes holds, and beneath it the time is bounded', () => {
    const model = graph([X, ...Array.from({ length: 2000 }, (_, i): N => [`n${i}`, 'Relu', [i ? `n${i - 1}` : 'x']])])
    expect(errorOf(() => modelFromTfjs(model, { limits: { graphNodes: 2000 } })).details).toMatchObject({
      limit: 'graphNodes',
      value: 2001,
      max: 2000,
    })
    const ms = cpuClock()
    modelFromTfjs(model).dispose()
    expect(ms()).toBeLessThan(3000) // some 60 ms
  })

  it('functions that call each other without end, and models used again and again, are stopped', () => {
    const call: N = ['i', 'If', ['c', 'x'], { then_branch: { func: { name: 'f' } }, else_branch: { func: { name: 'f' } } }]
    const node = ([name, op, from = [], attr = {}]: N): unknown => ({ name, op, input: from, attr })
    const f = {
      signature: { name: 'f', inputArg: [{ name: 'x' }], outputArg: [{ name: 'o' }] },
      nodeDef: [node(['c', 'Less', ['x', 'x']]), node(call)],
      ret: { o: 'i:output:0' },
    }
    const top = [X, ['c', 'Less', ['x', 'x']] as N, call].map(node)
    expect(errorOf(() => modelFromTfjs(tfjsModel({ node: top, library: { function: [f] } }, {}))).code).toBe('ERR_LIMIT')
  })
})
