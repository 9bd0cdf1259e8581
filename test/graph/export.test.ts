/** Models as ONNX files: what onnxruntime computes from the file is what the model computes, for layers, nets and every kind of weight. */
import { existsSync, readFileSync, statSync, writeFileSync } from 'node:fs'
import path from 'node:path'
import { describe, expect, it } from 'vitest'
import { Rng } from '../../ts/base/rng.js'
import { compress, prune, quantize, recipe, sparsify } from '../../ts/compress/index.js'
import type { NumberDataset } from '../../ts/data/index.js'
import { encodeOnnx, parseOnnx, readOnnx, writeOnnx } from '../../ts/formats/onnx/index.js'
import { exportOnnx, type ExportOptions } from '../../ts/graph/index.js'
import { memory } from '../../ts/index.js'
import { architectures, languageModel, loadHuggingFace, transformerSpec, type ArchitectureName } from '../../ts/models/index.js'
import {
  build,
  conv1d,
  convTranspose2d,
  conv2d,
  defineModule,
  encoderBlock,
  freshValues,
  gru,
  groupNorm,
  linear,
  lstm,
  Model,
  rmsNorm,
  sequential,
  type ModuleSpec,
} from '../../ts/nn/index.js'
import { scaleShift, sort } from '../../ts/ops/index.js'
import { saveOnnx, type OnnxRuntime } from '../../ts/runtime/save-onnx.js'
import { saveTransformersJs } from '../../ts/runtime/transformers-js.js'
import { scope, tensor, type Tensor } from '../../ts/tensor/index.js'
import { useLite } from '../../ts/models/use-lite.js'
import { tempDir } from '../formats/lib.js'
import { constant, model as onnxModel, node, oracle, ort, value, type Fed } from './build.js'
import { z } from 'zod'

const fresh = (spec: ModuleSpec, info = {}): Model =>
  new Model(build(spec, freshValues(Rng.of(3))), { name: 'm', task: 'classification', history: [], ...info })
const rng = Rng.of(11)
const floats = (...shape: number[]): Tensor =>
  tensor(
    Float32Array.from({ length: shape.reduce((a, b) => a * b, 1) }, () => 2 * rng.uniform() - 1),
    shape,
  )
const ids = (rows: number, tokens: number, below: number): Tensor =>
  tensor(
    Int32Array.from({ length: rows * tokens }, () => 1 + Math.floor(rng.uniform() * (below - 1))),
    [rows, tokens],
  )
/** 1, with padding at the end of odd rows. */
const mask = (rows: number, tokens: number): Tensor =>
  tensor(
    Float32Array.from({ length: rows * tokens }, (_, i) => (i % tokens === tokens - 1 && Math.floor(i / tokens) % 2 === 1 ? 0 : 1)),
    [rows, tokens],
  )
type Inputs = Readonly<Record<string, Tensor>>

/** Traced on `example`, run on `test` (of other sizes): the largest distance relative to the largest value. */
async function distance(model: Model, example: Inputs, test: Inputs, options: Partial<ExportOptions> = {}): Promise<number> {
  const bytes = encodeOnnx(exportOnnx(model, { example: example.x ?? example, ...options }))
  const feeds = Object.fromEntries(
    Object.entries(test).map(([name, t]): [string, Fed] => {
      const data = t.read() as Float32Array
      return [
        name,
        t.dtype === 'i32'
          ? { type: 'int64', data: BigInt64Array.from(data, BigInt), dims: t.shape }
          : { type: 'float32', data, dims: t.shape },
      ]
    }),
  )
  const got = (await oracle(bytes, feeds)).output!
  return scope(() => {
    const want = model.predict(test.x ?? test)
    expect(got.dims).toEqual(want.shape)
    const values = want.read() as Float32Array
    const largest = values.reduce((m, v) => Math.max(m, Math.abs(v)), 1e-30)
    return values.reduce((m, v, i) => Math.max(m, Math.abs(v - got.data[i]!)), 0) / largest
  })
}
const times = { dynamic: { x: { 0: 'batch', 1: 'time' } } }
const tokens = { dynamic: { ids: { 0: 'batch', 1: 'tokens' }, mask: { 0: 'batch', 1: 'tokens' } } }
const small = {
  hidden_size: 16,
  num_hidden_layers: 2,
  num_attention_heads: 4,
  intermediate_size: 32,
  vocab_size: 50,
  max_position_embeddings: 24,
}
const bert = (): Model => fresh(transformerSpec({ model_type: 'bert', ...small, type_vocab_size: 2 }, { head: 'classifier', classes: 3 }))
const compressed = async (model: Model, stages: Parameters<typeof recipe>[0], data?: NumberDataset): Promise<Model> =>
  (await compress(model, recipe(stages), data ? { data } : {})).model

