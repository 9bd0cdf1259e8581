/** Operators of com.microsoft, and quantized products, against onnxruntime. */
import { describe, expect, it } from 'vitest'
import { memory, scope, tensor, type Tensor } from '../../ts/index.js'
import { parseOnnx } from '../../ts/formats/onnx/index.js'
import { graphFromOnnx, runGraph, type Value } from '../../ts/graph/index.js'
import { attributes, constant, model, node, oracle, ort, random, value, type Fed, type NodeInit, type TensorInit } from './build.js'

const domain = 'com.microsoft'
const draw = random(11)
const size = (dims: readonly number[]): number => dims.reduce((a, b) => a * b, 1)
const floats = (dims: readonly number[], scale = 1): Fed => ({ type: 'float32', data: Float32Array.from(draw(size(dims), scale)), dims })
const codes = (dims: readonly number[], type: 'uint8' | 'int8'): Fed => {
  const list = draw(size(dims), 127)
  return { type, data: type === 'uint8' ? Uint8Array.from(list, (v) => v + 128) : Int8Array.from(list), dims }
}
const int32 = (dims: readonly number[], data: readonly number[]): Fed => ({ type: 'int32', data: Int32Array.from(data), dims })
const int64 = (dims: readonly number[], data: readonly number[]): Fed => ({
  type: 'int64',
  data: BigInt64Array.from(data.map(BigInt)),
  dims,
})
const f32 = (name: string, dims: readonly number[], scale = 1): TensorInit => constant(name, dims, draw(size(dims), scale))
const types: Readonly<Record<string, 'f32' | 'u8' | 'i8' | 'i32' | 'i64'>> = {
  float32: 'f32',
  uint8: 'u8',
  int8: 'i8',
  int32: 'i32',
  int64: 'i64',
}

interface Case {
  readonly node: NodeInit
  readonly feeds: Readonly<Record<string, Fed>>
  readonly constants?: readonly TensorInit[]
  /** Type of the outputs. */
  readonly dtype?: 'f32' | 'u8' | 'i8' | 'i32'
  readonly opset?: number
  readonly tolerance?: number
}

async function check({ node: n, feeds, constants = [], dtype = 'f32', opset = 17, tolerance = 1e-5 }: Case): Promise<void> {
  const outputs = n.output!.filter(Boolean).map((name) => value(name, undefined, dtype))
  const input = Object.entries(feeds).map(([name, { type, dims }]) => value(name, dims, types[type]))
  const bytes = model({ input, output: outputs, node: [n], initializer: [...constants] }, { opset, domains: { [domain]: 1 } })
  const graph = graphFromOnnx(parseOnnx(bytes))
  const before = memory().tensors
  const run = (): Record<string, { dims: readonly number[]; data: number[] }> =>
    scope(() => {
      const given = Object.entries(feeds).map(([name, fed]): [string, Value] => [name, tensor(fed.data as Float32Array, fed.dims)])
      const found = Object.entries(runGraph(graph, Object.fromEntries(given)))
      return Object.fromEntries(
        found.map(([name, v]) => [name, { dims: (v as Tensor).shape, data: Array.from((v as Tensor).read() as Float32Array, Number) }]),
      )
    })
  const got = run()
  // What was prepared from constants (packed weights) stays, once.
  const kept = memory().tensors
  expect(run()).toEqual(got)
  expect(memory().tensors).toBe(kept)
  expect(kept - before).toBeLessThanOrEqual(4)
  for (const [name, want] of Object.entries(await oracle(bytes, feeds))) {
    expect(got[name]!.dims).toEqual(want.dims)
    want.data.forEach((v, i) => {
      const d = got[name]!.data[i]! - v
      if (!(Math.abs(d) <= tolerance * Math.max(1, Math.abs(v)) || d === 0)) expect(got[name]!.data[i], `${name}[${i}]`).toBe(v)
    })
  }
}
const ms = (
  op: string,
  inputs: readonly string[],
  outputs: readonly string[],
  of: Parameters<typeof attributes>[0] = {},
  named: readonly string[] = [],
): NodeInit => node(op, inputs, outputs, {}, { domain, attribute: attributes(of, named) })

