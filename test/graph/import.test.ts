/** ONNX graphs against onnxruntime: a CNN, an MLP, control flow, functions; and what import refuses. */
import { describe, expect, it } from 'vitest'
import { memory, scope, tensor, type Tensor } from '../../ts/index.js'
import { parseOnnx } from '../../ts/formats/onnx/index.js'
import { graphFromOnnx, inferTypes, runGraph, type Value } from '../../ts/graph/index.js'
import { attributes, constant, model, node, oracle, ort, random, value, type Fed, type GraphInit, type ModelInit } from './build.js'

const f32 = (data: readonly number[], dims: readonly number[]): Fed => ({ type: 'float32', data: Float32Array.from(data), dims })
const i64 = (data: readonly number[], dims: readonly number[]): Fed => ({ type: 'int64', data: BigInt64Array.from(data.map(BigInt)), dims })
const bool = (data: readonly number[], dims: readonly number[]): Fed => ({ type: 'bool', data: Uint8Array.from(data), dims })

const native = ({ type, data, dims }: Fed): Tensor =>
  type === 'bool' ? tensor(data as Uint8Array, dims, 'bool') : tensor(data as Float32Array | BigInt64Array, dims)

function ours(bytes: Uint8Array, feeds: Readonly<Record<string, Fed>>): Record<string, { dims: readonly number[]; data: number[] }> {
  const graph = graphFromOnnx(parseOnnx(bytes))
  return scope(() => {
    const out = runGraph(graph, Object.fromEntries(Object.entries(feeds).map(([name, fed]): [string, Value] => [name, native(fed)])))
    const types = inferTypes(graph)
    return Object.fromEntries(
      Object.entries(out).map(([name, v]) => {
        const t = v as Tensor
        const shape = types.get(name)!.shape
        // What was inferred must agree with what came out.
        if (shape) expect(shape.map((d, i) => (typeof d === 'number' ? d : t.shape[i]))).toEqual(t.shape)
        return [name, { dims: t.shape, data: Array.from(t.read() as Float32Array, Number) }]
      }),
    )
  })
}

async function same(graph: GraphInit, feeds: Readonly<Record<string, Fed>>, options: ModelInit = {}, tolerance = 1e-5): Promise<void> {
  const bytes = model(graph, options)
  const before = memory().tensors
  const got = ours(bytes, feeds)
  expect(memory().tensors).toBe(before)
  const want = await oracle(bytes, feeds)
  for (const [name, { dims, data }] of Object.entries(want)) {
    expect(got[name]!.dims).toEqual(dims)
    data.forEach((v, i) => {
      if (!(Math.abs(got[name]!.data[i]! - v) <= tolerance * Math.max(1, Math.abs(v)))) expect(got[name]!.data[i], `${name}[${i}]`).toBe(v)
    })
  }
}

const draw = random(7)

