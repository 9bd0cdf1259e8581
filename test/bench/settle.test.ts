/** Threads that spin after their work are waited for, though not for ever. */
import { spawn } from 'node:child_process'
import { describe, expect, it } from 'vitest'
import { runnableThreads, settled } from '../../bench/lib/settle.js'

/** A process that computes for `ms`, then says so and sleeps. */
async function spinning<T>(ms: number, use: (pid: number, isDone: () => boolean) => Promise<T>): Promise<T> {
  const program = `process.stdout.write('x'); const t = Date.now(); while (Date.now() - t < ${ms}); require('fs').writeSync(1, 'y'); setTimeout(() => {}, 60000)`
  const child = spawn(process.execPath, ['-e', program], { stdio: ['ignore', 'pipe', 'ignore'] })
  let said = ''
  try {
    await new Promise<void>((resolve) => {
      child.stdout.on('data', (part: Buffer) => {
        said += part.toString()
        resolve()
      })
    })
    return await use(child.pid!, () => said.includes('y'))
  } finally {
    child.kill('SIGKILL')
  }
}

describe.runIf(runnableThreads(process.pid) !== undefined)('settled', () => {
  it('waits until a process stops computing', async () => {
    const done = await spinning(150, async (pid, isDone) => {
      await settled(pid)
      await new Promise((resolve) => setTimeout(resolve, 50)) // what it said arrives
      return isDone()
    })
    expect(done).toBe(true)
  })

  it('gives up on one that never stops, and on one that is gone', async () => {
    await spinning(60_000, async (pid, isDone) => {
      await settled(pid)
      expect(isDone()).toBe(false)
    })
    await settled(2 ** 22 + 1)
    expect(runnableThreads(2 ** 22 + 1)).toBeUndefined()
  })
})
