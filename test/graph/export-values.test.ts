/** ONNX files of models whose path or sizes follow values (branches, loops), of means over sizes that are open, and of windows: what onnxruntime computes from them. */
import { describe, expect, it } from 'vitest'
import { Rng } from '../../ts/base/rng.js'
import { compress, quantize, recipe } from '../../ts/compress/index.js'
import { encodeOnnx, parseOnnx } from '../../ts/formats/onnx/index.js'
import { exportOnnx, modelFromOnnx } from '../../ts/graph/index.js'
import { transformerSpec } from '../../ts/models/index.js'
import { build, conv2d, defineModule, freshValues, globalAvgPool, linear, Model, sequential, type ModuleSpec } from '../../ts/nn/index.js'
import { mean, scaleShift, variance } from '../../ts/ops/index.js'
import { saveOnnx } from '../../ts/runtime/save-onnx.js'
import { scope, tensor, type Tensor } from '../../ts/tensor/index.js'
import { tempDir } from '../formats/lib.js'
import { constant, model as onnxModel, node, oracle, ort, random, value, type Fed, type GraphInit } from './build.js'
import { z } from 'zod'

const f32 = (data: readonly number[], dims: readonly number[]): Fed => ({ type: 'float32', data: Float32Array.from(data), dims })
const i64 = (data: readonly number[], dims: readonly number[]): Fed => ({ type: 'int64', data: BigInt64Array.from(data, BigInt), dims })
const bool = (v: boolean): Fed => ({ type: 'bool', data: Uint8Array.of(v ? 1 : 0), dims: [] })
const waves = (n: number): number[] => Array.from({ length: n }, (_, i) => Math.sin(i))
const fresh = (spec: ModuleSpec, info = {}): Model =>
  new Model(build(spec, freshValues(Rng.of(3))), { name: 'm', task: 'classification', history: [], ...info })

/** What Tersor makes of a file, written again: onnxruntime gives the results of the file for each of the inputs. */
async function sameAgain(
  graph: GraphInit,
  inputs: readonly Readonly<Record<string, Fed>>[],
  opset = 17,
  change?: (m: Model) => Promise<Model>,
) {
  const bytes = onnxModel(graph, { opset })
  const loaded = modelFromOnnx(parseOnnx(bytes))
  const model = change ? await change(loaded) : loaded
  const written = exportOnnx(model)
  const again = encodeOnnx(written)
  for (const feeds of inputs) {
    const [want, got] = [await oracle(bytes, feeds), await oracle(again, feeds)]
    expect(Object.keys(got)).toEqual(Object.keys(want))
    for (const [name, { dims, data }] of Object.entries(want)) {
      expect(got[name]!.dims).toEqual(dims)
      const scale = Math.max(...data.map(Math.abs), 1)
      data.forEach((v, i) => expect(Math.abs(got[name]!.data[i]! - v) / scale).toBeLessThan(change ? 2e-2 : 1e-6))
    }
  }
  return written
}

const draw = random(5)
const weights = { w: constant('net.weight', [3, 3], draw(9)), b: constant('net.bias', [3], draw(3)) }
/** y = x w + b in a subgraph. */
const product = (x: string, y: string): ReturnType<typeof node>[] => [
  node('MatMul', [x, 'net.weight'], [`${y}_m`]),
  node('Add', [`${y}_m`, 'net.bias'], [y]),
]