describe.skipIf(!ort)('against onnxruntime', () => {
  it.each([9, 11, 13, 17, 21])('runs a CNN of opset %i', async (opset) => {
    const w = (name: string, ...dims: number[]): ReturnType<typeof constant> =>
      constant(
        name,
        dims,
        draw(
          dims.reduce((a, b) => a * b, 1),
          0.5,
        ),
      )
    const positive = (name: string, n: number): ReturnType<typeof constant> =>
      constant(
        name,
        [n],
        draw(n, 0.4).map((v) => v + 1),
      )
    await same(
      {
        input: [value('x', ['batch', 3, 13, 11])],
        output: [value('y', ['batch', 5]), value('h')],
        initializer: [
          w('w1', 8, 3, 3, 3),
          w('b1', 8),
          positive('g', 8),
          w('be', 8),
          w('mu', 8),
          positive('va', 8),
          w('w2', 8, 1, 3, 3),
          w('w3', 12, 4, 1, 1),
          w('fc', 5, 12),
          w('fcb', 5),
        ],
        node: [
          node('Conv', ['x', 'w1', 'b1'], ['c1'], { pads: [1, 0, 2, 1], strides: [2, 1] }),
          node('BatchNormalization', ['c1', 'g', 'be', 'mu', 'va'], ['n1']),
          node('Relu', ['n1'], ['r1']),
          node('Conv', ['r1', 'w2'], ['c2'], { group: 8, auto_pad: 'SAME_UPPER', strides: [2, 2] }),
          node('Conv', ['c2', 'w3'], ['c3'], { group: 2, kernel_shape: [1, 1] }),
          node('MaxPool', ['c3'], ['p'], { kernel_shape: [3, 3], strides: [1, 2], pads: [1, 1, 1, 1] }),
          node('AveragePool', ['p'], ['a'], { kernel_shape: [2, 2], pads: [0, 0, 1, 1] }),
          node('GlobalAveragePool', ['a'], ['h']),
          node('Flatten', ['h'], ['f']),
          node('Gemm', ['f', 'fc', 'fcb'], ['l'], { transB: 1 }),
          node('Softmax', ['l'], ['y'], { axis: 1 }),
        ],
      },
      { x: f32(draw(2 * 3 * 13 * 11), [2, 3, 13, 11]) },
      { opset },
    )
  })

  it('runs an MLP whose weights are Constant nodes and whose shape is computed', async () => {
    await same(
      {
        input: [value('x', ['batch', 2, 3])],
        output: [value('y')],
        node: [
          node('Constant', [], ['w'], { value: constant('', [6, 4], draw(24)) }),
          node('Constant', [], ['b'], { value: constant('', [4], draw(4)) }),
          node('Constant', [], ['shape'], { value: constant('', [2], [0, -1], 'i64') }),
          node('Reshape', ['x', 'shape'], ['f']),
          node('MatMul', ['f', 'w'], ['m']),
          node('Add', ['m', 'b'], ['s']),
          node('Tanh', ['s'], ['t']),
          node('Mul', ['t', 's'], ['u']),
          node('Sub', ['u', 'b'], ['v']),
          node('Div', ['v', 's'], ['y']),
        ],
      },
      { x: f32(draw(18), [3, 2, 3]) },
    )
  })

  it('takes sequences and transposed convolutions', async () => {
    await same(
      {
        input: [value('x', [2, 4, 9])],
        output: [value('y'), value('z')],
        initializer: [constant('w', [4, 3, 3], draw(36)), constant('b', [6], draw(6)), constant('v', [6, 6, 2], draw(72))],
        node: [
          node('ConvTranspose', ['x', 'w', 'b'], ['y'], { group: 2, strides: [2], pads: [1, 0], output_padding: [1] }),
          node('Conv', ['y', 'v'], ['z'], { dilations: [2], pads: [0, 3] }),
        ],
      },
      { x: f32(draw(72), [2, 4, 9]) },
    )
  })

  it.each([0, 1])('takes the branch that a condition chooses (%i), names of the outer graph included', async (choice) => {
    const branch = (name: string, op: string): GraphInit => ({
      name,
      output: [value('r')],
      node: [node('Constant', [], ['k'], { value: constant('', [1], [2]) }), node(op, ['x', 'k'], ['r'])],
    })
    await same(
      {
        input: [value('c', [], 'bool'), value('x', [3])],
        output: [value('y', [3])],
        node: [node('If', ['c'], ['i'], { then_branch: branch('t', 'Mul'), else_branch: branch('e', 'Add') }), node('Relu', ['i'], ['y'])],
      },
      { c: bool([choice], []), x: f32([-1, 2, 3], [3]) },
    )
  })

  it('loops with state and scan outputs, and scans in both directions', async () => {
    const body: GraphInit = {
      name: 'body',
      input: [value('i', [], 'i64'), value('going', [], 'bool'), value('s', [2])],
      output: [value('again', [], 'bool'), value('next', [2]), value('out', [2])],
      node: [node('Identity', ['going'], ['again']), node('Add', ['s', 'x'], ['next']), node('Mul', ['s', 'next'], ['out'])],
    }
    const scan: GraphInit = {
      name: 'scan',
      input: [value('state', [2]), value('item', [2])],
      output: [value('sum', [2]), value('each', [2])],
      node: [node('Add', ['state', 'item'], ['sum']), node('Mul', ['sum', 'x'], ['each'])],
    }
    await same(
      {
        input: [value('x', [2]), value('n', [], 'i64')],
        output: [value('last'), value('all'), value('total'), value('list')],
        initializer: [constant('s0', [2], [0.5, -1])],
        node: [
          node('Loop', ['n', '', 's0'], ['last', 'all'], { body }),
          node('Scan', ['s0', 'all'], ['total', 'list'], {
            body: scan,
            num_scan_inputs: 1,
            scan_input_directions: [1],
            scan_output_axes: [1],
            scan_output_directions: [1],
          }),
        ],
      },
      { x: f32([1, 2], [2]), n: i64([4], []) },
    )
  })

  it.each([
    ['nearest', 'half_pixel', 'round_prefer_floor'],
    ['nearest', 'asymmetric', 'floor'],
    ['nearest', 'align_corners', 'ceil'],
    ['linear', 'half_pixel', 'floor'],
    ['linear', 'align_corners', 'floor'],
    ['linear', 'asymmetric', 'floor'],
    ['cubic', 'pytorch_half_pixel', 'floor'],
  ])('resizes: %s, %s, %s', async (mode, transform, rounding) => {
    const settings = { mode, coordinate_transformation_mode: transform, nearest_mode: rounding }
    await same(
      {
        input: [value('x', [1, 2, 5, 7])],
        output: [value('y'), value('z')],
        initializer: [constant('scales', [4], [1, 1, 1.6, 2.5]), constant('sizes', [4], [1, 2, 3, 11], 'i64')],
        node: [node('Resize', ['x', '', 'scales'], ['y'], settings), node('Resize', ['x', '', '', 'sizes'], ['z'], settings)],
      },
      { x: f32(draw(70), [1, 2, 5, 7]) },
    )
  })

  it('writes functions out, with attributes and defaults', async () => {
    await same(
      {
        input: [value('x', [2, 3])],
        output: [value('y', [2, 3])],
        node: [node('Twice', ['x'], ['t'], { axis: 0 }, { domain: 'own' }), node('Twice', ['t'], ['y'], {}, { domain: 'own' })],
      },
      { x: f32(draw(6), [2, 3]) },
      {
        domains: { own: 1 },
        functions: [
          {
            name: 'Twice',
            domain: 'own',
            input: ['a'],
            output: ['b'],
            attributeProto: attributes({ axis: 1 }),
            opsetImport: [{ domain: '', version: 17n }],
            node: [
              node('Softmax', ['a'], ['s'], {}, { attribute: [{ name: 'axis', refAttrName: 'axis', type: 2 }] }),
              node('Add', ['s', 'a'], ['b']),
            ],
          },
        ],
      },
    )
  })
})

