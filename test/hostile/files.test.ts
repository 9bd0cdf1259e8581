import fs from 'node:fs'
import path from 'node:path'
import { describe, expect, test } from 'vitest'
import { bytesPerElement, type RawTensor } from '../../ts/base/dtype.js'
import { isTersorError, type TersorError } from '../../ts/base/errors.js'
import { sizeOf } from '../../ts/base/shape.js'
import { tempDir } from '../formats/lib.js'
import { arrayFiles } from './array-files.js'
import { readers, type HostileFile } from './corpus.js'
import { ggufFiles } from './gguf-files.js'
import { flipped, truncated } from './mutations.js'
import { safetensorsFiles } from './safetensors-files.js'
import { zipFiles } from './zip-files.js'
import { cpuClock } from '../cpu-time.js'

const tables = [...safetensorsFiles, ...ggufFiles, ...arrayFiles, ...zipFiles]
const all = [...tables, ...truncated, ...flipped]
const dir = tempDir()

type Outcome = { tensors: Map<string, RawTensor> } | { error: TersorError }

function outcomeOf(read: () => Map<string, RawTensor>): Outcome {
  try {
    return { tensors: read() }
  } catch (error) {
    if (isTersorError(error)) return { error }
    throw error
  }
}

/** Anything but a typed error of ours, or tensors whose bytes fit their shapes, fails. */
function check({ expect: expected, reason, name }: HostileFile, outcome: Outcome): void {
  if ('tensors' in outcome) {
    expect(['ok', 'any'], `${name} was read`).toContain(expected)
    for (const { dtype, shape, data } of outcome.tensors.values()) expect(data.length).toBe(sizeOf(shape) * bytesPerElement(dtype))
    return
  }
  const { error } = outcome
  if (expected === 'any') expect(error.code).not.toBe('ERR_INTERNAL')
  else expect(error.code, `${name}: ${error.message}`).toBe(expected)
  if (reason !== undefined) expect(error.details.reason, error.message).toBe(reason)
  expect(error.message).toMatch(/^(read|safetensors|gguf|npy|npz|idx)/)
  if (error.code === 'ERR_LIMIT')
    expect(error.details).toMatchObject({ limit: expect.any(String) as string, max: expect.any(Number) as number })
}

/**
 * A file may take 50 ms and 10 ms a MiB of processor time. The best of several readings counts: compilation and neighbours on a shared machine
 * only ever add time, so the least is the figure of the parser.
 */
function checkTime(file: HostileFile, read: () => unknown): void {
  const bound = 50 + (10 * file.bytes.length) / 2 ** 20
  let best = Infinity
  for (let attempt = 0; attempt < 25 && best > bound; attempt++) {
    const ms = cpuClock()
    read()
    best = Math.min(best, ms())
  }
  expect(best, file.name).toBeLessThan(bound)
}

/** The same bytes as path, plain array, Buffer, and array at an odd address. */
function modes(file: HostileFile): (() => Map<string, RawTensor>)[] {
  const { fromPath, fromBytes } = readers[file.format]
  const onDisk = path.join(dir, 'hostile')
  fs.writeFileSync(onDisk, file.bytes)
  const odd = new Uint8Array(file.bytes.length + 1).subarray(1)
  odd.set(file.bytes)
  return [(): Map<string, RawTensor> => fromPath(onDisk), ...[file.bytes, Buffer.from(file.bytes), odd].map((b) => () => fromBytes(b))]
}

function run(file: HostileFile): void {
  for (const read of modes(file)) {
    const outcome = outcomeOf(read)
    check(file, outcome)
    checkTime(file, () => outcomeOf(read))
  }
}

describe(`hostile files: ${all.length}, of these ${tables.length} built by hand`, () => {
  test('there are at least 400, none twice', () => {
    expect(tables.length).toBeGreaterThanOrEqual(200)
    expect(new Set(all.map((f) => `${f.format} ${Buffer.from(f.bytes).toString('latin1')}`)).size).toBeGreaterThanOrEqual(400)
    expect(new Set(tables.map((f) => `${f.format} ${f.id} ${f.name}`)).size).toBe(tables.length)
  })

  test.each(tables.map((file) => [`${file.format} ${file.id}: ${file.name}`, file] as const))('%s', (_, file) => run(file))

  test.each(['safetensors', 'gguf', 'npy', 'npz', 'idx'] as const)('F01: %s cut at every byte', (format) => {
    const files = truncated.filter((f) => f.format === format)
    expect(files.length).toBeGreaterThan(50)
    for (const file of files) {
      const outcome = outcomeOf(() => readers[format].fromBytes(file.bytes))
      check(file, outcome)
      if ('error' in outcome) expect(outcome.error.details.byteOffset, file.name).toEqual(expect.any(Number))
    }
    for (const file of files.filter((_, i) => i % 16 === 0)) run(file)
  })

  test.each(['safetensors', 'gguf', 'npy', 'npz', 'idx'] as const)('F02: %s with every byte changed in three ways', (format) => {
    const files = flipped.filter((f) => f.format === format)
    for (const file of files)
      check(
        file,
        outcomeOf(() => readers[format].fromBytes(file.bytes)),
      )
    for (const file of files.filter((_, i) => i % 64 === 0)) run(file)
  })

  test('nothing has polluted Object', () => {
    expect(({} as Record<string, unknown>).polluted).toBeUndefined()
    expect(Object.keys(Object.prototype)).toEqual([])
  })

  test('the names of F08 are keys like any other', () => {
    const file = safetensorsFiles.find((f) => f.name === 'names of Object')!
    expect([...readers.safetensors.fromBytes(file.bytes).keys()]).toEqual(['__proto__', 'constructor', 'toString', 'hasOwnProperty'])
  })
})
