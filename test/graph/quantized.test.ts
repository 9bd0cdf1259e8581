/** Quantized models as ONNX files and back: codes stay codes, layers run on the kernels for integers, bytes and values are those of before. */
import { describe, expect, it } from 'vitest'
import { Rng } from '../../ts/base/rng.js'
import { compress, quantize, recipe } from '../../ts/compress/index.js'
import type { NumberDataset } from '../../ts/data/index.js'
import { encodeOnnx, parseOnnx } from '../../ts/formats/onnx/index.js'
import { exportOnnx, graphFromOnnx, modelFromOnnx, runGraph, type ExportOptions } from '../../ts/graph/index.js'
import { session } from '../../ts/index.js'
import { architectures } from '../../ts/models/index.js'
import {
  build,
  embedding,
  freshValues,
  linear,
  Model,
  sequential,
  activation,
  QuantizedWeight,
  type ModuleSpec,
} from '../../ts/nn/index.js'
import { scope, tensor, type Tensor } from '../../ts/tensor/index.js'
import { constant, model as onnxModel, node, random, value, type NodeInit, type TensorInit } from './build.js'

const fresh = (spec: ModuleSpec, info = {}): Model =>
  new Model(build(spec, freshValues(Rng.of(3))), { name: 'm', task: 'classification', history: [], ...info })
const draw = random(17)
const floats = (...shape: number[]): Tensor => tensor(Float32Array.from(draw(shape.reduce((a, b) => a * b, 1))), shape) // prettier-ignore
const mlp = (): Model =>
  fresh(
    sequential({
      fc1: linear({ in: 64, out: 48, bias: true, init: 'he' }),
      act: activation({ function: 'relu' }),
      fc2: linear({ in: 48, out: 10, bias: true, init: 'he' }),
    }),
  )
const again = (model: Model, options: Partial<ExportOptions>): Model => modelFromOnnx(parseOnnx(encodeOnnx(exportOnnx(model, options))))
/** Bytes of the weights that are codes, by their number of bits. */
function coded(model: Model): { bytes: number; kinds: string[] } {
  const list = model.weights().flatMap(({ weight }) => (weight instanceof QuantizedWeight ? [weight] : []))
  return { bytes: list.reduce((n, w) => n + w.bytes(), 0), kinds: list.map((w) => w.description) }
}
function distance(a: Model, b: Model, x: Tensor): number {
  return scope(() => {
    const [p, q] = [a.predict(x).read() as Float32Array, b.predict(x).read() as Float32Array]
    const largest = p.reduce((m, v) => Math.max(m, Math.abs(v)), 1e-30)
    return p.reduce((m, v, i) => Math.max(m, Math.abs(v - q[i]!)), 0) / largest
  })
}
function opsOf(model: Model, x: Tensor): string[] {
  const s = session(model)
  const inputs = { data: x.read() as Float32Array, shape: x.shape }
  const { steps } = s.profile(inputs, 1)
  s.dispose()
  return steps.map((step) => step.op)
}

