/** Threads that spin after their work are waited for, though not for ever. */
import { spawn } from 'node:child_process'
import { describe, expect, it } from 'vitest'
import { runtimeOf, settled } from '../../bench/lib/settle.js'

/** A process that computes without end, or until it has done so for `ms`. */
async function spinning<T>(ms: number, use: (pid: number) => Promise<T>): Promise<T> {
  const program = `process.stdout.write('x'); const t = Date.now(); while (Date.now() - t < ${ms}); setTimeout(() => {}, 60000)`
  const child = spawn(process.execPath, ['-e', program], { stdio: ['ignore', 'pipe', 'ignore'] })
  try {
    await new Promise((resolve) => child.stdout.once('data', resolve))
    return await use(child.pid!)
  } finally {
    child.kill('SIGKILL')
  }
}

describe.runIf(runtimeOf(process.pid) !== undefined)('settled', () => {
  it('waits until a process stops computing', async () => {
    const idle = await spinning(150, async (pid) => {
      await settled(pid)
      const before = runtimeOf(pid)!
      await new Promise((resolve) => setTimeout(resolve, 50))
      return runtimeOf(pid)! - before
    })
    expect(idle / 1e6).toBeLessThan(25)
  })

  it('gives up on one that never stops, and on one that is gone', async () => {
    await spinning(60_000, settled)
    await settled(2 ** 22 + 1)
    expect(runtimeOf(2 ** 22 + 1)).toBeUndefined()
  })
})
