/** The decoder of ONNX files against the protobuf library's own, on messages of every kind and on damaged ones. */
import { constants } from 'node:buffer'
import { fromBinary } from '@bufbuild/protobuf'
import { ModelProtoSchema } from 'onnx-buf'
import { describe, expect, it } from 'vitest'
import { isTersorError } from '../../ts/index.js'
import { formatContext, type Limits } from '../../ts/formats/limits.js'
import { decodeProtobuf } from '../../ts/formats/onnx/decode.js'
import { parseOnnx } from '../../ts/formats/onnx/index.js'
import { modelSchema } from '../../ts/formats/onnx/schema.js'
import { constant, model, node, random, value } from '../graph/build.js'

const decode = (bytes: Uint8Array): unknown =>
  decodeProtobuf(formatContext('onnx', undefined, {}), bytes, modelSchema, { depth: 100, messages: 1e6 })

/** Defaults and documentation left out, bigints and typed lists as plain numbers: what both decoders must agree on. */
function plain(v: unknown): unknown {
  if (typeof v === 'bigint') return plain(Number(v))
  if (v instanceof Uint8Array || v instanceof Float32Array || v instanceof Float64Array) return v.length ? Array.from(v) : undefined
  if (Array.isArray(v)) return v.length ? v.map(plain) : undefined
  if (typeof v !== 'object' || v === null) return v === 0 || v === '' || v === false ? undefined : v
  const entries = Object.entries(v).filter(([key]) => !key.startsWith('$') && key !== 'docString')
  return Object.fromEntries(entries.map(([key, x]) => [key, plain(x)]).filter(([, x]) => x !== undefined))
}
const agrees = (bytes: Uint8Array): void => expect(plain(decode(bytes))).toEqual(plain(fromBinary(ModelProtoSchema, bytes)))

const graph = {
  input: [value('x', ['n', 2]), value('ids', [3], 'i64'), value('größe')],
  output: [value('y', ['n', 3])],
  initializer: [
    constant('w', [2, 3], [1, 2, 3, 4, 5, 6]),
    { name: 'typed', dims: [3n], dataType: 1, floatData: [1, -2.5, 3e30] },
    { name: 'wide', dims: [4n], dataType: 7, int64Data: [1n, -1n, 2n ** 62n, -(2n ** 63n)] },
    { name: 'double', dims: [2n], dataType: 11, doubleData: [0.1, -1e300] },
    { name: 'small', dims: [3n], dataType: 6, int32Data: [-1, 0, 2 ** 31 - 1] },
    { name: 'unsigned', dims: [2n], dataType: 13, uint64Data: [2n ** 64n - 1n, 5n] },
    { name: 'texts', dims: [2n], dataType: 8, stringData: [new Uint8Array([104, 105]), new Uint8Array(0)] },
  ],
  node: [
    node('Gemm', ['x', 'w'], ['g'], { alpha: 0.5, transB: 0, list: [1, -2], text: 'hello', floats: [1.5, 2] }),
    node('If', ['c'], ['y'], { then_branch: { name: 'b', node: [node('Relu', ['g'], ['r'])], output: [value('r')] } }),
  ],
}
const bytes = model(graph)

/** A message with one field of `length` bytes; they take memory only when they are read. */
function long(field: number, length: number, ...behind: Uint8Array[]): Uint8Array {
  const head = [field * 8 + 2]
  for (let n = length; ; n = Math.floor(n / 128)) {
    head.push((n % 128) + (n < 128 ? 0 : 128))
    if (n < 128) break
  }
  const out = new Uint8Array(head.length + length + behind.reduce((n, b) => n + b.length, 0))
  out.set(head)
  let at = head.length + length
  for (const b of behind) {
    out.set(b, at)
    at += b.length
  }
  return out
}
const [PRODUCER, DOCUMENTATION] = [2, 6]

describe('decoding', () => {
  it('gives what the library gives', () => {
    agrees(bytes)
    const { initializer } = (decode(bytes) as { graph: { initializer: { int64Data: unknown; uint64Data: unknown }[] } }).graph
    expect(initializer[2]!.int64Data).toEqual([1, -1, 2n ** 62n, -(2n ** 63n)])
    expect(initializer[5]!.uint64Data).toEqual([2n ** 64n - 1n, 5])
  })
  it('puts together what comes in parts, as the library does', () => {
    const twice = Uint8Array.from([...bytes, ...model({ ...graph, name: 'second', initializer: [] })])
    agrees(twice)
  })
  it('refuses what the library refuses, and reads the rest like it', () => {
    const draw = random(23)
    let read = 0
    for (let i = 0; i < 400; i++) {
      const changed = bytes.slice()
      const [at, to] = draw(2).map((v) => Math.floor((v + 1) * 0.5 * 0.999999 * bytes.length)) as [number, number]
      changed[at] = to & 255
      let mine: unknown
      try {
        mine = decode(changed)
      } catch (error) {
        expect(isTersorError(error)).toBe(true) // stricter than the library: groups, wire types of known fields
        continue
      }
      read++
      expect(plain(mine)).toEqual(plain(fromBinary(ModelProtoSchema, changed)))
    }
    expect(read).toBeGreaterThan(100)
  })
  it('makes equal texts one string, whatever their hash', () => {
    const names = Array.from({ length: 3000 }, (_, i) => `value/${i % 1500}/${'x'.repeat(i % 40)}é`.slice(0, 20 + (i % 30)))
    const proto = decode(model({ node: [node('Sum', names, ['y'])] })) as { graph: { node: { input: string[] }[] } }
    expect(proto.graph.node[0]!.input).toEqual(names)
  })
  it('steps over documentation, however long', () => {
    const file = long(DOCUMENTATION, 600 * 2 ** 20, bytes)
    expect(decode(file)).toEqual(decode(bytes))
    expect(parseOnnx(file).graph.nodes).toEqual(parseOnnx(bytes).graph.nodes)
  })
  it('refuses texts that no string holds, and those beyond the limit', () => {
    const file = long(PRODUCER, 600 * 2 ** 20, bytes)
    const refused = (limits: Partial<Limits>): unknown => {
      try {
        return parseOnnx(file, { limits })
      } catch (error) {
        return isTersorError(error) && [error.code, error.details]
      }
    }
    const found = (max: number): unknown => ['ERR_LIMIT', { limit: 'metadataString', value: 600 * 2 ** 20, max }]
    expect(refused({})).toEqual(found(2 ** 24))
    expect(refused({ metadataString: 2 ** 40 })).toEqual(found(constants.MAX_STRING_LENGTH))
    expect(parseOnnx(long(PRODUCER, 2 ** 24, bytes)).producer.length).toBe(2 ** 24)
  })
})