describe('there and back', () => {
  const x = floats(5, 64)
  const options = { example: x }
  const roundings: [string, Parameters<typeof quantize.rtn>[0], string][] = [
    ['8 bits per channel', { bits: 8 }, 'int8 per channel'],
    ['8 bits per tensor', { bits: 8, layout: 'tensor' }, 'int8 per tensor'],
    ['8 bits, affine', { bits: 8, mode: 'affine' }, 'int8 per channel affine'],
    ['4 bits in groups', { bits: 4, layout: 'group', groupSize: 16 }, 'int4 g16'],
    ['4 bits in groups, affine', { bits: 4, layout: 'group', groupSize: 16, mode: 'affine' }, 'int4 g16 affine'],
    ['3 bits in groups', { bits: 3, layout: 'group', groupSize: 16 }, 'int3 g16'],
  ]
  for (const [title, how, kind] of roundings)
    for (const profile of ['ort', 'onnx'] as const)
      it(`${title}, for ${profile}: the same codes, run by the kernel for codes`, async () => {
        const { model } = await compress(mlp(), recipe([[quantize.rtn(how)]]))
        const back = again(model, { ...options, profile })
        expect(coded(back)).toEqual(coded(model))
        expect(coded(back).kinds).toEqual([kind, kind])
        expect(back.weights().map((w) => w.path)).toEqual(model.weights().map((w) => w.path))
        expect(distance(model, back, x)).toBeLessThan(1e-6)
        expect(opsOf(back, x).filter((op) => op === 'wgemm')).toHaveLength(2)
      })

  it('dynamic int8: inputs are quantized by rows again', async () => {
    const { model } = await compress(mlp(), recipe([[quantize.dynamic({})]]))
    const back = again(model, { ...options, dynamicQuantization: true })
    expect(coded(back)).toEqual(coded(model))
    expect(distance(model, back, x)).toBeLessThan(1e-6)
    expect(opsOf(back, x).filter((op) => op === 'qlinear_dynamic')).toHaveLength(2)
  })

  it('static int8 of a convolutional net: ranges of inputs become part of the layers', async () => {
    const net = architectures.convnet({ inputShape: [1, 16, 16], classes: 10 })
    const data = {
      name: 'noise',
      input: 'numbers',
      inputShape: [1, 16, 16],
      classes: 10,
      size: 16,
      batch: (list: ArrayLike<number>) => ({ x: Float32Array.from(draw(list.length * 256)), labels: new Int32Array(list.length) }),
    } as unknown as NumberDataset
    const { model } = await compress(fresh(net.spec, { inputShape: net.inputShape }), recipe([[quantize.static({ bits: 8 })]]), { data })
    const images = floats(3, 1, 16, 16)
    const back = again(model, {})
    expect(coded(back)).toEqual(coded(model))
    // Biases are integers in the file: half a step of the product's scale.
    expect(distance(model, back, images)).toBeLessThan(2e-3)
    const [before, after] = [opsOf(model, images), opsOf(back, images)]
    for (const op of ['qconv2d_last', 'qlinear']) {
      expect(after.filter((o) => o === op).length, op).toBeGreaterThan(0)
      expect(after.filter((o) => o === op)).toEqual(before.filter((o) => o === op))
    }
  })

  it('tables', async () => {
    const { model } = await compress(fresh(embedding({ rows: 30, width: 16 })), recipe([[quantize.rtn({ bits: 8 })]]))
    const ids = tensor(Int32Array.of(3, 0, 29, 7), [2, 2])
    const back = again(model, { example: ids })
    expect(coded(back)).toEqual(coded(model))
    scope(() => expect(Array.from(back.predict(ids).read(), Number)).toEqual(Array.from(model.predict(ids).read(), Number)))
  })
})

// Files of other tools.

const bytes = (name: string, dims: number[], dtype: 'i8' | 'u8', from = dtype === 'i8' ? -100 : 0, to = dtype === 'i8' ? 100 : 200): TensorInit =>
  constant(
    name,
    dims,
    draw(dims.reduce((a, b) => a * b, 1)).map((v) => Math.round(from + ((v + 1) / 2) * (to - from))),
    dtype,
  ) // prettier-ignore
const positive = (name: string, n: number): TensorInit => constant(name, n === 0 ? [] : [n], draw(n || 1).map((v) => 0.01 + 0.005 * v)) // prettier-ignore
interface File {
  readonly nodes: readonly NodeInit[]
  readonly constants: readonly TensorInit[]
  readonly input?: readonly (number | string)[]
  readonly domains?: Record<string, number>
}
const file = ({ nodes, constants, input = ['B', 16], domains = {} }: File): Uint8Array =>
  onnxModel({ input: [value('x', input)], output: [value('y')], node: [...nodes], initializer: [...constants] }, { opset: 21, domains })
