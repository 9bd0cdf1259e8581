import { execFileSync, spawnSync } from 'node:child_process'
import fs from 'node:fs'
import net from 'node:net'
import path from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { encodeSafetensors } from '../../ts/formats/safetensors.js'
import { detectFormat, readTensors } from '../../ts/formats/detect.js'
import { errorOf, golden, goldenBytes, tempDir } from '../formats/lib.js'
import { concat } from './corpus.js'
import { cpuClock } from '../cpu-time.js'

interface Measured {
  readonly code: string
  readonly ms: number
  readonly grewMiB: number
}
interface Report {
  readonly memory: Record<string, Measured>
  readonly linearity: Record<string, number>
  readonly keys: { accepted: Measured; rejected: Measured }
  readonly descriptors: Record<string, { fds: number; grewMiB: number }> | null
  readonly stack: Record<string, string>
}

describe('bounds of time, memory, stack and descriptors, in a process of its own', () => {
  let report: Report
  beforeAll(() => {
    const output = execFileSync(process.execPath, ['--expose-gc', '--import', 'tsx', path.join(import.meta.dirname, 'child.ts')], {
      encoding: 'utf8',
    })
    report = JSON.parse(output) as Report
  }, 240_000)

  test.each([
    ['headerOverLimit', 'ERR_LIMIT', 50, 16], // F03
    ['sparseTerabyte', 'ERR_MODEL_FORMAT', 50, 16], // F26
    ['sparseTerabyteNpy', 'ERR_MODEL_FORMAT', 50, 16],
    ['sparseTerabyteGguf', 'ERR_MODEL_FORMAT', 50, 16],
    ['ggufKeys', 'ERR_MODEL_FORMAT', 50, 16], // F13
    ['ggufStrings', 'ERR_MODEL_FORMAT', 50, 16], // F14
    ['sparseTerabyteIdx', 'ERR_LIMIT', 50, 16],
    ['sparseTerabyteNpz', 'ERR_MODEL_FORMAT', 50, 16],
    ['overlapping', 'ERR_MODEL_FORMAT', 110, 16 + 3 * 7], // F04: header of 6.6 MB, its bytes, its text, and the file being made
    ['deepHeader', 'ERR_MODEL_FORMAT', 60, 16 + 3],
  ])('%s: %s within %i ms and %i MiB', (name, code, ms, mib) => {
    const measured = report.memory[name]!
    expect(measured.code).toBe(code)
    expect(measured.ms).toBeLessThan(3 * ms) // one cold run; files.test.ts holds the figure itself
    expect(measured.grewMiB).toBeLessThan(mib)
  })

  test('time is linear: twice the entries take at most 2.5 times as long', () => {
    for (const [what, ratio] of Object.entries(report.linearity)) expect(ratio, what).toBeLessThan(2.5)
  })

  test('a million keys are read, or rejected as duplicate, within 2 s (F07)', () => {
    expect(report.keys.accepted.code).toBe('ok')
    expect(report.keys.rejected.code).toBe('ERR_MODEL_FORMAT')
    expect(Math.max(report.keys.accepted.ms, report.keys.rejected.ms)).toBeLessThan(2000)
  })

  test.runIf(fs.existsSync('/proc/self/fd'))('10,000 opens of a bad file leave no descriptor and no memory (F30)', () => {
    for (const [format, { fds, grewMiB }] of Object.entries(report.descriptors!)) {
      expect(fds, format).toBe(0)
      expect(grewMiB, format).toBeLessThan(1)
    }
  })

  test('200,000 levels on a stack of 256 KiB (F09, P09)', () => {
    expect(report.stack).toEqual({
      arrays: 'ERR_LIMIT',
      objects: 'ERR_LIMIT',
      mixed: 'ERR_LIMIT',
      header: 'ERR_MODEL_FORMAT',
      depth64: 'ok',
      depth65: 'ERR_LIMIT',
    })
  })
})

