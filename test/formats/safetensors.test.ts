import fc from 'fast-check'
import fs from 'node:fs'
import path from 'node:path'
import { describe, expect, test } from 'vitest'
import type { RawTensor } from '../../ts/base/dtype.js'
import { encodeSafetensors, openSafetensors, parseSafetensors, readSafetensors, writeSafetensors } from '../../ts/formats/safetensors.js'
import { anyTensor, errorOf, golden, goldenBytes, tempDir } from './lib.js'

const join = (pieces: Uint8Array[]): Uint8Array => new Uint8Array(Buffer.concat(pieces))
const f32 = (...values: number[]): RawTensor => ({
  dtype: 'f32',
  shape: [values.length],
  data: new Uint8Array(new Float32Array(values).buffer),
})

const anyName = fc.string({ unit: 'grapheme', minLength: 1 }).filter((name) => name !== '__metadata__')

describe('reading', () => {
  test('a file written by hand from the description of the format', () => {
    const { tensors, metadata } = readSafetensors(golden('two.safetensors'))
    expect([...tensors.keys()]).toEqual(['w', 'b', 'e'])
    expect(tensors.get('w')).toEqual({ dtype: 'f32', shape: [2, 3], data: new Uint8Array(new Float32Array([0, 1, 2, 3, 4, 5]).buffer) })
    expect(new BigInt64Array(tensors.get('b')!.data.buffer as ArrayBuffer)).toEqual(BigInt64Array.of(1n, -2n))
    expect(tensors.get('e')).toMatchObject({ dtype: 'f16', shape: [0, 4] })
    expect([...metadata]).toEqual([
      ['format', 'pt'],
      ['note', 'café "1"'],
    ])
  })

  test('tensor by tensor, each into memory of its own', () => {
    const file = openSafetensors(golden('two.safetensors'))
    expect(file.tensors.get('w')).toMatchObject({ dtype: 'f32', shape: [2, 3], bytes: 24 })
    const a = file.readTensor('w')
    a.data.fill(0)
    expect(new Float32Array(file.readTensor('w').data.buffer)[5]).toBe(5)
    expect(errorOf(() => file.readTensor('nothing')).code).toBe('ERR_OPTION')
    file.close()
    expect(errorOf(() => file.readTensor('w'))).toMatchObject({ code: 'ERR_IO', details: { errno: 'EBADF' } })
  })

  test('from memory at any alignment', () => {
    const bytes = goldenBytes('two.safetensors')
    const odd = new Uint8Array(bytes.length + 1).subarray(1)
    odd.set(bytes)
    expect(parseSafetensors(odd)).toEqual(parseSafetensors(Buffer.from(bytes)))
    expect(parseSafetensors(odd).tensors.get('w')!.data.byteOffset).toBe(0)
  })
})

