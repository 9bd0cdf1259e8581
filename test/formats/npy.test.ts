import fc from 'fast-check'
import fs from 'node:fs'
import path from 'node:path'
import * as zlib from 'node:zlib'
import { describe, expect, test } from 'vitest'
import type { DType, RawTensor } from '../../ts/base/dtype.js'
import { crc32, tableCrc32 } from '../../ts/formats/crc32.js'
import { encodeNpy, parseNpy, readNpy, writeNpy } from '../../ts/formats/npy.js'
import { encodeNpz, parseNpz, readNpz, writeNpz } from '../../ts/formats/npz.js'
import { anyTensor, errorOf, golden, goldenBytes, goldenDir, tempDir } from './lib.js'

const typed = {
  f64: Float64Array,
  f32: Float32Array,
  i64: BigInt64Array,
  i32: Int32Array,
  i16: Int16Array,
  u16: Uint16Array,
  i8: Int8Array,
  u8: Uint8Array,
  bool: Uint8Array,
} as const

/** The numbers of a tensor that are not halves. */
function numbers({ dtype, data }: RawTensor): number[] {
  const View = typed[dtype as keyof typeof typed]
  return Array.from(new View(data.buffer as ArrayBuffer) as ArrayLike<number | bigint>, Number)
}

describe('npy files of numpy', () => {
  const files = fs.readdirSync(goldenDir).filter((name) => /-[cf]\.npy$/.test(name))
  test('there are all dtypes in both byte orders and both layouts', () => expect(files.length).toBe(34))

  test.each(files)('%s', (name) => {
    const tensor = readNpy(golden(name))
    const code = name.slice(0, -6).replace(/^[lb]e-/, '')
    const dtype = { f8: 'f64', f4: 'f32', f2: 'f16', i8: 'i64', i4: 'i32', i2: 'i16', u2: 'u16', i1: 'i8', u1: 'u8', b1: 'bool' }[code]!
    expect(tensor).toMatchObject({ dtype: (name.startsWith('i8-') ? 'i64' : dtype) as DType, shape: [2, 3, 4] })
    if (dtype === 'f16') {
      expect(Array.from(new Uint16Array(tensor.data.buffer)).slice(10, 15)).toEqual([0xc000, 0xbc00, 0, 0x3c00, 0x4000]) // -2 -1 0 1 2
      return
    }
    const shift = code.startsWith('u') ? 0 : 12
    const expected = Array.from({ length: 24 }, (_, i) => (code === 'b1' ? i % 2 : i - shift))
    expect(numbers(tensor)).toEqual(expected)
  })

  test('scalar, empty, versions 2 and 3', () => {
    expect(readNpy(golden('scalar.npy'))).toEqual({ dtype: 'f32', shape: [], data: new Uint8Array(new Float32Array([3.5]).buffer) })
    expect(readNpy(golden('empty.npy'))).toEqual({ dtype: 'f32', shape: [0, 3], data: new Uint8Array() })
    for (const v of [2, 3]) expect(numbers(readNpy(golden(`version-${v}.npy`)))).toEqual([0, 1, 2, 3, 4])
  })

  test('a header that is not padded: the data begins at an odd offset', () => {
    const dict = "{'descr':'<f4','fortran_order':False,'shape':(2,)}\n"
    const bytes = Buffer.concat([
      Buffer.from(`\x93NUMPY\x01\x00${String.fromCharCode(dict.length)}\x00${dict}`, 'latin1'),
      Buffer.from(new Float32Array([1, 2]).buffer),
    ])
    expect((10 + dict.length) % 2).toBe(1)
    expect(numbers(parseNpy(bytes))).toEqual([1, 2])
  })
})

describe('npz files of numpy', () => {
  test('stored', () => {
    const tensors = readNpz(golden('stored.npz'))
    expect([...tensors.keys()]).toEqual(['x', 'y'])
    expect(numbers(tensors.get('x')!)).toEqual(Array.from({ length: 24 }, (_, i) => i))
    expect(tensors.get('y')).toMatchObject({ dtype: 'i64', shape: [3] })
  })
  test('deflated, with a name outside ASCII', () => {
    const tensors = readNpz(golden('deflated.npz'))
    expect([...tensors.keys()]).toEqual(['x', 'y', 'naïve'])
    expect(numbers(tensors.get('x')!).every((v) => v === 0)).toBe(true)
  })
})

describe('writing', () => {
  const storable = anyTensor.filter((t) => t.dtype !== 'bf16')

  test('npy: the same bytes as numpy writes', () => {
    for (const name of ['le-f4-c', 'le-i8-c', 'u1-c', 'b1-c', 'scalar', 'empty']) {
      const file = name + '.npy'
      const bytes = encodeNpy(readNpy(golden(file)))
      expect(parseNpy(bytes)).toEqual(readNpy(golden(file)))
      expect(Buffer.from(bytes.subarray(0, 6)).toString('latin1')).toBe('\x93NUMPY')
      expect(bytes.length).toBe(goldenBytes(file).length)
      expect(Buffer.from(bytes).equals(goldenBytes(file))).toBe(true)
    }
  })

  test('npy: read(write(x)) is x', () => {
    fc.assert(
      fc.property(storable, (tensor) => {
        expect(parseNpy(encodeNpy(tensor))).toEqual(tensor)
      }),
      { numRuns: 200, seed: 2 },
    )
  })

  test('npz: read(write(x)) is x, writes are deterministic', () => {
    const name = fc.string({ unit: 'grapheme', minLength: 1 }).filter((n) => !n.includes('\0'))
    fc.assert(
      fc.property(fc.array(fc.tuple(name, storable), { maxLength: 5 }), fc.boolean(), (list, compress) => {
        const tensors = new Map(list)
        const bytes = encodeNpz(tensors, { compress })
        expect(encodeNpz(tensors, { compress })).toEqual(bytes)
        expect(new Map([...parseNpz(bytes)].sort())).toEqual(new Map([...tensors].sort()))
      }),
      { numRuns: 100, seed: 3 },
    )
  })

  test('on disk', () => {
    const dir = tempDir()
    const tensor = readNpy(golden('be-f4-f.npy'))
    writeNpy(path.join(dir, 'x.npy'), tensor)
    writeNpz(path.join(dir, 'x.npz'), [['x', tensor]], { compress: true })
    expect(readNpy(path.join(dir, 'x.npy'))).toEqual(tensor)
    expect(readNpz(path.join(dir, 'x.npz')).get('x')).toEqual(tensor)
  })

  test('refuses what the formats cannot hold', () => {
    expect(errorOf(() => encodeNpy({ dtype: 'bf16', shape: [1], data: new Uint8Array(2) })).code).toBe('ERR_DTYPE')
    const x = readNpy(golden('scalar.npy'))
    expect(
      errorOf(() =>
        encodeNpz([
          ['a', x],
          ['a', x],
        ]),
      ).code,
    ).toBe('ERR_OPTION')
    expect(errorOf(() => encodeNpz([['', x]])).code).toBe('ERR_OPTION')
  })
})

test("CRC-32: the check value of its definition, and Node's own where it is there", () => {
  expect(tableCrc32(Buffer.from('123456789'))).toBe(0xcbf43926)
  const own = (zlib as { crc32?: (data: Uint8Array) => number }).crc32 ?? tableCrc32
  const data = Uint8Array.from({ length: 5000 }, (_, i) => (i * i * 31) >> 3)
  for (const n of [0, 1, 255, 5000]) expect([tableCrc32(data.subarray(0, n)), crc32(data.subarray(0, n))]).toEqual([own(data.subarray(0, n)), own(data.subarray(0, n))]) // prettier-ignore
})
