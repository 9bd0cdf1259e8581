/** kill -9 in the middle of a compression, again and again: what was saved is whole, and the end is bit-identical (P01, promise 4 and 5). */
import { spawn } from 'node:child_process'
import { createHash } from 'node:crypto'
import { mkdtempSync, readdirSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, expect, it } from 'vitest'
import { compress, removeCheckpoints } from '../../ts/compress/index.js'
import { bitsOf } from './toys.js'
import { killData, killModel, killRecipe } from './kill-job.js'

/** TERSOR_SOAK=100: that many. A child starts for seconds, so the suite has few. */
const KILLS = Number(process.env.TERSOR_SOAK ?? 10)
const dir = mkdtempSync(join(tmpdir(), 'tersor-kill-'))
afterAll(() => rmSync(dir, { recursive: true, force: true }))
const hash = (text: string): string => createHash('sha256').update(text).digest('hex')

/** Starts a child, kills it `ms` after its first checkpoint; gives what it said. */
function runAndKill(ms: number): Promise<string> {
  const child = spawn(process.execPath, ['--import', 'tsx', join(import.meta.dirname, 'kill-child.ts'), dir], {
    stdio: ['ignore', 'pipe', 'inherit'],
  })
  let output = ''
  let armed = false
  child.stdout.on('data', (chunk: Buffer) => {
    output += chunk.toString()
    if (!armed && output.includes('saved')) {
      armed = true
      setTimeout(() => child.kill('SIGKILL'), ms)
    }
  })
  return new Promise((resolve) => child.on('close', () => resolve(output)))
}

it(`${KILLS} kills, no corrupt checkpoint, the same bits at the end`, { timeout: 60_000 + 15_000 * KILLS }, async () => {
  const straight = hash(bitsOf((await compress(killModel(), killRecipe, { data: killData })).model))
  let finished = 0
  for (let kill = 0; kill < KILLS; kill++) {
    const output = await runAndKill((kill * 13) % 60)
    const done = /^done ([0-9a-f]+)$/m.exec(output)
    if (done) {
      finished++
      expect(done[1]).toBe(straight)
      removeCheckpoints(dir)
    }
    // Whatever the moment: at most the two generations and one in the making, the lock and the temporary of this child, and no older ones.
    const files = readdirSync(dir)
    expect(files.filter((f) => f.startsWith('tersor-run-')).length).toBeLessThanOrEqual(3)
    expect(files.filter((f) => f.startsWith('tersor-model-')).length).toBeLessThanOrEqual(3)
    expect(files.filter((f) => f.startsWith('.tersor-')).length).toBeLessThanOrEqual(2)
  }
  expect(finished).toBeLessThan(KILLS / 2)
  let fallback = false
  const { model } = await compress(killModel(), killRecipe, {
    data: killData,
    checkpointDir: dir,
    resume: true,
    onEvent: (e) => void (e.type === 'resume' && (fallback = e.fallback)),
  })
  expect(fallback).toBe(false)
  expect(hash(bitsOf(model))).toBe(straight)
  expect(readdirSync(dir).filter((f) => f.startsWith('.tersor-'))).toEqual([])
})
