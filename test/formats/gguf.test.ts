import fc from 'fast-check'
import fs from 'node:fs'
import path from 'node:path'
import { describe, expect, test } from 'vitest'
import type { RawTensor } from '../../ts/base/dtype.js'
import {
  blockTypes,
  decodeBlocks,
  encodeGguf,
  openGguf,
  parseGguf,
  readTensors,
  writeGguf,
  type GgufSource,
  type GgufType,
  type GgufValue,
} from '../../ts/formats/index.js'
import { anyTensor, errorOf, failingIo, filesIn, golden, goldenBytes, tempDir } from './lib.js'

const file = parseGguf(goldenBytes('blocks.gguf'))
const floats = (t: RawTensor): Float32Array => new Float32Array(t.data.buffer, t.data.byteOffset, t.data.byteLength / 4)
const text = (value: string): GgufValue => ({ type: 'string', value })

describe('a file of Python gguf (golden/make-gguf.py)', () => {
  test('metadata of every type', () => {
    expect(Object.fromEntries([...file.metadata].map(([key, { value }]) => [key, value]))).toEqual({
      'general.architecture': 'tiny',
      'test.uint8': 200,
      'test.int8': -100,
      'test.uint16': 60000,
      'test.int16': -30000,
      'test.uint32': 4000000000,
      'test.int32': -2000000000,
      'test.float32': 0.5,
      'test.bool': true,
      'test.string': 'naïve ☃',
      'test.uint64': 2n ** 63n + 1n,
      'test.int64': -(2n ** 62n) - 1n,
      'test.float64': 0.1,
      'test.strings': ['a', '', 'Ġthe'],
      'test.integers': Int32Array.of(1, -2, 3),
      'test.floats': Float32Array.of(1.5, -2.5),
      'test.booleans': Uint8Array.of(1, 0, 1),
    })
    expect(file.text('general.architecture')).toBe('tiny')
    expect(file.number('test.uint8')).toBe(200)
    expect(file.number('test.int64')).toBe(-(2 ** 62))
    expect(file.number('test.string')).toBeUndefined()
    expect(file.text('test.uint8')).toBeUndefined()
  })

  test.each(blockTypes)('%s: the values that gguf.quants reads, bit for bit', (type) => {
    expect(file.tensors.get(type)).toMatchObject({ type, shape: [2, type.includes('k') ? 256 : 64] })
    const [values, wanted] = [file.readTensor(type), file.readTensor(`${type}.values`)]
    expect(values).toMatchObject({ dtype: 'f32', shape: wanted.shape })
    const [a, b] = [floats(values), floats(wanted)]
    expect(a.some((v) => v !== 0)).toBe(true)
    // NumPy multiplies q6_k's and q4_k's scales in another order.
    for (let i = 0; i < a.length; i++)
      expect(Math.abs(a[i]! - b[i]!)).toBeLessThanOrEqual(type.includes('k') ? 2e-6 * Math.abs(b[i]!) + 1e-5 : 0)
  })

  test('plain types keep their bytes; dimensions slowest first', () => {
    expect(file.readTensor('f32')).toMatchObject({ dtype: 'f32', shape: [2, 3] })
    expect(file.readTensor('f16')).toMatchObject({ dtype: 'f16', shape: [1, 3] })
    expect(file.readTensor('bf16')).toMatchObject({ dtype: 'bf16', shape: [2, 4] })
    expect(file.readTensor('i32')).toEqual({ dtype: 'i32', shape: [1, 2, 3], data: new Uint8Array(Int32Array.of(0, 1, 2, 3, 4, 5).buffer) })
  })

  test('written again it is the same file, byte for byte', () => {
    const tensors = [...file.tensors.keys()].map((name) => [name, file.readStored(name)] as const)
    const bytes = encodeGguf(tensors, { metadata: file.metadata })
    expect(Buffer.from(bytes).equals(goldenBytes('blocks.gguf'))).toBe(true)
  })

  test('found by its content, read like any format', () => {
    const { format, tensors } = readTensors(golden('blocks.gguf'))
    expect(format).toBe('gguf')
    expect([...tensors.keys()]).toEqual([...file.tensors.keys()])
  })
})