describe.skipIf(!ort)('onnxruntime computes from the file what the model computes', () => {
  const sequences: [string, ModuleSpec][] = [
    ['linear', linear({ in: 4, out: 3, bias: true, init: 'he' })],
    ['pre-norm encoder', encoderBlock({ width: 4, heads: 2, hidden: 6 })],
    ['causal encoder', encoderBlock({ width: 4, heads: 2, hidden: 6, causal: true, norm: 'post', activation: 'silu' })],
    ['lstm', lstm({ in: 4, hidden: 5, layers: 2, bidirectional: true, bias: true, dropout: 0, init: 0 })],
    ['gru', gru({ in: 4, hidden: 5, layers: 2, bias: false, bidirectional: false, dropout: 0, init: 0 })],
    ['rms norm', rmsNorm({ width: 4 })],
  ]
  it.each(sequences)('%s, with other batches and lengths than it was traced on', async (_, spec) => {
    expect(await distance(fresh(spec), { x: floats(2, 5, 4) }, { x: floats(3, 6, 4) }, times)).toBeLessThan(1e-5)
  })

  const images: [string, ModuleSpec, number[]][] = [
    [
      'grouped, dilated convolution',
      conv2d({ in: 4, out: 6, kernel: [3, 2], stride: [2, 1], padding: [1, 0], dilation: [1, 2], groups: 2 }),
      [4, 9, 8],
    ],
    [
      'transposed convolution',
      convTranspose2d({ in: 4, out: 3, kernel: [3, 3], stride: [2, 2], padding: [1, 1], outputPadding: [1, 1] }),
      [4, 5, 6],
    ],
    ['conv1d and group norm', sequential({ a: conv1d({ in: 4, out: 6, kernel: 3 }), b: groupNorm({ channels: 6, groups: 2 }) }), [4, 9]],
  ]
  it.each(images)('%s', async (_, spec, shape) => {
    expect(await distance(fresh(spec), { x: floats(2, ...shape) }, { x: floats(3, ...shape) })).toBeLessThan(1e-5)
  })

  const nets: [ArchitectureName, number[]][] = [
    ['mlp', [28, 28]],
    ['lenet5', [28, 28]],
    ['resnet20', [3, 32, 32]],
    ['mobilenet_v2', [3, 32, 32]],
  ]
  it.each(nets)('%s', async (name, inputShape) => {
    const net = architectures[name]({ inputShape, classes: 10 })
    expect(await distance(fresh(net.spec), { x: floats(2, ...net.inputShape) }, { x: floats(3, ...net.inputShape) })).toBeLessThan(1e-5)
  })

  const types: [string, object][] = [
    ['bert', { type_vocab_size: 2 }],
    ['roberta', { type_vocab_size: 1, pad_token_id: 0 }],
    ['albert', { embedding_size: 8, type_vocab_size: 2 }],
    ['distilbert', { dim: 16, n_layers: 2, n_heads: 4, hidden_dim: 32 }],
    ['gpt2', { n_embd: 16, n_layer: 2, n_head: 4, n_positions: 24 }],
  ]
  it.each(types)('%s with each head, masked', async (type, more) => {
    for (const head of ['embedding', 'classifier', 'language'] as const) {
      const model = fresh(transformerSpec({ model_type: type, ...small, ...more }, { head, classes: 3 }))
      const [example, test] = [
        { ids: ids(2, 5, 50), mask: mask(2, 5) },
        { ids: ids(3, 8, 50), mask: mask(3, 8) },
      ]
      expect(await distance(model, example, test, tokens), head).toBeLessThan(1e-5)
      expect(
        await distance(model, { ids: example.ids }, { ids: test.ids }, { dynamic: { ids: tokens.dynamic.ids } }),
        `${head}, no mask`,
      ).toBeLessThan(1e-5)
    }
  })

  const roundings: [string, Parameters<typeof quantize.rtn>[0]][] = [
    ['8 bits per channel', { bits: 8 }],
    ['8 bits per tensor', { bits: 8, layout: 'tensor' }],
    ['8 bits, affine', { bits: 8, mode: 'affine' }],
    ['4 bits in groups', { bits: 4, layout: 'group', groupSize: 16 }],
    ['4 bits in groups, affine', { bits: 4, layout: 'group', groupSize: 16, mode: 'affine' }],
    ['4 bits per channel', { bits: 4 }],
    ['3 bits in groups that do not divide', { bits: 3, layout: 'group', groupSize: 12 }],
  ]
  it.each(roundings)('weights of %s', async (_, options) => {
    const model = await compressed(bert(), [[quantize.rtn(options)]])
    const [example, test] = [
      { ids: ids(2, 5, 50), mask: mask(2, 5) },
      { ids: ids(3, 8, 50), mask: mask(3, 8) },
    ]
    for (const profile of ['ort', 'onnx'] as const)
      expect(await distance(model, example, test, { ...tokens, profile }), profile).toBeLessThan(1e-5)
    if (options?.bits === 8) expect(await distance(model, example, test, { ...tokens, dynamicQuantization: true })).toBeLessThan(5e-2)
  })

  it('Universal Sentence Encoder lite, whose table of positions the file holds up to its longest text', async () => {
    const sizes = { vocabulary: 40, embedding: 8, width: 12, layers: 2, heads: 2, hidden: 16, out: 8, maxTokens: 20 }
    const model = fresh(useLite(sizes))
    const bytes = encodeOnnx(exportOnnx(model))
    for (const [b, t] of [
      [1, 1],
      [1, 6],
      [4, 20],
    ] as const) {
      const feeds = { ids: ids(b, t, 40), mask: mask(b, t) }
      const got = (
        await oracle(bytes, {
          ids: { type: 'int64', data: BigInt64Array.from(feeds.ids.read() as Int32Array, BigInt), dims: [b, t] },
          mask: { type: 'float32', data: feeds.mask.read(), dims: [b, t] },
        })
      ).output!
      scope(() => (model.predict(feeds).read() as Float32Array).forEach((v, i) => expect(got.data[i]).toBeCloseTo(v, 5)))
    }
  })

  it('pruned weights, f16 weights, quantized recurrent layers', async () => {
    const [example, test] = [{ ids: ids(2, 5, 50) }, { ids: ids(3, 8, 50) }]
    const dynamic = { dynamic: { ids: tokens.dynamic.ids } }
    const sparse = await compressed(bert(), [[prune.magnitude({ sparsity: 0.6 })], [sparsify.csr()]])
    expect(await distance(sparse, example, test, dynamic)).toBeLessThan(1e-5)
    expect(await distance(bert(), example, test, { ...dynamic, floats: 'f16' })).toBeLessThan(1e-2)
    for (const cell of ['lstm', 'gru'] as const) {
      const net = await compressed(fresh(languageModel({ vocabulary: 30, width: 8, hidden: 8, layers: 2, cell })), [
        [quantize.rtn({ bits: 8 })],
      ])
      expect(await distance(net, { x: ids(2, 5, 30) }, { x: ids(3, 7, 30) }, times), cell).toBeLessThan(1e-5)
    }
  })

  it('quantized inputs: a file of a quarter, the same classes', async () => {
    const net = architectures.convnet({ inputShape: [1, 16, 16], classes: 10 })
    const model = fresh(net.spec, { inputShape: net.inputShape })
    const data: NumberDataset = {
      name: 'noise',
      input: 'numbers',
      inputShape: [1, 16, 16],
      classes: 10,
      size: 32,
      batch: (list: ArrayLike<number>) => ({ x: floats(list.length * 256).read() as Float32Array, labels: new Int32Array(list.length) }),
    } as unknown as NumberDataset
    const small = await compressed(model, [[quantize.static({ bits: 8 })]], data)
    expect(await distance(small, { x: floats(2, 1, 16, 16) }, { x: floats(8, 1, 16, 16) })).toBeLessThan(2e-2)
    const [whole, less] = [model, small].map((m) => encodeOnnx(exportOnnx(m)).length)
    expect(less! / whole!).toBeLessThan(0.35)
    // A pooling between two layers stands between (de)quantizers: runtimes keep the whole chain in integers.
    const { nodes } = exportOnnx(small).graph
    const pool = nodes.find((n) => n.op === 'MaxPool')!
    expect(nodes.find((n) => n.outputs[0] === pool.inputs[0])!.op).toBe('DequantizeLinear')
  })
})