describe.skipIf(!ort)('graphs whose path follows values are written by their own operators', () => {
  const loop: GraphInit = {
    input: [value('x', ['N', 3]), value('n', [], 'i64')],
    output: [value('last', ['N', 3]), value('all', ['T', 'N', 3])],
    initializer: [weights.w, weights.b],
    node: [
      node('Loop', ['n', '', 'x'], ['last', 'all'], {
        body: {
          name: 'body',
          input: [value('i', [], 'i64'), value('going', [], 'bool'), value('s', ['N', 3])],
          output: [value('again', [], 'bool'), value('next', ['N', 3]), value('out', ['N', 3])],
          node: [
            node('Identity', ['going'], ['again']),
            ...product('s', 'p'),
            node('Tanh', ['p'], ['next']),
            node('Mul', ['next', 'x'], ['out']),
          ],
        },
      }),
    ],
  }
  const feeds = [1, 4].map((n) => ({ x: f32(waves(6), [2, 3]), n: i64([n], []) }))
  it('Loop with a number of iterations that is an input, and a layer in its body', async () => {
    expect((await sameAgain(loop, feeds)).graph.nodes.map((n) => n.op)).toEqual(['Loop'])
  })
  it('with codes in place of its weights', async () => {
    const int8 = async (m: Model): Promise<Model> => (await compress(m, recipe([[quantize.rtn({ bits: 8 })]]))).model
    expect((await sameAgain(loop, feeds, 17, int8)).graph.nodes.map((n) => n.op)).toEqual(['DequantizeLinear', 'Loop'])
    // Scales per channel are of opset 13: the operators of an older file are brought there.
    expect((await sameAgain(loop, feeds, 11, int8)).opsets['']).toBe(13)
  })

  it('If, Scan, and sizes that are inputs', async () => {
    const branch = (name: string, op: string): GraphInit => ({
      name,
      output: [value(`${name}_y`, ['N', 3])],
      node: [...product('x', `${name}_p`), node(op, [`${name}_p`], [`${name}_y`])],
    })
    const graph: GraphInit = {
      input: [value('x', ['N', 3]), value('c', [], 'bool'), value('from', [1], 'i64')],
      output: [value('y', ['N', 3]), value('sums', ['N', 3]), value('part'), value('places', [2, 'K'], 'i64')],
      initializer: [weights.w, weights.b, constant('zero', [3], [0, 0, 0]), constant('end', [1], [9], 'i64')],
      node: [
        node('If', ['c'], ['y'], { then_branch: branch('t', 'Neg'), else_branch: branch('e', 'Exp') }),
        node('Scan', ['zero', 'y'], ['total', 'sums'], {
          num_scan_inputs: 1,
          body: {
            name: 'step',
            input: [value('state', [3]), value('item', [3])],
            output: [value('sum', [3]), value('each', [3])],
            node: [node('Add', ['state', 'item'], ['sum']), node('Identity', ['sum'], ['each'])],
          },
        }),
        node('Slice', ['sums', 'from', 'end'], ['part']),
        node('Relu', ['sums'], ['positive']),
        node('NonZero', ['positive'], ['places']),
      ],
    }
    const input = (c: boolean, from: number): Readonly<Record<string, Fed>> => ({
      x: f32(waves(12), [4, 3]),
      c: bool(c),
      from: i64([from], [1]),
    })
    await sameAgain(graph, [input(true, 1), input(false, 2)])
  })

  it('layers of every kind that is found in a graph', async () => {
    const vector = (name: string, n: number, from = 0.5): ReturnType<typeof constant> => constant(name, [n], draw(n).map((v) => Math.abs(v) + from)) // prettier-ignore
    const graph: GraphInit = {
      input: [value('x', ['N', 4, 6, 6]), value('ids', ['N', 6], 'i64'), value('k', [1], 'i64')],
      output: [value('image', ['N', 4, 'H', 'W']), value('text'), value('state', [2, 'N', 3]), value('top')],
      initializer: [
        constant('c.weight', [6, 2, 3, 3], draw(108)),
        constant('c.bias', [6], draw(6)),
        constant('d.weight', [6, 4, 2, 2], draw(96)),
        ...['g', 'h', 'm', 'v', 'i', 'j'].map((name) => vector(name, name < 'i' || name > 'j' ? 6 : 4)),
        constant('table', [9, 4], draw(36)),
        vector('lg', 4),
        vector('lb', 4),
        constant('W', [2, 9, 4], draw(72)),
        constant('R', [2, 9, 3], draw(54)),
        constant('B', [2, 18], draw(36)),
        constant('s.weight', [5, 4, 3], draw(60)),
      ],
      node: [
        node('Conv', ['x', 'c.weight', 'c.bias'], ['a'], { group: 2, pads: [1, 0, 1, 0], strides: [2, 1] }),
        node('BatchNormalization', ['a', 'g', 'h', 'm', 'v'], ['n']),
        node('ConvTranspose', ['n', 'd.weight'], ['u'], { strides: [2, 2] }),
        node('InstanceNormalization', ['u', 'i', 'j'], ['image']),
        node('Gather', ['table', 'ids'], ['e']),
        node('LayerNormalization', ['e', 'lg', 'lb'], ['l']),
        node('Transpose', ['l'], ['t'], { perm: [1, 0, 2] }),
        node('GRU', ['t', 'W', 'R', 'B'], ['all', 'state'], { hidden_size: 3, direction: 'bidirectional', linear_before_reset: 1 }),
        node('Transpose', ['l'], ['channels'], { perm: [0, 2, 1] }),
        node('Conv', ['channels', 's.weight'], ['text'], { auto_pad: 'SAME_UPPER' }),
        node('TopK', ['text', 'k'], ['top', 'places']),
      ],
    }
    const ids = Array.from({ length: 12 }, (_, i) => (5 * i) % 9)
    const written = await sameAgain(
      graph,
      [1, 3].map((k) => ({ x: f32(waves(288), [2, 4, 6, 6]), ids: i64(ids, [2, 6]), k: i64([k], [1]) })),
    )
    expect(written.graph.nodes.some((n) => n.domain !== '')).toBe(false)
  })

  it('saveOnnx compares them, inputs of other types included', async () => {
    const model = modelFromOnnx(parseOnnx(onnxModel(loop)))
    const { check } = await saveOnnx(model, `${tempDir()}/loop.onnx`, { onnxruntime: ort as never })
    expect(check!.difference).toBeLessThan(1e-5)
    expect(() => exportOnnx(model, { dynamicQuantization: true })).toThrow(/dynamicQuantization/)
  })
})

