/** Workers and the end of the process: nothing may crash, hang, leak or answer for another thread. */
import { spawn } from 'node:child_process'
import { fileURLToPath } from 'node:url'
import { describe, expect, it } from 'vitest'

interface Outcome {
  readonly code: number | null
  readonly signal: NodeJS.Signals | null
  readonly stdout: string
  readonly stderr: string
}

const here = (path: string): string => fileURLToPath(new URL(path, import.meta.url))

/** Runs programs/<name>.cjs with the addon of this checkout, loaded as the package loads it. */
function run(name: string, ...args: readonly string[]): Promise<Outcome> {
  return new Promise((resolve, reject) => {
    const env = { ...process.env, TERSOR_LOADER: here('../../ts/native/load.cjs') }
    const child = spawn(process.execPath, [here(`programs/${name}.cjs`), ...args], { env, stdio: ['ignore', 'pipe', 'pipe'] })
    let stdout = ''
    let stderr = ''
    child.stdout.on('data', (d: Buffer) => (stdout += d.toString()))
    child.stderr.on('data', (d: Buffer) => (stderr += d.toString()))
    child.on('error', reject)
    child.on('close', (code, signal) => resolve({ code, signal, stdout, stderr }))
  })
}

describe('workers', () => {
  it('may be terminated at any time', async () => {
    const { code, signal, stdout, stderr } = await run('terminate', '60')
    expect({ code, signal, stderr }).toEqual({ code: 0, signal: null, stderr: '' })
    const report = JSON.parse(stdout)
    expect(report.trials).toBe(60)
    expect(report.after).toBe(report.before)
    expect(report.tensors).toBe(1)
    expect(report.slowest).toBeLessThan(2000)
  }, 180_000)

  it('compute at the same time and do not know each other’s handles', async () => {
    const { code, stdout, stderr } = await run('workers')
    expect({ code, stderr }).toEqual({ code: 0, stderr: '' })
    const report = JSON.parse(stdout)
    // One seed, one result, whichever thread computed it and whatever ran beside it.
    expect(report.a.sum).toBe(report.mine)
    expect(report.b.sum).not.toBe(report.mine)
    for (const side of [report.a, report.b, report.back]) {
      expect(new Set(side.codes)).toEqual(new Set(['ERR_DISPOSED']))
      expect(new Set(side.released)).toEqual(new Set([false]))
    }
    expect([report.alive, report.a.alive, report.b.alive]).toEqual([true, true, true])
  })
})

describe('the end of the process with calls in flight', () => {
  it.each([
    ['exit', 'now', { code: 7, signal: null }],
    ['exit', '0', { code: 7, signal: null }],
    ['exit', '4', { code: 7, signal: null }],
    ['throw', '2', { code: 1, signal: null }],
    ['reject', '2', { code: 1, signal: null }],
    ['term', '2', { code: null, signal: 'SIGTERM' }],
    ['natural', '0', { code: 0, signal: null }],
  ])('%s after %s ms keeps its exit code', async (how, delay, want) => {
    for (const { code, signal, stdout } of await Promise.all(Array.from({ length: 6 }, () => run('exit', how, delay)))) {
      expect({ code, signal }).toEqual(want)
      if (how === 'natural') expect(stdout).toBe('8\n')
    }
  })
})