describe.skipIf(!ort)('against onnxruntime', () => {
  it.each([
    ['plain', {}, [2, 3, 4], [2, 4, 5]],
    ['transposed, scaled', { transA: 1, transB: 1, alpha: 0.5 }, [2, 4, 3], [2, 5, 4]],
  ])('FusedMatMul %s', async (_, of, a, b) => {
    await check({ node: ms('FusedMatMul', ['a', 'b'], ['y'], of), feeds: { a: floats(a), b: floats(b) } })
  })

  it('activations with bias', async () => {
    await check({ node: ms('BiasGelu', ['x', 'b'], ['y']), feeds: { x: floats([2, 3, 8], 3), b: floats([8]) } })
    await check({ node: ms('FastGelu', ['x', 'b'], ['y']), feeds: { x: floats([2, 3, 8], 3), b: floats([8]) } })
    await check({ node: ms('FastGelu', ['x'], ['y']), feeds: { x: floats([5], 3) } })
    await check({ node: ms('Gelu', ['x'], ['y']), feeds: { x: floats([5], 3) } })
    await check({ node: ms('QuickGelu', ['x'], ['y'], { alpha: 1.702 }), feeds: { x: floats([5], 3) } })
  })

  it('SkipLayerNormalization with its sum', async () => {
    const feeds = { x: floats([2, 3, 8]), skip: floats([2, 3, 8]), gamma: floats([8]), beta: floats([8]), bias: floats([8]) }
    await check({
      node: ms('SkipLayerNormalization', ['x', 'skip', 'gamma', 'beta', 'bias'], ['y', '', '', 's'], { epsilon: 1e-5 }),
      feeds,
    })
    const { beta: _, ...rms } = feeds
    await check({
      node: ms('SkipSimplifiedLayerNormalization', ['x', 'skip', 'gamma', 'bias'], ['y', '', '', 's'], { epsilon: 1e-5 }),
      feeds: rms,
    })
    await check({
      node: node('SimplifiedLayerNormalization', ['x', 'gamma'], ['y'], { axis: -1, epsilon: 1e-5 }),
      feeds: { x: feeds.x, gamma: feeds.gamma },
    })
  })

  it('EmbedLayerNormalization', async () => {
    const feeds = { ids: int32([2, 3], [1, 0, 4, 2, 2, 3]), kinds: int32([2, 3], [0, 1, 0, 1, 1, 0]) }
    const constants = [f32('words', [5, 8]), f32('places', [6, 8]), f32('segments', [2, 8]), f32('gamma', [8]), f32('beta', [8])]
    const n = ms('EmbedLayerNormalization', ['ids', 'kinds', 'words', 'places', 'segments', 'gamma', 'beta'], ['y', ''], { epsilon: 1e-5 })
    await check({ node: n, feeds, constants })
  })

  it.each([
    ['no mask', {}, undefined],
    ['one way', { unidirectional: 1 }, undefined],
    ['a mask of keys', {}, int32([2, 4], [1, 1, 1, 0, 1, 1, 0, 0])],
  ])('Attention with %s', async (_, of, mask) => {
    const feeds = { x: floats([2, 4, 8]), ...(mask ? { mask } : {}) }
    const inputs = ['x', 'w', 'b', ...(mask ? ['mask'] : [])]
    const constants = [f32('w', [8, 24], 0.5), f32('b', [24], 0.5)]
    await check({ node: ms('Attention', inputs, ['y'], { num_heads: 2, ...of }), feeds, constants })
  })

  it('Attention with the past', async () => {
    const feeds = { x: floats([1, 2, 8]), past: floats([2, 1, 2, 3, 4]) }
    const constants = [f32('w', [8, 24], 0.5), f32('b', [24], 0.5)]
    await check({
      node: ms('Attention', ['x', 'w', 'b', '', 'past'], ['y', 'present'], { num_heads: 2, unidirectional: 1 }),
      feeds,
      constants,
    })
  })

  it('MultiHeadAttention', async () => {
    const feeds = { q: floats([2, 3, 8]), k: floats([2, 5, 8]), v: floats([2, 5, 8]), b: floats([24]) }
    await check({ node: ms('MultiHeadAttention', ['q', 'k', 'v', 'b'], ['y'], { num_heads: 2 }), feeds })
  })

  it('RotaryEmbedding', async () => {
    const feeds = { x: floats([2, 3, 16]), at: int64([2, 3], [0, 1, 2, 3, 1, 0]), c: floats([5, 4]), s: floats([5, 4]) }
    for (const interleaved of [0, 1]) await check({ node: ms('RotaryEmbedding', ['x', 'at', 'c', 's'], ['y'], { interleaved }), feeds })
  })

  it.each([
    [4, 16, 64, false],
    [4, 32, 96, true],
    [4, 32, 80, false],
    [8, 32, 64, true],
  ])('MatMulNBits: %i bits, blocks of %i of %i', async (bits, block, k, withZeros) => {
    const n = 5
    const groups = Math.ceil(k / block)
    const bytes = (count: number): number[] => draw(count, 128).map((v) => (Math.floor(v) + 128) & 255)
    const row = Math.ceil((groups * bits) / 8)
    const constants = [
      constant('b', [n, groups, (block * bits) / 8], bytes((n * groups * block * bits) / 8), 'u8'),
      f32('s', [n * groups], 0.1),
      ...(withZeros ? [constant('z', [n * row], bytes(n * row), 'u8')] : []),
    ]
    const inputs = ['x', 'b', 's', ...(withZeros ? ['z'] : [])]
    const of = { K: k, N: n, bits, block_size: block, accuracy_level: 1 }
    await check({ node: ms('MatMulNBits', inputs, ['y'], of), feeds: { x: floats([2, 3, k]) }, constants, tolerance: 2e-4 })
  })

  it.each(['uint8', 'int8'] as const)('products of %s weights that give floats', async (type) => {
    const w = codes([6, 5], type)
    const kind = type === 'uint8' ? ('u8' as const) : ('i8' as const)
    const zero = type === 'uint8' ? 120 : 3
    const constants = [
      constant('b', [6, 5], Array.from(w.data as Int8Array), kind),
      constant('bs', [1], [0.02]),
      constant('bz', [1], [zero], kind),
      f32('bias', [5]),
    ]
    await check({
      node: ms('DynamicQuantizeMatMul', ['a', 'b', 'bs', 'bz', 'bias'], ['y']),
      feeds: { a: floats([3, 6]) },
      constants,
      tolerance: 1e-4,
    })
    const more = [...constants, constant('as', [1], [0.5]), constant('az', [1], [128], 'u8')]
    await check({
      node: ms('MatMulIntegerToFloat', ['a', 'b', 'as', 'bs', 'az', 'bz', 'bias'], ['y']),
      feeds: { a: codes([3, 6], 'uint8') },
      constants: more,
    })
  })

  const one = (name: string, v: number, kind: 'f32' | 'u8' | 'i8' = 'f32'): TensorInit => constant(name, [], [v], kind)
  it.each(['QLinearAdd', 'QLinearMul'])('%s', async (op) => {
    const constants = [
      one('as', 0.0213),
      one('az', 100, 'u8'),
      one('bs', 0.0331),
      one('bz', 130, 'u8'),
      one('ys', 0.0474),
      one('yz', 120, 'u8'),
    ]
    const n = ms(op, ['a', 'as', 'az', 'b', 'bs', 'bz', 'ys', 'yz'], ['y'])
    await check({ node: n, feeds: { a: codes([2, 3, 4], 'uint8'), b: codes([3, 4], 'uint8') }, constants, dtype: 'u8' })
  })
  it.each([
    ['QLinearSigmoid', {}],
    ['QLinearLeakyRelu', { alpha: 0.1 }],
  ])('%s', async (op, of) => {
    const constants = [one('as', 0.05), one('az', 100, 'u8'), one('ys', 0.02), one('yz', 50, 'u8')]
    await check({ node: ms(op, ['a', 'as', 'az', 'ys', 'yz'], ['y'], of), feeds: { a: codes([40], 'uint8') }, constants, dtype: 'u8' })
  })

  it.each([
    ['plain', { pads: [1, 1, 1, 1] }, [1, 3, 6, 5], [4, 3, 3, 3]],
    ['strided, dilated', { strides: [2, 1], dilations: [1, 2], pads: [0, 1, 2, 1] }, [2, 2, 7, 7], [3, 2, 3, 3]],
    ['grouped', { group: 2 }, [1, 4, 5, 5], [6, 2, 2, 2]],
    ['depthwise', { group: 4, pads: [1, 1, 1, 1] }, [1, 4, 5, 5], [4, 1, 3, 3]],
    ['a sequence', { pads: [2, 1] }, [2, 3, 9], [4, 3, 3]],
  ])('QLinearConv %s', async (_, of, x, w) => {
    const filters = w[0]!
    const k = size(w.slice(1))
    const each = (name: string, f: (i: number) => number): TensorInit =>
      constant(
        name,
        [filters],
        Array.from({ length: filters }, (_, i) => f(i)),
      )
    const constants = [
      one('xs', 0.03),
      one('xz', 117, 'u8'),
      constant('w', w, Array.from(codes(w, 'int8').data as Int8Array), 'i8'),
      each('ws', (i) => 0.01 * (i + 1)),
      constant('wz', [filters], Array<number>(filters).fill(0), 'i8'),
      one('ys', 0.05 * Math.sqrt(k)),
      one('yz', 121, 'u8'),
      constant(
        'b',
        [filters],
        Array.from({ length: filters }, (_, i) => 200 * i - 300),
        'i32',
      ),
    ]
    const n = node('QLinearConv', ['x', 'xs', 'xz', 'w', 'ws', 'wz', 'ys', 'yz', 'b'], ['y'], of)
    await check({ node: n, feeds: { x: codes(x, 'uint8') }, constants, dtype: 'u8' })
  })

  it.each(['uint8', 'int8'] as const)('QLinearMatMul and MatMulInteger with %s activations', async (type) => {
    const kind = type === 'uint8' ? ('u8' as const) : ('i8' as const)
    const zero = type === 'uint8' ? 120 : -4
    const b = constant('b', [16, 7], Array.from(codes([16, 7], 'int8').data as Int8Array), 'i8')
    const constants = [
      one('as', 0.03),
      one('az', zero, kind),
      b,
      one('bs', 0.02),
      one('bz', 0, 'i8'),
      one('ys', 0.4),
      one('yz', zero, kind),
    ]
    const a = codes([2, 3, 16], type)
    await check({
      node: node('QLinearMatMul', ['a', 'as', 'az', 'b', 'bs', 'bz', 'ys', 'yz'], ['y']),
      feeds: { a },
      constants,
      dtype: kind,
    })
    await check({
      node: node('MatMulInteger', ['a', 'b', 'az', 'bz'], ['y']),
      feeds: { a },
      constants: [b, one('az', zero, kind), one('bz', 0, 'i8')],
      dtype: 'i32',
    })
  })
})