describe.skipIf(!ort)('means over sizes that are open', () => {
  const averages = defineModule({
    kind: 'testAverages',
    config: z.strictObject({ how: z.enum(['all', 'last two', 'variance', 'a size', 'one over a size']) }),
    weights: () => ({}),
    forward: (_m, { how }, input) => {
      const x = input as Tensor
      if (how === 'all') return mean(x)
      if (how === 'variance') return variance(x, [1])
      if (how === 'last two') return mean(x, [-1, -2])
      return scaleShift(x, how === 'a size' ? x.shape[1]! : 1 / x.shape[1]!, 0)
    },
  })
  const open = { dynamic: { x: { 0: 'batch', 1: 'height', 2: 'width' } } }
  it.each(['all', 'last two', 'variance', 'a size', 'one over a size'] as const)('%s', async (how) => {
    const model = fresh(averages({ how }))
    const bytes = encodeOnnx(exportOnnx(model, { example: tensor(waves(24), [2, 3, 4]), ...open }))
    const got = (await oracle(bytes, { x: f32(waves(70), [2, 7, 5]) })).output!
    const want = scope(() => Array.from(model.predict(tensor(waves(70), [2, 7, 5])).read() as Float32Array))
    want.forEach((v, i) => expect(got.data[i]).toBeCloseTo(v, 5))
  })

  it('images of any size through convolution and pooling', async () => {
    const model = fresh(
      sequential({ c: conv2d({ in: 3, out: 4, kernel: [3, 3], padding: [1, 1] }), p: globalAvgPool({}), f: linear({ in: 4, out: 2, bias: true, init: 'he' }) }), // prettier-ignore
    )
    const dynamic = { x: { 0: 'batch', 2: 'height', 3: 'width' } }
    const bytes = encodeOnnx(exportOnnx(model, { example: tensor(waves(3 * 8 * 9), [1, 3, 8, 9]), dynamic }))
    const [x, dims] = [waves(2 * 3 * 11 * 6), [2, 3, 11, 6]]
    const got = (await oracle(bytes, { x: f32(x, dims) })).output!
    const want = scope(() => Array.from(model.predict(tensor(x, dims)).read() as Float32Array))
    want.forEach((v, i) => expect(got.data[i]).toBeCloseTo(v, 5))
  })
})

it.skipIf(!ort)('windows of attention reach every length', async () => {
  const small = { hidden_size: 16, num_hidden_layers: 2, num_attention_heads: 4, num_key_value_heads: 2, intermediate_size: 32, vocab_size: 50 } // prettier-ignore
  const spec = transformerSpec({ model_type: 'mistral', ...small, max_position_embeddings: 64, sliding_window: 4 })
  const model = new Model(build(spec, freshValues(Rng.of(7))), { name: 'm', task: 'language', history: [] })
  const bytes = encodeOnnx(exportOnnx(model))
  for (const [b, t] of [
    [1, 3],
    [2, 11],
    [1, 40],
  ] as const) {
    const ids = Array.from({ length: b * t }, (_, i) => (7 * i) % 50)
    const got = (await oracle(bytes, { ids: i64(ids, [b, t]), mask: f32(new Array<number>(b * t).fill(1), [b, t]) })).output!
    const want = scope(() => Array.from(model.predict(tensor(Int32Array.from(ids), [b, t])).read() as Float32Array))
    const largest = Math.max(...want.map(Math.abs))
    want.forEach((v, i) => expect(Math.abs(got.data[i]! - v) / largest).toBeLessThan(1e-5))
  }
})
