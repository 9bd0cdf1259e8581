import fs from 'node:fs'
import path from 'node:path'
import { describe, expect, test } from 'vitest'
import type { RawTensor } from '../../ts/base/dtype.js'
import {
  openModelTensors,
  openSafetensors,
  openSharded,
  parseSafetensors,
  writeSafetensors,
  writeSharded,
  type LazyTensor,
} from '../../ts/formats/index.js'
import { safetensorsFile } from '../hostile/build.js'
import { errorOf, filesIn, tempDir } from './lib.js'

const tensor = (i: number): RawTensor => ({ dtype: 'u8', shape: [100], data: new Uint8Array(100).fill(i) })
const lazy = (i: number): LazyTensor => ({ dtype: 'u8', shape: [100], bytes: 100, read: () => tensor(i).data })
const named = (n: number): [string, LazyTensor][] => Array.from({ length: n }, (_, i) => [`t${i}`, lazy(i)])

describe('shards', () => {
  test('as many files as are needed, the index last; read back one at a time', () => {
    const dir = tempDir()
    const seen: string[] = []
    const names = writeSharded(dir, named(5), { maxShardBytes: 250, onShard: (file, done, total) => seen.push(`${file} ${done}/${total}`) })
    expect(names).toEqual([1, 2, 3].map((i) => `model-0000${i}-of-00003.safetensors`).concat('model.safetensors.index.json'))
    expect(filesIn(dir)).toEqual([...names].sort())
    expect(seen).toHaveLength(3)
    const index = JSON.parse(fs.readFileSync(path.join(dir, 'model.safetensors.index.json'), 'utf8')) as Record<
      string,
      Record<string, unknown>
    >
    expect(index.metadata).toEqual({ total_size: 500 })
    expect(index.weight_map!.t4).toBe('model-00003-of-00003.safetensors')
    const file = openSharded(path.join(dir, 'model.safetensors.index.json'))
    expect([...file.tensors.keys()]).toEqual(['t0', 't1', 't2', 't3', 't4'])
    expect(file.readTensor('t3')).toEqual(tensor(3))
    expect(errorOf(() => file.readTensor('t5')).code).toBe('ERR_OPTION')
    file.close()
    expect(errorOf(() => writeSharded(dir, named(1))).message).toMatch(/model.safetensors.index.json is there/)
  })

  test('one file where that is enough; a tensor larger than a shard has its own', () => {
    const dir = tempDir()
    expect(writeSharded(dir, named(2))).toEqual(['model.safetensors'])
    const open = openModelTensors(dir)
    expect([...open.tensors.keys()]).toEqual(['t0', 't1'])
    open.close()
    expect(errorOf(() => writeSharded(dir, named(2), { maxShardBytes: 50 })).code).toBe('ERR_OPTION')
    expect(writeSharded(tempDir(), named(2), { maxShardBytes: 50 })).toHaveLength(3)
    for (const maxShardBytes of [0, -1, 1.5, NaN])
      expect(errorOf(() => writeSharded(tempDir(), named(1), { maxShardBytes })).code).toBe('ERR_OPTION')
    expect(errorOf(() => openModelTensors(tempDir())).code).toBe('ERR_MODEL_FORMAT')
  })

  const F = 'ERR_MODEL_FORMAT'
  test.each<[string, unknown, string]>([
    ['no weight_map', {}, F],
    ['a map that is a list', { weight_map: [] }, F],
    ['a file that is a number', { weight_map: { t0: 1 } }, F],
    ['a tensor that its shard has not', { weight_map: { t0: 'a', t1: 'a', t9: 'a' } }, F],
    ['a tensor that the index has not', { weight_map: { t0: 'a' } }, F],
    ['a shard that is missing', { weight_map: { t0: 'b' } }, 'ERR_IO'],
    ['a shard outside', { weight_map: { t0: '../a' } }, 'ERR_PATH'],
    ['an absolute shard', { weight_map: { t0: '/dev/zero' } }, 'ERR_PATH'],
    ['1001 shards', { weight_map: Object.fromEntries(Array.from({ length: 1001 }, (_, i) => [`t${i}`, `s${i}`])) }, 'ERR_LIMIT'],
    ['an index that is a list', [], F],
  ])('%s: %s', (_, index, code) => {
    const dir = tempDir()
    writeSafetensors(path.join(dir, 'a'), [['t0', tensor(0)], ['t1', tensor(1)]]) // prettier-ignore
    fs.writeFileSync(path.join(dir, 'i.json'), JSON.stringify(index))
    expect(errorOf(() => openSharded(path.join(dir, 'i.json'))).code).toBe(code)
  })
})

