/** Sessions in worker threads that are ended at any time, and processes that end with runs in flight. `npm run soak -- --only sessions`: 500 of them. */
import { spawn } from 'node:child_process'
import { setTimeout as sleep } from 'node:timers/promises'
import { Worker } from 'node:worker_threads'
import { expect, test } from 'vitest'
import { memory, ops, session, tensor } from '../../ts/index.js'

const file = (name: string): string => new URL(name, import.meta.url).pathname
const library = new URL('../../dist/esm/index.js', import.meta.url).href // built: a worker that compiles takes seconds to start
const start = (mode: string): Worker => new Worker(file('./worker-child.mjs'), { workerData: { mode, library } })
const message = (worker: Worker): Promise<unknown> =>
  new Promise((resolve, reject) => {
    worker.once('message', resolve)
    worker.once('error', reject)
  })

test('a session runs in a worker, and its memory goes with it', async () => {
  const before = memory().bytes
  const worker = start('once')
  const code = new Promise((resolve) => worker.once('exit', resolve))
  expect(await message(worker)).toBeCloseTo(8 * 0.01 * 8 * 0.01, 6)
  expect(await code).toBe(0)
  expect(memory().bytes).toBe(before)
})

const count = 20
test(`terminate at any time: ${count} of ${count} clean`, { timeout: 60_000 + 2000 * count }, async () => {
  const w = tensor([[2]]) // prettier-ignore
  const s = session((x: never) => ops.matmul(x, w))
  const before = memory().bytes
  const modes = ['async', 'sync', 'record']
  for (let done = 0; done < count;) {
    const batch = Math.min(4, count - done)
    await Promise.all(
      Array.from({ length: batch }, async (_, i) => {
        const worker = start(modes[(done + i) % 3]!)
        await message(worker)
        await sleep((done + i) % 7)
        const began = performance.now()
        await worker.terminate()
        expect(performance.now() - began).toBeLessThan(5000)
      }),
    )
    done += batch
    expect((await s.run({ data: Float32Array.of(done), shape: [1, 1] })).output!.data[0]).toBe(2 * done)
  }
  for (let i = 0; i < 100 && memory().bytes > before; i++) await sleep(20) // runs in flight end on job threads
  expect(memory().bytes).toBeLessThanOrEqual(before + 256) // the session's own
  s.dispose()
  w.dispose()
})

test('processes end with runs in flight, with their own exit code', async () => {
  const run = (how: string): Promise<number | string | null> =>
    new Promise((resolve) => {
      const child = spawn(process.execPath, [file('./exit-child.mjs'), how], { stdio: 'ignore' })
      child.on('close', (code, signal) => resolve(code ?? signal))
    })
  expect(await Promise.all(['exit', 'throw', 'natural', 'dispose'].map(run))).toEqual([7, 1, 0, 0])
})
