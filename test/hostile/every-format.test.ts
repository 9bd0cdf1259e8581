/** What must hold for every format alike: cut (F01), changed (F02), paths that are no regular files (F26), the same bad file again and again (F30). */
import { spawnSync } from 'node:child_process'
import fs from 'node:fs'
import net from 'node:net'
import path from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { isTersorError } from '../../ts/base/errors.js'
import { memory } from '../../ts/index.js'
import { tempDir } from '../formats/lib.js'
import { cpuClock } from '../cpu-time.js'
import { containers, type Container } from './containers.js'

const all = containers(tempDir())

/** The code of the error, or 'ok'; what is no TersorError fails the test. */
async function codeOf(run: () => unknown): Promise<string> {
  try {
    await run()
    return 'ok'
  } catch (error) {
    if (!isTersorError(error)) throw error
    return error.code
  }
}

function put({ file, others = {} }: Container, bytes?: Uint8Array): string {
  const dir = tempDir()
  for (const [name, data] of Object.entries(others)) fs.writeFileSync(path.join(dir, name), data)
  if (bytes) fs.writeFileSync(path.join(dir, file), bytes)
  return dir
}

/** At most so many places of a file, its beginning densely. */
function places(length: number, most: number): number[] {
  const dense = Math.min(length, Math.floor(most / 2))
  const step = Math.max(1, Math.ceil((length - dense) / (most - dense)))
  return Array.from({ length }, (_, i) => i).filter((i) => i < dense || (i - dense) % step === 0)
}

describe.each(all.map((c) => [c.name, c] as const))('%s', (_, container) => {
  const { bytes, file, load, open } = container

  test('the example loads', async () => {
    expect(await codeOf(() => load(put(container, bytes)))).toBe('ok')
  })

  test('F01: cut at up to 120 places', async () => {
    const dir = put(container)
    const before = memory().tensors
    for (const n of places(bytes.length, 120)) {
      fs.writeFileSync(path.join(dir, file), bytes.subarray(0, n))
      const ms = cpuClock()
      const code = await codeOf(() => load(dir))
      if (!open) expect(code, `${n} of ${bytes.length} bytes`).not.toBe('ok')
      expect(code).not.toBe('ERR_INTERNAL')
      expect(ms(), `${n} bytes`).toBeLessThan(1000)
    }
    expect(memory().tensors).toBe(before)
  })

  test('F02: up to 80 bytes changed in three ways', async () => {
    const dir = put(container)
    const before = memory().tensors
    for (const at of places(bytes.length, 80))
      for (const mask of [0x01, 0x80, 0xff]) {
        const changed = bytes.slice()
        changed[at]! ^= mask
        fs.writeFileSync(path.join(dir, file), changed)
        expect(await codeOf(() => load(dir)), `byte ${at} xor ${mask}`).not.toBe('ERR_INTERNAL')
      }
    expect(memory().tensors).toBe(before)
  })

  test.runIf(fs.existsSync('/proc/self/fd'))('F30: 300 opens of a bad file leave no descriptor and no tensor', async () => {
    const dir = put(container, Uint8Array.of(0xff, 0xfe, 0x00))
    const count = (): number => fs.readdirSync('/proc/self/fd').length
    await codeOf(() => load(dir))
    const before = { fds: count(), tensors: memory().tensors }
    for (let i = 0; i < 300; i++) expect(await codeOf(() => load(dir))).not.toBe('ok')
    expect({ fds: count(), tensors: memory().tensors }).toEqual(before)
  })
})

// A recipe comes as text: who reads its file is the program, or the command line, which refuses what is no regular file by itself.
describe.skipIf(process.platform === 'win32').each(all.filter((c) => c.name !== 'recipe').map((c) => [c.name, c] as const))(
  'F26: %s where there is no regular file',
  (_, container) => {
    const server = net.createServer()
    const dirs: Record<string, string> = {}
    beforeAll(async () => {
      for (const kind of ['folder', 'fifo', 'device', 'link', 'circle', 'socket']) dirs[kind] = put(container)
      const at = (kind: string): string => path.join(dirs[kind]!, container.file)
      fs.mkdirSync(at('folder'))
      spawnSync('mkfifo', [at('fifo')])
      fs.symlinkSync('/dev/zero', at('device'))
      fs.symlinkSync('/proc/self/mem', at('link'))
      fs.symlinkSync(container.file, at('circle'))
      await new Promise<void>((resolve) => server.listen(at('socket'), resolve))
    })
    afterAll(() => void server.close())

    test.each(['folder', 'fifo', 'device', 'link', 'circle', 'socket'])('%s: a typed error at once', async (kind) => {
      const began = cpuClock()
      const code = await codeOf(() => container.load(dirs[kind]!))
      if (!(container.optional && code === 'ok')) expect(code).toMatch(/^ERR_(IO|PATH|MODEL_FORMAT|DATA|UNSUPPORTED|OPTION|LIMIT)$/)
      expect(began()).toBeLessThan(500)
    })
  },
)
