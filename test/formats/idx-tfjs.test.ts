import fc from 'fast-check'
import fs from 'node:fs'
import path from 'node:path'
import { gzipSync } from 'node:zlib'
import { describe, expect, test } from 'vitest'
import { toPlain } from '../../ts/base/json.js'
import { halfToNumber } from '../../ts/formats/dequantize.js'
import { detectFormat, readTensors } from '../../ts/formats/detect.js'
import { encodeIdx, parseIdx, readIdx, writeIdx } from '../../ts/formats/idx.js'
import { readTfjs } from '../../ts/formats/tfjs.js'
import { anyTensor, errorOf, golden, goldenDir, tempDir } from './lib.js'

const floats = (data: Uint8Array): number[] => Array.from(new Float32Array(data.buffer as ArrayBuffer))

describe('idx', () => {
  test('plain and compressed, found by content', () => {
    const plain = readIdx(golden('bytes-idx3-ubyte'))
    expect(plain).toEqual({ dtype: 'u8', shape: [2, 3, 4], data: Uint8Array.from({ length: 24 }, (_, i) => i) })
    expect(readIdx(golden('bytes-idx3-ubyte.gz'))).toEqual(plain)
    expect(floats(readIdx(golden('floats.idx')).data)).toEqual([1.5, -2, 3, 4])
  })
  test('read(write(x)) is x', () => {
    const storable = anyTensor.filter((t) => ['u8', 'i8', 'i16', 'i32', 'f32', 'f64'].includes(t.dtype) && t.shape.length > 0)
    fc.assert(
      fc.property(storable, fc.boolean(), (tensor, compress) => {
        const bytes = encodeIdx(tensor)
        expect(parseIdx(compress ? gzipSync(bytes) : bytes)).toEqual(tensor)
      }),
      { numRuns: 200, seed: 4 },
    )
  })
  test('a compressed file of several members', () => {
    const bytes = fs.readFileSync(golden('bytes-idx3-ubyte'))
    expect(parseIdx(Buffer.concat([gzipSync(bytes.subarray(0, 10)), gzipSync(bytes.subarray(10))])).shape).toEqual([2, 3, 4])
  })
  test('refuses what the format cannot hold', () => {
    expect(errorOf(() => encodeIdx({ dtype: 'i64', shape: [1], data: new Uint8Array(8) })).code).toBe('ERR_DTYPE')
    expect(errorOf(() => encodeIdx({ dtype: 'u8', shape: [], data: new Uint8Array(1) })).code).toBe('ERR_SHAPE')
  })
})

describe('tfjs', () => {
  test('weights across shards, quantised ones expanded', () => {
    const { kind, topology, signature, tensors } = readTfjs(golden('tfjs-model'))
    expect(kind).toBe('graph-model')
    expect(toPlain(topology)).toEqual({ node: [{ name: 'x' }] })
    expect(toPlain(signature!)).toEqual({ inputs: {} })
    expect([...tensors.keys()]).toEqual(['f', 'i', 'flags', 'q8', 'q16', 'half', 'bytes'])
    expect(floats(tensors.get('f')!.data)).toEqual([0, 1, 2, 3, 4])
    expect(Array.from(new Int32Array(tensors.get('i')!.data.buffer))).toEqual([1, -1, 7])
    expect(tensors.get('flags')).toEqual({ dtype: 'bool', shape: [3], data: Uint8Array.of(1, 0, 1) })
    expect(floats(tensors.get('q8')!.data)).toEqual([-1, 63, 126.5])
    expect(tensors.get('q16')!.shape).toEqual([2, 1])
    expect(floats(tensors.get('q16')!.data)).toEqual([2, 8193.875])
    expect(floats(tensors.get('half')!.data)).toEqual([1.5, -0.25])
    expect(tensors.get('bytes')).toEqual({ dtype: 'u8', shape: [2], data: Uint8Array.of(3, 4) })
  })

  test('links are refused, or allowed for package stores', () => {
    const dir = tempDir()
    fs.cpSync(goldenDir, dir, { recursive: true })
    const shard = path.join(dir, 'group1-shard2of3')
    fs.renameSync(shard, path.join(dir, 'elsewhere'))
    fs.symlinkSync('elsewhere', shard)
    const model = path.join(dir, 'tfjs-model')
    expect(errorOf(() => readTfjs(model)).code).toBe('ERR_PATH')
    expect(readTfjs(model, { links: 'allow' }).tensors.size).toBe(7)
    fs.unlinkSync(shard)
    fs.linkSync(path.join(dir, 'elsewhere'), shard)
    expect(errorOf(() => readTfjs(model)).code).toBe('ERR_PATH')
    expect(readTfjs(model, { links: 'allow' }).tensors.size).toBe(7)
  })

  test('a hole in the shards is found', () => {
    const dir = tempDir()
    for (const name of ['tfjs-model', 'group1-shard1of3', 'group1-shard3of3']) fs.copyFileSync(golden(name), path.join(dir, name))
    expect(errorOf(() => readTfjs(path.join(dir, 'tfjs-model')))).toMatchObject({ code: 'ERR_IO', details: { errno: 'ENOENT' } })
  })
})

