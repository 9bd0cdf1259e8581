/** Hostile ONNX files (test ids of the reliability list in the names): a typed error or a sound graph, in bounded time; nothing outside the model's folder is read. */
import { execFileSync } from 'node:child_process'
import fs from 'node:fs'
import os from 'node:os'
import path from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { isTersorError, memory, scope, tensor, zeros } from '../../ts/index.js'
import { cpuClock } from '../cpu-time.js'
import { parseOnnx, readOnnx } from '../../ts/formats/onnx/index.js'
import { graphFromOnnx, runGraph, type Graph } from '../../ts/graph/index.js'
import { type attributes, constant, model, node, typeNumber, value, type GraphInit, type ModelInit, type TensorInit } from './build.js'

const load = (bytes: Uint8Array): Graph => graphFromOnnx(parseOnnx(bytes))
/** The code of what is thrown; 'ok'; anything untyped fails the test. */
function codeOf(run: () => unknown): string {
  try {
    run()
    return 'ok'
  } catch (error) {
    if (!isTersorError(error)) throw error
    return error.code
  }
}
const refused = (graph: GraphInit, options?: ModelInit): string => codeOf(() => load(model(graph, options)))

const small: GraphInit = {
  input: [value('x', ['n', 2])],
  output: [value('y', ['n', 3])],
  initializer: [constant('w', [2, 3], [1, 2, 3, 4, 5, 6]), { name: 'b', dims: [3n], dataType: 1, floatData: [1, 2, 3] }],
  node: [node('Gemm', ['x', 'w', 'b'], ['g'], { alpha: 0.5, transB: 0 }), node('Relu', ['g'], ['y'])],
}

describe('files made from a sound one', () => {
  const bytes = model(small)
  it(`F01: every one of ${bytes.length} prefixes is refused`, () => {
    for (let n = 0; n < bytes.length; n++)
      expect(
        codeOf(() => load(bytes.slice(0, n))),
        `${n} bytes`,
      ).not.toBe('ok')
  })
  it(`F02: ${3 * bytes.length} changed bytes: refused, or a graph that runs or says why not`, () => {
    const before = memory().tensors
    for (let at = 0; at < bytes.length; at++)
      for (const mask of [0x01, 0x80, 0xff]) {
        const changed = bytes.slice()
        changed[at] = bytes[at]! ^ mask
        const code = codeOf(() =>
          scope(() => {
            const graph = load(changed)
            runGraph(graph, Object.fromEntries(graph.inputs.map((v) => [v.name, zeros([4, 2])])))
          }),
        )
        expect(code).not.toBe('ERR_INTERNAL')
      }
    expect(memory().tensors).toBe(before)
  })
})

