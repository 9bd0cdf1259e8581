/** Operators of old files in the form of later versions: onnxruntime computes the same from both. */
import { describe, expect, it } from 'vitest'
import { Rng } from '../../ts/base/rng.js'
import { compress, quantize, recipe } from '../../ts/compress/index.js'
import { encodeOnnx, parseOnnx } from '../../ts/formats/onnx/index.js'
import { exportOnnx, modelFromOnnx } from '../../ts/graph/index.js'
import { OnnxBuilder } from '../../ts/graph/export/builder.js'
import { upgradeNode } from '../../ts/graph/export/upgrade.js'
import { saveOnnx, type OnnxRuntime } from '../../ts/runtime/save-onnx.js'
import { errorOf, tempDir } from '../formats/lib.js'
import { attributes, constant, model, node, oracle, ort, random, value, type Fed, type NodeInit, type TensorInit } from './build.js'

const draw = random(9)
interface Case {
  readonly from: number
  readonly nodes: NodeInit[]
  readonly dims?: readonly number[]
  readonly constants?: TensorInit[]
}
const one = (
  op: string,
  of: Parameters<typeof attributes>[0] = {},
  more: readonly string[] = [],
  floats: readonly string[] = [],
): NodeInit[] => [node(op, ['x', ...more], ['y'], {}, { attribute: attributes(of, floats) })]

const cases: Readonly<Record<string, Case>> = {
  'BatchNormalization 7': {
    from: 7,
    nodes: one('BatchNormalization', { epsilon: 0.25, spatial: 1 }, ['c', 'c', 'c', 'p']),
    constants: [constant('c', [3], draw(3)), constant('p', [3], [1, 2, 3])],
  },
  'Upsample 7': { from: 7, nodes: one('Upsample', { scales: [1, 1, 2, 3], mode: 'nearest' }, [], ['scales']), dims: [1, 3, 2, 4] },
  'Upsample 9, linear': {
    from: 9,
    nodes: one('Upsample', { mode: 'linear' }, ['s']),
    constants: [constant('s', [4], [1, 1, 2, 2])],
    dims: [1, 2, 3, 4],
  },
  'Slice 9': { from: 9, nodes: one('Slice', { starts: [1, -3], ends: [9, -1], axes: [1, 3] }) },
  'TopK 9': { from: 9, nodes: [node('TopK', ['x'], ['y', 'at'], { k: 2, axis: 3 })] },
  'Clip 9, both': { from: 9, nodes: one('Clip', { min: -0.25, max: 0.5 }) },
  'Clip 9, upper': { from: 9, nodes: one('Clip', { max: 0.5 }) },
  'Pad 9': { from: 9, nodes: one('Pad', { pads: [0, 1, 0, 2, 0, 0, 3, 0], value: 0.5 }) },
  'Resize 10': { from: 10, nodes: one('Resize', { mode: 'nearest' }, ['s']), constants: [constant('s', [4], [1, 1, 1.5, 2.5])] },
  'Scatter 9': {
    from: 9,
    nodes: one('Scatter', { axis: 1 }, ['i', 'u']),
    constants: [constant('i', [1, 1, 1, 2], [2, 0], 'i64'), constant('u', [1, 1, 1, 2], [7, 8])],
  },
  'Dropout 7': { from: 7, nodes: one('Dropout', { ratio: 0.25 }) },
  'Squeeze 11 and Unsqueeze 11': {
    from: 11,
    nodes: [node('Unsqueeze', ['x'], ['u'], { axes: [0, 3] }), node('Squeeze', ['u'], ['y'], { axes: [3] })],
  },
  'ReduceSum 11': { from: 11, nodes: one('ReduceSum', { axes: [1, 2], keepdims: 0 }) },
  'Split 11': { from: 11, nodes: [node('Split', ['x'], ['y', 'z'], { axis: 3, split: [1, 3] })] },
  'Split 11, equal': { from: 11, nodes: [node('Split', ['x'], ['y', 'z'], { axis: 3 })] },
  'Softmax 11': { from: 11, nodes: one('Softmax') },
  'Softmax 11, axis 2': { from: 11, nodes: one('Softmax', { axis: 2 }) },
  'LogSoftmax 11, last': { from: 11, nodes: one('LogSoftmax', { axis: -1 }) },
  'Hardmax 11': { from: 11, nodes: one('Hardmax', { axis: 3 }) },
  'ReduceMax 12': { from: 12, nodes: one('ReduceMax', { axes: [2] }) },
  'ReduceL2 13, all': { from: 13, nodes: one('ReduceL2') },
  'RoiAlign 10': {
    from: 10,
    nodes: one('RoiAlign', { output_height: 2, output_width: 3, sampling_ratio: 2 }, ['r', 'b']),
    constants: [constant('r', [2, 4], [1, 1, 6, 6, 0, 2, 4, 7]), constant('b', [2], [1, 0], 'i64')],
    dims: [2, 3, 8, 8],
  },
  'Split 13, without sizes': { from: 13, nodes: [node('Split', ['x', ''], ['y', 'z'], { axis: 3 })] },
  'GridSample 16': { from: 16, nodes: one('GridSample', { mode: 'bilinear' }, ['g']), constants: [constant('g', [2, 2, 2, 2], draw(16))] },
}