/** The model of a file, held against its graph run node by node. */
function imported(f: File, x: Tensor, tolerance: number): Model {
  const data = parseOnnx(file(f))
  const model = modelFromOnnx(data)
  scope(() => {
    const want = (runGraph(graphFromOnnx(data), { x }).y as Tensor).read() as Float32Array
    const got = model.predict(x).read() as Float32Array
    expect(got.length).toBe(want.length)
    const largest = want.reduce((m, v) => Math.max(m, Math.abs(v)), 1e-30)
    expect(want.reduce((m, v, i) => Math.max(m, Math.abs(v - got[i]!)), 0) / largest).toBeLessThanOrEqual(tolerance)
  })
  return model
}
const kinds = (m: Model): string[] => m.weights().map((w) => `${w.path}: ${w.weight.description}`)

describe('files of other tools', () => {
  const x = floats(4, 16)
  const qdq = (w: TensorInit, extra: readonly TensorInit[], inputs: readonly string[], with_ = {}): File => ({
    nodes: [
      node('QuantizeLinear', ['x', 'xs', 'xz'], ['q']),
      node('DequantizeLinear', ['q', 'xs', 'xz'], ['d']),
      node('DequantizeLinear', inputs, ['w'], with_),
      node('MatMul', ['d', 'w'], ['y']),
    ],
    constants: [w, ...extra, constant('xs', [], [0.008]), constant('xz', [], [-3], 'i8')],
  })
  it('codes in either sign, per tensor and per axis, on either side of a product', () => {
    const u8 = qdq(
      bytes('fc.weight', [16, 6], 'u8'),
      [positive('s', 6), constant('z', [6], Array<number>(6).fill(128), 'u8')],
      ['fc.weight', 's', 'z'],
      { axis: 1 },
    )
    const a = imported(u8, x, 1e-6)
    expect(kinds(a)).toEqual(['fc.weight: int8 per channel, u8 input'])
    expect(opsOf(a, x)).toContain('qlinear')
    const i8 = qdq(bytes('fc.weight', [16, 6], 'i8'), [positive('s', 0)], ['fc.weight', 's'])
    expect(kinds(imported(i8, x, 1e-6))).toEqual(['fc.weight: int8 per tensor, u8 input'])
    const turned: File = {
      ...i8,
      nodes: [
        ...i8.nodes.slice(0, 2),
        node('DequantizeLinear', ['fc.weight', 's'], ['t']),
        node('Transpose', ['t'], ['w'], { perm: [1, 0] }),
        i8.nodes[3]!,
      ],
      constants: [bytes('fc.weight', [6, 16], 'i8'), ...i8.constants.slice(1)],
    }
    expect(kinds(imported(turned, x, 1e-6))).toEqual(['fc.weight: int8 per tensor, u8 input'])
  })
  it('what is no layer of integers stays exact: uneven zero points, scales along the inputs, blocks', () => {
    const uneven = qdq(
      bytes('fc.weight', [16, 6], 'u8'),
      [positive('s', 6), constant('z', [6], [120, 128, 7, 9, 130, 128], 'u8')],
      ['fc.weight', 's', 'z'],
      { axis: 1 },
    )
    expect(kinds(imported(uneven, x, 1e-6))).toEqual(['fc.weight: int8 per channel affine'])
    const inner = qdq(bytes('fc.weight', [16, 6], 'i8'), [positive('s', 16)], ['fc.weight', 's'], { axis: 0 })
    expect(kinds(imported(inner, x, 1e-6))[0]).toMatch(/f32$/)
    const blocks = qdq(bytes('fc.weight', [16, 6], 'i8'), [constant('s', [4, 6], draw(24).map((v) => 0.02 + 0.01 * v))], ['fc.weight', 's'], { axis: 0, block_size: 4 }) // prettier-ignore
    expect(kinds(imported(blocks, x, 1e-6))).toEqual(['fc.weight: int8 g4'])
  })
  it('QLinearMatMul and QLinearConv: codes in and out', () => {
    const scalars = (...names: readonly (readonly [string, number])[]): TensorInit[] => names.map(([name, v]) => constant(name, [], [v]))
    const matmul: File = {
      nodes: [
        node('QuantizeLinear', ['x', 'xs', 'xz'], ['q']),
        node('QLinearMatMul', ['q', 'xs', 'xz', 'fc.weight', 's', 'z', 'ys', 'yz'], ['c']),
        node('DequantizeLinear', ['c', 'ys', 'yz'], ['y']),
      ],
      constants: [
        bytes('fc.weight', [16, 6], 'i8'),
        positive('s', 6),
        constant('z', [6], Array<number>(6).fill(0), 'i8'),
        ...scalars(['xs', 0.008], ['ys', 0.05]),
        constant('xz', [], [128], 'u8'),
        constant('yz', [], [128], 'u8'),
      ],
    }
    // One step of the result's grid where f32 rounding decides.
    const a = imported(matmul, x, 0.05 / 2)
    expect(kinds(a)).toEqual(['fc.weight: int8 per channel, u8 input'])
    const conv: File = {
      input: ['B', 3, 6, 6],
      nodes: [
        node('QuantizeLinear', ['x', 'xs', 'xz'], ['q']),
        node('QLinearConv', ['q', 'xs', 'xz', 'c.weight', 's', 'z', 'ys', 'yz', 'b'], ['c'], { pads: [1, 1, 1, 1] }),
        node('DequantizeLinear', ['c', 'ys', 'yz'], ['y']),
      ],
      constants: [
        bytes('c.weight', [4, 3, 3, 3], 'i8'),
        positive('s', 4),
        constant('z', [4], [0, 0, 0, 0], 'i8'),
        ...scalars(['xs', 0.008], ['ys', 0.08]),
        constant('xz', [], [120], 'u8'),
        constant('yz', [], [128], 'u8'),
        constant('b', [4], [500, -700, 20, 3], 'i32'),
      ],
    }
    const images = floats(2, 3, 6, 6)
    const b = imported(conv, images, 0.05)
    expect(kinds(b)).toContain('c.weight: int8 per channel, u8 input')
    expect(opsOf(b, images)).toContain('qconv2d_last')
  })
  it('MatMulNBits of 8 bits and of 4 with zero points; DynamicQuantizeMatMul; a MatMulInteger that is no layer', () => {
    const wide = floats(3, 32)
    const nbits = (bits: number, zero: TensorInit[]): File => ({
      input: ['B', 32],
      domains: { 'com.microsoft': 1 },
      nodes: [
        node(
          'MatMulNBits',
          ['x', 'w', 's', ...zero.map((z) => z.name!)],
          ['y'],
          { N: 5, K: 32, bits, block_size: 16 },
          { domain: 'com.microsoft' },
        ),
      ],
      constants: [bytes('w', [5, 2, 2 * bits], 'u8', 0, 255), positive('s', 10), ...zero],
    })
    expect(kinds(imported(nbits(8, []), wide, 1e-6))[0]).toMatch(/int8 g16$/)
    expect(kinds(imported(nbits(4, [bytes('z', [5], 'u8', 0, 255)]), wide, 1e-6))[0]).toMatch(/int4 g16 affine$/)
    const dynamic: File = {
      domains: { 'com.microsoft': 1 },
      nodes: [node('DynamicQuantizeMatMul', ['x', 'w', 's', '', 'b'], ['y'], {}, { domain: 'com.microsoft' })],
      constants: [bytes('w', [16, 6], 'i8'), positive('s', 6), constant('b', [6], [1, 2, 3, 4, 5, 6])],
    }
    // The file has one range for all rows, the layer one for each.
    expect(kinds(imported(dynamic, x, 2e-2))).toEqual(
      expect.arrayContaining([expect.stringMatching(/int8 per channel, dynamic u8 input$/)]),
    )
    const shown: File = {
      nodes: [
        node('DynamicQuantizeLinear', ['x'], ['q', 'qs', 'qz']),
        node('MatMulInteger', ['q', 'w', 'qz', 'wz'], ['i']),
        node('Cast', ['i'], ['f'], { to: 1 }),
        node('Mul', ['f', 'qs'], ['y']),
      ],
      constants: [bytes('w', [16, 6], 'u8'), constant('wz', [], [77], 'u8')],
    }
    expect(kinds(imported(shown, x, 1e-6)).filter((k) => k.includes('int8'))).toEqual([])
  })
})