describe('F11: stored elements must be exactly those of the shape', () => {
  const wrong: readonly [string, Partial<TensorInit>][] = [
    ['raw_data too short', { dims: [1000n, 1000n], dataType: 1, rawData: new Uint8Array(4) }],
    ['raw_data not a multiple', { dims: [2n], dataType: 1, rawData: new Uint8Array(7) }],
    ['raw_data too long', { dims: [2n], dataType: 1, rawData: new Uint8Array(12) }],
    ['int4 of one byte for 700 M elements', { dims: [700_000_000n], dataType: typeNumber('i4'), rawData: new Uint8Array(1) }],
    ['float_data', { dims: [3n], dataType: 1, floatData: [1, 2] }],
    ['int32_data', { dims: [3n], dataType: typeNumber('i32'), int32Data: [1, 2, 3, 4] }],
    ['int32_data of half floats', { dims: [3n], dataType: typeNumber('f16'), int32Data: [1] }],
    ['int64_data', { dims: [3n], dataType: typeNumber('i64'), int64Data: [1n] }],
    ['double_data', { dims: [3n], dataType: typeNumber('f64'), doubleData: [1] }],
    ['uint64_data', { dims: [3n], dataType: typeNumber('u64'), uint64Data: [1n] }],
    ['string_data', { dims: [3n], dataType: typeNumber('string'), stringData: [new Uint8Array(1)] }],
    ['strings as raw_data', { dims: [1n], dataType: typeNumber('string'), rawData: new Uint8Array(1) }],
    ['strings that are not UTF-8', { dims: [1n], dataType: typeNumber('string'), stringData: [new Uint8Array([0xff])] }],
    ['two storages', { dims: [1n], dataType: 1, floatData: [1], rawData: new Uint8Array(4) }],
    ['the wrong storage', { dims: [1n], dataType: 1, int64Data: [1n] }],
    ['a negative dimension', { dims: [-1n], dataType: 1 }],
    ['dimensions whose product overflows', { dims: [2n ** 40n, 2n ** 40n], dataType: 1 }],
    ['a dimension of 2^62', { dims: [2n ** 62n, 0n], dataType: 1 }],
    ['an unknown dtype', { dims: [0n], dataType: 99 }],
    ['a segment', { dims: [0n], dataType: 1, segment: { begin: 0n, end: 1n } }],
  ]
  it.each(wrong)('%s', (_name, t) => {
    const init = { name: 'c', ...t } as TensorInit
    for (const graph of [
      { ...small, initializer: [...small.initializer!, init] },
      { ...small, node: [node('Constant', [], ['k'], { value: init }), ...small.node!] },
    ])
      expect(['ERR_MODEL_FORMAT', 'ERR_LIMIT']).toContain(refused(graph as GraphInit))
  })
})

describe('F17, F18: the bytes of protobuf', () => {
  const bytes = model(small)
  const join = (...parts: readonly (Uint8Array | readonly number[])[]): Uint8Array => Uint8Array.from(parts.flatMap((p) => [...p]))
  const huge = [0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f]
  it.each([
    ['a length of 2^63', [0x3a, ...huge]],
    ['a length behind the end', [0x3a, 0x7f]],
    ['a varint of 11 bytes', [0x08, ...Array<number>(10).fill(0x80), 1]],
    ['field number 0', [0x00, 0x01]],
    ['field number 0 with a length', [0x02, 0x00]],
    ['wire type 6', [0x0e, 0x00]],
    ['a wrong wire type for the graph', [0x38, 0x01]],
    ['a group', [0x0b, 0x0c]],
    ['an end of a group', [0x0c]],
    ['100,000 nested groups', Array<number>(100_000).fill(0x0b)],
  ])('%s is refused', (_name, extra) => expect(codeOf(() => load(join(bytes, extra)))).toBe('ERR_MODEL_FORMAT'))
  it('9,000 nested messages are refused', () => {
    // graph { node { attribute { g { ...: tags 7, 1, 5, 6 with a length each
    const heads: number[][] = []
    let size = 0
    const wrap = (tag: number): void => {
      const head = [tag]
      let n = size
      do head.push((n & 127) | (n > 127 ? 128 : 0))
      while ((n >>= 7) > 0)
      heads.push(head)
      size += head.length
    }
    for (let i = 0; i < 3000; i++) [0x32, 0x2a, 0x0a].forEach(wrap)
    wrap(0x3a)
    const inner = Uint8Array.from(heads.reverse().flat())
    const before = performance.now()
    expect(codeOf(() => load(inner))).toBe('ERR_MODEL_FORMAT')
    expect(performance.now() - before).toBeLessThan(1000)
  })
  it('unknown fields, split messages and unpacked lists load alike', () => {
    const run = (b: Uint8Array): unknown =>
      scope(() => (runGraph(load(b), { x: tensor([[1, 2]]) }).y as ReturnType<typeof zeros>).toArray())
    const want = run(bytes)
    // field 500, varint and bytes
    expect(run(join(bytes, [0xa0, 0x1f, 0x01], [0xa2, 0x1f, 2, 1, 2]))).toEqual(want)
    // The graph in two halves: one with everything but the output, one with the output alone.
    const half = model({ ...small, output: [] })
    const rest = join([0x3a], ((g): number[] => [g.length, ...g])([0x62, 3, 0x0a, 1, 0x79]))
    expect(run(join(half, rest))).toEqual(want)
    // float_data of b, unpacked: three fields of wire type 5
    const at = bytes.findIndex((v, i) => v === 0x22 && bytes[i + 1] === 12)
    const values = bytes.slice(at + 2, at + 14)
    const unpacked = join([0x25], values.slice(0, 4), [0x25], values.slice(4, 8), [0x25], values.slice(8))
    const longer = join(bytes.slice(0, at), unpacked, bytes.slice(at + 14))
    for (const i of [bytes.indexOf(0x3a) + 1, bytes.findLastIndex((v, k) => k < at && v === 0x2a) + 1]) longer[i] = longer[i]! + 1
    expect(run(longer)).toEqual(want)
  })
})