describe('dtypes of the format that Tersor has not', () => {
  const entry = (name: string, dtype: string, n: number, from: number, to: number): string =>
    `"${name}":{"dtype":"${dtype}","shape":[${n}],"data_offsets":[${from},${to}]}`
  const bytes = safetensorsFile(
    `{${entry('a', 'F8_E4M3', 4, 0, 4)},${entry('b', 'I8', 4, 4, 8)},${entry('c', 'F4', 6, 8, 11)},${entry('d', 'U32', 1, 11, 15)}}`,
    15,
  )

  test('the others are readable; reading one names it', () => {
    const at = path.join(tempDir(), 'x.safetensors')
    fs.writeFileSync(at, bytes)
    const file = openSafetensors(at)
    expect([...file.tensors.keys()]).toEqual(['b'])
    expect([...file.foreign.values()].map(({ name, dtype, bytes: n }) => [name, dtype, n])).toEqual([
      ['a', 'F8_E4M3', 4],
      ['c', 'F4', 3],
      ['d', 'U32', 4],
    ])
    expect(file.readTensor('b').data).toEqual(new Uint8Array(4))
    for (const [name, what] of [
      ['a', 'F8_E4M3'],
      ['c', 'F4'],
      ['d', 'U32'],
    ] as const)
      // prettier-ignore
      expect(errorOf(() => file.readTensor(name))).toMatchObject({ code: 'ERR_UNSUPPORTED', details: { tensor: name, what } })
    expect(errorOf(() => file.readAll()).code).toBe('ERR_UNSUPPORTED')
    file.close()
  })

  test('sizes are checked, also of half bytes', () => {
    expect(errorOf(() => parseSafetensors(safetensorsFile(`{${entry('a', 'F4', 5, 0, 3)}}`, 3))).details.reason).toBe('size')
    expect(errorOf(() => parseSafetensors(safetensorsFile(`{${entry('a', 'U64', 1, 0, 4)}}`, 4))).details.reason).toBe('size')
    expect(
      errorOf(() => parseSafetensors(safetensorsFile(`{${entry('a', 'F8_E5M2', 2, 0, 2)},${entry('a', 'I8', 2, 2, 4)}}`, 4))).details
        .reason,
    ).toBe('duplicate')
    expect(
      errorOf(() => parseSafetensors(safetensorsFile(`{${entry('a', 'F8_E5M2', 2, 0, 2)},${entry('b', 'I8', 2, 1, 3)}}`, 3))).code,
    ).toBe('ERR_MODEL_FORMAT')
  })
})

test('a sparse file of 5 GB: what is read is what memory grows by', () => {
  const at = path.join(tempDir(), 'sparse.safetensors')
  const gib = 2 ** 30
  const parts = Array.from({ length: 5 }, (_, i) => `"t${i}":{"dtype":"U8","shape":[${gib}],"data_offsets":[${i * gib},${(i + 1) * gib}]}`)
  const small = `"s":{"dtype":"U8","shape":[4096],"data_offsets":[${5 * gib},${5 * gib + 4096}]}`
  const head = safetensorsFile(`{${[...parts, small].join(',')}}`)
  fs.writeFileSync(at, head)
  fs.truncateSync(at, head.length + 5 * gib + 4096)
  const before = process.memoryUsage().rss
  const file = openSafetensors(at)
  expect(file.readTensor('s').data).toEqual(new Uint8Array(4096))
  expect(process.memoryUsage().rss - before).toBeLessThan(64 * 2 ** 20)
  file.close()
})