describe('refuses', () => {
  const bad =
    (graph: GraphInit, options?: ModelInit): (() => unknown) =>
    () =>
      graphFromOnnx(parseOnnx(model(graph, options)))
  const io = { input: [value('x', [2])], output: [value('y', [2])] }

  it('unknown operators, all at once', () => {
    const nodes = [node('Nope', ['x'], ['a']), node('Nope', ['a'], ['b']), node('Other', ['b'], ['y'], {}, { domain: 'com.example' })]
    expect(bad({ ...io, node: nodes })).toThrow(/Nope \(2 nodes: "Nope_a", "Nope_b"\); com\.example\.Other \(1 node/)
  })
  it('cycles, missing and doubled values', () => {
    expect(bad({ ...io, node: [node('Add', ['x', 'y'], ['a']), node('Relu', ['a'], ['y'])] })).toThrow(/cycle/)
    expect(bad({ ...io, node: [node('Relu', ['nowhere'], ['y'])] })).toThrow(/"nowhere" does not exist/)
    expect(bad({ ...io, node: [node('Relu', ['x'], ['y']), node('Relu', ['x'], ['y'])] })).toThrow(/exists already/)
    expect(bad({ ...io, node: [node('Relu', ['x'], ['z'])] })).toThrow(/output "y"/)
  })
  it('opsets that it does not know', () => {
    expect(bad({ ...io, node: [node('Relu', ['x'], ['y'])] }, { opset: 6 })).toThrow(expect.objectContaining({ code: 'ERR_UNSUPPORTED' }))
    expect(bad({ ...io, node: [node('Relu', ['x'], ['y'])] }, { opset: 99 })).toThrow(expect.objectContaining({ code: 'ERR_UNSUPPORTED' }))
  })
  it('shapes that cannot fit, before anything is computed', () => {
    const initializer = [constant('w', [3, 4], draw(12))]
    expect(bad({ ...io, initializer, node: [node('MatMul', ['x', 'w'], ['y'])] })).toThrow(/MatMul "MatMul_y": \[2\] times \[3,4\]/)
  })
  it('nodes out of order are sorted', () => {
    const graph = graphFromOnnx(parseOnnx(model({ ...io, node: [node('Relu', ['a'], ['y']), node('Add', ['x', 'x'], ['a'])] })))
    expect(graph.nodes.map((n) => n.op)).toEqual(['Add', 'Relu'])
  })
})