describe('F19, F20: graphs that cannot be, and graphs that explode', () => {
  const call = (op: string, from: string, to: string): ReturnType<typeof node> => node(op, [from], [to], {}, { domain: 'f' })
  const func = (name: string, nodes: ReturnType<typeof node>[]): NonNullable<ModelInit['functions']>[number] => ({
    name,
    domain: 'f',
    input: ['a'],
    output: ['b'],
    opsetImport: [
      { domain: '', version: 17n },
      { domain: 'f', version: 1n },
    ],
    node: nodes,
  })
  const io = { input: [value('x', [2])], output: [value('y', [2])] }
  it('a node that needs its own result, and a result under the name of an input', () => {
    expect(refused({ ...io, node: [node('Add', ['x', 'y'], ['y'])] })).toBe('ERR_MODEL_FORMAT')
    expect(refused({ ...io, node: [node('Relu', ['x'], ['x']), node('Relu', ['x'], ['y'])] })).toBe('ERR_MODEL_FORMAT')
  })
  it('a function that calls itself through another one inside a branch', () => {
    const branch = (op: string): GraphInit => ({ name: 'b', output: [value('r')], node: [call(op, 'a', 'r')] })
    const functions = [
      func('A', [node('Cast', ['a'], ['c'], { to: 9 }), node('If', ['c'], ['b'], { then_branch: branch('B'), else_branch: branch('B') })]),
      func('B', [call('A', 'a', 'b')]),
    ]
    expect(refused({ ...io, node: [call('A', 'x', 'y')] }, { functions, domains: { f: 1 } })).toBe('ERR_MODEL_FORMAT')
  })
  it('30 functions that call the next one twice end at the limit', () => {
    const functions = Array.from({ length: 30 }, (_, i) =>
      func(`F${i}`, i === 29 ? [node('Relu', ['a'], ['b'])] : [call(`F${i + 1}`, 'a', 't'), call(`F${i + 1}`, 't', 'b')]),
    )
    const before = performance.now()
    expect(refused({ ...io, node: [call('F0', 'x', 'y')] }, { functions, domains: { f: 1 } })).toBe('ERR_LIMIT')
    expect(performance.now() - before).toBeLessThan(5000)
  })
  it('a chain of 20,000 nodes loads within a second of processor time and needs no stack, in any order', () => {
    const n = 20_000
    const nodes = Array.from({ length: n }, (_, i) => ({
      opType: 'Relu',
      input: [i === 0 ? 'x' : `v${i}`],
      output: [i === n - 1 ? 'y' : `v${i + 1}`],
    }))
    for (const list of [nodes, [...nodes].reverse()]) {
      const bytes = model({ ...io, node: list })
      const used = cpuClock()
      expect(load(bytes).nodes).toHaveLength(n)
      expect(used()).toBeLessThan(1000)
    }
  })
})

