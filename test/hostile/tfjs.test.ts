import fs from 'node:fs'
import path from 'node:path'
import { describe, expect, test } from 'vitest'
import type { TersorError } from '../../ts/base/errors.js'
import { readTfjs } from '../../ts/formats/tfjs.js'
import { errorOf, golden, goldenBytes, tempDir } from '../formats/lib.js'
import { cpuClock } from '../cpu-time.js'

type Weight = Record<string, unknown>
const w = (more: Weight = {}): Weight => ({ name: 'w', shape: [4], dtype: 'uint8', ...more })
const model = (weights: unknown, paths: unknown = ['shard']): string =>
  JSON.stringify({ modelTopology: {}, weightsManifest: [{ paths, weights }] })

function errorWith(json: string | Uint8Array, shard = new Uint8Array(4)): TersorError {
  const dir = tempDir()
  fs.writeFileSync(path.join(dir, 'model.json'), json)
  fs.writeFileSync(path.join(dir, 'shard'), shard)
  const ms = cpuClock()
  const error = errorOf(() => readTfjs(path.join(dir, 'model.json')))
  expect(ms()).toBeLessThan(500)
  return error
}

const F = 'ERR_MODEL_FORMAT'
type Row = readonly [name: string, json: string | Uint8Array, code: string, shard?: Uint8Array<ArrayBuffer>]
const rows: readonly Row[] = [
  ['an empty file', '', F],
  ['not JSON', 'hello', F],
  ['an array', '[]', F],
  ['null', 'null', F],
  ['no manifest', '{"modelTopology":{}}', F],
  ['a manifest that is an object', '{"weightsManifest":{}}', F],
  ['a group that is a text', '{"weightsManifest":["x"]}', F],
  ['no paths', '{"weightsManifest":[{"weights":[]}]}', F],
  ['no weights', '{"weightsManifest":[{"paths":[]}]}', F],
  ['key twice', '{"weightsManifest":[],"weightsManifest":[]}', F],
  ['not UTF-8', Uint8Array.of(0x7b, 0x22, 0xff, 0x22, 0x7d), F],
  ['200,000 levels', '['.repeat(200_000), 'ERR_LIMIT'],
  ['200,000 levels in the topology', `{"modelTopology":${'{"a":'.repeat(200_000)}`, 'ERR_LIMIT'],
  ['two values', '{"weightsManifest":[]} {}', F],
  ['number 1e999', '{"weightsManifest":[],"x":1e999}', F],
  ['no name', model([{ shape: [4], dtype: 'uint8' }]), F],
  ['empty name', model([w({ name: '' })]), F],
  ['name a number', model([w({ name: 4 })]), F],
  ['name twice', model([w({ shape: [2] }), w({ shape: [2] })]), F],
  ['no dtype', model([{ name: 'w', shape: [4] }]), F],
  ['dtype unknown', model([w({ dtype: 'uint7' })]), 'ERR_DTYPE'],
  ['dtype null', model([w({ dtype: null })]), 'ERR_DTYPE'],
  ['dtype text', model([w({ dtype: 'string' })]), 'ERR_UNSUPPORTED'],
  ['dtype complex', model([w({ dtype: 'complex64' })]), 'ERR_UNSUPPORTED'],
  ['no shape', model([{ name: 'w', dtype: 'uint8' }]), F],
  ['shape a number', model([w({ shape: 4 })]), F],
  ['dimension -1', model([w({ shape: [-1] })]), F],
  ['dimension 1.5', model([w({ shape: [1.5] })]), F],
  ['dimension text', model([w({ shape: ['4'] })]), F],
  ['dimension null', model([w({ shape: [null] })]), F],
  ['dimension 2^60', model([w({ shape: [2 ** 60] })]), F],
  ['dimension 2^49', model([w({ shape: [2 ** 49] })]), 'ERR_LIMIT'],
  ['2^32 x 2^32', model([w({ shape: [2 ** 32, 2 ** 32] })]), F],
  ['a tensor of a terabyte', model([w({ shape: [2 ** 40] })]), 'ERR_LIMIT'],
  ['rank 9', model([w({ shape: [1, 1, 1, 1, 1, 1, 1, 1, 4] })]), 'ERR_LIMIT'],
  ['shards too short', model([w({ shape: [5] })]), F],
  ['shards too long', model([w({ shape: [3] })]), F],
  ['a shard nobody needs', model([]), F],
  ['booleans of 2', model([w({ dtype: 'bool', shape: [1] })]), F, Uint8Array.of(2)],
  ['quantization a text', model([w({ dtype: 'float32', quantization: 'uint8' })]), F],
  ['quantization without dtype', model([w({ dtype: 'float32', quantization: {} })]), F],
  ['quantization without scale', model([w({ dtype: 'float32', quantization: { dtype: 'uint8', min: 0 } })]), F],
  ['quantization without min', model([w({ dtype: 'float32', quantization: { dtype: 'uint8', scale: 1 } })]), F],
  ['scale a text', model([w({ dtype: 'float32', quantization: { dtype: 'uint8', scale: '1', min: 0 } })]), F],
  ['quantization to int4', model([w({ dtype: 'float32', quantization: { dtype: 'uint4', scale: 1, min: 0 } })]), F],
  ['quantized booleans', model([w({ dtype: 'bool', quantization: { dtype: 'uint8', scale: 1, min: 0 } })]), F],
  ['halves of integers', model([w({ dtype: 'int32', quantization: { dtype: 'float16' } })]), F],
  ['halves of odd length', model([w({ dtype: 'float32', shape: [2], quantization: { dtype: 'float16' } })]), F, new Uint8Array(3)],
  ['a path that is a number', model([w()], [4]), F],
  ['an empty path', model([w()], ['']), F],
  ['a missing shard', model([w()], ['missing']), 'ERR_IO'],
  [
    '1001 shards',
    model(
      [w()],
      Array.from({ length: 1001 }, (_, i) => `s${i}`),
    ),
    'ERR_LIMIT',
  ],
  ...[
    '../shard',
    'a/../../shard',
    '/etc/passwd',
    '/dev/zero',
    'C:\\shard',
    '..\\shard',
    './shard',
    'file:///etc/passwd',
    'http://x/y',
    'a\u0000b',
    '//x/y',
  ].map((name) => [`path ${JSON.stringify(name)}`, model([w()], [name]), 'ERR_PATH'] as const),
]

describe(`hostile tfjs models: ${rows.length}`, () => {
  test.each(rows.map((row) => [row[0], row] as const))('%s', (_, [, json, code, shard]) => {
    expect(errorWith(json, shard).code).toBe(code)
  })

  test('model.json of more bytes than allowed', () => {
    expect(errorOf(() => readTfjs(golden('tfjs-model'), { limits: { jsonBytes: 100 } })).code).toBe('ERR_LIMIT')
  })

  test('every prefix of model.json and of every shard is rejected (F01)', () => {
    const dir = tempDir()
    const names = ['tfjs-model', 'group1-shard1of3', 'group1-shard2of3', 'group1-shard3of3']
    for (const name of names) fs.copyFileSync(golden(name), path.join(dir, name))
    for (const name of names) {
      const bytes = goldenBytes(name)
      for (let n = 0; n < bytes.length; n++) {
        fs.writeFileSync(path.join(dir, name), bytes.subarray(0, n))
        expect(errorOf(() => readTfjs(path.join(dir, 'tfjs-model'))).code, `${name} cut to ${n}`).toBe(F)
      }
      fs.writeFileSync(path.join(dir, name), bytes)
    }
    expect(readTfjs(path.join(dir, 'tfjs-model')).tensors.size).toBe(7)
  })
})