/** The file's nodes in the form of opset `to`. */
function upgraded(bytes: Uint8Array, to: number): Uint8Array {
  const old = parseOnnx(bytes)
  const builder = new OnnxBuilder(to)
  const nodes = old.graph.nodes.flatMap((n) => upgradeNode(n, old.opsets['']!, to, builder))
  const initializers = new Map([...old.graph.initializers, ...builder.initializers])
  return encodeOnnx({ ...old, irVersion: 10, opsets: { '': to }, graph: { ...old.graph, nodes, initializers } })
}

describe.skipIf(!ort)('upgradeNode', () => {
  for (const [name, { from, nodes, dims = [2, 3, 2, 4], constants = [] }] of Object.entries(cases))
    it(name, async () => {
      const output = nodes.flatMap((n) => n.output!).filter((v) => v !== 'u')
      const bytes = model(
        {
          input: [value('x', dims)],
          output: output.map((v) => value(v, undefined, v === 'at' ? 'i64' : 'f32')),
          initializer: constants,
          node: nodes,
        },
        { opset: from },
      )
      const x: Fed = { type: 'float32', data: Float32Array.from(draw(dims.reduce((a, b) => a * b))), dims }
      const want = await oracle(bytes, { x })
      for (const to of [13, 18, 21].filter((version) => version > from))
        expect(await oracle(upgraded(bytes, to), { x }), `opset ${to}`).toEqual(want)
    })
})

it('refuses what has no form in the later version', () => {
  const perPlace = parseOnnx(
    model({ node: one('BatchNormalization', { spatial: 0 }, ['c', 'c', 'c', 'c']), output: [value('y')] }, { opset: 8 }),
  )
  const error = errorOf(() => upgradeNode(perPlace.graph.nodes[0]!, 8, 13, new OnnxBuilder(13)))
  expect([error.code, error.message]).toEqual(['ERR_UNSUPPORTED', expect.stringMatching(/BatchNormalization .*every place/)])
})

// Heads of detectors: what is halved five times is enlarged again and added, so that heights and widths are multiples of 32.
it.skipIf(!ort)('an old detector whose sizes no trace follows is exported with weights per channel', async () => {
  const rng = Rng.of(4)
  const normal = (n: number): number[] => Array.from({ length: n }, () => 0.3 * rng.normal())
  const filters = (name: string, out: number, of: number, k: number): TensorInit =>
    constant(name, [out, of, k, k], normal(out * of * k * k))
  const half = (x: string, y: string, w: string): NodeInit =>
    node('Conv', [x, w], [y], { strides: [2, 2], pads: [1, 1, 1, 1], kernel_shape: [3, 3] })
  const scales = constant('scales', [4], [1, 1, 2, 2])
  const graph = {
    input: [value('x', ['N', 3, 'H', 'W'])],
    output: [value('y', ['N', 2, 'h', 'w'])],
    initializer: [
      filters('w0', 4, 3, 3),
      ...[1, 2, 3, 4].map((i) => filters(`w${i}`, 4, 4, 3)),
      filters('up', 4, 2, 2),
      scales,
      constant('roi', [0], []),
    ],
    node: [
      half('x', 'a', 'w0'),
      ...['a', 'b', 'c', 'd'].map((v, i) => half(v, 'bcde'[i]!, `w${i + 1}`)),
      node('Resize', ['e', 'roi', 'scales'], ['e2'], {
        mode: 'nearest',
        coordinate_transformation_mode: 'asymmetric',
        nearest_mode: 'floor',
      }),
      node('Add', ['d', 'e2'], ['s']),
      node('Unsqueeze', ['s'], ['s1'], { axes: [0] }),
      node('Squeeze', ['s1'], ['s2'], { axes: [0] }),
      node('ConvTranspose', ['s2', 'up'], ['y'], { strides: [2, 2], kernel_shape: [2, 2] }),
    ],
  }
  const net = modelFromOnnx(parseOnnx(model(graph, { opset: 11 })))
  const { model: small } = await compress(net, recipe([[quantize.rtn({ bits: 8 })]]))
  expect(exportOnnx(small).opsets['']).toBeGreaterThanOrEqual(13)
  const { check } = await saveOnnx(small, `${tempDir()}/small.onnx`, { onnxruntime: ort as unknown as OnnxRuntime })
  expect(check!.difference).toBeLessThan(1e-5)
})