describe('files', () => {
  it('hold the same model again, with constants inside or beside', () => {
    const dir = tempDir()
    const net = architectures.lenet5({ inputShape: [28, 28], classes: 10 })
    const onnx = exportOnnx(fresh(net.spec, { inputShape: net.inputShape }))
    expect(writeOnnx(path.join(dir, 'a.onnx'), onnx)).toEqual([path.join(dir, 'a.onnx')])
    const files = writeOnnx(path.join(dir, 'b.onnx'), onnx, { external: true })
    expect(files).toEqual([path.join(dir, 'b.onnx'), path.join(dir, 'b.onnx_data')])
    expect(statSync(files[0]!).size).toBeLessThan(20_000)
    for (const file of ['a.onnx', 'b.onnx']) {
      const back = readOnnx(path.join(dir, file))
      expect(back.graph.nodes).toEqual(onnx.graph.nodes)
      expect(back.graph.inputs).toEqual(onnx.graph.inputs)
      expect(back.opsets).toEqual(onnx.opsets)
      for (const [name, t] of onnx.graph.initializers)
        expect(Buffer.from(back.graph.initializers.get(name)!.read()).equals(Buffer.from(t.read())), name).toBe(true)
    }
  })

  it('keep subgraphs, functions and attributes of every type', () => {
    const branch = (name: string, y: number) => ({
      name,
      node: [node('Constant', [], [`${name}_y`], { value: constant('', [1], [y]) })],
      output: [value(`${name}_y`, [1])],
    })
    const bytes = onnxModel(
      {
        node: [
          node('If', ['c'], ['y'], { then_branch: branch('a', 1), else_branch: branch('b', 2) }),
          node(
            'Strange',
            ['y', '', 'w'],
            ['z'],
            { i: -3, f: 0.25, s: 'text', is: [1, -2], fs: [0.5], ss: ['a', 'b'], t: constant('', [2], [1, 2], 'i64') },
            { domain: 'mine' },
          ),
        ],
        input: [value('c', [], 'bool'), value('free')],
        output: [value('z', ['n', 2])],
        initializer: [constant('w', [2, 2], [1, 2, 3, 4])],
      },
      {
        domains: { mine: 1 },
        functions: [
          {
            name: 'Strange',
            domain: 'mine',
            input: ['a'],
            output: ['b'],
            node: [node('Relu', ['a'], ['b'])],
            opsetImport: [{ domain: '', version: 17n }],
          },
        ],
      },
    )
    const model = parseOnnx(bytes)
    const again = parseOnnx(encodeOnnx(model))
    const plain = (v: unknown): string =>
      JSON.stringify(v, (_, x: unknown) => (x instanceof Map ? [...x] : typeof x === 'function' ? undefined : x))
    expect(plain({ ...again, bytes: 0 })).toBe(plain({ ...model, bytes: 0 }))
  })

  it('free every tensor that tracing made', () => {
    const net = architectures.lenet5({ inputShape: [28, 28], classes: 10 })
    const model = fresh(net.spec, { inputShape: net.inputShape })
    const before = memory().tensors
    exportOnnx(model)
    expect(memory().tensors).toBe(before)
    model.dispose()
  })

  it.skipIf(!ort)('are put in place after onnxruntime agreed, and not before', async () => {
    const onnxruntime = ort as unknown as OnnxRuntime
    const file = path.join(tempDir(), 'm.onnx')
    writeFileSync(file, 'old')
    const net = architectures.mlp({ inputShape: [28, 28], classes: 10 })
    const model = fresh(net.spec, { inputShape: net.inputShape })
    await expect(saveOnnx(model, file, { onnxruntime, tolerance: -1 })).rejects.toMatchObject({ code: 'ERR_NUMERIC' })
    expect(readFileSync(file, 'utf8')).toBe('old')
    const { bytes, check } = await saveOnnx(model, file, { onnxruntime })
    expect(statSync(file).size).toBe(bytes)
    expect(check!.difference).toBeLessThan(1e-5)
  })

  it('of a folder for transformers.js are where it looks for them', async () => {
    const dir = tempDir()
    const source = new URL('../golden/huggingface/bert', import.meta.url).pathname
    const model = loadHuggingFace(source, { head: 'classifier' })
    await saveTransformersJs(model, dir, ort ? { onnxruntime: ort as unknown as OnnxRuntime } : { check: false })
    for (const name of ['config.json', 'tokenizer.json', 'tokenizer_config.json', 'onnx/model.onnx'])
      expect(existsSync(path.join(dir, name)), name).toBe(true)
    const config = JSON.parse(readFileSync(path.join(dir, 'tokenizer_config.json'), 'utf8')) as unknown
    expect(config).toMatchObject({ pad_token: '[PAD]', cls_token: '[CLS]', mask_token: '[MASK]' })
    const { graph } = readOnnx(path.join(dir, 'onnx/model.onnx'))
    expect(graph.inputs.map((v) => [v.name, v.dtype, v.shape])).toEqual(
      ['input_ids', 'attention_mask', 'token_type_ids'].map((name) => [name, 'i64', ['batch', 'tokens']]),
    )
    expect(graph.outputs[0]).toMatchObject({ name: 'logits', shape: ['batch', 3] })
    const pooled = loadHuggingFace(source, { head: 'embedding', output: 'pooled' })
    await expect(saveTransformersJs(pooled, dir)).rejects.toMatchObject({ code: 'ERR_OPTION' })
  })
})