describe('writing', () => {
  test('data begins at a multiple of 8, tensors in the order given', () => {
    const [header] = encodeSafetensors([
      ['b', f32(1)],
      ['a', f32(2, 3)],
    ])
    expect(header!.length % 8).toBe(0)
    const text = Buffer.from(header!.subarray(8)).toString()
    expect(text.indexOf('"b":')).toBeLessThan(text.indexOf('"a":'))
    expect([
      ...parseSafetensors(
        join(
          encodeSafetensors([
            ['b', f32(1)],
            ['a', f32(2, 3)],
          ]),
        ),
      ).tensors.keys(),
    ]).toEqual(['b', 'a'])
  })

  test('without checksums it is a plain file', () => {
    const [header] = encodeSafetensors([['x', f32(1)]], { checksums: false })
    expect(Buffer.from(header!.subarray(8)).toString().trim()).toBe('{"x":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}')
    expect(errorOf(() => parseSafetensors(join([header!, f32(1).data]), { checksums: 'require' })).code).toBe('ERR_OPTION')
  })

  test('read(write(x)) is x, and writes are deterministic', () => {
    fc.assert(
      fc.property(
        fc.array(fc.tuple(anyName, anyTensor), { maxLength: 6 }),
        fc.dictionary(fc.string({ unit: 'grapheme' }), fc.string({ unit: 'grapheme' })),
        (list, meta) => {
          const tensors = new Map(list)
          const metadata = new Map(Object.entries(meta))
          const bytes = join(encodeSafetensors(tensors, { metadata }))
          expect(join(encodeSafetensors(tensors, { metadata }))).toEqual(bytes)
          const back = parseSafetensors(bytes, { checksums: 'require' })
          expect([...back.tensors]).toEqual([...tensors])
          expect([...back.metadata]).toEqual([...metadata])
        },
      ),
      { numRuns: 200, seed: 1 },
    )
  })

  test('on disk, and again over it', () => {
    const file = path.join(tempDir(), 'x.safetensors')
    const bytes = writeSafetensors(file, [['x', f32(1, 2)]], { metadata: { a: 'b' } })
    expect(fs.statSync(file).size).toBe(bytes)
    writeSafetensors(file, readSafetensors(file).tensors)
    expect(readSafetensors(file).metadata.size).toBe(0)
  })

  const bad: [string, [string, RawTensor][], object, string][] = [
    [
      'a name given twice',
      [
        ['x', f32(1)],
        ['x', f32(1)],
      ],
      {},
      'ERR_OPTION',
    ],
    ['an empty name', [['', f32(1)]], {}, 'ERR_OPTION'],
    ['a lone surrogate', [['\ud800', f32(1)]], {}, 'ERR_OPTION'],
    ['the name of the metadata', [['__metadata__', f32(1)]], {}, 'ERR_OPTION'],
    ['data of another size', [['x', { ...f32(1), shape: [2] }]], {}, 'ERR_SHAPE'],
    ['rank 9', [['x', { ...f32(1), shape: [1, 1, 1, 1, 1, 1, 1, 1, 1] }]], {}, 'ERR_LIMIT'],
    ['a boolean of 2', [['x', { dtype: 'bool', shape: [1], data: Uint8Array.of(2) }]], {}, 'ERR_MODEL_FORMAT'],
    ['metadata that is no string', [], { metadata: { a: 1 } }, 'ERR_OPTION'],
    ["Tersor's own metadata key", [], { metadata: { 'tersor.sha256': 'x' } }, 'ERR_OPTION'],
  ]
  test.each(bad)('refuses %s and writes nothing', (_, tensors, options, code) => {
    const file = path.join(tempDir(), 'x.safetensors')
    expect(errorOf(() => writeSafetensors(file, tensors, options)).code).toBe(code)
    expect(fs.existsSync(file)).toBe(false)
  })
})

describe('checksums', () => {
  const bytes = join(
    encodeSafetensors(
      [
        ['layer.w', f32(1, 2, 3)],
        ['none', { dtype: 'i8', shape: [0, 2], data: new Uint8Array() }],
        ['b', f32(4)],
      ],
      { metadata: { note: 'x' } },
    ),
  )

  test('every flipped bit of every byte is rejected, damage in data names its tensor (F29)', () => {
    const dataStart = 8 + new DataView(bytes.buffer).getUint32(0, true)
    for (let at = 0; at < bytes.length; at++)
      for (let bit = 0; bit < 8; bit++) {
        const damaged = bytes.slice()
        damaged[at]! ^= 1 << bit
        const error = errorOf(() => parseSafetensors(damaged))
        expect(['ERR_MODEL_FORMAT', 'ERR_LIMIT', 'ERR_DTYPE', 'ERR_UNSUPPORTED'], `byte ${at} bit ${bit}: ${error.message}`).toContain(
          error.code,
        )
        if (at >= dataStart) expect(error.details.section).toBe(at < dataStart + 12 ? 'layer.w' : 'b')
      }
  })

  test('checksums: ignore reads what another tool rewrote', () => {
    const damaged = bytes.slice()
    damaged[bytes.length - 1]! ^= 1
    expect(parseSafetensors(damaged, { checksums: 'ignore' }).tensors.size).toBe(3)
  })
})
