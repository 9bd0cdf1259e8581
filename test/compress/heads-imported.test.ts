/** prune/heads on imported graphs: heads are found by the data flow, cut and masked are one function, and what hides its heads is left with a reason. */
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { afterAll, describe, expect, it } from 'vitest'
import { compress, prune, recipe, type CompressResult, type PassSpec } from '../../ts/compress/index.js'
import { encodeOnnx, parseOnnx } from '../../ts/formats/onnx/index.js'
import { channelStructure, exampleInput, exportOnnx, graphOf, loadOnnx, modelFromOnnx, optimizeModel } from '../../ts/graph/index.js'
import { textClassifier } from '../../ts/models/index.js'
import { loadModel, saveModel } from '../../ts/models/file.js'
import type { Model, ModuleInput } from '../../ts/nn/index.js'
import { saveOnnx } from '../../ts/runtime/save-onnx.js'
import { tensor, type Tensor } from '../../ts/tensor/index.js'
import { constant, model as onnxModel, node, random, value, type ModelInit, type NodeInit, type TensorInit } from '../graph/build.js'
import { difference, images, modelOf, withSilentHead } from './structured-lib.js'
import { bars } from './toys.js'

const folder = mkdtempSync(path.join(tmpdir(), 'tersor-heads-'))
afterAll(() => rmSync(folder, { recursive: true, force: true }))

const one = async (model: Model, pass: PassSpec, options = {}): Promise<CompressResult> => compress(model, recipe([[pass]]), options)
const imported = (model: Model): Model => modelFromOnnx(parseOnnx(encodeOnnx(exportOnnx(model))))
const headsOf = (model: Model): number[] =>
  channelStructure(model)
    .groups.filter((g) => g.unit === 'head' && g.fixed === undefined)
    .map((g) => g.units.length)
const notesOf = ({ report }: CompressResult): string => JSON.stringify(report.passes[0]!.notes)

/** Half of the heads cut and masked: one function, another than before, and smaller. */
async function cutAndMasked(model: Model, x: ModuleInput, ratio = 0.5): Promise<Model> {
  const [cut, mask] = [
    await one(model, prune.heads({ ratio, score: 'magnitude' })),
    await one(model, prune.heads({ ratio, score: 'magnitude', how: 'mask' })),
  ]
  expect(difference(mask.model, cut.model, x)).toBeLessThan(1e-5)
  expect(difference(model, cut.model, x)).toBeGreaterThan(1e-3)
  expect(cut.model.parameters()).toBeLessThan(model.parameters())
  return cut.model
}

describe('a model of ours that was written and read', () => {
  const body = { vocabulary: 11, embedding: 12, width: 12, layers: 2, distinct: 2, heads: 4, hidden: 16, positions: 16, activation: 'gelu' as const, eps: 1e-5, norm: 'post' as const, causal: false } // prettier-ignore
  const bert = modelOf(textClassifier({ body, classes: 3 }), {})

  it.each(['as it is', 'with fused attention'])('%s: the heads of the source, cut like those of the source', async (how) => {
    const read = imported(bert)
    const model = how === 'as it is' ? read : optimizeModel(read, { passes: ['fuse-attention'] }).model
    const fused = graphOf(model.root)!.nodes.filter((n) => n.op === 'Attention').length
    expect(fused).toBe(how === 'as it is' ? 0 : 2)
    expect(headsOf(model)).toEqual([4, 4])
    const { groups, left } = channelStructure(model)
    expect(left.filter((l) => l.unit === 'head')).toEqual([])
    const head = groups.find((g) => g.unit === 'head')!
    // Rows of query, key and value with their biases, columns of the output.
    expect(head.slices.map((s) => `${s.role} ${s.axis} ${s.positions[1]!.join()}`).sort()).toEqual([
      ...Array<string>(3).fill('beside 0 3,4,5'),
      ...Array<string>(3).fill('filter 0 3,4,5'),
      'input 1 3,4,5',
    ])
    const { input } = exampleInput(model)
    const cut = await cutAndMasked(model, input)
    expect(headsOf(cut).reduce((a, b) => a + b, 0)).toBe(4)
    const source = await one(bert, prune.heads({ ratio: 0.5, score: 'magnitude' }))
    const wanted = imported(source.model)
    expect(difference(wanted, cut, input)).toBeLessThan(1e-5)
    expect(cut.parameters()).toBe(wanted.parameters())
    // Files of both kinds, and once more.
    const file = path.join(folder, 'cut.safetensors')
    saveModel(cut, file)
    expect(difference(cut, loadModel(file), input)).toBe(0)
    const onnx = path.join(folder, 'cut.onnx')
    await saveOnnx(cut, onnx, { check: false })
    expect(difference(cut, loadOnnx(onnx), input)).toBeLessThan(1e-5)
    expect(headsOf(cut)).toEqual(headsOf(wanted))
    if (headsOf(cut).every((n) => n > 1)) await cutAndMasked(cut, input)
  })

  it('importance by the gradient: a head that says nothing goes first, with the same answers', async () => {
    const model = withSilentHead()
    const read = modelFromOnnx(parseOnnx(encodeOnnx(exportOnnx(model))), { task: 'classification', classes: ['a', 'b'] })
    const { model: small, report } = await one(read, prune.heads({ ratio: 0.25, samples: 32 }), { data: bars(32) })
    expect((report.passes[0]!.figures as any).groups).toEqual([expect.objectContaining({ unit: 'head', before: 4, after: 3 })])
    expect(difference(read, small, images(2, [8, 8]))).toBeLessThan(1e-5)
    expect(small.parameters()).toBeLessThan(read.parameters())
  })
})