test('all half precision numbers, against the same number with the fields of single precision', () => {
  const f32 = new Float32Array(1)
  const u32 = new Uint32Array(f32.buffer)
  const wrong: number[] = []
  for (let bits = 0; bits < 65536; bits++) {
    const exponent = (bits >> 10) & 31
    u32[0] = ((bits & 0x8000) << 16) | ((exponent === 31 ? 255 : exponent + 112) << 23) | ((bits & 1023) << 13)
    const subnormal = (bits & 0x8000 ? -1 : 1) * (bits & 1023) * 2 ** -24
    if (!Object.is(halfToNumber(bits), exponent === 0 ? subnormal : f32[0]!)) wrong.push(bits)
  }
  expect(wrong).toEqual([])
  expect([0x3c00, 0x3555, 0x7bff, 0x0001, 0x0400].map(halfToNumber)).toEqual([1, 0.333251953125, 65504, 2 ** -24, 2 ** -14])
})

describe('which format a file has', () => {
  test.each([
    ['two.safetensors', 'safetensors'],
    ['le-f4-c.npy', 'npy'],
    ['stored.npz', 'npz'],
    ['floats.idx', 'idx'],
    ['bytes-idx3-ubyte', 'idx'],
    ['bytes-idx3-ubyte.gz', 'idx'],
    ['tfjs-model', 'tfjs'],
  ])('%s is %s', (name, format) => {
    expect(detectFormat(golden(name))).toBe(format)
    expect(readTensors(golden(name)).tensors.size).toBeGreaterThan(0)
  })

  test('the content decides; a name that says otherwise is an option error (F28)', () => {
    const dir = tempDir()
    const wrong = path.join(dir, 'x.npz')
    fs.copyFileSync(golden('two.safetensors'), wrong)
    expect(errorOf(() => detectFormat(wrong))).toMatchObject({ code: 'ERR_OPTION' })
    const silent = path.join(dir, 'x.bin')
    fs.copyFileSync(golden('two.safetensors'), silent)
    expect(detectFormat(silent)).toBe('safetensors')
    fs.writeFileSync(silent, 'GGUF....')
    expect(detectFormat(silent)).toBe('gguf')
    expect(errorOf(() => readTensors(silent)).code).toBe('ERR_UNSUPPORTED')
    fs.writeFileSync(silent, 'hello')
    expect(errorOf(() => detectFormat(silent)).code).toBe('ERR_MODEL_FORMAT')
  })

  test('idx on disk', () => {
    const file = path.join(tempDir(), 'x.idx')
    writeIdx(file, readIdx(golden('floats.idx')))
    expect(fs.readFileSync(file).equals(fs.readFileSync(golden('floats.idx')))).toBe(true)
  })
})