describe('F21: attributes against tensors', () => {
  const x = (dims: readonly number[]): Pick<GraphInit, 'input' | 'output'> => ({ input: [value('x', dims)], output: [value('y')] })
  const conv = (of: Parameters<typeof attributes>[0]): GraphInit => ({
    ...x([1, 2, 5, 5]),
    initializer: [constant('w', [2, 2, 3, 3], Array<number>(36).fill(0))],
    node: [node('Conv', ['x', 'w'], ['y'], of)],
  })
  it.each([
    ['Conv group 0', conv({ group: 0 })],
    ['Conv group 3', conv({ group: 3 })],
    ['Conv stride 0', conv({ strides: [0, 1] })],
    ['Conv dilation 2^31', conv({ dilations: [2 ** 31, 1] })],
    ['Conv dilation larger than the image', conv({ dilations: [9, 9] })],
    ['Conv negative pads', conv({ pads: [-1, 0, 0, 0] })],
    ['Conv kernel_shape of another rank', conv({ kernel_shape: [3] })],
    ['Conv kernel_shape other than the filters', conv({ kernel_shape: [2, 2] })],
    ['Conv with one input', { ...x([1, 2, 5, 5]), node: [node('Conv', ['x'], ['y'])] }],
    ['Transpose perm out of range', { ...x([2, 3]), node: [node('Transpose', ['x'], ['y'], { perm: [0, 2] })] }],
    ['Transpose perm repeated', { ...x([2, 3]), node: [node('Transpose', ['x'], ['y'], { perm: [1, 1] })] }],
    ['Softmax axis', { ...x([2, 3]), node: [node('Softmax', ['x'], ['y'], { axis: -3 })] }],
    ['Concat axis', { ...x([2, 3]), node: [node('Concat', ['x', 'x'], ['y'], { axis: 2 })] }],
    [
      'Reshape that does not fit',
      { ...x([2, 3]), initializer: [constant('s', [1], [7], 'i64')], node: [node('Reshape', ['x', 's'], ['y'])] },
    ],
    ['Gather behind the end', { ...x([2, 3]), initializer: [constant('i', [1], [5], 'i64')], node: [node('Gather', ['x', 'i'], ['y'])] }],
    [
      'BatchNormalization of other channels',
      {
        ...x([1, 4, 2]),
        initializer: ['g', 'b', 'm', 'v'].map((n) => constant(n, [3], [1, 1, 1])),
        node: [node('BatchNormalization', ['x', 'g', 'b', 'm', 'v'], ['y'])],
      },
    ],
    ['Gemm of other sizes', { ...x([2, 3]), initializer: [constant('w', [2, 2], [1, 2, 3, 4])], node: [node('Gemm', ['x', 'w'], ['y'])] }],
    ['an attribute of another type', { ...x([2, 3]), node: [node('Softmax', ['x'], ['y'], { axis: 'last' })] }],
  ] as [string, GraphInit][])('%s is a typed error at load or at the first run', (_name, graph) => {
    const before = memory().tensors
    const code = codeOf(() =>
      scope(() => {
        const g = load(model(graph))
        runGraph(g, { x: zeros(g.inputs[0]!.shape as number[]) })
      }),
    )
    expect(['ERR_MODEL_FORMAT', 'ERR_SHAPE', 'ERR_OPTION', 'ERR_UNSUPPORTED']).toContain(code)
    expect(memory().tensors).toBe(before)
  })
})