const C = 12
const draw = random(7)
const matrix = (name: string, rows: number, columns: number): TensorInit => constant(name, [rows, columns], draw(rows * columns))
const list = (name: string, values: readonly number[]): TensorInit => constant(name, [values.length], values, 'i64')

/** [B, T, 12] in and out. */
function graph(nodes: readonly NodeInit[], constants: readonly TensorInit[], more: ModelInit = {}): Model {
  const bytes = onnxModel(
    {
      node: [...nodes],
      initializer: [...constants],
      input: [value('x', ['batch', 'tokens', C])],
      output: [value('y')],
    },
    more,
  )
  return modelFromOnnx(parseOnnx(bytes))
}
const x = (): Tensor =>
  tensor(
    Float32Array.from({ length: 2 * 5 * C }, (_, i) => Math.sin(i)),
    [2, 5, C],
  )
/** softmax(q k^T / 2) v by heads, behind what splits them into `q4`, `k4`, `v4`. */
const scores = [
  node('MatMul', ['q4', 'k4'], ['s']),
  node('Div', ['s', 'two'], ['scaled']),
  node('Softmax', ['scaled'], ['p'], { axis: -1 }),
  node('MatMul', ['p', 'v4'], ['heard4']),
  node('Transpose', ['heard4'], ['heard'], { perm: [0, 2, 1, 3] }),
]
const two = constant('two', [], [2])
const turned = [
  node('Transpose', ['qs'], ['q4'], { perm: [0, 2, 1, 3] }),
  node('Transpose', ['ks'], ['k4'], { perm: [0, 2, 3, 1] }),
  node('Transpose', ['vs'], ['v4'], { perm: [0, 2, 1, 3] }),
]
const projections = ['q', 'k', 'v'].map((n) => node('MatMul', ['x', `w${n}`], [n]))
const weights = ['wq', 'wk', 'wv', 'wo'].map((n) => matrix(n, C, C))