describe('refuses', () => {
  const net = (): Model => fresh(linear({ in: 4, out: 3, bias: true, init: 'he' }))
  it('names, dimensions and models that do not fit', () => {
    const model = net()
    const example = floats(2, 4)
    expect(() => exportOnnx(model)).toThrow(/does not say what it takes/)
    expect(() => exportOnnx(model, { example, dynamic: { y: { 0: 'batch' } } })).toThrow(expect.objectContaining({ code: 'ERR_OPTION' }))
    expect(() => exportOnnx(model, { example, dynamic: { x: { 2: 'batch' } } })).toThrow(/below the rank/)
    expect(() => exportOnnx(model, { example: floats(2, 5) })).toThrow(expect.objectContaining({ code: 'ERR_SHAPE' }))
  })

  const odd = defineModule({
    kind: 'testOdd',
    config: z.strictObject({ how: z.enum(['values', 'op', 'argument']) }),
    weights: () => ({}),
    forward: (_m, { how }, x) => {
      const t = x as Tensor
      if (how === 'argument') return scaleShift(t, Math.sqrt(t.shape[0]!), 0)
      return how === 'op'
        ? sort(t)[0]
        : tensor(
            Float32Array.from(t.read() as Float32Array, (v) => 2 * v),
            t.shape,
          )
    },
  })
  it('what ONNX has no form for, and values computed outside of ops', () => {
    const example = floats(2, 4)
    expect(() => exportOnnx(fresh(odd({ how: 'values' })), { example })).toThrow(/outside of its ops/)
    expect(() => exportOnnx(fresh(odd({ how: 'argument' })), { example })).toThrow(/argument of scale_shift follows the sizes/)
    expect(() => exportOnnx(fresh(odd({ how: 'op' })), { example })).toThrow(expect.objectContaining({ code: 'ERR_UNSUPPORTED' }))
  })
})