describe('writing', () => {
  const storable = anyTensor.filter((t) => ['f64', 'f32', 'f16', 'bf16', 'i64', 'i32', 'i16', 'i8'].includes(t.dtype))
  test('read(write(x)) is x', () => {
    fc.assert(
      fc.property(fc.array(storable, { maxLength: 5 }), fc.constantFrom(8, 32, 64), (list, value) => {
        const named = list.map((t, i) => [`t${i}`, t] as const)
        const read = parseGguf(encodeGguf(named, { metadata: { 'general.alignment': { type: 'u32', value } } }))
        expect(read.alignment).toBe(value)
        expect([...read.readAll()]).toEqual(named)
        for (const { offset } of read.tensors.values()) expect(offset % value).toBe(0)
      }),
      { numRuns: 100, seed: 5 },
    )
  })

  test('arrays inside arrays come back', () => {
    const inner: GgufValue = { type: 'array', of: 'string', value: ['x', ''] }
    const value: GgufValue = { type: 'array', of: 'array', value: [inner, inner] }
    expect(parseGguf(encodeGguf([], { metadata: new Map([['a', value]]) })).metadata.get('a')).toEqual(value)
  })

  test('tensors are made one after the other, the file is whole or the old one', () => {
    const at = path.join(tempDir(), 'x.gguf')
    const made: string[] = []
    const source = (name: string): readonly [string, GgufSource] => [
      name,
      { type: 'q8_0', shape: [2, 32], data: () => (made.push(name), new Uint8Array(68)) },
    ]
    const seen: string[] = []
    const bytes = writeGguf(at, [source('a'), source('b')], {
      onTensor: (name, done, total) => seen.push(`${name} ${done}/${total} ${made.length}`),
    })
    expect(seen).toEqual(['a 1/2 1', 'b 2/2 2'])
    expect(fs.statSync(at).size).toBe(bytes)
    const before = fs.readFileSync(at)
    const late = (): Uint8Array => {
      throw new Error('late')
    }
    expect(() => writeGguf(at, [source('a'), ['b', { type: 'f32', shape: [1], data: late }]])).toThrow('late')
    const { io } = failingIo(3, 'ENOSPC', ['write'])
    expect(errorOf(() => writeGguf(at, [source('a'), source('b')], { io })).code).toBe('ERR_IO')
    expect(fs.readFileSync(at).equals(before)).toBe(true)
    expect(filesIn(path.dirname(at))).toEqual(['x.gguf'])
    const open = openGguf(at)
    expect(floats(open.readTensor('b'))).toEqual(new Float32Array(64))
    open.close()
    expect(errorOf(() => open.readTensor('b')).code).toBe('ERR_IO')
  })

  const f32 = (shape: number[], bytes: number): RawTensor => ({ dtype: 'f32', shape, data: new Uint8Array(bytes) })
  test.each<[string, () => unknown, string]>([
    ['a name of 64 bytes', () => encodeGguf([['é'.repeat(32), f32([1], 4)]]), 'ERR_OPTION'],
    ['no name', () => encodeGguf([['', f32([1], 4)]]), 'ERR_OPTION'],
    ['a lone surrogate', () => encodeGguf([['\ud800', f32([1], 4)]]), 'ERR_OPTION'],
    ['a name twice', () => encodeGguf([['a', f32([1], 4)], ['a', f32([1], 4)]]), 'ERR_OPTION'], // prettier-ignore
    ['five dimensions', () => encodeGguf([['a', f32([1, 1, 1, 1, 1], 4)]]), 'ERR_SHAPE'],
    ['bytes that do not fit', () => encodeGguf([['a', f32([2], 4)]]), 'ERR_SHAPE'],
    ['rows that are no blocks', () => encodeGguf([['a', { type: 'q4_k', shape: [2, 128], data: new Uint8Array(144) }]]), 'ERR_SHAPE'],
    ['u8, which GGUF has not', () => encodeGguf([['a', { dtype: 'u8', shape: [1], data: new Uint8Array(1) }]]), 'ERR_OPTION'],
    ['an unknown type', () => encodeGguf([['a', { type: 'q9' as GgufType, shape: [], data: new Uint8Array(1) }]]), 'ERR_OPTION'],
    ['alignment 13', () => encodeGguf([], { metadata: { 'general.alignment': { type: 'u32', value: 13 } } }), 'ERR_OPTION'],
    ['alignment a text', () => encodeGguf([], { metadata: { 'general.alignment': text('32') } }), 'ERR_OPTION'],
    ['an empty key', () => encodeGguf([], { metadata: { '': text('x') } }), 'ERR_OPTION'],
    ['u8 256', () => encodeGguf([], { metadata: { a: { type: 'u8', value: 256 } } }), 'ERR_OPTION'],
    ['i32 0.5', () => encodeGguf([], { metadata: { a: { type: 'i32', value: 0.5 } } }), 'ERR_OPTION'],
    ['u64 -1', () => encodeGguf([], { metadata: { a: { type: 'u64', value: -1n } } }), 'ERR_OPTION'],
    ['u64 a number', () => encodeGguf([], { metadata: { a: { type: 'u64', value: 1 as unknown as bigint } } }), 'ERR_OPTION'],
    ['a text that is none', () => encodeGguf([], { metadata: { a: text('\udc00') } }), 'ERR_OPTION'],
    [
      'an unknown type of value',
      () => encodeGguf([], { metadata: { a: { type: 'f16', value: 1 } as unknown as GgufValue } }),
      'ERR_OPTION',
    ],
    [
      'an array of another class',
      () => encodeGguf([], { metadata: { a: { type: 'array', of: 'f32', value: Int32Array.of(1) } } }),
      'ERR_OPTION',
    ],
  ])('%s: %s', (_, run, code) => {
    expect(errorOf(run).code).toBe(code)
  })
})

describe('refusals that name what they refuse', () => {
  test('a type without codec is kept, not read; the other tensors are readable', () => {
    const data = Uint8Array.from({ length: 66 }, (_, i) => i)
    const open = parseGguf(encodeGguf([['odd', { type: 'iq2_xxs', shape: [256], data }], ['plain', { dtype: 'i8', shape: [1], data: Uint8Array.of(5) }]])) // prettier-ignore
    const error = errorOf(() => open.readTensor('odd'))
    expect([error.code, error.details.tensor, error.details.what]).toEqual(['ERR_UNSUPPORTED', 'odd', 'iq2_xxs'])
    expect(open.readStored('odd').data).toEqual(data)
    expect(open.readTensor('plain').data).toEqual(Uint8Array.of(5))
    expect(errorOf(() => open.readTensor('missing')).code).toBe('ERR_OPTION')
  })

  test('blocks', () => {
    expect(errorOf(() => decodeBlocks('q8_0', new Uint8Array(33))).code).toBe('ERR_SHAPE')
    expect(errorOf(() => decodeBlocks('q5_0' as 'q8_0', new Uint8Array(22))).code).toBe('ERR_UNSUPPORTED')
    expect(errorOf(() => parseGguf(goldenBytes('blocks.gguf'), { limits: { tensorBytes: 600 } }).readTensor('q4_k')).code).toBe('ERR_LIMIT')
  })
})