describe('as others write attention', () => {
  it('sizes that the graph computes, as PyTorch exports them', async () => {
    const shape = (name: string, sizes: readonly string[]): NodeInit => node('Concat', ['b', 't', ...sizes], [name], { axis: 0 })
    const model = graph(
      [
        node('Shape', ['x'], ['dims']),
        node('Gather', ['dims', 'zero'], ['b'], { axis: 0 }),
        node('Gather', ['dims', 'one'], ['t'], { axis: 0 }),
        shape('apart', ['four', 'three']),
        shape('whole', ['twelve']),
        ...projections,
        ...['q', 'k', 'v'].map((n) => node('Reshape', [n, 'apart'], [`${n}s`])),
        ...turned,
        ...scores,
        node('Reshape', ['heard', 'whole'], ['joined']),
        node('MatMul', ['joined', 'wo'], ['y']),
      ],
      [...weights, two, list('zero', [0]), list('one', [1]), list('four', [4]), list('three', [3]), list('twelve', [12])],
    )
    expect(headsOf(model)).toEqual([4])
    const cut = await cutAndMasked(model, x())
    expect(cut.weights().map((w) => w.weight.shape.join())).toEqual(['6,12', '6,12', '6,12', '12,6'])
    await cutAndMasked(cut, x())
  })

  it('one product for queries, keys and values, split in three; rows of all examples in one matrix (GPT-2)', async () => {
    const model = graph(
      [
        node('Reshape', ['x', 'rows'], ['flat']),
        node('Gemm', ['flat', 'wqkv', 'bias'], ['qkv']),
        node('Reshape', ['qkv', 'examples'], ['qkv3']),
        node('Split', ['qkv3', 'thirds'], ['q', 'k', 'v'], { axis: 2 }),
        ...['q', 'k', 'v'].map((n) => node('Reshape', [n, 'apart'], [`${n}s`])),
        ...turned,
        node('MatMul', ['q4', 'k4'], ['s']),
        node('Where', ['seen', 's', 'low'], ['scaled']),
        node('Softmax', ['scaled'], ['p'], { axis: -1 }),
        node('MatMul', ['p', 'v4'], ['heard4']),
        node('Transpose', ['heard4'], ['heard'], { perm: [0, 2, 1, 3] }),
        node('Reshape', ['heard', 'rows'], ['joined']),
        node('Gemm', ['joined', 'wo', 'last'], ['out']),
        node('Reshape', ['out', 'back'], ['y']),
      ],
      [
        matrix('wqkv', C, 3 * C),
        constant('bias', [3 * C], draw(3 * C)),
        matrix('wo', C, C),
        constant('last', [C], draw(C)),
        list('rows', [-1, C]),
        list('examples', [2, 5, 3 * C]),
        list('thirds', [C, C, C]),
        list('apart', [0, 0, 4, 3]),
        list('back', [2, 5, C]),
        constant(
          'seen',
          [1, 1, 5, 5],
          Array.from({ length: 25 }, (_, i) => (i % 5 <= Math.floor(i / 5) ? 1 : 0)),
          'bool',
        ),
        constant('low', [], [-1e9]),
      ],
    )
    expect(headsOf(model)).toEqual([4])
    const cut = await cutAndMasked(model, x())
    expect(cut.weights().filter((w) => w.role === 'matrix').map((w) => w.weight.shape.join())).toEqual(['18,12', '12,6']) // prettier-ignore
    await cutAndMasked(cut, x())
  })

  it.each([
    ['com.microsoft', 'MultiHeadAttention', { num_heads: 4 }, ['q', 'k', 'v', 'bias'], 4],
    ['', 'Attention', { q_num_heads: 4, kv_num_heads: 2 }, ['q', 'k', 'v'], 2],
  ] as const)('%s %s as one node', async (domain, op, of, inputs, heads) => {
    const width = heads * 3 // of keys and values
    const model = graph(
      [...projections, node(op, inputs, ['heard'], of, { domain }), node('MatMul', ['heard', 'wo'], ['y'])],
      [matrix('wq', C, C), matrix('wk', C, width), matrix('wv', C, width), matrix('wo', C, C), constant('bias', [3 * C], draw(3 * C))],
      { opset: 23, domains: { 'com.microsoft': 1 } },
    )
    expect(headsOf(model)).toEqual([heads])
    const cut = await cutAndMasked(model, x())
    expect(cut.weights().find((w) => w.path === 'MatMul_y.weight')!.weight.shape).toEqual([C, 6])
  })

  it('a number for each head is cut with it', async () => {
    const model = graph(
      [
        ...projections,
        ...['q', 'k', 'v'].map((n) => node('Reshape', [n, 'apart'], [`${n}s`])),
        ...turned,
        node('MatMul', ['q4', 'k4'], ['raw']),
        node('Mul', ['raw', 'slopes'], ['s']),
        ...scores.slice(1),
        node('Reshape', ['heard', 'whole'], ['joined']),
        node('MatMul', ['joined', 'wo'], ['y']),
      ],
      [...weights, two, constant('slopes', [1, 4, 1, 1], [1, 2, 3, 4]), list('apart', [0, 0, 4, 3]), list('whole', [0, 0, C])],
    )
    expect(headsOf(model)).toEqual([4])
    const cut = await cutAndMasked(model, x())
    expect(cut.weights().find((w) => w.path === 'slopes')!.weight.shape).toEqual([1, 2, 1, 1])
  })
})

describe('heads that cannot be found', () => {
  it('are left, with the reason, and the model is what it was', async () => {
    // Queries, keys and values along an axis of their own.
    const packed = graph(
      [
        node('MatMul', ['x', 'wqkv'], ['qkv']),
        node('Reshape', ['qkv', 'apart'], ['all']),
        node('Transpose', ['all'], ['first'], { perm: [2, 0, 3, 1, 4] }),
        ...['q4', 'ks', 'v4'].map((n, i) => node('Gather', ['first', `n${i}`], [n], { axis: 0 })),
        node('Transpose', ['ks'], ['k4'], { perm: [0, 1, 3, 2] }),
        ...scores,
        node('Reshape', ['heard', 'whole'], ['joined']),
        node('MatMul', ['joined', 'wo'], ['y']),
      ],
      [
        matrix('wqkv', C, 3 * C),
        matrix('wo', C, C),
        two,
        list('apart', [0, 0, 3, 4, 3]),
        list('whole', [0, 0, C]),
        ...[0, 1, 2].map((i) => constant(`n${i}`, [], [i], 'i64')),
      ],
    )
    const result = await one(packed, prune.heads({ ratio: 0.5, score: 'magnitude' }))
    expect(result.model.root).toBe(packed.root)
    expect(notesOf(result)).toMatch(/left alone: .*Gather/)
    expect(channelStructure(packed).left).toContainEqual({ path: 'MatMul_heard4', unit: 'head', reason: expect.stringMatching(/Gather/) })
  })
})