describe('paths that are no regular files (F26)', () => {
  const dir = tempDir()
  const server = net.createServer()
  const socket = path.join(dir, 'socket')
  beforeAll(async () => {
    spawnSync('mkfifo', [path.join(dir, 'fifo')])
    await new Promise<void>((resolve) => server.listen(socket, resolve))
  })
  afterAll(() => void server.close())

  test.each([
    ['a folder', () => dir, 'ERR_IO'],
    ['a FIFO that nobody writes', () => path.join(dir, 'fifo'), 'ERR_IO'],
    ['a socket', () => socket, 'ERR_IO'],
    ['/dev/zero', () => '/dev/zero', 'ERR_IO'],
    ['/dev/tty', () => '/dev/tty', 'ERR_IO'],
    ['/proc/self/mem', () => '/proc/self/mem', 'ERR_MODEL_FORMAT'],
    ['/proc/self/cmdline, a file of size 0', () => '/proc/self/cmdline', 'ERR_MODEL_FORMAT'],
    ['a missing file', () => path.join(dir, 'missing'), 'ERR_IO'],
    ['a link to a device', () => path.join(dir, 'link'), 'ERR_IO'],
    ['a link to itself', () => path.join(dir, 'circle'), 'ERR_IO'],
    ['a path with NUL', () => `${dir}\0x`, 'ERR_OPTION'],
    ['a path of 10,000 characters', () => path.join(dir, 'x'.repeat(10_000)), 'ERR_IO'],
  ])('%s', (_, file, code) => {
    if (!fs.existsSync(path.join(dir, 'link'))) {
      fs.symlinkSync('/dev/zero', path.join(dir, 'link'))
      fs.symlinkSync('circle', path.join(dir, 'circle'))
    }
    const ms = cpuClock()
    expect(errorOf(() => readTensors(file())).code).toBe(code)
    expect(ms()).toBeLessThan(100)
  })
})

describe('files of several formats at once (F28)', () => {
  const npz = goldenBytes('stored.npz')
  const safetensors = goldenBytes('two.safetensors')
  const npy = goldenBytes('le-f4-c.npy')
  const idx = goldenBytes('bytes-idx3-ubyte')
  const gguf = goldenBytes('blocks.gguf')
  test.each([
    ['safetensors with a zip behind', concat(safetensors, npz)],
    ['npy with a zip behind', concat(npy, npz)],
    ['npy with safetensors and a zip behind', concat(npy, safetensors, npz)],
    ['idx with a zip behind', concat(idx, npz)],
    ['GGUF with a zip behind', concat(gguf, npz)],
    ['zip with npy before', concat(npy, npz)],
    ['zip with npy behind', concat(npz, npy)],
  ])('%s is rejected', (_, bytes) => {
    const file = path.join(tempDir(), 'x')
    fs.writeFileSync(file, bytes)
    expect(errorOf(() => readTensors(file)).code).toBe('ERR_MODEL_FORMAT')
  })

  test('every wrong extension is an option error', () => {
    const dir = tempDir()
    for (const [name, right] of [
      ['two.safetensors', '.safetensors'],
      ['le-f4-c.npy', '.npy'],
      ['stored.npz', '.npz'],
      ['floats.idx', '.idx'],
      ['blocks.gguf', '.gguf'],
    ] as const)
      for (const extension of ['.safetensors', '.npy', '.npz', '.idx', '.gz', '.json', '.gguf', '.NPZ'].filter(
        (e) => e.toLowerCase() !== right,
      )) {
        const file = path.join(dir, `x${extension}`)
        fs.copyFileSync(golden(name), file)
        expect(errorOf(() => detectFormat(file)).code, `${name} as ${extension}`).toBe('ERR_OPTION')
      }
  })
})

test('F29: a compressed model, every byte changed once', () => {
  const data = Uint8Array.from({ length: 512 }, (_, i) => (i * 37) & 255)
  const bytes = concat(
    ...encodeSafetensors(
      [
        ['encoder.0.weight.values', { dtype: 'i8', shape: [16, 16], data: data.slice(0, 256) }],
        ['encoder.0.weight.scales', { dtype: 'f32', shape: [16], data: data.slice(256, 320) }],
        ['encoder.0.bias', { dtype: 'f16', shape: [16], data: data.slice(320, 352) }],
      ],
      { metadata: { recipe: '{"recipe":1,"seed":7}', format: 'pt' } },
    ),
  )
  const file = path.join(tempDir(), 'model.safetensors')
  const sections = new Set<unknown>()
  for (let at = 0; at < bytes.length; at++) {
    const changed = bytes.slice()
    changed[at]! ^= 0xff
    fs.writeFileSync(file, changed)
    const { details } = errorOf(() => readTensors(file))
    sections.add(details.section)
  }
  expect([...sections].filter((s) => s !== undefined).sort()).toEqual([
    'encoder.0.bias',
    'encoder.0.weight.scales',
    'encoder.0.weight.values',
  ])
})