describe('refuses', () => {
  const bad = (of: Parameters<typeof attributes>[0], b: TensorInit, s: TensorInit): (() => unknown) => {
    const graph = graphFromOnnx(
      parseOnnx(
        model(
          {
            input: [value('x', [1, 32])],
            output: [value('y')],
            node: [ms('MatMulNBits', ['x', 'b', 's'], ['y'], of)],
            initializer: [b, s],
          },
          { domains: { [domain]: 1 } },
        ),
      ),
    )
    return () => scope(() => runGraph(graph, { x: tensor(new Float32Array(32), [1, 32]) }))
  }
  const of = { K: 32, N: 2, bits: 4, block_size: 32 }
  it('packed weights, scales and sizes that do not belong together', () => {
    const [b, s] = [constant('b', [2, 1, 16], Array<number>(32).fill(7), 'u8'), constant('s', [2], [1, 1])]
    expect(bad(of, b, s)).not.toThrow()
    for (const wrong of [
      { ...of, N: 3 },
      { ...of, N: 2 ** 31 },
      { ...of, block_size: 0 },
      { ...of, block_size: -32 },
      { ...of, block_size: 24 },
      { ...of, K: 31 },
      { ...of, bits: 5 },
      { ...of, K: -1 },
    ])
      expect(bad(wrong, b, s), JSON.stringify(wrong)).toThrow(
        expect.objectContaining({ code: expect.stringMatching(/^ERR_(MODEL_FORMAT|SHAPE|UNSUPPORTED|LIMIT)$/) as string }),
      )
    expect(bad(of, constant('b', [2, 1, 15], Array<number>(30).fill(7), 'u8'), s)).toThrow(
      expect.objectContaining({ code: 'ERR_MODEL_FORMAT' }),
    )
    expect(bad(of, b, constant('s', [1], [1]))).toThrow(expect.objectContaining({ code: 'ERR_MODEL_FORMAT' }))
  })
})