describe('F22: tensors in other files', () => {
  const root = fs.mkdtempSync(path.join(os.tmpdir(), 'tersor-onnx-'))
  const folder = path.join(root, 'model')
  const at = (name: string): string => path.join(folder, name)
  beforeAll(() => {
    fs.mkdirSync(path.join(folder, 'sub'), { recursive: true })
    fs.writeFileSync(at('w.bin'), new Uint8Array(32))
    fs.writeFileSync(path.join(root, 'secret.bin'), new Uint8Array(32))
    if (process.platform === 'win32') return
    fs.symlinkSync(at('w.bin'), at('link.bin'))
    fs.symlinkSync(root, at('up'))
    fs.linkSync(path.join(root, 'secret.bin'), at('hard.bin'))
    execFileSync('mkfifo', [at('fifo')])
  })
  afterAll(() => fs.rmSync(root, { recursive: true, force: true }))

  const external = (entries: Readonly<Record<string, string>>): TensorInit => ({
    name: 'w',
    dims: [2n, 3n],
    dataType: 1,
    dataLocation: 1,
    externalData: Object.entries(entries).map(([key, v]) => ({ key, value: v })),
  })
  /** As an initializer, an attribute, the values of a sparse initializer, and in a subgraph. */
  const places = (t: TensorInit): GraphInit[] => {
    const io = { input: [value('x', ['n', 2])], output: [value('y')], node: [node('MatMul', ['x', 'w'], ['y'])] }
    return [
      { ...io, initializer: [t] },
      { ...io, node: [node('Constant', [], ['w'], { value: t }), ...io.node] },
      {
        ...io,
        sparseInitializer: [{ values: { ...t, dims: [6n] }, indices: constant('', [6], [0, 1, 2, 3, 4, 5], 'i64'), dims: [2n, 3n] }],
      },
      {
        ...io,
        node: [
          node('If', ['c'], ['w'], {
            then_branch: { name: 't', output: [value('w1')], initializer: [{ ...t, name: 'w1' }], node: [] },
            else_branch: { name: 'e', output: [value('w2')], initializer: [{ ...t, name: 'w2' }], node: [] },
          }),
          ...io.node,
        ],
        initializer: [constant('c', [], [1], 'bool')],
      },
    ]
  }
  const codes = (entries: Readonly<Record<string, string>>): Set<string> =>
    new Set(
      places(external(entries)).map((graph) => {
        fs.writeFileSync(at('m.onnx'), model(graph))
        const before = performance.now()
        const code = codeOf(() => readOnnx(at('m.onnx')))
        expect(performance.now() - before).toBeLessThan(300)
        return code
      }),
    )

  it('beneath the model are read, when asked for', () => {
    expect(codes({ location: 'w.bin', offset: '8', length: '24' })).toEqual(new Set(['ok']))
    expect(codes({ location: 'w.bin' })).toEqual(new Set(['ok']))
    fs.writeFileSync(at('m.onnx'), model(places(external({ location: 'w.bin', offset: '8' }))[0]!))
    const graph = graphFromOnnx(readOnnx(at('m.onnx')))
    fs.writeFileSync(at('w.bin'), new Uint8Array(Float32Array.of(0, 0, 1, 2, 3, 4, 5, 6).buffer))
    scope(() => expect((runGraph(graph, { x: tensor([[1, 1]]) }).y as ReturnType<typeof zeros>).toArray()).toEqual([[5, 7, 9]]))
  })
  it.each([
    ['../secret.bin', 'ERR_PATH'],
    ['sub/../../secret.bin', 'ERR_PATH'],
    ['/etc/passwd', 'ERR_PATH'],
    ['C:\\windows\\x', 'ERR_PATH'],
    ['', 'ERR_PATH'],
    ['*/_ORT_MEM_ADDR_/*', 'ERR_PATH'],
    ['/dev/zero', 'ERR_PATH'],
    ['missing.bin', 'ERR_IO'],
  ])('location %j is refused: %s', (location, code) => expect(codes({ location, length: '24' })).toEqual(new Set([code])))
  it.skipIf(process.platform === 'win32').each(['link.bin', 'up/secret.bin', 'hard.bin', 'fifo', 'sub'])(
    '%s is refused at once',
    (location) => expect(codes({ location, length: '24' })).toEqual(new Set(['ERR_PATH'])),
  )
  it.each([
    { location: 'w.bin', offset: '-1' },
    { location: 'w.bin', length: String(2 ** 50) },
    { location: 'w.bin', offset: '16', length: '24' },
    { location: 'w.bin', offset: '1e3' },
    { location: 'w.bin', length: '20' },
    { location: 'w.bin', colour: 'red' },
  ])('%j is refused', (entries) => expect(codes(entries as Record<string, string>)).toEqual(new Set(['ERR_MODEL_FORMAT'])))
  it('in memory without a folder there are none', () => {
    expect(codeOf(() => parseOnnx(model(places(external({ location: 'w.bin' }))[0]!)))).toBe('ERR_PATH')
  })
})
